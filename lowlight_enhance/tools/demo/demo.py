"""`lowlight demo`: a camera in the dark, our node and a listener, three processes over Fast DDS, with figures.

The camera pans over photographs, each frame darkened by the physics of a sensor; the listener stands where a detector
would. After the run its frames are scored against the undarkened window of exactly that frame, found by stamp.
"""

from __future__ import annotations

import importlib.util
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from lowlight_enhance.core.enhancement.enhancer import Enhancer
from lowlight_enhance.core.errors import ConfigError, DataError
from lowlight_enhance.core.inference.model_zoo import default_model
from lowlight_enhance.tools.demo.pictures import write_picture, write_video
from lowlight_enhance.tools.demo.scene import HEIGHT, TAKES, WIDTH, Clip, load_photo
from lowlight_enhance.tools.demo.score import DemoResult, percentile, rows, score, spread
from lowlight_enhance.tools.harness.harness import ANSWER_S, Log, ask, counts, difference, meet, members, send, words
from lowlight_enhance.tools.harness.processes import Crew, CrewError, sigterm_as_exit

RATES_HZ = (30, 20, 15, 10)
KEEPS_UP = 0.95
"""Share of a calibration second's frames that must arrive, each within a frame's time, for a rate to be taken."""

VIDEO_HZ = 10
SCORED = 30
"""Frames scored at most, evenly spread."""

RENDER_S = 300.0
"""How long the camera may take to make the dark frames."""

Say = Callable[[str], None]


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
        say("starting camera, node and listener, three processes over Fast DDS")
        meet(crew, log)
        rate_hz = rate_hz or calibrate(crew, log, say)
        clip = Clip(rate_hz, seconds)
        before, after = stream(crew, log, clip, say)
        crew.dismiss()
        say("scoring")
        frames = {index: crew.folder / f"{stamp}.npy" for stamp, index in log.arrived().items()}
        kept = {index: path for index, path in sorted(frames.items()) if path.exists()}
        if not kept:
            raise CrewError("no enhanced frame arrived during the run; the node's last words:\n" + words(crew))
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
    """``python -m`` arguments of each child."""
    parameters: dict[str, object] = {}
    if model is not None:
        parameters["model"] = model.resolve()
    if working_size is not None:
        parameters["working_size"] = working_size
    return members(parameters, actors="lowlight_enhance.tools.demo.processes")


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
    ask(crew, log, "listener", ANSWER_S, do="keep", every=keep_every(clip))
    before = counts(crew, log)
    say(f"streaming {clip.seconds:g} s at {clip.rate_hz} Hz")
    send(crew, log, clip.rate_hz, len(clip))
    after = counts(crew, log)
    ask(crew, log, "listener", ANSWER_S + clip.seconds, do="save", folder=str(crew.folder))
    return before, after


def keep_every(clip: Clip) -> int:
    """So that the listener keeps about ``VIDEO_HZ`` frames a second."""
    return max(1, clip.rate_hz // VIDEO_HZ)


def render(crew: Crew, log: Log, clip: Clip) -> None:
    """Let the camera make the dark frames of ``clip``."""
    ask(crew, log, "camera", RENDER_S, do="render", rate_hz=clip.rate_hz, seconds=clip.seconds)
