"""Boxes that a detector draws: their overlap, and which of them are right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lowlight_enhance.evaluation.detection.clips import Picture

OVERLAP = 0.5
"""Least intersection over union of a box that is right (PASCAL VOC)."""


@dataclass(frozen=True, slots=True)
class Boxes:
    """Boxes on one picture.

    Attributes:
        corners: (N, 4) left, top, right, bottom in pixels.
        scores: (N,), the higher the surer.
        classes: N names.
        crowd: (N,) true for a label that stands for an unknown number of things; None for none.
    """

    corners: NDArray[np.float64]
    scores: NDArray[np.float64]
    classes: tuple[str, ...]
    crowd: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.classes)

    def where(self, keep: NDArray[np.bool_]) -> Boxes:
        """Those that ``keep`` (N,) is true for."""
        classes = tuple(name for name, kept in zip(self.classes, keep, strict=True) if kept)
        crowd = None if self.crowd is None else self.crowd[keep]
        return Boxes(self.corners[keep], self.scores[keep], classes, crowd)

    def single(self) -> Boxes:
        """Those that stand for one thing each."""
        return self if self.crowd is None else self.where(~self.crowd)

    def sure(self, least: float) -> Boxes:
        """Those with a score of at least that."""
        return self.where(self.scores >= least)

    def of(self, classes: Sequence[str]) -> Boxes:
        """Those of some classes."""
        return self.where(np.array([name in classes for name in self.classes], bool))


NO_BOXES = Boxes(np.zeros((0, 4)), np.zeros(0), ())


def boxes(corners: Sequence[Sequence[float]], scores: Sequence[float], classes: Sequence[str]) -> Boxes:
    """Boxes from plain values."""
    return Boxes(np.array(corners, np.float64).reshape(-1, 4), np.array(scores, np.float64), tuple(classes))


class BoxDetector(Protocol):
    """Draws boxes.

    Attributes:
        name: for reports.
        classes: names that its boxes may have, in the order of their numbers.
        sure: least score of a box that counts where a picture is judged by itself; mean precision takes all.
    """

    name: str
    classes: tuple[str, ...]
    sure: float

    def __call__(self, picture: Picture) -> Boxes:
        """Boxes on an (H, W, 3) uint8 RGB picture, in its pixels."""


def overlaps(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, M) intersection over union of (N, 4) and (M, 4) corners."""
    low, high = np.maximum(a[:, None, :2], b[None, :, :2]), np.minimum(a[:, None, 2:], b[None, :, 2:])
    common = np.clip(high - low, 0.0, None).prod(2)
    areas_a, areas_b = ((c[:, 2:] - c[:, :2]).clip(0.0).prod(1) for c in (a, b))
    union = areas_a[:, None] + areas_b[None] - common
    return np.asarray(np.divide(common, union, out=np.zeros_like(common), where=union > 0.0), dtype=np.float64)


def correct(found: Boxes, truth: Boxes, least_overlap: float = OVERLAP) -> int:
    """How many boxes are right: the surest first, each takes the box of its class that it overlaps most."""
    overlap = overlaps(found.corners, truth.corners)
    same = np.array([[a == b for b in truth.classes] for a in found.classes], bool).reshape(overlap.shape)
    overlap[~same] = 0.0
    count = 0
    for index in np.argsort(-found.scores, kind="stable"):
        if not overlap.shape[1]:
            break
        best = int(overlap[index].argmax())
        if overlap[index, best] >= least_overlap:
            overlap[:, best] = 0.0
            count += 1
    return count
