"""Compare `lowlight bag` with bare inference: ``python test/helpers/bag_benchmark.py [--frames N] [--storage mcap]``.

Runs alternate: one worker enhances a bag of 640x480 frames, then the model alone runs on as many frames. The results
are medians of whole runs.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bag_maker
import numpy as np
from bag_maker import FIRST_NS, IMAGE, PERIOD_NS, BagMessage, T, header

from lowlight_enhance.core.enhancement.enhancer import Enhancer
from lowlight_enhance.core.inference.model_zoo import find_model
from lowlight_enhance.core.malloc import reuse_image_buffers
from lowlight_enhance.core.metadata.capture import CaptureMetadata
from lowlight_enhance.core.pipeline import PipelineConfig
from lowlight_enhance.tools.bags.enhance import enhance_open_bag
from lowlight_enhance.tools.bags.recording import Bag
from lowlight_enhance.tools.bags.settings import BagSettings
from lowlight_enhance.tools.benchmark.pipeline_benchmark import dark_frame

HEIGHT, WIDTH = 480, 640
CAPTURE = CaptureMetadata(1600.0, 1.0 / 30.0)


def clocks() -> Any:
    """Seconds of time, and of all processors for this process."""
    return np.array([time.perf_counter(), time.process_time()])


def write_night(folder: Path, frame: Any, frames: int, storage: str) -> Path:
    rng = np.random.default_rng(0)
    sent = []
    for number in range(frames):
        stamp = FIRST_NS + number * PERIOD_NS
        noisy = np.clip(frame + rng.integers(-3, 4, frame.shape), 0, 255).astype(np.uint8)
        message = T[IMAGE](header(stamp), HEIGHT, WIDTH, "bgr8", 0, 3 * WIDTH, noisy.reshape(-1))
        sent.append(BagMessage("/camera/image_raw", stamp, IMAGE, message))
    return bag_maker.write_bag(folder, sent, storage)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--storage", default="sqlite3")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--model")
    parser.add_argument("--time-constant", type=float, default=PipelineConfig().smoothing_s, dest="smoothing_s")
    options = parser.parse_args()
    reuse_image_buffers()
    frame = dark_frame(WIDTH, HEIGHT, CAPTURE)
    settings = BagSettings(stream=PipelineConfig(smoothing_s=options.smoothing_s))
    with tempfile.TemporaryDirectory() as folder:
        source = write_night(Path(folder) / "in", frame, options.frames, options.storage)
        enhancer = Enhancer(find_model(options.model), threads=options.threads)
        enhancer.warm_up()
        tensor = enhancer.encode(frame, CAPTURE)
        calls: dict[str, Callable[[int], object]] = {
            "bag": lambda turn: enhanced(source, Path(folder) / f"out{turn}", enhancer, settings),
            "bare inference": lambda _: [enhancer.infer(tensor) for _ in range(options.frames)],
            "bare pipeline": lambda _: [enhancer(frame, CAPTURE) for _ in range(options.frames)],
        }
        spent: dict[str, list[Any]] = {name: [] for name in calls}
        for turn in range(options.turns):
            for name, call in calls.items():
                start = clocks()
                call(turn)
                spent[name].append(clocks() - start)
    medians = {name: np.median(turns, axis=0) for name, turns in spent.items()}
    for name, seconds in medians.items():
        each_ms, ratio = 1000.0 * seconds / options.frames, medians["bag"] / seconds
        print("{:<15} {:6.1f} ms a frame, {:6.1f} ms of CPU".format(name, *each_ms), end="; ")
        print("bag against it {:.2f}, CPU {:.2f}".format(*ratio))


def enhanced(source: Path, folder: Path, enhancer: Enhancer, settings: BagSettings) -> None:
    with Bag(source) as bag:
        enhance_open_bag(bag, folder, enhancer, settings, lambda _: None)
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
