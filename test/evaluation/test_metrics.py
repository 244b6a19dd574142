"""Metrics against a reference, checked against torchmetrics and scikit-image."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
import pytest

from lowlight_enhance.core.errors import ImageError
from lowlight_enhance.evaluation import metrics

GREY = np.full((32, 32, 3), 128, np.uint8)


def scene(height: int = 72, width: int = 96) -> Any:
    coarse = np.random.default_rng(1).integers(0, 256, (9, 12, 3), np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def noisy(deviation: float) -> Any:
    noise = np.random.default_rng(2).normal(0, deviation, scene().shape)
    return np.clip(scene() + noise, 0, 255).astype(np.uint8)


def test_equal_images_have_perfect_scores() -> None:
    assert metrics.psnr_db(scene(), scene()) == metrics.MAX_PSNR_DB
    assert metrics.ssim(scene(), scene()) == pytest.approx(1.0, abs=1e-5)
    assert metrics.l1(scene(), scene()) == metrics.hue_error_deg(scene(), scene()) == 0.0


def test_psnr_and_l1_of_a_known_error() -> None:
    shifted = GREY + 51
    assert metrics.l1(shifted, GREY) == pytest.approx(0.2)
    assert metrics.psnr_db(shifted, GREY) == pytest.approx(-20 * math.log10(0.2), abs=1e-4)


@pytest.mark.parametrize("deviation", [2.0, 25.0, 80.0])
def test_psnr_and_ssim_equal_those_of_torchmetrics(deviation: float) -> None:
    torch = pytest.importorskip("torch")
    functional = pytest.importorskip("torchmetrics.functional.image")
    image, reference = (
        torch.from_numpy(np.ascontiguousarray(p.transpose(2, 0, 1)))[None].float() / 255
        for p in (noisy(deviation), scene())
    )
    psnr = functional.peak_signal_noise_ratio(image, reference, data_range=1.0)
    ssim, full = functional.structural_similarity_index_measure(
        image, reference, data_range=1.0, return_full_image=True
    )
    assert metrics.psnr_db(noisy(deviation), scene()) == pytest.approx(float(psnr), abs=1e-3)
    assert metrics.ssim(noisy(deviation), scene()) == pytest.approx(float(ssim), abs=1e-4)
    of_pixels = full[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(metrics.ssim_map(noisy(deviation), scene()), of_pixels, atol=2e-3)


@pytest.mark.parametrize("deviation", [2.0, 25.0, 80.0])
def test_psnr_and_ssim_equal_those_of_scikit_image(deviation: float) -> None:
    skimage = pytest.importorskip("skimage.metrics")
    image, reference = noisy(deviation), scene()
    psnr = skimage.peak_signal_noise_ratio(reference, image, data_range=255)
    settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    ssim = skimage.structural_similarity(image, reference, channel_axis=2, **settings)
    assert metrics.psnr_db(image, reference) == pytest.approx(psnr, abs=1e-3)
    inner = metrics.ssim_map(image, reference)[5:-5, 5:-5]  # scikit-image leaves out the border
    assert inner.mean() == pytest.approx(ssim, abs=1e-4)


def test_float_images_score_like_uint8_images() -> None:
    image, reference = (p.astype(np.float32) / 255 for p in (noisy(25.0), scene()))
    found = metrics.reference_metrics(image, reference)
    expected = metrics.reference_metrics(noisy(25.0), scene())
    assert (found.psnr_db, found.ssim) == pytest.approx((expected.psnr_db, expected.ssim), abs=1e-5)
    assert found.hue_error_deg == pytest.approx(expected.hue_error_deg, abs=1e-3)
    assert metrics.l1(image, reference) == pytest.approx(metrics.l1(noisy(25.0), scene()), abs=1e-6)


def test_gt_mean_psnr_ignores_a_global_gain() -> None:
    reference = (scene() // 2).astype(np.uint8)
    darker = (reference // 2).astype(np.uint8)
    assert metrics.gt_mean_psnr_db(darker, reference) > 45.0 > 20.0 > metrics.psnr_db(darker, reference)
    assert metrics.gt_mean_psnr_db(np.zeros_like(reference), reference) < 20.0


def test_ssim_of_images_smaller_than_the_window_does_not_exist() -> None:
    assert math.isnan(metrics.ssim(GREY[:5], GREY[:5]))
    assert metrics.ssim(GREY[:6], GREY[:6]) == pytest.approx(1.0)


def test_images_of_different_sizes_are_an_error() -> None:
    functions = (metrics.psnr_db, metrics.ssim, metrics.ssim_map, metrics.l1, metrics.hue_error_deg)
    for function in (*functions, metrics.gt_mean_psnr_db, metrics.reference_metrics):
        with pytest.raises(ImageError, match="32x32 and its reference 32x20"):
            function(GREY, GREY[:20])


def test_hue_error_measures_colour_casts_and_ignores_grey() -> None:
    red, green = (np.zeros((8, 8, 3), np.uint8) for _ in range(2))
    red[..., 0], green[..., 1] = 200, 200
    angle = [math.degrees(math.atan2(b, a)) for a, b in ((80.1, 67.2), (-86.2, 83.2))]  # CIELAB of sRGB red and green
    assert metrics.hue_error_deg(red, red) == 0.0
    assert metrics.hue_error_deg(green, red) == pytest.approx(angle[1] - angle[0], abs=1.0)
    assert math.isnan(metrics.hue_error_deg(green, GREY[:8, :8]))
    half = np.concatenate((red, GREY[:8, :8]))
    assert metrics.hue_error_deg(half, half) == 0.0
    for value in (0, 90, 255):
        grey = np.full_like(red, value)
        assert metrics.hue_error_deg(grey, red) == metrics.hue_error_deg(grey, green) == 90.0


def test_hue_error_is_a_difference_of_angles() -> None:
    """Two reds on either side of hue zero are close."""
    below, above = (np.full((4, 4, 3), colour, np.uint8) for colour in ((200, 60, 135), (200, 60, 120)))
    assert metrics.hue_error_deg(below, above) < 20.0
