"""Simulate a camera in low light from well-lit photographs, and clips with known camera motion."""
