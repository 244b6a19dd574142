"""Tools around the pipeline: enhancement of files, playback of bags, benchmarks and the demo."""
