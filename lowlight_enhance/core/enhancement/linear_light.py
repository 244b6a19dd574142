"""sRGB-encoded frames to linear light and back, by tables (IEC 61966-2-1)."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]

FULL_SCALE = 65535.0
"""Linear light is stored in 0..65535."""


def to_linear(rgb: NDArray[np.uint8] | NDArray[np.uint16], out: Sequence[Plane]) -> None:
    """Write linear light, 0..65535, of (H, W, 3) uint8 or uint16 sRGB to the three (H, W) planes of ``out``."""
    is_8_bit = rgb.dtype == np.uint8
    table = _decoding_table(256 if is_8_bit else 65536)
    for plane, target in zip(cv2.split(rgb), out, strict=True):
        if is_8_bit:
            cv2.LUT(plane, table, dst=target)
        else:
            np.copyto(target, table[plane])


def to_srgb16(planes: Sequence[NDArray[np.uint16]]) -> NDArray[np.uint16]:
    """Return (H, W, 3) sRGB-encoded uint16 from three (H, W) planes of linear light, uint16."""
    linear = np.asarray(cv2.merge(planes), dtype=np.uint16)
    table = _encoding_table()
    if _has_16_bit_lut():
        return np.asarray(cv2.LUT(linear, table), dtype=np.uint16)
    return np.asarray(np.take(table, linear), dtype=np.uint16)


@functools.lru_cache(maxsize=2)
def _decoding_table(size: int) -> Plane:
    x = np.arange(size) / (size - 1.0)
    linear = np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)
    return (linear * FULL_SCALE).astype(np.float32)


@functools.lru_cache(maxsize=1)
def _encoding_table() -> NDArray[np.uint16]:
    x = np.arange(65536) / FULL_SCALE
    encoded = np.where(x <= 0.0031308, x * 12.92, 1.055 * np.maximum(x, 1e-9) ** (1.0 / 2.4) - 0.055)
    return np.rint(encoded * 65535.0).astype(np.uint16)


@functools.lru_cache(maxsize=1)
def _has_16_bit_lut() -> bool:
    """Return whether ``cv2.LUT`` of the installed OpenCV takes 16-bit images; older versions take 8-bit ones only."""
    try:
        cv2.LUT(np.zeros((1, 1), np.uint16), _encoding_table())
    except cv2.error:
        return False
    return True
