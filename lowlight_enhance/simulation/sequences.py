"""Sequences of dark frames made of photographs: each frame is a window of one, with noise of its own."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from lowlight_enhance.core.errors import ConfigError
from lowlight_enhance.core.metadata.capture import UNKNOWN, CaptureMetadata
from lowlight_enhance.simulation.low_light import DarkExposure, darken
from lowlight_enhance.simulation.sensors import SENSORS

SEQUENCES = {
    "static": "nothing moves",
    "pan": "the camera pans",
    "metadata gaps": "nothing moves; every fifth frame comes without metadata",
    "exposure step": "nothing moves; halfway the exposure is cut",
    "scene change": "nothing moves; halfway another photograph comes",
}
"""What is made of each photograph."""

PAN = (4, 1)
"""Pixels that the camera moves right and down from frame to frame."""

GAP_EVERY = 5
"""Frames from one without metadata to the next."""

LEAST_FRAMES, LEAST_PIXELS = 4, 16
"""Fewer frames of a sequence, or pixels of a frame's side, tell nothing."""

Picture = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class SequenceOptions:
    """How sequences are made.

    Attributes:
        width: columns of a frame.
        height: rows of a frame.
        frames: of each sequence.
        rate_hz: frames a second, by their stamps.
        iso: of the sensor whose noise is drawn.
        stops: how far below the photograph's own exposure the frames are.
        step_stops: how much further the exposure step goes.
    """

    width: int = 640
    height: int = 480
    frames: int = 24
    rate_hz: float = 30.0
    iso: float = 3200.0
    stops: float = 3.0
    step_stops: float = 1.0

    def __post_init__(self) -> None:
        if self.frames < LEAST_FRAMES or min(self.width, self.height) < LEAST_PIXELS:
            raise ConfigError(
                f"{self.frames} frames of {self.width}x{self.height}: give at least {LEAST_FRAMES} of "
                f"{LEAST_PIXELS}x{LEAST_PIXELS}"
            )
        for name in ("rate_hz", "iso"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0.0):
                raise ConfigError(f"{name} {value}: must be a finite number above 0")


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame of a sequence.

    Attributes:
        reference: (H, W, 3) the window of the photograph.
        dark: what the camera makes of it.
        capture: its metadata, as far as it comes with it.
        shift: (x, y) pixels by which the window has moved since the frame before.
        is_change: exposure or scene is another than in the frame before.
    """

    reference: Picture
    dark: Picture
    capture: CaptureMetadata
    shift: tuple[int, int] = (0, 0)
    is_change: bool = False


def sequence(name: str, picture: Picture, other: Picture, options: SequenceOptions, seed: int) -> Iterator[Frame]:
    """The frames of a kind of sequence.

    Args:
        name: one of ``SEQUENCES``.
        picture: (H, W, 3) uint8 photograph; it is enlarged or shrunk to what the frames need.
        other: the photograph that a scene change leads to; where it is the same, that is shown upside down.
        options: size, light and noise.
        seed: of the noise.
    """
    rng = np.random.default_rng(seed)
    moves = name == "pan"
    scene = _covering(picture, options, moves)
    if np.array_equal(other, picture):
        other = np.ascontiguousarray(picture[::-1])
    changed = _covering(other, options, moves) if name == "scene change" else scene
    before = DarkExposure(options.stops, CaptureMetadata(options.iso, 1.0 / options.rate_hz), SENSORS["SonyA7S2"])
    after = before
    if name == "exposure step":
        cut_s = 2.0**-options.step_stops / options.rate_hz
        after = replace(before, stops=before.stops + options.step_stops, capture=CaptureMetadata(options.iso, cut_s))
    change_at = options.frames // 2 if name in ("exposure step", "scene change") else options.frames
    shift = PAN if moves else (0, 0)
    for number in range(options.frames):
        exposure, shown = (after, changed) if number >= change_at else (before, scene)
        x, y = shift[0] * number, shift[1] * number
        reference = np.ascontiguousarray(shown[y : y + options.height, x : x + options.width])
        dark = darken(reference, exposure, rng)
        is_gap = name == "metadata gaps" and number % GAP_EVERY == GAP_EVERY - 1
        capture = UNKNOWN if is_gap else exposure.capture
        yield Frame(reference, dark, capture, shift if number else (0, 0), number == change_at)


def _covering(picture: Picture, options: SequenceOptions, moves: bool) -> Picture:
    """``picture`` as large as the window, and the way that it goes where it ``moves``."""
    width = options.width + moves * PAN[0] * (options.frames - 1)
    height = options.height + moves * PAN[1] * (options.frames - 1)
    scale = max(width / picture.shape[1], height / picture.shape[0])
    size = (max(width, round(picture.shape[1] * scale)), max(height, round(picture.shape[0] * scale)))
    how = cv2.INTER_AREA if scale < 1.0 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(picture, size, interpolation=how), dtype=np.uint8)
