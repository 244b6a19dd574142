"""`lowlight bench`: time each stage of a frame, and compare with inference alone and with methods of OpenCV.

Rounds are interleaved: each call is timed once per round, so that a change in the speed of the machine affects all
calls alike. The results are medians. To time another stage, add one line to ``_SizeBenchmark._run_stages``.
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

from lowlight_enhance.core.enhancement.enhancer import Enhancer, decode_maps
from lowlight_enhance.core.enhancement.temporal_smoothing import SMOOTHING_S, TemporalSmoother
from lowlight_enhance.core.enhancement.upsampling import AffineRenderer, Upsampling, render
from lowlight_enhance.core.errors import ConfigError
from lowlight_enhance.core.health import Health
from lowlight_enhance.core.imaging.messages import fill_message, rgb_from_message
from lowlight_enhance.core.inference.runtimes import runtime_version
from lowlight_enhance.core.inference.session import Runtime
from lowlight_enhance.core.metadata.capture import CaptureMetadata
from lowlight_enhance.core.pipeline import NS_PER_S, Pipeline, PipelineConfig
from lowlight_enhance.core.process_info import processor_name
from lowlight_enhance.simulation.low_light import dark_frame

DEFAULT_SIZES = ((640, 480), (1280, 720))
OTHER_UPSAMPLING: tuple[Upsampling, ...] = ("guided", "gain", "resize")
"""Upsampling methods that are timed beside the model's own."""

MIN_SIDE = 16
SLOW_ROUNDS = 3
"""Rounds that include OpenCV's denoiser, which takes about a second per frame."""

CAPTURE = CaptureMetadata(iso=3200.0, exposure_s=1.0 / 30.0)
Bgr = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class SizeTimings:
    """Medians for one frame size, in milliseconds.

    Attributes:
        width: columns of the frame.
        height: rows of the frame.
        tensor: shape of the network's input.
        stages_ms: by name of the stage, in the order in which they run.
        total_ms: from an image message to the filled output message, through ``Pipeline``.
        inference_ms: inference alone, with the same session on the same array.
        onnxruntime_ms: inference in ONNX Runtime, if another runtime is measured; else None.
        upsampling_ms: each of ``OTHER_UPSAMPLING`` in place of the stage ``upsample``.
        opencv_ms: methods of OpenCV that brighten or denoise, for comparison.
    """

    width: int
    height: int
    tensor: tuple[int, ...]
    stages_ms: dict[str, float]
    total_ms: float
    inference_ms: float
    onnxruntime_ms: float | None
    upsampling_ms: dict[str, float]
    opencv_ms: dict[str, float]

    @property
    def ratio(self) -> float:
        """Total time divided by inference alone."""
        return self.total_ms / self.inference_ms

    @property
    def speed_up(self) -> float | None:
        """ONNX Runtime's inference time divided by this runtime's."""
        return None if self.onnxruntime_ms is None else self.onnxruntime_ms / self.inference_ms

    @property
    def frames_per_s(self) -> float:
        """Frames per second if frames are processed one after the other."""
        return 1000.0 / self.total_ms


@dataclass(frozen=True, slots=True)
class PipelineBenchmark:
    """Timings of all sizes, and the model, runtime and machine that were measured."""

    model: str
    sha256: str
    runtime: str
    providers: tuple[str, ...]
    threads: int
    rounds: int
    machine: str
    sizes: tuple[SizeTimings, ...]

    def to_json(self) -> str:
        """Return all values, with ratios and frames per second."""
        values = dataclasses.asdict(self)
        for entry, size in zip(values["sizes"], self.sizes, strict=True):
            entry |= {"ratio": size.ratio, "speed_up": size.speed_up, "frames_per_s": size.frames_per_s}
        return json.dumps(values, indent=2)

    def table(self) -> str:
        """Return the results as a text table, one column per size."""
        sizes = self.sizes
        rows: list[tuple[str, list[str]]] = [
            ("median ms per frame", [f"{size.width}x{size.height}" for size in sizes]),
            *_rows([size.stages_ms for size in sizes]),
            ("total", [f"{size.total_ms:.2f}" for size in sizes]),
            ("inference alone", [f"{size.inference_ms:.2f}" for size in sizes]),
            ("total / inference", [f"{size.ratio:.2f}" for size in sizes]),
            ("frames per second", [f"{size.frames_per_s:.1f}" for size in sizes]),
            ("network input", ["x".join(str(side) for side in size.tensor[2:][::-1]) for size in sizes]),
        ]
        if any(size.onnxruntime_ms is not None for size in sizes):
            rows += [
                ("inference in onnxruntime", [_two_digits(size.onnxruntime_ms) for size in sizes]),
                ("onnxruntime / this runtime", [_two_digits(size.speed_up) for size in sizes]),
            ]
        rows += _rows([size.upsampling_ms for size in sizes], "upsample by ")
        rows += _rows([size.opencv_ms for size in sizes], "OpenCV ")
        label = max(len(row[0]) for row in rows)
        lines = [f"{name:<{label}}" + "".join(f"{cell:>12}" for cell in cells) for name, cells in rows]
        head = f"{self.model} ({self.sha256[:12]}), {', '.join(self.providers)}, {self.threads} threads, "
        return "\n".join([head + f"{self.runtime}, {self.rounds} interleaved rounds, {self.machine}", "", *lines])


