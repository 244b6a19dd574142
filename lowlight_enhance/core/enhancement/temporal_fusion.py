"""Temporal fusion: the average of the frames before, aligned to the present one.

Each frame is turned into linear light and averaged with the running average of the frames before it, which is first
moved along with the camera. A pixel's past counts only where its difference from the present is within what the noise
of the stream explains; things that move, lights that are switched on, and what comes into view start anew. The network
is told for each pixel how many frames were averaged: n frames are as noisy as one frame of ISO / n.

Everything is decided on means of small cells of pixels; only warp, average and encoding work at full size.
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

MIN_MOTION_PX = 0.05
"""Smaller motion is not followed, because every warp costs a little sharpness."""

MAX_UNCERTAINTY_PX = 2.0
"""Standard deviation of the displacement from which on the motion counts as unknown."""

BIAS_CELLS = 3
"""The black bias is that of the mean of so many cells each way, because single cells are too noisy."""

EVERY_FRAME, MEASURE_PERIOD = 8, 4
"""The noise is measured in so many fused frames at first, then in every fourth: it changes slowly."""

MIN_OPEN_SHARE = 0.25
"""Where less than this share of the picture fits its past, the scene is another: the average starts anew."""

CORRELATION_LIMITS, CORRELATION_RISE, CORRELATION_RATE = (0.8, 3.0), 2.0, 0.5
"""Range of the noise correlation that is allowed for, how far above the usual a frame may lie, and how fast the usual
follows. A cut raises it at once, correlated noise is there all the time."""

NOMINAL_FULL_WELL = 35000.0
"""Electrons at ISO 100 of the camera by whose ISO noise is told to the network: the smallest of the sensors that the
shipped network was trained on. A camera of 10,000 electrons at ISO 3200 is as noisy as this one at ISO 11200, so 7 of
its frames count as 2. That gives +0.03 SSIM at 4 and 5 stops."""

MIN_FULL_WELL = 4000.0
"""Electrons at ISO 100 of the smallest sensors; bounds by how much a known ISO is corrected."""


@dataclass(frozen=True, slots=True)
class TemporalFusionConfig:
    """How frames are fused.

    Attributes:
        is_enabled: whether they are.
        max_frames: a new frame counts at least 1 / ``max_frames``; 1 to 16. The average has settled when as little
            noise is left as in 2 ``max_frames`` - 1 frames.

    Raises:
        ConfigError: a value out of range.
    """

    is_enabled: bool = True
    max_frames: int = 8

    def __post_init__(self) -> None:
        if not 1 <= self.max_frames <= MAX_FRAMES:
            raise ConfigError(f"max_frames {self.max_frames}: must be from 1 to {MAX_FRAMES}")


@dataclass(frozen=True, slots=True)
class FusionStatistics:
    """What fusion did to one frame.

    Attributes:
        mean_count: averaged frames per pixel; 1 where the frame stands alone.
        reset_share: share of pixels whose past did not count in full, 0..1.
        motion_px: largest displacement of a corner since the frame before, in pixels.
        duration_ns: time that fusion took.
    """

    mean_count: float = 1.0
    reset_share: float = 1.0
    motion_px: float = 0.0
    duration_ns: int = 0


@dataclass(frozen=True, slots=True)
class FusedFrame:
    """A frame and what is known about its noise.

    Attributes:
        rgb: (H, W, 3) uint16 average, or the input itself where nothing was fused.
        capture: metadata to tell the network with it.
        frame_count: (h, w) averaged frames of each cell, as ``ModelInput.encode`` takes them; None for a frame alone.
        motion: (2, 3) affine map from this frame's pixels (x, y) to those of the frame before; None where unknown.
        statistics: for diagnostics.
    """

    rgb: Rgb
    capture: CaptureMetadata
    frame_count: Plane | None = None
    motion: motion.Affine | None = None
    statistics: FusionStatistics = FusionStatistics()


class TemporalFusion:
    """The running average of one stream. Not for several threads at once."""

    def __init__(self) -> None:
        self._past: Past | None = None
        self._noise = NoiseModel()
        self._noise_iso: float | None = None
        self._correlation = 1.0
        self._fused = 0
        self._buffers = FusionBuffers((0, 0))

    def reset(self) -> None:
        """Forget the frames before. What is known about the noise is kept."""
        self._past = None

    def __call__(
        self, rgb: Rgb, capture: CaptureMetadata, stamp_ns: int, config: TemporalFusionConfig, encoding: str = ""
    ) -> FusedFrame:
        """Fuse the next frame.

        Args:
            rgb: (H, W, 3) uint8 or uint16, sRGB.
            capture: its ISO and exposure time, as far as known.
            stamp_ns: its stamp. One that jumps back, stands still, or leaves a gap starts anew.
            config: how to fuse; may differ from frame to frame.
            encoding: encoding of the message; another one than before starts anew.

        Returns:
            The first frame, and each one whose past does not fit, comes back as it is.
        """
        start = time.perf_counter_ns()
        if not config.is_enabled or config.max_frames == 1 or min(rgb.shape[:2]) < MIN_SIDE:
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
        told, count = self._told(capture, merged.count)
        return FusedFrame(encoded, told, count, found.scaled(*pixels), statistics)

    def _prepared(self, rgb: Rgb) -> Present:
        planes = self._buffers.present
        linear_light.to_linear(rgb, planes)
        cells = self._cells(planes)
        return Present(planes, cells, self._gray(cells))

    def _cells(self, planes: list[Plane]) -> Plane:
        """(h, w, 3) means of cells, 0..1."""
        small = [cv2.resize(plane, self._buffers.cells, interpolation=cv2.INTER_AREA) for plane in planes]
        scale = 1.0 / linear_light.FULL_SCALE
        cells: Plane = np.asarray(cv2.merge(small), dtype=np.float32)
        cells *= np.float32(scale)
        return cells

    def _gray(self, cells: Plane) -> Plane:
        """What motion is estimated from; the square root makes shot noise equal everywhere."""
        dark = max(1e-4, 0.5 * self._noise.read)
        gray = cv2.transform(cells, np.array([[1.0, 1.0, 1.0, 3.0 * dark]], np.float32))
        return motion.prepared(np.asarray(cv2.sqrt(gray), dtype=np.float32))

    def _fuse(
        self, past: Past, present: Present, config: TemporalFusionConfig
    ) -> tuple[Past, float, motion.Motion] | None:
        """The average with ``present``, the share of pixels that start anew, and the motion; None: no part fits."""
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
        """The past's cells, weight and count where the present has them; the weight is 0 where nothing was in view."""
        cells = motion.warped(past.cells, found.matrix)
        weight, count = motion.warped(past.weight, found.matrix), motion.warped(past.count, found.matrix)
        inside = cv2.erode(motion.inside(found.matrix, *weight.shape), np.ones((3, 3), np.uint8))
        return cells, weight * inside, np.maximum(count, np.float32(1.0))

    def _gate(
        self, comparison: Comparison, moved: list[Plane], present: Present, weight: Plane, count: Plane
    ) -> Plane | None:
        """(h, w) how far the past counts, 0..1; None where too little of it does. Measures the noise on the way."""
        per_cell = self._buffers.pixels[0] * self._buffers.pixels[1]
        is_covered = weight > 0.0
        if not self._noise.is_known:
            self._measure(comparison, moved, present, count, is_covered)
            if not self._noise.is_known:
                return None
        comparison.judge(self._noise, per_cell)
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
        """Show the noise model one pixel of every other cell each way."""
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
        """The average as an sRGB picture, without the part of the black bias that a long exposure would not have."""
        bias: Plane | None = None
        if self._noise.read > 0.0:
            coarse = (-(-merged.count.shape[1] // BIAS_CELLS), -(-merged.count.shape[0] // BIAS_CELLS))
            local = np.asarray(cv2.resize(merged.cells, coarse, interpolation=cv2.INTER_AREA), dtype=np.float32)
            count = cv2.resize(merged.count, coarse, interpolation=cv2.INTER_AREA)
            part = (np.float32(1.0) - np.float32(1.0) / np.sqrt(count)) * np.float32(linear_light.FULL_SCALE)
            bias = self._noise.black_bias(local) * part[:, :, None]
        return linear_light.to_srgb16(self._buffers.quantised(merged.planes, bias))

    def _told(self, capture: CaptureMetadata, count: Plane) -> tuple[CaptureMetadata, Plane]:
        """Metadata and number of frames for the network, by the noise that was measured.

        An unknown ISO is replaced by that of equal noise. A known ISO stands for single frames; if the camera is
        noisier than its ISO tells, an average counts as fewer frames, so that ISO / n is that of equal noise.
        """
        iso = 100.0 * NOMINAL_FULL_WELL * self._noise.gain
        if capture.iso is None:
            return CaptureMetadata.of(iso, capture.exposure_s), count
        share = min(max(capture.iso / iso, MIN_FULL_WELL / NOMINAL_FULL_WELL), 1.0)
        return capture, np.maximum(count * np.float32(share), np.float32(1.0))
