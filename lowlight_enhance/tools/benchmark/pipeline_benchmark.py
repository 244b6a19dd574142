"""How long a frame takes, stage by stage, against bare inference, another runtime and OpenCV's own ways to brighten.

Everything is measured in interleaved rounds, one call of each in turn, so that a machine that slows down slows all
alike; figures are medians.
"""

from __future__ import annotations

import dataclasses
import json
import statistics
import time
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lowlight_enhance.core.enhancement.enhancer import Enhancer, open_enhancer, toned
from lowlight_enhance.core.enhancement.temporal_smoothing import SMOOTHING_S, Steady
from lowlight_enhance.core.enhancement.upsampling import LocalAffine, Upsampling, enlarge
from lowlight_enhance.core.errors import ConfigError
from lowlight_enhance.core.files import replacing
from lowlight_enhance.core.health import Health
from lowlight_enhance.core.imaging.messages import fill_message, rgb_from_message
from lowlight_enhance.core.inference.sessions import Runtime, runtime_version
from lowlight_enhance.core.metadata.capture import CaptureMetadata
from lowlight_enhance.core.pipeline import NS_PER_S, FrameStream, StreamConfig
from lowlight_enhance.core.process_info import processor_name
from lowlight_enhance.simulation.low_light import dark_frame

DEFAULT_SIZES = ((640, 480), (1280, 720))
STAGES = ("decode", "encode", "inference", "tones", "steady", "upsample", "message build")
DEFAULT_ROUNDS, DEFAULT_THREADS = 60, 2
OTHER_WAYS: tuple[Upsampling, ...] = ("guided", "gain", "resize")
"""Ways up to full size beside the model's own, timed for comparison."""

SMALLEST = 16
SLOW_ROUNDS = 3
"""Rounds in which the denoiser that takes a second a frame takes part."""

CAPTURE = CaptureMetadata(iso=3200.0, exposure_s=1.0 / 30.0)
Bgr = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class SizeTimings:
    """Medians for one frame size, in milliseconds.

    Attributes:
        width: columns of the frame.
        height: rows of the frame.
        tensor: shape of the network's input.
        stages_ms: one entry for each of ``STAGES``.
        total_ms: image message in, enhanced message filled, through ``FrameStream``.
        bare_inference_ms: the same session on the same array, and nothing else.
        onnxruntime_ms: that in ONNX Runtime, where another runtime is measured.
        ways_ms: one entry for each of ``OTHER_WAYS``, in place of ``upsample``.
        others_ms: OpenCV's ways to brighten or denoise, for orientation.
    """

    width: int
    height: int
    tensor: tuple[int, ...]
    stages_ms: dict[str, float]
    total_ms: float
    bare_inference_ms: float
    onnxruntime_ms: float | None
    ways_ms: dict[str, float]
    others_ms: dict[str, float]

    @property
    def ratio(self) -> float:
        """Total over bare inference."""
        return self.total_ms / self.bare_inference_ms

    @property
    def speed_up(self) -> float | None:
        """ONNX Runtime's inference over this runtime's."""
        return None if self.onnxruntime_ms is None else self.onnxruntime_ms / self.bare_inference_ms

    @property
    def frames_per_s(self) -> float:
        """Frames that one after the other fit into a second."""
        return 1000.0 / self.total_ms


@dataclass(frozen=True, slots=True)
class Bench:
    """All sizes, and what they were measured with."""

    model: str
    sha256: str
    runtime: str
    providers: tuple[str, ...]
    threads: int
    rounds: int
    machine: str
    sizes: tuple[SizeTimings, ...]

    def to_json(self) -> str:
        """Everything, with ratios and frames per second."""
        values = dataclasses.asdict(self)
        for entry, size in zip(values["sizes"], self.sizes, strict=True):
            entry |= {"ratio": size.ratio, "speed_up": size.speed_up, "frames_per_s": size.frames_per_s}
        return json.dumps(values, indent=2)

    def table(self) -> str:
        """The figures as text, one column a size."""
        names = [f"{size.width}x{size.height}" for size in self.sizes]
        rows: list[tuple[str, list[str]]] = [("ms a frame, median", names)]
        rows += [(stage, [f"{size.stages_ms[stage]:.2f}" for size in self.sizes]) for stage in STAGES]
        rows += [
            ("total", [f"{size.total_ms:.2f}" for size in self.sizes]),
            ("bare inference", [f"{size.bare_inference_ms:.2f}" for size in self.sizes]),
            ("total / bare inference", [f"{size.ratio:.2f}" for size in self.sizes]),
            ("frames per second", [f"{size.frames_per_s:.1f}" for size in self.sizes]),
            ("network input", ["x".join(str(n) for n in size.tensor[2:][::-1]) for size in self.sizes]),
        ]
        if any(size.onnxruntime_ms is not None for size in self.sizes):
            rows += [
                ("bare inference in onnxruntime", [_figure(size.onnxruntime_ms) for size in self.sizes]),
                ("onnxruntime / this runtime", [_figure(size.speed_up) for size in self.sizes]),
            ]
        rows += [(f"other way up: {way}", [f"{size.ways_ms[way]:.2f}" for size in self.sizes]) for way in OTHER_WAYS]
        rows += [(name, [f"{size.others_ms[name]:.2f}" for size in self.sizes]) for name in OTHERS | SLOW_OTHERS]
        label = max(len(row[0]) for row in rows)
        lines = [f"{name:<{label}}" + "".join(f"{cell:>12}" for cell in cells) for name, cells in rows]
        head = f"{self.model} ({self.sha256[:12]}), {', '.join(self.providers)}, {self.threads} threads, "
        head += f"{self.runtime}, "
        return "\n".join([head + f"{self.rounds} interleaved rounds, {self.machine}", "", *lines])


