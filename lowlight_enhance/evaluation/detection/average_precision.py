"""Detection metrics as COCO defines them, with weighted images, so that intervals can be bootstrapped.

Mean average precision (mAP, mAP50), recall by object size, and false boxes per frame. The tests compare mAP with
pycocotools. This implementation exists because resampling images needs the metrics hundreds of times, for which
pycocotools is too slow, and to save users from compiling it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lowlight_enhance.evaluation.detection.boxes import Boxes, overlaps

Floats = NDArray[np.float64]

IOUS = np.arange(0.5, 0.96, 0.05)
"""Thresholds of the overlap over which mAP is averaged."""

RECALLS = np.linspace(0.0, 1.0, 101)
"""Recalls at which precision is interpolated."""

MAX_DETECTIONS = 100
"""Number of boxes per image and class that count, those with the highest scores."""

SIZES = {"small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, math.inf)}
"""Object sizes of COCO: lower and upper limit of the area in square pixels."""

RESAMPLES, CONFIDENCE_LEVEL = 400, 0.90
"""Bootstrap resamples, and the coverage of the intervals."""


@dataclass(frozen=True, slots=True)
class _Matches:
    """Matching of the detections of one image.

    Attributes:
        scores: (N,).
        classes: N names.
        matched: (N, len(IOUS)) whether a detection is a true positive.
        ignored: (N, len(IOUS)) whether a detection overlaps a crowd and counts as neither true nor false.
        found: (M,) whether each label is matched at IoU 0.5 by a detection that reaches the confidence.
    """

    scores: Floats
    classes: tuple[str, ...]
    matched: NDArray[np.bool_]
    ignored: NDArray[np.bool_]
    found: NDArray[np.bool_]


def match_boxes(detections: Boxes, labels: Boxes, confidence: float) -> _Matches:
    """Match the detections of one image to its labels as COCO does: in the order of scores, within each class."""
    order = np.argsort(-detections.scores, kind="stable")
    order = order[_within_limit([detections.classes[i] for i in order])]
    detections = Boxes(
        detections.corners[order], detections.scores[order], tuple(detections.classes[i] for i in order)
    )
    crowd = labels.is_crowd
    overlap = overlaps(detections.corners, labels.corners, crowd)
    same = np.array([[a == b for b in labels.classes] for a in detections.classes], bool).reshape(overlap.shape)
    overlap[~same] = 0.0
    matched = np.zeros((len(detections), len(IOUS)), bool)
    ignored = np.zeros_like(matched)
    found = np.zeros(len(labels), bool)
    if len(labels):
        for column, threshold in enumerate(IOUS):
            assigned = _assign(overlap, crowd, float(threshold))
            matched[:, column] = assigned >= 0
            rest = assigned < 0
            ignored[:, column] = rest & ((overlap >= threshold - 1e-10) & crowd[None]).any(1)
            if column == 0:
                sure = assigned[(assigned >= 0) & (detections.scores >= confidence)]
                found[sure] = True
    return _Matches(detections.scores, detections.classes, matched, ignored, found)


def _assign(overlap: Floats, crowd: NDArray[np.bool_], threshold: float) -> NDArray[np.int64]:
    """Return the (N,) index of the label that each detection is assigned; -1 for none."""
    free = ~crowd
    assigned = np.full(len(overlap), -1, np.int64)
    for index, row in enumerate(overlap):
        candidates = np.where(free, row, -1.0)
        best = len(candidates) - 1 - int(candidates[::-1].argmax())  # of equal overlaps COCO assigned the last
        if candidates[best] >= threshold - 1e-10:  # for rounding errors, as in pycocotools
            assigned[index], free[best] = best, False
    return assigned


def _within_limit(classes: Sequence[str]) -> list[int]:
    counts: dict[str, int] = {}
    kept = []
    for index, name in enumerate(classes):
        counts[name] = counts.get(name, 0) + 1
        if counts[name] <= MAX_DETECTIONS:
            kept.append(index)
    return kept


class DetectionResults:
    """Detections of one rendering of a set of images, matched to labels.

    Attributes:
        images: number of images.
    """

    def __init__(self, detections: Sequence[Boxes], labels: Sequence[Boxes], confidence: float) -> None:
        """Match the detections of each image.

        Args:
            detections: boxes found on each image.
            labels: true boxes of each image.
            confidence: lowest score of a box that counts in recall and in false boxes.
        """
        self.images = len(labels)
        matches = [match_boxes(d, t, confidence) for d, t in zip(detections, labels, strict=True)]
        self._image = np.repeat(np.arange(self.images), [len(m.scores) for m in matches])
        scores = np.concatenate([m.scores for m in matches]) if matches else np.zeros(0)
        order = np.argsort(-scores, kind="mergesort")
        self._scores, self._image = scores[order], self._image[order]
        columns = (0, len(IOUS))
        self._matched = np.concatenate([m.matched for m in matches] or [np.zeros(columns, bool)])[order]
        self._ignored = np.concatenate([m.ignored for m in matches] or [np.zeros(columns, bool)])[order]
        names = np.array([name for m in matches for name in m.classes], dtype=object)[order]
        single = [t.where(~t.is_crowd) for t in labels]
        self._label_image = np.repeat(np.arange(self.images), [len(t) for t in single])
        self._label_class = np.array([name for t in single for name in t.classes], dtype=object)
        self._label_area = np.concatenate([t.areas for t in single]) if single else np.zeros(0)
        found = [m.found[~t.is_crowd] for m, t in zip(matches, labels, strict=True)]
        self._label_found = np.concatenate(found) if found else np.zeros(0, bool)
        self._by_class = {
            name: (np.flatnonzero(names == name), np.flatnonzero(self._label_class == name))
            for name in sorted(set(self._label_class.tolist()))
        }
        is_false = (self._scores >= confidence) & ~self._matched[:, 0] & ~self._ignored[:, 0]
        self._false = np.bincount(self._image[is_false], minlength=self.images).astype(np.float64)

    @property
    def labels(self) -> int:
        """Number of labels that are not crowds."""
        return len(self._label_class)

    def metrics(self, weights: Floats | None = None) -> dict[str, float]:
        """Return the metrics.

        Args:
            weights: (images,) how often each image counts; None: once.

        Returns:
            ``recall``, ``recall small``, ``recall medium``, ``recall large``, ``mAP50``, ``mAP`` and ``false boxes``
            per image; NaN where there are no labels.
        """
        image_weights = np.ones(self.images) if weights is None else np.asarray(weights, np.float64)
        precisions = self._class_precisions(image_weights, len(IOUS))
        found = {"recall": self._recall(np.ones(self.labels, bool), image_weights)}
        for name, (low, high) in SIZES.items():
            found[f"recall {name}"] = self._recall(
                (self._label_area >= low) & (self._label_area < high), image_weights
            )
        found["mAP50"] = float(np.mean([p[0] for p in precisions])) if precisions else math.nan
        found["mAP"] = float(np.mean(precisions)) if precisions else math.nan
        total = image_weights.sum()
        found["false boxes"] = float(self._false @ image_weights / total) if total else math.nan
        return found

    def map50(self, weights: Floats) -> float:
        """Return ``mAP50`` alone, which is faster than ``metrics``."""
        precisions = self._class_precisions(np.asarray(weights, np.float64), 1)
        return float(np.mean(precisions)) if precisions else math.nan

    def _recall(self, selected: NDArray[np.bool_], image_weights: Floats) -> float:
        weights = image_weights[self._label_image] * selected
        total = float(weights.sum())
        return float((weights * self._label_found).sum()) / total if total else math.nan

    def _class_precisions(self, image_weights: Floats, thresholds: int) -> list[list[float]]:
        """Return the average precisions at the first IoU thresholds of each class that has labels."""
        found = []
        for rows, labels in self._by_class.values():
            positives = float(image_weights[self._label_image[labels]].sum())
            if positives <= 0.0:
                continue
            weights = image_weights[self._image[rows]][:, None]
            true_positives = np.cumsum(weights * self._matched[rows, :thresholds], 0)
            detections = np.cumsum(weights * ~self._ignored[rows, :thresholds], 0)
            found.append(
                [average_precision(true_positives[:, n], detections[:, n], positives) for n in range(thresholds)]
            )
        return found


def average_precision(true_positives: Floats, detections: Floats, positives: float) -> float:
    """Return the average precision over ``RECALLS``.

    Args:
        true_positives: (N,) cumulative number of true positives, in the order of decreasing scores.
        detections: (N,) cumulative number of detections.
        positives: number of labels.
    """
    if not len(true_positives):
        return 0.0
    precision = np.divide(true_positives, detections, out=np.zeros_like(true_positives), where=detections > 0.0)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    index = np.searchsorted(true_positives / positives, RECALLS, side="left")
    return float(np.where(index < len(precision), precision[np.minimum(index, len(precision) - 1)], 0.0).mean())


@dataclass(frozen=True, slots=True)
class Interval:
    """A difference of two renderings with its bootstrap interval; the bounds are NaN for a single scene."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        bounds = "" if math.isnan(self.low) else f" ({self.low:+.3f} to {self.high:+.3f})"
        return f"{self.value:+.3f}{bounds}"

    @property
    def is_certain(self) -> bool:
        """Whether the interval excludes 0."""
        return self.low > 0.0 or self.high < 0.0


