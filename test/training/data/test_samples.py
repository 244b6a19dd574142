"""One rule for all light: what samples are, and the draws behind them."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from lowlight_enhance.simulation.sensors import WHITE_DN
from lowlight_enhance.training.data import augment
from lowlight_enhance.training.data.augment import SID_SONY_CAPTURES, crop, draw_black_offset, draw_capture
from lowlight_enhance.training.data.config import DataConfig
from lowlight_enhance.training.data.samples import simulate

PLAIN = DataConfig(uneven=0.0, lamps=0.0, averaged=0.0, black_offset=0.0, contrast=0.0, jpeg=0.0, well_exposed=0.0)
"""Even under-exposure of single frames."""


def photo(seed: int = 0, size: int = 64) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)


def drawn(config: DataConfig, count: int = 40, picture: np.ndarray | None = None) -> list:
    rng = np.random.default_rng(3)
    return [simulate(photo(1) if picture is None else picture, config, rng) for _ in range(count)]


def test_the_target_is_always_the_well_exposed_picture() -> None:
    for sample in drawn(DataConfig(lamps=0.0)):
        np.testing.assert_array_equal(sample.bright, photo(1))
        assert sample.labelled


def test_under_exposure_is_continuous_from_none_to_seven_stops() -> None:
    grey = np.full((32, 32, 3), 120, np.uint8)
    means = np.sort([sample.dark.mean() for sample in drawn(PLAIN, 200, grey)])
    assert means[0] < 12.0
    assert means[-1] > 110.0
    assert np.diff(means).max() < 12.0, "nothing is left out in the middle"


@pytest.mark.parametrize("level", [25, 120, 220])
def test_no_stops_are_identity_plus_noise_whatever_the_mean_of_the_scene(level: int) -> None:
    picture = np.full((64, 64, 3), level, np.uint8)
    for sample in drawn(replace(PLAIN, well_exposed=1.0), 10, picture):
        assert sample.dark.mean() == pytest.approx(level, abs=6.0)
        np.testing.assert_array_equal(sample.bright, picture)


def test_uneven_light_leaves_a_lit_and_a_dark_part() -> None:
    picture = np.full((64, 64, 3), 150, np.uint8)
    ranges = []
    for sample in drawn(replace(PLAIN, uneven=1.0), 40, picture):
        smooth = cv2.blur(sample.dark.mean(2), (9, 9))
        ranges.append(float(smooth.max() - smooth.min()))
    assert np.median(ranges) > 40.0


def test_lamps_are_white_in_the_target_and_brighten_the_frame() -> None:
    picture = np.full((64, 64, 3), 60, np.uint8)
    samples = drawn(replace(PLAIN, lamps=1.0), 30, picture)
    assert np.mean([sample.bright.max() for sample in samples]) > 250.0
    assert all((sample.bright >= picture).all() for sample in samples)


def test_averages_have_16_bits_and_a_count_for_each_pixel() -> None:
    for sample in drawn(replace(PLAIN, averaged=1.0, max_frames=8)):
        assert sample.dark.dtype == np.uint16
        assert sample.frame_counts.shape == sample.dark.shape[:2]
        assert 1.0 <= sample.frame_counts.min() <= sample.frame_counts.max() <= 8.0


def test_nothing_is_drawn_in_which_nothing_can_be_seen() -> None:
    for sample in drawn(replace(PLAIN, stops=(7.0, 7.0), small_sensors=1.0), 60, np.full((32, 32, 3), 250, np.uint8)):
        assert sample.dark.mean() > 0.5


def test_a_crop_is_the_same_window_of_each_picture() -> None:
    base = photo(4, 100)
    first, second = crop((base, 255 - base), 40, np.random.default_rng(0), keep_white=False)
    assert first.shape == (40, 40, 3)
    assert np.abs(first.astype(int) + second - 255).max() <= 1


def test_a_crop_contains_the_white_of_its_scene() -> None:
    rng = np.random.default_rng(0)
    for _ in range(60):
        scene = np.full((90, 130, 3), 100, np.uint8)
        y, x = int(rng.integers(10)) * 8 + 1, int(rng.integers(15)) * 8 + 2
        scene[y : y + 8, x : x + 8, 1] = 255
        (part,) = crop((scene,), 40, rng)
        assert part.shape == (40, 40, 3)
        assert part.max() > 200
    without = [crop((scene,), 40, rng, keep_white=False)[0].max() for _ in range(60)]
    assert min(without) == 100, "other crops may lack it"


def test_a_crop_of_an_even_picture_may_lie_anywhere() -> None:
    y, x = np.mgrid[0:80, 0:80].astype(np.uint8)
    scene = np.stack((np.full_like(y, 250), y, x), 2)
    corners = [crop((scene,), 40, np.random.default_rng(seed), hflip=0.0)[0][0, 0, 1:] for seed in range(40)]
    assert np.ptp([corner[0] for corner in corners]) > 20
    assert np.ptp([corner[1] for corner in corners]) > 20


def test_captures_come_from_the_list_as_often_as_asked() -> None:
    rng = np.random.default_rng(0)
    listed = {float(row[0]) for row in SID_SONY_CAPTURES}
    for share, expected in ((0.0, 0), (1.0, 50)):
        isos = [draw_capture(3.0, share, rng).iso for _ in range(50)]
        assert sum(iso in listed for iso in isos) == expected


def test_a_smaller_sensor_is_noisier() -> None:
    rng = np.random.default_rng(0)
    gains = {
        share: np.median([augment.draw_sensor(share, rng).gain_at_100 for _ in range(100)]) for share in (0.0, 1.0)
    }
    assert gains[1.0] > 2.0 * gains[0.0]


@pytest.mark.parametrize("stops", [2.0, 5.0, 7.0])
def test_a_veil_has_the_colour_of_the_light_and_hides_no_more_than_it_may(stops: float) -> None:
    rng, balance = np.random.default_rng(0), np.array([2.0, 1.0, 1.5])
    drawn = np.array([draw_black_offset(stops, (2.0, 1.5), rng) for _ in range(2000)]) * balance
    grey = min(0.18 * WHITE_DN * 2.0**-stops, 100.0)
    assert np.quantile(drawn[:, 1], 0.95) < grey + 10.0
    assert -grey - 10.0 < np.quantile(drawn[:, 1], 0.05) < -0.5 * grey
    assert (drawn[:, 1] > 0.0).mean() == pytest.approx(0.5, abs=0.1)
    if stops == 2.0:  # the sensor's own part is small beside the light's
        assert np.corrcoef(drawn.T).min() > 0.9
