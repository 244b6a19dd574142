"""The noise against the closed forms of the physics-based model (Wei et al. 2020)."""

from dataclasses import replace

import numpy as np
import pytest

from lowlight_enhance.core.metadata.capture import CaptureMetadata
from lowlight_enhance.simulation.low_light import (
    DarkExposure,
    darken,
    demosaic,
    develop,
    develop_16_bit,
    expose,
    linear_to_srgb,
    linearise,
    mosaic,
    sense,
    shot_noise,
    srgb_to_linear,
    tukey_lambda,
)
from lowlight_enhance.simulation.sensors import SENSORS, WHITE_DN, LogLine, SensorNoise

STEADY = SensorNoise(
    "steady",
    0.1,
    read=LogLine(0.5, 1.0, 0.0),
    row=LogLine(0.5, -0.5, 0.0),
    read_tukey=LogLine(0.5, 0.5, 0.0),
    tukey_shape=(0.14, 0.14),
)
ISO_3200 = CaptureMetadata(3200.0, 0.02)


def rng() -> np.random.Generator:
    return np.random.default_rng(11)


@pytest.mark.parametrize("count", [0.3, 5.0, 19.0, 21.0, 400.0])
def test_shot_noise_has_the_mean_and_variance_of_its_count(count: float) -> None:
    noisy = shot_noise(np.full(200_000, count, np.float32), rng())
    assert noisy.mean() == pytest.approx(count, rel=0.02)
    assert noisy.var() == pytest.approx(count, rel=0.03)


@pytest.mark.parametrize("signal", [300.0, 2000.0, 9000.0])
def test_variance_is_gain_times_signal_plus_read_row_and_rounding(signal: float) -> None:
    exposure = DarkExposure(0.0, ISO_3200, STEADY)
    raw = sense(np.full((600, 600), signal, np.float32), exposure, rng())
    gain = 3.2
    read, row = np.exp(0.5 * np.log(gain) + 1.0), np.exp(0.5 * np.log(gain) - 0.5)
    assert raw.mean() == pytest.approx(signal, rel=0.01)
    assert raw.var() == pytest.approx(gain * signal + read**2 + row**2 + 1 / 12, rel=0.02)


def test_row_noise_is_shared_along_a_row() -> None:
    raw = sense(np.full((2000, 400), 3000.0, np.float32), DarkExposure(0.0, ISO_3200, STEADY), rng())
    row = np.exp(0.5 * np.log(3.2) - 0.5)
    alone = raw.var(axis=1).mean()
    assert raw.mean(axis=1).var() == pytest.approx(row**2 + alone / 400, rel=0.1)
    assert raw.mean(axis=0).var() < 0.02 * raw.mean(axis=1).var() + alone / 1000


def test_tukey_lambda_variance_matches_its_closed_form() -> None:
    shape = 0.14
    from math import gamma

    expected = 2 / shape**2 * (1 / (1 + 2 * shape) - gamma(shape + 1) ** 2 / gamma(2 * shape + 2))
    assert tukey_lambda(shape, (400_000,), rng()).var() == pytest.approx(expected, rel=0.02)
    assert tukey_lambda(0.0, (400_000,), rng()).var() == pytest.approx(np.pi**2 / 3, rel=0.02)


def test_scatter_of_a_noise_scale_is_log_normal() -> None:
    line = SENSORS["SonyA7S2"].read
    draws = np.log([line.draw(2.0, generator) for generator in [rng()] for _ in range(5000)])
    assert draws.mean() == pytest.approx(np.log(line.median(2.0)), abs=0.02)
    assert draws.std() == pytest.approx(line.sigma, rel=0.05)


def test_srgb_curve_is_its_own_inverse_and_meets_the_standard() -> None:
    x = np.linspace(0, 1, 1001, dtype=np.float32)
    assert np.abs(linear_to_srgb(srgb_to_linear(x)) - x).max() < 1e-5
    assert float(srgb_to_linear(np.float32([0.5]))[0]) == pytest.approx(0.21404, abs=1e-4)


def test_demosaic_gives_every_colour_its_channel() -> None:
    flat = np.zeros((16, 16, 3), np.float32)
    flat[..., 0], flat[..., 1], flat[..., 2] = 1000.0, 2000.0, 3000.0
    assert demosaic(mosaic(flat))[4:12, 4:12] == pytest.approx(flat[4:12, 4:12])


@pytest.mark.parametrize("bayer", [True, False])
@pytest.mark.parametrize("tukey", [True, False])
def test_a_dark_frame_has_the_light_that_the_stops_leave(bayer: bool, tukey: bool) -> None:
    rgb = np.full((128, 128, 3), (200, 150, 100), np.uint8)
    exposure = DarkExposure(3.0, CaptureMetadata(100.0, 0.01), SENSORS["NikonD850"], bayer=bayer, tukey=tukey)
    dark = darken(rgb, exposure, rng())
    light = srgb_to_linear(dark.astype(np.float32) / 255).mean((0, 1))
    expected = srgb_to_linear(np.float32([200, 150, 100]) / 255) / 8
    assert light == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("bayer", [True, False])