def run(
    sizes: Sequence[tuple[int, int]] = DEFAULT_SIZES,
    rounds: int = DEFAULT_ROUNDS,
    threads: int = DEFAULT_THREADS,
    model: Path | None = None,
    working_size: int | None = None,
    runtime: Runtime = "onnxruntime",
) -> Bench:
    """Measure.

    Args:
        sizes: (width, height) of each frame.
        rounds: how often each thing is timed.
        threads: of the inference and of OpenCV.
        model: ONNX file; None for the one that is shipped.
        working_size: as in ``Enhancer``.
        runtime: whose inference; another than ONNX Runtime is measured against it.

    Raises:
        ConfigError: a value out of range, or a runtime that is not installed.
        ModelError: no usable model.
    """
    if rounds < 1 or threads < 1 or not sizes:
        raise ConfigError(f"rounds {rounds}, threads {threads}, {len(sizes)} sizes: give at least one of each")
    for width, height in sizes:
        if min(width, height) < SMALLEST:
            raise ConfigError(f"size {width}x{height}: give at least {SMALLEST}x{SMALLEST}")
    enhancer = open_enhancer(runtime, model, threads=threads, working_size=working_size)
    reference = None if runtime == "onnxruntime" else open_enhancer(model=model, threads=threads)
    with _opencv_threads(threads):
        subjects = [_Subject(enhancer, width, height, reference) for width, height in sizes]
        for number in range(rounds):
            for subject in subjects:
                subject.round(slow=number < SLOW_ROUNDS)
    return Bench(
        model=enhancer.path.name,
        sha256=enhancer.sha256,
        runtime=runtime_version(runtime),
        providers=enhancer.providers,
        threads=threads,
        rounds=rounds,
        machine=f"{processor_name()}, OpenCV {cv2.__version__}",
        sizes=tuple(subject.timings() for subject in subjects),
    )


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def write_json(result: Bench, target: Path) -> None:
    """Write the figures for another program to read.

    Raises:
        DataError: the target cannot be written.
    """
    with replacing(target) as temporary:
        temporary.write_text(result.to_json() + "\n")


def gamma(bgr: Bgr) -> Any:
    """Brighten by x ** (1 / 2.2) through a table."""
    return cv2.LUT(bgr, _GAMMA)


def clahe(bgr: Bgr) -> Any:
    """Contrast-limited adaptive histogram equalisation of the lightness."""
    lightness, a, b = cv2.split(cv2.cvtColor(bgr, cv2.COLOR_BGR2LAB))
    equal = cv2.createCLAHE(clipLimit=3.0, tileGridSize=(8, 8)).apply(lightness)
    return cv2.cvtColor(cv2.merge((equal, a, b)), cv2.COLOR_LAB2BGR)


def non_local_means(bgr: Bgr) -> Any:
    """OpenCV's colour denoiser with its default windows."""
    return cv2.fastNlMeansDenoisingColored(bgr, None, 10, 10, 7, 21)


_GAMMA = np.rint(255.0 * (np.arange(256) / 255.0) ** (1.0 / 2.2)).astype(np.uint8)
OTHERS: dict[str, Callable[[Bgr], Any]] = {"OpenCV gamma table": gamma, "OpenCV CLAHE": clahe}
SLOW_OTHERS: dict[str, Callable[[Bgr], Any]] = {"OpenCV fastNlMeansDenoisingColored": non_local_means}


