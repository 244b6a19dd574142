"""`lowlight bench`: time each stage of a frame, and compare with inference alone and with methods of OpenCV.

Rounds are interleaved: each call is timed once per round, so that a change in the speed of the machine affects all
calls alike. The results are medians. To time another stage, add one line to ``_SizeBenchmark._run_stages``.
"""

from __future__ import annotations

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
from lowlight_enhance.tools.benchmark.pipeline_report import PipelineBenchmark, SizeTimings

DEFAULT_SIZES = ((640, 480), (1280, 720))
OTHER_UPSAMPLING: tuple[Upsampling, ...] = ("guided", "gain", "resize")
"""Upsampling methods that are timed beside the model's own."""

MIN_SIDE = 16
SLOW_ROUNDS = 3
"""Rounds that include OpenCV's denoiser, which takes about a second per frame."""

CAPTURE = CaptureMetadata(iso=3200.0, exposure_s=1.0 / 30.0)
Bgr = NDArray[np.uint8]


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
