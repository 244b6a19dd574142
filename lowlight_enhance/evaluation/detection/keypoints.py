"""Keypoints for visual odometry: repeatability of the detector and matching of the descriptors.

docs/detectors.md defines the counts. Repeatability: C. Schmid, R. Mohr, C. Bauckhage, "Evaluation of Interest Point
Detectors" (IJCV 2000); K. Mikolajczyk et al., "A Comparison of Affine Region Detectors" (IJCV 2005). Ratio test:
D. Lowe, "Distinctive Image Features from Scale-Invariant Keypoints" (IJCV 2004).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from lowlight_enhance.core.errors import ConfigError
from lowlight_enhance.evaluation.detection.clips import Image
from lowlight_enhance.simulation.camera_motion import Homography

Kind = Literal["orb", "sift"]
Points = NDArray[np.float64]
"""(N, 2): x, y in pixels."""

MIN_SIDE = 32
"""Side in pixels of the smallest image that is searched."""

RATIO = 0.8
"""Largest ratio of the distances to the best and to the second-best descriptor of a match (Lowe 2004)."""

MIN_TRACKING_INLIERS = 30
"""Inliers that ORB-SLAM (Mur-Artal and Tardos 2017) needs to continue tracking."""

EPIPOLAR_PX = 1.0
"""Largest distance of an inlier from the epipolar line where the motion is not known."""

MIN_MATCHES = 8
"""Matches needed to estimate an unknown motion."""


@dataclass(frozen=True, slots=True)
class KeypointOptions:
    """Settings of keypoint detection and matching.

    Attributes:
        count: largest number of keypoints of an image; the strongest are kept.
        within_px: largest distance of a repeated keypoint from its true position.

    Raises:
        ConfigError: a value out of range.
    """

    count: int = 500
    within_px: float = 3.0

    def __post_init__(self) -> None:
        if self.count < 1 or not (math.isfinite(self.within_px) and self.within_px > 0.0):
            raise ConfigError(f"{self.count} keypoints within {self.within_px} pixels: both must be above 0")


@dataclass(frozen=True, slots=True)
class Features:
    """Keypoints of an image of (height, width), with (N, 32) uint8 or (N, 128) float32 descriptors."""

    points: Points
    descriptors: NDArray[Any]
    size: tuple[int, int]


class Keypoints:
    """ORB or SIFT with OpenCV's default settings, except for the number of keypoints."""

    def __init__(self, kind: Kind, options: KeypointOptions | None = None) -> None:
        self.kind, self.options = kind, options or KeypointOptions()
        self._algorithm: Any = (cv2.ORB_create if kind == "orb" else cv2.SIFT_create)(nfeatures=self.options.count)  # type: ignore[attr-defined]
        self._matcher = cv2.BFMatcher(cv2.NORM_HAMMING if kind == "orb" else cv2.NORM_L2)

    def features(self, image: Image) -> Features:
        """Return the keypoints of an (H, W, 3) uint8 RGB image; none if a side is shorter than ``MIN_SIDE``."""
        size = (image.shape[0], image.shape[1])
        none = Features(np.zeros((0, 2)), np.zeros((0, 1), np.uint8), size)
        if min(size) < MIN_SIDE:  # OpenCV fails on the empty levels of the pyramid
            return none
        found, descriptors = self._algorithm.detectAndCompute(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), None)
        if descriptors is None or not len(found):
            return none
        order = np.argsort([-point.response for point in found], kind="stable")[: self.options.count]
        return Features(np.array([found[i].pt for i in order]), descriptors[order], size)

    def matches(self, a: Features, b: Features) -> NDArray[np.int64]:
        """Return (M, 2) indices into ``a`` and ``b`` of mutual best matches that pass the ratio test."""
        if min(len(a.points), len(b.points)) < 2:
            return np.zeros((0, 2), np.int64)
        forward, backward = self._best(a, b), self._best(b, a)
        pairs = [(i, j) for i, j in forward.items() if backward.get(j) == i]
        return np.array(pairs, np.int64).reshape(-1, 2)

    def compare(self, a: Features, b: Features, motion: Homography | None) -> dict[str, float]:
        """Return the counts of one pair of images.

        Args:
            a: keypoints of the first image.
            b: keypoints of the second image.
            motion: homography from the first to the second; None if it is not known.

        Returns:
            ``pairs`` (1), ``keypoints`` (mean of both), ``matches``, ``inliers``, ``tracked`` (1 with at least
            ``MIN_TRACKING_INLIERS`` inliers); with a known motion also ``repeated``, ``possible`` and ``by_chance``.
        """
        matches = self.matches(a, b)
        counts = {"pairs": 1.0, "keypoints": (len(a.points) + len(b.points)) / 2.0, "matches": float(len(matches))}
        if motion is None:
            inliers = epipolar_inliers(a.points[matches[:, 0]], b.points[matches[:, 1]])
        else:
            off = np.linalg.norm(transform_points(a.points[matches[:, 0]], motion) - b.points[matches[:, 1]], axis=1)
            inliers = int((off <= self.options.within_px).sum())
            counts |= repeatability(a, b, motion, self.options.within_px)
        return counts | {"inliers": float(inliers), "tracked": float(inliers >= MIN_TRACKING_INLIERS)}

    def _best(self, a: Features, b: Features) -> dict[int, int]:
        found = self._matcher.knnMatch(a.descriptors, b.descriptors, k=2)
        return {best.queryIdx: best.trainIdx for best, second in found if best.distance < RATIO * second.distance}


