"""What the node subscribes to: images as long as somebody listens, camera_info and capture metadata throughout."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rclpy.lifecycle import LifecycleNode
from rclpy.qos import ReliabilityPolicy
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from lowlight_enhance.ros import topic_names
from lowlight_enhance.ros.messages import METADATA_DEPTH, WhileWanted, take_waiting
from lowlight_enhance.ros.qos import Overrides, agreed_reliability, is_incompatible, newest, with_events

try:
    from rclpy.event_handler import SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import SubscriptionEventCallbacks


@dataclass(frozen=True)
class Handlers:
    """Who is told: of each message, of images that were sent but never taken, and of what goes wrong.

    While ``wants_metadata``, metadata and camera_info are handed over as they come, else by ``take_waiting`` alone.
    """

    image: Callable[[Any], None]
    camera_info: Callable[[CameraInfo], None]
    metadata: Callable[[Any], None]
    skipped: Callable[[int], None]
    lost: Callable[[Any], None]
    incompatible: Callable[[Any], None]
    matched: Callable[[Any], None]
    wants_metadata: Callable[[], bool]


class Inputs:
    """The subscriptions of one camera, from activate to deactivate.

    The image's is RELIABLE while every publisher is, else BEST_EFFORT, unless the user chose.
    """

    def __init__(self, node: LifecycleNode, overrides: Overrides, handlers: Handlers) -> None:
        self._node, self._overrides, self._handlers = node, overrides, handlers
        self._on_demand = WhileWanted(node.default_callback_group, handlers.wants_metadata)
        self._open: dict[str, Subscription[Any]] = {}
        self._number: int | None = None
        self._transport = "raw"
        self.reliability = ReliabilityPolicy.BEST_EFFORT

    @property
    def takes_images(self) -> bool:
        """Whether the image is subscribed."""
        return "image" in self._open

    @property
    def image_topic(self) -> str:
        """Full name of the topic that images come from."""
        topic = self._node.resolve_topic_name(topic_names.IMAGE)
        return topic_names.compressed(topic) if self._transport == "compressed" else topic

    def open(self, metadata_class: type | None) -> None:
        """Subscribe to the metadata of that type, and to camera_info.

        They stay subscribed while no image is, so that the first image finds what belongs to it.
        """
        self.change_metadata(metadata_class)
        self._open["camera_info"] = self._subscribe_small(
            CameraInfo, topic_names.CAMERA_INFO, self._handlers.camera_info
        )

    def change_metadata(self, metadata_class: type | None) -> None:
        """Take metadata of this type, or none, from now on."""
        self._close("metadata")
        if metadata_class is not None:
            self._open["metadata"] = self._subscribe_small(
                metadata_class, topic_names.METADATA, self._handlers.metadata
            )

    def take_images(self, wanted: bool, transport: str, reliability: str) -> bool:
        """Subscribe to images, or no longer; anew where the publishers now offer another reliability.

        Args:
            wanted: whether to.
            transport: ``raw`` or ``compressed``.
            reliability: ``auto``, ``reliable`` or ``best_effort``.

        Returns:
            Whether anything changed.
        """
        if not wanted:
            return self._close("image")
        before = (self._transport, self.reliability)
        self._transport = transport
        self.reliability = self._wanted_reliability(reliability)
        if self.takes_images and (transport, self.reliability) == before:
            return False
        self._close("image")
        self._open["image"] = self._subscribe_image()
        return True

    def strangers(self, metadata_type: str) -> list[str]:
        """Types other than ``metadata_type`` that are published as metadata: their messages never arrive."""
        if "metadata" not in self._open:
            return []
        publishers = self._node.get_publishers_info_by_topic(topic_names.METADATA)
        return sorted({publisher.topic_type for publisher in publishers} - {metadata_type})

    def refuse_publisher(self) -> bool:
        """Whether a publisher of images offers less than their subscription asks for, so that none arrives."""
        return self.takes_images and is_incompatible(self._node, self.image_topic, "subscription")

    def take_waiting(self) -> None:
        """Hand over all camera_info and metadata that has come already."""
        for name in ("camera_info", "metadata"):
            if name in self._open:
                take_waiting(self._open[name])

    def close(self) -> None:
        """Unsubscribe from everything."""
        for name in tuple(self._open):
            self._close(name)

    def _wanted_reliability(self, choice: str) -> ReliabilityPolicy:
        overridden = self._overrides.reliability(self.image_topic)
        if overridden is not None:
            return overridden
        if choice != "auto":
            return ReliabilityPolicy.RELIABLE if choice == "reliable" else ReliabilityPolicy.BEST_EFFORT
        offered = [p.qos_profile.reliability for p in self._node.get_publishers_info_by_topic(self.image_topic)]
        return agreed_reliability(offered, self.reliability)

    def _subscribe_small(self, message_type: type, topic: str, handler: Callable[[Any], None]) -> Subscription[Any]:
        return self._node.create_subscription(
            message_type,
            topic,
            handler,
            newest(METADATA_DEPTH, ReliabilityPolicy.BEST_EFFORT),
            callback_group=self._on_demand,
            event_callbacks=SubscriptionEventCallbacks(
                use_default_callbacks=False
            ),  # they would wake the executor too
            qos_overriding_options=self._overrides.options(self._node.resolve_topic_name(topic), "subscription"),
        )

    def _subscribe_image(self) -> Subscription[Any]:
        self._number = None
        numbered = hasattr(Subscription, "CallbackType")  # Humble's callbacks are not told of the message's number
        return with_events(
            lambda event_callbacks: self._node.create_subscription(
                CompressedImage if self._transport == "compressed" else Image,
                self.image_topic,
                self._on_numbered_image if numbered else self._handlers.image,
                newest(1, self.reliability),
                event_callbacks=event_callbacks,
                qos_overriding_options=self._overrides.options(self.image_topic, "subscription", ("reliability",)),
            ),
            SubscriptionEventCallbacks,
            incompatible_qos=self._handlers.incompatible,
            message_lost=self._handlers.lost,
            matched=self._handlers.matched,
        )

    def _on_numbered_image(self, msg: Any, info: Mapping[str, Any]) -> None:
        """Count the images that the one publisher there is sent between the one before and this one."""
        before, number = self._number, info.get("publication_sequence_number")
        self._number = number
        if before is not None and number is not None and self._node.count_publishers(self.image_topic) == 1:
            self._handlers.skipped(max(0, number - before - 1))
        self._handlers.image(msg)

    def _close(self, name: str) -> bool:
        """Unsubscribe; whether there was anything to do."""
        subscription = self._open.pop(name, None)
        if subscription is not None:
            self._node.destroy_subscription(subscription)
        return subscription is not None
