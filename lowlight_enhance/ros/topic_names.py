"""Names of the node's topics, relative ones to be remapped."""

from __future__ import annotations

from collections.abc import Callable

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


def ends(resolve: Callable[[str], str]) -> list[tuple[str, str]]:
    """Full name and role of each topic that the user's quality of service may name.

    Args:
        resolve: gives a full name, after remapping.
    """
    image, enhanced = resolve(IMAGE), resolve(ENHANCED)
    subscribed = (image, compressed(image), resolve(CAMERA_INFO), resolve(METADATA))
    published = (enhanced, compressed(enhanced), resolve(ENHANCED_INFO), resolve(LATENCY))
    return [(topic, "subscription") for topic in subscribed] + [(topic, "publisher") for topic in published]
