"""Keypoints: repeatability, pairs by chance, and inliers of known and unknown motion."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from lowlight_enhance.core.metadata.capture import CaptureMetadata
from lowlight_enhance.evaluation.detection import clips
from lowlight_enhance.evaluation.detection.keypoints import (
    Features,
    KeypointOptions,
    Keypoints,
    epipolar_inliers,
    pairs_by_chance,
    repeatability,
    transform_points,
)
from lowlight_enhance.simulation.low_light import DarkExposure
from lowlight_enhance.simulation.sensors import SENSORS

EXPOSURE = DarkExposure(3.0, CaptureMetadata(1600.0, 1 / 60), SENSORS["SonyA7S2"])


def photograph(height: int = 240, width: int = 320, seed: int = 0) -> np.ndarray:
    """Rectangles of many tones: plenty of corners."""
    rng = np.random.default_rng(seed)
    picture = np.full((height, width, 3), 90, np.uint8)
    for _ in range(120):
        x, y = int(rng.integers(0, width)), int(rng.integers(0, height))
        size = rng.integers(6, 40, 2)
        tone = tuple(int(value) for value in rng.integers(20, 240, 3))
        cv2.rectangle(picture, (x, y), (x + int(size[0]), y + int(size[1])), tone, -1)
    return picture


def save(path: Path, picture: np.ndarray) -> Path:
    cv2.imwrite(str(path), picture[:, :, ::-1])
    return path


def features(points: np.ndarray, size: tuple[int, int] = (100, 200)) -> Features:
    return Features(np.asarray(points, np.float64), np.zeros((len(points), 32), np.uint8), size)


def single_frame(path: Path, exposure: DarkExposure) -> clips.Clip:
    return clips.photograph_clip(path, exposure, clips.ClipSettings(frames=1), (0,), "")


def translation(x: float, y: float) -> np.ndarray:
    return np.array([[1.0, 0.0, x], [0.0, 1.0, y], [0.0, 0.0, 1.0]])


def test_repeated_keypoints_are_counted_among_the_larger_number() -> None:
    a = features(np.array([[10, 10], [50, 50], [90, 20], [150, 80]]))
    b = features(np.array([[11, 11], [50, 55], [90, 20]]))
    counts = repeatability(a, b, np.eye(3), 3.0)
    assert (counts["repeated"], counts["possible"]) == (2.0, 4.0)


def test_a_keypoint_is_repeated_once() -> None:
    crowd = features(np.array([[10.0, 10.0], [10.5, 10.0], [11.0, 10.0]]))
    assert repeatability(crowd, features(np.array([[10.4, 10.0]])), np.eye(3), 3.0)["repeated"] == 1.0


def test_orientations_at_one_position_count_once() -> None:
    twice = features(np.array([[10.0, 10.0], [10.0, 10.0]]))
    assert repeatability(twice, twice, np.eye(3), 3.0)["possible"] == 1.0


def test_only_the_common_area_counts() -> None:
    a = features(np.array([[10, 50], [150, 50]]))
    b = features(np.array([[110, 50], [20, 50]]))
    counts = repeatability(a, b, translation(100, 0), 3.0)
    assert (counts["repeated"], counts["possible"]) == (1.0, 1.0)


@pytest.mark.parametrize(("a", "b"), [(300, 300), (400, 60)])
def test_pairs_by_chance_are_those_of_random_positions(a: int, b: int) -> None:
    rng = np.random.default_rng(0)
    size = (400, 500)
    repeated = [
        repeatability(*(features(rng.random((n, 2)) * [499, 399], size) for n in (a, b)), np.eye(3), 8.0)["repeated"]
        for _ in range(25)
    ]
    assert np.mean(repeated) == pytest.approx(pairs_by_chance(a, b, 8.0, 400 * 500), rel=0.08)


def test_images_without_keypoints_are_no_error() -> None:
    for kind in ("orb", "sift"):
        detector = Keypoints(kind)
        blank = detector.features(np.full((120, 160, 3), 7, np.uint8))
        counts = detector.compare(blank, detector.features(photograph()), np.eye(3))
        assert (counts["matches"], counts["inliers"], counts["repeated"], counts["tracked"]) == (0, 0, 0, 0)
        assert detector.compare(blank, blank, None)["inliers"] == 0


@pytest.mark.parametrize("kind", ["orb", "sift"])
def test_the_number_of_keypoints_is_limited(kind: str) -> None:
    found = Keypoints(kind, KeypointOptions(count=50)).features(photograph())
    assert 30 < len(found.points) <= 50
    assert len(found.descriptors) == len(found.points)


@pytest.mark.parametrize("kind", ["orb", "sift"])
def test_inliers_follow_the_known_motion_of_a_clip(kind: str, tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", photograph())
    clip = clips.photograph_clip(path, EXPOSURE, clips.ClipSettings(frames=2), (0, 0), "")
    first, second = clip.load()
    assert first.reference is not None
    assert second.reference is not None
    detector = Keypoints(kind)
    a, b = detector.features(first.reference), detector.features(second.reference)
    right, wrong = detector.compare(a, b, clip.motions[0]), detector.compare(a, b, clip.motions[0] @ translation(9, 9))
    assert right["inliers"] > 0.9 * right["matches"] > 30
    assert wrong["inliers"] < 0.1 * wrong["matches"]
    assert right["repeated"] / right["possible"] > 0.3 > 2 * right["by_chance"] / right["possible"]
    assert detector.compare(a, b, None)["inliers"] > 0.8 * right["inliers"]


def test_inliers_of_an_unknown_motion_agree_with_one_camera() -> None:
    rng = np.random.default_rng(1)
    scene = np.column_stack([rng.uniform(-2, 2, (80, 2)), rng.uniform(4, 9, 80)])
    camera = np.array([[400.0, 0.0, 320.0], [0.0, 400.0, 240.0], [0.0, 0.0, 1.0]])
    turn = cv2.Rodrigues(np.array([0.02, -0.05, 0.03]))[0]
    a = transform_points(scene[:, :2] / scene[:, 2:], camera)
    moved = scene @ turn.T + [0.4, 0.1, 0.2]
    b = transform_points(moved[:, :2] / moved[:, 2:], camera)
    b[:20] = rng.uniform(0, 480, (20, 2))
    assert 58 <= epipolar_inliers(a, b) <= 66
    assert epipolar_inliers(a[:7], b[:7]) == 0


def test_noise_costs_inliers(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", photograph())
    detector, inliers = Keypoints("orb"), []
    for stops, iso in ((1.0, 100.0), (5.0, 25600.0)):
        (shot,) = single_frame(path, DarkExposure(stops, CaptureMetadata(iso, 0.1), EXPOSURE.sensor)).load()
        assert shot.reference is not None
        counts = detector.compare(detector.features(shot.dark), detector.features(shot.reference), np.eye(3))
        inliers.append(counts["inliers"])
    assert inliers[1] < 0.3 * inliers[0]
