"""Light that differs within one frame: illumination maps, lamps and glare.

At dusk the ground is dark under a bright sky; at night lamps light small parts of a scene. A frame then has well
exposed and under-exposed regions. ``draw_illumination`` returns how much darker each pixel is, ``draw_lamps`` adds
light sources brighter than white with glare around them.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

Map = NDArray[np.float32]
Grid = tuple[Map, Map]
"""(H, W) coordinates y and x, 0..1 over the frame."""

LARGEST_RANGE = 6.0
"""Stops between the lit and the dark part of a frame."""

SOFTEST, HARDEST = 0.6, 0.004
"""Width of the transition between both parts, relative to the side of the frame."""

LAMP_INTENSITY = (1.0, 6.0)
"""log2 of the intensity of a lamp relative to white."""


def draw_illumination(height: int, width: int, rng: np.random.Generator) -> Map:
    """Draw a (height, width) map of stops of under-exposure relative to the brightest part, which has 0.

    The map is one random pattern, or the darker of two at each pixel.
    """
    stops = _draw_pattern(height, width, rng) * rng.uniform(0.5, LARGEST_RANGE)
    if rng.random() < 0.3:
        stops = np.maximum(stops, _draw_pattern(height, width, rng) * rng.uniform(0.5, LARGEST_RANGE))
    return np.asarray(stops - stops.min(), dtype=np.float32)


def _draw_pattern(height: int, width: int, rng: np.random.Generator) -> Map:
    """Draw a map of darkness from 0 (lit) to 1 (dark)."""
    sides = (np.linspace(0, 1, side, dtype=np.float32) for side in (height, width))
    y, x = np.meshgrid(*sides, indexing="ij")
    pattern = _PATTERNS[int(rng.choice(len(_PATTERNS), p=_SHARES))]
    softness = float(np.exp(rng.uniform(np.log(HARDEST), np.log(SOFTEST))))
    return pattern((y, x), softness, rng)


def _horizon(grid: Grid, softness: float, rng: np.random.Generator) -> Map:
    """Draw a bright part above a nearly level line and a dark part below it, sometimes inverted."""
    y, x = grid
    slope, place = rng.normal(0.0, 0.15), rng.uniform(0.15, 0.85)
    share = _ramp(y + np.float32(slope) * (x - 0.5) - np.float32(place), softness)
    return share if rng.random() < 0.85 else 1.0 - share


def _gradient(grid: Grid, softness: float, rng: np.random.Generator) -> Map:
    """Draw a straight edge or gradient of any direction, which includes dark corners."""
    y, x = grid
    angle = rng.uniform(0.0, 2.0 * np.pi)
    along = (x - 0.5) * np.float32(np.cos(angle)) + (y - 0.5) * np.float32(np.sin(angle))
    return _ramp(along - np.float32(rng.uniform(-0.35, 0.35)), max(softness, 0.02))


def _lamp_spot(grid: Grid, softness: float, rng: np.random.Generator) -> Map:
    """Draw the area that a lamp lights, sometimes inverted to a dark spot."""
    y, x = grid
    cx, cy, squash = rng.uniform(0.1, 0.9), rng.uniform(0.1, 0.9), float(np.exp(rng.normal(0.0, 0.3)))
    radius = np.hypot((x - np.float32(cx)) * np.float32(squash), y - np.float32(cy))
    share = _ramp(radius - np.float32(rng.uniform(0.1, 0.5)), max(softness, 0.03))
    return share if rng.random() < 0.8 else 1.0 - share


def _shadow(grid: Grid, softness: float, rng: np.random.Generator) -> Map:
    """Draw polygons with hard or soft edges, such as shadows of objects, openings and windows."""
    height, width = grid[0].shape
    mask = np.zeros((height, width), np.float32)
    for _ in range(int(rng.integers(1, 4))):
        centre, spread = rng.uniform(0.1, 0.9, 2), rng.uniform(0.1, 0.45)
        corners = centre + spread * rng.uniform(-1.0, 1.0, (int(rng.integers(3, 7)), 2))
        points = cv2.convexHull((corners * (width, height)).astype(np.int32))
        cv2.fillConvexPoly(mask, points, 1.0)
    sigma = 0.3 * softness * min(height, width)
    if sigma > 0.3:
        mask = np.asarray(cv2.GaussianBlur(mask, (0, 0), sigma), dtype=np.float32)
    return mask if rng.random() < 0.5 else np.asarray(1.0 - mask, dtype=np.float32)


def _smooth_noise(grid: Grid, _softness: float, rng: np.random.Generator) -> Map:
    """Draw a smooth random map."""
    cells = int(rng.integers(2, 6))
    coarse = rng.uniform(0.0, 1.0, (cells, cells)).astype(np.float32)
    field = cv2.resize(coarse, grid[0].shape[::-1], interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.clip(field, 0.0, 1.0), dtype=np.float32)


_PATTERNS: tuple[Callable[[Grid, float, np.random.Generator], Map], ...] = (
    _horizon,
    _gradient,
    _lamp_spot,
    _shadow,
    _smooth_noise,
)
_SHARES = (0.3, 0.2, 0.2, 0.2, 0.1)


def _ramp(distance: Map, width: float) -> Map:
    """Return 0 for distances below 0, 1 above ``width``, and a linear ramp between."""
    return np.asarray(np.clip(distance / np.float32(width), 0.0, 1.0), dtype=np.float32)


def draw_lamps(height: int, width: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Draw (height, width, 3) light sources in linear light, to be added to a scene: discs with glare.

    A lamp is 2 to 64 times as bright as white. Glare takes up to 1 % of its intensity and falls off over a tenth of
    the frame, as scattered light in a lens does.
    """
    light = np.zeros((height, width, 3), np.float32)
    side = min(height, width)
    y, x = np.ogrid[0:height, 0:width]
    for _ in range(int(rng.integers(1, 5))):
        cx, cy = rng.uniform(0.0, width), rng.uniform(0.0, height)
        radius = side * float(np.exp(rng.uniform(np.log(0.004), np.log(0.03))))
        distance = np.hypot((x - cx) * rng.uniform(0.6, 1.6), y - cy).astype(np.float32)
        colour = np.array([1.0, rng.uniform(0.6, 1.0), rng.uniform(0.35, 1.0)], np.float32)
        intensity = np.float32(2.0 ** rng.uniform(*LAMP_INTENSITY))
        disc = np.clip(1.0 - (distance - radius) / (0.25 * radius + 1.0), 0.0, 1.0)
        glare = rng.uniform(0.0, 0.01) * np.exp(-distance / (side * rng.uniform(0.03, 0.15)))
        light += ((disc + glare) * intensity)[:, :, None].astype(np.float32) * colour
    return light
