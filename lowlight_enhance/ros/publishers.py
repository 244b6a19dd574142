"""The node's publishers: the enhanced image, its camera_info, its compressed form, and the latency."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.lifecycle import LifecycleNode
from rclpy.qos import ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Float32

from lowlight_enhance.core.imaging.messages import fill_compressed, fill_message
from lowlight_enhance.core.pipeline import EnhancedFrame
from lowlight_enhance.ros import topic_names
from lowlight_enhance.ros.qos import QosOverrides, is_incompatible, keep_last, with_events

try:
    from rclpy.event_handler import PublisherEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import PublisherEventCallbacks


class Publishers:
    """The lifecycle publishers of the node's frames, from configure to cleanup."""

    def __init__(
        self,
        node: LifecycleNode,
        compressed_format: str,
        overrides: QosOverrides,
        on_matched: Callable[[Any], None],
        on_incompatible: Callable[[Any], None],
    ) -> None:
        """Create the publishers.

        Args:
            node: the node that publishes.
            compressed_format: ``jpeg`` or ``png``; ``none`` publishes no compressed image.
            overrides: QoS that the user chose.
            on_matched: called when a subscriber appears or disappears, if the middleware reports it.
            on_incompatible: called when a subscriber requests a QoS that is not offered.
        """
        self._node, self._overrides = node, overrides
        self._events = {"matched": on_matched, "incompatible_qos": on_incompatible}
        self._format = compressed_format
        self._image = self._create(Image, topic_names.ENHANCED)
        self._info = self._create(CameraInfo, topic_names.ENHANCED_INFO)
        self._compressed: Any | None = None
        if compressed_format != "none":
            self._compressed = self._create(CompressedImage, topic_names.compressed(self._image.topic_name))
        self._latency = self._create(Float32, topic_names.LATENCY)

    def _create(self, message_type: type, topic: str) -> Any:
        options = self._overrides.options(self._node.resolve_topic_name(topic), "publisher")
        return with_events(
            lambda event_callbacks: self._node.create_lifecycle_publisher(
                message_type,
                topic,
                # RELIABLE matches subscribers of either reliability, and depth 1 bounds memory and latency.
                keep_last(1, ReliabilityPolicy.RELIABLE),
                event_callbacks=event_callbacks,
                qos_overriding_options=options,
            ),
            PublisherEventCallbacks,
            **self._events,
        )

    @property
    def subscribers(self) -> int:
        """Number of subscribers of all output topics."""
        return sum(publisher.get_subscription_count() for publisher in self._all())

    def has_incompatible_subscriber(self) -> bool:
        """Return whether a subscriber's QoS is incompatible, so that it receives nothing."""
        return any(is_incompatible(self._node, publisher.topic_name, "publisher") for publisher in self._all())

    def _all(self) -> list[Any]:
        publishers = (self._image, self._info, self._compressed, self._latency)
        return [publisher for publisher in publishers if publisher is not None]

    def publish(self, frame: EnhancedFrame, jpeg_quality: int) -> None:
        """Publish an enhanced frame on the topics that have subscribers.

        Args:
            frame: its ``passed_message``, if it has one, is published unchanged on the topic of its type.
            jpeg_quality: 1 to 100.
        """
        # Filling and compressing a message takes milliseconds, so it is done only for topics with subscribers.
        passed = frame.passed_message
        is_compressed = isinstance(passed, CompressedImage)
        if self._image.get_subscription_count():
            image = passed
            if image is None or is_compressed:
                image = Image()
                fill_message(image, frame.rgb, frame.encoding, frame.header)
            self._image.publish(image)
        if frame.camera_info is not None and self._info.get_subscription_count():
            self._info.publish(frame.camera_info)
        # Last, because not every frame can be written: JPEG ends at 65500 pixels a side.
        if self._compressed is not None and self._compressed.get_subscription_count():
            image = passed
            if not is_compressed:
                image = CompressedImage()
                fill_compressed(
                    image, frame.rgb, frame.encoding, frame.header, format=self._format, quality=jpeg_quality
                )
            self._compressed.publish(image)

    def publish_latency(self, age_ns: int) -> None:
        """Publish the time from the stamp of a frame to its publication, in milliseconds, if there is a subscriber."""
        if self._latency.get_subscription_count():
            self._latency.publish(Float32(data=age_ns / 1e6))

    def destroy(self) -> None:
        """Destroy the publishers."""
        for publisher in self._all():
            self._node.destroy_lifecycle_publisher(publisher)
