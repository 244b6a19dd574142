"""Statistics of a single image that need no reference: brightness, noise and sharpness."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from lowlight_enhance.core.errors import ImageError
from lowlight_enhance.evaluation.metrics import luma

MIN_SIDE = 3
"""Side in pixels of the smallest image, because of the 3x3 kernels."""

_NOISE_KERNEL = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
"""Difference of two Laplacians. It does not respond to edges and gradients, so noise remains."""


@dataclass(frozen=True, slots=True)
class ImageStatistics:
    """Statistics of the luma (0..255) of one image.

    Attributes:
        mean_luma: brightness.
        noise_sigma: estimated standard deviation of the noise.
        laplacian_variance: sharpness, variance of the Laplacian.
        tenengrad: sharpness, mean square of the Sobel gradient.
    """

    mean_luma: float
    noise_sigma: float
    laplacian_variance: float
    tenengrad: float


def image_statistics(image: NDArray[np.uint8]) -> ImageStatistics:
    """Measure one image.

    The noise estimate is that of J. Immerkaer, "Fast Noise Variance Estimation" (Computer Vision and Image
    Understanding 64, 1996); it counts fine texture as noise. The sharpness measures are those of Pech-Pacheco et al.,
    "Diatom autofocusing in brightfield microscopy" (ICPR 2000); both rise with contrast and with noise.

    Args:
        image: (H, W, 3) uint8 RGB, at least 3x3.

    Raises:
        ImageError: the image is smaller than 3x3.
    """
    height, width = image.shape[:2]
    if min(height, width) < MIN_SIDE:
        raise ImageError(f"image of {width}x{height} pixels: statistics need at least {MIN_SIDE}x{MIN_SIDE}")
    values = luma(image)
    noise = cv2.filter2D(values, cv2.CV_32F, _NOISE_KERNEL)[1:-1, 1:-1]
    right, down = (cv2.Sobel(values, cv2.CV_32F, x, y) for x, y in ((1, 0), (0, 1)))
    return ImageStatistics(
        mean_luma=float(values.mean(dtype=np.float64)),
        noise_sigma=float(math.sqrt(math.pi / 2) / 6 * np.abs(noise).mean(dtype=np.float64)),
        laplacian_variance=float(cv2.Laplacian(values, cv2.CV_32F).var(dtype=np.float64)),
        tenengrad=float((right**2 + down**2).mean(dtype=np.float64)),
    )
