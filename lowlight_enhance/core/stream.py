"""FrameStream: an image, the capture metadata and the camera_info that belong to it -> one enhanced frame.

Messages are read by attribute, so live rclpy messages and recorded ones serve alike.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lowlight_enhance.core import camera_info as camera_infos
from lowlight_enhance.core.capture import UNKNOWN, CaptureMetadata
from lowlight_enhance.core.enhancer import Enhance
from lowlight_enhance.core.errors import CameraInfoError, ImageError, LowlightError
from lowlight_enhance.core.health import Health
from lowlight_enhance.core.image_messages import output_encoding, rgb_from_message, stamp_ns
from lowlight_enhance.core.metadata_messages import MetadataSettings, reader_of
from lowlight_enhance.core.stamped import StampedBuffer

Match = Literal["exact", "nearest", "last", "fallback", "none"]
"""How a frame came by its capture metadata; ``none``: nothing known at all."""

NS_PER_S = 1_000_000_000


@dataclass(frozen=True, slots=True)
class StreamConfig:
    """How frames are matched and written.

    Attributes:
        metadata_tolerance_s: largest difference of stamps at which metadata counts as the frame's own.
        metadata_max_age_s: oldest metadata, by stamp, that may still stand in for a frame's own.
        fallback: used where no metadata is at hand.
        metadata: how the driver writes it.
        output_encoding: ``same``, ``bgr8``, ``rgb8`` or ``mono8``.
        max_pixels: larger images are refused.
    """

    metadata_tolerance_s: float = 0.005
    metadata_max_age_s: float = 1.0
    fallback: CaptureMetadata = UNKNOWN
    metadata: MetadataSettings = field(default_factory=MetadataSettings)
    output_encoding: str = "same"
    max_pixels: int = 64_000_000


@dataclass(frozen=True, slots=True)
class EnhancedFrame:
    """What there is to publish.

    Attributes:
        rgb: (H, W, 3) uint8.
        encoding: sensor_msgs encoding in which to write it.
        header: the input image's own.
        camera_info: message with that header for this size, or None where no camera_info fits.
        capture: the metadata that was used.
        match: where it came from.
        timings_ns: nanoseconds of each stage: ``decode``, ``enhance``.
    """

    rgb: NDArray[np.uint8]
    encoding: str
    header: Any
    camera_info: Any | None
    capture: CaptureMetadata
    match: Match
    timings_ns: dict[str, int]


class FrameStream:
    """One camera's stream; not for several threads at once."""

    def __init__(self, enhance: Enhance, config: StreamConfig, health: Health) -> None:
        self.enhance, self.config, self.health = enhance, config, health
        self._metadata: StampedBuffer[CaptureMetadata] = StampedBuffer()
        self._camera_info: Any | None = None

    def add_metadata(self, type_name: str, msg: Any) -> None:
        """Keep the capture metadata of a driver's message; an unreadable one is counted and dropped.

        Args:
            type_name: ROS type, e.g. ``flir_camera_msgs/msg/ImageMetaData``.
            msg: the message.

        Raises:
            ConfigError: no reader for that type.
        """
        reader = reader_of(type_name, self.config.metadata)
        try:
            reading = reader(msg, self.config.metadata)
        except LowlightError as error:
            self.health.failed(error)
            return
        if reading is not None and reading.stamp_ns is not None:
            self._metadata.add(reading.stamp_ns, reading.capture)

    def add_camera_info(self, msg: Any) -> None:
        """Keep the camera's latest calibration; it belongs to frames of its size until another arrives."""
        self._camera_info = msg

    def process(self, image_msg: Any, now_ns: int) -> EnhancedFrame:
        """Enhance one image message.

        Args:
            image_msg: sensor_msgs/Image by attribute.
            now_ns: time of its receipt, on the clock whose time ``Health.report`` is told.

        Raises:
            LowlightError: a frame that cannot be enhanced; already counted.
        """
        self.health.received(now_ns)
        try:
            return self._process(image_msg)
        except LowlightError as error:
            self.health.failed(error)
            raise

    def _process(self, image_msg: Any) -> EnhancedFrame:
        start = time.perf_counter_ns()
        pixels = int(image_msg.height) * int(image_msg.width)
        if pixels > self.config.max_pixels:
            raise ImageError(
                f"image of {image_msg.width}x{image_msg.height}: more than max_pixels ({self.config.max_pixels}); "
                "raise that parameter if the camera is that large"
            )
        rgb = rgb_from_message(image_msg)
        encoding = output_encoding(image_msg.encoding, self.config.output_encoding)
        capture, match = self._capture(stamp_ns(image_msg))
        self.health.matched(match)
        decoded = time.perf_counter_ns()
        enhanced = self.enhance(rgb, capture)
        done = time.perf_counter_ns()
        return EnhancedFrame(
            rgb=enhanced,
            encoding=encoding,
            header=image_msg.header,
            camera_info=self._info(image_msg, enhanced),
            capture=capture,
            match=match,
            timings_ns={"decode": decoded - start, "enhance": done - decoded},
        )

    def _capture(self, stamp: int) -> tuple[CaptureMetadata, Match]:
        """Metadata of equal stamp, else the nearest within the tolerance, else the last not too old, else fallback."""
        exact = self._metadata.exact(stamp)
        if exact is not None:
            return exact, "exact"
        nearest = self._metadata.nearest(stamp, round(self.config.metadata_tolerance_s * NS_PER_S))
        if nearest is not None:
            return nearest, "nearest"
        last = self._metadata.latest()
        if last is not None and abs(stamp - last[0]) <= self.config.metadata_max_age_s * NS_PER_S:
            return last[1], "last"
        if not self.config.fallback.is_unknown:
            return self.config.fallback, "fallback"
        return UNKNOWN, "none"

    def _info(self, image_msg: Any, enhanced: NDArray[np.uint8]) -> Any | None:
        if self._camera_info is None:
            return None
        try:
            camera_infos.check_matches(self._camera_info, image_msg.width, image_msg.height)
            info = camera_infos.rescaled(self._camera_info, enhanced.shape[1], enhanced.shape[0])
            return camera_infos.with_header(info, image_msg.header)
        except CameraInfoError as error:
            self.health.failed(error)
            return None
