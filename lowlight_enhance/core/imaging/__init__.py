"""Image messages and camera_info: encodings, compression, conversion to and from arrays."""
