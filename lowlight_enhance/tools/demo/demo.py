"""`lowlight demo`: run a simulated dark camera, the node and a listener as three processes, and score the frames.

The camera pans over photographs that a sensor model darkens. The listener takes the place of a detector. After the run
each enhanced frame is compared with the well-exposed original of that frame, which the stamp identifies. The same
frame is also enhanced and scored alone, without the frames before it.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lowlight_enhance.core.enhancement.enhancer import Enhancer
from lowlight_enhance.core.errors import ConfigError, DataError
from lowlight_enhance.core.files import check_output_folder, make_folder
from lowlight_enhance.core.inference.model_zoo import default_model
from lowlight_enhance.tools.demo.pictures import clip_panels, write_picture, write_video
from lowlight_enhance.tools.demo.scene import HEIGHT, SHOTS, WIDTH, DemoClip, load_photo
from lowlight_enhance.tools.demo.score import DemoResult, ScoreFrame, evenly_spaced, middle_frames, score_frames
from lowlight_enhance.tools.harness.harness import NodeHarness, counter_increase, percentile
from lowlight_enhance.tools.harness.processes import ProcessError

CALIBRATION_RATES_HZ = (30, 20, 15, 10)
MIN_CALIBRATION_SHARE = 0.95
"""Share of one second's frames that must arrive, within one frame period at the median, for a rate to be chosen."""

VIDEO_RATE_HZ = 10
MAX_SCORED_FRAMES = 30
RENDER_TIMEOUT_S = 300.0
MATCH_KINDS = ("exact", "nearest", "last", "fallback", "none")
"""Sources of a frame's capture metadata, as counted in the node's diagnostics ``metadata.*``."""


@dataclass(frozen=True, slots=True)
class DemoSettings:
    """Options of the demo.

    Attributes:
        out: folder for ``demo.png`` and ``demo.mp4``; created if it is missing.
        seconds: length of the clip, 0.5 to 120.
        model: ONNX file; None: the default model.
        working_size: the node's parameter; None: that of the model.
        rate_hz: frame rate of the camera, 1 to 60; None: the highest rate that the machine can process.

    Raises:
        ConfigError: a value is out of range.
    """

    out: Path = Path("out/demo")
    seconds: float = 15.0
    model: Path | None = None
    working_size: int | None = None
    rate_hz: int | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.seconds) and 0.5 <= self.seconds <= 120.0):
            raise ConfigError(f"--seconds {self.seconds:g}: give 0.5 to 120; every dark frame is kept in memory")
        if self.rate_hz is not None and not 1 <= self.rate_hz <= 60:
            raise ConfigError(f"--rate {self.rate_hz}: give 1 to 60 frames per second, or leave it out")

    def node_parameters(self) -> dict[str, object]:
        """Return the parameters of the node: full strength, for people, and what the options set."""
        parameters: dict[str, object] = {"profile": "viewing"}
        if self.model is not None:
            parameters["model"] = self.model.resolve()
        if self.working_size is not None:
            parameters["working_size"] = self.working_size
        return parameters


def run_demo(settings: DemoSettings, score_frame: ScoreFrame, progress: Callable[[str], None] = print) -> DemoResult:
    """Run the demo and write its picture and video.

    Args:
        settings: the options.
        score_frame: computes the metrics of one frame.
        progress: called with one line of text at each step.

    Raises:
        LowlightError: rclpy or scikit-image is missing, the model or the folder cannot be used, or a process ended.
    """
    check_requirements(settings)
    with NodeHarness(settings.node_parameters(), module="lowlight_enhance.tools.demo.nodes") as harness:
        progress("starting camera, node and listener, three processes over Fast DDS")
        harness.wait_for_first_frame()
        clip = DemoClip(settings.rate_hz or calibrate_rate(harness, progress), settings.seconds)
        before, after = stream_clip(harness, clip, progress)
        harness.processes.stop()
        progress("scoring")
        folder = harness.processes.folder
        frames = {index: folder / f"{stamp}.npy" for stamp, index in harness.log.arrived().items()}
        saved = {index: path for index, path in sorted(frames.items()) if path.exists()}
        if not saved:
            raise ProcessError(
                f"no enhanced frame arrived during the run; end of the node's log:\n{harness.node.log_tail()}"
            )
        alone = enhance_alone(clip, saved, settings, folder)
        write_results(clip, alone, saved, settings.out, progress)
        scored = evenly_spaced(list(saved), MAX_SCORED_FRAMES)
        dark_score, alone_score, enhanced_score = score_frames(clip, scored, alone, saved, score_frame)
    return DemoResult(
        rate_hz=clip.rate_hz,
        sent=len(harness.log.sent or {}),
        enhanced=counter_increase(before, after, "enhanced"),
        received=len(harness.log.arrived()),
        latencies_ms=harness.log.latencies_ms(),
        matches={kind: counter_increase(before, after, f"metadata.{kind}") or 0 for kind in MATCH_KINDS},
        dark_score=dark_score,
        alone_score=alone_score,
        enhanced_score=enhanced_score,
        scored=len(scored),
    )


