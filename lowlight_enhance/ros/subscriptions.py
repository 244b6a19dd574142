"""The node's subscriptions: images while an output has subscribers, camera_info and capture metadata while active."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rclpy.lifecycle import LifecycleNode
from rclpy.qos import ReliabilityPolicy
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from lowlight_enhance.core.errors import LowlightError
from lowlight_enhance.ros import topic_names
from lowlight_enhance.ros.qos import QosOverrides, agreed_reliability, is_incompatible, keep_last, with_events
from lowlight_enhance.ros.serialized import QUEUE_DEPTH, OnDemandGroup, deserialized, take_all

try:
    from rclpy.event_handler import SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import SubscriptionEventCallbacks


@dataclass(frozen=True)
class SubscriptionCallbacks:
    """Callbacks for messages and events.

    Attributes:
        image: called with each image.
        camera_info: called with each calibration.
        metadata: called with each metadata message.
        rejected: called with the error of a camera_info or metadata message that was too large or damaged.
        dropped: called with the number of camera_info and metadata messages that were dropped for lack of time.
        skipped: called with the number of images that were published but never taken.
        lost: called with the event of images that the middleware has lost.
        incompatible: called with the event of a publisher whose QoS is incompatible.
        matched: called with the event of a publisher that appears or disappears.
        needs_metadata: while it returns True, camera_info and metadata are delivered as they arrive; otherwise only
            by ``deliver_pending``.
    """

    image: Callable[[Any], None]
    camera_info: Callable[[CameraInfo], None]
    metadata: Callable[[Any], None]
    rejected: Callable[[LowlightError], None]
    dropped: Callable[[int], None]
    skipped: Callable[[int], None]
    lost: Callable[[Any], None]
    incompatible: Callable[[Any], None]
    matched: Callable[[Any], None]
    needs_metadata: Callable[[], bool]


class Subscriptions:
    """The subscriptions of one camera, from activate to deactivate.

    Attributes:
        reliability: of the image subscription: RELIABLE while every publisher is, else BEST_EFFORT, unless the user
            chose one.
    """

    def __init__(self, node: LifecycleNode, overrides: QosOverrides, callbacks: SubscriptionCallbacks) -> None:
        self._node, self._overrides, self._callbacks = node, overrides, callbacks
        self._on_demand = OnDemandGroup(node.default_callback_group, callbacks.needs_metadata)
        self._open: dict[str, Subscription[Any]] = {}
        self._handlers: dict[str, tuple[Callable[[bytes], Any | None], Callable[[Any], None]]] = {}
        self._last_number: int | None = None
        self._transport = "raw"
        self.reliability = ReliabilityPolicy.BEST_EFFORT

    @property
    def takes_images(self) -> bool:
        """Whether there is an image subscription."""
        return "image" in self._open

    @property
    def image_topic(self) -> str:
        """Resolved name of the image topic."""
        topic = self._node.resolve_topic_name(topic_names.IMAGE)
        return topic_names.compressed(topic) if self._transport == "compressed" else topic

    def open(self, metadata_class: type | None) -> None:
        """Subscribe to camera_info, and to metadata of that type.

        They stay subscribed while images are not, so that the first image finds its calibration and metadata.
        """
        self.set_metadata_class(metadata_class)
        self._subscribe_serialized("camera_info", CameraInfo, topic_names.CAMERA_INFO, self._callbacks.camera_info)

    def set_metadata_class(self, metadata_class: type | None) -> None:
        """Subscribe to metadata of this type instead of the previous one; None: to no metadata."""
        self._close("metadata")
        if metadata_class is not None:
            self._subscribe_serialized("metadata", metadata_class, topic_names.METADATA, self._callbacks.metadata)

    def set_images(self, is_needed: bool, transport: str, reliability: str) -> bool:
        """Subscribe to images or unsubscribe; subscribe again if transport or reliability have changed.

        Args:
            is_needed: whether images are needed.
            transport: ``raw`` or ``compressed``.
            reliability: ``auto``, ``reliable`` or ``best_effort``.

        Returns:
            Whether anything changed.
        """
        if not is_needed:
            return self._close("image")
        before = (self._transport, self.reliability)
        self._transport = transport
        self.reliability = self._requested_reliability(reliability)
        if self.takes_images and (transport, self.reliability) == before:
            return False
        self._close("image")
        self._open["image"] = self._subscribe_image()
        return True

    def other_metadata_types(self, metadata_type: str) -> list[str]:
        """Return the types other than ``metadata_type`` that are published as metadata; they cannot be received."""
        if "metadata" not in self._open:
            return []
        publishers = self._node.get_publishers_info_by_topic(topic_names.METADATA)
        return sorted({publisher.topic_type for publisher in publishers} - {metadata_type})

    def has_incompatible_publisher(self) -> bool:
        """Return whether an image publisher's QoS is incompatible, so that its images do not arrive."""
        return self.takes_images and is_incompatible(self._node, self.image_topic, "subscription")

    def deliver_pending(self) -> None:
        """Deliver the camera_info and metadata messages that have arrived."""
        for name in ("camera_info", "metadata"):
            if name in self._open:
                parse, handle = self._handlers[name]
                for message in take_all(self._open[name], parse, self._callbacks.dropped):
                    handle(message)

    def close(self) -> None:
        """Unsubscribe from everything."""
        for name in tuple(self._open):
            self._close(name)

    def _requested_reliability(self, choice: str) -> ReliabilityPolicy:
        overridden = self._overrides.reliability(self.image_topic)
        if overridden is not None:
            return overridden
        if choice != "auto":
            return ReliabilityPolicy.RELIABLE if choice == "reliable" else ReliabilityPolicy.BEST_EFFORT
        offered = [p.qos_profile.reliability for p in self._node.get_publishers_info_by_topic(self.image_topic)]
        return agreed_reliability(offered, self.reliability)

    def _subscribe_serialized(self, name: str, message_type: type, topic: str, handle: Callable[[Any], None]) -> None:
        resolved = self._node.resolve_topic_name(topic)
        parse = functools.partial(self._parsed, message_type=message_type, topic=resolved)

        def deliver(data: bytes) -> None:
            message = parse(data)
            if message is not None:
                handle(message)

        self._handlers[name] = parse, handle
        self._open[name] = self._node.create_subscription(
            message_type,
            topic,
            deliver,
            # BEST_EFFORT matches publishers of either reliability.
            keep_last(QUEUE_DEPTH, ReliabilityPolicy.BEST_EFFORT),
            callback_group=self._on_demand,
            # The default callbacks, which only log, would wake the executor.
            event_callbacks=SubscriptionEventCallbacks(use_default_callbacks=False),
            qos_overriding_options=self._overrides.options(resolved, "subscription"),
            raw=True,
        )

    def _parsed(self, data: bytes, message_type: type, topic: str) -> Any | None:
        try:
            return deserialized(data, message_type, topic)
        except LowlightError as error:
            self._callbacks.rejected(error)
            return None

    def _subscribe_image(self) -> Subscription[Any]:
        self._last_number = None
        numbered = hasattr(Subscription, "CallbackType")  # Humble does not pass the message's number to callbacks
        return with_events(
            lambda event_callbacks: self._node.create_subscription(
                CompressedImage if self._transport == "compressed" else Image,
                self.image_topic,
                self._on_numbered_image if numbered else self._callbacks.image,
                # Depth 1: a node that is slower than its camera skips images, and its latency stays bounded.
                keep_last(1, self.reliability),
                event_callbacks=event_callbacks,
                qos_overriding_options=self._overrides.options(self.image_topic, "subscription", ("reliability",)),
            ),
            SubscriptionEventCallbacks,
            incompatible_qos=self._callbacks.incompatible,
            message_lost=self._callbacks.lost,
            matched=self._callbacks.matched,
        )

    def _on_numbered_image(self, msg: Any, info: Mapping[str, Any]) -> None:
        """Count the images that were published between the previous one and this one, if there is one publisher."""
        before, number = self._last_number, info.get("publication_sequence_number")
        self._last_number = number
        if before is not None and number is not None and self._node.count_publishers(self.image_topic) == 1:
            self._callbacks.skipped(max(0, number - before - 1))
        self._callbacks.image(msg)

    def _close(self, name: str) -> bool:
        """Unsubscribe; return whether it was subscribed."""
        subscription = self._open.pop(name, None)
        if subscription is not None:
            self._node.destroy_subscription(subscription)
        return subscription is not None
