"""Pipeline: an image, the capture metadata and the camera_info that belong to it -> one enhanced frame.

Messages are read by attribute, so live rclpy messages and recorded ones serve alike.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from lowlight_enhance.core.enhancement.bypass import Bypass, blend, weaken
from lowlight_enhance.core.enhancement.enhancer import Enhance, MapEnhance
from lowlight_enhance.core.enhancement.temporal_smoothing import SMOOTHING_S, Steady
from lowlight_enhance.core.errors import CameraInfoError, ConfigError, LowlightError
from lowlight_enhance.core.health import Health
from lowlight_enhance.core.imaging import camera_info as camera_infos
from lowlight_enhance.core.imaging.messages import decode, stamp_ns
from lowlight_enhance.core.inference.model_input import Rgb, Tensor, to_8_bit
from lowlight_enhance.core.metadata.capture import UNKNOWN, CaptureMetadata
from lowlight_enhance.core.metadata.readers import MetadataSettings, reader_of
from lowlight_enhance.core.metadata.stamped_buffer import StampedBuffer

Match = Literal["exact", "nearest", "last", "fallback", "none"]
"""How a frame came by its capture metadata; ``none``: nothing known at all.

Metadata that says that nothing is known is never how: such a frame counts under ``fallback`` or ``none``.
"""

NS_PER_S = 1_000_000_000


@dataclass(frozen=True, slots=True)
class PipelineConfig:
    """How frames are matched, enhanced and written.

    Attributes:
        metadata_tolerance_s: largest difference of stamps at which metadata counts as the frame's own.
        metadata_max_age_s: oldest metadata, by stamp, that may still stand in for a frame's own.
        fallback: used where no metadata is at hand, and for what metadata leaves open.
        metadata: how the driver writes it.
        strength: how much of the enhancement is applied, from 0 (the input, bit for bit) to 1 (all of it).
        bypass_above: mean luma, 0..255, from which on a frame passes through untouched; 0: none does.
        bypass_hysteresis: how far below ``bypass_above`` the mean luma must drop until frames are enhanced again.
        smoothing_s: time constant, by stamps, with which brightness and colour follow from frame to frame while the
            scene stays as it is; 0: at once (``core/enhancement/temporal_smoothing.py``). Only a ``MapEnhance`` is
            smoothed.
        output_encoding: ``same``, ``bgr8``, ``rgb8`` or ``mono8``.
        max_pixels: larger images are refused.

    Raises:
        ConfigError: a value out of range.
    """

    metadata_tolerance_s: float = 0.005
    metadata_max_age_s: float = 1.0
    fallback: CaptureMetadata = UNKNOWN
    metadata: MetadataSettings = field(default_factory=MetadataSettings)
    strength: float = 1.0
    bypass_above: float = 0.0
    bypass_hysteresis: float = 10.0
    smoothing_s: float = SMOOTHING_S
    output_encoding: str = "same"
    max_pixels: int = 64_000_000

    def __post_init__(self) -> None:
        for name, most in (("strength", 1.0), ("bypass_above", 255.0), ("bypass_hysteresis", 255.0)):
            value = getattr(self, name)
            if not 0.0 <= value <= most:
                raise ConfigError(f"{name} {value}: must be from 0 to {most:g}")
        if not (math.isfinite(self.smoothing_s) and self.smoothing_s >= 0.0):
            raise ConfigError(f"smoothing_s {self.smoothing_s}: must be a finite number of seconds, 0 or more")


@dataclass(frozen=True, slots=True)
class EnhancedFrame:
    """What there is to publish.

    Attributes:
        rgb: (H, W, 3) uint8; of an untouched frame it may be a read-only view of the message.
        encoding: sensor_msgs encoding in which to write it.
        header: the input image's own.
        camera_info: message with that header for this size, or None where no camera_info fits.
        capture: the metadata that was used.
        match: where it came from.
        timings_ns: nanoseconds of each stage: ``decode``, ``enhance``.
        metadata_age_ns: difference of its stamp to the frame's; None where no message told.
        bypassed: passed through untouched, being bright already or at strength 0.
        passed_message: the input message, where publishing it as it is gives just this frame; else None.
    """

    rgb: NDArray[np.uint8]
    encoding: str
    header: Any
    camera_info: Any | None
    capture: CaptureMetadata
    match: Match
    timings_ns: dict[str, int]
    metadata_age_ns: int | None = None
    bypassed: bool = False
    passed_message: Any | None = None


@dataclass(frozen=True, slots=True)
class PendingFrame:
    """A frame that the network has seen, and that ``Pipeline.finish`` makes an ``EnhancedFrame`` of.

    Attributes:
        message: the input image.
        rgb: what it holds.
        encoding: sensor_msgs encoding in which the output is to be written.
        stamp_ns: of the image.
        capture: the metadata that was used.
        match: where it came from.
        metadata_age_ns: difference of its stamp to the frame's; None where no message told.
        calibration: the camera_info message that belongs to it, if any.
        config: the stream's, when the frame was begun.
        enhance: likewise.
        made: the network's maps and its copy of the frame, an enhanced picture where ``enhance`` makes no maps, or
            None for a frame that passes through untouched.
        timings_ns: nanoseconds of each stage so far.
    """

    message: Any
    rgb: Rgb
    encoding: str
    stamp_ns: int
    capture: CaptureMetadata
    match: Match
    metadata_age_ns: int | None
    calibration: Any | None
    config: PipelineConfig
    enhance: Enhance
    made: tuple[Tensor, Tensor] | NDArray[np.uint8] | None
    timings_ns: dict[str, int]


class Pipeline:
    """One camera's stream. Not for several threads at once, but one may ``begin`` what another will ``finish``.

    Attributes:
        enhance: what makes frames bright; may be replaced between frames.
        config: may be replaced between frames; nothing that was received is forgotten.
        health: where frames and errors are counted.
    """

    def __init__(self, enhance: Enhance, config: PipelineConfig, health: Health) -> None:
        self.enhance, self.config, self.health = enhance, config, health
        self._metadata: StampedBuffer[CaptureMetadata] = StampedBuffer()
        self._camera_info: Any | None = None
        self._bypass = Bypass()
        self._steady = Steady()

    def add_metadata(self, type_name: str, msg: Any, received_ns: int | None = None) -> None:
        """Keep the capture metadata of a driver's message; an unreadable one is counted and dropped.

        One that is about this camera but tells nothing ends what was known, and is the metadata of its frame.

        Args:
            type_name: ROS type, e.g. ``flir_camera_msgs/msg/ImageMetaData``.
            msg: the message.
            received_ns: time of its receipt on the clock of the stamps, which stands in for a stamp where the message
                has none; without it such a message is dropped.

        Raises:
            ConfigError: no reader for that type.
        """
        reader = reader_of(type_name, self.config.metadata)
        try:
            reading = reader(msg, self.config.metadata)
        except LowlightError as error:
            self.health.failed(error)
            return
        if reading is None:
            return
        self.health.noted(reading.problem)
        stamp = received_ns if reading.stamp_ns is None else reading.stamp_ns
        if stamp is not None:
            self.add_capture(stamp, reading.capture)

    def add_capture(self, stamp_ns: int, capture: CaptureMetadata) -> None:
        """Keep capture metadata that holds from ``stamp_ns``, on the clock of the stamps; unknown ends what was."""
        self._metadata.add(stamp_ns, capture)

    def has_metadata_for(self, stamp_ns: int) -> bool:
        """Whether metadata of an image of that stamp has come, of equal stamp or within the tolerance.

        Also where all that it says is that nothing is known: nothing better will come.
        """
        return self._metadata.nearest(stamp_ns, self._tolerance_ns) is not None

    def add_camera_info(self, msg: Any) -> None:
        """Keep the camera's latest calibration; it belongs to frames of its size until another arrives."""
        self._camera_info = msg

    def camera_info_for(self, image_msg: Any) -> Any | None:
        """The camera_info to publish with an image that is passed on as it came, or None where none fits.

        Args:
            image_msg: Image by attribute; the size of a CompressedImage is not looked at.
        """
        if self._camera_info is None:
            return None
        if hasattr(image_msg, "format"):
            return camera_infos.with_header(self._camera_info, image_msg.header)
        size = (image_msg.height, image_msg.width)
        return self._info(self._camera_info, image_msg.header, size, size)

    def process(self, image_msg: Any, now_ns: int) -> EnhancedFrame:
        """Enhance one image message.

        Args:
            image_msg: sensor_msgs/Image or CompressedImage by attribute.
            now_ns: time of its receipt, on the clock whose time ``Health.report`` is told.

        Raises:
            LowlightError: a frame that cannot be enhanced; already counted.
        """
        return self.finish(self.begin(image_msg, now_ns))

    def begin(self, image_msg: Any, now_ns: int) -> PendingFrame:
        """The first half of ``process``, up to the network; arguments and errors as there."""
        self.health.received(now_ns)
        try:
            return self._begun(image_msg)
        except LowlightError as error:
            self.health.failed(error)
            raise

    def finish(self, begun: PendingFrame) -> EnhancedFrame:
        """The second half of ``process``, for frames in the order in which they were begun.

        Raises:
            LowlightError: maps that cannot be brought up; already counted.
        """
        try:
            return self._finished(begun)
        except LowlightError as error:
            self.health.failed(error)
            raise

    def _begun(self, image_msg: Any) -> PendingFrame:
        start = time.perf_counter_ns()
        config, enhance = self.config, self.enhance
        rgb, encoding = decode(image_msg, config.output_encoding, config.max_pixels)
        stamp = stamp_ns(image_msg)
        capture, match, age_ns = self._capture(stamp)
        self.health.matched(match, age_ns)
        decoded = time.perf_counter_ns()
        made: tuple[Tensor, Tensor] | NDArray[np.uint8] | None = None
        if not self._passes(rgb):
            made = enhance.maps(rgb, capture) if isinstance(enhance, MapEnhance) else enhance(rgb, capture)
        timings_ns = {"decode": decoded - start, "enhance": time.perf_counter_ns() - decoded}
        return PendingFrame(
            message=image_msg,
            rgb=rgb,
            encoding=encoding,
            stamp_ns=stamp,
            capture=capture,
            match=match,
            metadata_age_ns=age_ns,
            calibration=self._camera_info,
            config=config,
            enhance=enhance,
            made=made,
            timings_ns=timings_ns,
        )

    def _finished(self, begun: PendingFrame) -> EnhancedFrame:
        start = time.perf_counter_ns()
        header, rgb, passes = begun.message.header, begun.rgb, begun.made is None
        output = self._output(begun)
        if passes:
            self.health.bypassed()
        timings_ns = begun.timings_ns
        timings_ns["enhance"] += time.perf_counter_ns() - start
        return EnhancedFrame(
            rgb=output,
            encoding=begun.encoding,
            header=header,
            camera_info=self._info(begun.calibration, header, rgb.shape[:2], output.shape[:2]),
            capture=begun.capture,
            match=begun.match,
            timings_ns=timings_ns,
            metadata_age_ns=begun.metadata_age_ns,
            bypassed=passes,
            passed_message=begun.message if passes and output is rgb and _is_written_so(begun) else None,
        )

    @property
    def _tolerance_ns(self) -> int:
        return round(self.config.metadata_tolerance_s * NS_PER_S)

    def _capture(self, stamp: int) -> tuple[CaptureMetadata, Match, int | None]:
        """Metadata of equal stamp, else the nearest within the tolerance, else the last not too old, else fallback.

        With it, how it was found and how far its stamp is from the frame's.
        """
        match: Match = "nearest"
        found = self._metadata.nearest(stamp, self._tolerance_ns)
        if found is None:
            match, found = "last", self._metadata.latest()
            if found is not None and abs(stamp - found[0]) > self.config.metadata_max_age_s * NS_PER_S:
                found = None
        if found is not None and not found[1].is_unknown:
            age_ns = abs(stamp - found[0])
            return found[1].filled_from(self.config.fallback), match if age_ns else "exact", age_ns
        if not self.config.fallback.is_unknown:
            return self.config.fallback, "fallback", None
        return UNKNOWN, "none", None

    def _passes(self, rgb: Rgb) -> bool:
        """Whether the next frame stays as it is."""
        is_bright = self._bypass(rgb, self.config.bypass_above, self.config.bypass_hysteresis)
        return is_bright or self.config.strength == 0.0

    def _output(self, begun: PendingFrame) -> NDArray[np.uint8]:
        """The frame, steadied and weakened as the configuration asks; on the network's maps where there are any."""
        enhance, made, strength = begun.enhance, begun.made, begun.config.strength
        if made is None:
            return _untouched(begun)
        if isinstance(made, tuple) and isinstance(enhance, MapEnhance):
            maps, small = made
            smoothing_s = begun.config.smoothing_s
            correction = self._steady(maps, small, begun.stamp_ns, smoothing_s) if smoothing_s > 0.0 else None
            if maps.shape[0] == 6:
                weaken(maps, strength)
                if correction is not None:
                    correction *= np.float32(strength)
                return enhance.apply(maps, small, begun.rgb, correction)
            picture = enhance.apply(maps, small, begun.rgb, correction)
        else:
            picture = cast(NDArray[np.uint8], made)
        return picture if strength == 1.0 else blend(_untouched(begun), picture, strength)

    def _info(
        self, calibration: Any | None, header: Any, size: tuple[int, ...], output_size: tuple[int, ...]
    ) -> Any | None:
        """The camera_info of an output of (height, width) ``output_size`` made from an image of ``size``."""
        if calibration is None:
            return None
        try:
            camera_infos.check_matches(calibration, size[1], size[0])
            info = camera_infos.rescaled(calibration, output_size[1], output_size[0])
            return camera_infos.with_header(info, header)
        except CameraInfoError as error:
            self.health.failed(error)
            return None


def _untouched(begun: PendingFrame) -> NDArray[np.uint8]:
    enhance = begun.enhance
    return enhance.untouched(begun.rgb) if isinstance(enhance, MapEnhance) else to_8_bit(begun.rgb)


def _is_written_so(begun: PendingFrame) -> bool:
    """Whether the message holds its picture in the way in which the output is to be written."""
    if hasattr(begun.message, "format"):
        return begun.config.output_encoding == "same"
    return bool(begun.message.encoding == begun.encoding)
