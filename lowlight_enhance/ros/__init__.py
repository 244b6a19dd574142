"""The live node: topics to FrameStream to topics."""
