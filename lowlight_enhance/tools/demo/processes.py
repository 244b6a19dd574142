"""The demo's camera and listener: ``python -m lowlight_enhance.tools.demo.processes ROLE``; see ``actors``."""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from sensor_msgs.msg import Image

from lowlight_enhance.core.imaging.messages import rgb_from_message, stamp_ns
from lowlight_enhance.core.metadata.capture import CaptureMetadata
from lowlight_enhance.tools.demo.scene import Clip
from lowlight_enhance.tools.harness.nodes import Action, Answer, Camera, Listener, bgr_message, main, obey, serve


class DemoCamera(Camera):
    """Pans over photographs in the dark."""

    def actions(self) -> dict[str, Action]:
        """What it can be told to do."""
        return {**super().actions(), "render": self.render}

    def render(self, rate_hz: int, seconds: float) -> Answer:
        """Make every frame of a clip beforehand: darkening takes longer than a frame lasts."""
        clip = Clip(rate_hz, seconds)

        def frame(index: int) -> tuple[Image, CaptureMetadata]:
            return bgr_message(clip.dark(index)[:, :, ::-1]), clip.take(index).capture

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            self.frames = list(pool.map(frame, range(len(clip))))
        return {"rendered": len(self.frames)}


class DemoListener(Listener):
    """Keeps some frames to be scored later."""

    def __init__(self) -> None:
        super().__init__()
        self.every, self.count = 0, 0
        self.kept: list[Image] = []

    def actions(self) -> dict[str, Action]:
        """What it can be told to do."""
        return {**super().actions(), "keep": self.keep, "save": self.save}

    def keep(self, every: int) -> Answer:
        """From now on keep each ``every``-th frame; 0 keeps none."""
        self.every, self.count, self.kept = every, 0, []
        return {"keeping": every}

    def save(self, folder: str) -> Answer:
        """Write the kept frames, RGB, as ``STAMP.npy``."""
        for message in self.kept:
            np.save(Path(folder) / f"{stamp_ns(message)}.npy", rgb_from_message(message))
        return {"saved": len(self.kept)}

    def on_image(self, message: Image) -> None:
        """Tell of it, and keep it when its turn has come."""
        super().on_image(message)
        if self.every and self.count % self.every == 0:
            self.kept.append(message)
        self.count += 1


if __name__ == "__main__":
    main(sys.argv[1], {"camera": lambda: obey(DemoCamera()), "listener": lambda: serve(DemoListener())})
