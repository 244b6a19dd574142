"""Apply the maps of the network to a frame of any size.

The default applies the enlarged maps to the full-size frame. The other methods serve comparisons;
docs/architecture.md has their quality and time.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from lowlight_enhance.core.enhancement.maps import EnhancementMaps
from lowlight_enhance.core.errors import ConfigError
from lowlight_enhance.core.inference.model_input import Rgb, Tensor

Upsampling = Literal["local_affine", "guided", "gain", "resize"]
"""``local_affine``: the maps of the network, enlarged; ``guided``: maps by a guided filter from the small enhanced
picture; ``gain``: the enlarged picture plus the frame's detail times the picture's gain; ``resize``: the enlarged
picture."""

BAND_PIXELS = 80_000
"""Pixels of a band of rows. Three float32 and six uint8 buffers of this size fit into the cache of a core."""


class AffineRenderer:
    """Computes ``gain * rgb + offset`` with both maps enlarged bilinearly. For one thread at a time.

    It works in bands of rows, whose buffers stay in the cache of the processor: that saves a fifth of the processor
    time. It keeps the buffers while frames have one size, as fresh memory costs as much as the arithmetic.
    """

    def __init__(self) -> None:
        self._bands: list[_Band] = []
        self._shapes: tuple[object, ...] = ()
        self._gain, self._offset, self._product = (np.empty((0, 0), np.float32) for _ in range(3))
        self._offsets, self._added = np.empty((3, 0, 0), np.float32), np.empty((0, 0), np.float32)
        self._inputs: tuple[Rgb, ...] = ()
        self._planes: tuple[NDArray[np.uint8], ...] = ()

    def __call__(self, maps: EnhancementMaps, rgb: Rgb, correction: Tensor | None = None) -> NDArray[np.uint8]:
        """Apply ``maps`` to ``rgb``.

        Args:
            maps: of any size.
            rgb: (H, W, 3) uint8 or uint16.
            correction: (3, rows, columns) to add to the result, in 0..1, on any coarser grid.

        Returns:
            (H, W, 3) uint8, clipped, in new memory.
        """
        shapes = (rgb.shape, rgb.dtype, maps.size)
        if self._shapes != shapes:
            self._allocate(rgb, maps)
            self._shapes = shapes
        for channel in range(3):
            self._scale_offset(channel, maps.offset[channel], None if correction is None else correction[channel])
        enhanced = np.empty(rgb.shape, np.uint8)
        for band in self._bands:
            self._apply(band, maps.gain, rgb, enhanced)
        return enhanced

    def _allocate(self, rgb: Rgb, maps: EnhancementMaps) -> None:
        """Allocate bands and buffers for a frame and maps of these sizes."""
        height, width = rgb.shape[:2]
        rows, columns = maps.size
        self._bands = _bands(height, rows, max(1, height * width // BAND_PIXELS))
        tallest = max(band.enlarged for band in self._bands)
        self._gain, self._offset, self._product = (np.empty((tallest, width), np.float32) for _ in range(3))
        self._planes = tuple(np.empty((tallest, width), np.uint8) for _ in range(3))
        self._inputs = tuple(np.empty((tallest, width), rgb.dtype) for _ in range(3))
        self._offsets, self._added = np.empty((3, rows, columns), np.float32), np.empty((rows, columns), np.float32)

    def _scale_offset(self, channel: int, offset: Tensor, correction: Tensor | None) -> None:
        """Write 255 times the sum of both into the buffer of offsets that are not yet enlarged."""
        target = self._offsets[channel]
        if correction is None:
            np.multiply(offset, np.float32(255.0), out=target)
            return
        added = _enlarged(correction * np.float32(255.0), self._added)
        cv2.scaleAdd(offset, 255.0, added, dst=target)

    def _apply(self, band: _Band, gains: Tensor, rgb: Rgb, enhanced: NDArray[np.uint8]) -> None:
        """Enhance the rows of one band."""
        rows = band.bottom - band.top
        scale = 255.0 / np.iinfo(rgb.dtype).max
        planes = [buffer[:rows] for buffer in self._planes]
        product, inside = self._product[:rows], slice(band.skip, band.skip + rows)
        inputs = cv2.split(rgb[band.top : band.bottom], [buffer[:rows] for buffer in self._inputs])
        for channel, plane in enumerate(inputs):
            gain = _enlarged(gains[channel, band.first : band.last], self._gain[: band.enlarged])
            offset = _enlarged(self._offsets[channel, band.first : band.last], self._offset[: band.enlarged])
            cv2.multiply(plane, gain[inside], dst=product, scale=scale, dtype=cv2.CV_32F)
            cv2.add(product, offset[inside], dst=planes[channel], dtype=cv2.CV_8U)
        cv2.merge(planes, enhanced[band.top : band.bottom])


@dataclass(frozen=True, slots=True)
class _Band:
    """Rows ``top`` to ``bottom`` of a frame, computed from rows ``first`` to ``last`` of its maps.

    The rows of the maps become ``enlarged`` rows. The first ``skip`` of them, and those beyond the band at the end,
    belong to neighbouring bands; without them the edges of the bands would be visible.
    """

    top: int
    bottom: int
    first: int
    last: int
    enlarged: int
    skip: int


def _bands(height: int, rows: int, count: int) -> list[_Band]:
    """Return about ``count`` bands; fewer where ``height`` and ``rows`` have no common divisor of that size.

    Only between such units does the enlargement of a band sample the same places as that of the whole map.
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
    """Enlarge ``plane`` to the size of ``buffer``, into that buffer; return it as it is if it has that size."""
    if plane.shape == buffer.shape:
        return plane
    cv2.resize(plane, (buffer.shape[1], buffer.shape[0]), dst=buffer, interpolation=cv2.INTER_LINEAR)
    return buffer


