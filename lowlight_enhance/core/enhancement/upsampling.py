"""From the network's small output to an enhanced frame of the input's own size, guided by the full-size input.

A model whose output has six channels brings a local affine map, one whose output has three brings a small picture.
docs/architecture.md compares the ways up on PSNR, SSIM and milliseconds.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from lowlight_enhance.core.errors import ConfigError, ModelError
from lowlight_enhance.core.inference.model_input import Rgb, Tensor

Upsampling = Literal["auto", "local_affine", "guided", "gain", "resize"]
"""``auto``: local affine where the model brings maps, else guided filter."""

GUIDED_RADIUS = 1
GUIDED_EPS = 1e-4

BAND_PIXELS = 80_000
"""Of a band of rows: three float32 and six uint8 buffers of as many pixels fit into the cache of a core."""


class LocalAffine:
    """``gain * rgb + offset``, both maps brought up bilinearly.

    Works in bands of rows, whose buffers stay in the processor's cache, and keeps these buffers while frames stay of
    one size, as fresh memory costs as much as the arithmetic; so an instance is not for several threads at once.
    """

    def __init__(self) -> None:
        self._bands: list[_Band] = []
        self._shapes: tuple[object, ...] = ()
        self._gain, self._offset, self._product = (np.empty((0, 0), np.float32) for _ in range(3))
        self._offsets, self._added = np.empty((3, 0, 0), np.float32), np.empty((0, 0), np.float32)
        self._inputs: tuple[Rgb, ...] = ()
        self._planes: tuple[NDArray[np.uint8], ...] = ()

    def __call__(self, maps: Tensor, rgb: Rgb, correction: Tensor | None = None) -> NDArray[np.uint8]:
        """Apply ``maps`` to ``rgb``.

        Args:
            maps: (6, h, w) gain R, G, B and offset R, G, B; the offset in 0..1 of full scale.
            rgb: (H, W, 3) uint8 or uint16.
            correction: (3, rows, columns) to add, in 0..1, on any coarser grid.

        Returns:
            (H, W, 3) uint8, clipped; the caller's own.
        """
        shapes = (rgb.shape, rgb.dtype, maps.shape)
        if self._shapes != shapes:
            self._allocate(rgb, maps)
            self._shapes = shapes
        for channel in range(3):
            self._raise(channel, maps[3 + channel], None if correction is None else correction[channel])
        enhanced = np.empty(rgb.shape, np.uint8)
        for band in self._bands:
            self._apply(band, maps, rgb, enhanced)
        return enhanced

    def _allocate(self, rgb: Rgb, maps: Tensor) -> None:
        """Bands and buffers for frames and maps of these shapes."""
        height, width = rgb.shape[:2]
        rows, columns = maps.shape[1:]
        self._bands = _bands(height, rows, max(1, height * width // BAND_PIXELS))
        tallest = max(band.enlarged for band in self._bands)
        self._gain, self._offset, self._product = (np.empty((tallest, width), np.float32) for _ in range(3))
        self._planes = tuple(np.empty((tallest, width), np.uint8) for _ in range(3))
        self._inputs = tuple(np.empty((tallest, width), rgb.dtype) for _ in range(3))
        self._offsets, self._added = np.empty((3, rows, columns), np.float32), np.empty((rows, columns), np.float32)

    def _raise(self, channel: int, offset: Tensor, correction: Tensor | None) -> None:
        """Put 255 times the sum of both in the buffer for offsets before they are enlarged."""
        target = self._offsets[channel]
        if correction is None:
            np.multiply(offset, np.float32(255.0), out=target)
            return
        added = _enlarged(correction * np.float32(255.0), self._added)
        cv2.scaleAdd(offset, 255.0, added, dst=target)

    def _apply(self, band: _Band, maps: Tensor, rgb: Rgb, enhanced: NDArray[np.uint8]) -> None:
        """Enhance the rows of one band."""
        rows = band.bottom - band.top
        scale = 255.0 / np.iinfo(rgb.dtype).max
        planes = [buffer[:rows] for buffer in self._planes]
        product, inside = self._product[:rows], slice(band.skip, band.skip + rows)
        inputs = cv2.split(rgb[band.top : band.bottom], [buffer[:rows] for buffer in self._inputs])
        for channel, plane in enumerate(inputs):
            gain = _enlarged(maps[channel, band.first : band.last], self._gain[: band.enlarged])
            offset = _enlarged(self._offsets[channel, band.first : band.last], self._offset[: band.enlarged])
            cv2.multiply(plane, gain[inside], dst=product, scale=scale, dtype=cv2.CV_32F)
            cv2.add(product, offset[inside], dst=planes[channel], dtype=cv2.CV_8U)
        cv2.merge(planes, enhanced[band.top : band.bottom])


@dataclass(frozen=True, slots=True)
class _Band:
    """Rows ``top`` to ``bottom`` of a frame, from rows ``first`` to ``last`` of its maps.

    These become ``enlarged`` rows, of which the first ``skip`` and those that are left at the end belong to the
    neighbours: without them, the bands' edges would be seen.
    """

    top: int
    bottom: int
    first: int
    last: int
    enlarged: int
    skip: int


def _bands(height: int, rows: int, count: int) -> list[_Band]:
    """About ``count`` bands; fewer where ``height`` and ``rows`` are no multiples of as many units in the same ratio.

    Only between whole units does a band's enlargement fall on the same places as that of the whole map.
    """
    units = math.gcd(height, rows)
    tall, short = height // units, rows // units
    count = min(count, units)
    edges = [index * units // count for index in range(count + 1)]
    bands = []
    for start, end in itertools.pairwise(edges):
        before, after = max(start - 1, 0), min(end + 1, units)
        enlarged, skip = (after - before) * tall, (start - before) * tall
        bands.append(_Band(start * tall, end * tall, before * short, after * short, enlarged, skip))
    return bands


def _enlarged(plane: Tensor, buffer: Tensor) -> Tensor:
    """``plane`` at the size of ``buffer``, in that buffer; itself where it has that size."""
    if plane.shape == buffer.shape:
        return plane
    cv2.resize(plane, (buffer.shape[1], buffer.shape[0]), dst=buffer, interpolation=cv2.INTER_LINEAR)
    return buffer


def enlarge(
    maps: Tensor,
    small: Tensor,
    rgb: Rgb,
    way: Upsampling,
    local_affine: LocalAffine,
    correction: Tensor | None = None,
) -> NDArray[np.uint8]:
    """The enhanced frame at the size of ``rgb``.

    Args:
        maps: (6, h, w) gain R, G, B and offset R, G, B, or (3, h, w) enhanced picture in 0..1.
        small: (3, h, w) the network's copy of the frame in 0..1.
        rgb: (H, W, 3) uint8 or uint16, the full-size input.
        way: how.
        local_affine: what applies maps of this frame's size.
        correction: (3, rows, columns) to add to the enhanced frame, in 0..1, on any coarser grid.

    Returns:
        (H, W, 3) uint8.

    Raises:
        ConfigError: unknown way.
        ModelError: maps of another number of channels than the way needs.
    """
    if way not in get_args(Upsampling):
        raise ConfigError(f"upsampling '{way}' is not known; choose one of {', '.join(get_args(Upsampling))}")
    if maps.shape[0] not in (3, 6) or (way == "local_affine" and maps.shape[0] != 6):
        raise ModelError(
            f"the network's output has {maps.shape[0]} channels: expected 6 (gain and offset) or 3 (picture)"
            + (", and upsampling 'local_affine' needs 6" if way == "local_affine" else "")
        )
    if maps.shape[0] == 6 and way in ("auto", "local_affine"):
        return local_affine(maps, rgb, correction)
    picture = small_picture(maps, small)
    if correction is not None:
        size = (picture.shape[2], picture.shape[1])
        picture = picture + [cv2.resize(plane, size, interpolation=cv2.INTER_LINEAR) for plane in correction]
    if way == "resize":
        return to_bytes(_resized(np.clip(picture, 0.0, 1.0), rgb, cv2.INTER_CUBIC))
    if way == "gain":
        return gain_map(picture, small, rgb)
    return local_affine(guided_coefficients(small, picture), rgb)


def small_picture(maps: Tensor, small: Tensor) -> Tensor:
    """(3, h, w) enhanced, of (6, h, w) maps and what they are applied to; a picture in place of maps is it already."""
    return maps if len(maps) == 3 else maps[:3] * small + maps[3:]


def guided_coefficients(guide: Tensor, picture: Tensor) -> Tensor:
    """Local affine maps that lead each channel of ``guide`` to ``picture``: the fast guided filter's coefficients.

    After K. He, J. Sun, "Fast Guided Filter" (2015). Both (3, h, w) in 0..1; returns (6, h, w).
    """
    size = (2 * GUIDED_RADIUS + 1,) * 2

    def mean(plane: NDArray[np.floating[Any]]) -> Tensor:
        return np.asarray(cv2.blur(plane.astype(np.float32), size, borderType=cv2.BORDER_REFLECT), dtype=np.float32)

    maps = np.empty((6, *guide.shape[1:]), np.float32)
    for channel in range(3):
        x, y = np.ascontiguousarray(guide[channel]), np.ascontiguousarray(picture[channel])
        mean_x, mean_y = mean(x), mean(y)
        gain = (mean(x * y) - mean_x * mean_y) / (mean(x * x) - mean_x * mean_x + GUIDED_EPS)
        maps[channel], maps[3 + channel] = mean(gain), mean(mean_y - gain * mean_x)
    return maps


def gain_map(picture: Tensor, small: Tensor, rgb: Rgb) -> NDArray[np.uint8]:
    """The small picture enlarged, plus the full-size input's own detail times the picture's gain over the input.

    Args:
        picture: (3, h, w) enhanced, 0..1.
        small: (3, h, w) the network's copy of the frame, 0..1.
        rgb: (H, W, 3) uint8 or uint16.
    """
    full = rgb.astype(np.float32) / np.float32(np.iinfo(rgb.dtype).max)
    gain = (picture + np.float32(0.02)) / (small + np.float32(0.02))
    detail = full - _resized(small, rgb, cv2.INTER_CUBIC)
    enlarged = _resized(picture, rgb, cv2.INTER_CUBIC) + _resized(gain, rgb, cv2.INTER_LINEAR) * detail
    return to_bytes(np.asarray(enlarged, dtype=np.float32))


def to_bytes(picture: Tensor) -> NDArray[np.uint8]:
    """0..1 to 0..255, rounded and clipped."""
    return np.asarray(np.rint(np.clip(picture, 0.0, 1.0) * np.float32(255.0)), dtype=np.uint8)


def _resized(planes: Tensor, like: Rgb, interpolation: int) -> Tensor:
    """(3, h, w) -> (H, W, 3), the size of ``like``."""
    interleaved = np.ascontiguousarray(planes.transpose(1, 2, 0))
    size = (like.shape[1], like.shape[0])
    return np.asarray(cv2.resize(interleaved, size, interpolation=interpolation), dtype=np.float32)
