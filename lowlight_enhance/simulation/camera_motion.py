"""Camera motion over a photograph: views that end with the photograph itself, with known homographies.

The photograph is taken as a plane, so the motion between two views is a homography. Because the last view is the
unchanged photograph, its labels are valid for the last frame of the clip.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from lowlight_enhance.core.errors import ConfigError

Image = NDArray[np.uint8]
Homography = NDArray[np.float64]
"""(3, 3): maps (x, y, 1) in one image to the same point in another, up to scale."""

Motion = Literal["static", "hover", "pan", "rotate", "zoom", "flight"]
MOTIONS: tuple[Motion, ...] = get_args(Motion)

HOVER_PX = 1.5
"""Largest shift of a hovering camera from its position."""

PAN_PX, ROTATION_DEG, ZOOM = (4.0, 2.0), 0.4, 0.004
"""Largest motion from frame to frame: pixels right and down, degrees, and relative change of scale."""


@dataclass(frozen=True, slots=True)
class MotionRates:
    """Motion from frame to frame.

    Attributes:
        hover_px: largest random shift.
        pan_px: (x, y) shift in pixels.
        rotation_deg: rotation in degrees.
        zoom: relative change of scale.
    """

    hover_px: float = 0.0
    pan_px: tuple[float, float] = (0.0, 0.0)
    rotation_deg: float = 0.0
    zoom: float = 0.0


def draw_motion(motion: Motion, rng: np.random.Generator) -> MotionRates:
    """Draw the rates of a kind of motion; ``flight`` combines all of them.

    Raises:
        ConfigError: unknown kind of motion.
    """
    if motion not in MOTIONS:
        raise ConfigError(f"motion '{motion}' is not known; choose one of {', '.join(MOTIONS)}")
    every = motion == "flight"
    pan = (float(rng.uniform(-PAN_PX[0], PAN_PX[0])), float(rng.uniform(-PAN_PX[1], PAN_PX[1])))
    rotation, zoom = float(rng.uniform(-ROTATION_DEG, ROTATION_DEG)), float(rng.uniform(-ZOOM, ZOOM))
    return MotionRates(
        hover_px=HOVER_PX if every or motion == "hover" else 0.0,
        pan_px=pan if every or motion == "pan" else (0.0, 0.0),
        rotation_deg=rotation if every or motion == "rotate" else 0.0,
        zoom=zoom if every or motion == "zoom" else 0.0,
    )


def view_homographies(
    size: tuple[int, int], frames: int, rates: MotionRates, rng: np.random.Generator
) -> list[Homography]:
    """Return the homography from the photograph to each view; the last one is the identity.

    Args:
        size: (width, height) of the photograph.
        frames: number of views.
        rates: motion from frame to frame.
        rng: source of the hover shifts.
    """
    width, height = size
    shifts = rng.uniform(-rates.hover_px, rates.hover_px, (frames, 2))
    views = []
    for number in range(frames):
        remaining = frames - 1 - number
        angle, scale = rates.rotation_deg * remaining, 1.0 + rates.zoom * remaining
        view = np.eye(3)
        if remaining:
            view[:2] = cv2.getRotationMatrix2D((width / 2.0, height / 2.0), angle, scale)
            view[:2, 2] += np.array(rates.pan_px) * remaining + shifts[number]
        views.append(view)
    return views


def render_views(photograph: Image, views: list[Homography]) -> Iterator[Image]:
    """Yield the (H, W, 3) image of each view. Areas outside the photograph show its mirror image."""
    height, width = photograph.shape[:2]
    for view in views:
        if np.array_equal(view, np.eye(3)):
            yield photograph
            continue
        warped = cv2.warpPerspective(
            photograph, view, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
        )
        yield np.asarray(warped, dtype=np.uint8)


def frame_motions(views: list[Homography]) -> list[Homography]:
    """Return the homography from each view to the next."""
    return [np.asarray(after @ np.linalg.inv(before), dtype=np.float64) for before, after in pairwise(views)]
