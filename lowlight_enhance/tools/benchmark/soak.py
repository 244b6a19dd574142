"""`lowlight soak`: the node in flight for minutes or hours, with everything done to it that may be done to it."""

from __future__ import annotations

import math
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lowlight_enhance.core.enhancement.enhancer import Enhancer
from lowlight_enhance.core.errors import ConfigError
from lowlight_enhance.core.inference.model_zoo import DEFAULT, default_model
from lowlight_enhance.core.process_info import check_proc, footprint
from lowlight_enhance.tools.benchmark.node_report import percentile
from lowlight_enhance.tools.benchmark.soak_report import Sample, SoakResult
from lowlight_enhance.tools.harness.harness import Log, ask, check_rclpy, counts, meet, members, send, words
from lowlight_enhance.tools.harness.processes import Crew, CrewError, sigterm_as_exit

RATE_HZ = 30
BURSTS = 3
"""Bursts of frames, each followed by a sample, between two changes."""

SHORTEST_BURST_S, LONGEST_BURST_S = 0.2, 1.0
BURSTS_A_RUN = 200.0
"""About so many bursts in a short run; in a long one each takes ``LONGEST_BURST_S``."""

WARM_UPS = 3
"""How often everything is done before it counts: memory fills up, allocators settle."""

ORDER_S, FLOW_S = 60.0, 30.0
"""How long an order may take, and how long no frame may come out after it."""

REPORTS = 10
"""Lines about the progress."""

WIDTH, HEIGHT = 640, 480
"""Frames of the bursts that are judged."""

OTHERS = ("tiny", "student")
"""Shipped models, of which the first that does not fly already takes over for a while."""

Say = Callable[[str], None]
Order = tuple[str, dict[str, Any]]
"""Child, and what it is told."""


@dataclass(frozen=True, slots=True)
class Change:
    """Something done to the node in flight, and undone again.

    Attributes:
        name: what it is.
        begin: the order to do it.
        end: the order to undo it.
        flows: frames come out meanwhile.
        models: names of the models that the node flies in the end of each; empty where that does not change.
    """

    name: str
    begin: Order
    end: Order
    flows: bool = True
    models: tuple[str, str] = ("", "")


def _shown(**other: Any) -> Order:
    return "camera", {"do": "show", "width": WIDTH, "height": HEIGHT, **other}


def _set(**values: Any) -> Order:
    return "pilot", {"do": "set", **values}


CHANGES = (
    Change("320x240", _shown(width=320, height=240), _shown()),
    Change("strength", _set(strength=0.5), _set(strength=1.0)),
    Change("1280x720", _shown(width=1280, height=720), _shown()),
    Change("enable", ("pilot", {"do": "enable", "on": False}), ("pilot", {"do": "enable", "on": True})),
    Change("metadata", _shown(iso=800.0), _shown()),
    Change("working size", _set(working_size=256), _set(working_size=-1)),
    Change(
        "deactivate",
        ("pilot", {"do": "transition", "name": "deactivate"}),
        ("pilot", {"do": "transition", "name": "activate"}),
        flows=False,
    ),
    Change("bypass", _set(**{"bypass.threshold": 1.0}), _set(**{"bypass.threshold": 0.0})),
)


def all_changes(model: Path | None) -> tuple[Change, ...]:
    """Everything that is done to a node that flies ``model``; None is the default one."""
    own = model.stem if model else DEFAULT
    other = next(name for name in OTHERS if name != own)
    back = str(model.resolve()) if model else ""
    return (*CHANGES, Change("model", _set(model=other), _set(model=back), models=(other, own)))


def run(minutes: float = 10.0, model: Path | None = None, say: Say = print) -> int:
    """Soak, print the figures; the command's exit code: 1 where something leaked, drifted or broke.

    Args:
        minutes: length of the run.
        model: ONNX file; None for the default.
        say: where lines of text go.

    Raises:
        LowlightError: it cannot run at all.
    """
    if not (math.isfinite(minutes) and minutes >= 0.1):
        raise ConfigError(f"{minutes:g} minutes: give 0.1 or more")
    check_proc()
    check_rclpy()
    Enhancer(model or default_model()).close()  # a bad model is told here, not by a silent node
    try:
        result = perform(60.0 * minutes, model, say)
    except CrewError as error:
        failures = [str(error)]
    else:
        say(result.table())
        failures = result.failures()
    for sentence in failures:
        print(f"lowlight: the soak failed: {sentence}", file=sys.stderr)
    return 1 if failures else 0


