"""Camera and listener of the demo: ``python -m lowlight_enhance.tools.demo.nodes ROLE``; see ``harness.nodes``."""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from sensor_msgs.msg import Image

from lowlight_enhance.core.imaging.messages import rgb_from_message, stamp_ns
from lowlight_enhance.core.metadata.capture import CaptureMetadata
from lowlight_enhance.tools.demo.scene import DemoClip
from lowlight_enhance.tools.harness.nodes import ScriptedCamera, ScriptedListener, bgr_message, main
from lowlight_enhance.tools.harness.processes import Message


class DemoCamera(ScriptedCamera):
    """A camera that pans over photographs in the dark."""

    commands = (*ScriptedCamera.commands, "render")

    def render(self, rate_hz: int, seconds: float) -> Message:
        """Render every frame of a clip in advance, because simulating one takes longer than a frame period."""
        clip = DemoClip(rate_hz, seconds)

        def frame(index: int) -> tuple[Image, CaptureMetadata]:
            return bgr_message(clip.dark(index)[:, :, ::-1]), clip.shot(index).capture

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            self.frames = list(pool.map(frame, range(len(clip))))
        return {"frames": len(self.frames)}


class DemoListener(ScriptedListener):
    """A listener that keeps some of the frames for scoring."""

    commands = ("keep", "save")

    def __init__(self) -> None:
        super().__init__()
        self.every, self.count = 0, 0
        self.kept: list[Image] = []

    def keep(self, every: int) -> Message:
        """Keep each ``every``-th frame from now on; 0 keeps none."""
        self.every, self.count, self.kept = every, 0, []
        return {"every": every}

    def save(self, folder: str) -> Message:
        """Write the kept frames as ``STAMP.npy``, (H, W, 3) RGB."""
        for message in self.kept:
            np.save(Path(folder) / f"{stamp_ns(message)}.npy", rgb_from_message(message))
        return {"saved": len(self.kept)}

    def on_image(self, message: Image) -> None:
        """Report the frame, and keep every ``every``-th one."""
        super().on_image(message)
        if self.every and self.count % self.every == 0:
            self.kept.append(message)
        self.count += 1


if __name__ == "__main__":
    main(sys.argv[1], {"camera": DemoCamera, "listener": DemoListener})
