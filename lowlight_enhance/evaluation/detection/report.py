"""A comparison as tables, with the gain of the enhanced frames over the others; for the screen and for files."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowlight_enhance.core.files import atomic_file, make_folder
from lowlight_enhance.evaluation.detection.compare import (
    ALIGNED,
    BOXES,
    ENHANCED,
    MOVING,
    RECORDED,
    REFERENCE,
    Comparison,
    Entry,
)
from lowlight_enhance.evaluation.report import content

Sums = Mapping[str, Any]
"""Counts added up: numbers, or arrays of numbers."""

RESAMPLINGS, CONFIDENCE = 1000, 0.95
"""Of the scenes, for the interval of a gain (B. Efron, "Bootstrap Methods", Annals of Statistics 1979)."""


def _ratio(above: str, below: str, times: float = 1.0) -> Callable[[Sums], Any]:
    def ratio(sums: Sums) -> Any:
        low = np.asarray(sums[below], np.float64)
        return np.divide(times * np.asarray(sums[above]), low, out=np.full(low.shape, np.nan), where=low > 0.0)

    return ratio


def _f1(sums: Sums) -> Any:
    return _ratio("twice", "both")({"twice": 2.0 * sums["correct"], "both": sums["found"] + sums["truth"]})


_MATCHED = {
    "matches": _ratio("matches", "pairs"),
    "inliers": _ratio("inliers", "pairs"),
    "inlier %": _ratio("inliers", "matches", 100.0),
}
_REPEATED = {
    "keypoints": _ratio("keypoints", "pairs"),
    "repeated %": _ratio("repeated", "possible", 100.0),
    "by chance %": _ratio("by_chance", "possible", 100.0),
}
_TRACKED = {"tracked %": _ratio("tracked", "pairs", 100.0)}

COLUMNS: dict[str, dict[str, Callable[[Sums], Any]]] = {
    ALIGNED: _REPEATED | _MATCHED,
    MOVING: _REPEATED | _MATCHED | _TRACKED,
    RECORDED: {"keypoints": _REPEATED["keypoints"]} | _MATCHED | _TRACKED,
    BOXES: {
        "boxes": _ratio("found", "frames"),
        "precision": _ratio("correct", "found"),
        "recall": _ratio("correct", "truth"),
        "F1": _f1,
    },
}
"""Figures of each measure, from counts that are added up over all frames."""

MAIN = {ALIGNED: "inliers", MOVING: "inliers", RECORDED: "inliers", BOXES: "F1"}
"""The figure whose gain is told."""


DIGITS = dict.fromkeys((*COLUMNS[MOVING], "boxes"), 1)
"""After the point, of figures that are not parts of 1."""


@dataclass(frozen=True, slots=True)
class Gain:
    """The main figure of the enhanced frames over that of another rendering.

    Attributes:
        over: name of that rendering.
        factor: quotient of both; infinite where the other alone is 0, NaN where both are.
        low: end of the 95 % interval, by resampling scenes; NaN with a single scene or without a factor.
        high: the other end.
    """

    over: str
    factor: float
    low: float
    high: float

    def __str__(self) -> str:
        if not math.isfinite(self.factor):
            return f"over {self.over}: {'none in either' if math.isnan(self.factor) else 'from none'}"
        interval = "" if math.isnan(self.low) else f" ({self.low:.2f} to {self.high:.2f})"
        return f"over {self.over}: x {self.factor:.2f}{interval}"


@dataclass(frozen=True, slots=True)
class Table:
    """Figures of one detector in one measure.

    Attributes:
        detector: its name.
        measure: what is measured.
        frames: how many, or how many pairs.
        scenes: of how many scenes.
        columns: names of the figures.
        rows: by rendering, figures in the order of ``columns``; NaN where there is none.
        gain_in: the column that ``gains`` are told of.
        gains: of the enhanced frames.
    """

    detector: str
    measure: str
    frames: int
    scenes: int
    columns: tuple[str, ...]
    rows: dict[str, tuple[float, ...]]
    gain_in: str
    gains: tuple[Gain, ...]

    @property
    def title(self) -> str:
        """In words."""
        what = "frames" if self.measure in (ALIGNED, BOXES) else "pairs of consecutive frames"
        return f"{self.detector}, {self.measure}: {self.frames} {what} of {self.scenes} scenes"

    def cells(self, rendering: str) -> list[str]:
        """A row as texts: parts of 1 with three digits."""
        pairs = zip(self.columns, self.rows[rendering], strict=True)
        return ["-" if math.isnan(value) else f"{value:.{DIGITS.get(name, 3)}f}" for name, value in pairs]

    def __str__(self) -> str:
        width = max(map(len, self.rows)) + 2
        lines = [self.title, " " * width + "".join(f"{name:>12}" for name in self.columns)]
        lines += [f"{name:<{width}}" + "".join(f"{cell:>12}" for cell in self.cells(name)) for name in self.rows]
        return "\n".join([*lines, f"gain in {self.gain_in} {'; '.join(map(str, self.gains))}"])


def tables(comparison: Comparison) -> list[Table]:
    """One table a detector and measure, in the order in which they were measured."""
    groups: dict[tuple[str, str], list[Entry]] = {}
    for entry in comparison.entries:
        groups.setdefault((entry.detector, entry.measure), []).append(entry)
    return [
        _table(detector, measure, entries, comparison if measure == BOXES else Comparison())
        for (detector, measure), entries in groups.items()
    ]


def page_tables(comparison: Comparison) -> tuple[content.Table, ...]:
    """The same for the HTML page."""
    return tuple(
        content.Table(
            table.title,
            ("", *table.columns),
            tuple((name, *table.cells(name)) for name in table.rows),
            f"gain in {table.gain_in} {'; '.join(map(str, table.gains))}",
        )
        for table in tables(comparison)
    )


def write(comparison: Comparison, settings: Mapping[str, Any], out: Path) -> None:
    """``frames.csv`` with the counts of every frame and ``summary.json`` with tables and settings, in ``out``.

    Raises:
        DataError: it cannot be written.
    """
    make_folder(out)
    names = list(dict.fromkeys(name for entry in comparison.entries for name in entry.counts))
    with atomic_file(out / "frames.csv") as path, path.open("w", newline="") as file:
        sheet = csv.writer(file)
        sheet.writerow(["detector", "measure", "frame", "scene", "rendering", *names])
        for e in comparison.entries:
            counts = [f"{e.counts[name]:.6g}" if name in e.counts else "" for name in names]
            sheet.writerow([e.detector, e.measure, e.frame, e.scene, e.rendering, *counts])
    summary = {"settings": dict(settings), "tables": [asdict(table) for table in tables(comparison)]}
    with atomic_file(out / "summary.json") as path:
        path.write_text(json.dumps(_finite(summary), indent=1) + "\n")


def _table(detector: str, measure: str, entries: Sequence[Entry], comparison: Comparison) -> Table:
    scenes = {scene: number for number, scene in enumerate(dict.fromkeys(entry.scene for entry in entries))}
    per_scene: dict[str, dict[str, NDArray[np.float64]]] = {}
    frames = 0
    for entry in entries:
        sums = per_scene.setdefault(entry.rendering, {name: np.zeros(len(scenes)) for name in entry.counts})
        for name, value in entry.counts.items():
            sums[name][scenes[entry.scene]] += value
        frames += entry.rendering == ENHANCED
    columns = COLUMNS[measure]
    totals = {name: {key: sums.sum() for key, sums in each.items()} for name, each in per_scene.items()}
    rows = {name: [float(figure(sums)) for figure in columns.values()] for name, sums in totals.items()}
    names = list(columns)
    precisions = comparison.precisions.get(detector, {})
    if precisions:
        names += ["mAP50", "mAP50-95"]
        for name, row in rows.items():
            row += [precisions[name].ap50, precisions[name].ap]
    main = MAIN[measure]
    gains = tuple(
        _gain(name, columns[main], per_scene[ENHANCED], each, len(scenes))
        for name, each in per_scene.items()
        if name not in (ENHANCED, REFERENCE) and ENHANCED in per_scene
    )
    rounded = {name: tuple(row) for name, row in rows.items()}
    return Table(detector, measure, frames, len(scenes), tuple(names), rounded, main, gains)


def _gain(
    over: str,
    figure: Callable[[Sums], Any],
    ours: Mapping[str, NDArray[np.float64]],
    theirs: Mapping[str, NDArray[np.float64]],
    scenes: int,
) -> Gain:
    def factor(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Quotients for (K, scenes) weights."""
        above, below = (
            np.nan_to_num(figure({name: weights @ sums for name, sums in side.items()})) for side in (ours, theirs)
        )
        unknown = np.where(above > 0.0, np.inf, np.nan)
        return np.asarray(np.divide(above, below, out=unknown, where=below > 0.0), dtype=np.float64)

    value = float(factor(np.ones((1, scenes)))[0])
    if scenes < 2 or not math.isfinite(value):
        return Gain(over, value, math.nan, math.nan)
    drawn = np.random.default_rng(0).multinomial(scenes, np.full(scenes, 1.0 / scenes), RESAMPLINGS)
    factors = factor(drawn.astype(np.float64))
    tail = 50.0 * (1.0 - CONFIDENCE)
    known = factors[np.isfinite(factors)]
    low, high = np.percentile(known, [tail, 100.0 - tail]) if known.size else (math.nan, math.nan)
    return Gain(over, value, float(low), float(high))


def _finite(value: Any) -> Any:
    """NaN, which JSON lacks, as None."""
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
