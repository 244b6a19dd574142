"""StageTimer: measure the duration of both steps of a ``FrameEnhancer``."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from lowlight_enhance.core.enhancement.enhancer import FrameEnhancer
from lowlight_enhance.core.enhancement.maps import EnhancementMaps
from lowlight_enhance.core.inference.model_input import Rgb, Tensor
from lowlight_enhance.core.metadata.capture import CaptureMetadata

T = TypeVar("T")


class StageTimer:
    """Wrapper of a ``FrameEnhancer`` that sums the time of each stage."""

    def __init__(self, enhance: FrameEnhancer) -> None:
        self._enhance = enhance
        self._elapsed_ns: dict[str, int] = {}

    def __call__(self, rgb: Rgb, capture: CaptureMetadata) -> NDArray[np.uint8]:
        """Run both stages."""
        return self.apply(self.maps(rgb, capture), rgb)

    def maps(self, rgb: Rgb, capture: CaptureMetadata, frame_count: Tensor | None = None) -> EnhancementMaps:
        """Stage ``network``: resize, encode and infer."""
        return self._timed("network", lambda: self._enhance.maps(rgb, capture, frame_count))

    def apply(self, maps: EnhancementMaps, rgb: Rgb, correction: Tensor | None = None) -> NDArray[np.uint8]:
        """Stage ``upsample``: apply the maps at full size."""
        return self._timed("upsample", lambda: self._enhance.apply(maps, rgb, correction))

    def unchanged(self, rgb: Rgb) -> NDArray[np.uint8]:
        """Return the frame unchanged; not timed."""
        return self._enhance.unchanged(rgb)

    def take_ns(self) -> dict[str, int]:
        """Return nanoseconds by stage since the last call, and reset them."""
        elapsed, self._elapsed_ns = self._elapsed_ns, {}
        return elapsed

    def _timed(self, stage: str, work: Callable[[], T]) -> T:
        start = time.perf_counter_ns()
        try:
            return work()
        finally:
            self._elapsed_ns[stage] = self._elapsed_ns.get(stage, 0) + time.perf_counter_ns() - start
