"""Diagnostics for QoS and message-type mismatches."""

from __future__ import annotations

from rclpy.node import Node

from lowlight_enhance.ros import topic_names
from lowlight_enhance.ros.diagnostics import Diagnostics
from lowlight_enhance.ros.publishers import Publishers
from lowlight_enhance.ros.subscriptions import Subscriptions

LOSS_WARNING_S = 10.0
"""/diagnostics warns of lost images until none has been lost for this many seconds."""

INCOMPATIBLE_PUBLISHER, INCOMPATIBLE_SUBSCRIBER = "incompatible publisher", "incompatible subscriber"
METADATA_TYPE, LOST_IMAGES = "metadata type", "lost images"
"""Subjects of the warnings."""


class QosDiagnostics:
    """Compares the node's topics with those of its peers. Times are monotonic seconds."""

    def __init__(
        self, node: Node, diagnostics: Diagnostics, subscriptions: Subscriptions, publishers: Publishers
    ) -> None:
        self._node, self._diagnostics = node, diagnostics
        self._subscriptions, self._publishers = subscriptions, publishers
        self._last_loss_s = 0.0

    def update(self, metadata_type: str, now_s: float) -> None:
        """Set the warnings that apply now, and clear those that no longer do."""
        metadata, enhanced = map(self._node.resolve_topic_name, (topic_names.METADATA, topic_names.ENHANCED))
        types = self._subscriptions.other_metadata_types(metadata_type)
        self._set(
            METADATA_TYPE,
            bool(types),
            f"{metadata} carries {', '.join(types)}: set the parameter metadata.type to that",
        )
        self._set(
            INCOMPATIBLE_PUBLISHER,
            self._subscriptions.has_incompatible_publisher(),
            f"the QoS of a publisher of {self._subscriptions.image_topic} is incompatible with this subscription, so "
            "its images do not arrive: set the parameter image_reliability to 'auto' or 'best_effort', or make the "
            "publisher reliable",
        )
        self._set(
            INCOMPATIBLE_SUBSCRIBER,
            self._publishers.has_incompatible_subscriber(),
            f"the QoS of a subscriber of {enhanced} or another output topic is incompatible, so it receives nothing: "
            "its durability must be volatile, and its reliability must be best_effort if the parameters "
            "qos_overrides make the publisher best_effort",
        )
        if now_s - self._last_loss_s >= LOSS_WARNING_S:
            self._diagnostics.hide_warning(LOST_IMAGES)

    def on_lost(self, total: int, now_s: float) -> None:
        """Warn that the middleware has just lost images, ``total`` so far."""
        self._last_loss_s = now_s
        self._diagnostics.set_warning(
            LOST_IMAGES,
            f"the middleware has lost {total} images on their way to this node: start camera driver and node with the "
            "Fast DDS profile config/fastdds.xml of this package, or make the driver reliable",
        )

    def _set(self, subject: str, applies: bool, text: str) -> None:
        if applies:
            self._diagnostics.set_warning(subject, text)
        else:
            self._diagnostics.clear_warning(subject)
