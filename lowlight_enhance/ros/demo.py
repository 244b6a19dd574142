"""`lowlight demo`: a camera in the dark, our node and a consumer, three processes over Fast DDS, with figures.

The camera pans over photographs, each frame darkened by the physics of a sensor; the consumer stands where a detector
would. After the run its frames are scored against the undarkened window of exactly that frame, found by stamp.
"""

from __future__ import annotations

import importlib.util
import math
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from lowlight_enhance.core.enhancer import Enhancer
from lowlight_enhance.core.errors import ConfigError, DataError
from lowlight_enhance.core.shipped import default_model
from lowlight_enhance.ros.demo_crew import Crew, DemoError
from lowlight_enhance.ros.demo_pictures import write_picture, write_video
from lowlight_enhance.ros.demo_scene import HEIGHT, TAKES, WIDTH, Clip, load_photo
from lowlight_enhance.ros.demo_score import DemoResult, percentile, rows, score, spread

RATES_HZ = (30, 20, 15, 10)
KEEPS_UP = 0.95
"""Share of a calibration second's frames that must arrive, each within a frame's time, for a rate to be taken."""

VIDEO_HZ = 10
SCORED = 30
"""Frames scored at most, evenly spread."""

STARTUP_S, RENDER_S, ANSWER_S = 60.0, 300.0, 10.0
"""How long the children may take to find each other, to make the dark frames, and to answer."""

SILENCE_S = 0.5
"""Frames that have not come after this long without any are lost."""

Say = Callable[[str], None]


@dataclass(slots=True)
class Log:
    """What the children have answered so far.

    Attributes:
        rendered: the dark frames are made.
        sent: frame index by stamp (ns since the epoch) of the frames sent last; None until they all are.
        received: time of receipt (ns since the epoch) by stamp.
        heard_at: monotonic time in seconds of the last of these.
        keeping: the consumer keeps frames.
        saved: it has written them.
        counts: the node's, by name.
        counts_at: monotonic time in seconds at which they came.
    """

    rendered: bool = False
    sent: dict[int, int] | None = None
    received: dict[int, int] = field(default_factory=dict)
    heard_at: float = 0.0
    keeping: bool = False
    saved: bool = False
    counts: dict[str, int] = field(default_factory=dict)
    counts_at: float = 0.0

    def note(self, values: dict[str, Any]) -> None:
        """Take in one answer of a child."""
        if "stamp" in values:
            self.received[values["stamp"]], self.heard_at = values["received"], time.monotonic()
        elif "diagnostics" in values and values["of"].endswith(": enhancement"):
            numbers = {key: int(text) for key, text in values["diagnostics"].items() if text.isdecimal()}
            self.counts, self.counts_at = numbers, time.monotonic()
        elif "sent" in values:
            self.sent, self.heard_at = dict(values["sent"]), time.monotonic()
        self.rendered |= "rendered" in values
        self.keeping |= "keeping" in values
        self.saved |= "saved" in values

    def missing(self) -> set[int]:
        """Stamps of the frames sent last that have not been received."""
        return set(self.sent or {}) - self.received.keys()

    def arrived(self) -> dict[int, int]:
        """Index by stamp of the frames sent last that have been received."""
        return {stamp: index for stamp, index in (self.sent or {}).items() if stamp in self.received}

    def latencies_ms(self) -> tuple[float, ...]:
        """From stamp to receipt, of the frames sent last that have been received."""
        return tuple((self.received[stamp] - stamp) / 1e6 for stamp in self.arrived())


def run(
    out: Path = Path("out/demo"),
    seconds: float = 15.0,
    model: Path | None = None,
    working_size: int | None = None,
    rate_hz: int | None = None,
    say: Say = print,
) -> int:
    """Run the demo, print its figures, write ``demo.png`` and ``demo.mp4``; the command's exit code.

    Args:
        out: folder to write, made where it is missing.
        seconds: length of the run.
        model: ONNX file; None for the one that is shipped.
        working_size: the node's parameter; None for the model's own.
        rate_hz: of the camera; None finds out what the machine keeps up with.
        say: where lines of text go.

    Raises:
        LowlightError: it cannot run at all.
    """
    result = perform(out, seconds, model, working_size, rate_hz, say)
    say(result.report())
    for sentence in result.failures():
        print(f"lowlight: the demo failed: {sentence}", file=sys.stderr)
    return 1 if result.failures() else 0


