"""Image quality metrics against a reference: PSNR, SSIM, L1, hue error and GT-mean PSNR.

This is the only implementation in the package. Training validation, ``lowlight evaluate``, the HTML report, the
flicker measurement and the demo call it, so their scores are comparable. It needs NumPy and OpenCV alone.

Images are (H, W, 3) RGB, either uint8 in 0..255 or floating point in 0..1. Both images of a metric have one size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lowlight_enhance.core.errors import ImageError

Image = NDArray[Any]
"""(H, W, 3) RGB, uint8 in 0..255 or floating point in 0..1."""

MAX_PSNR_DB = 100.0
"""PSNR of equal images, which would be infinite. The limit keeps means finite."""

SSIM_WINDOW, SSIM_SIGMA = 11, 1.5
"""Gaussian window of SSIM in pixels, as in the paper, torchmetrics and most publications."""

SSIM_K1, SSIM_K2 = 0.01, 0.03
"""Constants of SSIM for a data range of 1."""

MIN_CHROMA = 10.0
"""CIELAB chroma of a reference pixel below which its hue is not compared."""

GREY_CHROMA = 1.0
"""CIELAB chroma below which a pixel has no hue."""

GREY_HUE_ERROR_DEG = 90.0
"""Error of a coloured pixel that became grey: the mean error of a random hue."""

LUMA_WEIGHTS = (0.299, 0.587, 0.114)
"""BT.601 weights of R, G and B."""


@dataclass(frozen=True, slots=True)
class ReferenceMetrics:
    """Metrics of one image against its reference.

    Attributes:
        psnr_db: see ``psnr_db``.
        ssim: see ``ssim``.
        hue_error_deg: see ``hue_error_deg``.
    """

    psnr_db: float
    ssim: float
    hue_error_deg: float


def reference_metrics(image: Image, reference: Image) -> ReferenceMetrics:
    """Compute the metrics that reports show.

    Raises:
        ImageError: the images differ in size.
    """
    return ReferenceMetrics(psnr_db(image, reference), ssim(image, reference), hue_error_deg(image, reference))


def psnr_db(image: Image, reference: Image) -> float:
    """Return the peak signal-to-noise ratio over all pixels and channels in dB, at most ``MAX_PSNR_DB``.

    Raises:
        ImageError: the images differ in size.
    """
    _check_sizes(image, reference)
    error = float(np.mean(np.square(as_unit_float(image).astype(np.float64) - as_unit_float(reference))))
    return min(MAX_PSNR_DB, -10.0 * math.log10(error)) if error > 0.0 else MAX_PSNR_DB


def gt_mean_psnr_db(image: Image, reference: Image) -> float:
    """Return the PSNR in dB after the image is scaled to the mean luma of the reference.

    This removes a global error of brightness, as Y. Wang et al., "Low-Light Image Enhancement with Normalizing Flow"
    (AAAI 2022), report it ("GT mean"). It uses the reference, so it is no measure of brightness.

    Raises:
        ImageError: the images differ in size.
    """
    _check_sizes(image, reference)
    unit_image, unit_reference = as_unit_float(image), as_unit_float(reference)
    gain = float(luma(unit_reference).mean()) / max(float(luma(unit_image).mean()), 1e-6)
    return psnr_db(np.clip(unit_image * np.float32(gain), 0.0, 1.0), unit_reference)


def l1(image: Image, reference: Image) -> float:
    """Return the mean absolute difference over all pixels and channels, 0..1.

    Raises:
        ImageError: the images differ in size.
    """
    _check_sizes(image, reference)
    return float(np.abs(as_unit_float(image) - as_unit_float(reference)).mean(dtype=np.float64))


def ssim(image: Image, reference: Image) -> float:
    """Return the mean of ``ssim_map``; NaN for images with a side of 5 pixels or less.

    Raises:
        ImageError: the images differ in size.
    """
    _check_sizes(image, reference)
    if min(image.shape[:2]) <= SSIM_WINDOW // 2:
        return math.nan
    return float(ssim_map(image, reference).mean(dtype=np.float64))


def ssim_map(image: Image, reference: Image) -> NDArray[np.float32]:
    """Return the structural similarity of each pixel and channel, (H, W, 3) float32.

    Z. Wang et al., "Image Quality Assessment: From Error Visibility to Structural Similarity" (IEEE TIP 2004), with
    population variances and with the images mirrored at their borders, as torchmetrics computes it. scikit-image
    leaves out the border of 5 pixels instead, so its mean differs slightly.

    Raises:
        ImageError: the images differ in size.
    """
    _check_sizes(image, reference)
    # float64: in float32 the variance of a flat image is rounding noise of the size of the constants
    a, b = (as_unit_float(picture).astype(np.float64) for picture in (image, reference))
    mean_a, mean_b = _window_mean(a), _window_mean(b)
    square_a, square_b, product = mean_a * mean_a, mean_b * mean_b, mean_a * mean_b
    variance_a = np.maximum(_window_mean(a * a) - square_a, 0.0)
    variance_b = np.maximum(_window_mean(b * b) - square_b, 0.0)
    covariance = _window_mean(a * b) - product
    c1, c2 = SSIM_K1**2, SSIM_K2**2
    above = (2.0 * product + c1) * (2.0 * covariance + c2)
    return np.asarray(above / ((square_a + square_b + c1) * (variance_a + variance_b + c2)), dtype=np.float32)


def hue_error_deg(image: Image, reference: Image) -> float:
    """Return the mean absolute difference of the CIELAB hue angle over coloured reference pixels, 0..180 degrees.

    A coloured pixel that became grey counts ``GREY_HUE_ERROR_DEG``, because its hue angle is rounding noise. The
    result is NaN if no reference pixel has a chroma above ``MIN_CHROMA``.

    Raises:
        ImageError: the images differ in size.
    """
    _check_sizes(image, reference)
    (_, a, b), (_, a0, b0) = cv2.split(to_lab(image)), cv2.split(to_lab(reference))
    coloured = np.hypot(a0, b0) > MIN_CHROMA
    if not coloured.any():
        return math.nan
    a, b = a[coloured], b[coloured]
    difference = np.abs(np.degrees(np.arctan2(b, a) - np.arctan2(b0, a0)[coloured]))
    difference = np.minimum(difference, 360.0 - difference)
    return float(np.where(np.hypot(a, b) < GREY_CHROMA, GREY_HUE_ERROR_DEG, difference).mean())


def to_lab(image: Image) -> NDArray[np.float32]:
    """Return CIELAB L* (0..100), a* and b* of an sRGB image, (H, W, 3) float32."""
    return np.asarray(cv2.cvtColor(as_unit_float(image), cv2.COLOR_RGB2Lab), dtype=np.float32)


def luma(image: Image) -> NDArray[np.float32]:
    """Return the BT.601 luma, (H, W) float32 in the range of the image."""
    weights = np.array([LUMA_WEIGHTS], np.float32)
    return np.asarray(cv2.transform(image.astype(np.float32), weights), dtype=np.float32).reshape(image.shape[:2])


def as_unit_float(image: Image) -> NDArray[np.float32]:
    """Return the image as float32 in 0..1."""
    if image.dtype == np.uint8:
        return np.asarray(image.astype(np.float32) / np.float32(255), dtype=np.float32)
    return np.ascontiguousarray(image, dtype=np.float32)


def _window_mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    window, border = (SSIM_WINDOW, SSIM_WINDOW), cv2.BORDER_REFLECT_101
    return np.asarray(cv2.GaussianBlur(values, window, SSIM_SIGMA, borderType=border), dtype=np.float64)


def _check_sizes(image: Image, reference: Image) -> None:
    if image.shape != reference.shape:
        sizes = [f"{picture.shape[1]}x{picture.shape[0]}" for picture in (image, reference)]
        raise ImageError(f"the image is {sizes[0]} and its reference {sizes[1]}: both must have the same size")
