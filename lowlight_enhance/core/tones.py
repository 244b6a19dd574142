"""Frames that the network leaves as bright as they were keep the camera's own tones and colours.

What is right about such a frame is not for a network to decide that was made for dark ones: noise and fine detail are
its own matter here, tones are not. Where it only cleans a frame, the means of small cells are led back to the frame's.
"""

from __future__ import annotations

import cv2
import numpy as np

from lowlight_enhance.core.model_input import Tensor

CELL = 4
"""Side in pixels of the network's copy of what gets back its mean: noise of single pixels stays out of that."""

SAME, OTHER = 1.3, 1.6
"""Mean brightness of the enhanced frame over the frame's, or the inverse: up to the first, tones are kept in full;
from the second on not at all. The shipped networks brighten what is dark 1.7 times and more."""

SAMPLE = 8
"""The two means are those of every so many pixels each way."""

BLACK = np.float32(1.0 / 255.0)
"""Added to both means, as their ratio says nothing in a black frame."""


def keep_tones(maps: Tensor, small: Tensor) -> None:
    """Lead the means of ``CELL`` x ``CELL`` pixels back to the frame's, in place, where it comes out as bright.

    Args:
        maps: (6, h, w) gain R, G, B and offset R, G, B, or (3, h, w) enhanced picture in 0..1.
        small: (3, h, w) the network's copy of the frame in 0..1.
    """
    share = _share(_enhanced(maps[:, ::SAMPLE, ::SAMPLE], small[:, ::SAMPLE, ::SAMPLE]), small[:, ::SAMPLE, ::SAMPLE])
    if share == 0.0:
        return
    height, width = small.shape[1:]
    cells = (max(1, round(width / CELL)), max(1, round(height / CELL)))
    for plane, change in zip(maps[-3:], small - _enhanced(maps, small), strict=True):
        means = cv2.resize(change, cells, interpolation=cv2.INTER_AREA)
        plane += np.float32(share) * cv2.resize(means, (width, height), interpolation=cv2.INTER_LINEAR)


def _enhanced(maps: Tensor, small: Tensor) -> Tensor:
    return maps if len(maps) == 3 else maps[:3] * small + maps[3:]


def _share(enhanced: Tensor, small: Tensor) -> float:
    """How much of the tones is kept, 0..1; nothing where the network's output is not finite."""
    before, after = float(small.mean() + BLACK), float(enhanced.mean() + BLACK)
    if not 0.0 < after < np.inf:
        return 0.0
    ratio = max(after / before, before / after)
    return min(max((OTHER - ratio) / (OTHER - SAME), 0.0), 1.0)
