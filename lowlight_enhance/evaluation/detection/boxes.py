"""Boxes of a detector or of labels, and their overlap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Boxes:
    """Boxes of one image.

    Attributes:
        corners: (N, 4) left, top, right, bottom in pixels.
        scores: (N,) confidence of each box.
        classes: N class names.
        crowd: (N,) true for a label of an unknown number of objects (COCO ``iscrowd``); None: none.
    """

    corners: NDArray[np.float64]
    scores: NDArray[np.float64]
    classes: tuple[str, ...]
    crowd: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.classes)

    def where(self, keep: NDArray[np.bool_]) -> Boxes:
        """Return the boxes for which ``keep`` (N,) is true."""
        classes = tuple(name for name, kept in zip(self.classes, keep, strict=True) if kept)
        crowd = None if self.crowd is None else self.crowd[keep]
        return Boxes(self.corners[keep], self.scores[keep], classes, crowd)

    def with_score(self, lowest: float) -> Boxes:
        """Return the boxes with a score of at least ``lowest``."""
        return self.where(self.scores >= lowest)

    def with_class(self, classes: Sequence[str]) -> Boxes:
        """Return the boxes of some classes."""
        return self.where(np.array([name in classes for name in self.classes], bool))

    @property
    def is_crowd(self) -> NDArray[np.bool_]:
        """(N,) whether a box is a crowd label."""
        return np.zeros(len(self), bool) if self.crowd is None else self.crowd

    @property
    def areas(self) -> NDArray[np.float64]:
        """(N,) areas in square pixels."""
        return np.asarray((self.corners[:, 2:] - self.corners[:, :2]).clip(0.0).prod(1), dtype=np.float64)


NO_BOXES = Boxes(np.zeros((0, 4)), np.zeros(0), ())


def make_boxes(corners: Sequence[Sequence[float]], scores: Sequence[float], classes: Sequence[str]) -> Boxes:
    """Create boxes from plain values."""
    return Boxes(np.array(corners, np.float64).reshape(-1, 4), np.array(scores, np.float64), tuple(classes))


class BoxDetector(Protocol):
    """Detects objects.

    Attributes:
        name: for reports.
        classes: names that its boxes may have, in the order of their numbers.
        confidence: lowest score of a box that counts in recall and in false boxes; mean precision uses all boxes.
    """

    name: str
    classes: tuple[str, ...]
    confidence: float

    def __call__(self, image: Image) -> Boxes:
        """Return the boxes on an (H, W, 3) uint8 RGB image, in its pixels."""


def overlaps(
    a: NDArray[np.float64], b: NDArray[np.float64], crowd: NDArray[np.bool_] | None = None
) -> NDArray[np.float64]:
    """Return the (N, M) intersection over union of (N, 4) and (M, 4) corners.

    For crowd boxes among ``b`` the denominator is the area of ``a``, as in COCO.
    """
    low, high = np.maximum(a[:, None, :2], b[None, :, :2]), np.minimum(a[:, None, 2:], b[None, :, 2:])
    common = np.clip(high - low, 0.0, None).prod(2)
    areas_a, areas_b = ((c[:, 2:] - c[:, :2]).clip(0.0).prod(1) for c in (a, b))
    union = areas_a[:, None] + areas_b[None] - common
    if crowd is not None:
        union = np.where(crowd[None], areas_a[:, None], union)
    return np.asarray(np.divide(common, union, out=np.zeros_like(common), where=union > 0.0), dtype=np.float64)
