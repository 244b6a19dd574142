"""What a soak showed: whether memory, threads, file handles and latency stayed what they were."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lowlight_enhance.core.machine import Footprint

WARM_UP = 0.2
"""Share of the run that is not judged: memory fills up, allocators settle."""

FEWEST = 8
"""Samples below which nothing can be said."""

MOST_FITTED = 600
"""Samples that a line is fitted to; of more, neighbours are taken together by their medians."""

MEMORY_GROWTH = 0.01
LATENCY_DRIFT = 0.15
"""Of the median of the last quarter, against the first one's."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The node at rest between two bursts of frames, always in the same state.

    Attributes:
        at_s: time since the soak began.
        held: memory, threads and file handles.
        latency_ms: median from stamp to receipt of the burst before; NaN where no frame came out.
    """

    at_s: float
    held: Footprint
    latency_ms: float


@dataclass(frozen=True, slots=True)
class Row:
    """One thing that must not change: how it was, how it is, and what is wrong with that, empty where nothing is."""

    what: str
    first: str
    last: str
    change: str
    limit: str
    fault: str


@dataclass(frozen=True, slots=True)
class SoakResult:
    """A whole soak.

    Attributes:
        samples: all, warm-up included.
        sent: frames that the camera published.
        received: of those, that came out.
        changes: how often each thing was done to the node in flight.
        errors: the node's own count of messages that it could not use or internal errors, and the last of them.
    """

    samples: tuple[Sample, ...]
    sent: int
    received: int
    changes: dict[str, int]
    errors: tuple[int, str]

    @property
    def judged(self) -> tuple[Sample, ...]:
        """Samples after the warm-up."""
        if not self.samples:
            return ()
        begin = self.samples[0].at_s + WARM_UP * (self.samples[-1].at_s - self.samples[0].at_s)
        return tuple(sample for sample in self.samples if sample.at_s >= begin)

    def rows(self) -> list[Row]:
        """What must not change, in the samples that are judged."""
        samples = self.judged
        if len(samples) < FEWEST:
            return []
        times = [sample.at_s for sample in samples]
        return [
            memory_row(times, [sample.held.resident_bytes / 1e6 for sample in samples]),
            constant_row("threads", [sample.held.threads for sample in samples]),
            constant_row("file handles", [sample.held.handles for sample in samples]),
            latency_row([sample.latency_ms for sample in samples]),
        ]

    def failures(self) -> list[str]:
        """What must not be, in plain sentences; empty after a good run."""
        if len(self.judged) < FEWEST:
            return [f"only {len(self.judged)} samples after the warm-up: too short a run to say anything"]
        found = [row.fault for row in self.rows() if row.fault]
        count, last = self.errors
        if count:
            found.append(f"the node reports {count} errors, the last one: {last}")
        return found

    def table(self) -> str:
        """The figures as text."""
        judged = self.judged
        minutes = (judged[-1].at_s - judged[0].at_s) / 60.0 if judged else 0.0
        done = ", ".join(f"{name} {count}" for name, count in self.changes.items())
        lines = [
            f"{len(judged)} samples in {minutes:.1f} minutes after the warm-up; "
            f"{self.received} of {self.sent} frames out",
            f"done in flight: {done}",
            "",
            f"{'':<18}{'first':>12}{'last':>12}{'change':>12}  limit",
        ]
        for row in self.rows():
            verdict = "NOT REACHED" if row.fault else "reached"
            lines.append(f"{row.what:<18}{row.first:>12}{row.last:>12}{row.change:>12}  {row.limit:<16}{verdict}")
        return "\n".join(lines)


def memory_row(times_s: Sequence[float], megabytes: Sequence[float]) -> Row:
    """Resident memory must not grow: the fitted line rises by less than ``MEMORY_GROWTH`` of the median."""
    grown = growth(times_s, megabytes)
    first, last = quarters(megabytes)
    fault = ""
    if grown >= MEMORY_GROWTH:
        fault = f"resident memory grew by {100.0 * grown:.1f} % after the warm-up ({first:.1f} to {last:.1f} MB)"
    return Row(
        "resident memory",
        f"{first:.1f} MB",
        f"{last:.1f} MB",
        f"{100.0 * grown:+.2f} %",
        f"under +{100.0 * MEMORY_GROWTH:g} %",
        fault,
    )


def constant_row(what: str, counts: Sequence[int]) -> Row:
    """A number that must be the same in every sample."""
    low, high = min(counts), max(counts)
    fault = f"the number of {what} was not constant: {low} to {high}" if low != high else ""
    return Row(what, str(counts[0]), str(counts[-1]), f"{high - low}", "0", fault)


def latency_row(latencies_ms: Sequence[float]) -> Row:
    """The median of the last quarter must not exceed the first one's by ``LATENCY_DRIFT``."""
    first, last = quarters(latencies_ms)
    drift = last / first - 1.0
    fault = ""
    if not drift < LATENCY_DRIFT:
        fault = f"the latency drifted by {100.0 * drift:.0f} %: {first:.1f} ms at first, {last:.1f} ms at last"
    limit = f"under +{100.0 * LATENCY_DRIFT:g} %"
    return Row("latency", f"{first:.1f} ms", f"{last:.1f} ms", f"{100.0 * drift:+.1f} %", limit, fault)


def quarters(values: Sequence[float]) -> tuple[float, float]:
    """Medians of the first and of the last quarter; what is not a number does not count."""
    size = max(1, len(values) // 4)
    return _median(values[:size]), _median(values[-size:])


def _median(values: Sequence[float]) -> float:
    numbers = [value for value in values if not math.isnan(value)]
    return float(np.median(numbers)) if numbers else math.nan


def growth(times: Sequence[float], values: Sequence[float]) -> float:
    """By which share of its median a series rises from its first to its last time, after Theil and Sen.

    The median of the slopes between all pairs (H. Theil, "A rank-invariant method of linear and polynomial regression
    analysis", 1950; P. K. Sen, 1968): outliers in up to 29 % of the samples do not turn the line.
    """
    x, y = _thinned(np.asarray(times, np.float64)), _thinned(np.asarray(values, np.float64))
    first, second = np.triu_indices(len(x), k=1)
    slope = np.median((y[second] - y[first]) / (x[second] - x[first]))
    return float(slope * (x[-1] - x[0]) / np.median(y))


def _thinned(values: np.ndarray) -> np.ndarray:
    """At most ``MOST_FITTED`` values: medians of neighbours."""
    return np.array([np.median(part) for part in np.array_split(values, min(MOST_FITTED, len(values)))])
