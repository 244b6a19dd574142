"""Baselines without a network: brightening and denoising."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]

GAMMA = 2.2
"""Exponent of ``gamma``."""

BLUR_SIGMA_PX = 1.2
"""Sigma of ``blur``. Detectors lose objects to noise rather than to darkness, which makes blur a strong baseline."""

TARGET_MEAN = 110.0
"""Mean (0..255) that ``auto_gamma`` reaches; about that of well-exposed photographs."""

MAX_GAMMA = 20.0
"""Largest exponent of ``auto_gamma``, because a black image holds only noise."""

CLIP_LIMIT, TILES = 4.0, (8, 8)
"""Parameters of ``clahe``."""


def gamma(image: Image) -> Image:
    """Raise an (H, W, 3) uint8 image to the power 1 / 2.2."""
    return _lookup(image, _curve(GAMMA))


def blur(image: Image) -> Image:
    """Blur an (H, W, 3) uint8 image with a Gaussian of ``BLUR_SIGMA_PX``, without brightening it."""
    return np.asarray(cv2.GaussianBlur(image, (0, 0), BLUR_SIGMA_PX), dtype=np.uint8)


def auto_gamma(image: Image) -> Image:
    """Raise an (H, W, 3) uint8 image to the power, from 1 / 20 to 1, whose mean is nearest to ``TARGET_MEAN``."""
    shares = np.bincount(image.ravel(), minlength=256) / max(image.size, 1)
    low, high = 1.0, MAX_GAMMA
    for _ in range(30):
        middle = (low + high) / 2.0
        if float(shares @ _curve(middle)) < TARGET_MEAN:
            low = middle
        else:
            high = middle
    return _lookup(image, _curve((low + high) / 2.0))


def clahe(image: Image) -> Image:
    """Equalise CIELAB L of an (H, W, 3) uint8 RGB image by contrast-limited adaptive histogram equalisation.

    K. Zuiderveld, "Contrast Limited Adaptive Histogram Equalization", Graphics Gems IV (1994).
    """
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB)
    lab[:, :, 0] = cv2.createCLAHE(CLIP_LIMIT, TILES).apply(np.ascontiguousarray(lab[:, :, 0]))
    return np.asarray(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB), dtype=np.uint8)


BASELINES: dict[str, Callable[[Image], Image]] = {
    "blur": blur,
    "gamma": gamma,
    "auto_gamma": auto_gamma,
    "clahe": clahe,
}
"""Baselines by name."""


def _curve(exponent: float) -> NDArray[np.float64]:
    """Return output, 0..255, of each input value, shape (256,)."""
    return np.asarray(255.0 * (np.arange(256) / 255.0) ** (1.0 / exponent), dtype=np.float64)


def _lookup(image: Image, curve: NDArray[np.float64]) -> Image:
    return np.asarray(cv2.LUT(image, np.rint(curve).astype(np.uint8)), dtype=np.uint8)
