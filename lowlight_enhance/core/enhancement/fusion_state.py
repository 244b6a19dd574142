"""State of temporal fusion between frames: the running average, and buffers of its size."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from lowlight_enhance.core.enhancement import motion
from lowlight_enhance.core.metadata.capture import CaptureMetadata

Plane = NDArray[np.float32]

CELLS = 128
"""Approximate number of cells on the shorter side of a frame."""

MAX_GAP_S = 0.5
"""A longer gap between stamps resets the average."""

MAX_EXPOSURE_CHANGE = 0.05
"""A larger relative change of ISO or exposure time resets the average."""


@dataclass(slots=True)
class Past:
    """The running average after a frame.

    Attributes:
        planes: three (H, W) planes of linear light, 0..65535.
        cells: (h, w, 3) means of cells of it, 0..1 linear.
        gray: (h, w) input of motion estimation.
        weight: (h, w) weight of each cell in the next average, in frames.
        count: (h, w) number of frames whose plain mean is as noisy.
        motion: (2, 3) last motion in cells, or None.
        source: shape, element type and encoding of the frames.
        capture: metadata of the last frame that had any.
        stamp_ns: stamp of the last frame.
    """

    planes: list[Plane]
    cells: Plane
    gray: Plane
    weight: Plane
    count: Plane
    motion: motion.Affine | None
    source: object
    capture: CaptureMetadata
    stamp_ns: int


@dataclass(frozen=True, slots=True)
class Present:
    """A new frame: planes of linear light, means of cells and the input of motion estimation."""

    planes: list[Plane]
    cells: Plane
    gray: Plane


class FusionBuffers:
    """Buffers for frames of one (H, W) shape, as fresh memory costs as much as the arithmetic.

    Attributes:
        shape: (H, W).
        cells: (w, h) of the grid of cells.
        pixels: pixels (x, y) of a cell.
        samples: rows and columns of the middle pixels of every other cell, as an index.
        present: three (H, W) buffers.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        height, width = self.shape = shape[0], shape[1]
        cell = 1 << max(0, round(math.log2(max(1, min(shape)) / CELLS)))
        self.cells = max(1, round(width / cell)), max(1, round(height / cell))
        self.pixels = width / self.cells[0], height / self.cells[1]
        middle = [
            ((np.arange(0, n, 2) + 0.5) * size).astype(np.intp)
            for n, size in zip(self.cells, self.pixels, strict=True)
        ]
        self.samples = middle[1][:, None], middle[0][None, :]
        self.present, self._past, self._moved = (
            [np.empty(self.shape, np.float32) for _ in range(3)] for _ in range(3)
        )
        self._integers = [np.empty(self.shape, np.uint16) for _ in range(3)]
        self._weight, self._bias = np.empty(self.shape, np.float32), np.empty(self.shape, np.float32)
        self._ones = np.ones(self.shape, np.float32)

    def keep(self, planes: list[Plane]) -> list[Plane]:
        """Copy ``planes`` into the buffers of the past, and return these."""
        for plane, target in zip(planes, self._past, strict=True):
            np.copyto(target, plane)
        return self._past

    def warp(self, planes: list[Plane], matrix: motion.Affine) -> list[Plane]:
        """Return ``planes`` seen through ``matrix``.

        Bicubic interpolation keeps 98 % of the amplitude of fine texture over 14 frames, bilinear 65 to 80 %.
        """
        size = (self.shape[1], self.shape[0])
        flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
        for plane, target in zip(planes, self._moved, strict=True):
            cv2.warpAffine(plane, matrix, size, dst=target, flags=flags, borderMode=cv2.BORDER_REPLICATE)
        return self._moved

    def average(self, past: list[Plane], present: list[Plane], weight: Plane) -> list[Plane]:
        """Return (weight * past + present) / (weight + 1) in the buffers of the past; ``weight`` is per cell."""
        full = self._enlarged(weight, self._weight)
        for old, new, target in zip(past, present, self._past, strict=True):
            cv2.blendLinear(old, new, full, self._ones, dst=target)
        return self._past

    def quantised(self, planes: list[Plane], bias: Plane | None) -> list[NDArray[np.uint16]]:
        """Return ``planes`` less ``bias``, rounded and clipped; ``bias`` is (rows, columns, 3) on a coarser grid."""
        for channel, (plane, target) in enumerate(zip(planes, self._integers, strict=True)):
            if bias is None:
                self._bias.fill(0.0)
                cv2.subtract(plane, self._bias, dst=target, dtype=cv2.CV_16U)
            else:
                full = self._enlarged(np.ascontiguousarray(bias[:, :, channel]), self._bias)
                cv2.subtract(plane, full, dst=target, dtype=cv2.CV_16U)
        return self._integers

    def _enlarged(self, plane: Plane, target: Plane) -> Plane:
        size = (self.shape[1], self.shape[0])
        return np.asarray(cv2.resize(plane, size, dst=target, interpolation=cv2.INTER_LINEAR), dtype=np.float32)


def continues(past: Past, source: object, capture: CaptureMetadata, stamp_ns: int) -> bool:
    """Return whether a frame may be averaged with ``past``: same source, short gap, same exposure."""
    return (
        past.source == source
        and 0 < stamp_ns - past.stamp_ns <= MAX_GAP_S * 1e9
        and not changed(past.capture.iso, capture.iso)
        and not changed(past.capture.exposure_s, capture.exposure_s)
    )


def changed(before: float | None, now: float | None) -> bool:
    """Return whether both values are known and differ; unknown metadata does not reset an average."""
    if before is None or now is None:
        return False
    return abs(now - before) > MAX_EXPOSURE_CHANGE * before
