"""The live node: topics to Pipeline to topics."""
