"""Camera motion: clips end with the photograph, and move as their homographies say."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from lowlight_enhance.core.errors import ConfigError
from lowlight_enhance.simulation.camera_motion import (
    MOTIONS,
    Motion,
    draw_motion,
    frame_motions,
    render_views,
    view_homographies,
)


def photograph() -> np.ndarray:
    coarse = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(coarse, (160, 120), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)


def views(motion: Motion, frames: int = 6, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return view_homographies((160, 120), frames, draw_motion(motion, rng), rng)


@pytest.mark.parametrize("motion", MOTIONS)
def test_every_clip_ends_with_the_photograph(motion: Motion) -> None:
    rendered = list(render_views(photograph(), views(motion)))
    assert len(rendered) == 6
    assert np.array_equal(rendered[-1], photograph())
    is_still = [np.array_equal(image, photograph()) for image in rendered[:-1]]
    assert all(is_still) if motion == "static" else not any(is_still)


@pytest.mark.parametrize("motion", MOTIONS)
def test_a_clip_is_the_same_for_one_seed(motion: Motion) -> None:
    assert np.array_equal(views(motion), views(motion))
    if motion != "static":
        assert not np.array_equal(views(motion), views(motion, seed=1))


def test_each_motion_changes_what_its_name_says() -> None:
    scale_and_angle = {}
    for motion in MOTIONS:
        linear = views(motion)[0][:2, :2]
        scale_and_angle[motion] = (np.sqrt(np.linalg.det(linear)), np.degrees(np.arctan2(linear[0, 1], linear[0, 0])))
    assert scale_and_angle["pan"] == scale_and_angle["hover"] == scale_and_angle["static"] == (1.0, 0.0)
    assert scale_and_angle["rotate"][0] == pytest.approx(1.0)
    assert abs(scale_and_angle["rotate"][1]) > 0.05
    assert scale_and_angle["zoom"][1] == 0.0
    assert abs(scale_and_angle["zoom"][0] - 1.0) > 1e-4


def test_pixels_move_as_the_homographies_say() -> None:
    found = views("flight")
    rendered = list(render_views(photograph(), found))
    for before, after, motion in zip(rendered[:-1], rendered[1:], frame_motions(found), strict=True):
        moved = cv2.warpPerspective(before, motion, (160, 120), flags=cv2.INTER_LINEAR)
        inner = np.s_[30:-30, 40:-40]
        assert np.abs(moved[inner].astype(int) - after[inner]).mean() < 2.0
        assert np.abs(before[inner].astype(int) - after[inner]).mean() > 2.0


def test_a_clip_of_one_frame_is_the_photograph() -> None:
    (view,) = views("flight", frames=1)
    assert np.array_equal(view, np.eye(3))


def test_an_unknown_motion_is_an_error() -> None:
    with pytest.raises(ConfigError, match="static, hover, pan"):
        draw_motion("spin", np.random.default_rng(0))  # type: ignore[arg-type]
