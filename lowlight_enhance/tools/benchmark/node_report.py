"""Result of `lowlight bench --node`: values and limits for each size, and a warning if they are not reliable."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from lowlight_enhance.tools.harness.harness import percentile

MAX_OTHER_LOAD = 0.1
"""If other processes use a larger share of the machine, the results are not reliable."""

MAX_REFERENCE_SPREAD = 0.25
"""If the median of the reference differs between rounds by a larger share, the results are not reliable."""


@dataclass(frozen=True, slots=True)
class Round:
    """One stream through the node, then equally many frames through the reference.

    Attributes:
        sent: frames that the camera published.
        latencies_ms: time from stamp to receipt of each received frame.
        output_hz: received frames per second, from the first to the last.
        processing_ms: median time of a frame in the node, from receipt to publication, by the node's diagnostics.
        age_ms: 99th percentile of the time from stamp to publication, by the node's diagnostics. Like
            ``processing_ms`` it covers the last five seconds.
        node_cpu_ms: CPU time of the node per received frame.
        reference_ms: time of each frame in the reference.
        reference_cpu_ms: CPU time of the reference per frame.
        other_load: share of the machine that other processes used while the reference ran.
    """

    sent: int
    latencies_ms: tuple[float, ...]
    output_hz: float
    processing_ms: float
    age_ms: float
    node_cpu_ms: float
    reference_ms: tuple[float, ...]
    reference_cpu_ms: float
    other_load: float


@dataclass(frozen=True, slots=True)
class Limit:
    """Requirement for a value: below ``bound``, or at least ``bound`` if ``at_least`` is set."""

    bound: float
    at_least: bool = False

    def verdict(self, value: float) -> str:
        """Return ``met`` or ``NOT MET``; NaN does not meet any limit."""
        met = value >= self.bound if self.at_least else value < self.bound
        return "met" if met else "NOT MET"

    def text(self, unit: str) -> str:
        """Return the limit in words."""
        return f"{'at least' if self.at_least else 'under'} {self.bound:g}{unit}"


LIMITS_RATE_HZ = 30
LIMITS: dict[tuple[int, int], dict[str, Limit]] = {
    (640, 480): {
        "received_percent": Limit(99.0, at_least=True),
        "median_ratio": Limit(1.6),
        "p99_ratio": Limit(3.0),
        "overhead_cpu_ms": Limit(5.0),
    },
    (1280, 720): {"output_hz": Limit(18.0, at_least=True), "age_ratio": Limit(2.0)},
}
"""Limits on two cores at ``LIMITS_RATE_HZ``, by (width, height) and the name of the value."""


@dataclass(frozen=True, slots=True)
class SizeResult:
    """Results of one frame size: medians over the rounds.

    Attributes:
        width: columns of a frame.
        height: rows of a frame.
        rate_hz: frame rate of the camera.
        received_percent: received frames among all sent ones.
        output_hz: received frames per second.
        median_ms: median time from stamp to receipt.
        p99_ms: 99th percentile of the time from stamp to receipt.
        reference_ms: median time of a frame in the reference.
        median_ratio: ``median_ms / reference_ms`` within each round.
        p99_ratio: ``p99_ms / reference_ms`` within each round.
        processing_ms: time of a frame in the node, from receipt to publication.
        age_ms: 99th percentile of the time from stamp to publication.
        age_ratio: ``age_ms / processing_ms`` within each round.
        node_cpu_ms: CPU time of the node per frame.
        reference_cpu_ms: CPU time of the reference per frame.
        overhead_cpu_ms: difference of both CPU times within each round.
        warning: why the results are not reliable; empty if they are.
    """

    width: int
    height: int
    rate_hz: int
    received_percent: float
    output_hz: float
    median_ms: float
    p99_ms: float
    reference_ms: float
    median_ratio: float
    p99_ratio: float
    processing_ms: float
    age_ms: float
    age_ratio: float
    node_cpu_ms: float
    reference_cpu_ms: float
    overhead_cpu_ms: float
    warning: str

    @property
    def limits(self) -> dict[str, Limit]:
        """The limits for this size and rate."""
        return LIMITS.get((self.width, self.height), {}) if self.rate_hz == LIMITS_RATE_HZ else {}

    def verdicts(self) -> dict[str, str]:
        """Return ``met`` or ``NOT MET`` by the name of each value that has a limit."""
        return {name: limit.verdict(getattr(self, name)) for name, limit in self.limits.items()}

    def rows(self) -> list[tuple[str, str, str, str]]:
        """Return label, value, limit and verdict of each row of the table."""
        ratio = f"  divided by the pipeline's {self.reference_ms:.1f} ms"
        figures = [
            ("received frames", "received_percent", " %"),
            ("received frames per second", "output_hz", ""),
            ("stamp to receipt, median", "median_ms", " ms"),
            (ratio, "median_ratio", ""),
            ("stamp to receipt, 99th percentile", "p99_ms", " ms"),
            (ratio, "p99_ratio", ""),
            ("stamp to publication, 99th percentile", "age_ms", " ms"),
            (f"  divided by the node's processing, {self.processing_ms:.1f} ms", "age_ratio", ""),
            ("CPU time of the node per frame", "node_cpu_ms", " ms"),
            (f"  minus the pipeline's {self.reference_cpu_ms:.1f} ms", "overhead_cpu_ms", " ms"),
        ]
        limits, verdicts = self.limits, self.verdicts()
        return [
            (
                label,
                f"{getattr(self, name):.{2 if name.endswith('_ratio') else 1}f}{unit}",
                limits[name].text(unit) if name in limits else "",
                verdicts.get(name, ""),
            )
            for label, name, unit in figures
        ]

    def table(self) -> str:
        """Return the results as a text table."""
        lines = [f"{self.width}x{self.height} at {self.rate_hz} Hz"]
        lines += [
            f"{label:<48}{value:>10}  {limit:<16}{verdict}".rstrip() for label, value, limit, verdict in self.rows()
        ]
        if self.warning:
            lines.append(f"NOT RELIABLE: {self.warning}")
        return "\n".join(lines)


def summarize(width: int, height: int, rate_hz: int, rounds: Sequence[Round]) -> SizeResult:
    """Return the medians over the rounds; received frames are summed over all rounds."""

    def median(figure: Callable[[Round], float]) -> float:
        return float(np.median([figure(round_) for round_ in rounds]))

    def reference(round_: Round) -> float:
        return percentile(round_.reference_ms, 50)

    def latency(round_: Round, percent: float) -> float:
        return percentile(round_.latencies_ms, percent)

    return SizeResult(
        width=width,
        height=height,
        rate_hz=rate_hz,
        received_percent=100.0
        * sum(len(round_.latencies_ms) for round_ in rounds)
        / sum(round_.sent for round_ in rounds),
        output_hz=median(lambda round_: round_.output_hz),
        median_ms=median(lambda round_: latency(round_, 50)),
        p99_ms=median(lambda round_: latency(round_, 99)),
        reference_ms=median(reference),
        median_ratio=median(lambda round_: latency(round_, 50) / reference(round_)),
        p99_ratio=median(lambda round_: latency(round_, 99) / reference(round_)),
        processing_ms=median(lambda round_: round_.processing_ms),
        age_ms=median(lambda round_: round_.age_ms),
        age_ratio=median(lambda round_: round_.age_ms / round_.processing_ms),
        node_cpu_ms=median(lambda round_: round_.node_cpu_ms),
        reference_cpu_ms=median(lambda round_: round_.reference_cpu_ms),
        overhead_cpu_ms=median(lambda round_: round_.node_cpu_ms - round_.reference_cpu_ms),
        warning=reliability_warning(rounds),
    )


def reliability_warning(rounds: Sequence[Round]) -> str:
    """Return why the results are not reliable; empty if they are."""
    reasons = []
    other_load = float(np.median([round_.other_load for round_ in rounds]))
    if other_load > MAX_OTHER_LOAD:
        reasons.append(f"other processes used {100.0 * other_load:.0f} % of the machine")
    medians = [percentile(round_.reference_ms, 50) for round_ in rounds]
    low, high = min(medians), max(medians)
    if high - low > MAX_REFERENCE_SPREAD * float(np.median(medians)):
        reasons.append(f"the pipeline took {low:.1f} ms in one round and {high:.1f} ms in another")
    return "; ".join(reasons)


@dataclass(frozen=True, slots=True)
class NodeBenchmark:
    """Figures of all sizes, and what they were measured with; ``threads`` 0: the runtime decides."""

    model: str
    sha256: str
    runtime: str
    providers: tuple[str, ...]
    threads: int
    rounds: int
    seconds: float
    machine: str
    sizes: tuple[SizeResult, ...]

    def to_json(self) -> str:
        """Return all values, with limits and verdicts."""
        values = dataclasses.asdict(self)
        for entry, size in zip(values["sizes"], self.sizes, strict=True):
            entry["limits"] = {name: dataclasses.asdict(limit) for name, limit in size.limits.items()}
            entry["verdicts"] = size.verdicts()
        return json.dumps(values, indent=2)

    def table(self) -> str:
        """Return the results as text, one table per size."""
        threads = f"{self.threads} threads" if self.threads else "threads chosen by the runtime"
        head = f"{self.model} ({self.sha256[:12]}), {', '.join(self.providers)}, {threads}, {self.runtime},\n"
        head += f"{self.rounds} rounds of {self.seconds:g} s, {self.machine}"
        return "\n\n".join([head, *(size.table() for size in self.sizes)])