def perform(
    out: Path,
    seconds: float,
    model: Path | None = None,
    working_size: int | None = None,
    rate_hz: int | None = None,
    say: Say = print,
) -> DemoResult:
    """As ``run``, without the verdict."""
    check(out, seconds, rate_hz)
    Enhancer(model or default_model(), working_size=working_size)  # a bad model is told here, not by a silent node
    log = Log()
    with sigterm_as_exit(), Crew(children(model, working_size), log.note) as crew:
        say("starting camera, node and consumer, three processes over Fast DDS")
        meet(crew, log)
        rate_hz = rate_hz or calibrate(crew, log, say)
        clip = Clip(rate_hz, seconds)
        before, after = stream(crew, log, clip, say)
        crew.dismiss()
        say("scoring")
        frames = {index: crew.folder / f"{stamp}.npy" for stamp, index in log.arrived().items()}
        kept = {index: path for index, path in sorted(frames.items()) if path.exists()}
        if not kept:
            raise DemoError("no enhanced frame arrived during the run; the node's last words:\n" + words(crew))
        scored = spread(list(kept), SCORED)
        scores = score(clip, {index: kept[index] for index in scored})
        write_picture(clip, rows(clip, kept), out / "demo.png")
        write_video(clip, kept, clip.rate_hz / keep_every(clip), out / "demo.mp4")
        say(f"wrote {out / 'demo.png'} and {out / 'demo.mp4'}")
    assert log.sent is not None
    return DemoResult(
        rate_hz=rate_hz,
        sent=len(log.sent),
        enhanced=difference(before, after, "enhanced"),
        received=len(log.arrived()),
        latencies_ms=log.latencies_ms(),
        matches={kind: difference(before, after, f"metadata.{kind}") or 0 for kind in MATCHES},
        before=scores[0],
        after=scores[1],
        scored=len(scored),
    )


MATCHES = ("exact", "nearest", "last", "fallback", "none")


def check(out: Path, seconds: float, rate_hz: int | None) -> None:
    """Refuse what cannot work before any process is started.

    Raises:
        ConfigError: a value out of range, or a missing package.
        DataError: ``out`` cannot be made.
    """
    if not (math.isfinite(seconds) and 0.5 <= seconds <= 120.0):
        raise ConfigError(f"--seconds {seconds:g}: give 0.5 to 120; every dark frame is kept in memory")
    if rate_hz is not None and not 1 <= rate_hz <= 60:
        raise ConfigError(f"--rate {rate_hz}: give 1 to 60 frames a second, or leave it out")
    if importlib.util.find_spec("rclpy") is None:
        raise ConfigError(
            "the demo needs rclpy: pip install 'lowlight_enhance[ros,demo]', or source a ROS 2 installation"
        )
    for take in TAKES:
        load_photo(take.photo)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"cannot make the folder {out} ({error.strerror}); name another with --out") from error


def children(model: Path | None, working_size: int | None) -> dict[str, Sequence[str]]:
    """``python -m`` arguments of each child: topics remapped, the metadata's type named."""
    remaps = {
        "image_raw": "/camera/image_raw",
        "camera_info": "/camera/camera_info",
        "metadata": "/camera/metadata",
        "image_enhanced": "/camera/image_enhanced",
        "enhanced/camera_info": "/camera/enhanced/camera_info",
    }
    parameters = {"metadata_type": "diagnostic_msgs/msg/DiagnosticArray"}
    if model is not None:
        parameters["model"] = str(model.resolve())
    if working_size is not None:
        parameters["working_size"] = str(working_size)
    arguments = [part for topic, name in remaps.items() for part in ("-r", f"{topic}:={name}")]
    arguments += [part for name, value in parameters.items() for part in ("-p", f"{name}:={value}")]
    actors = "lowlight_enhance.ros.demo_processes"
    return {
        "node": ["lowlight_enhance.ros.node", "--ros-args", *arguments],
        "camera": [actors, "camera"],
        "consumer": [actors, "consumer"],
    }


