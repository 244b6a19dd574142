"""Names of the node's topics, relative ones to be remapped."""

from __future__ import annotations

IMAGE, CAMERA_INFO, METADATA = "image_raw", "camera_info", "metadata"
ENHANCED, ENHANCED_INFO = "image_enhanced", "enhanced/camera_info"
LATENCY, DIAGNOSTICS = "~/latency", "/diagnostics"
ENABLE = "~/enable"
"""A service."""


def compressed(image_topic: str) -> str:
    """Where image_transport carries the compressed form of ``image_topic``."""
    return f"{image_topic}/compressed"


INPUTS = (IMAGE, compressed(IMAGE), CAMERA_INFO, METADATA)
OUTPUTS = (ENHANCED, compressed(ENHANCED), ENHANCED_INFO, LATENCY, DIAGNOSTICS)
