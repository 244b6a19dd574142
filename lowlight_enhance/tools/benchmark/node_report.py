"""What `lowlight bench --node` measured: figures of each size beside their limits, and whether they can be trusted."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

OTHERS_MOST = 0.1
"""Share of the machine that other processes may take before figures are no longer trusted."""

SPREAD_MOST = 0.25
"""By how much the bare pipeline's median may differ between turns, as a share of it."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of the camera, then of the bare pipeline.

    Attributes:
        sent: frames that the camera published.
        latencies_ms: from stamp to receipt, of those that came out.
        out_hz: frames out a second, from the first one to the last.
        processing_ms: median of what the node itself says that a frame takes, from its receipt to publication.
        age_ms: 99th percentile of what it says is the age of a frame, by its stamp, on publication. Both are of the
            last seconds: its diagnostics look back five.
        node_cpu_ms: CPU time of the node a frame out.
        bare_ms: times of the bare pipeline, one for each frame.
        bare_cpu_ms: its CPU time a frame.
        others: share of the machine that other processes took while it ran.
    """

    sent: int
    latencies_ms: tuple[float, ...]
    out_hz: float
    processing_ms: float
    age_ms: float
    node_cpu_ms: float
    bare_ms: tuple[float, ...]
    bare_cpu_ms: float
    others: float


@dataclass(frozen=True, slots=True)
class Limit:
    """A value that is to be reached: at least ``bound``, or else below it."""

    bound: float
    at_least: bool = False

    def verdict(self, value: float) -> str:
        """Whether ``value`` reaches it; NaN does not."""
        reached = value >= self.bound if self.at_least else value < self.bound
        return "reached" if reached else "NOT REACHED"

    def text(self, unit: str) -> str:
        """The limit in words."""
        return f"{'at least' if self.at_least else 'under'} {self.bound:g}{unit}"


LIMITS_HZ = 30
LIMITS: dict[tuple[int, int], dict[str, Limit]] = {
    (640, 480): {
        "frames_out_percent": Limit(99.0, at_least=True),
        "median_ratio": Limit(1.6),
        "p99_ratio": Limit(3.0),
        "overhead_cpu_ms": Limit(5.0),
    },
    (1280, 720): {"out_hz": Limit(18.0, at_least=True), "age_ratio": Limit(2.0)},
}
"""By (width, height), at ``LIMITS_HZ``, on two cores: what is to be reached, by the figure's name."""


@dataclass(frozen=True, slots=True)
class SizeFigures:
    """Figures of one frame size.

    Attributes:
        width: columns of a frame.
        height: rows of a frame.
        rate_hz: of the camera.
        frames_out_percent: of all frames that the camera published, those that reached the listener.
        out_hz: frames out a second.
        median_ms: stamp to receipt.
        p99_ms: 99th percentile of that.
        bare_ms: the bare pipeline.
        median_ratio: ``median_ms`` over ``bare_ms``, turn by turn.
        p99_ratio: ``p99_ms`` over ``bare_ms``, turn by turn.
        processing_ms: a frame in the node, from receipt to publication.
        age_ms: from stamp to publication, 99th percentile: how old the newest frame is when the node puts it out.
        age_ratio: ``age_ms`` over ``processing_ms``, turn by turn.
        node_cpu_ms: CPU time of the node a frame.
        bare_cpu_ms: CPU time of the bare pipeline a frame.
        overhead_cpu_ms: the former less the latter, turn by turn.
        doubt: why the machine was too busy to judge by these figures; empty where it was not.
    """

    width: int
    height: int
    rate_hz: int
    frames_out_percent: float
    out_hz: float
    median_ms: float
    p99_ms: float
    bare_ms: float
    median_ratio: float
    p99_ratio: float
    processing_ms: float
    age_ms: float
    age_ratio: float
    node_cpu_ms: float
    bare_cpu_ms: float
    overhead_cpu_ms: float
    doubt: str

    @property
    def limits(self) -> dict[str, Limit]:
        """Those that hold for this size and rate."""
        return LIMITS.get((self.width, self.height), {}) if self.rate_hz == LIMITS_HZ else {}

    def verdicts(self) -> dict[str, str]:
        """By name of each figure that has a limit."""
        return {name: limit.verdict(getattr(self, name)) for name, limit in self.limits.items()}

    def rows(self) -> list[tuple[str, str, str, str]]:
        """Label, value, limit and verdict of each figure."""
        over_bare = f"  over the bare pipeline's {self.bare_ms:.1f} ms"
        shown = [
            ("frames out of frames in", "frames_out_percent", " %"),
            ("frames out a second", "out_hz", ""),
            ("stamp to receipt, median", "median_ms", " ms"),
            (over_bare, "median_ratio", ""),
            ("stamp to receipt, 99th percentile", "p99_ms", " ms"),
            (over_bare, "p99_ratio", ""),
            ("age on publication, 99th percentile", "age_ms", " ms"),
            (f"  over the node's processing, {self.processing_ms:.1f} ms", "age_ratio", ""),
            ("CPU time of the node a frame", "node_cpu_ms", " ms"),
            (f"  outside the model, which takes {self.bare_cpu_ms:.1f} ms", "overhead_cpu_ms", " ms"),
        ]
        limits, verdicts = self.limits, self.verdicts()
        return [
            (
                label,
                f"{getattr(self, name):.{2 if name.endswith('_ratio') else 1}f}{unit}",
                limits[name].text(unit) if name in limits else "",
                verdicts.get(name, ""),
            )
            for label, name, unit in shown
        ]

    def table(self) -> str:
        """The figures as text."""
        lines = [f"{self.width}x{self.height} at {self.rate_hz} Hz"]
        lines += [
            f"{label:<48}{value:>10}  {limit:<16}{verdict}".rstrip() for label, value, limit, verdict in self.rows()
        ]
        if self.doubt:
            lines.append(f"TOO BUSY TO JUDGE: {self.doubt}")
        return "\n".join(lines)


