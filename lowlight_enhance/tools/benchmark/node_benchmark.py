"""`lowlight bench --node`: measure the node between a camera and a listener, and the pipeline in this process.

The reference is an ``Enhancer`` in this process. It enhances the frames that the camera publishes, at the camera's
rate. Each round streams frames through the node and then the same number through the reference, so that a change in
the speed of the machine affects both.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lowlight_enhance.core.enhancement.enhancer import Enhancer
from lowlight_enhance.core.errors import ConfigError
from lowlight_enhance.core.inference.model_input import Rgb
from lowlight_enhance.core.inference.runtimes import runtime_version
from lowlight_enhance.core.inference.session import Runtime
from lowlight_enhance.core.malloc import reuse_image_buffers
from lowlight_enhance.core.process_info import (
    available_cores,
    process_cpu_s,
    processor_name,
    require_proc,
    system_cpu_s,
)
from lowlight_enhance.tools.benchmark.node_report import NodeBenchmark, Round, SizeResult, summarize
from lowlight_enhance.tools.benchmark.pipeline_benchmark import DEFAULT_SIZES, check_sizes
from lowlight_enhance.tools.harness.harness import CAPTURE, NodeHarness, require_rclpy, synthetic_frames

WARM_UP_S = 1.0
RENDER_TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True)
class NodeBenchmarkSettings:
    """Options of the benchmark.

    Attributes:
        sizes: (width, height) of the frames.
        rate_hz: frame rate of the camera, 1 to 240.
        seconds: length of each stream, 0.5 to 600.
        rounds: number of rounds for each size.
        threads: CPU threads of inference, in the node and in the reference; None: the runtime decides.
        model: ONNX file; None: the default model.
        runtime: library that runs the network.

    Raises:
        ConfigError: a value is out of range.
    """

    sizes: Sequence[tuple[int, int]] = DEFAULT_SIZES
    rate_hz: int = 30
    seconds: float = 5.0
    rounds: int = 6
    threads: int | None = None
    model: Path | None = None
    runtime: Runtime = "onnxruntime"

    def __post_init__(self) -> None:
        check_sizes(self.sizes)
        if self.rounds < 1:
            raise ConfigError(f"--rounds {self.rounds}: give at least 1")
        if not 1 <= self.rate_hz <= 240:
            raise ConfigError(f"--hz {self.rate_hz}: give 1 to 240 frames per second")
        if not (math.isfinite(self.seconds) and 0.5 <= self.seconds <= 600.0):
            raise ConfigError(f"--seconds {self.seconds:g}: give 0.5 to 600")


def benchmark_node(settings: NodeBenchmarkSettings, progress: Callable[[str], None] = print) -> NodeBenchmark:
    """Measure the node.

    Args:
        settings: the options.
        progress: called with one line of text at each step.

    Raises:
        LowlightError: the system is not Linux, rclpy is missing, the model or the runtime cannot be used, or no frame
            arrives.
    """
    require_proc()
    require_rclpy()
    reuse_image_buffers()  # as the node does
    enhancer = Enhancer(settings.model, threads=settings.threads, runtime=settings.runtime)
    enhancer.warm_up()
    parameters: dict[str, object] = {
        "model": enhancer.path.resolve(),
        "runtime": settings.runtime,
        "threads": settings.threads or 0,
    }
    with NodeHarness(parameters) as harness:
        progress("starting camera, node and listener, three processes over Fast DDS")
        harness.wait_for_first_frame()
        benchmark = _Benchmark(harness, enhancer, settings, progress)
        sizes = tuple(benchmark.measure_size(width, height) for width, height in settings.sizes)
    return NodeBenchmark(
        model=enhancer.path.name,
        sha256=enhancer.sha256,
        runtime=runtime_version(settings.runtime),
        providers=enhancer.providers,
        threads=settings.threads or 0,
        rounds=settings.rounds,
        seconds=settings.seconds,
        machine=f"{available_cores()} cores of {processor_name()}",
        sizes=sizes,
    )


class _Benchmark:
    """Measures the node in a running harness, and the reference."""

    def __init__(
        self,
        harness: NodeHarness,
        enhancer: Enhancer,
        settings: NodeBenchmarkSettings,
        progress: Callable[[str], None],
    ) -> None:
        self.harness, self.enhancer, self.settings, self.progress = harness, enhancer, settings, progress
        self.rate_hz = settings.rate_hz
        self.frames = max(1, round(settings.rate_hz * settings.seconds))

    def measure_size(self, width: int, height: int) -> SizeResult:
        """Measure all rounds of one size, after a warm-up."""
        self.harness.request("camera", "set_frames", RENDER_TIMEOUT_S, width=width, height=height)
        camera_frames: list[Rgb] = [bgr[:, :, ::-1].copy() for bgr in synthetic_frames(width, height)]
        warm_up = max(1, round(WARM_UP_S * self.rate_hz))
        self.harness.stream(self.rate_hz, warm_up)
        self._run_reference(camera_frames, warm_up)
        rounds = []
        for number in range(1, self.settings.rounds + 1):
            self.progress(f"{width}x{height}, round {number} of {self.settings.rounds}")
            rounds.append(self._run_round(camera_frames))
        return summarize(width, height, self.rate_hz, rounds)

    def _run_round(self, camera_frames: Sequence[Rgb]) -> Round:
        log, pid = self.harness.log, self.harness.node.process.pid
        cpu_before_s = process_cpu_s(pid)
        received = self.harness.stream(self.rate_hz, self.frames)
        node_cpu_s = process_cpu_s(pid) - cpu_before_s
        latencies_ms, times_ns = log.latencies_ms(), sorted(log.received[stamp] for stamp in log.arrived())
        self.harness.node_counters()  # waits for diagnostics that cover this round
        reference_ms, reference_cpu_ms, other_load = self._run_reference(camera_frames, self.frames)
        return Round(
            sent=self.frames,
            latencies_ms=latencies_ms,
            output_hz=1e9 * (received - 1) / (times_ns[-1] - times_ns[0]) if received > 1 else math.nan,
            processing_ms=_to_float(log.diagnostics.get("processing_median_ms", "")),
            age_ms=_to_float(log.diagnostics.get("latency_p99_ms", "")),
            node_cpu_ms=1e3 * node_cpu_s / received if received else math.nan,
            reference_ms=reference_ms,
            reference_cpu_ms=reference_cpu_ms,
            other_load=other_load,
        )

    def _run_reference(self, camera_frames: Sequence[Rgb], frames: int) -> tuple[tuple[float, ...], float, float]:
        """Run frames through the pipeline in this process.

        Returns:
            Time of each frame in ms; mean CPU time per frame in ms; share of the machine that other processes used.
        """
        times_ns, cpu_ns = [], 0
        busy_before_s, own_before_s, start_s = system_cpu_s(), time.process_time(), time.perf_counter()
        for number in range(frames):
            time.sleep(max(0.0, start_s + number / self.rate_hz - time.perf_counter()))
            cpu_before_ns, before_ns = time.process_time_ns(), time.perf_counter_ns()
            self.enhancer(camera_frames[number % len(camera_frames)], CAPTURE)
            times_ns.append(time.perf_counter_ns() - before_ns)
            cpu_ns += time.process_time_ns() - cpu_before_ns
        elapsed_s = time.perf_counter() - start_s
        others_s = system_cpu_s() - busy_before_s - (time.process_time() - own_before_s)
        other_load = max(0.0, others_s / (elapsed_s * (os.cpu_count() or 1)))
        return tuple(ns / 1e6 for ns in times_ns), cpu_ns / 1e6 / frames, other_load


def _to_float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
