"""What the demo's camera sees: a pan over photographs that scikit-image ships, and the dark frames made of it.

Frame ``index`` of a clip is a pure function of the clip, so that the score is taken against exactly what was sent.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from lowlight_enhance.core.errors import ConfigError
from lowlight_enhance.core.metadata.capture import CaptureMetadata
from lowlight_enhance.simulation.low_light import SENSORS, DarkExposure, darken

Picture = NDArray[np.uint8]
"""(H, W, 3) uint8 RGB."""

WIDTH, HEIGHT = 640, 480
MARGIN = 1.25
"""A photograph is enlarged until it covers the frame this many times each way: room to pan."""

SENSOR = SENSORS["CanonEOS700D"]
"""The noisiest of those that are calibrated, and still larger than a robot's."""

SEED = 20


@dataclass(frozen=True, slots=True)
class Take:
    """One photograph and how badly it is exposed.

    Attributes:
        photo: name of a function of ``skimage.data``.
        stops: how far under-exposed.
        capture: what the camera says of the exposure.
    """

    photo: str
    stops: float
    capture: CaptureMetadata

    def __str__(self) -> str:
        assert self.capture.iso is not None
        assert self.capture.exposure_s is not None
        return f"{self.stops:g} stops under, ISO {self.capture.iso:.0f}, 1/{1.0 / self.capture.exposure_s:.0f} s"


TAKES = (
    Take("coffee", 3.0, CaptureMetadata(1600.0, 1.0 / 60.0)),
    Take("astronaut", 4.0, CaptureMetadata(3200.0, 1.0 / 60.0)),
    Take("chelsea", 3.5, CaptureMetadata(3200.0, 1.0 / 40.0)),
    Take("stereo_motorcycle", 4.0, CaptureMetadata(1600.0, 1.0 / 40.0)),
)


@dataclass(frozen=True, slots=True)
class Clip:
    """``TAKES`` one after the other in ``seconds`` seconds at ``rate_hz``."""

    rate_hz: int
    seconds: float

    def __len__(self) -> int:
        return max(1, round(self.rate_hz * self.seconds))

    def take(self, index: int) -> Take:
        """What frame ``index`` shows."""
        return TAKES[index * len(TAKES) // len(self)]

    def reference(self, index: int) -> Picture:
        """The well-exposed window of frame ``index``, (480, 640, 3)."""
        take = self.take(index)
        photo = load_photo(take.photo)
        first = -(-TAKES.index(take) * len(self) // len(TAKES))
        phase = (index - first) / max(1.0, len(self) / len(TAKES))
        left = round((photo.shape[1] - WIDTH) * (0.5 - 0.5 * math.cos(math.pi * phase)))
        top = round((photo.shape[0] - HEIGHT) * phase)
        return np.ascontiguousarray(photo[top : top + HEIGHT, left : left + WIDTH])

    def dark(self, index: int) -> Picture:
        """The frame that the camera publishes, with noise of its own, (480, 640, 3)."""
        take = self.take(index)
        exposure = DarkExposure(take.stops, take.capture, SENSOR)
        return darken(self.reference(index), exposure, np.random.default_rng([SEED, self.rate_hz, index]))


@lru_cache(maxsize=len(TAKES))
def load_photo(name: str) -> Picture:
    """A photograph out of the scikit-image package, large enough to pan in; nothing is downloaded.

    Raises:
        ConfigError: scikit-image is not installed.
    """
    try:
        import skimage.data
    except ImportError as error:
        raise ConfigError(
            "the demo takes its photographs from scikit-image, which is not installed: "
            "pip install 'lowlight_enhance[demo]'"
        ) from error
    loaded = getattr(skimage.data, name)()
    photo = loaded[0] if isinstance(loaded, tuple) else loaded
    scale = max(MARGIN * WIDTH / photo.shape[1], MARGIN * HEIGHT / photo.shape[0])
    size = (math.ceil(photo.shape[1] * scale), math.ceil(photo.shape[0] * scale))
    return np.asarray(cv2.resize(photo, size, interpolation=cv2.INTER_CUBIC), dtype=np.uint8)
