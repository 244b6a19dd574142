"""`lowlight soak`: run the node for minutes or hours, change everything that can change at run time, detect leaks."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lowlight_enhance.core.enhancement.enhancer import Enhancer
from lowlight_enhance.core.errors import ConfigError
from lowlight_enhance.core.inference.model_zoo import DEFAULT_MODEL, default_model
from lowlight_enhance.core.process_info import process_usage, require_proc
from lowlight_enhance.tools.benchmark.soak_report import SoakResult, SoakSample
from lowlight_enhance.tools.harness.harness import NodeHarness, percentile, require_rclpy
from lowlight_enhance.tools.harness.processes import ProcessError

RATE_HZ = 30
BURSTS_PER_CHANGE = 3
"""Bursts of frames between two changes. A sample is taken after each."""

MIN_BURST_S, MAX_BURST_S = 0.2, 1.0
BURSTS_PER_RUN = 200.0
"""A short run has about this many bursts; in a long run each takes ``MAX_BURST_S``."""

WARM_UP_CYCLES = 3
"""Each change is made this often before measuring: buffers fill and allocators settle."""

COMMAND_TIMEOUT_S = 90.0
RECOVERY_TIMEOUT_S = 60.0
"""Time limit after a change until frames arrive, and until the node reports the expected model."""

PROGRESS_LINES = 10
WIDTH, HEIGHT = 640, 480
"""Size of the frames in measured bursts."""

ALTERNATIVE_MODELS = ("tiny", "student")
"""Shipped models. The first one that is not under test replaces it temporarily."""

Command = tuple[str, str, dict[str, Any]]
"""Child process, name of the command, and arguments."""


@dataclass(frozen=True, slots=True)
class Change:
    """A change to the running node or its camera, and how to revert it.

    Attributes:
        name: shown in the report.
        apply: makes the change.
        revert: undoes it.
        frames_expected: the node publishes frames while the change is in effect.
        models: names of the models that the node must report after ``apply`` and ``revert``; empty if it does not
            change.
    """

    name: str
    apply: Command
    revert: Command
    frames_expected: bool = True
    models: tuple[str, str] = ("", "")


def _set_frames(**values: Any) -> Command:
    return "camera", "set_frames", {"width": WIDTH, "height": HEIGHT, **values}


def _set(name: str, value: Any) -> Command:
    return "control", "set_parameters", {"values": {name: value}}


CHANGES = (
    Change("320x240", _set_frames(width=320, height=240), _set_frames()),
    Change("strength", _set("strength", 0.5), _set("strength", -1.0)),
    Change("1280x720", _set_frames(width=1280, height=720), _set_frames()),
    Change("enable", ("control", "enable", {"on": False}), ("control", "enable", {"on": True})),
    Change("metadata", _set_frames(iso=800.0), _set_frames()),
    Change("working size", _set("working_size", 256), _set("working_size", -1)),
    Change(
        "deactivate",
        ("control", "change_state", {"transition": "deactivate"}),
        ("control", "change_state", {"transition": "activate"}),
        frames_expected=False,
    ),
    Change("bypass", _set("bypass.threshold", 1.0), _set("bypass.threshold", 0.0)),
)


def all_changes(model: Path | None) -> tuple[Change, ...]:
    """Return every change, for a node that runs ``model``; None: the default model."""
    original = model.stem if model else DEFAULT_MODEL
    other = next(name for name in ALTERNATIVE_MODELS if name != original)
    value = str(model.resolve()) if model else ""
    return (*CHANGES, Change("model", _set("model", other), _set("model", value), models=(other, original)))


def run_soak(
    minutes: float,
    model: Path | None = None,
    progress: Callable[[str], None] = print,
    changes: Sequence[Change] | None = None,
    warm_up_cycles: int = WARM_UP_CYCLES,
) -> SoakResult:
    """Run the node, change it repeatedly, and measure its memory, threads, file handles and latency.

    Args:
        minutes: length of the measurement.
        model: ONNX file; None: the default model.
        progress: called with one line of text at each step.
        changes: changes to make in turn; None: all of them.
        warm_up_cycles: how often each change is made before measuring.

    Raises:
        ConfigError: a value is out of range, the system is not Linux, or rclpy is missing.
        ModelError: the model cannot be used.
        ProcessError: a process ended, a change failed, or the node no longer publishes frames.
    """
    if not (math.isfinite(minutes) and minutes > 0.0):
        raise ConfigError(f"--minutes {minutes:g}: give a number above 0")
    require_proc()
    require_rclpy()
    Enhancer(model or default_model()).close()  # reports a bad model here rather than in the node's log
    changes = all_changes(model) if changes is None else changes
    parameters: dict[str, object] = {} if model is None else {"model": model.resolve()}
    with NodeHarness(parameters, with_control=True) as harness:
        progress("starting camera, node, listener and control client, four processes over Fast DDS")
        harness.wait_for_first_frame()
        soak = _Soak(harness, progress)
        progress(f"warming up: each change is made {warm_up_cycles} times")
        soak.warm_up(changes, warm_up_cycles)
        return soak.measure(60.0 * minutes, changes)


class _Soak:
    """Changes and measures the node in a running harness."""

    def __init__(self, harness: NodeHarness, progress: Callable[[str], None]) -> None:
        self.harness, self.progress = harness, progress
        self.samples: list[SoakSample] = []
        self.sent = self.received = 0
        self.made: Counter[str] = Counter()

    def warm_up(self, changes: Sequence[Change], cycles: int) -> None:
        """Make every change ``cycles`` times, with short bursts, without measuring."""
        for change in [*changes] * cycles:
            self.make_change(change, round(RATE_HZ * MIN_BURST_S))
        self.sent = self.received = 0
        self.made.clear()

    def measure(self, seconds: float, changes: Sequence[Change]) -> SoakResult:
        """Alternate bursts and changes; each change is made at least twice."""
        frames = round(RATE_HZ * min(MAX_BURST_S, max(MIN_BURST_S, seconds / BURSTS_PER_RUN)))
        start_s = time.monotonic()
        reported = cycle = 0
        while (elapsed_s := time.monotonic() - start_s) < seconds or cycle < 2 * len(changes):
            for _ in range(BURSTS_PER_CHANGE):
                self.burst(frames)
                self.take_sample(time.monotonic() - start_s, cycle)
            self.make_change(changes[cycle % len(changes)], frames)
            cycle += 1
            if elapsed_s * PROGRESS_LINES > reported * seconds:
                reported += 1
                self.report_progress(elapsed_s)
        counters = self.harness.node_counters()
        return SoakResult(
            samples=tuple(self.samples),
            sent=self.sent,
            received=self.received,
            changes=dict(self.made),
            errors=(counters.get("failed", 0), self.harness.log.diagnostics.get("last_error", "")),
        )

    def burst(self, frames: int) -> int:
        """Stream frames; return how many arrived enhanced."""
        received = self.harness.stream(RATE_HZ, frames)
        self.sent += frames
        self.received += received
        return received

    def take_sample(self, at_s: float, cycle: int) -> None:
        """Measure the node while it is idle."""
        usage = process_usage(self.harness.node.process.pid)
        self.samples.append(SoakSample(at_s, cycle, usage, percentile(self.harness.log.latencies_ms(), 50)))

    def make_change(self, change: Change, frames: int) -> None:
        """Make the change, stream, revert it, and stream until the node is in its original state."""
        self.send_command(change, change.apply)
        if change.frames_expected:
            self.wait_for_frames(change, frames, change.models[0])
        else:
            self.harness.stream(RATE_HZ, frames)
        self.send_command(change, change.revert)
        self.wait_for_frames(change, frames, change.models[1])
        self.made[change.name] += 1

    def send_command(self, change: Change, command: Command) -> None:
        """Send one command.

        Raises:
            ProcessError: the command fails.
        """
        child, name, arguments = command
        error = self.harness.request(child, name, COMMAND_TIMEOUT_S, **arguments).get("error")
        if error:
            raise self._failure(f"'{change.name}' failed: {error}")

    def wait_for_frames(self, change: Change, frames: int, model: str = "") -> None:
        """Stream until a frame arrives and, if ``model`` is given, the node reports that model.

        Raises:
            ProcessError: this does not happen within ``RECOVERY_TIMEOUT_S``.
        """
        deadline = time.monotonic() + RECOVERY_TIMEOUT_S
        while not (received := self.burst(frames)) or (model and self.harness.log.diagnostics.get("model") != model):
            if time.monotonic() > deadline:
                fault = f"the node does not use the model {model}" if received else "no enhanced frame arrived"
                raise self._failure(f"after '{change.name}' {fault}")

    def _failure(self, reason: str) -> ProcessError:
        return ProcessError(f"{reason}; end of the node's log:\n{self.harness.node.log_tail()}")

    def report_progress(self, elapsed_s: float) -> None:
        """Print the newest sample."""
        newest = self.samples[-1]
        usage = newest.usage
        self.progress(
            f"{elapsed_s / 60.0:6.1f} min: {usage.resident_bytes / 1e6:.1f} MB, {usage.threads} threads, "
            f"{usage.handles} file handles, {newest.latency_ms:.1f} ms"
        )