def perform(
    seconds: float,
    model: Path | None = None,
    say: Say = print,
    changes: Sequence[Change] = (),
    warm_ups: int = WARM_UPS,
) -> SoakResult:
    """As ``run``, without the verdict; only ``changes`` are made where any are given.

    Raises:
        CrewError: a process ended, an order was refused, a model did not take over, or frames no longer come out.
    """
    log, changes = Log(), changes or all_changes(model)
    parameters: dict[str, object] = {} if model is None else {"model": model.resolve()}
    crew_members = {**members(parameters), "pilot": ["lowlight_enhance.tools.harness.control_client"]}
    with sigterm_as_exit(), Crew(crew_members, log.note) as crew:
        say("starting camera, node, listener and pilot, four processes over Fast DDS")
        meet(crew, log)
        soak = _Soak(crew, log, say)
        say(f"warming up: everything is done {warm_ups} times")
        soak.warm_up(changes, warm_ups)
        return soak.fly(seconds, changes)


class _Soak:
    """A crew that has met."""

    def __init__(self, crew: Crew, log: Log, say: Say) -> None:
        self.crew, self.log, self.say = crew, log, say
        self.samples: list[Sample] = []
        self.sent = self.received = 0
        self.done: Counter[str] = Counter()

    def warm_up(self, changes: Sequence[Change], times: int) -> None:
        """Every change, in short bursts; nothing of it counts."""
        for change in [*changes] * times:
            self.make(change, round(RATE_HZ * SHORTEST_BURST_S))
        self.sent = self.received = 0
        self.done.clear()

    def fly(self, seconds: float, changes: Sequence[Change]) -> SoakResult:
        """Bursts and changes in turn, each change at least twice."""
        frames = round(RATE_HZ * min(LONGEST_BURST_S, max(SHORTEST_BURST_S, seconds / BURSTS_A_RUN)))
        start = time.monotonic()
        reported = turn = 0
        while (elapsed := time.monotonic() - start) < seconds or turn < 2 * len(changes):
            for _ in range(BURSTS):
                self.burst(frames)
                self.sample(time.monotonic() - start, turn)
            self.make(changes[turn % len(changes)], frames)
            turn += 1
            if elapsed * REPORTS > reported * seconds:
                reported += 1
                self.report(elapsed)
        values = counts(self.crew, self.log)
        return SoakResult(
            samples=tuple(self.samples),
            sent=self.sent,
            received=self.received,
            changes=dict(self.done),
            errors=(values.get("failed", 0), self.log.values.get("last_error", "")),
        )

    def burst(self, frames: int) -> int:
        """Let frames flow; how many came out."""
        out = send(self.crew, self.log, RATE_HZ, frames)
        self.sent += frames
        self.received += out
        return out

    def sample(self, at_s: float, turn: int) -> None:
        """Look at the node, which rests."""
        held = footprint(self.crew.children["node"].process.pid)
        self.samples.append(Sample(at_s, turn, held, percentile(self.log.latencies_ms(), 50)))

    def make(self, change: Change, frames: int) -> None:
        """Do it, let frames flow, undo it, and let frames flow until the node is as it was."""
        self.order(change, change.begin)
        if change.flows:
            self.flow(change, frames, change.models[0])
        else:
            send(self.crew, self.log, RATE_HZ, frames)
        self.order(change, change.end)
        self.flow(change, frames, change.models[1])
        self.done[change.name] += 1

    def order(self, change: Change, order: Order) -> None:
        """Give one order.

        Raises:
            CrewError: it is refused.
        """
        child, command = order
        refused = ask(self.crew, self.log, child, ORDER_S, **command).get("refused")
        if refused:
            raise CrewError(f"'{change.name}' was refused: {refused}; the node's last words:\n{words(self.crew)}")

    def flow(self, change: Change, frames: int, model: str = "") -> None:
        """Let frames flow until one comes out, and the node says that it flies ``model``, where one is given.

        Raises:
            CrewError: none does, or it does not.
        """
        deadline = time.monotonic() + FLOW_S
        while not (out := self.burst(frames)) or (model and self.log.values.get("model") != model):
            if time.monotonic() > deadline:
                fault = f"model {model} did not take over" if out else "no frame came out"
                raise CrewError(f"after '{change.name}' {fault}; the node's last words:\n{words(self.crew)}")

    def report(self, elapsed_s: float) -> None:
        """One line about the newest sample."""
        newest = self.samples[-1]
        self.say(
            f"{elapsed_s / 60.0:6.1f} min: {newest.held.resident_bytes / 1e6:.1f} MB, {newest.held.threads} threads, "
            f"{newest.held.handles} file handles, {newest.latency_ms:.1f} ms"
        )
