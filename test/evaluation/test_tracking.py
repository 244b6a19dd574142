"""Point tracking on clips with known motion."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from lowlight_enhance.evaluation.tracking import TRACKED_FRAMES, track_counts
from lowlight_enhance.simulation.camera_motion import draw_motion, render_views, view_homographies

SIZE = (320, 240)


def photograph(seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    image = np.full((SIZE[1], SIZE[0], 3), 90, np.uint8)
    for _ in range(120):
        x, y = int(rng.integers(0, SIZE[0])), int(rng.integers(0, SIZE[1]))
        size = rng.integers(6, 40, 2)
        tone = tuple(int(value) for value in rng.integers(20, 240, 3))
        cv2.rectangle(image, (x, y), (x + int(size[0]), y + int(size[1])), tone, -1)
    return image


def clip(seed: int = 0) -> tuple[list[np.ndarray], list[np.ndarray]]:
    rng = np.random.default_rng(seed)
    views = view_homographies(SIZE, TRACKED_FRAMES + 1, draw_motion("flight", rng), rng)
    return list(render_views(photograph(), views)), views


def test_points_of_a_clean_clip_stay_alive_and_do_not_drift() -> None:
    frames, views = clip()
    counts = track_counts(frames, views)
    assert counts["tracks"] > 50
    assert counts["correct"] > 0.95 * counts["tracks"]
    assert counts["correct"] <= counts["alive"] <= counts["tracks"]
    assert counts["drift_px"] / counts["correct"] < 0.5


def test_tracks_that_follow_another_motion_are_alive_and_wrong() -> None:
    frames, views = clip()
    shift = np.array([[1.0, 0.0, 8.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    counts = track_counts(frames, [*views[:-1], views[-1] @ shift])
    assert counts["alive"] > 0.9 * counts["tracks"]
    assert counts["correct"] < 0.1 * counts["tracks"]


def test_noise_and_flicker_cost_tracks() -> None:
    frames, views = clip()
    rng = np.random.default_rng(1)
    noisy = [np.clip(f + rng.normal(0, 40, f.shape), 0, 255).astype(np.uint8) for f in frames]
    flickering = [(f * (0.4 if n % 2 else 1.0)).astype(np.uint8) for n, f in enumerate(frames)]
    clean = track_counts(frames, views)
    for changed in (noisy, flickering):
        counts = track_counts(changed, views)
        assert counts["correct"] / counts["tracks"] < 0.9 * clean["correct"] / clean["tracks"]


def test_a_blank_clip_has_no_tracks() -> None:
    _, views = clip()
    counts = track_counts([np.full((SIZE[1], SIZE[0], 3), 7, np.uint8)] * len(views), views)
    assert counts == {"clips": 1.0, "tracks": 0.0, "alive": 0.0, "correct": 0.0, "drift_px": 0.0}


@pytest.mark.parametrize("seed", range(3))
def test_points_that_leave_a_frame_are_not_counted(seed: int) -> None:
    _, views = clip(seed)
    far = [view @ np.array([[1.0, 0.0, 400.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]) for view in views[:-1]]
    frames, _ = clip(seed)
    assert track_counts(frames, [*far, views[-1]])["tracks"] == 0.0
