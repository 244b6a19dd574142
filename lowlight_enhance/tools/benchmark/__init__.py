"""Measure the pipeline and the node."""
