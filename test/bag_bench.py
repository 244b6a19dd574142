"""How long a bag takes against the bare model: python test/bag_bench.py [--frames 300] [--storage mcap] [--model M]

A bag of 640x480 frames is enhanced by one worker. Every so many frames it stands still while the bare model is timed
on as many, so that a machine that slows down slows both alike; that time does not count as the bag's.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import bag_maker
import numpy as np
from bag_maker import FIRST_NS, IMAGE, PERIOD_NS, Sent, T, header

from lowlight_enhance.bags import Bag
from lowlight_enhance.core.capture import CaptureMetadata
from lowlight_enhance.core.enhancer import Enhancer, open_enhancer
from lowlight_enhance.core.malloc import keep_image_buffers
from lowlight_enhance.core.shipped import find_model
from lowlight_enhance.core.stream import StreamConfig
from lowlight_enhance.offline.bag import copy_enhanced
from lowlight_enhance.offline.bag_settings import BagSettings
from lowlight_enhance.offline.bench import dark_frame

HEIGHT, WIDTH = 480, 640
EVERY = 30
CAPTURE = CaptureMetadata(1600.0, 1.0 / 30.0)


class Turns:
    """Is told of every frame, and lets the bare model have its turn."""

    def __init__(self, enhancer: Enhancer, rgb: Any) -> None:
        tensor = enhancer.encode(rgb, CAPTURE)
        self._bare = {
            "bare inference": lambda: enhancer.infer(tensor),
            "bare pipeline": lambda: enhancer(rgb, CAPTURE),
        }
        self._frames = 0
        self.spent = {name: np.zeros(2) for name in self._bare}

    def __call__(self, frames: int) -> None:
        self._frames += frames
        if self._frames % EVERY == 0:
            for name, call in self._bare.items():
                start = clocks()
                for _ in range(EVERY):
                    call()
                self.spent[name] += clocks() - start


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
        sent.append(Sent("/camera/image_raw", stamp, IMAGE, message))
    return bag_maker.write_bag(folder, sent, storage)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--storage", default="sqlite3")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--model")
    parser.add_argument("--smoothing-s", type=float, default=StreamConfig().smoothing_s)
    options = parser.parse_args()
    keep_image_buffers()
    frame = dark_frame(WIDTH, HEIGHT, CAPTURE)
    settings = BagSettings(stream=StreamConfig(smoothing_s=options.smoothing_s))
    with tempfile.TemporaryDirectory() as folder:
        source = write_night(Path(folder) / "in", frame, options.frames, options.storage)
        enhancer = open_enhancer(model=find_model(options.model), threads=options.threads)
        enhancer.warm_up()
        turns = Turns(enhancer, frame)
        start = clocks()
        with Bag(source) as bag:
            copy_enhanced(bag, Path(folder) / "out", enhancer, settings, turns)
        spent = {"bag": clocks() - start - sum(turns.spent.values()), **turns.spent}
    for name, seconds in spent.items():
        each_ms, ratio = 1000.0 * seconds / options.frames, spent["bag"] / seconds
        print("{:<15} {:6.1f} ms a frame, {:6.1f} ms of CPU".format(name, *each_ms), end="; ")
        print("bag against it {:.2f}, CPU {:.2f}".format(*ratio))


if __name__ == "__main__":
    main()
