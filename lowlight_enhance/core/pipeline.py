"""Pipeline: image message in, enhanced frame out.

The node, bags and videos use this class. Messages are read by attribute, so rclpy messages and recorded ones both
work.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lowlight_enhance.core.enhancement.bypass import Bypass
from lowlight_enhance.core.enhancement.enhancer import Enhance, FrameEnhancer, FunctionEnhancer
from lowlight_enhance.core.enhancement.maps import EnhancementMaps
from lowlight_enhance.core.enhancement.motion import Affine, scaled
from lowlight_enhance.core.enhancement.temporal_fusion import (
    FusedFrame,
    FusionStatistics,
    TemporalFusion,
    TemporalFusionConfig,
)
from lowlight_enhance.core.enhancement.temporal_smoothing import SMOOTHING_S, TemporalSmoother
from lowlight_enhance.core.errors import CameraInfoError, ConfigError, LowlightError
from lowlight_enhance.core.health import Health
from lowlight_enhance.core.imaging import camera_info as camera_infos
from lowlight_enhance.core.imaging.messages import decode, stamp_ns
from lowlight_enhance.core.inference.model_input import Rgb
from lowlight_enhance.core.metadata.capture import UNKNOWN, CaptureMetadata
from lowlight_enhance.core.metadata.readers import MetadataSettings, reader_for_type
from lowlight_enhance.core.metadata.stamped_buffer import StampedBuffer

Match = Literal["exact", "nearest", "last", "fallback", "none"]
"""Source of the capture metadata of a frame: equal stamp, nearest stamp within the tolerance, last message, configured
fallback, or none. Metadata without any known value counts as ``fallback`` or ``none``."""

NS_PER_S = 1_000_000_000

Profile = Literal["viewing", "detection"]

PROFILES: dict[Profile, float] = {"viewing": 1.0, "detection": 0.5}
"""Strength of the enhancement by use. Detectors find more in a mixture of the denoised dark frame and the enhanced
one, people see more in the enhanced one; docs/detectors.md has the measurements."""

_FUSION = TemporalFusionConfig()


@dataclass(frozen=True, slots=True)
class PipelineConfig:
    """Settings of a pipeline.

    Attributes:
        metadata_tolerance_s: largest difference of stamps at which metadata belongs to a frame.
        metadata_max_age_s: age, by stamp, up to which older metadata is used for a frame without its own.
        fallback: used without metadata, and for values that metadata leaves open.
        metadata: how the driver writes metadata.
        profile: what the output is for; decides the strength.
        strength: share of the enhancement, from 0 (output equals input bit for bit) to 1; None: that of the profile.
        bypass_above: mean luma, 0..255, from which a frame passes unchanged; 0: none does.
        bypass_hysteresis: how far the mean luma must drop below ``bypass_above`` until frames are enhanced again.
        smoothing_s: time constant of temporal smoothing, by stamps; 0: no smoothing
            (``core/enhancement/temporal_smoothing.py``).
        fusion: whether each frame is averaged with the aligned frames before it
            (``core/enhancement/temporal_fusion.py``).
        fusion_max_frames: number of frames to average, 1 to 16.
        output_encoding: ``same``, ``bgr8``, ``rgb8`` or ``mono8``.
        max_pixels: larger images are rejected.

    Raises:
        ConfigError: a value is out of range.
    """

    metadata_tolerance_s: float = 0.005
    metadata_max_age_s: float = 1.0
    fallback: CaptureMetadata = UNKNOWN
    metadata: MetadataSettings = field(default_factory=MetadataSettings)
    profile: Profile = "detection"
    strength: float | None = None
    bypass_above: float = 0.0
    bypass_hysteresis: float = 10.0
    smoothing_s: float = SMOOTHING_S
    fusion: bool = _FUSION.is_enabled
    fusion_max_frames: int = _FUSION.max_frames
    output_encoding: str = "same"
    max_pixels: int = 64_000_000

    def __post_init__(self) -> None:
        if self.profile not in PROFILES:
            raise ConfigError(f"profile '{self.profile}': must be one of {', '.join(PROFILES)}")
        for name, most in (("strength", 1.0), ("bypass_above", 255.0), ("bypass_hysteresis", 255.0)):
            value = getattr(self, name)
            if value is not None and not 0.0 <= value <= most:
                raise ConfigError(f"{name} {value}: must be from 0 to {most:g}")
        if not (math.isfinite(self.smoothing_s) and self.smoothing_s >= 0.0):
            raise ConfigError(f"smoothing_s {self.smoothing_s}: must be a finite number of seconds, 0 or more")
        self.temporal_fusion()

    @property
    def effective_strength(self) -> float:
        """The strength, or that of the profile."""
        return PROFILES[self.profile] if self.strength is None else self.strength

    def temporal_fusion(self) -> TemporalFusionConfig:
        """Return the settings of temporal fusion."""
        return TemporalFusionConfig(self.fusion, self.fusion_max_frames)


@dataclass(frozen=True, slots=True)
class EnhancedFrame:
    """Result of the pipeline for one image.

    Attributes:
        rgb: (H, W, 3) uint8; of an unchanged frame it may be a read-only view of the message.
        encoding: sensor_msgs encoding in which to publish it.
        header: header of the input image.
        camera_info: message with that header for this size; None if no camera_info fits.
        capture: metadata that was used.
        match: source of the metadata.
        timings_ns: nanoseconds by stage: ``decode``, ``enhance``.
        metadata_age_ns: difference between the stamps of metadata and frame; None without a message.
        bypassed: the frame passed unchanged: it is bright already, or the strength is 0.
        passed_message: the input message, if publishing it as it is gives exactly this frame; else None.
        fusion: result of temporal fusion; None for a frame that passes unchanged.
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
    fusion: FusionStatistics | None = None


