"""Scene of the demo: pans over photographs of scikit-image, and dark frames simulated from them.

A frame depends only on the clip and its index, so the parent process can reproduce the original of each sent frame.
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
from lowlight_enhance.simulation.low_light import DarkExposure, darken
from lowlight_enhance.simulation.sensors import SENSORS

Picture = NDArray[np.uint8]
"""(H, W, 3) uint8 RGB."""

WIDTH, HEIGHT = 640, 480
MARGIN = 1.25
"""A photograph is enlarged to at least this multiple of the frame in each direction, so that the camera can pan."""

SENSOR = SENSORS["CanonEOS700D"]
"""The noisiest of the calibrated sensors; it is still larger than the sensor of a typical robot camera."""

SEED = 20


@dataclass(frozen=True, slots=True)
class DemoShot:
    """One photograph and its exposure.

    Attributes:
        photo: name of a function of ``skimage.data``.
        stops: underexposure.
        capture: metadata that the camera publishes.
    """

    photo: str
    stops: float
    capture: CaptureMetadata

    def __str__(self) -> str:
        assert self.capture.iso is not None
        assert self.capture.exposure_s is not None
        return f"{self.stops:g} stops under, ISO {self.capture.iso:.0f}, 1/{1.0 / self.capture.exposure_s:.0f} s"


SHOTS = (
    DemoShot("coffee", 3.0, CaptureMetadata(1600.0, 1.0 / 60.0)),
    DemoShot("astronaut", 4.0, CaptureMetadata(3200.0, 1.0 / 60.0)),
    DemoShot("chelsea", 3.5, CaptureMetadata(3200.0, 1.0 / 40.0)),
    DemoShot("stereo_motorcycle", 4.0, CaptureMetadata(1600.0, 1.0 / 40.0)),
)


@dataclass(frozen=True, slots=True)
class DemoClip:
    """The shots of ``SHOTS`` one after the other, ``seconds`` long at ``rate_hz``."""

    rate_hz: int
    seconds: float

    def __len__(self) -> int:
        return max(1, round(self.rate_hz * self.seconds))

    def shot(self, index: int) -> DemoShot:
        """Return the shot that frame ``index`` belongs to."""
        return SHOTS[index * len(SHOTS) // len(self)]

    def reference(self, index: int) -> Picture:
        """Return the well-exposed original of frame ``index``, (480, 640, 3)."""
        shot = self.shot(index)
        photo = load_photo(shot.photo)
        first = -(-SHOTS.index(shot) * len(self) // len(SHOTS))
        phase = (index - first) / max(1.0, len(self) / len(SHOTS))
        # A cosine, so that the pan starts and ends smoothly.
        left = round((photo.shape[1] - WIDTH) * (0.5 - 0.5 * math.cos(math.pi * phase)))
        top = round((photo.shape[0] - HEIGHT) * phase)
        return np.ascontiguousarray(photo[top : top + HEIGHT, left : left + WIDTH])

    def dark(self, index: int) -> Picture:
        """Return the frame that the camera publishes, (480, 640, 3). Each index has its own noise."""
        shot = self.shot(index)
        exposure = DarkExposure(shot.stops, shot.capture, SENSOR)
        return darken(self.reference(index), exposure, np.random.default_rng([SEED, self.rate_hz, index]))


@lru_cache(maxsize=len(SHOTS))
def load_photo(name: str) -> Picture:
    """Return a photograph of the scikit-image package, enlarged for panning. Nothing is downloaded.

    Raises:
        ConfigError: scikit-image is not installed.
    """
    try:
        import skimage.data
    except ImportError as error:
        raise ConfigError(
            "the demo needs the photographs of scikit-image, which is not installed: "
            "pip install 'lowlight_enhance[demo]'"
        ) from error
    loaded = getattr(skimage.data, name)()
    photo = loaded[0] if isinstance(loaded, tuple) else loaded
    scale = max(MARGIN * WIDTH / photo.shape[1], MARGIN * HEIGHT / photo.shape[0])
    size = (math.ceil(photo.shape[1] * scale), math.ceil(photo.shape[0] * scale))
    return np.asarray(cv2.resize(photo, size, interpolation=cv2.INTER_CUBIC), dtype=np.uint8)
