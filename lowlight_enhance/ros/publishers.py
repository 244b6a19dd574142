"""What the node publishes of a frame: image, its camera_info, its compressed form, and its latency."""

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
from lowlight_enhance.ros.qos import Overrides, is_incompatible, newest, with_events

try:
    from rclpy.event_handler import PublisherEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import PublisherEventCallbacks

Picture = Callable[[], tuple[Any, str]]
"""Gives the (H, W, 3) uint8 pixels of an image and the encoding in which to write them."""


class Outputs:
    """The lifecycle publishers of a node's frames, from configure to cleanup."""

    def __init__(
        self,
        node: LifecycleNode,
        compressed: str,
        overrides: Overrides,
        on_listeners: Callable[[Any], None],
        on_incompatible: Callable[[Any], None],
    ) -> None:
        """Advertise.

        Args:
            node: that publishes.
            compressed: ``none``, or the format (``jpeg``, ``png``) of a compressed image beside the raw one.
            overrides: the user's quality of service.
            on_listeners: called when a subscriber comes or goes, where the middleware tells.
            on_incompatible: called for a subscriber that asks for what is not offered.
        """
        self._node, self._overrides = node, overrides
        self._events = {"matched": on_listeners, "incompatible_qos": on_incompatible}
        self._format = compressed
        self._image = self._advertise(Image, topic_names.ENHANCED)
        self._info = self._advertise(CameraInfo, topic_names.ENHANCED_INFO)
        self._compressed: Any | None = None
        if compressed != "none":
            self._compressed = self._advertise(CompressedImage, topic_names.compressed(self._image.topic_name))
        self._latency = self._create(
            Float32, topic_names.LATENCY, PublisherEventCallbacks(use_default_callbacks=False)
        )

    def _advertise(self, message_type: type, topic: str) -> Any:
        return with_events(
            lambda event_callbacks: self._create(message_type, topic, event_callbacks),
            PublisherEventCallbacks,
            **self._events,
        )

    def _create(self, message_type: type, topic: str, events: Any) -> Any:
        return self._node.create_lifecycle_publisher(
            message_type,
            topic,
            newest(1, ReliabilityPolicy.RELIABLE),
            event_callbacks=events,
            qos_overriding_options=self._overrides.options(self._node.resolve_topic_name(topic), "publisher"),
        )

    @property
    def listeners(self) -> int:
        """Subscribers of the image, its camera_info or its compressed form."""
        return sum(publisher.get_subscription_count() for publisher in self._pictures())

    def refuse_subscriber(self) -> bool:
        """Whether a subscriber of one of these asks for more than is offered, so that it gets nothing."""
        topics = [publisher.topic_name for publisher in self._pictures()]
        return any(is_incompatible(self._node, topic, "publisher") for topic in topics)

    def _pictures(self) -> list[Any]:
        publishers = (self._image, self._info, self._compressed)
        return [publisher for publisher in publishers if publisher is not None]

    def publish(self, frame: EnhancedFrame, quality: int) -> None:
        """Publish an enhanced frame to those who listen.

        Args:
            frame: its ``passed_message``, where it has one, goes out as it came in.
            quality: of JPEG, 1 to 100.
        """
        self._publish(
            frame.passed_message, frame.camera_info, lambda: (frame.rgb, frame.encoding), frame.header, quality
        )

    def pass_on(self, message: Any, camera_info: Any | None, picture: Picture, quality: int) -> None:
        """Publish an image message as it came in.

        Args:
            message: Image or CompressedImage; what was taken is what goes out on the topic of its kind.
            camera_info: with the message's header, or None.
            picture: decodes it, for the topic of the other kind.
            quality: of JPEG.
        """
        self._publish(message, camera_info, picture, message.header, quality)

    def _publish(self, passed: Any | None, info: Any | None, picture: Picture, header: Any, quality: int) -> None:
        is_compressed = isinstance(passed, CompressedImage)
        if self._image.get_subscription_count():
            image = passed
            if image is None or is_compressed:
                image = Image()
                fill_message(image, *picture(), header)
            self._image.publish(image)
        if self._compressed is not None and self._compressed.get_subscription_count():
            image = passed
            if not is_compressed:
                image = CompressedImage()
                fill_compressed(image, *picture(), header, format=self._format, quality=quality)
            self._compressed.publish(image)
        if info is not None and self._info.get_subscription_count():
            self._info.publish(info)

    def tell_latency(self, age_ns: int) -> None:
        """Publish the time from a frame's stamp to its publication, in milliseconds, to those who listen."""
        if self._latency.get_subscription_count():
            self._latency.publish(Float32(data=age_ns / 1e6))

    def destroy(self) -> None:
        """Withdraw."""
        for publisher in (self._image, self._info, self._compressed, self._latency):
            if publisher is not None:
                self._node.destroy_lifecycle_publisher(publisher)
