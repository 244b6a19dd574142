"""ModelInput: conversion of an image and its capture metadata to the 5-channel input tensor of the network.

It is the only code for this. Training uses it, export stores its settings in the ONNX file, and the runtime reads them
back, so training and runtime cannot differ.
"""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lowlight_enhance.core.errors import ConfigError, ImageError, ModelError
from lowlight_enhance.core.metadata.capture import CaptureMetadata

Rgb = NDArray[np.uint8] | NDArray[np.uint16]
"""(H, W, 3) R, G, B, sRGB-encoded as on camera topics; uint8 0..255 or uint16 0..65535."""

Tensor = NDArray[np.float32]

METADATA_KEY = "lowlight_enhance.model_input"
"""Key of the ModelInput in the ``metadata_props`` of an ONNX file."""

CHANNELS = 5

MAX_SIDE = 16384
"""Largest working size and largest side of the input tensor, in pixels."""

MAX_ASPECT = 8
"""Largest aspect ratio at which ``working_size`` is the shorter side; above, the longer side decides."""

MAX_MULTIPLE = 1024
MAX_JSON_CHARACTERS = 4096


@dataclass(frozen=True, slots=True)
class Grid:
    """Size of the downscaled frame (``height`` x ``width``) and of the padded tensor that holds it."""

    height: int
    width: int
    padded_height: int
    padded_width: int


