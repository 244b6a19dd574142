"""Write a comparison: ``frames.csv`` and ``summary.json``, and a section of the HTML report with drawn boxes."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lowlight_enhance.core.files import atomic_file, make_folder, write_text
from lowlight_enhance.evaluation.detection.average_precision import match_boxes
from lowlight_enhance.evaluation.detection.boxes import Boxes
from lowlight_enhance.evaluation.detection.compare import BOXES, BoxSample, DetectorComparison
from lowlight_enhance.evaluation.detection.tables import ResultTable
from lowlight_enhance.evaluation.json_values import without_nan
from lowlight_enhance.evaluation.report.content import Picture, Section, Table

Image = NDArray[np.uint8]
Colour = tuple[int, int, int]

TRUE_COLOUR, FALSE_COLOUR, MISSED_COLOUR = (60, 220, 60), (255, 70, 70), (255, 210, 0)
"""RGB of true boxes, of false ones, and of labels that were not found."""


def write_comparison(
    comparison: DetectorComparison, tables: Sequence[ResultTable], settings: Mapping[str, Any], folder: Path
) -> None:
    """Write ``frames.csv`` with the counts of every frame and ``summary.json`` with tables and settings.

    Raises:
        DataError: the folder cannot be written.
    """
    make_folder(folder)
    rows = [*_entry_rows(comparison), *_box_rows(comparison)]
    names = list(dict.fromkeys(name for _, counts in rows for name in counts))
    with atomic_file(folder / "frames.csv") as path, path.open("w", newline="", encoding="utf-8") as file:
        sheet = csv.writer(file)
        sheet.writerow(["detector", "measure", "condition", "frame", "scene", "rendering", *names])
        for key, counts in rows:
            sheet.writerow([*key, *(f"{counts[name]:.6g}" if name in counts else "" for name in names)])
    content = {"settings": dict(settings), "tables": [asdict(table) for table in tables]}
    write_text(folder / "summary.json", json.dumps(without_nan(content), indent=1) + "\n")


_Row = tuple[tuple[str, ...], Mapping[str, float]]


def _entry_rows(comparison: DetectorComparison) -> list[_Row]:
    return [
        ((e.detector, e.measure, e.condition, e.frame, e.scene, e.rendering), e.counts) for e in comparison.entries
    ]


def _box_rows(comparison: DetectorComparison) -> list[_Row]:
    rows: list[_Row] = []
    for (detector, condition), boxes in comparison.boxes.items():
        for rendering, found in boxes.found.items():
            for frame, scene, truth, found_boxes in zip(boxes.frames, boxes.scenes, boxes.truth, found, strict=False):
                counts = _box_counts(found_boxes, truth, boxes.confidence)
                rows.append(((detector, BOXES, condition, frame, scene, rendering), counts))
    return rows


def _box_counts(found: Boxes, truth: Boxes, confidence: float) -> dict[str, float]:
    single = truth.where(~truth.is_crowd)
    matches = match_boxes(found, truth, confidence)
    sure = matches.scores >= confidence
    false = sure & ~matches.matched[:, 0] & ~matches.ignored[:, 0]
    found_labels = matches.found[~truth.is_crowd]
    return {"labels": float(len(single)), "found": float(found_labels.sum()), "false": float(false.sum())}


def comparison_section(title: str, comparison: DetectorComparison, tables: Sequence[ResultTable]) -> Section:
    """Return the section of the HTML report."""
    notes = ["truth: labels" if comparison.has_labels else "truth: what is found on the well-lit reference"]
    if comparison.samples:
        notes.append("boxes: green true, red false, yellow not found")
    if comparison.unlabelled:
        notes.append(f"frames skipped without labels or reference: {comparison.unlabelled}")
    return Section(
        title,
        (),
        (),
        tuple(notes),
        tuple(
            Table(
                table.title,
                ("", *table.columns),
                tuple((name, *table.cells(name)) for name in table.rows),
                table.difference_text(),
            )
            for table in tables
        ),
        tuple(tuple(_pictures(sample)) for sample in comparison.samples),
    )


def _pictures(sample: BoxSample) -> list[Picture]:
    light = f", {sample.condition}" if sample.condition else ""
    return [
        Picture(
            f"{sample.detector}, {sample.frame}{light}: {rendering}",
            draw_boxes(image, found, sample.truth, sample.confidence),
        )
        for rendering, (image, found) in sample.shown.items()
    ]


def draw_boxes(image: Image, found: Boxes, truth: Boxes, confidence: float) -> Image:
    """Draw the boxes of at least a confidence, and the labels that none of them matches.

    Args:
        image: (H, W, 3) uint8 RGB.
        found: boxes of a detector.
        truth: labels.
        confidence: lowest score of a drawn box.
    """
    drawn = np.array(image)
    sure = found.with_score(confidence)
    matches = match_boxes(sure, truth, confidence)
    order = np.argsort(-sure.scores, kind="stable")
    missed = truth.where(~truth.is_crowd & ~matches.found)
    for corners, name in zip(missed.corners, missed.classes, strict=True):
        _draw(drawn, corners, name, MISSED_COLOUR)
    for index, is_true, is_ignored in zip(order, matches.matched[:, 0], matches.ignored[:, 0], strict=False):
        if not is_ignored:
            label = f"{sure.classes[index]} {sure.scores[index]:.2f}"
            _draw(drawn, sure.corners[index], label, TRUE_COLOUR if is_true else FALSE_COLOUR)
    return drawn


def _draw(image: Image, corners: NDArray[np.float64], label: str, colour: Colour) -> None:
    left, top, right, bottom = (round(float(value)) for value in corners)
    cv2.rectangle(image, (left, top), (right, bottom), colour, 2)
    baseline = top - 4 if top > 14 else bottom + 12
    text = label.encode("ascii", "replace").decode()  # OpenCV's fonts are ASCII
    cv2.putText(image, text, (left, baseline), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0), 3, cv2.LINE_AA)
    cv2.putText(image, text, (left, baseline), cv2.FONT_HERSHEY_SIMPLEX, 0.42, colour, 1, cv2.LINE_AA)
