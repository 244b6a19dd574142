"""Result of `lowlight soak`: whether memory, threads, file handles and latency stayed constant."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lowlight_enhance.core.process_info import ProcessUsage

MIN_SAMPLES = 8
"""A run with fewer samples is too short for a result."""

MAX_FITTED_POINTS = 200
"""Points per phase between which slopes are taken; more are first reduced to medians of neighbours."""

MAX_MEMORY_GROWTH = 0.01
MAX_LATENCY_DRIFT = 0.15
"""Largest accepted increases: of memory by the fitted line, of latency between the first and the last quarter."""


@dataclass(frozen=True, slots=True)
class SoakSample:
    """Measurement of the idle node between two bursts of frames, always in the same state.

    Attributes:
        at_s: time since the measurement began.
        cycle: number of the change that follows, from 0.
        usage: memory, threads and file handles.
        latency_ms: median time from stamp to receipt in the previous burst; NaN if no frame arrived.
    """

    at_s: float
    cycle: int
    usage: ProcessUsage
    latency_ms: float


@dataclass(frozen=True, slots=True)
class SoakMetric:
    """One value that must stay constant, as texts for the report; ``fault`` is empty if it did."""

    name: str
    first: str
    last: str
    change: str
    limit: str
    fault: str


@dataclass(frozen=True, slots=True)
class SoakResult:
    """Result of a whole run.

    Attributes:
        samples: all samples after the warm-up.
        sent: frames that the camera published.
        received: sent frames that arrived enhanced.
        changes: how often each change was made.
        errors: number of failed frames and messages that the node counted, and the newest error.
    """

    samples: tuple[SoakSample, ...]
    sent: int
    received: int
    changes: dict[str, int]
    errors: tuple[int, str]

    @property
    def is_long_enough(self) -> bool:
        """Whether there are enough samples, and each change was made twice."""
        passes = self.samples[-1].cycle // max(1, len(self.changes)) if self.samples else 0
        return len(self.samples) >= MIN_SAMPLES and passes >= 1

    def rows(self) -> list[SoakMetric]:
        """Return the values that must stay constant."""
        samples = self.samples
        if not self.is_long_enough:
            return []
        return [
            memory_row(samples, len(self.changes)),
            constant_row("threads", [sample.usage.threads for sample in samples]),
            constant_row("file handles", [sample.usage.handles for sample in samples]),
            latency_row([sample.latency_ms for sample in samples]),
        ]

    def failures(self) -> list[str]:
        """Return a sentence for each failed requirement."""
        if not self.is_long_enough:
            return [f"the run was too short: {len(self.samples)} samples, and not every change was made twice"]
        found = [row.fault for row in self.rows() if row.fault]
        count, last = self.errors
        if count:
            found.append(f"the node reports {count} errors, the newest: {last}")
        return found

    def table(self) -> str:
        """Return the results as a text table."""
        minutes = self.samples[-1].at_s / 60.0 if self.samples else 0.0
        counts = ", ".join(f"{name} {count}" for name, count in self.changes.items())
        lines = [
            f"{len(self.samples)} samples in {minutes:.1f} minutes after the warm-up; "
            f"{self.received} of {self.sent} frames received",
            f"changes: {counts}",
            "",
            f"{'':<18}{'first':>12}{'last':>12}{'change':>12}  limit",
        ]
        for row in self.rows():
            verdict = "NOT MET" if row.fault else "met"
            lines.append(f"{row.name:<18}{row.first:>12}{row.last:>12}{row.change:>12}  {row.limit:<16}{verdict}")
        return "\n".join(lines)


def memory_row(samples: Sequence[SoakSample], phases: int) -> SoakMetric:
    """Return the metric of resident memory, which must grow by less than ``MAX_MEMORY_GROWTH`` of its median."""
    megabytes = [sample.usage.resident_bytes / 1e6 for sample in samples]
    growth = relative_growth(
        [sample.at_s for sample in samples], megabytes, [sample.cycle for sample in samples], phases
    )
    first, last = quarter_medians(megabytes)
    fault = ""
    if not growth < MAX_MEMORY_GROWTH:
        fault = f"resident memory grew by {100.0 * growth:.1f} % ({first:.1f} to {last:.1f} MB)"
    return SoakMetric(
        "resident memory",
        f"{first:.1f} MB",
        f"{last:.1f} MB",
        f"{100.0 * growth:+.2f} %",
        f"under +{100.0 * MAX_MEMORY_GROWTH:g} %",
        fault,
    )


def constant_row(name: str, counts: Sequence[int]) -> SoakMetric:
    """Return the metric of a number that must be the same in every sample."""
    low, high = min(counts), max(counts)
    fault = f"the number of {name} was not constant: {low} to {high}" if low != high else ""
    return SoakMetric(name, str(counts[0]), str(counts[-1]), f"{high - low}", "0", fault)


def latency_row(latencies_ms: Sequence[float]) -> SoakMetric:
    """Return the metric of the latency: its last quarter must not exceed the first by ``MAX_LATENCY_DRIFT``."""
    first, last = quarter_medians(latencies_ms)
    drift = last / first - 1.0
    fault = ""
    if not drift < MAX_LATENCY_DRIFT:
        fault = f"the latency drifted by {100.0 * drift:.0f} %, from {first:.1f} ms to {last:.1f} ms"
    limit = f"under +{100.0 * MAX_LATENCY_DRIFT:g} %"
    return SoakMetric("latency", f"{first:.1f} ms", f"{last:.1f} ms", f"{100.0 * drift:+.1f} %", limit, fault)


def quarter_medians(values: Sequence[float]) -> tuple[float, float]:
    """Return the medians of the first and of the last quarter, without NaN."""
    size = max(1, len(values) // 4)
    return _median(values[:size]), _median(values[-size:])


def _median(values: Sequence[float]) -> float:
    numbers = [value for value in values if not math.isnan(value)]
    return float(np.median(numbers)) if numbers else math.nan


def relative_growth(times: Sequence[float], values: Sequence[float], cycles: Sequence[int], phases: int) -> float:
    """Return the increase of a series from its first to its last time, as a share of its median.

    Fits a line with the estimator of H. Theil (1950) and P. K. Sen (1968): the median of the slopes between pairs of
    points, which outliers do not affect. Only points of the same phase are paired, because memory depends on the
    change before; each cycle counts with its median.

    Args:
        times: increasing times of the samples.
        values: values at those times, above 0.
        cycles: number of each sample's cycle.
        phases: the changes repeat after this many cycles.

    Returns:
        The share; NaN if no phase occurs twice.
    """
    x, y, cycle = np.asarray(times, np.float64), np.asarray(values, np.float64), np.asarray(cycles)
    numbers = np.unique(cycle)
    medians = np.array([(np.median(x[cycle == number]), np.median(y[cycle == number])) for number in numbers])
    slopes = np.concatenate(
        [_pairwise_slopes(_reduce_points(medians[numbers % phases == phase])) for phase in range(phases)]
    )
    return float(np.median(slopes) * (x[-1] - x[0]) / np.median(y)) if slopes.size else math.nan


def _pairwise_slopes(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the slopes between all pairs of (n, 2) points."""
    first, second = np.triu_indices(len(points), k=1)
    run, rise = (points[second] - points[first]).T
    return np.asarray(rise / run, np.float64)


def _reduce_points(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return at most ``MAX_FITTED_POINTS`` points, each the median of neighbours."""
    parts = np.array_split(points, max(1, min(MAX_FITTED_POINTS, len(points))))
    return np.array([np.median(part, axis=0) for part in parts if len(part)]).reshape(-1, 2)
