"""Observed: an ``Enhance`` of which each call leaves its measures."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lowlight_enhance.core.enhancement.enhancer import Enhance
from lowlight_enhance.core.inference.model_input import Rgb, to_8_bit
from lowlight_enhance.core.metadata.capture import CaptureMetadata
from lowlight_enhance.evaluation.report.content import Looks
from lowlight_enhance.evaluation.report.measures import looks


@dataclass(frozen=True, slots=True)
class Call:
    """What one call took and gave."""

    before: Looks
    after: Looks
    latency_ms: float


class Observed:
    """The same ``Enhance``.

    Attributes:
        enhance: what it calls.
        calls: those so far.
    """

    def __init__(self, enhance: Enhance) -> None:
        self.calls: list[Call] = []
        self.enhance = enhance

    def __call__(self, rgb: Rgb, capture: CaptureMetadata) -> NDArray[np.uint8]:
        """Enhance a frame, and measure it and the result."""
        start = time.perf_counter_ns()
        enhanced = self.enhance(rgb, capture)
        taken_ms = (time.perf_counter_ns() - start) / 1e6
        self.calls.append(Call(looks(to_8_bit(rgb)), looks(enhanced), taken_ms))
        return enhanced