@dataclass(frozen=True, slots=True)
class ModelInput:
    """Settings of the conversion for one network.

    Attributes:
        working_size: shorter side of the downscaled frame in pixels; smaller frames are not enlarged. 0: the size of
            the frame.
        size_multiple: height and width of the tensor are padded to multiples of this.
        iso_range: ISO values that map to 0 and 1, with log2 between them; values outside are clipped.
        exposure_range_s: exposure times in seconds that map to 0 and 1, likewise.
        unknown: value for an unknown ISO or exposure time; outside 0..1.
    """

    working_size: int = 288
    size_multiple: int = 32
    iso_range: tuple[float, float] = (50.0, 102400.0)
    exposure_range_s: tuple[float, float] = (1.0 / 16000.0, 30.0)
    unknown: float = -1.0

    def __post_init__(self) -> None:
        for name, low, high in (("working_size", 0, MAX_SIDE), ("size_multiple", 1, MAX_MULTIPLE)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
                raise ConfigError(f"ModelInput: {name} {value} must be a whole number from {low} to {high}")
        for name in ("iso_range", "exposure_range_s"):
            low, high = getattr(self, name)
            if not (math.isfinite(low) and math.isfinite(high) and 0.0 < 1.01 * low <= high):
                raise ConfigError(f"ModelInput: {name} ({low}, {high}) must be two ascending numbers above 0")
        if 0.0 <= self.unknown <= 1.0 or not abs(self.unknown) <= 100.0:
            raise ConfigError(
                f"ModelInput: unknown ({self.unknown}) must lie in -100..100, but outside 0..1, where known values are"
            )

    def plane_values(self, capture: CaptureMetadata) -> tuple[float, float]:
        """Return the values of the ISO plane and the exposure plane: 0..1, or ``unknown``."""
        return (
            self._log_position(capture.iso, self.iso_range),
            self._log_position(capture.exposure_s, self.exposure_range_s),
        )

    def _log_position(self, value: float | None, limits: tuple[float, float]) -> float:
        if value is None or not math.isfinite(value) or value <= 0.0:
            return self.unknown
        low, high = math.log2(limits[0]), math.log2(limits[1])
        return min(max((math.log2(value) - low) / (high - low), 0.0), 1.0)

    def grid(self, height: int, width: int) -> Grid:
        """Return the size of a downscaled ``height`` x ``width`` frame. Aspect ratio is kept, frames are not enlarged.

        The longer side is at most ``MAX_ASPECT`` working sizes. Otherwise a frame of one row would need a thousand
        times the memory of a square frame with as many pixels.
        """
        short, long = sorted((height, width))
        scale = (
            min(1.0, self.working_size / short, MAX_ASPECT * self.working_size / long) if self.working_size else 1.0
        )
        h, w = max(1, round(height * scale)), max(1, round(width * scale))
        m = self.size_multiple
        return Grid(h, w, -(-h // m) * m, -(-w // m) * m)

    def downscale(self, rgb: Rgb) -> Rgb:
        """Return the frame at the size of the grid without padding; the frame itself if it has that size.

        The frame is resized bilinearly to the grid's size times the nearest power of two, then averaged over blocks of
        2x2, 4x4 ... pixels. The result is as good as INTER_AREA alone, in less than half the time.
        """
        grid = self.grid(*rgb.shape[:2])
        size = (grid.width, grid.height)
        doubled = 1 << round(math.log2(min(rgb.shape[0] / grid.height, rgb.shape[1] / grid.width)))
        between = (grid.width * doubled, grid.height * doubled)
        if between != rgb.shape[1::-1]:
            rgb = cv2.resize(rgb, between, interpolation=cv2.INTER_LINEAR)  # type: ignore[assignment]
        if doubled > 1:
            rgb = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
        return rgb

    def encode(self, rgb: Rgb, capture: CaptureMetadata, frame_count: Tensor | None = None) -> Tensor:
        """Return the input of the network, (1, 5, h, w) float32: R, G, B in 0..1, the ISO plane, the exposure plane.

        The average of n frames of exposure time t at ISO s is as noisy as one frame of n t at ISO s / n, so the planes
        of an average hold these values for each pixel.

        Args:
            rgb: (H, W, 3) uint8 or uint16.
            capture: ISO and exposure time of one frame; unknown values are written as ``unknown``.
            frame_count: (rows, columns) number of averaged frames, 1 or more, on a grid of any size that covers the
                frame; None for a single frame.

        Raises:
            ImageError: wrong shape, type, an empty image, or a side too long for a network without a working size.
        """
        check_rgb(rgb)
        grid = self.grid(*rgb.shape[:2])
        if max(grid.padded_height, grid.padded_width) > MAX_SIDE:
            raise ImageError(
                f"a {rgb.shape[1]}x{rgb.shape[0]} frame at its full size: a side of more than {MAX_SIDE} pixels is "
                "too long for the network; set a working size"
            )
        small = self.downscale(rgb)
        height, width = small.shape[:2]
        tensor = np.empty((1, CHANNELS, grid.padded_height, grid.padded_width), np.float32)
        scale = 1.0 / np.iinfo(rgb.dtype).max
        for channel, plane in enumerate(cv2.split(small)):
            np.multiply(plane, np.float32(scale), out=tensor[0, channel, :height, :width])
        tensor[0, :3, height:, :width] = tensor[0, :3, height - 1 : height, :width]
        tensor[0, :3, :, width:] = tensor[0, :3, :, width - 1 : width]
        tensor[0, 3], tensor[0, 4] = self.plane_values(capture)
        if frame_count is not None:
            self._shift_planes(tensor[0, 3:], capture, frame_count, height, width)
        return tensor

    def _shift_planes(
        self, planes: Tensor, capture: CaptureMetadata, frame_count: Tensor, height: int, width: int
    ) -> None:
        """Write ISO / n and n x exposure time into both planes (2, h, w), if they are known."""
        is_larger = frame_count.shape[0] > height
        interpolation = cv2.INTER_AREA if is_larger else cv2.INTER_LINEAR
        counts = cv2.resize(np.asarray(frame_count, np.float32), (width, height), interpolation=interpolation)
        stops = np.log2(np.maximum(counts, 1.0))
        rows, columns = planes.shape[1:]
        stops = np.pad(stops, ((0, rows - height), (0, columns - width)), mode="edge")
        shifted = ((capture.iso, self.iso_range, -stops), (capture.exposure_s, self.exposure_range_s, stops))
        for plane, (value, limits, shift) in zip(planes, shifted, strict=True):
            if self._log_position(value, limits) == self.unknown:
                continue
            assert value is not None
            low, high = math.log2(limits[0]), math.log2(limits[1])
            np.clip((math.log2(value) + shift - low) / (high - low), 0.0, 1.0, out=plane)

    def decode(self, y: Tensor, height: int, width: int) -> Tensor:
        """Return a network output for a ``height`` x ``width`` frame without its padding.

        Args:
            y: (1, C, grid.padded_height, grid.padded_width) float32.
            height: rows of the frame.
            width: columns of the frame.

        Returns:
            (C, grid.height, grid.width), a view.

        Raises:
            ModelError: the output has another size.
        """
        grid = self.grid(height, width)
        if y.ndim != 4 or y.shape[0] != 1 or y.shape[2:] != (grid.padded_height, grid.padded_width):
            raise ModelError(
                f"network output of shape {y.shape} for a {width}x{height} frame: expected "
                f"(1, C, {grid.padded_height}, {grid.padded_width}); the model does not keep its input's size"
            )
        return y[0, :, : grid.height, : grid.width]

    def to_json(self) -> str:
        """Return the settings as JSON, for the ONNX file."""
        return json.dumps({"version": 1, **dataclasses.asdict(self)})

    @classmethod
    def from_json(cls, text: str) -> ModelInput:
        """Return the ModelInput from the JSON of ``to_json``.

        Raises:
            ModelError: the text is not such JSON, has unknown keys, or has values out of range.
        """
        try:
            if len(text) > MAX_JSON_CHARACTERS:
                raise ValueError(f"{len(text)} characters, allowed are {MAX_JSON_CHARACTERS}")
            values: dict[str, Any] = json.loads(text)
            version = values.pop("version")
            if version != 1:
                raise ModelError(
                    f"ModelInput version {version}: this release reads version 1; upgrade lowlight_enhance"
                )
            for name in ("iso_range", "exposure_range_s"):
                low, high = values[name]
                values[name] = (float(low), float(high))
            return cls(**values)
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError, ConfigError) as error:
            raise ModelError(f"unreadable ModelInput in the model file ({error}); export the model again") from error


def check_rgb(rgb: Rgb) -> None:
    """Raise ImageError unless ``rgb`` is a non-empty (H, W, 3) uint8 or uint16 array."""
    if not isinstance(rgb, np.ndarray) or rgb.ndim != 3 or rgb.shape[2] != 3 or 0 in rgb.shape:
        raise ImageError(f"image of shape {getattr(rgb, 'shape', None)}: expected a non-empty (H, W, 3) RGB array")
    if rgb.dtype not in (np.uint8, np.uint16):
        raise ImageError(f"image of type {rgb.dtype}: expected uint8 or uint16")


def to_8_bit(rgb: Rgb) -> NDArray[np.uint8]:
    """Return ``rgb`` as uint8: unchanged, or uint16 rounded to 0..255."""
    if rgb.dtype == np.uint8:
        return rgb  # type: ignore[return-value]
    return np.asarray(cv2.convertScaleAbs(rgb, alpha=255.0 / 65535.0), dtype=np.uint8)