def _rows(columns: Sequence[dict[str, float]], prefix: str = "") -> list[tuple[str, list[str]]]:
    names = columns[0] if columns else {}
    return [(prefix + name, [f"{column[name]:.2f}" for column in columns]) for name in names]


def _two_digits(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


@dataclass(frozen=True, slots=True)
class PipelineBenchmarkSettings:
    """Options of the benchmark.

    Attributes:
        sizes: (width, height) of the frames.
        rounds: how often each call is timed.
        threads: CPU threads of inference and of OpenCV.
        model: ONNX file; None: the default model.
        runtime: library that runs the network. Any other than ONNX Runtime is compared with it.

    Raises:
        ConfigError: a value is out of range.
    """

    sizes: Sequence[tuple[int, int]] = DEFAULT_SIZES
    rounds: int = 60
    threads: int = 2
    model: Path | None = None
    runtime: Runtime = "onnxruntime"

    def __post_init__(self) -> None:
        check_sizes(self.sizes)
        if self.rounds < 1 or self.threads < 1:
            raise ConfigError(f"--rounds {self.rounds}, --threads {self.threads}: give at least 1")


def check_sizes(sizes: Sequence[tuple[int, int]]) -> None:
    """Raise ConfigError if there is no size, or one is too small."""
    if not sizes:
        raise ConfigError("--sizes: give at least one")
    for width, height in sizes:
        if min(width, height) < MIN_SIDE:
            raise ConfigError(f"size {width}x{height}: give at least {MIN_SIDE}x{MIN_SIDE}")


def benchmark_pipeline(settings: PipelineBenchmarkSettings) -> PipelineBenchmark:
    """Time the pipeline.

    Raises:
        ConfigError: the runtime is not installed.
        ModelError: the model cannot be used.
    """
    model, threads = settings.model, settings.threads
    enhancer = Enhancer(model, threads=threads, runtime=settings.runtime)
    onnxruntime = None if settings.runtime == "onnxruntime" else Enhancer(model, threads=threads)
    with _opencv_threads(threads):
        sizes = [_SizeBenchmark(enhancer, width, height, onnxruntime) for width, height in settings.sizes]
        for number in range(settings.rounds):
            for size in sizes:
                size.run_round(slow=number < SLOW_ROUNDS)
    return PipelineBenchmark(
        model=enhancer.path.name,
        sha256=enhancer.sha256,
        runtime=runtime_version(settings.runtime),
        providers=enhancer.providers,
        threads=threads,
        rounds=settings.rounds,
        machine=f"{processor_name()}, OpenCV {cv2.__version__}",
        sizes=tuple(size.timings() for size in sizes),
    )


def gamma(bgr: Bgr) -> Any:
    """Brighten by ``x ** (1 / 2.2)`` through a table."""
    return cv2.LUT(bgr, _GAMMA)


def clahe(bgr: Bgr) -> Any:
    """Contrast-limited adaptive histogram equalization of the lightness."""
    lightness, a, b = cv2.split(cv2.cvtColor(bgr, cv2.COLOR_BGR2LAB))
    equalized = cv2.createCLAHE(clipLimit=3.0, tileGridSize=(8, 8)).apply(lightness)
    return cv2.cvtColor(cv2.merge((equalized, a, b)), cv2.COLOR_LAB2BGR)


def non_local_means(bgr: Bgr) -> Any:
    """OpenCV's colour denoiser with its default windows."""
    return cv2.fastNlMeansDenoisingColored(bgr, None, 10, 10, 7, 21)


_GAMMA = np.rint(255.0 * (np.arange(256) / 255.0) ** (1.0 / 2.2)).astype(np.uint8)
OPENCV_METHODS: dict[str, Callable[[Bgr], Any]] = {"gamma table": gamma, "CLAHE": clahe}
SLOW_OPENCV_METHODS: dict[str, Callable[[Bgr], Any]] = {"fastNlMeansDenoisingColored": non_local_means}


class Timer:
    """Collects the duration of calls by name."""

    def __init__(self) -> None:
        self.times_ns: dict[str, list[int]] = defaultdict(list)

    def __call__(self, name: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call the function and return its result."""
        start_ns = time.perf_counter_ns()
        result = function(*arguments)
        self.times_ns[name].append(time.perf_counter_ns() - start_ns)
        return result

    def medians_ms(self) -> dict[str, float]:
        """Return the median of each name."""
        return {name: statistics.median(times) / 1e6 for name, times in self.times_ns.items()}


class _SizeBenchmark:
    """The timed calls for one frame size."""

    def __init__(self, enhancer: Enhancer, width: int, height: int, onnxruntime: Enhancer | None = None) -> None:
        self.enhancer, self.width, self.height, self.onnxruntime = enhancer, width, height, onnxruntime
        self.stamp_ns = NS_PER_S
        self.message = image_message(dark_frame(width, height, CAPTURE))
        self.stream = Pipeline(enhancer, PipelineConfig(fallback=CAPTURE), Health())
        self.rgb = rgb_from_message(self.message)
        self.tensor = enhancer.encode(self.rgb, CAPTURE)
        self.maps = decode_maps(enhancer.model_input, enhancer.infer(self.tensor), self.tensor, self.rgb)
        self.renderer, self.smoother = AffineRenderer(), TemporalSmoother()
        self._reset()
        for _ in range(2):  # warm up
            self.run_round(slow=False)
        self._reset()

    def _reset(self) -> None:
        self.stages, self.whole, self.upsampling, self.opencv = Timer(), Timer(), Timer(), Timer()

    def run_round(self, slow: bool) -> None:
        """Time each call once, on a frame whose stamp is 1/30 s after the previous one."""
        self.stamp_ns += NS_PER_S // 30
        stamp = self.message.header.stamp
        stamp.sec, stamp.nanosec = divmod(self.stamp_ns, NS_PER_S)
        self._run_stages(self.stages)
        self.whole("total", self._run_stream)
        self.whole("inference", self.enhancer.infer, self.tensor)
        if self.onnxruntime is not None:
            self.whole("onnxruntime", self.onnxruntime.infer, self.tensor)
        for method in OTHER_UPSAMPLING:
            self.upsampling(method, render, self.maps, self.rgb, method, self.renderer)
        bgr = np.frombuffer(self.message.data, np.uint8).reshape(self.height, self.width, 3)
        for name, function in (OPENCV_METHODS | SLOW_OPENCV_METHODS if slow else OPENCV_METHODS).items():
            self.opencv(name, function, bgr)

    def _run_stages(self, time_stage: Timer) -> None:
        """Run the stages of ``Pipeline.process`` one after the other."""
        rgb = time_stage("decode", rgb_from_message, self.message)
        tensor = time_stage("encode", self.enhancer.encode, rgb, CAPTURE)
        output = time_stage("inference", self.enhancer.infer, tensor)
        maps = time_stage("tone preservation", decode_maps, self.enhancer.model_input, output, tensor, rgb)
        correction = time_stage("temporal smoothing", self.smoother, maps, self.stamp_ns, SMOOTHING_S)
        enhanced = time_stage("upsample", self.enhancer.apply, maps, rgb, correction)
        time_stage("fill message", fill_message, empty_message(), enhanced, "bgr8", self.message.header)

    def _run_stream(self) -> None:
        frame = self.stream.process(self.message, time.time_ns())
        fill_message(empty_message(), frame.rgb, frame.encoding, frame.header)

    def timings(self) -> SizeTimings:
        """Return the medians."""
        whole_ms = self.whole.medians_ms()
        return SizeTimings(
            width=self.width,
            height=self.height,
            tensor=tuple(self.tensor.shape),
            stages_ms=self.stages.medians_ms(),
            total_ms=whole_ms["total"],
            inference_ms=whole_ms["inference"],
            onnxruntime_ms=whole_ms.get("onnxruntime"),
            upsampling_ms=self.upsampling.medians_ms(),
            opencv_ms=self.opencv.medians_ms(),
        )


def empty_message() -> SimpleNamespace:
    """Return an object with the attributes of a new sensor_msgs/Image; ``data`` is an ``array``, as in rclpy."""
    return SimpleNamespace(header=None, height=0, width=0, encoding="", is_bigendian=0, step=0, data=array("B"))


def image_message(bgr: Bgr) -> SimpleNamespace:
    """Return a bgr8 image message."""
    message = empty_message()
    message.header = SimpleNamespace(stamp=SimpleNamespace(sec=1, nanosec=0), frame_id="camera")
    message.height, message.width, message.encoding, message.step = *bgr.shape[:2], "bgr8", bgr.shape[1] * 3
    message.data.frombytes(bgr.tobytes())
    return message


@contextmanager
def _opencv_threads(threads: int) -> Iterator[None]:
    """Set OpenCV's number of threads inside the block."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(threads)
    try:
        yield
    finally:
        cv2.setNumThreads(before)