def transform_points(points: Points, motion: Homography) -> Points:
    """Apply a homography to points."""
    through = np.column_stack([points, np.ones(len(points))]) @ motion.T
    return np.asarray(through[:, :2] / through[:, 2:], dtype=np.float64)


def repeatability(a: Features, b: Features, motion: Homography, within_px: float) -> dict[str, float]:
    """Count the repeated keypoints in the area that both images show.

    Returns:
        ``repeated``: mutual nearest neighbours at most ``within_px`` apart. ``possible``: the larger number of
        keypoints. ``by_chance``: pairs that as many keypoints at random positions would form.
    """
    moved = transform_points(a.points, motion)
    seen_a = np.unique(moved[_inside(moved, b.size)], axis=0)
    back = np.asarray(np.linalg.inv(motion), dtype=np.float64)
    seen_b = np.unique(b.points[_inside(transform_points(b.points, back), a.size)], axis=0)
    most = float(max(len(seen_a), len(seen_b)))
    if not len(seen_a) or not len(seen_b):
        return {"repeated": 0.0, "possible": most, "by_chance": 0.0}
    distances = np.linalg.norm(seen_a[:, None] - seen_b[None], axis=2)
    nearest_b, nearest_a = distances.argmin(1), distances.argmin(0)
    rows = np.arange(len(seen_a))
    repeated = (nearest_a[nearest_b] == rows) & (distances[rows, nearest_b] <= within_px)
    chance = pairs_by_chance(len(seen_a), len(seen_b), within_px, _common_area(a.size, b.size, motion))
    return {"repeated": float(repeated.sum()), "possible": most, "by_chance": chance}


def pairs_by_chance(a: int, b: int, within_px: float, area_px: float) -> float:
    """Return the expected number of mutual nearest neighbours of ``a`` and ``b`` points at random positions.

    For two Poisson processes of densities p and q, two points at a distance r are each other's nearest with
    probability exp(-(p + q) pi r^2); integrated over r up to ``within_px``.
    """
    return a * b / (a + b) * (1.0 - math.exp(-(a + b) * math.pi * within_px**2 / max(area_px, 1.0)))


def epipolar_inliers(a: Points, b: Points) -> int:
    """Return how many matches agree with one fundamental matrix, estimated by MAGSAC++."""
    if len(a) < MIN_MATCHES:
        return 0
    try:
        matrix, inliers = cv2.findFundamentalMat(a, b, cv2.USAC_MAGSAC, EPIPOLAR_PX, 0.999, 10_000)
    except cv2.error:  # degenerate configuration
        return 0
    return 0 if matrix is None or inliers is None else int(inliers.sum())


def _inside(points: Points, size: tuple[int, int]) -> NDArray[np.bool_]:
    height, width = size
    x, y = points[:, 0], points[:, 1]
    return np.asarray((x >= 0.0) & (y >= 0.0) & (x <= width - 1.0) & (y <= height - 1.0))


def _common_area(a: tuple[int, int], b: tuple[int, int], motion: Homography) -> float:
    """Return the number of pixels of the second image that the first shows too."""
    visible = cv2.warpPerspective(np.ones(a, np.uint8), motion, (b[1], b[0]), flags=cv2.INTER_NEAREST)
    return float(np.count_nonzero(visible))
