"""How far the colours of two pictures are apart, in CIELAB."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

MIN_CHROMA = 10.0
"""CIELAB chroma below which a reference pixel has no hue worth comparing."""


def hue_error_deg(picture: NDArray[np.uint8], reference: NDArray[np.uint8]) -> float:
    """Mean absolute difference of the CIELAB hue angle, degrees 0..180; NaN where the reference is grey throughout.

    Args:
        picture: (H, W, 3) uint8 RGB.
        reference: of the same size.
    """
    (_, a, b), (_, a0, b0) = cv2.split(lab(picture)), cv2.split(lab(reference))
    coloured = np.hypot(a0, b0) > MIN_CHROMA
    if not coloured.any():
        return math.nan
    difference = np.abs(np.degrees(np.arctan2(b, a) - np.arctan2(b0, a0)))[coloured]
    return float(np.minimum(difference, 360.0 - difference).mean())


def lab(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(H, W, 3) L*, a* and b* of an sRGB picture."""
    return np.asarray(cv2.cvtColor(picture.astype(np.float32) / np.float32(255), cv2.COLOR_RGB2Lab), np.float32)
