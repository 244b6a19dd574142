"""A photograph as a camera sees it in low light, and clips with known motion."""
