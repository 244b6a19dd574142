"""Metrics of typical faults of low-light enhancement: colour casts, lost dark objects, noise and clipped highlights.

Images are (H, W, 3) uint8 RGB: the enhanced image and its reference, of one size.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from lowlight_enhance.evaluation.metrics import luma, ssim_map, to_lab

Image = NDArray[np.uint8]

BLOCK_SIZE = 8
"""Side in pixels of the blocks in which noise is measured."""

FLAT_SHARE = 0.1
"""Share of the blocks, those of the least variance in the reference, in which noise is measured."""

ROUNDING_VARIANCE = 1 / 12
"""Variance of rounding to integers."""

CLIPPED = 254
"""Value from which a channel counts as clipped."""


def color_cast(image: Image, reference: Image) -> tuple[float, float]:
    """Return the mean CIELAB a* and b* of the image minus those of the reference.

    A negative a* is a green cast; a positive a* with a negative b* is a purple one.
    """
    difference = (to_lab(image) - to_lab(reference)).mean((0, 1))
    return float(difference[1]), float(difference[2])


def dark_region_ssim(image: Image, reference: Image) -> float:
    """Return the mean SSIM of the darkest quarter of the reference's pixels, by luma."""
    similarity = ssim_map(image, reference).mean(2)
    brightness = luma(reference)
    return float(similarity[brightness <= np.quantile(brightness, 0.25)].mean())


def noise_ratio(image: Image, reference: Image) -> float:
    """Return the standard deviation of luma in flat blocks, of the image divided by that of the reference.

    Flat blocks are the tenth with the least variance in the reference, without clipped ones. The result is NaN if all
    are clipped. The variance of rounding is added to both, so that a reference without noise does not divide by zero.
    """
    mean, variance = _block_statistics(luma(reference))
    usable = (mean > 255 - CLIPPED) & (mean < CLIPPED)
    if not usable.any():
        return math.nan
    flat = usable & (variance <= np.quantile(variance[usable], FLAT_SHARE))
    image_variance = _block_statistics(luma(image))[1]
    noise, reference_noise = (float(v[flat].mean()) + ROUNDING_VARIANCE for v in (image_variance, variance))
    return math.sqrt(noise / reference_noise)


def clipped_excess(image: Image, reference: Image) -> float:
    """Return the share of pixels with a clipped channel, of the image minus that of the reference, -1..1."""
    share, reference_share = ((picture.max(2) >= CLIPPED).mean() for picture in (image, reference))
    return float(share - reference_share)


def _block_statistics(values: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the mean and variance of each whole block."""
    rows, columns = (size // BLOCK_SIZE for size in values.shape)
    whole = values[: rows * BLOCK_SIZE, : columns * BLOCK_SIZE].reshape(rows, BLOCK_SIZE, columns, BLOCK_SIZE)
    return np.asarray(whole.mean((1, 3))), np.asarray(whole.var((1, 3)))