def figures(width: int, height: int, rate_hz: int, turns: Sequence[Turn]) -> SizeFigures:
    """Medians of what each turn showed; of the frames out, the share of all."""

    def median(of: Callable[[Turn], float]) -> float:
        return float(np.median([of(turn) for turn in turns]))

    def bare(turn: Turn) -> float:
        return percentile(turn.bare_ms, 50)

    def latency(turn: Turn, percent: float) -> float:
        return percentile(turn.latencies_ms, percent)

    return SizeFigures(
        width=width,
        height=height,
        rate_hz=rate_hz,
        frames_out_percent=100.0 * sum(len(turn.latencies_ms) for turn in turns) / sum(turn.sent for turn in turns),
        out_hz=median(lambda turn: turn.out_hz),
        median_ms=median(lambda turn: latency(turn, 50)),
        p99_ms=median(lambda turn: latency(turn, 99)),
        bare_ms=median(bare),
        median_ratio=median(lambda turn: latency(turn, 50) / bare(turn)),
        p99_ratio=median(lambda turn: latency(turn, 99) / bare(turn)),
        processing_ms=median(lambda turn: turn.processing_ms),
        age_ms=median(lambda turn: turn.age_ms),
        age_ratio=median(lambda turn: turn.age_ms / turn.processing_ms),
        node_cpu_ms=median(lambda turn: turn.node_cpu_ms),
        bare_cpu_ms=median(lambda turn: turn.bare_cpu_ms),
        overhead_cpu_ms=median(lambda turn: turn.node_cpu_ms - turn.bare_cpu_ms),
        doubt=doubt(turns),
    )


def doubt(turns: Sequence[Turn]) -> str:
    """Why the machine was too busy to judge; empty where it was not."""
    reasons = []
    others = float(np.median([turn.others for turn in turns]))
    if others > OTHERS_MOST:
        reasons.append(f"other processes took {100.0 * others:.0f} % of the machine")
    medians = [percentile(turn.bare_ms, 50) for turn in turns]
    low, high = min(medians), max(medians)
    if high - low > SPREAD_MOST * float(np.median(medians)):
        reasons.append(f"the bare pipeline took {low:.1f} ms in one turn and {high:.1f} ms in another")
    return "; ".join(reasons)


def percentile(values: Sequence[float], percent: float) -> float:
    """Linear between values; NaN of none."""
    return float(np.percentile(values, percent)) if values else math.nan


@dataclass(frozen=True, slots=True)
class NodeBench:
    """All sizes, and what they were measured with; ``threads`` 0: the runtime decides."""

    model: str
    sha256: str
    runtime: str
    providers: tuple[str, ...]
    threads: int
    rounds: int
    seconds: float
    machine: str
    sizes: tuple[SizeFigures, ...]

    def to_json(self) -> str:
        """Everything, with limits and verdicts."""
        values = dataclasses.asdict(self)
        for entry, size in zip(values["sizes"], self.sizes, strict=True):
            entry["limits"] = {name: dataclasses.asdict(limit) for name, limit in size.limits.items()}
            entry["verdicts"] = size.verdicts()
        return json.dumps(values, indent=2)

    def table(self) -> str:
        """The figures as text, one block a size."""
        threads = f"{self.threads} threads" if self.threads else "threads as the runtime decides"
        head = f"{self.model} ({self.sha256[:12]}), {', '.join(self.providers)}, {threads}, {self.runtime},\n"
        head += f"{self.rounds} turns of {self.seconds:g} s, {self.machine}"
        return "\n\n".join([head, *(size.table() for size in self.sizes)])
