"""Measures of pictures: of one alone, of one against its reference, and of what changes from frame to frame."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lowlight_enhance.core.enhancement.bypass import LUMA
from lowlight_enhance.core.errors import ImageError
from lowlight_enhance.evaluation.colour import hue_error_deg
from lowlight_enhance.evaluation.flicker import block_means, psnr_db
from lowlight_enhance.evaluation.report.content import Likeness, Looks, Picture

SSIM_RADIUS = 5
"""Pixels from the middle of SSIM's Gaussian window to its edge; pictures no larger have no SSIM."""

_NO_IMAGE = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
"""Difference of two Laplacians: blind to edges and slopes, so that noise remains."""


def looks(picture: Picture) -> Looks:
    """What one picture is like.

    The noise estimate is that of J. Immerkaer, "Fast Noise Variance Estimation" (Computer Vision and Image
    Understanding 64, 1996); fine texture counts as noise in it. Sharpness is the variance of the Laplacian and
    Tenengrad (Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy", ICPR 2000); both rise with
    contrast and with noise.

    Args:
        picture: (H, W, 3) uint8, at least 3x3.

    Raises:
        ImageError: smaller.
    """
    if min(picture.shape[:2]) < 3:
        raise ImageError(f"picture of {picture.shape[1]}x{picture.shape[0]} pixels: 3x3 is the least to measure")
    luma = np.asarray(cv2.transform(picture.astype(np.float32), LUMA.reshape(1, 3)), np.float32)
    inside = cv2.filter2D(luma, cv2.CV_32F, _NO_IMAGE)[1:-1, 1:-1]
    right, down = (cv2.Sobel(luma, cv2.CV_32F, x, y) for x, y in ((1, 0), (0, 1)))
    return Looks(
        mean=float(luma.mean(dtype=np.float64)),
        noise=float(math.sqrt(math.pi / 2) / 6 * np.abs(inside).mean(dtype=np.float64)),
        laplacian=float(cv2.Laplacian(luma, cv2.CV_32F).var(dtype=np.float64)),
        tenengrad=float((right**2 + down**2).mean(dtype=np.float64)),
    )


def likeness(picture: Picture, reference: Picture) -> Likeness:
    """How close a picture is to its reference, as torchmetrics and ``training.evaluate`` measure it.

    Raises:
        ImageError: of different sizes.
    """
    if picture.shape != reference.shape:
        ours, theirs = (f"{p.shape[1]}x{p.shape[0]}" for p in (picture, reference))
        raise ImageError(f"a frame is {ours} and its reference {theirs}: they must be of one size to be compared")
    return Likeness(psnr_db(picture, reference), _ssim(picture, reference), hue_error_deg(picture, reference))


def change_of_luma(before: Picture, after: Picture) -> NDArray[np.float64]:
    """(8, 8) change of the mean luma of equal blocks from one picture to the next."""
    change: NDArray[np.float64] = (block_means(after) - block_means(before)) @ LUMA
    return change


def _ssim(picture: Picture, reference: Picture) -> float:
    """Mean over the whole picture, mirrored at its edges, as torchmetrics has it; skimage leaves its edges out."""
    if min(picture.shape[:2]) <= SSIM_RADIUS:
        return math.nan
    from skimage.metrics import structural_similarity  # of the extra 'report': the rest of `offline` does without

    a, b = (
        np.pad(p.astype(np.float32) / np.float32(255), [(SSIM_RADIUS,) * 2] * 2 + [(0, 0)], mode="reflect")
        for p in (picture, reference)
    )
    how: dict[str, Any] = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    how |= {"data_range": 1.0, "channel_axis": 2}
    return float(structural_similarity(a, b, **how))  # type: ignore[no-untyped-call,unused-ignore]
