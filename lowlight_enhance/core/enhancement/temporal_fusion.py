"""Temporal fusion: average each frame with the aligned frames before it.

Each frame is converted to linear light. The running average of earlier frames is warped by the camera motion, then
averaged with the frame where the difference between both is within the expected noise. Moving objects, lights that are
switched on, and areas that come into view start a new average. The network receives the number of averaged frames per
pixel: the mean of n frames is as noisy as one frame of ISO / n.

All decisions use means of small cells of pixels, because single pixels are too noisy and too many. Only warp, average
and encoding work at full size.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from lowlight_enhance.core.enhancement import linear_light, motion
from lowlight_enhance.core.enhancement.fusion_gate import Comparison
from lowlight_enhance.core.enhancement.fusion_state import FusionBuffers, Past, Present, changed, continues
from lowlight_enhance.core.enhancement.noise_model import NoiseModel
from lowlight_enhance.core.errors import ConfigError
from lowlight_enhance.core.inference.model_input import Rgb
from lowlight_enhance.core.metadata.capture import CaptureMetadata

Plane = NDArray[np.float32]

MAX_FRAMES = 16
"""Largest ``max_frames``."""

MIN_SIDE = 32
"""Frames with fewer pixels on a side are not fused."""

MAX_SIDE, MAX_ASPECT = 32766, 8.0
"""Frames with more pixels on a side, which OpenCV cannot warp, or longer in relation to their width are not fused."""

MIN_MOTION_PX = 0.05
"""Smaller motion is ignored, because every warp costs a little sharpness."""

MAX_UNCERTAINTY_PX = 2.0
"""The motion counts as unknown if the standard deviation of the displacement is larger."""

BIAS_CELLS = 3
"""The black bias is computed from means of this many cells each way, because single cells are too noisy."""

EVERY_FRAME, MEASURE_PERIOD = 8, 4
"""The noise is measured in the first eight fused frames, then in every fourth: it changes slowly."""

MIN_OPEN_SHARE = 0.25
"""If less than this share of the picture fits its past, the scene has changed and the average is reset."""

CORRELATION_LIMITS, CORRELATION_RISE, CORRELATION_RATE = (0.8, 3.0), 2.0, 0.5
"""Accepted range of the running noise correlation, the largest ratio of a frame's correlation to it, and its update
rate. A cut raises the correlation of one frame; correlated noise raises it in every frame."""

NOMINAL_FULL_WELL = 35000.0
"""Full well in electrons at ISO 100 of the reference camera whose ISO describes noise to the network: the smallest
sensor that the default model was trained on. A camera of 10,000 electrons at ISO 3200 is as noisy as this one at
ISO 11200, so 7 of its frames count as 2. That gives +0.03 SSIM at 4 and 5 stops."""

MIN_FULL_WELL = 4000.0
"""Full well in electrons at ISO 100 of the smallest sensors; limits the correction of a known ISO."""


@dataclass(frozen=True, slots=True)
class TemporalFusionConfig:
    """Settings of temporal fusion.

    Attributes:
        is_enabled: whether frames are fused.
        max_frames: the weight of a new frame is at least 1 / ``max_frames``; 1 to 16. A settled average is as noisy as
            the mean of 2 ``max_frames`` - 1 frames.

    Raises:
        ConfigError: a value is out of range.
    """

    is_enabled: bool = True
    max_frames: int = 8

    def __post_init__(self) -> None:
        if not 1 <= self.max_frames <= MAX_FRAMES:
            raise ConfigError(f"max_frames {self.max_frames}: must be from 1 to {MAX_FRAMES}")


@dataclass(frozen=True, slots=True)
class FusionStatistics:
    """Result of fusion for one frame, for diagnostics.

    Attributes:
        mean_count: mean number of averaged frames per pixel; 1 if nothing was fused.
        reset_share: share of pixels whose past did not count in full, 0..1.
        motion_px: largest displacement of a corner since the previous frame, in pixels.
        duration_ns: duration of fusion.
    """

    mean_count: float = 1.0
    reset_share: float = 1.0
    motion_px: float = 0.0
    duration_ns: int = 0


@dataclass(frozen=True, slots=True)
class FusedFrame:
    """A frame and its noise level.

    Attributes:
        rgb: (H, W, 3) uint16 average, or the input itself if nothing was fused.
        capture: metadata to pass to the network with it.
        frame_count: (h, w) number of averaged frames of each cell, for ``ModelInput.encode``; None for a single frame.
        motion: (2, 3) affine map from this frame's pixels (x, y) to those of the previous frame; None if unknown.
        statistics: for diagnostics.
    """

    rgb: Rgb
    capture: CaptureMetadata
    frame_count: Plane | None = None
    motion: motion.Affine | None = None
    statistics: FusionStatistics = FusionStatistics()


class TemporalFusion:
    """The running average of one stream. For one thread at a time."""

    def __init__(self) -> None:
        self._past: Past | None = None
        self._noise = NoiseModel()
        self._noise_iso: float | None = None
        self._correlation = 1.0
        self._fused = 0
        self._buffers = FusionBuffers((0, 0))

    def reset(self) -> None:
        """Forget earlier frames. The measured noise is kept."""
        self._past = None

    def __call__(
        self, rgb: Rgb, capture: CaptureMetadata, stamp_ns: int, config: TemporalFusionConfig, encoding: str = ""
    ) -> FusedFrame:
        """Fuse the next frame.

        Args:
            rgb: (H, W, 3) uint8 or uint16, sRGB.
            capture: its ISO and exposure time, as far as known.
            stamp_ns: its stamp. A stamp that jumps back, repeats, or leaves a gap resets the average.
            config: settings; may differ from frame to frame.
            encoding: encoding of the message; a different one resets the average.

        Returns:
            The average. The first frame, and each frame whose past does not fit, is returned unchanged.
        """
        start = time.perf_counter_ns()
        short, long = sorted(rgb.shape[:2])
        has_size = short >= MIN_SIDE and long <= min(MAX_SIDE, MAX_ASPECT * short)
        if not (config.is_enabled and config.max_frames > 1 and has_size):
            self.reset()
            return FusedFrame(rgb, capture)
        source = (rgb.shape, rgb.dtype, encoding)
        past, self._past = self._past, None
        if past is not None and not continues(past, source, capture, stamp_ns):
            past = None
        if changed(self._noise_iso, capture.iso):
            self._noise, self._fused = NoiseModel(), 0
        self._noise_iso = self._noise_iso if capture.iso is None else capture.iso
        if self._buffers.shape != rgb.shape[:2]:
            self._buffers = FusionBuffers(rgb.shape[:2])
        present = self._prepared(rgb)
        known = capture if past is None else capture.filled_from(past.capture)
        fused = None if past is None else self._fuse(past, present, config)
        if fused is None:
            ones = np.ones(present.gray.shape, np.float32)
            self._past = Past(
                self._buffers.keep(present.planes),
                present.cells,
                present.gray,
                ones,
                ones,
                None,
                source,
                known,
                stamp_ns,
            )
            return FusedFrame(rgb, capture, statistics=FusionStatistics(duration_ns=time.perf_counter_ns() - start))
        merged, reset_share, found = fused
        merged.source, merged.capture, merged.stamp_ns = source, known, stamp_ns
        self._past = merged
        pixels = rgb.shape[1] / merged.count.shape[1], rgb.shape[0] / merged.count.shape[0]
        encoded = self._encoded(merged)
        statistics = FusionStatistics(
            mean_count=float(merged.count.mean()),
            reset_share=reset_share,
            motion_px=found.displacement(*merged.count.shape) * max(pixels),
            duration_ns=time.perf_counter_ns() - start,
        )
        network_capture, count = self._network_metadata(capture, merged.count)
        return FusedFrame(encoded, network_capture, count, found.scaled(*pixels), statistics)

    def _prepared(self, rgb: Rgb) -> Present:
        planes = self._buffers.present
        linear_light.to_linear(rgb, planes)
        cells = self._cells(planes)
        return Present(planes, cells, self._gray(cells))

    def _cells(self, planes: list[Plane]) -> Plane:
        """Return the (h, w, 3) means of cells, 0..1."""
        small = [cv2.resize(plane, self._buffers.cells, interpolation=cv2.INTER_AREA) for plane in planes]
        scale = 1.0 / linear_light.FULL_SCALE
        cells: Plane = np.asarray(cv2.merge(small), dtype=np.float32)
        cells *= np.float32(scale)
        return cells

    def _gray(self, cells: Plane) -> Plane:
        """Return the input of motion estimation; the square root makes shot noise equal everywhere."""
        dark = max(1e-4, 0.5 * self._noise.read)
        gray = cv2.transform(cells, np.array([[1.0, 1.0, 1.0, 3.0 * dark]], np.float32))
        return motion.prepared(np.asarray(cv2.sqrt(gray), dtype=np.float32))

    def _fuse(
        self, past: Past, present: Present, config: TemporalFusionConfig
    ) -> tuple[Past, float, motion.Motion] | None:
        """Return the average with ``present``, the share of pixels that were reset, and the motion.

        None if the motion is unknown or the scene has changed.
        """
        found = motion.estimate(past.gray, present.gray, past.motion)
        pixels = self._buffers.pixels
        if found is None or found.uncertainty * max(pixels) > MAX_UNCERTAINTY_PX:
            return None
        height, width = present.gray.shape
        is_still = found.displacement(height, width) * max(pixels) < MIN_MOTION_PX
        if is_still:
            found = motion.Motion(motion.IDENTITY, found.uncertainty)
            cells, weight, count = past.cells, past.weight, past.count
        else:
            cells, weight, count = self._moved_cells(past, found)
        moved = past.planes if is_still else self._buffers.warp(past.planes, found.scaled(*pixels))
        gate = self._gate(Comparison(cells, present.cells, count), moved, present, weight, count)
        if gate is None:
            return None
        weight = np.minimum(weight * gate, np.float32(config.max_frames - 1))
        share = np.float32(1.0) / (weight + np.float32(1.0))
        count = np.float32(1.0) / (np.square(1.0 - share) / count + np.square(share))
        planes = self._buffers.average(moved, present.planes, weight)
        cells = self._cells(planes)
        merged = Past(
            planes,
            cells,
            self._gray(cells),
            weight + np.float32(1.0),
            count,
            found.matrix,
            past.source,
            past.capture,
            0,
        )
        return merged, float(1.0 - gate.mean()), found

    def _moved_cells(self, past: Past, found: motion.Motion) -> tuple[Plane, Plane, Plane]:
        """Return cells, weight and count of the past, aligned to the present; weight 0 where it was not in view."""
        cells = motion.warped(past.cells, found.matrix)
        weight, count = motion.warped(past.weight, found.matrix), motion.warped(past.count, found.matrix)
        inside = cv2.erode(motion.inside(found.matrix, *weight.shape), np.ones((3, 3), np.uint8))
        return cells, weight * inside, np.maximum(count, np.float32(1.0))

    def _gate(
        self, comparison: Comparison, moved: list[Plane], present: Present, weight: Plane, count: Plane
    ) -> Plane | None:
        """Return the (h, w) weight of the past, 0..1; None if too little of it fits. Also updates the noise model."""
        per_cell = self._buffers.pixels[0] * self._buffers.pixels[1]
        is_covered = weight > 0.0
        if not self._noise.is_known:
            self._measure(comparison, moved, present, count, is_covered)
            if not self._noise.is_known:
                return None
        comparison.normalize(self._noise, per_cell)
        gate = comparison.gate(self._correlation) * is_covered
        usual = min(comparison.correlation, CORRELATION_RISE * self._correlation)
        self._correlation += CORRELATION_RATE * (usual - self._correlation)
        self._correlation = min(max(self._correlation, CORRELATION_LIMITS[0]), CORRELATION_LIMITS[1])
        if float(gate.sum()) < MIN_OPEN_SHARE * max(float(is_covered.sum()), 0.25 * gate.size):
            return None
        self._fused += 1
        if self._fused <= EVERY_FRAME or self._fused % MEASURE_PERIOD == 0:
            self._measure(comparison, moved, present, count, gate > 0.5)
        return gate

    def _measure(
        self, comparison: Comparison, moved: list[Plane], present: Present, count: Plane, where: NDArray[np.bool_]
    ) -> None:
        """Update the noise model with one pixel of every other cell each way."""
        rows, columns = self._buffers.samples
        where = where[::2, ::2]
        factor = (1.0 + 1.0 / count[::2, ::2])[where]
        level = comparison.level[::2, ::2][where]
        scale = np.float32(linear_light.FULL_SCALE**-2)
        squared = [
            np.square(old[rows, columns][where] - new[rows, columns][where]) * scale / factor
            for old, new in zip(moved, present.planes, strict=True)
        ]
        self._noise.update(level.T.ravel(), np.concatenate(squared))

    def _encoded(self, merged: Past) -> NDArray[np.uint16]:
        """Return the average as sRGB, less the part of the black bias that one long exposure would not have."""
        bias: Plane | None = None
        if self._noise.read > 0.0:
            coarse = (-(-merged.count.shape[1] // BIAS_CELLS), -(-merged.count.shape[0] // BIAS_CELLS))
            local = np.asarray(cv2.resize(merged.cells, coarse, interpolation=cv2.INTER_AREA), dtype=np.float32)
            count = cv2.resize(merged.count, coarse, interpolation=cv2.INTER_AREA)
            part = (np.float32(1.0) - np.float32(1.0) / np.sqrt(count)) * np.float32(linear_light.FULL_SCALE)
            bias = self._noise.black_bias(local) * part[:, :, None]
        return linear_light.to_srgb16(self._buffers.quantised(merged.planes, bias))

    def _network_metadata(self, capture: CaptureMetadata, count: Plane) -> tuple[CaptureMetadata, Plane]:
        """Return metadata and number of frames for the network, corrected by the measured noise.

        An unknown ISO is replaced by the ISO of equal noise. A known ISO is kept, because it describes single frames.
        If the camera is noisier than its ISO suggests, an average counts as fewer frames, so that ISO / n stands for
        the noise that is left.
        """
        iso = 100.0 * NOMINAL_FULL_WELL * self._noise.gain
        if capture.iso is None:
            return CaptureMetadata.sanitized(iso, capture.exposure_s), count
        share = min(max(capture.iso / iso, MIN_FULL_WELL / NOMINAL_FULL_WELL), 1.0)
        return capture, np.maximum(count * np.float32(share), np.float32(1.0))