class _Subject:
    """One frame size: everything that a round times on it."""

    def __init__(self, enhancer: Enhancer, width: int, height: int, reference: Enhancer | None = None) -> None:
        self.enhancer, self.width, self.height, self.reference = enhancer, width, height, reference
        self.stamp_ns = NS_PER_S
        self.message = image_message(dark_frame(width, height, CAPTURE))
        self.stream = FrameStream(enhancer, StreamConfig(fallback=CAPTURE), Health())
        self.tensor = enhancer.encode(rgb_from_message(self.message), CAPTURE)
        self.rgb = rgb_from_message(self.message)
        self.maps, self.small = toned(enhancer.model_input, enhancer.infer(self.tensor), self.tensor, self.rgb)
        self.local_affine, self.steady = LocalAffine(), Steady()
        self.times_ns: dict[str, list[int]] = defaultdict(list)
        for _ in range(2):
            self.round(slow=False)
        self.times_ns.clear()

    def round(self, slow: bool) -> None:
        """Time each thing once, on a frame a thirtieth of a second after the one before."""
        self.stamp_ns += NS_PER_S // 30
        stamp = self.message.header.stamp
        stamp.sec, stamp.nanosec = divmod(self.stamp_ns, NS_PER_S)
        self._stages()
        self._time("total", self._total)
        self._time("bare inference", self.enhancer.infer, self.tensor)
        if self.reference is not None:
            self._time("onnxruntime", self.reference.infer, self.tensor)
        for way in OTHER_WAYS:
            self._time(way, self._way_up, way)
        bgr = np.frombuffer(self.message.data, np.uint8).reshape(self.height, self.width, 3)
        for name, function in (OTHERS | SLOW_OTHERS if slow else OTHERS).items():
            self._time(name, function, bgr)

    def timings(self) -> SizeTimings:
        """The medians."""
        medians = {name: statistics.median(times) / 1e6 for name, times in self.times_ns.items()}
        return SizeTimings(
            width=self.width,
            height=self.height,
            tensor=tuple(self.tensor.shape),
            stages_ms={stage: medians[stage] for stage in STAGES},
            total_ms=medians["total"],
            bare_inference_ms=medians["bare inference"],
            onnxruntime_ms=medians.get("onnxruntime"),
            ways_ms={way: medians[way] for way in OTHER_WAYS},
            others_ms={name: medians[name] for name in OTHERS | SLOW_OTHERS},
        )

    def _stages(self) -> None:
        rgb = self._time("decode", rgb_from_message, self.message)
        tensor = self._time("encode", self.enhancer.encode, rgb, CAPTURE)
        output = self._time("inference", self.enhancer.infer, tensor)
        maps, small = self._time("tones", toned, self.enhancer.model_input, output, tensor, rgb)
        correction = self._time("steady", self.steady, maps, small, self.stamp_ns, SMOOTHING_S)
        enhanced = self._time("upsample", self.enhancer.apply, maps, small, rgb, correction)
        self._time("message build", self._build, enhanced)

    def _total(self) -> None:
        frame = self.stream.process(self.message, time.time_ns())
        fill_message(empty_message(), frame.rgb, frame.encoding, frame.header)

    def _way_up(self, way: Upsampling) -> None:
        enlarge(self.maps, self.small, self.rgb, way, self.local_affine)

    def _build(self, enhanced: NDArray[np.uint8]) -> None:
        fill_message(empty_message(), enhanced, "bgr8", self.message.header)

    def _time(self, name: str, function: Callable[..., Any], *arguments: Any) -> Any:
        start = time.perf_counter_ns()
        result = function(*arguments)
        self.times_ns[name].append(time.perf_counter_ns() - start)
        return result


def empty_message() -> SimpleNamespace:
    """The attributes of a fresh sensor_msgs/Image; its data is an ``array``, as in rclpy."""
    return SimpleNamespace(header=None, height=0, width=0, encoding="", is_bigendian=0, step=0, data=array("B"))


def image_message(bgr: Bgr) -> SimpleNamespace:
    """A bgr8 image message of it."""
    message = empty_message()
    message.header = SimpleNamespace(stamp=SimpleNamespace(sec=1, nanosec=0), frame_id="camera")
    message.height, message.width, message.encoding, message.step = *bgr.shape[:2], "bgr8", bgr.shape[1] * 3
    message.data.frombytes(bgr.tobytes())
    return message


@contextmanager
def _opencv_threads(threads: int) -> Iterator[None]:
    before = cv2.getNumThreads()
    cv2.setNumThreads(threads)
    try:
        yield
    finally:
        cv2.setNumThreads(before)
