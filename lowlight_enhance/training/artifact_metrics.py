"""Measures of what low-light enhancement usually gets wrong: casts, lost dark objects, noise, blown-out lamps.

Pictures are (H, W, 3) uint8 RGB, the enhanced one and its reference, of one size.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

from lowlight_enhance.evaluation.colour import lab
from lowlight_enhance.training.data.pictures import Picture

FLAT_BLOCK = 8
"""Side in pixels of the blocks among which flat ones are sought."""

FLAT_SHARE = 0.1
"""Of the blocks, those with the least deviation in the reference, which count as flat."""

ROUNDING = 1 / 12
"""Variance of rounding to whole numbers."""

CLIPPED = 254
"""A channel at or above this has lost what was there."""


def cast(picture: Picture, reference: Picture) -> tuple[float, float]:
    """Mean CIELAB a* and b* of the picture minus the reference's: (-, ) is a green cast, (+, -) a purple one."""
    difference = (lab(picture) - lab(reference)).mean((0, 1))
    return float(difference[1]), float(difference[2])


def dark_ssim(picture: Picture, reference: Picture) -> float:
    """SSIM (torchmetrics' default) as the mean over the darkest quarter of the reference's pixels, by luma."""
    _, similarity = structural_similarity_index_measure(
        _tensor(picture), _tensor(reference), data_range=1.0, return_full_image=True
    )
    of_pixels = similarity[0].mean(0).numpy()
    luma = _luma(reference)
    return float(of_pixels[luma <= np.quantile(luma, 0.25)].mean())


def noise_ratio(picture: Picture, reference: Picture) -> float:
    """Standard deviation of luma within flat blocks, of the picture over the reference; 1: as much grain as that has.

    Flat are the tenth of the 8x8 blocks that deviate least in the reference, clipped ones left out; NaN where all
    are clipped. Rounding to 8 bits counts as grain, so that a reference without any is no division by zero.
    """
    mean, variance = _blocks(_luma(reference))
    usable = (mean > 255 - CLIPPED) & (mean < CLIPPED)
    if not usable.any():
        return math.nan
    flat = usable & (variance <= np.quantile(variance[usable], FLAT_SHARE))
    ours, theirs = (float(v[flat].mean()) + ROUNDING for v in (_blocks(_luma(picture))[1], variance))
    return math.sqrt(ours / theirs)


def clipped_excess(picture: Picture, reference: Picture) -> float:
    """Share of pixels with a channel of 254 or more, -1..1: of the picture minus the reference's."""
    ours, theirs = ((p.max(2) >= CLIPPED).mean() for p in (picture, reference))
    return float(ours - theirs)


def _luma(picture: Picture) -> NDArray[np.float32]:
    return np.asarray(picture.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32))


def _blocks(luma: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and variance of each whole block."""
    rows, columns = (size // FLAT_BLOCK for size in luma.shape)
    whole = luma[: rows * FLAT_BLOCK, : columns * FLAT_BLOCK].reshape(rows, FLAT_BLOCK, columns, FLAT_BLOCK)
    return np.asarray(whole.mean((1, 3))), np.asarray(whole.var((1, 3)))


def _tensor(picture: Picture) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))[None].float() / 255.0
