"""Track points through a clip with pyramidal Lucas-Kanade, as visual odometry front ends do.

Clips with known motion give the true position of each point, so the share of tracks that stay alive and their drift
can be measured. Lucas-Kanade assumes that a point keeps its brightness; flicker and noise break tracks.

B. D. Lucas, T. Kanade, "An Iterative Image Registration Technique" (IJCAI 1981); J.-Y. Bouguet, "Pyramidal
Implementation of the Lucas Kanade Feature Tracker" (Intel, 2000).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lowlight_enhance.simulation.camera_motion import Homography

Image = NDArray[np.uint8]
Points = NDArray[np.float64]

TRACKED_FRAMES = 10
"""Frames over which points are tracked."""

MAX_POINTS, QUALITY, MIN_DISTANCE_PX = 300, 0.01, 7
"""Parameters of ``cv2.goodFeaturesToTrack``, as in VINS-Mono and OpenCV's examples."""

WINDOW_PX, PYRAMID_LEVELS = 21, 3
"""Parameters of ``cv2.calcOpticalFlowPyrLK``."""

MAX_ROUND_TRIP_PX = 1.0
"""A track ends where tracking forward and back misses its start by more."""

MAX_DRIFT_PX = 3.0
"""A track that is further from its true position after ``TRACKED_FRAMES`` counts as wrong."""

MARGIN_PX = 12.0
"""Points nearer to the border of the photograph or of a frame are not used, because their window leaves it."""


def track_counts(frames: Sequence[Image], views: Sequence[Homography]) -> dict[str, float]:
    """Track points from the first of the frames to the last.

    Args:
        frames: (H, W, 3) uint8 RGB images of a clip.
        views: homographies from the photograph to each frame.

    Returns:
        ``clips`` (1); ``tracks``: points in the first frame that every frame shows; ``alive``: those that Lucas-Kanade
        still follows at the end; ``correct``: those within ``MAX_DRIFT_PX`` of their true position; ``drift_px``: sum
        of the distances of the correct ones.
    """
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames]
    start = _visible_points(_corners(grey[0]), views, grey[0].shape)
    counts = {"clips": 1.0, "tracks": float(len(start)), "alive": 0.0, "correct": 0.0, "drift_px": 0.0}
    if not len(start):
        return counts
    points, alive = start, np.ones(len(start), bool)
    for before, after in pairwise(grey):
        points, followed = _follow(before, after, points)
        alive &= followed
    truth = _moved(start, views[0], views[-1])
    drift = np.linalg.norm(points - truth, axis=1)
    correct = alive & (drift <= MAX_DRIFT_PX)
    counts |= {"alive": float(alive.sum()), "correct": float(correct.sum()), "drift_px": float(drift[correct].sum())}
    return counts


def _corners(grey: NDArray[Any]) -> Points:
    found = cv2.goodFeaturesToTrack(grey, MAX_POINTS, QUALITY, MIN_DISTANCE_PX)
    return np.zeros((0, 2)) if found is None else found.reshape(-1, 2).astype(np.float64)


def _visible_points(points: Points, views: Sequence[Homography], shape: tuple[int, ...]) -> Points:
    """Return the points that lie in the photograph and in every frame."""
    visible = np.ones(len(points), bool)
    for view in (np.eye(3), *views):  # the identity maps to the photograph, which has the size of the frames
        moved = _moved(points, views[0], view)
        limit = np.array([shape[1], shape[0]]) - 1.0 - MARGIN_PX
        visible &= (moved >= MARGIN_PX).all(1) & (moved <= limit).all(1)
    return points[visible]


def _moved(points: Points, from_view: Homography, to_view: Homography) -> Points:
    """Return the positions in ``to_view`` of points in ``from_view``."""
    projected = np.column_stack([points, np.ones(len(points))]) @ (to_view @ np.linalg.inv(from_view)).T
    return np.asarray(projected[:, :2] / projected[:, 2:], dtype=np.float64)


def _follow(before: NDArray[Any], after: NDArray[Any], points: Points) -> tuple[Points, NDArray[np.bool_]]:
    """Return the new positions of the points, and whether tracking them back returns to the start."""
    window, start = (WINDOW_PX, WINDOW_PX), points.astype(np.float32).reshape(-1, 1, 2)
    track: Any = partial(cv2.calcOpticalFlowPyrLK, winSize=window, maxLevel=PYRAMID_LEVELS)
    forward, found, _ = track(before, after, start, None)
    back, returned, _ = track(after, before, forward, None)
    distance = np.linalg.norm((back - start).reshape(-1, 2), axis=1)
    followed = (found.ravel() == 1) & (returned.ravel() == 1) & (distance <= MAX_ROUND_TRIP_PX)
    return forward.reshape(-1, 2).astype(np.float64), np.asarray(followed)
