"""Metrics of typical faults of low-light enhancement."""

import math

import cv2
import numpy as np
import pytest

from lowlight_enhance.evaluation import artifact_metrics

GREY = np.full((32, 32, 3), 128, np.uint8)


def noise(deviation: float, size: int = 64, seed: int = 0) -> np.ndarray:
    grain = np.random.default_rng(seed).normal(0.0, deviation, (size, size, 1))
    return np.clip(128.0 + np.repeat(grain, 3, 2), 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("colour", "a_sign", "b_sign"),
    [((110, 140, 110), -1, 1), ((140, 110, 140), 1, -1), ((110, 110, 140), 1, -1), ((140, 140, 110), -1, 1)],
)
def test_the_direction_of_a_colour_cast(colour: tuple[int, int, int], a_sign: int, b_sign: int) -> None:
    picture = np.full((32, 32, 3), colour, np.uint8)
    a, b = artifact_metrics.color_cast(picture, GREY)
    assert a * a_sign > 1.0
    assert b * b_sign > 1.0
    assert artifact_metrics.color_cast(picture, picture) == (0.0, 0.0)


def test_brighter_grey_is_not_a_colour_cast() -> None:
    a, b = artifact_metrics.color_cast(GREY + 60, GREY)
    assert max(abs(a), abs(b)) < 0.05


def test_dark_region_ssim_measures_the_dark_quarter_alone() -> None:
    reference = np.asarray(cv2.resize(noise(30.0), (96, 96)), np.uint8)
    reference[:, :24] //= 8
    lost_light, lost_dark = reference.copy(), reference.copy()
    lost_light[:, 48:] = 128
    lost_dark[:, :24] = 0
    assert artifact_metrics.dark_region_ssim(reference, reference) == pytest.approx(1.0)
    assert artifact_metrics.dark_region_ssim(lost_light, reference) > 0.97
    assert artifact_metrics.dark_region_ssim(lost_dark, reference) < 0.8


def test_noise_ratio_is_relative_to_the_noise_of_the_reference() -> None:
    fine, coarse = noise(2.0), noise(6.0, seed=1)
    assert artifact_metrics.noise_ratio(fine, fine) == 1.0
    assert artifact_metrics.noise_ratio(coarse, fine) == pytest.approx(6.0 / 2.0, rel=0.25)
    assert artifact_metrics.noise_ratio(GREY, fine[:32, :32]) < 0.25
    assert 4.0 < artifact_metrics.noise_ratio(fine, np.full((64, 64, 3), 128, np.uint8)) < 8.0


def test_noise_ratio_ignores_texture() -> None:
    """Every block of one half has an edge; only the flat half is measured."""
    reference = noise(2.0)
    reference[:, 32::4] = 20
    changed = reference.copy()
    changed[:, 32::4] = 250
    assert artifact_metrics.noise_ratio(changed, reference) == pytest.approx(1.0)


def test_noise_ratio_does_not_exist_where_all_blocks_are_clipped() -> None:
    assert math.isnan(artifact_metrics.noise_ratio(noise(2.0), np.full((64, 64, 3), 255, np.uint8)))


def test_clipped_excess_is_relative_to_the_reference() -> None:
    lamp, blown = GREY.copy(), GREY.copy()
    lamp[:4, :4] = 255
    blown[:8, :8, 0] = 254
    assert artifact_metrics.clipped_excess(blown, lamp) == pytest.approx((64 - 16) / 1024)
    assert artifact_metrics.clipped_excess(GREY, lamp) == pytest.approx(-16 / 1024)
