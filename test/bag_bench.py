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
from lowlight_enhance.offline.bag import copy_enhanced
from lowlight_enhance.offline.bag_settings import BagSettings
from lowlight_enhance.offline.bench import dark_frame

HEIGHT, WIDTH = 480, 640
EVERY = 30
CAPTURE = CaptureMetadata(1600.0, 1.0 / 30.0)


class Turns:
    """Is told of every frame, and lets the bare model have its turn."""

    def __init__(self, enhancer: Enhancer, rgb: Any) -> None:
        self._enhancer, self._rgb, self._tensor = enhancer, rgb, enhancer.encode(rgb, CAPTURE)
        self._frames = 0
        self.inference_s = self.pipeline_s = 0.0

    def __call__(self, frames: int) -> None:
        self._frames += frames
        if self._frames % EVERY == 0:
            start = time.perf_counter()
            for _ in range(EVERY):
                self._enhancer.infer(self._tensor)
            middle = time.perf_counter()
            for _ in range(EVERY):
                self._enhancer(self._rgb, CAPTURE)
            self.inference_s += middle - start
            self.pipeline_s += time.perf_counter() - middle


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--storage", default="sqlite3")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--model")
    options = parser.parse_args()
    keep_image_buffers()
    frame = dark_frame(WIDTH, HEIGHT, CAPTURE)
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        sent = []
        for number in range(options.frames):
            stamp = FIRST_NS + number * PERIOD_NS
            noisy = np.clip(frame + rng.integers(-3, 4, frame.shape), 0, 255).astype(np.uint8)
            message = T[IMAGE](header(stamp), HEIGHT, WIDTH, "bgr8", 0, 3 * WIDTH, noisy.reshape(-1))
            sent.append(Sent("/camera/image_raw", stamp, IMAGE, message))
        source = bag_maker.write_bag(Path(folder) / "in", sent, options.storage)
        enhancer = open_enhancer(model=find_model(options.model), threads=options.threads)
        enhancer.warm_up()
        turns = Turns(enhancer, frame)
        with Bag(source) as bag:
            report = copy_enhanced(bag, Path(folder) / "out", enhancer, BagSettings(), turns)
    bag_s = report.seconds - turns.inference_s - turns.pipeline_s
    each = [1000.0 * seconds / options.frames for seconds in (bag_s, turns.inference_s, turns.pipeline_s)]
    print("ms a frame: bag {:.1f}, bare inference {:.1f}, bare pipeline {:.1f}".format(*each))
    print(f"bag / inference {each[0] / each[1]:.2f}, bag / pipeline {each[0] / each[2]:.2f}")


if __name__ == "__main__":
    main()
