"""Names of the node's topics and services. Relative names can be remapped."""

from __future__ import annotations

from collections.abc import Callable

IMAGE, CAMERA_INFO, METADATA = "image_raw", "camera_info", "metadata"
ENHANCED, ENHANCED_INFO = "image_enhanced", "enhanced/camera_info"
LATENCY, DIAGNOSTICS = "~/latency", "/diagnostics"
ENABLE = "~/enable"
"""Service, std_srvs/srv/SetBool."""


def compressed(image_topic: str) -> str:
    """Return the topic of the compressed images that belong to ``image_topic``, as image_transport names it."""
    return f"{image_topic}/compressed"


INPUTS = (IMAGE, compressed(IMAGE), CAMERA_INFO, METADATA)
OUTPUTS = (ENHANCED, compressed(ENHANCED), ENHANCED_INFO, LATENCY, DIAGNOSTICS)


def endpoints(resolve: Callable[[str], str]) -> list[tuple[str, str]]:
    """Return (resolved name, role) of each publisher and subscription whose QoS can be overridden.

    Args:
        resolve: returns the resolved name of a topic, after remapping.
    """
    image, enhanced = resolve(IMAGE), resolve(ENHANCED)
    subscribed = (image, compressed(image), resolve(CAMERA_INFO), resolve(METADATA))
    published = (enhanced, compressed(enhanced), resolve(ENHANCED_INFO), resolve(LATENCY))
    return [(topic, "subscription") for topic in subscribed] + [(topic, "publisher") for topic in published]