@dataclass(frozen=True, slots=True)
class PendingFrame:
    """A frame between ``Pipeline.begin`` and ``Pipeline.finish``.

    Attributes:
        message: the input image.
        rgb: pixels of the image.
        encoding: sensor_msgs encoding in which to publish the output.
        stamp_ns: stamp of the image.
        capture: metadata that was used.
        match: source of the metadata.
        metadata_age_ns: difference between the stamps of metadata and frame; None without a message.
        calibration: the camera_info message that belongs to it, if any.
        config: settings when the frame was begun.
        enhancer: enhancer when the frame was begun.
        fused: average of this frame and earlier ones, which the network saw; None for a frame that passes unchanged.
        maps: result of the network; None for a frame that passes unchanged.
        timings_ns: nanoseconds by stage so far.
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
    enhancer: FrameEnhancer
    fused: FusedFrame | None
    maps: EnhancementMaps | None
    timings_ns: dict[str, int]


class Pipeline:
    """Pipeline of one camera.

    For one thread at a time, except that one thread may call ``begin`` while another calls ``finish``.

    Attributes:
        config: settings; may be replaced between frames. Received metadata and camera_info are kept.
        enabled: False passes every frame unchanged.
        health: counters of frames and errors.
    """

    def __init__(
        self, enhancer: FrameEnhancer | Enhance, config: PipelineConfig | None = None, health: Health | None = None
    ) -> None:
        """Create a pipeline.

        Args:
            enhancer: an ``Enhancer``, or a function from frame and metadata to the enhanced frame.
            config: settings; None for the defaults.
            health: counters to share with other code; None for new ones.
        """
        self.enhancer = enhancer
        self.config = PipelineConfig() if config is None else config
        self.enabled = True
        self.health = Health() if health is None else health
        self._metadata: StampedBuffer[CaptureMetadata] = StampedBuffer()
        self._camera_info: Any | None = None
        self._bypass = Bypass()
        self._smoother = TemporalSmoother()
        self._fusion = TemporalFusion()

    @property
    def enhancer(self) -> FrameEnhancer:
        """What enhances frames; may be replaced between frames."""
        return self._enhancer

    @enhancer.setter
    def enhancer(self, value: FrameEnhancer | Enhance) -> None:
        self._enhancer = value if isinstance(value, FrameEnhancer) else FunctionEnhancer(value)

    def reset(self) -> None:
        """Discard the averages of temporal fusion and smoothing. The next frame is processed without earlier frames.

        The noise that was measured in the stream, and the hysteresis of the bypass, are kept.
        """
        self._smoother.reset()
        self._fusion.reset()

    def add_metadata(self, type_name: str, msg: Any, received_ns: int | None = None) -> None:
        """Store the capture metadata of a driver's message. Unreadable messages are counted and dropped.

        A message about this camera without any known value replaces earlier metadata.

        Args:
            type_name: ROS type, e.g. ``flir_camera_msgs/msg/ImageMetaData``.
            msg: the message.
            received_ns: time of receipt on the clock of the stamps, used for messages without a stamp; without it such
                messages are dropped.

        Raises:
            ConfigError: there is no reader for that type.
        """
        reader = reader_for_type(type_name, self.config.metadata)
        try:
            reading = reader(msg, self.config.metadata)
        except LowlightError as error:
            self.health.record_failed(error)
            return
        if reading is None:
            return
        self.health.record_metadata_problem(reading.problem)
        stamp = received_ns if reading.stamp_ns is None else reading.stamp_ns
        if stamp is not None:
            self.add_capture(stamp, reading.capture)

    def add_capture(self, stamp_ns: int, capture: CaptureMetadata) -> None:
        """Store capture metadata that is valid from ``stamp_ns`` on; unknown values replace known ones too."""
        self._metadata.add(stamp_ns, capture)

    def has_metadata_for(self, stamp_ns: int) -> bool:
        """Return whether metadata for an image of that stamp has arrived, by equal stamp or within the tolerance.

        Metadata without known values counts too: no better message will follow.
        """
        return self._metadata.nearest(stamp_ns, self._tolerance_ns) is not None

    def add_camera_info(self, msg: Any) -> None:
        """Store the latest calibration; it belongs to frames of its size until another one arrives."""
        self._camera_info = msg

    def process(self, image_msg: Any, now_ns: int) -> EnhancedFrame:
        """Enhance one image message.

        Args:
            image_msg: sensor_msgs/Image or CompressedImage by attribute.
            now_ns: time of receipt, on the clock of ``Health.report``.

        Raises:
            LowlightError: the frame cannot be enhanced; the error is counted.
        """
        return self.finish(self.begin(image_msg, now_ns))

    def begin(self, image_msg: Any, now_ns: int) -> PendingFrame:
        """Run the first half of ``process``, up to the network. Arguments and errors are the same."""
        self.health.record_received(now_ns)
        try:
            return self._begin(image_msg)
        except LowlightError as error:
            self.health.record_failed(error)
            raise

    def finish(self, pending: PendingFrame) -> EnhancedFrame:
        """Run the second half of ``process``. Call it in the order in which frames were begun.

        Raises:
            LowlightError: the maps cannot be applied; the error is counted.
        """
        try:
            return self._finish(pending)
        except LowlightError as error:
            self.health.record_failed(error)
            raise

    def _begin(self, image_msg: Any) -> PendingFrame:
        start = time.perf_counter_ns()
        config, enhancer = self.config, self.enhancer
        rgb, encoding = decode(image_msg, config.output_encoding, config.max_pixels)
        stamp = stamp_ns(image_msg)
        capture, match, age_ns = self._capture(stamp)
        self.health.record_match(match, age_ns)
        decoded = time.perf_counter_ns()
        fused = None if self._passes_unchanged(rgb) else self._fuse(image_msg, rgb, capture)
        maps = None if fused is None else enhancer.maps(fused.rgb, fused.capture, fused.frame_count)
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
            enhancer=enhancer,
            fused=fused,
            maps=maps,
            timings_ns=timings_ns,
        )

    def _finish(self, pending: PendingFrame) -> EnhancedFrame:
        start = time.perf_counter_ns()
        header, rgb, maps = pending.message.header, pending.rgb, pending.maps
        if maps is None or pending.fused is None:
            output = pending.enhancer.unchanged(rgb)
            self.health.record_bypassed()
        else:
            output = self._render(pending, maps, pending.fused.rgb)
        passes_message = maps is None and output is rgb and _keeps_encoding(pending)
        enhance_ns = pending.timings_ns["enhance"] + time.perf_counter_ns() - start
        return EnhancedFrame(
            rgb=output,
            encoding=pending.encoding,
            header=header,
            camera_info=self._info(pending.calibration, header, rgb.shape[:2], output.shape[:2]),
            capture=pending.capture,
            match=pending.match,
            timings_ns={**pending.timings_ns, "enhance": enhance_ns},
            metadata_age_ns=pending.metadata_age_ns,
            bypassed=maps is None,
            passed_message=pending.message if passes_message else None,
            fusion=None if pending.fused is None else pending.fused.statistics,
        )

    @property
    def _tolerance_ns(self) -> int:
        return round(self.config.metadata_tolerance_s * NS_PER_S)

    def _capture(self, stamp: int) -> tuple[CaptureMetadata, Match, int | None]:
        """Return the metadata of a frame, its source and the difference of stamps.

        Metadata of equal stamp, else the nearest within the tolerance, else the last before the frame (or the first
        after it) if it is not too old, else the fallback.
        """
        match: Match = "nearest"
        found = self._metadata.nearest(stamp, self._tolerance_ns)
        if found is None:
            match, found = "last", self._metadata.latest(stamp)
            if found is not None and abs(stamp - found[0]) > self.config.metadata_max_age_s * NS_PER_S:
                found = None
        if found is not None and not found[1].is_unknown:
            age_ns = abs(stamp - found[0])
            return found[1].filled_from(self.config.fallback), match if age_ns else "exact", age_ns
        if not self.config.fallback.is_unknown:
            return self.config.fallback, "fallback", None
        return UNKNOWN, "none", None

    def _passes_unchanged(self, rgb: Rgb) -> bool:
        is_bright = self._bypass(rgb, self.config.bypass_above, self.config.bypass_hysteresis)
        if is_bright or not self.enabled or self.config.effective_strength == 0.0:
            self._fusion.reset()
            return True
        return False

    def _fuse(self, image_msg: Any, rgb: Rgb, capture: CaptureMetadata) -> FusedFrame:
        """Average the frame with earlier ones. A ``FunctionEnhancer`` takes single frames only."""
        if isinstance(self.enhancer, FunctionEnhancer):
            return FusedFrame(rgb, capture)
        encoding = getattr(image_msg, "encoding", "compressed")
        fused = self._fusion(rgb, capture, stamp_ns(image_msg), self.config.temporal_fusion(), encoding)
        self.health.record_fusion(fused.statistics)
        return fused

    def _render(self, pending: PendingFrame, maps: EnhancementMaps, rgb: Rgb) -> NDArray[np.uint8]:
        """Smooth the maps over time, weaken them to the strength, and apply them to ``rgb``."""
        smoothing_s, strength = pending.config.smoothing_s, pending.config.effective_strength
        correction = None
        if smoothing_s > 0.0:
            correction = self._smoother(maps, pending.stamp_ns, smoothing_s, _motion_of(pending, maps))
        if correction is not None:
            correction = correction * np.float32(strength)
        return pending.enhancer.apply(maps.at_strength(strength), rgb, correction)

    def _info(
        self, calibration: Any | None, header: Any, size: tuple[int, ...], output_size: tuple[int, ...]
    ) -> Any | None:
        """Return the camera_info of an output of (height, width) ``output_size``, from an image of ``size``."""
        if calibration is None:
            return None
        try:
            camera_infos.check_matches(calibration, size[1], size[0])
            info = camera_infos.rescaled(calibration, output_size[1], output_size[0])
            return camera_infos.with_header(info, header)
        except CameraInfoError as error:
            self.health.record_failed(error)
            return None


def _motion_of(pending: PendingFrame, maps: EnhancementMaps) -> Affine | None:
    """Return the camera motion that fusion found, for pixels of ``maps``; None if it found none."""
    found = None if pending.fused is None else pending.fused.motion
    if found is None:
        return None
    height, width = pending.rgb.shape[:2]
    return scaled(found, maps.size[1] / width, maps.size[0] / height)


def _keeps_encoding(pending: PendingFrame) -> bool:
    """Return whether the message already has the encoding of the output."""
    if hasattr(pending.message, "format"):
        return pending.config.output_encoding == "same"
    return bool(pending.message.encoding == pending.encoding)
