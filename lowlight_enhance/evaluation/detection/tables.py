"""Tables of a comparison: metrics of each rendering, and differences of the enhanced stream with their intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowlight_enhance.evaluation.detection.average_precision import (
    RESAMPLES,
    Interval,
    bootstrap_differences,
    make_interval,
)
from lowlight_enhance.evaluation.detection.compare import (
    AGAINST_REFERENCE,
    BOXES,
    KNOWN_MOTION,
    TEXT,
    TRACKING,
    UNKNOWN_MOTION,
    BoxFrames,
    DetectorComparison,
    FrameCounts,
)
from lowlight_enhance.evaluation.detection.renderings import STREAM

Sums = Mapping[str, Any]
"""Sums of counts: numbers, or arrays of numbers."""


def _ratio(above: str, below: str, factor: float = 1.0) -> Callable[[Sums], Any]:
    def ratio(sums: Sums) -> Any:
        low = np.asarray(sums[below], np.float64)
        return np.divide(factor * np.asarray(sums[above]), low, out=np.full(low.shape, np.nan), where=low > 0.0)

    return ratio


_MATCHED = {
    "inliers": _ratio("inliers", "pairs"),
    "matches": _ratio("matches", "pairs"),
    "inlier %": _ratio("inliers", "matches", 100.0),
}
_REPEATED = {
    "keypoints": _ratio("keypoints", "pairs"),
    "repeated %": _ratio("repeated", "possible", 100.0),
    "by chance %": _ratio("by_chance", "possible", 100.0),
}
_TRACKED = {"tracked %": _ratio("tracked", "pairs", 100.0)}

COLUMNS: dict[str, dict[str, Callable[[Sums], Any]]] = {
    AGAINST_REFERENCE: _MATCHED | _REPEATED,
    KNOWN_MOTION: _MATCHED | _REPEATED | _TRACKED,
    UNKNOWN_MOTION: _MATCHED | {"keypoints": _REPEATED["keypoints"]} | _TRACKED,
    TRACKING: {
        "correct %": _ratio("correct", "tracks", 100.0),
        "alive %": _ratio("alive", "tracks", 100.0),
        "drift px": _ratio("drift_px", "correct"),
        "tracks": _ratio("tracks", "clips"),
        "correct tracks": _ratio("correct", "clips"),
    },
    TEXT: {"words read": _ratio("read", "words"), "words": _ratio("words", "frames")},
}
"""Metrics of each measure, from counts summed over all frames. Differences are those of the first column."""

UNITS = {
    AGAINST_REFERENCE: "frames",
    BOXES: "frames",
    TEXT: "frames",
    TRACKING: "clips",
    KNOWN_MOTION: "pairs of consecutive frames",
    UNKNOWN_MOTION: "pairs of consecutive frames",
}
"""Unit in which each measure counts."""

FRACTIONS = ("mAP50", "mAP", "recall", "recall small", "recall medium", "recall large", "words read")
"""Columns of values from 0 to 1, shown with three decimals; others have two."""


@dataclass(frozen=True, slots=True)
class ResultTable:
    """Metrics of one detector in one measure.

    Attributes:
        detector: name of the detector.
        measure: one of the measures of ``compare``.
        condition: light of simulated frames; "" for real ones.
        frames: number of frames, pairs or clips.
        scenes: number of scenes.
        columns: names of the metrics.
        rows: by rendering, values in the order of ``columns``; NaN where there is none.
        compared: the column of ``differences``.
        differences: by other rendering, difference of the enhanced stream.
    """

    detector: str
    measure: str
    condition: str
    frames: int
    scenes: int
    columns: tuple[str, ...]
    rows: dict[str, tuple[float, ...]]
    compared: str
    differences: dict[str, Interval]

    @property
    def title(self) -> str:
        """Heading."""
        light = f", {self.condition}" if self.condition else ""
        return f"{self.detector}, {self.measure}{light}: {self.frames} {UNITS[self.measure]} of {self.scenes} scenes"

    def cells(self, rendering: str) -> list[str]:
        """Return a row as texts."""
        pairs = zip(self.columns, self.rows[rendering], strict=True)
        return ["-" if math.isnan(v) else f"{v:.{3 if name in FRACTIONS else 2}f}" for name, v in pairs]

    def difference_text(self) -> str:
        """Return the differences as one line."""
        found = [f"to {name} {interval}" for name, interval in self.differences.items()]
        return f"{STREAM}, difference in {self.compared} (90 % interval): {'; '.join(found)}" if found else ""

    def __str__(self) -> str:
        width = max(map(len, self.rows)) + 2
        lines = [self.title, " " * width + "".join(f"{name:>15}" for name in self.columns)]
        lines += [f"{name:<{width}}" + "".join(f"{cell:>15}" for cell in self.cells(name)) for name in self.rows]
        return "\n".join([*lines, self.difference_text()]).rstrip()


def result_tables(comparison: DetectorComparison) -> list[ResultTable]:
    """Return one table per detector, measure and condition."""
    groups: dict[tuple[str, str, str], list[FrameCounts]] = {}
    for entry in comparison.entries:
        groups.setdefault((entry.detector, entry.measure, entry.condition), []).append(entry)
    return [
        *(_box_table(detector, condition, boxes) for (detector, condition), boxes in comparison.boxes.items()),
        *(_count_table(*key, entries) for key, entries in groups.items()),
    ]


def _box_table(detector: str, condition: str, boxes: BoxFrames) -> ResultTable:
    results = boxes.results()
    metrics = {name: found.metrics() for name, found in results.items()}
    columns = tuple(next(iter(metrics.values())))
    numbers = {scene: number for number, scene in enumerate(dict.fromkeys(boxes.scenes))}
    scenes = [numbers[scene] for scene in boxes.scenes]
    differences = bootstrap_differences(results, scenes, STREAM) if STREAM in results else {}
    rows = {name: tuple(found[column] for column in columns) for name, found in metrics.items()}
    return ResultTable(
        detector, BOXES, condition, len(boxes.frames), len(numbers), columns, rows, "mAP50", differences
    )


def _count_table(detector: str, measure: str, condition: str, entries: Sequence[FrameCounts]) -> ResultTable:
    scenes = {scene: number for number, scene in enumerate(dict.fromkeys(entry.scene for entry in entries))}
    per_scene: dict[str, dict[str, NDArray[np.float64]]] = {}
    for entry in entries:
        sums = per_scene.setdefault(entry.rendering, {name: np.zeros(len(scenes)) for name in entry.counts})
        for name, value in entry.counts.items():
            sums[name][scenes[entry.scene]] += value
    columns = COLUMNS[measure]
    totals = {name: {key: sums.sum() for key, sums in each.items()} for name, each in per_scene.items()}
    rows = {name: tuple(float(metric(sums)) for metric in columns.values()) for name, sums in totals.items()}
    frames = sum(entry.rendering == entries[0].rendering for entry in entries)
    main = next(iter(columns.values()))
    differences = dict(_count_differences(per_scene, main, len(scenes))) if STREAM in per_scene else {}
    return ResultTable(
        detector, measure, condition, frames, len(scenes), tuple(columns), rows, next(iter(columns)), differences
    )


def _count_differences(
    per_scene: Mapping[str, Mapping[str, NDArray[np.float64]]], metric: Callable[[Sums], Any], scenes: int
) -> Iterator[tuple[str, Interval]]:
    """Yield the differences of the stream to each other rendering, with intervals by resampling scenes."""

    def values(rendering: str, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        sums = {name: weights @ counts for name, counts in per_scene[rendering].items()}
        return np.asarray(metric(sums), dtype=np.float64)

    once, count = np.ones((1, scenes)), RESAMPLES if scenes > 1 else 0
    drawn = np.random.default_rng(0).multinomial(scenes, np.full(scenes, 1.0 / scenes), count).astype(np.float64)
    for name in per_scene:
        if name != STREAM:
            value = float((values(STREAM, once) - values(name, once))[0])
            yield name, make_interval(value, (values(STREAM, drawn) - values(name, drawn)).tolist() if count else [])
