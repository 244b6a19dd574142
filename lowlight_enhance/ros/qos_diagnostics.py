"""What keeps images from arriving or from being heard: said with what to change, and taken back when it is over."""

from __future__ import annotations

from rclpy.node import Node

from lowlight_enhance.ros import topic_names
from lowlight_enhance.ros.diagnostics import Reporter
from lowlight_enhance.ros.publishers import Outputs
from lowlight_enhance.ros.subscriptions import Inputs

LOST_S = 10.0
"""Diagnostics warn of lost images until none has been lost for so many seconds."""

PUBLISHER, SUBSCRIBER = "incompatible publisher", "incompatible subscriber"
STRANGERS, LOST = "metadata of another type", "lost images"
"""What advice is about."""


class Complaints:
    """Looks at a node's topics and advises; times are monotonic seconds."""

    def __init__(self, node: Node, reporter: Reporter, inputs: Inputs, outputs: Outputs) -> None:
        self._node, self._reporter, self._inputs, self._outputs = node, reporter, inputs, outputs
        self._lost_s = 0.0

    def look(self, metadata_type: str, now_s: float) -> None:
        """Complain of what is to be seen, and no longer of what has gone."""
        topic, enhanced = (
            self._node.resolve_topic_name(name) for name in (topic_names.METADATA, topic_names.ENHANCED)
        )
        strangers = self._inputs.strangers(metadata_type)
        self._tell(
            STRANGERS,
            bool(strangers),
            f"{topic} carries {', '.join(strangers)}: set the parameter metadata.type to that",
        )
        self._tell(
            PUBLISHER,
            self._inputs.refuse_publisher(),
            f"a publisher of {self._inputs.image_topic} offers a quality of service that this subscription does "
            "not accept, so its images do not arrive: set the parameter image_reliability to 'auto' or "
            "'best_effort', or the publisher to reliable",
        )
        self._tell(
            SUBSCRIBER,
            self._outputs.refuse_subscriber(),
            f"a subscriber of {enhanced}, its compressed form or its camera_info asks for a quality of service that "
            "is not offered, so it gets nothing: it must ask for durability volatile, and for reliability best_effort "
            "where the parameters qos_overrides offer no more",
        )
        if now_s - self._lost_s >= LOST_S:
            self._reporter.faded(LOST)

    def lost(self, count: int, now_s: float) -> None:
        """The middleware has lost ``count`` images so far, the last one just now."""
        self._lost_s = now_s
        self._reporter.advise(
            LOST,
            f"the middleware has lost {count} images before they reached this node: start camera driver and node with "
            "the Fast DDS profile config/fastdds.xml of this package, or make the driver reliable",
        )

    def _tell(self, about: str, is_so: bool, sentence: str) -> None:
        if is_so:
            self._reporter.advise(about, sentence)
        else:
            self._reporter.settled(about)