def meet(crew: Crew, log: Log) -> None:
    """Send frames until one comes out at the other end.

    Raises:
        DemoError: none does.
    """
    deadline = time.monotonic() + STARTUP_S
    while not log.received:
        if time.monotonic() > deadline:
            raise DemoError(
                f"no enhanced frame arrived within {STARTUP_S:.0f} s; the node's last words:\n{words(crew)}"
            )
        send(crew, log, rate_hz=10, count=5)
        crew.wait_for(lambda: bool(log.received), 0.5)


def calibrate(crew: Crew, log: Log, say: Say) -> int:
    """The highest of ``RATES_HZ`` at which the frames of one second come through."""
    render(crew, log, Clip(RATES_HZ[0], 1.0))
    send(crew, log, rate_hz=RATES_HZ[0], count=RATES_HZ[0])  # what runs for the first time runs slowly
    for rate_hz in RATES_HZ:
        arrived = send(crew, log, rate_hz, count=rate_hz)
        latency_ms = percentile(log.latencies_ms(), 50)
        if arrived >= KEEPS_UP * rate_hz and latency_ms < 1000.0 / rate_hz:
            break
        say(
            f"at {rate_hz} Hz {arrived} of {rate_hz} frames came through in a second, after {latency_ms:.0f} ms: "
            "too fast for this machine"
        )
    say(f"the camera runs at {rate_hz} Hz")
    return rate_hz


def stream(crew: Crew, log: Log, clip: Clip, say: Say) -> tuple[dict[str, int], dict[str, int]]:
    """The run itself; the node's counts before and after it."""
    say(f"darkening {len(clip)} frames of {WIDTH}x{HEIGHT}: " + "; ".join(f"{t.photo} {t}" for t in TAKES))
    render(crew, log, clip)
    crew.children["consumer"].tell(do="keep", every=keep_every(clip))
    wait(crew, lambda: log.keeping, ANSWER_S, "consumer")
    before = counts(crew, log)
    say(f"streaming {clip.seconds:g} s at {clip.rate_hz} Hz")
    send(crew, log, clip.rate_hz, len(clip))
    after = counts(crew, log)
    crew.children["consumer"].tell(do="save", folder=str(crew.folder))
    wait(crew, lambda: log.saved, ANSWER_S + clip.seconds, "consumer")
    return before, after


def keep_every(clip: Clip) -> int:
    """So that the consumer keeps about ``VIDEO_HZ`` frames a second."""
    return max(1, clip.rate_hz // VIDEO_HZ)


def render(crew: Crew, log: Log, clip: Clip) -> None:
    """Let the camera make the dark frames of ``clip``."""
    log.rendered = False
    crew.children["camera"].tell(do="render", rate_hz=clip.rate_hz, seconds=clip.seconds)
    wait(crew, lambda: log.rendered, RENDER_S, "camera")


def send(crew: Crew, log: Log, rate_hz: int, count: int) -> int:
    """Let the camera publish frames; how many of them have arrived once all have, or no more come."""
    log.sent = None
    crew.children["camera"].tell(do="stream", rate_hz=rate_hz, count=count)
    wait(crew, lambda: log.sent is not None, count / rate_hz * 2.0 + ANSWER_S, "camera")
    assert log.sent is not None
    crew.wait_for(lambda: not log.missing() or time.monotonic() - log.heard_at > SILENCE_S, ANSWER_S)
    return len(log.arrived())


def counts(crew: Crew, log: Log) -> dict[str, int]:
    """What the node has counted by now, from its next diagnostics; empty where none come."""
    asked = time.monotonic()
    return dict(log.counts) if crew.wait_for(lambda: log.counts_at > asked, ANSWER_S) else {}


def wait(crew: Crew, done: Callable[[], bool], timeout_s: float, child: str) -> None:
    """Wait for the answer of a child.

    Raises:
        DemoError: it does not come.
    """
    if not crew.wait_for(done, timeout_s):
        raise DemoError(f"the {child} did not answer within {timeout_s:.0f} s:\n{crew.children[child].last_words()}")


def words(crew: Crew) -> str:
    """What the node has said last."""
    return crew.children["node"].last_words()


def difference(before: dict[str, int], after: dict[str, int], name: str) -> int | None:
    """By how much a count has grown; None where either is not known. A count begins to be told when it is not 0."""
    return after.get(name, 0) - before.get(name, 0) if before and after else None


@contextmanager
def sigterm_as_exit() -> Iterator[None]:
    """Within, SIGTERM leaves as an exception would, so that everything is cleared up (main thread only)."""

    def leave(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
