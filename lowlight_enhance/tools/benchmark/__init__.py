"""Benchmarks of the pipeline and of the node, and a soak test of the node."""
