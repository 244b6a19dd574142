"""Simulate sequences of dark frames from photographs: each frame is a window of a photograph with its own noise."""

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
    "metadata gaps": "nothing moves; every fifth frame has no metadata",
    "exposure step": "nothing moves; halfway the exposure time is shortened",
    "scene change": "nothing moves; halfway another photograph is shown",
}
"""The kinds of sequence that are made from each photograph, with a description."""

PAN_STEP_PX = (4, 1)
"""Motion of the camera from frame to frame, in pixels right and down."""

METADATA_GAP_PERIOD = 5
"""Every frame of this number has no metadata."""

MIN_FRAMES, MIN_SIDE_PX = 4, 16
"""Smallest number of frames of a sequence, and smallest side of a frame; less gives no useful result."""

Picture = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class SequenceOptions:
    """Settings of a sequence.

    Attributes:
        width: columns of a frame.
        height: rows of a frame.
        frames: number of frames.
        rate_hz: frames per second.
        iso: ISO of the simulated camera.
        stops: under-exposure of the frames relative to the photograph.
        step_stops: additional under-exposure after the exposure step.
    """

    width: int = 640
    height: int = 480
    frames: int = 24
    rate_hz: float = 30.0
    iso: float = 3200.0
    stops: float = 3.0
    step_stops: float = 1.0

    def __post_init__(self) -> None:
        if self.frames < MIN_FRAMES or min(self.width, self.height) < MIN_SIDE_PX:
            raise ConfigError(
                f"{self.frames} frames of {self.width}x{self.height}: give at least {MIN_FRAMES} of "
                f"{MIN_SIDE_PX}x{MIN_SIDE_PX}"
            )
        for name in ("rate_hz", "iso"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0.0):
                raise ConfigError(f"{name} {value}: must be a finite number above 0")


@dataclass(frozen=True, slots=True)
class SequenceFrame:
    """One frame of a sequence.

    Attributes:
        reference: (H, W, 3) uint8, the window of the photograph.
        dark: (H, W, 3) uint8, the window as the camera sees it.
        capture: ISO and exposure time; unknown for a frame without metadata.
        shift: (x, y) motion of the window in pixels since the previous frame.
        is_change: exposure or scene differ from the previous frame.
    """

    reference: Picture
    dark: Picture
    capture: CaptureMetadata
    shift: tuple[int, int] = (0, 0)
    is_change: bool = False


def simulate_sequence(
    name: str, picture: Picture, second_picture: Picture, options: SequenceOptions, seed: int
) -> Iterator[SequenceFrame]:
    """Yield the frames of a kind of sequence.

    Args:
        name: one of ``SEQUENCES``.
        picture: (H, W, 3) uint8 photograph; it is resized to the size that the frames need.
        second_picture: photograph after a scene change; if it equals ``picture``, it is shown upside down.
        options: size, light and noise.
        seed: seed of the noise.
    """
    rng = np.random.default_rng(seed)
    moves = name == "pan"
    scene = _covering(picture, options, moves)
    if np.array_equal(second_picture, picture):
        second_picture = np.ascontiguousarray(picture[::-1])
    changed = _covering(second_picture, options, moves) if name == "scene change" else scene
    before = DarkExposure(options.stops, CaptureMetadata(options.iso, 1.0 / options.rate_hz), SENSORS["SonyA7S2"])
    after = before
    if name == "exposure step":
        cut_s = 2.0**-options.step_stops / options.rate_hz
        after = replace(before, stops=before.stops + options.step_stops, capture=CaptureMetadata(options.iso, cut_s))
    change_at = options.frames // 2 if name in ("exposure step", "scene change") else options.frames
    shift = PAN_STEP_PX if moves else (0, 0)
    for number in range(options.frames):
        exposure, photograph = (after, changed) if number >= change_at else (before, scene)
        x, y = shift[0] * number, shift[1] * number
        reference = np.ascontiguousarray(photograph[y : y + options.height, x : x + options.width])
        dark = darken(reference, exposure, rng)
        is_gap = name == "metadata gaps" and number % METADATA_GAP_PERIOD == METADATA_GAP_PERIOD - 1
        capture = UNKNOWN if is_gap else exposure.capture
        yield SequenceFrame(reference, dark, capture, shift if number else (0, 0), number == change_at)


def _covering(picture: Picture, options: SequenceOptions, moves: bool) -> Picture:
    """Resize ``picture`` so that it covers the window, and the path of the window if it ``moves``."""
    width = options.width + moves * PAN_STEP_PX[0] * (options.frames - 1)
    height = options.height + moves * PAN_STEP_PX[1] * (options.frames - 1)
    scale = max(width / picture.shape[1], height / picture.shape[0])
    size = (max(width, round(picture.shape[1] * scale)), max(height, round(picture.shape[0] * scale)))
    interpolation = cv2.INTER_AREA if scale < 1.0 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(picture, size, interpolation=interpolation), dtype=np.uint8)
