"""What brightens a picture without a network: what an enhancement has to beat."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]

GAMMA = 2.2
"""Of ``gamma``."""

TARGET_MEAN = 110.0
"""Mean (0..255) to which ``auto_gamma`` brings a picture; about that of well-exposed photographs."""

MAX_GAMMA = 20.0
"""Largest that ``auto_gamma`` takes: beyond it a black picture is noise alone."""

CLIP_LIMIT, TILES = 4.0, (8, 8)
"""Of ``clahe``."""


def gamma(picture: Picture) -> Picture:
    """(H, W, 3) uint8 raised to 1 / 2.2 in 0..1."""
    return _lookup(picture, _curve(GAMMA))


def auto_gamma(picture: Picture) -> Picture:
    """(H, W, 3) uint8 raised to the power, from 1 / 20 to 1, that brings its mean nearest to ``TARGET_MEAN``."""
    shares = np.bincount(picture.ravel(), minlength=256) / max(picture.size, 1)
    low, high = 1.0, MAX_GAMMA
    for _ in range(30):
        middle = (low + high) / 2.0
        if float(shares @ _curve(middle)) < TARGET_MEAN:
            low = middle
        else:
            high = middle
    return _lookup(picture, _curve((low + high) / 2.0))


def clahe(picture: Picture) -> Picture:
    """Contrast-limited adaptive histogram equalisation of CIELAB L of (H, W, 3) uint8 RGB.

    K. Zuiderveld, "Contrast Limited Adaptive Histogram Equalization", Graphics Gems IV (1994).
    """
    lab = cv2.cvtColor(picture, cv2.COLOR_RGB2LAB)
    lab[:, :, 0] = cv2.createCLAHE(CLIP_LIMIT, TILES).apply(np.ascontiguousarray(lab[:, :, 0]))
    return np.asarray(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB), dtype=np.uint8)


BASELINES: dict[str, Callable[[Picture], Picture]] = {"gamma": gamma, "auto_gamma": auto_gamma, "clahe": clahe}
"""By name: (H, W, 3) uint8 RGB -> the same, brighter."""


def _curve(exponent: float) -> NDArray[np.float64]:
    """(256,) output of each input value, 0..255."""
    return np.asarray(255.0 * (np.arange(256) / 255.0) ** (1.0 / exponent), dtype=np.float64)


def _lookup(picture: Picture, curve: NDArray[np.float64]) -> Picture:
    return np.asarray(cv2.LUT(picture, np.rint(curve).astype(np.uint8)), dtype=np.uint8)
