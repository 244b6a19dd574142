"""Tables of comparisons: sums over frames, differences with intervals, and files."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest

from lowlight_enhance.evaluation.detection.boxes import NO_BOXES, make_boxes
from lowlight_enhance.evaluation.detection.compare import (
    AGAINST_REFERENCE,
    TEXT,
    TRACKING,
    BoxFrames,
    BoxSample,
    DetectorComparison,
    FrameCounts,
)
from lowlight_enhance.evaluation.detection.output import (
    FALSE_COLOUR,
    MISSED_COLOUR,
    TRUE_COLOUR,
    comparison_section,
    draw_boxes,
    write_comparison,
)
from lowlight_enhance.evaluation.detection.renderings import DARK, STREAM
from lowlight_enhance.evaluation.detection.tables import result_tables

SQUARE, FAR = [10.0, 10.0, 30.0, 30.0], [60.0, 60.0, 80.0, 80.0]


def entries(measure: str, counts: dict[str, dict[str, list[float]]], condition: str = "") -> list[FrameCounts]:
    """``counts`` by rendering: lists with one value per scene."""
    return [
        FrameCounts("x", measure, condition, f"{n}", f"scene{n}", rendering, {name: v[n] for name, v in each.items()})
        for rendering, each in counts.items()
        for n in range(len(next(iter(each.values()))))
    ]


def keypoints(inliers: list[float]) -> dict[str, list[float]]:
    ones = [1.0] * len(inliers)
    rest = dict.fromkeys(("keypoints", "matches", "repeated", "possible", "by_chance", "tracked"), ones)
    return {"pairs": ones, "inliers": inliers, **rest}


def test_differences_and_their_intervals() -> None:
    dark, stream = [10.0, 20.0, 30.0, 40.0], [30.0, 50.0, 40.0, 80.0]
    found = entries(AGAINST_REFERENCE, {DARK: keypoints(dark), STREAM: keypoints(stream)})
    (table,) = result_tables(DetectorComparison(found))
    assert table.columns[0] == "inliers"
    assert table.rows[STREAM][0] == pytest.approx(50.0)
    difference = table.differences[DARK]
    assert difference.value == pytest.approx(25.0)
    assert 10.0 < difference.low < 25.0 < difference.high < 40.0
    assert f"to dark {difference}" in str(table)


def test_a_single_scene_has_no_interval() -> None:
    found = entries(AGAINST_REFERENCE, {DARK: keypoints([1.0]), STREAM: keypoints([5.0])})
    (table,) = result_tables(DetectorComparison(found))
    assert math.isnan(table.differences[DARK].low)
    assert "to dark +4.000" in str(table)


def test_ratios_are_of_sums_over_all_clips() -> None:
    counts = {
        "clips": [1.0, 1.0],
        "tracks": [10.0, 30.0],
        "alive": [10.0, 20.0],
        "correct": [10.0, 10.0],
        "drift_px": [5.0, 15.0],
    }
    (table,) = result_tables(DetectorComparison(entries(TRACKING, {STREAM: counts})))
    assert dict(zip(table.columns, table.rows[STREAM], strict=True)) == {
        "correct %": 50.0,
        "alive %": 75.0,
        "drift px": 1.0,
        "tracks": 20.0,
        "correct tracks": 10.0,
    }
    assert "2 clips of 2 scenes" in table.title


def test_each_condition_has_its_table() -> None:
    words = {"frames": [1.0], "words": [4.0], "read": [3.0]}
    found = [entry for light in ("3 stops", "5 stops") for entry in entries(TEXT, {STREAM: words}, light)]
    tables = result_tables(DetectorComparison(found))
    assert [table.condition for table in tables] == ["3 stops", "5 stops"]
    assert tables[0].rows[STREAM][0] == 0.75


def boxes() -> BoxFrames:
    truth = [make_boxes([SQUARE], [1], ["car"]) for _ in range(4)]
    found = {DARK: [*truth[:1], NO_BOXES, NO_BOXES, make_boxes([FAR], [0.9], ["car"])], STREAM: truth}
    return BoxFrames(0.25, [f"{n}.png" for n in range(4)], [f"{n}" for n in range(4)], truth, found)


def test_tables_of_boxes() -> None:
    (table,) = result_tables(DetectorComparison(boxes={("yolo", "4 stops"): boxes()}))
    dark, stream = (dict(zip(table.columns, table.rows[name], strict=True)) for name in (DARK, STREAM))
    assert (stream["mAP50"], stream["recall"], stream["false boxes"]) == (1.0, 1.0, 0.0)
    assert (dark["recall"], dark["recall small"], dark["false boxes"]) == (0.25, 0.25, 0.25)
    assert table.differences[DARK].value == pytest.approx(stream["mAP50"] - dark["mAP50"])
    assert table.title == "yolo, boxes, 4 stops: 4 frames of 4 scenes"


def test_a_rendering_that_some_frames_lack_is_left_out() -> None:
    found = boxes()
    found.found["well lit"] = found.truth[:2]
    (table,) = result_tables(DetectorComparison(boxes={("yolo", ""): found}))
    assert list(table.rows) == [DARK, STREAM]


def test_files_hold_every_frame_and_no_nan(tmp_path: Path) -> None:
    found = entries(AGAINST_REFERENCE, {DARK: keypoints([0.0]), STREAM: keypoints([5.0])})
    comparison = DetectorComparison(found, {("yolo", ""): boxes()})
    write_comparison(comparison, result_tables(comparison), {"limit": None}, tmp_path / "out")
    assert "NaN" not in (tmp_path / "out" / "summary.json").read_text()
    content = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert [table["detector"] for table in content["tables"]] == ["yolo", "x"]
    rows = list(csv.DictReader((tmp_path / "out" / "frames.csv").open()))
    assert len(rows) == 2 + 8
    (last,) = [r for r in rows if (r["frame"], r["rendering"]) == ("3.png", DARK)]
    assert (last["labels"], last["found"], last["false"]) == ("1", "0", "1")


def test_drawn_boxes_have_the_colour_of_their_kind() -> None:
    image, truth = np.zeros((100, 100, 3), np.uint8), make_boxes([SQUARE, [10, 60, 30, 80]], [1, 1], ["car", "car"])
    found = make_boxes([SQUARE, FAR, [40.0, 5.0, 50.0, 20.0]], [0.9, 0.8, 0.1], ["car", "car", "car"])
    drawn = draw_boxes(image, found, truth, 0.25)
    assert not image.any()
    colours = [tuple(drawn[y, x]) for x, y in ((10, 20), (60, 70), (10, 70), (40, 12))]
    assert colours == [TRUE_COLOUR, FALSE_COLOUR, MISSED_COLOUR, (0, 0, 0)]


def test_the_section_of_the_report_shows_the_samples() -> None:
    image = np.zeros((100, 100, 3), np.uint8)
    shown = {DARK: (image, NO_BOXES), STREAM: (image, boxes().truth[0])}
    sample = BoxSample("yolo", "4 stops", "0.png", boxes().truth[0], 0.25, shown)
    comparison = DetectorComparison(boxes={("yolo", "4 stops"): boxes()}, samples=[sample], has_labels=True)
    section = comparison_section("Detectors", comparison, result_tables(comparison))
    assert [picture.caption for picture in section.pictures[0]] == [
        f"yolo, 0.png, 4 stops: {name}" for name in (DARK, STREAM)
    ]
    assert "truth: labels" in section.notes
    assert section.tables[0].columns[:3] == ("", "recall", "recall small")
    assert "difference in mAP50" in section.tables[0].note
