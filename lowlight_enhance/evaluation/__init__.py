"""Measure the quality of enhanced frames."""
