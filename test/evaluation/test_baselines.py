"""Baselines: brightening and blur without a network."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from lowlight_enhance.commands import detector_options
from lowlight_enhance.evaluation.baselines import BASELINES, TARGET_MEAN, auto_gamma, blur, clahe, gamma
from lowlight_enhance.evaluation.detection.layouts import LAYOUTS
from lowlight_enhance.evaluation.detection.yolo_labels import LABEL_FORMATS
from lowlight_enhance.simulation.camera_motion import MOTIONS


def photograph() -> np.ndarray:
    rng = np.random.default_rng(0)
    image = np.full((120, 160, 3), 110, np.uint8)
    for _ in range(60):
        x, y, side = (int(rng.integers(0, limit)) for limit in (150, 110, 24))
        tone = tuple(int(value) for value in rng.integers(20, 240, 3))
        cv2.rectangle(image, (x, y), (x + side + 5, y + side + 5), tone, -1)
    return image


def test_the_command_offers_every_baseline() -> None:
    assert tuple(BASELINES) == detector_options.BASELINES
    assert set(detector_options.DEFAULT_BASELINES) <= set(BASELINES)


def test_the_choices_of_the_command_are_those_of_the_code() -> None:
    assert detector_options.LAYOUTS == LAYOUTS
    assert detector_options.LABEL_FORMATS == LABEL_FORMATS
    assert detector_options.MOTIONS == MOTIONS


def test_baselines_brighten() -> None:
    dark = photograph() // 8
    for brighten in (gamma, auto_gamma, clahe):
        brighter = brighten(dark)
        assert brighter.shape == dark.shape
        assert brighter.dtype == np.uint8
        assert brighter.mean() > 1.3 * dark.mean()


def test_blur_removes_noise_and_keeps_the_brightness() -> None:
    noisy = np.random.default_rng(0).integers(20, 60, (64, 64, 3)).astype(np.uint8)
    blurred = blur(noisy)
    assert blurred.std() < 0.4 * noisy.std()
    assert blurred.mean() == pytest.approx(noisy.mean(), abs=0.5)


def test_gamma_is_a_power() -> None:
    values = np.array([[[0, 55, 255]]], np.uint8)
    assert gamma(values).tolist() == [[[0, round(255 * (55 / 255) ** (1 / 2.2)), 255]]]


def test_auto_gamma_reaches_its_mean_and_does_not_darken() -> None:
    assert auto_gamma(photograph() // 8).mean() == pytest.approx(TARGET_MEAN, abs=1.0)
    bright = np.full((8, 8, 3), 200, np.uint8)
    assert np.array_equal(auto_gamma(bright), bright)
    assert auto_gamma(np.zeros((8, 8, 3), np.uint8)).max() == 0


def test_clahe_raises_contrast_and_keeps_grey_grey() -> None:
    grey = np.repeat(cv2.cvtColor(photograph() // 8, cv2.COLOR_RGB2GRAY)[:, :, None], 3, 2)
    raised = clahe(grey).astype(int)
    assert raised.std() > 1.2 * grey.std()
    assert np.abs(raised - raised.mean(2, keepdims=True)).max() <= 2