def test_a_black_offset_adds_light_that_the_white_balance_multiplies(bayer: bool) -> None:
    rgb = np.full((128, 128, 3), (200, 150, 100), np.uint8)
    plain = DarkExposure(3.0, CaptureMetadata(100.0, 0.01), SENSORS["NikonD850"], (2.0, 1.5), bayer=bayer)
    veiled = replace(plain, black_offset=(30.0, -40.0, 80.0))
    lights = [srgb_to_linear(darken(rgb, e, rng()).astype(np.float32) / 255).mean((0, 1)) for e in (plain, veiled)]
    added = np.array([30.0 * 2.0, -40.0, 80.0 * 1.5]) / WHITE_DN
    assert lights[1] - lights[0] == pytest.approx(added, rel=0.05)


def test_shadows_below_black_are_crushed() -> None:
    rgb = np.full((64, 64, 3), 60, np.uint8)
    exposure = DarkExposure(4.0, CaptureMetadata(100.0, 0.01), SENSORS["NikonD850"], black_offset=(-200.0,) * 3)
    assert not darken(rgb, exposure, rng()).any()


def test_frames_depend_on_the_seed_only() -> None:
    rgb = np.full((64, 64, 3), 120, np.uint8)
    exposure = DarkExposure(4.0, ISO_3200, SENSORS["SonyA7S2"])
    first, again, other = (darken(rgb, exposure, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_noise_grows_with_iso() -> None:
    rgb = np.full((128, 128, 3), 150, np.uint8)
    spread = [
        darken(rgb, DarkExposure(3.0, CaptureMetadata(iso, None), SENSORS["CanonEOS70D"]), rng()).std()
        for iso in (100.0, 800.0, 6400.0)
    ]
    assert spread[0] < spread[1] < spread[2]


def test_a_dark_exposure_needs_an_iso() -> None:
    with pytest.raises(ValueError, match="ISO"):
        DarkExposure(1.0, CaptureMetadata(None, 0.1), STEADY)


def averaged_frames(exposure: DarkExposure, count: int, level: int, seed: int) -> np.ndarray:
    scene = linearise(np.full((64, 64, 3), level, np.uint8))
    rng = np.random.default_rng(seed)
    return np.mean([expose(scene, exposure, rng) for _ in range(count)], axis=0)


@pytest.mark.parametrize("bayer", [False, True])
@pytest.mark.parametrize(("stops", "iso"), [(2.0, 800.0), (5.0, 6400.0)])
def test_a_simulated_average_is_like_the_average_of_single_frames(stops: float, iso: float, bayer: bool) -> None:
    sensor = SENSORS["SonyA7S2"].with_full_well(10000.0)
    exposure = DarkExposure(stops, CaptureMetadata(iso), sensor, (1.0, 1.0), bayer=bayer)
    real = averaged_frames(exposure, 8, 120, 0)
    scene = linearise(np.full((64, 64, 3), 120, np.uint8))
    simulated = expose(scene, exposure, np.random.default_rng(1), np.full((64, 64), 8.0, np.float32))
    single = averaged_frames(exposure, 1, 120, 2)
    # Read and row noise are drawn anew for each frame (they scatter by a quarter), so the tolerance is wide.
    assert simulated.mean() == pytest.approx(real.mean(), rel=0.15)
    assert simulated.std() == pytest.approx(real.std(), rel=0.35)
    assert simulated.std() < 0.55 * single.std()


def test_counts_may_differ_from_pixel_to_pixel() -> None:
    exposure = DarkExposure(4.0, CaptureMetadata(3200.0), SENSORS["SonyA7S2"], (1.0, 1.0), bayer=False)
    counts = np.ones((64, 64), np.float32)
    counts[:, 32:] = 16.0
    noisy = expose(linearise(np.full((64, 64, 3), 120, np.uint8)), exposure, np.random.default_rng(0), counts)
    assert noisy[:, 32:].std() < 0.4 * noisy[:, :32].std()


def test_stops_may_differ_from_pixel_to_pixel() -> None:
    stops = np.zeros((32, 32), np.float32)
    stops[16:] = 4.0
    dark = darken(
        np.full((32, 32, 3), 180, np.uint8),
        DarkExposure(stops, CaptureMetadata(100.0), SENSORS["SonyA7S2"], bayer=False),
        np.random.default_rng(0),
    )
    assert dark[:16].mean() == pytest.approx(180.0, abs=2.0)
    assert dark[17:].mean() < 70.0


def test_16_bits_agree_with_8() -> None:
    ramp = np.linspace(0.0, 1.2, 300, dtype=np.float32).reshape(10, 10, 3)
    np.testing.assert_allclose(develop_16_bit(ramp) / 257.0, develop(ramp), atol=0.6)


def test_a_smaller_full_well_is_noisier() -> None:
    large, small = SENSORS["SonyA7S2"], SENSORS["SonyA7S2"].with_full_well(5000.0)
    assert small.gain(100.0) == pytest.approx(WHITE_DN / 5000.0)
    assert small.read.median(small.gain(100.0)) > large.read.median(large.gain(100.0))


def test_without_black_bias_an_average_is_like_one_long_exposure() -> None:
    scene = np.full((64, 64, 3), 0.0005, np.float32)
    sensor = SENSORS["SonyA7S2"].with_full_well(10000.0)
    exposure = DarkExposure(0.0, CaptureMetadata(6400.0), sensor, (1.0, 1.0), bayer=False)
    counts = np.full((64, 64), 16.0, np.float32)
    plain, unbiased = (expose(scene, exposure, np.random.default_rng(0), counts, share).mean() for share in (1.0, 0.0))
    assert unbiased < 0.7 * plain
