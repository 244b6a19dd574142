"""Mean average precision as COCO defines it, by pycocotools."""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lowlight_enhance.evaluation.detection.boxes import NO_BOXES, Boxes

Found = Mapping[str, Boxes]
"""Boxes by the name of the frame."""


@dataclass(frozen=True, slots=True)
class MeanPrecision:
    """Over classes; 0..1.

    Attributes:
        ap50: at an intersection over union of 0.5.
        ap: mean of those at 0.50, 0.55 .. 0.95.
    """

    ap50: float
    ap: float


def mean_precision(found: Found, truth: Found) -> MeanPrecision:
    """How well ``found`` fits ``truth``; NaN without a single label."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    classes = sorted({name for boxes in truth.values() for name in boxes.classes})
    if not classes:
        return MeanPrecision(math.nan, math.nan)
    numbers = {name: number for number, name in enumerate(classes, start=1)}
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
        labels, results = COCO(), COCO()
        for side, boxes_of in ((labels, truth), (results, found)):
            side.dataset = {
                "images": [{"id": image} for image in range(len(truth))],
                "categories": [{"id": number, "name": name} for name, number in numbers.items()],
                "annotations": _annotations([boxes_of.get(frame, NO_BOXES) for frame in truth], numbers),
            }
            side.createIndex()
        evaluation = COCOeval(labels, results, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][..., 0, -1]  # (thresholds, recalls, classes) of all areas, most boxes
    return MeanPrecision(ap50=_mean(precision[0]), ap=_mean(precision))


def _mean(precision: Any) -> float:
    """Of the values that exist: pycocotools writes -1 for a class without labels."""
    known = precision[precision > -1]
    return float(np.mean(known)) if known.size else 0.0


def _annotations(frames: list[Boxes], numbers: dict[str, int]) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = []
    for image, boxes in enumerate(frames):
        crowd = boxes.crowd if boxes.crowd is not None else np.zeros(len(boxes), bool)
        for corners, score, name, many in zip(boxes.corners, boxes.scores, boxes.classes, crowd, strict=True):
            if name in numbers:
                left, top, right, bottom = (float(value) for value in corners)
                size = (right - left, bottom - top)
                entry = {"bbox": [left, top, *size], "area": size[0] * size[1], "score": float(score)}
                more = {"id": len(entries) + 1, "image_id": image, "category_id": numbers[name]}
                entries.append(entry | more | {"iscrowd": int(many), "ignore": 0})
    return entries
