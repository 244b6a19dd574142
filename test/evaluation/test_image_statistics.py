"""Statistics of a single image."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from lowlight_enhance.core.errors import ImageError
from lowlight_enhance.evaluation.image_statistics import image_statistics


@pytest.mark.parametrize("deviation", [2.0, 8.0])
def test_noise_is_estimated(deviation: float) -> None:
    noise = np.random.default_rng(0).normal(0.0, deviation, (64, 80, 1))
    image = np.clip(128.0 + np.repeat(noise, 3, 2), 0, 255).astype(np.uint8)
    assert image_statistics(image).noise_sigma == pytest.approx(deviation, rel=0.1)


def test_a_gradient_is_not_noise() -> None:
    gradient = np.repeat(np.tile(np.arange(0, 160, 2, np.uint8), (64, 1))[..., None], 3, 2)
    assert image_statistics(gradient).noise_sigma == pytest.approx(0.0, abs=1e-4)


def test_a_blurred_image_is_less_sharp_and_equally_bright() -> None:
    coarse = np.random.default_rng(1).integers(0, 256, (9, 12, 3), np.uint8)
    scene: Any = cv2.resize(coarse, (96, 72), interpolation=cv2.INTER_CUBIC)
    sharp, blurred = image_statistics(scene), image_statistics(cv2.GaussianBlur(scene, (0, 0), 2.0))
    assert blurred.laplacian_variance < 0.7 * sharp.laplacian_variance
    assert blurred.tenengrad < sharp.tenengrad
    assert blurred.mean_luma == pytest.approx(sharp.mean_luma, abs=1.0)


def test_images_smaller_than_the_kernels_are_an_error() -> None:
    with pytest.raises(ImageError, match="3x3"):
        image_statistics(np.zeros((2, 80, 3), np.uint8))