def bootstrap_differences(
    results: Mapping[str, DetectionResults], scenes: Sequence[int], over: str
) -> dict[str, Interval]:
    """Return the difference in mAP50 of ``over`` to every other rendering, with intervals by resampling scenes.

    All renderings use the same resamples, so that differences of images cancel.

    Args:
        results: results of the same images by rendering.
        scenes: number of the scene of each image.
        over: rendering from which the others are subtracted.
    """
    others = [name for name in results if name != over]
    values = {name: found.map50(np.ones(found.images)) for name, found in results.items()}
    numbers = np.asarray(scenes, np.int64)
    count = int(numbers.max()) + 1 if len(numbers) else 0
    drawn: dict[str, list[float]] = {name: [] for name in others}
    rng = np.random.default_rng(0)
    for _ in range(RESAMPLES if count > 1 else 0):
        weights = np.bincount(rng.integers(0, count, count), minlength=count).astype(np.float64)[numbers]
        value = results[over].map50(weights)
        for name in others:
            drawn[name].append(value - results[name].map50(weights))
    return {name: make_interval(values[over] - values[name], drawn[name]) for name in others}


def make_interval(value: float, drawn: Sequence[float]) -> Interval:
    """Return the interval of bootstrapped values; the bounds are NaN without values."""
    known = np.array([v for v in drawn if math.isfinite(v)])
    tail = 50.0 * (1.0 - CONFIDENCE_LEVEL)
    low, high = np.percentile(known, [tail, 100.0 - tail]) if known.size else (math.nan, math.nan)
    return Interval(value, float(low), float(high))