def check_requirements(settings: DemoSettings) -> None:
    """Check everything that can be checked before a process starts.

    Raises:
        ConfigError: rclpy or scikit-image is not installed.
        ModelError: the model cannot be used.
        DataError: the folder cannot be written.
    """
    if importlib.util.find_spec("rclpy") is None:
        raise ConfigError(
            "the demo needs rclpy: pip install 'lowlight_enhance[ros,demo]', or source a ROS 2 installation"
        )
    for shot in SHOTS:
        load_photo(shot.photo)
    Enhancer(settings.model or default_model(), working_size=settings.working_size).close()
    check_output_folder(settings.out)
    try:
        make_folder(settings.out)
    except OSError as error:
        raise DataError(f"cannot create the folder {settings.out} ({error.strerror}); choose another --out") from error


def calibrate_rate(harness: NodeHarness, progress: Callable[[str], None]) -> int:
    """Return the highest of ``CALIBRATION_RATES_HZ`` at which the frames of one second arrive in time.

    If none of them does, return the lowest.
    """
    render_clip(harness, DemoClip(CALIBRATION_RATES_HZ[0], 1.0))
    harness.stream(CALIBRATION_RATES_HZ[0], count=CALIBRATION_RATES_HZ[0])  # the first frames are slower
    for rate_hz in CALIBRATION_RATES_HZ:
        arrived = harness.stream(rate_hz, count=rate_hz)
        latency_ms = percentile(harness.log.latencies_ms(), 50)
        if arrived >= MIN_CALIBRATION_SHARE * rate_hz and latency_ms < 1000.0 / rate_hz:
            break
        progress(
            f"{rate_hz} Hz is too fast for this machine: {arrived} of {rate_hz} frames arrived, "
            f"median latency {latency_ms:.0f} ms"
        )
    progress(f"the camera runs at {rate_hz} Hz")
    return rate_hz


def stream_clip(
    harness: NodeHarness, clip: DemoClip, progress: Callable[[str], None]
) -> tuple[dict[str, int], dict[str, int]]:
    """Stream the clip and save the received frames; return the node's counters before and after."""
    shots = "; ".join(f"{shot.photo} {shot}" for shot in SHOTS)
    progress(f"darkening {len(clip)} frames of {WIDTH}x{HEIGHT}: {shots}")
    render_clip(harness, clip)
    harness.request("listener", "keep", every=keep_interval(clip))
    before = harness.node_counters()
    progress(f"streaming {clip.seconds:g} s at {clip.rate_hz} Hz")
    harness.stream(clip.rate_hz, len(clip))
    after = harness.node_counters()
    harness.request("listener", "save", RENDER_TIMEOUT_S, folder=str(harness.processes.folder))
    return before, after


def enhance_alone(clip: DemoClip, indices: Iterable[int], settings: DemoSettings, folder: Path) -> dict[int, Path]:
    """Enhance these frames without the frames before them. Return the ``.npy`` files by index."""
    files = {index: folder / f"alone_{index}.npy" for index in indices}
    with closing(Enhancer(settings.model or default_model(), working_size=settings.working_size)) as enhance:
        for index, file in files.items():
            np.save(file, enhance(clip.dark(index), clip.shot(index).capture))
    return files


def write_results(
    clip: DemoClip, alone: dict[int, Path], saved: dict[int, Path], out: Path, progress: Callable[[str], None]
) -> None:
    """Write ``demo.png``, one row per photograph, and ``demo.mp4``, every saved frame."""
    picture, video = out / "demo.png", out / "demo.mp4"
    rows = middle_frames(clip, list(saved))
    write_picture((clip_panels(clip, index, alone[index], saved[index]) for index in rows), picture)
    frames = (clip_panels(clip, index, alone[index], path)[:-1] for index, path in saved.items())
    write_video(frames, clip.rate_hz / keep_interval(clip), video)
    progress(f"wrote {picture} and {video}")


def render_clip(harness: NodeHarness, clip: DemoClip) -> None:
    """Make the camera render the dark frames of ``clip``."""
    harness.request("camera", "render", RENDER_TIMEOUT_S, rate_hz=clip.rate_hz, seconds=clip.seconds)


def keep_interval(clip: DemoClip) -> int:
    """Return n for which every n-th frame of the clip makes about ``VIDEO_RATE_HZ`` per second."""
    return max(1, clip.rate_hz // VIDEO_RATE_HZ)
