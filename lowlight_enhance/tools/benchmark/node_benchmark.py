"""`lowlight bench --node`: camera, node and listener over Fast DDS, in turn with the bare pipeline in this process.

The bare pipeline is an ``Enhancer`` on the frames that the camera shows, at the camera's rate. Each turn lets frames
flow and then runs as many through the bare pipeline, so that a machine that slows down slows both.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from lowlight_enhance.core.enhancement.enhancer import Enhancer, open_enhancer
from lowlight_enhance.core.errors import ConfigError
from lowlight_enhance.core.files import replacing
from lowlight_enhance.core.inference.model_input import Rgb
from lowlight_enhance.core.inference.sessions import Runtime, runtime_version
from lowlight_enhance.core.malloc import keep_image_buffers
from lowlight_enhance.core.process_info import busy_s, check_proc, cores, cpu_s, processor_name
from lowlight_enhance.tools.benchmark.node_report import NodeBench, SizeFigures, Turn, figures
from lowlight_enhance.tools.harness.harness import (
    CAPTURE,
    Log,
    ask,
    check_rclpy,
    counts,
    meet,
    members,
    pictures,
    send,
)
from lowlight_enhance.tools.harness.processes import Crew, sigterm_as_exit

DEFAULT_SIZES = ((640, 480), (1280, 720))
DEFAULT_HZ, DEFAULT_SECONDS, DEFAULT_ROUNDS = 30, 5.0, 6
SMALLEST = 16
WARM_UP_S = 1.0
RENDER_S = 60.0

Say = Callable[[str], None]


def run(
    sizes: Sequence[tuple[int, int]] = DEFAULT_SIZES,
    rate_hz: int = DEFAULT_HZ,
    seconds: float = DEFAULT_SECONDS,
    rounds: int = DEFAULT_ROUNDS,
    threads: int | None = None,
    model: Path | None = None,
    runtime: Runtime = "onnxruntime",
    say: Say = print,
) -> NodeBench:
    """Measure.

    Args:
        sizes: (width, height) of each frame.
        rate_hz: of the camera.
        seconds: of the camera in each turn.
        rounds: turns of each size.
        threads: of the inference, in the node and bare; None leaves them at the node's default.
        model: ONNX file; None for the default.
        runtime: whose inference.
        say: where lines about the progress go.

    Raises:
        LowlightError: a value out of range, no usable model or runtime, or no frame came through.
    """
    check(sizes, rate_hz, seconds, rounds)
    keep_image_buffers()  # as the node does
    enhancer = open_enhancer(runtime, model, threads=threads)
    enhancer.warm_up()
    parameters: dict[str, object] = {"model": enhancer.path.resolve(), "runtime": runtime, "threads": threads or 0}
    log = Log()
    with sigterm_as_exit(), Crew(members(parameters), log.note) as crew:
        say("starting camera, node and listener, three processes over Fast DDS")
        meet(crew, log)
        bench = _Bench(crew, log, enhancer, rate_hz, max(1, round(rate_hz * seconds)), say)
        measured = tuple(bench.measure(width, height, rounds) for width, height in sizes)
    return NodeBench(
        model=enhancer.path.name,
        sha256=enhancer.sha256,
        runtime=runtime_version(runtime),
        providers=enhancer.providers,
        threads=threads or 0,
        rounds=rounds,
        seconds=seconds,
        machine=f"{cores()} cores of {processor_name()}",
        sizes=measured,
    )


def check(sizes: Sequence[tuple[int, int]], rate_hz: int, seconds: float, rounds: int) -> None:
    """Raise ConfigError for what cannot work before any process is started."""
    for width, height in sizes:
        if min(width, height) < SMALLEST:
            raise ConfigError(f"size {width}x{height}: give at least {SMALLEST}x{SMALLEST}")
    if not sizes or rounds < 1:
        raise ConfigError(f"rounds {rounds}, {len(sizes)} sizes: give at least one of each")
    if not 1 <= rate_hz <= 240:
        raise ConfigError(f"--hz {rate_hz}: give 1 to 240 frames a second")
    if not (math.isfinite(seconds) and 0.5 <= seconds <= 600.0):
        raise ConfigError(f"--seconds {seconds:g}: give 0.5 to 600")
    check_proc()
    check_rclpy()


def write_json(result: NodeBench, target: Path) -> None:
    """Write the figures for another program to read.

    Raises:
        DataError: the target cannot be written.
    """
    with replacing(target) as temporary:
        temporary.write_text(result.to_json() + "\n")


class _Bench:
    """A crew that has met, and the bare pipeline beside it."""

    def __init__(self, crew: Crew, log: Log, enhancer: Enhancer, rate_hz: int, frames: int, say: Say) -> None:
        self.crew, self.log, self.enhancer, self.say = crew, log, enhancer, say
        self.rate_hz, self.frames = rate_hz, frames

    def measure(self, width: int, height: int, rounds: int) -> SizeFigures:
        """All turns of one size; what runs for the first time is not counted."""
        ask(self.crew, self.log, "camera", RENDER_S, do="show", width=width, height=height)
        shown: list[Rgb] = [bgr[:, :, ::-1].copy() for bgr in pictures(width, height)]
        warm_up = max(1, round(WARM_UP_S * self.rate_hz))
        send(self.crew, self.log, self.rate_hz, warm_up)
        self._bare(shown, warm_up)
        turns = []
        for number in range(rounds):
            self.say(f"{width}x{height}, turn {number + 1} of {rounds}")
            turns.append(self._turn(shown))
        return figures(width, height, self.rate_hz, turns)

    def _turn(self, shown: Sequence[Rgb]) -> Turn:
        pid = self.crew.children["node"].process.pid
        before = cpu_s(pid)
        out = send(self.crew, self.log, self.rate_hz, self.frames)
        used = cpu_s(pid) - before
        latencies, received = self.log.latencies_ms(), sorted(self.log.received[stamp] for stamp in self.log.arrived())
        counts(self.crew, self.log)
        bare_ms, bare_cpu_ms, others = self._bare(shown, self.frames)
        return Turn(
            sent=self.frames,
            latencies_ms=latencies,
            out_hz=1e9 * (out - 1) / (received[-1] - received[0]) if out > 1 else math.nan,
            processing_ms=_number(self.log.values.get("processing_median_ms", "")),
            age_ms=_number(self.log.values.get("latency_p99_ms", "")),
            node_cpu_ms=1e3 * used / out if out else math.nan,
            bare_ms=bare_ms,
            bare_cpu_ms=bare_cpu_ms,
            others=others,
        )

    def _bare(self, shown: Sequence[Rgb], frames: int) -> tuple[tuple[float, ...], float, float]:
        """Times of the bare pipeline in ms, its CPU time a frame in ms, and the share of the machine others took."""
        times_ns, cpu_ns = [], 0
        busy, own, start = busy_s(), time.process_time(), time.perf_counter()
        for number in range(frames):
            time.sleep(max(0.0, start + number / self.rate_hz - time.perf_counter()))
            cpu, begun = time.process_time_ns(), time.perf_counter_ns()
            self.enhancer(shown[number % len(shown)], CAPTURE)
            times_ns.append(time.perf_counter_ns() - begun)
            cpu_ns += time.process_time_ns() - cpu
        elapsed = time.perf_counter() - start
        others = (busy_s() - busy - (time.process_time() - own)) / (elapsed * (os.cpu_count() or 1))
        return tuple(ns / 1e6 for ns in times_ns), cpu_ns / 1e6 / frames, max(0.0, others)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
