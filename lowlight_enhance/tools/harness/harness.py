"""NodeHarness: run the node between a scripted camera and a scripted listener, as three processes over Fast DDS.

The parent sends commands to the camera and the listener and collects their messages. See ``nodes`` for the children.
"""

from __future__ import annotations

import importlib.util
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowlight_enhance.core.errors import ConfigError
from lowlight_enhance.core.metadata.capture import CaptureMetadata
from lowlight_enhance.ros import topic_names
from lowlight_enhance.simulation.low_light import dark_frame
from lowlight_enhance.tools.harness.processes import ChildProcess, Message, ProcessError, ProcessGroup

CAMERA_TOPICS = {
    name: f"/camera/{name}"
    for name in (topic_names.IMAGE, topic_names.CAMERA_INFO, topic_names.METADATA, topic_names.ENHANCED)
} | {topic_names.ENHANCED_INFO: f"/camera/{topic_names.ENHANCED_INFO}"}
"""Full name of each of the node's topics."""

NODE_NAME = "lowlight_enhance"
METADATA_TYPE = "diagnostic_msgs/msg/DiagnosticArray"
SCRIPTED_NODES = "lowlight_enhance.tools.harness.nodes"
"""Module that runs one scripted node: ``camera``, ``listener`` or ``control``."""

CAPTURE = CaptureMetadata(iso=3200.0, exposure_s=1.0 / 30.0)
"""Capture metadata that the camera publishes with its synthetic frames."""

DISTINCT_FRAMES = 4
"""The camera repeats this many synthetic frames."""

STARTUP_TIMEOUT_S = 120.0
"""Time for the processes to start and to discover each other."""

ANSWER_TIMEOUT_S = 30.0
SILENCE_S = 1.0
"""Missing frames count as lost when no frame has arrived for this long."""


@dataclass(slots=True)
class StreamLog:
    """The messages of the children so far.

    Attributes:
        answer: the newest answer to a command; None until it arrives.
        sent: frame index by stamp (ns since the epoch) of the newest stream; None until all are sent.
        received: time of receipt (ns since the epoch) by stamp, of the newest stream.
        last_event_s: monotonic time of the newest change of ``sent`` or ``received``.
        diagnostics: the node's newest diagnostics, by key.
        counters: the values of ``diagnostics`` that are integers.
        diagnostics_s: monotonic time at which they were received.
    """

    answer: Message | None = None
    sent: dict[int, int] | None = None
    received: dict[int, int] = field(default_factory=dict)
    last_event_s: float = 0.0
    diagnostics: dict[str, str] = field(default_factory=dict)
    counters: dict[str, int] = field(default_factory=dict)
    diagnostics_s: float = 0.0

    def record(self, message: Message) -> None:
        """Store one message of a child, by its ``type``."""
        if message["type"] == "frame":
            self.received[message["stamp_ns"]] = message["received_ns"]
            self.last_event_s = time.monotonic()
        elif message["type"] == "diagnostics":
            if message["name"].endswith(": enhancement"):
                self.diagnostics, self.diagnostics_s = message["values"], time.monotonic()
                self.counters = {key: int(text) for key, text in self.diagnostics.items() if text.isdecimal()}
        else:
            self.answer = message
            if "sent" in message:
                self.sent, self.last_event_s = dict(message["sent"]), time.monotonic()

    def missing(self) -> set[int]:
        """Return the stamps of the sent frames that have not been received."""
        return set(self.sent or {}) - self.received.keys()

    def arrived(self) -> dict[int, int]:
        """Return the index by stamp of the sent frames that have been received."""
        return {stamp: index for stamp, index in (self.sent or {}).items() if stamp in self.received}

    def latencies_ms(self) -> tuple[float, ...]:
        """Return the time from stamp to receipt of each received frame."""
        return tuple((self.received[stamp] - stamp) / 1e6 for stamp in self.arrived())


