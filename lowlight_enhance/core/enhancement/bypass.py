"""Decide which frames are bright enough to stay unchanged."""

from __future__ import annotations

import math

import numpy as np

from lowlight_enhance.core.inference.model_input import Rgb

LUMA = np.array([0.299, 0.587, 0.114])
"""Weights of R, G, B in luma (ITU-R BT.601)."""

LUMA_SAMPLES = 4096
"""Approximate number of pixels that the mean is taken of."""


def mean_luma(rgb: Rgb) -> float:
    """Return the mean luma of a frame, 0..255, from a regular grid of about ``LUMA_SAMPLES`` pixels.

    Args:
        rgb: (H, W, 3) uint8 or uint16.
    """
    step = max(1, math.isqrt(rgb.shape[0] * rgb.shape[1] // LUMA_SAMPLES))
    means = rgb[step // 2 :: step, step // 2 :: step].mean(axis=(0, 1), dtype=np.float64)
    return float(means @ LUMA) * 255.0 / float(np.iinfo(rgb.dtype).max)


class Bypass:
    """Detects frames that are bright enough, with hysteresis."""

    def __init__(self) -> None:
        self._is_on = False

    def __call__(self, rgb: Rgb, above: float, hysteresis: float) -> bool:
        """Return whether the next frame stays unchanged.

        Args:
            rgb: (H, W, 3) uint8 or uint16.
            above: mean luma, 0..255, from which frames stay unchanged; 0: none does.
            hysteresis: how far the mean luma must drop below ``above`` to end that; at most half of ``above`` counts,
                otherwise nothing might end it.
        """
        if above <= 0.0:
            self._is_on = False
            return False
        margin = min(hysteresis, above / 2.0) if self._is_on else 0.0
        self._is_on = mean_luma(rgb) >= above - margin
        return self._is_on
