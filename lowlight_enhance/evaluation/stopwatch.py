"""Stopwatch: how long the halves of a ``MapEnhance`` take."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from lowlight_enhance.core.enhancement.enhancer import MapEnhance
from lowlight_enhance.core.inference.model_input import Rgb, Tensor
from lowlight_enhance.core.metadata.capture import CaptureMetadata

T = TypeVar("T")


class Stopwatch:
    """The same ``MapEnhance``, timed."""

    def __init__(self, enhance: MapEnhance) -> None:
        self._enhance = enhance
        self._taken_ns: dict[str, int] = {}

    def __call__(self, rgb: Rgb, capture: CaptureMetadata) -> NDArray[np.uint8]:
        """Both halves."""
        return self.apply(*self.maps(rgb, capture), rgb)

    def maps(self, rgb: Rgb, capture: CaptureMetadata) -> tuple[Tensor, Tensor]:
        """First half, the stage ``network``: shrink, encode, infer."""
        return self._timed("network", lambda: self._enhance.maps(rgb, capture))

    def apply(self, maps: Tensor, small: Tensor, rgb: Rgb, correction: Tensor | None = None) -> NDArray[np.uint8]:
        """Second half, the stage ``upsample``."""
        return self._timed("upsample", lambda: self._enhance.apply(maps, small, rgb, correction))

    def untouched(self, rgb: Rgb) -> NDArray[np.uint8]:
        """The frame as it is; no stage."""
        return self._enhance.untouched(rgb)

    def lap_ns(self) -> dict[str, int]:
        """Nanoseconds by stage since the last call."""
        taken, self._taken_ns = self._taken_ns, {}
        return taken

    def _timed(self, stage: str, work: Callable[[], T]) -> T:
        start = time.perf_counter_ns()
        try:
            return work()
        finally:
            self._taken_ns[stage] = self._taken_ns.get(stage, 0) + time.perf_counter_ns() - start