class NodeHarness:
    """Context manager that runs the node between a camera and a listener.

    Attributes:
        log: the messages of the children.
        processes: the children.
    """

    def __init__(
        self, parameters: Mapping[str, object], module: str = SCRIPTED_NODES, with_control: bool = False
    ) -> None:
        """Prepare the processes; entering the context starts them.

        Args:
            parameters: parameters of the node, by name.
            module: module that runs the scripted nodes.
            with_control: also start ``control``, a client of the node's services.
        """
        self.log = StreamLog()
        self.processes = ProcessGroup(child_commands(parameters, module, with_control), self.log.record)

    def __enter__(self) -> NodeHarness:
        self.processes.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.processes.__exit__(kind, error, trace)

    @property
    def node(self) -> ChildProcess:
        """The process of the node."""
        return self.processes.children["node"]

    def wait_for_first_frame(self) -> None:
        """Stream until an enhanced frame arrives.

        Raises:
            ProcessError: no frame arrives within ``STARTUP_TIMEOUT_S``.
        """
        deadline = time.monotonic() + STARTUP_TIMEOUT_S
        while not self.stream(rate_hz=10, count=5):
            if time.monotonic() > deadline:
                raise ProcessError(
                    f"no enhanced frame arrived within {STARTUP_TIMEOUT_S:.0f} s; end of the node's log:\n"
                    f"{self.node.log_tail()}"
                )

    def stream(self, rate_hz: int, count: int) -> int:
        """Publish ``count`` frames; return how many of them arrived enhanced."""
        self.log.sent, self.log.received = None, {}
        timeout_s = 2.0 * count / rate_hz + ANSWER_TIMEOUT_S  # a busy machine may not reach the rate
        self.request("camera", "stream", timeout_s, rate_hz=rate_hz, count=count)
        self.processes.wait_until(
            lambda: not self.log.missing() or time.monotonic() - self.log.last_event_s > SILENCE_S, ANSWER_TIMEOUT_S
        )
        return len(self.log.arrived())

    def node_counters(self) -> dict[str, int]:
        """Return the counters in the node's next diagnostics message; empty if none arrives."""
        start_s = time.monotonic()
        has_arrived = self.processes.wait_until(lambda: self.log.diagnostics_s > start_s, ANSWER_TIMEOUT_S)
        return dict(self.log.counters) if has_arrived else {}

    def request(self, child: str, command: str, timeout_s: float = ANSWER_TIMEOUT_S, **arguments: Any) -> Message:
        """Send one command to a scripted node and return its answer.

        Raises:
            ProcessError: there is no answer within ``timeout_s``.
        """
        return request(self.processes, self.log, child, command, timeout_s, **arguments)


def request(
    processes: ProcessGroup, log: StreamLog, child: str, command: str, timeout_s: float, **arguments: Any
) -> Message:
    """Do the same as ``NodeHarness.request``, for any group of processes."""
    log.answer = None
    processes.children[child].send({"command": command, **arguments})
    processes.wait_until(lambda: log.answer is not None, timeout_s)
    if log.answer is None:
        raise ProcessError(
            f"the {child} did not answer '{command}' within {timeout_s:.0f} s; end of its log:\n"
            f"{processes.children[child].log_tail()}"
        )
    return log.answer


def child_commands(
    parameters: Mapping[str, object], module: str = SCRIPTED_NODES, with_control: bool = False
) -> dict[str, Sequence[str]]:
    """Return the arguments of ``python -m`` for each child, with the node's topics remapped and its parameters set."""
    values = {"metadata.type": METADATA_TYPE, **parameters}
    arguments = [part for topic, name in CAMERA_TOPICS.items() for part in ("-r", f"{topic}:={name}")]
    arguments += [part for name, value in values.items() for part in ("-p", f"{name}:={value}")]
    commands: dict[str, Sequence[str]] = {"node": ["lowlight_enhance.ros.main", "--ros-args", *arguments]}
    for role in ("camera", "listener", "control") if with_control else ("camera", "listener"):
        commands[role] = [module, role]
    return commands


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the percentile with linear interpolation; NaN if there are no values."""
    return float(np.percentile(values, percent)) if values else math.nan


def require_rclpy() -> None:
    """Raise ConfigError if rclpy is not installed."""
    if importlib.util.find_spec("rclpy") is None:
        raise ConfigError("this needs rclpy: pip install 'lowlight_enhance[ros]', or source a ROS 2 installation")


def synthetic_frames(width: int, height: int) -> list[NDArray[np.uint8]]:
    """Return the dark frames that the camera publishes, each (height, width, 3) BGR."""
    return [dark_frame(width, height, CAPTURE, seed) for seed in range(DISTINCT_FRAMES)]


def counter_increase(before: Mapping[str, int], after: Mapping[str, int], name: str) -> int | None:
    """Return the increase of one counter; None if either of the diagnostics did not arrive.

    The node's diagnostics do not contain a counter while it is 0.
    """
    return after.get(name, 0) - before.get(name, 0) if before and after else None
