"""Enhance bags in the test's own process, with an enhancer that records its calls."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from lowlight_enhance.core.metadata.capture import CaptureMetadata
from lowlight_enhance.tools.bags.enhance import enhance_open_bag
from lowlight_enhance.tools.bags.recording import Bag
from lowlight_enhance.tools.bags.settings import BagReport, BagSettings


class DoublingEnhancer:
    """Doubles every pixel and records the capture metadata of each frame."""

    def __init__(self) -> None:
        self.captures: list[CaptureMetadata] = []

    def __call__(self, rgb: Any, capture: CaptureMetadata) -> Any:
        self.captures.append(capture)
        return np.minimum(2 * rgb.astype(np.uint16), 255).astype(np.uint8)

    @property
    def capture_values(self) -> list[tuple[float | None, float | None]]:
        return [(capture.iso, capture.exposure_s) for capture in self.captures]


def enhance_in_process(source: Path, target: Path, enhance: Any = None, **settings: Any) -> BagReport:
    with Bag(source) as bag:
        return enhance_open_bag(bag, target, enhance or DoublingEnhancer(), BagSettings(**settings), lambda _: None)
