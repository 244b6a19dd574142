"""What a soak showed: whether memory, threads, file handles and latency stayed what they were."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lowlight_enhance.core.process_info import Footprint

FEWEST = 8
"""Samples below which nothing can be said."""

MOST_FITTED = 200
"""Turns of a phase that slopes are taken between; of more, neighbours are taken together by their medians."""

MEMORY_GROWTH = 0.01
LATENCY_DRIFT = 0.15
"""Of the median of the last quarter, against the first one's."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The node at rest between two bursts of frames, always in the same state.

    Attributes:
        at_s: time since the soak began.
        turn: number of the change that came before, from 0 on.
        held: memory, threads and file handles.
        latency_ms: median from stamp to receipt of the burst before; NaN where no frame came out.
    """

    at_s: float
    turn: int
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
        samples: all after the warm-up.
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
    def is_long_enough(self) -> bool:
        """Whether anything can be said: everything has been done twice."""
        passes = self.samples[-1].turn // max(1, len(self.changes)) if self.samples else 0
        return len(self.samples) >= FEWEST and passes >= 1

    def rows(self) -> list[Row]:
        """What must not change."""
        samples = self.samples
        if not self.is_long_enough:
            return []
        return [
            memory_row(samples, len(self.changes)),
            constant_row("threads", [sample.held.threads for sample in samples]),
            constant_row("file handles", [sample.held.handles for sample in samples]),
            latency_row([sample.latency_ms for sample in samples]),
        ]

    def failures(self) -> list[str]:
        """What must not be, in plain sentences; empty after a good run."""
        if not self.is_long_enough:
            return [f"only {len(self.samples)} samples, and not everything done twice: too short a run"]
        found = [row.fault for row in self.rows() if row.fault]
        count, last = self.errors
        if count:
            found.append(f"the node reports {count} errors, the last one: {last}")
        return found

    def table(self) -> str:
        """The figures as text."""
        minutes = self.samples[-1].at_s / 60.0 if self.samples else 0.0
        done = ", ".join(f"{name} {count}" for name, count in self.changes.items())
        lines = [
            f"{len(self.samples)} samples in {minutes:.1f} minutes after the warm-up; "
            f"{self.received} of {self.sent} frames out",
            f"done in flight: {done}",
            "",
            f"{'':<18}{'first':>12}{'last':>12}{'change':>12}  limit",
        ]
        for row in self.rows():
            verdict = "NOT REACHED" if row.fault else "reached"
            lines.append(f"{row.what:<18}{row.first:>12}{row.last:>12}{row.change:>12}  {row.limit:<16}{verdict}")
        return "\n".join(lines)


def memory_row(samples: Sequence[Sample], phases: int) -> Row:
    """Resident memory must not grow: by less than ``MEMORY_GROWTH`` of its median."""
    megabytes = [sample.held.resident_bytes / 1e6 for sample in samples]
    grown = growth([sample.at_s for sample in samples], megabytes, [sample.turn for sample in samples], phases)
    first, last = quarters(megabytes)
    fault = ""
    if not grown < MEMORY_GROWTH:
        fault = f"resident memory grew by {100.0 * grown:.1f} % ({first:.1f} to {last:.1f} MB)"
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


def growth(times: Sequence[float], values: Sequence[float], turns: Sequence[int], phases: int) -> float:
    """By which share of its median a series rises from its first to its last time.

    As H. Theil (1950) and P. K. Sen (1968) fit a line: by the median of the slopes between pairs, which outliers do
    not turn. Pairs are of one phase, since memory depends on what was done last; each turn counts by its median.

    Args:
        times: of the samples, rising.
        values: at those times, above 0.
        turns: number of each sample's turn.
        phases: after so many turns the same is done again.

    Returns:
        The share; NaN where no phase comes twice.
    """
    x, y, turn = np.asarray(times, np.float64), np.asarray(values, np.float64), np.asarray(turns)
    numbers = np.unique(turn)
    middles = np.array([(np.median(x[turn == number]), np.median(y[turn == number])) for number in numbers])
    slopes = [_slopes(_thinned(middles[numbers % phases == phase])) for phase in range(phases)]
    together = np.concatenate(slopes)
    return float(np.median(together) * (x[-1] - x[0]) / np.median(y)) if together.size else math.nan


def _slopes(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Between all pairs of (n, 2) points."""
    first, second = np.triu_indices(len(points), k=1)
    run, rise = (points[second] - points[first]).T
    return np.asarray(rise / run, np.float64)


def _thinned(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """At most ``MOST_FITTED`` points: medians of neighbours."""
    parts = np.array_split(points, max(1, min(MOST_FITTED, len(points))))
    return np.array([np.median(part, axis=0) for part in parts if len(part)]).reshape(-1, 2)
