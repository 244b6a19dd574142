import math

import cv2
import numpy as np
import pytest

from lowlight_enhance.evaluation.colour import hue_error_deg
from lowlight_enhance.training import artifact_metrics

GREY = np.full((32, 32, 3), 128, np.uint8)


def noise(deviation: float, size: int = 64, seed: int = 0) -> np.ndarray:
    grain = np.random.default_rng(seed).normal(0.0, deviation, (size, size, 1))
    return np.clip(128.0 + np.repeat(grain, 3, 2), 0, 255).astype(np.uint8)


def test_hue_error_sees_a_cast_and_ignores_grey() -> None:
    red, green = (np.zeros((8, 8, 3), np.uint8) for _ in range(2))
    red[..., 0], green[..., 1] = 200, 200
    angle = [math.degrees(math.atan2(b, a)) for a, b in ((80.1, 67.2), (-86.2, 83.2))]  # CIELAB of sRGB red and green
    assert hue_error_deg(red, red) == 0.0
    assert hue_error_deg(green, red) == pytest.approx(angle[1] - angle[0], abs=1.0)
    assert math.isnan(hue_error_deg(green, GREY))
    half = np.concatenate((red, GREY[:8, :8]))
    assert hue_error_deg(half, half) == 0.0
    for grey in (0, 90, 255):
        assert hue_error_deg(np.full_like(red, grey), red) == hue_error_deg(np.full_like(red, grey), green) == 90.0


def test_hue_is_an_angle() -> None:
    """Two reds on either side of hue zero are neighbours."""
    below, above = (np.full((4, 4, 3), colour, np.uint8) for colour in ((200, 60, 135), (200, 60, 120)))
    assert hue_error_deg(below, above) < 20.0


@pytest.mark.parametrize(
    ("colour", "a_sign", "b_sign"),
    [((110, 140, 110), -1, 1), ((140, 110, 140), 1, -1), ((110, 110, 140), 1, -1), ((140, 140, 110), -1, 1)],
)
def test_a_cast_has_the_direction_of_its_colour(colour: tuple[int, int, int], a_sign: int, b_sign: int) -> None:
    picture = np.full((32, 32, 3), colour, np.uint8)
    a, b = artifact_metrics.cast(picture, GREY)
    assert a * a_sign > 1.0
    assert b * b_sign > 1.0
    assert artifact_metrics.cast(picture, picture) == (0.0, 0.0)


def test_a_brighter_grey_is_no_cast() -> None:
    a, b = artifact_metrics.cast(GREY + 60, GREY)
    assert max(abs(a), abs(b)) < 0.05


def test_only_the_dark_quarter_counts_for_dark_objects() -> None:
    reference = np.asarray(cv2.resize(noise(30.0), (96, 96)), np.uint8)
    reference[:, :24] //= 8
    lost_light, lost_dark = reference.copy(), reference.copy()
    lost_light[:, 48:] = 128
    lost_dark[:, :24] = 0
    assert artifact_metrics.dark_ssim(reference, reference) == pytest.approx(1.0)
    assert artifact_metrics.dark_ssim(lost_light, reference) > 0.97
    assert artifact_metrics.dark_ssim(lost_dark, reference) < 0.8


def test_noise_is_relative_to_the_references_own_grain() -> None:
    fine, coarse = noise(2.0), noise(6.0, seed=1)
    assert artifact_metrics.noise_ratio(fine, fine) == 1.0
    assert artifact_metrics.noise_ratio(coarse, fine) == pytest.approx(6.0 / 2.0, rel=0.25)
    assert artifact_metrics.noise_ratio(GREY, fine[:32, :32]) < 0.25
    assert 4.0 < artifact_metrics.noise_ratio(fine, np.full((64, 64, 3), 128, np.uint8)) < 8.0


def test_texture_is_not_noise() -> None:
    """Half of the picture has an edge in every block; the flat half alone is judged."""
    reference = noise(2.0)
    reference[:, 32::4] = 20
    changed = reference.copy()
    changed[:, 32::4] = 250
    assert artifact_metrics.noise_ratio(changed, reference) == pytest.approx(1.0)


def test_no_noise_ratio_where_everything_is_clipped() -> None:
    assert math.isnan(artifact_metrics.noise_ratio(noise(2.0), np.full((64, 64, 3), 255, np.uint8)))


def test_clipped_pixels_are_counted_beside_the_references() -> None:
    lamp, blown = GREY.copy(), GREY.copy()
    lamp[:4, :4] = 255
    blown[:8, :8, 0] = 254
    assert artifact_metrics.clipped_excess(blown, lamp) == pytest.approx((64 - 16) / 1024)
    assert artifact_metrics.clipped_excess(GREY, lamp) == pytest.approx(-16 / 1024)
