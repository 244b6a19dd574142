"""Frames that the network leaves as bright as they were keep the camera's own tones and colours.

What is right about such a frame is not for a network to decide that was made for dark ones: noise and fine detail are
its own matter here, tones are not. Where it only cleans a frame, the means of small cells are led back to the frame's.
"""

from __future__ import annotations

import cv2
import numpy as np

from lowlight_enhance.core.enhancement.upsampling import small_picture
from lowlight_enhance.core.inference.model_input import Tensor

CELL = 4
"""Side in pixels of the network's copy of what gets back its mean: noise of single pixels stays out of that."""

SAME, OTHER = 1.3, 1.6
"""Brightness of the enhanced frame over the frame's, or the inverse: up to the first, tones are kept in full; from the
second on not at all. Of means of the whole frame, and then of each region: shadows that are brightened stay so. The
shipped networks brighten what is dark 1.7 times and more."""

REGION = 9
"""Side of a region in cells."""

SAMPLE = 16
"""The two means are those of every so many pixels each way."""

BLACK = np.float32(1.0 / 255.0)
"""Added to both means, as their ratio says nothing in a black frame."""


def keep_tones(maps: Tensor, small: Tensor) -> None:
    """Lead the means of ``CELL`` x ``CELL`` pixels back to the frame's, in place, where it comes out as bright.

    Args:
        maps: (6, h, w) gain R, G, B and offset R, G, B, or (3, h, w) enhanced picture in 0..1.
        small: (3, h, w) the network's copy of the frame in 0..1.

    Maps that are not finite everywhere stay as they are.
    """
    sampled = small[:, ::SAMPLE, ::SAMPLE]
    share = _share(small_picture(maps[:, ::SAMPLE, ::SAMPLE], sampled).mean(), sampled.mean())
    if not share > 0.0:
        return
    height, width = small.shape[1:]
    size = (max(1, round(width / CELL)), max(1, round(height / CELL)))
    after, before = _cells(small_picture(maps, small), size), _cells(small, size)
    if not np.isfinite(after).all():
        return
    region = (REGION, REGION)
    share = share * _share(cv2.blur(after.mean(2), region), cv2.blur(before.mean(2), region))
    change = cv2.resize((before - after) * share[:, :, None], (width, height), interpolation=cv2.INTER_LINEAR)
    maps[-3:] += change.transpose(2, 0, 1)


def _cells(planes: Tensor, size: tuple[int, int]) -> Tensor:
    """(3, h, w) -> (rows, columns, 3), means."""
    means = [cv2.resize(plane, size, interpolation=cv2.INTER_AREA) for plane in planes]
    return np.asarray(cv2.merge(means), dtype=np.float32)


def _share(after: Tensor, before: Tensor) -> Tensor:
    """How much of the tones is kept, 0..1, given means of enhanced and of untouched pixels; NaN where one is."""
    ratio = (after + BLACK) / (before + BLACK)
    ratio = np.maximum(ratio, 1.0 / np.maximum(ratio, BLACK))
    return np.asarray(np.clip((OTHER - ratio) / np.float32(OTHER - SAME), 0.0, 1.0))
