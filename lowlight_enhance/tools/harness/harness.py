"""Camera, node and listener as processes of their own over Fast DDS, and the parent's way to let frames flow."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowlight_enhance.core.errors import ConfigError
from lowlight_enhance.core.metadata.capture import CaptureMetadata
from lowlight_enhance.ros import topic_names
from lowlight_enhance.simulation.low_light import dark_frame
from lowlight_enhance.tools.harness.processes import Crew, CrewError

CAMERA_TOPICS = {
    name: f"/camera/{name}"
    for name in (topic_names.IMAGE, topic_names.CAMERA_INFO, topic_names.METADATA, topic_names.ENHANCED)
} | {topic_names.ENHANCED_INFO: f"/camera/{topic_names.ENHANCED_INFO}"}
"""Full name of each of the node's topics."""

NODE = "lowlight_enhance"
"""Name of the node."""

CAPTURE = CaptureMetadata(iso=3200.0, exposure_s=1.0 / 30.0)
SHOWN = 4
"""Different frames that the camera shows in turn."""

METADATA_TYPE = "diagnostic_msgs/msg/DiagnosticArray"
ACTORS = "lowlight_enhance.tools.harness.nodes"

STARTUP_S, ANSWER_S = 60.0, 10.0
"""How long the children may take to find each other, and to answer."""

SILENCE_S = 0.5
"""Frames that have not come after this long without any are lost."""


@dataclass(slots=True)
class Log:
    """What the children have answered so far.

    Attributes:
        answer: the newest answer to a command; None until it comes.
        sent: frame index by stamp (ns since the epoch) of the frames sent last; None until they all are.
        received: time of receipt (ns since the epoch) by stamp.
        heard_at: monotonic time in seconds of the last of these two.
        values: the node's diagnostics, by name.
        counts: those of them that are whole numbers.
        counts_at: monotonic time in seconds at which they came.
    """

    answer: dict[str, Any] | None = None
    sent: dict[int, int] | None = None
    received: dict[int, int] = field(default_factory=dict)
    heard_at: float = 0.0
    values: dict[str, str] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    counts_at: float = 0.0

    def note(self, values: dict[str, Any]) -> None:
        """Take in one answer of a child."""
        if "stamp" in values:
            self.received[values["stamp"]], self.heard_at = values["received"], time.monotonic()
        elif "diagnostics" in values:
            if values["of"].endswith(": enhancement"):
                self.values, self.counts_at = values["diagnostics"], time.monotonic()
                self.counts = {key: int(text) for key, text in self.values.items() if text.isdecimal()}
        else:
            self.answer = values
            if "sent" in values:
                self.sent, self.heard_at = dict(values["sent"]), time.monotonic()

    def missing(self) -> set[int]:
        """Stamps of the frames sent last that have not been received."""
        return set(self.sent or {}) - self.received.keys()

    def arrived(self) -> dict[int, int]:
        """Index by stamp of the frames sent last that have been received."""
        return {stamp: index for stamp, index in (self.sent or {}).items() if stamp in self.received}

    def latencies_ms(self) -> tuple[float, ...]:
        """From stamp to receipt, of the frames sent last that have been received."""
        return tuple((self.received[stamp] - stamp) / 1e6 for stamp in self.arrived())


def check_rclpy() -> None:
    """Raise ConfigError where there is no ROS."""
    if importlib.util.find_spec("rclpy") is None:
        raise ConfigError("this needs rclpy: pip install 'lowlight_enhance[ros]', or source a ROS 2 installation")


def pictures(width: int, height: int) -> list[NDArray[np.uint8]]:
    """What the camera shows: dark (height, width, 3) frames, BGR."""
    return [dark_frame(width, height, CAPTURE, seed) for seed in range(SHOWN)]


def members(parameters: Mapping[str, object], actors: str = ACTORS) -> dict[str, Sequence[str]]:
    """``python -m`` arguments of each child: the node's topics remapped and its parameters set, the others' roles."""
    given = {"metadata.type": METADATA_TYPE, **parameters}
    arguments = [part for topic, name in CAMERA_TOPICS.items() for part in ("-r", f"{topic}:={name}")]
    arguments += [part for name, value in given.items() for part in ("-p", f"{name}:={value}")]
    return {
        "node": ["lowlight_enhance.ros.main", "--ros-args", *arguments],
        "camera": [actors, "camera"],
        "listener": [actors, "listener"],
    }


def meet(crew: Crew, log: Log) -> None:
    """Send frames until one comes out at the other end.

    Raises:
        CrewError: none does.
    """
    deadline = time.monotonic() + STARTUP_S
    while not log.received:
        if time.monotonic() > deadline:
            raise CrewError(
                f"no enhanced frame arrived within {STARTUP_S:.0f} s; the node's last words:\n{words(crew)}"
            )
        send(crew, log, rate_hz=10, count=5)
        crew.wait_for(lambda: bool(log.received), 0.5)


def send(crew: Crew, log: Log, rate_hz: int, count: int) -> int:
    """Let the camera publish frames; how many of them have arrived once all have, or no more come."""
    log.sent, log.received = None, {}
    ask(crew, log, "camera", count / rate_hz * 2.0 + ANSWER_S, do="stream", rate_hz=rate_hz, count=count)
    crew.wait_for(lambda: not log.missing() or time.monotonic() - log.heard_at > SILENCE_S, ANSWER_S)
    return len(log.arrived())


def counts(crew: Crew, log: Log) -> dict[str, int]:
    """What the node has counted by now, from its next diagnostics; empty where none come."""
    asked = time.monotonic()
    return dict(log.counts) if crew.wait_for(lambda: log.counts_at > asked, ANSWER_S) else {}


def ask(crew: Crew, log: Log, child: str, timeout_s: float, **command: Any) -> dict[str, Any]:
    """A child's answer to a command.

    Raises:
        CrewError: it does not come.
    """
    log.answer = None
    crew.children[child].tell(**command)
    if not crew.wait_for(lambda: log.answer is not None, timeout_s) or log.answer is None:
        raise CrewError(f"the {child} did not answer within {timeout_s:.0f} s:\n{crew.children[child].last_words()}")
    return log.answer


def words(crew: Crew) -> str:
    """What the node has said last."""
    return crew.children["node"].last_words()


def difference(before: dict[str, int], after: dict[str, int], name: str) -> int | None:
    """By how much a count has grown; None where either is not known. A count begins to be told when it is not 0."""
    return after.get(name, 0) - before.get(name, 0) if before and after else None
