"""Keep the tones of well-exposed frames, and of the lit part of unevenly lit ones.

A network for dark frames removes noise from a well-lit frame or region, but also changes its tones and colours
slightly. A frame that contains something white and that the network leaves about as bright as it was is not
under-exposed as a whole: there the means of small cells are restored, in the regions that are about as bright as
they were.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from lowlight_enhance.core.enhancement.maps import EnhancementMaps
from lowlight_enhance.core.inference.model_input import Tensor

CELL = 4
"""Side in pixels of the cells whose means are restored; the noise of single pixels averages out in them."""

SAME, OTHER = 1.3, 1.6
"""Limits of the ratio of brightness between output and frame, or its inverse: up to the first, tones are kept in full;
from the second on not at all. They apply to the whole frame, then to each region."""

GREY, WHITE = 0.9, 0.96
"""White level from which on tones are kept, and from which on in full. Half a stop of under-exposure takes white to
0.86; 75 % of well-exposed photographs reach 0.96."""

WHITE_CELL = 8
"""Side in pixels of the areas whose largest mean, of any channel, is the white level of the frame."""

REGION = 9
"""Side of a region in cells."""

SAMPLE = 16
"""The means of the whole frame use every 16th pixel in each direction."""

BLACK = np.float32(1.0 / 255.0)
"""Added to both means, because their ratio is meaningless in a black frame."""


def preserve_tones(maps: EnhancementMaps) -> EnhancementMaps:
    """Return maps that keep the means of ``CELL`` x ``CELL`` pixels where the output is about as bright as the frame.

    Maps that brighten the frame, maps of a frame without anything white, and maps that are not finite are returned as
    they are.
    """
    sampled = replace(
        maps,
        gain=maps.gain[:, ::SAMPLE, ::SAMPLE],
        offset=maps.offset[:, ::SAMPLE, ::SAMPLE],
        frame=maps.frame[:, ::SAMPLE, ::SAMPLE],
    )
    share = _share(sampled.picture().mean(), sampled.frame.mean())
    if not share > 0.0:  # the usual case, a dark frame; the white level would take longer
        return maps
    share = share * np.float32(_well_exposed(maps.frame))
    if not share > 0.0:
        return maps
    height, width = maps.size
    size = (max(1, round(width / CELL)), max(1, round(height / CELL)))
    after, before = _cells(maps.picture(), size), _cells(maps.frame, size)
    if not np.isfinite(after).all():
        return maps
    region = (REGION, REGION)
    share = share * _share(cv2.blur(after.mean(2), region), cv2.blur(before.mean(2), region))
    change = cv2.resize((before - after) * share[:, :, None], (width, height), interpolation=cv2.INTER_LINEAR)
    return replace(maps, offset=maps.offset + change.transpose(2, 0, 1))


def _well_exposed(frame: Tensor) -> float:
    """Return how far (3, h, w) in 0..1 is well exposed by its white level, 0..1; NaN if it holds NaN."""
    size = (max(1, round(frame.shape[2] / WHITE_CELL)), max(1, round(frame.shape[1] / WHITE_CELL)))
    white = float(_cells(frame, size).max())
    return float(np.clip((white - GREY) / (WHITE - GREY), 0.0, 1.0))


def _cells(planes: Tensor, size: tuple[int, int]) -> Tensor:
    """Average (3, h, w) to (rows, columns, 3)."""
    means = [cv2.resize(plane, size, interpolation=cv2.INTER_AREA) for plane in planes]
    return np.asarray(cv2.merge(means), dtype=np.float32)


def _share(after: Tensor, before: Tensor) -> Tensor:
    """Return how much of the tones is kept, 0..1, given means of output and frame; NaN where one is NaN."""
    ratio = (after + BLACK) / (before + BLACK)
    ratio = np.maximum(ratio, 1.0 / np.maximum(ratio, BLACK))
    return np.asarray(np.clip((OTHER - ratio) / np.float32(OTHER - SAME), 0.0, 1.0))
