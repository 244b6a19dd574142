"""MeasuredEnhance: an ``Enhance`` that records statistics and the latency of each call."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lowlight_enhance.core.enhancement.enhancer import Enhance
from lowlight_enhance.core.inference.model_input import Rgb, to_8_bit
from lowlight_enhance.core.metadata.capture import CaptureMetadata
from lowlight_enhance.evaluation.image_statistics import ImageStatistics, image_statistics


@dataclass(frozen=True, slots=True)
class MeasuredCall:
    """Statistics of the input and the output of one call, and its latency."""

    input: ImageStatistics
    output: ImageStatistics
    latency_ms: float


class MeasuredEnhance:
    """Wrapper of an ``Enhance``.

    Attributes:
        enhance: the wrapped ``Enhance``.
        calls: measurements of the calls so far.
    """

    def __init__(self, enhance: Enhance) -> None:
        self.calls: list[MeasuredCall] = []
        self.enhance = enhance

    def __call__(self, rgb: Rgb, capture: CaptureMetadata) -> NDArray[np.uint8]:
        """Enhance an (H, W, 3) frame and measure input, output and latency."""
        start = time.perf_counter_ns()
        enhanced = self.enhance(rgb, capture)
        latency_ms = (time.perf_counter_ns() - start) / 1e6
        self.calls.append(MeasuredCall(image_statistics(to_8_bit(rgb)), image_statistics(enhanced), latency_ms))
        return enhanced
