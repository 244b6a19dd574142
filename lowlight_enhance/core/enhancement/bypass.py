"""How much of the enhancement a frame gets: all, some, or none where it is bright already."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from lowlight_enhance.core.inference.model_input import Rgb, Tensor

LUMA = np.array([0.299, 0.587, 0.114])
"""Weights of R, G, B in luma (ITU-R BT.601)."""

LUMA_SAMPLES = 4096
"""Pixels, about, whose mean stands for a frame's."""


def weaken(maps: Tensor, strength: float) -> None:
    """Lead (6, h, w) maps (gain, offset) towards leaving the picture as it is, in place.

    Args:
        maps: gain R, G, B and offset R, G, B.
        strength: 0 makes gain 1 and offset 0, 1 changes nothing.
    """
    if strength < 1.0:
        np.multiply(maps, np.float32(strength), out=maps)
        np.add(maps[:3], np.float32(1.0 - strength), out=maps[:3])


def blend(untouched: NDArray[np.uint8], enhanced: NDArray[np.uint8], strength: float) -> NDArray[np.uint8]:
    """``untouched`` at 0, ``enhanced`` at 1, their weighted mean between; (H, W, 3) both, rounded."""
    mixed = cv2.addWeighted(untouched, 1.0 - strength, enhanced, strength, 0.0)
    return np.asarray(mixed, dtype=np.uint8)


def mean_luma(rgb: Rgb) -> float:
    """Mean luma of a frame, 0..255, from a regular grid of about ``LUMA_SAMPLES`` of its pixels.

    Args:
        rgb: (H, W, 3) uint8 or uint16.
    """
    step = max(1, math.isqrt(rgb.shape[0] * rgb.shape[1] // LUMA_SAMPLES))
    means = rgb[step // 2 :: step, step // 2 :: step].mean(axis=(0, 1), dtype=np.float64)
    return float(means @ LUMA) * 255.0 / float(np.iinfo(rgb.dtype).max)


class Bypass:
    """Whether frames are bright enough to be left alone; it takes a darker one to end that than it took to begin."""

    def __init__(self) -> None:
        self._is_on = False

    def __call__(self, rgb: Rgb, above: float, hysteresis: float) -> bool:
        """Look at the next frame.

        Args:
            rgb: (H, W, 3) uint8 or uint16.
            above: mean luma, 0..255, from which on frames are left alone; 0: none is.
            hysteresis: how far below ``above`` the mean luma must drop to end it; half of ``above`` is the most that
                counts, or nothing might ever end it.
        """
        if above <= 0.0:
            self._is_on = False
            return False
        margin = min(hysteresis, above / 2.0) if self._is_on else 0.0
        self._is_on = mean_luma(rgb) >= above - margin
        return self._is_on
