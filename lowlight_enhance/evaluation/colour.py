"""How far the colours of two pictures are apart, in CIELAB."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

MIN_CHROMA = 10.0
"""CIELAB chroma below which a reference pixel has no hue worth comparing."""

GREY_CHROMA = 1.0
"""CIELAB chroma below which a pixel has no hue at all."""

NO_HUE_ERROR_DEG = 90.0
"""What a pixel counts that has lost its colour: as much as one of any hue does on average."""


def hue_error_deg(picture: NDArray[np.uint8], reference: NDArray[np.uint8]) -> float:
    """Mean absolute difference of the CIELAB hue angle, degrees 0..180; NaN where the reference is grey throughout.

    A coloured pixel that comes out grey counts 90 degrees: the angle that rounding leaves it says nothing.

    Args:
        picture: (H, W, 3) uint8 RGB.
        reference: of the same size.
    """
    (_, a, b), (_, a0, b0) = cv2.split(lab(picture)), cv2.split(lab(reference))
    coloured = np.hypot(a0, b0) > MIN_CHROMA
    if not coloured.any():
        return math.nan
    a, b = a[coloured], b[coloured]
    difference = np.abs(np.degrees(np.arctan2(b, a) - np.arctan2(b0, a0)[coloured]))
    difference = np.minimum(difference, 360.0 - difference)
    return float(np.where(np.hypot(a, b) < GREY_CHROMA, NO_HUE_ERROR_DEG, difference).mean())


def lab(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(H, W, 3) L*, a* and b* of an sRGB picture."""
    return np.asarray(cv2.cvtColor(picture.astype(np.float32) / np.float32(255), cv2.COLOR_RGB2Lab), np.float32)