def render(
    maps: EnhancementMaps,
    rgb: Rgb,
    method: Upsampling,
    renderer: AffineRenderer,
    correction: Tensor | None = None,
) -> NDArray[np.uint8]:
    """Return the enhanced frame at the size of ``rgb``, (H, W, 3) uint8.

    Args:
        maps: of the network.
        rgb: (H, W, 3) uint8 or uint16, the full-size frame.
        method: how the result is enlarged.
        renderer: applies maps; its buffers are reused for frames of one size.
        correction: (3, rows, columns) to add to the enhanced frame, in 0..1, on any coarser grid.

    Raises:
        ConfigError: unknown method.
    """
    if method not in get_args(Upsampling):
        raise ConfigError(f"upsampling '{method}' is unknown; choose one of {', '.join(get_args(Upsampling))}")
    if method == "local_affine":
        return renderer(maps, rgb, correction)
    picture = maps.picture()
    if correction is not None:
        size = (picture.shape[2], picture.shape[1])
        picture = picture + [cv2.resize(plane, size, interpolation=cv2.INTER_LINEAR) for plane in correction]
    if method == "resize":
        return to_bytes(_resized(np.clip(picture, 0.0, 1.0), rgb, cv2.INTER_CUBIC))
    if method == "gain":
        return gain_map(picture, maps.frame, rgb)
    return renderer(EnhancementMaps.guided(maps.frame, picture), rgb)


def gain_map(picture: Tensor, small: Tensor, rgb: Rgb) -> NDArray[np.uint8]:
    """Return the enlarged picture plus the detail of the full-size frame times the gain of the picture.

    Args:
        picture: (3, h, w) enhanced, 0..1.
        small: (3, h, w) the frame at that size, 0..1.
        rgb: (H, W, 3) uint8 or uint16, the full-size frame.
    """
    full = rgb.astype(np.float32) / np.float32(np.iinfo(rgb.dtype).max)
    gain = (picture + np.float32(0.02)) / (small + np.float32(0.02))
    detail = full - _resized(small, rgb, cv2.INTER_CUBIC)
    enlarged = _resized(picture, rgb, cv2.INTER_CUBIC) + _resized(gain, rgb, cv2.INTER_LINEAR) * detail
    return to_bytes(np.asarray(enlarged, dtype=np.float32))


def to_bytes(picture: Tensor) -> NDArray[np.uint8]:
    """Convert 0..1 to uint8, rounded and clipped."""
    return np.asarray(np.rint(np.clip(picture, 0.0, 1.0) * np.float32(255.0)), dtype=np.uint8)


def _resized(planes: Tensor, like: Rgb, interpolation: int) -> Tensor:
    """Resize (3, h, w) to the size of ``like``, (H, W, 3)."""
    interleaved = np.ascontiguousarray(planes.transpose(1, 2, 0))
    size = (like.shape[1], like.shape[0])
    return np.asarray(cv2.resize(interleaved, size, interpolation=interpolation), dtype=np.float32)
