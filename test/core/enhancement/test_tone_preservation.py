"""Tone preservation: bright frames keep the tones of the camera, everything else keeps those of the network."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny_model import write_tiny_model

from lowlight_enhance.core.enhancement.enhancer import Enhancer
from lowlight_enhance.core.enhancement.maps import EnhancementMaps
from lowlight_enhance.core.enhancement.tone_preservation import preserve_tones
from lowlight_enhance.core.inference.model_input import ModelInput
from lowlight_enhance.core.metadata.capture import UNKNOWN

TINT = np.array([0.06, -0.02, -0.05], np.float32)


def scene(height: int = 48, width: int = 64, level: float = 0.5, white: float = 1.0) -> np.ndarray:
    """Return a smooth scene of mean ``level`` with a corner of ``white``, (3, h, w)."""
    coarse = np.random.default_rng(2).uniform(0.8, 1.2, (6, 8, 3)).astype(np.float32)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).transpose(2, 0, 1)
    small = np.ascontiguousarray(smooth * np.float32(level / smooth.mean()))
    small[:, :8, :12] = white
    return small


def maps_of(gain: float, tint: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    maps = np.full((6, *shape), gain, np.float32)
    maps[3:] = tint[:, None, None]
    return maps


def enhanced(maps: np.ndarray, small: np.ndarray) -> np.ndarray:
    return maps[:3] * small + maps[3:]


def preserved(maps: np.ndarray, small: np.ndarray) -> np.ndarray:
    """Return (6, h, w) maps after ``preserve_tones``, which must not change its argument."""
    before = maps.copy()
    result = preserve_tones(EnhancementMaps(maps[:3], maps[3:], small))
    np.testing.assert_array_equal(maps, before)
    return np.concatenate([result.gain, result.offset])


@pytest.mark.parametrize("size", [(48, 64), (47, 63), (1, 1), (2, 9), (200, 3)])
def test_a_tint_at_equal_brightness_is_removed(size: tuple[int, int]) -> None:
    small = scene(*size)
    maps = maps_of(1.0, TINT, size)
    maps = preserved(maps, small)
    np.testing.assert_allclose(enhanced(maps, small), small, atol=1e-5)


def test_tints_that_vary_over_the_frame_are_removed() -> None:
    small = scene()
    maps = maps_of(1.0, TINT, (48, 64))
    maps[3] += np.linspace(-0.2, 0.1, 64, dtype=np.float32)
    maps = preserved(maps, small)
    np.testing.assert_allclose(enhanced(maps, small)[:, :, 4:-4], small[:, :, 4:-4], atol=2e-3)


def test_noise_that_the_network_removed_stays_removed() -> None:
    clean = scene()
    noisy = clean + np.random.default_rng(3).normal(0.0, 0.1, clean.shape).astype(np.float32)
    maps = np.concatenate([np.zeros_like(clean), clean + TINT[:, None, None]])
    maps = preserved(maps, noisy)
    assert np.sqrt(np.mean((enhanced(maps, noisy) - clean) ** 2)) < 0.025
    assert np.abs((enhanced(maps, noisy) - clean).mean((1, 2))).max() < 0.005


def test_edges_of_the_network_are_kept() -> None:
    """A line of one pixel that is in the frame only as much as a bright row of cells is."""
    small = scene()
    maps = maps_of(1.0, np.zeros(3, np.float32), (48, 64))
    maps[3:, :, 32] += 0.2
    before = enhanced(maps, small).copy()
    maps = preserved(maps, small)
    line = enhanced(maps, small)[:, :, 32] - 0.5 * (enhanced(maps, small)[:, :, 31] + enhanced(maps, small)[:, :, 33])
    was = before[:, :, 32] - 0.5 * (before[:, :, 31] + before[:, :, 33])
    np.testing.assert_allclose(line.mean(), was.mean(), atol=0.02)


def test_frames_without_white_are_not_changed() -> None:
    small = scene(white=0.88)
    maps = maps_of(1.0, TINT, (48, 64))
    np.testing.assert_array_equal(preserved(maps, small), maps)


def test_the_share_increases_with_the_white_level() -> None:
    remaining = []
    for white in np.arange(0.9, 0.97, 0.01):
        small = scene(white=float(white))
        maps = preserved(maps_of(1.0, TINT, (48, 64)), small)
        remaining.append(float(np.abs(enhanced(maps, small) - small).mean()))
    assert remaining[0] == pytest.approx(float(np.abs(TINT).mean()), rel=1e-3)
    assert remaining[-1] < 1e-5
    assert np.all(np.diff(remaining) <= 1e-6)


@pytest.mark.parametrize("gain", [1.9, 6.0, 0.4])
def test_brightened_and_darkened_frames_are_not_changed(gain: float) -> None:
    small = scene(level=0.14)
    maps = maps_of(gain, 0.1 * TINT, (48, 64))
    before = maps.copy()
    maps = preserved(maps, small)
    np.testing.assert_array_equal(maps, before)


def test_brightened_shadows_are_not_changed() -> None:
    """The upper half, in light, is tinted and as bright; the lower, in shadow, is made three times as bright."""
    small = scene(96, 64, 0.6)
    small[:, 48:] *= np.float32(0.1)
    maps = maps_of(1.0, TINT, (96, 64))
    maps[:3, 48:], maps[3:, 48:] = 3.0, 0.0
    before = enhanced(maps, small).copy()
    maps = preserved(maps, small)
    after = enhanced(maps, small)
    np.testing.assert_array_equal(after[:, 72:], before[:, 72:])
    np.testing.assert_allclose(after[:, :24], small[:, :24], atol=1e-5)


def test_the_share_decreases_between_the_limits() -> None:
    small = scene(level=0.4)
    brightness_ratios = []
    for gain in np.arange(1.25, 1.7, 0.025):
        maps = maps_of(float(gain), np.zeros(3, np.float32), (48, 64))
        maps = preserved(maps, small)
        brightness_ratios.append(float(enhanced(maps, small).mean() / small.mean()))
    assert brightness_ratios[0] == pytest.approx(1.0, abs=1e-3)
    assert brightness_ratios[-1] == pytest.approx(1.675, abs=1e-3)
    assert np.all(np.diff(brightness_ratios) >= -1e-6)
    assert np.diff(brightness_ratios).max() < 0.12


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_outputs_that_are_not_finite_are_returned_unchanged(value: float) -> None:
    small = scene()
    maps = maps_of(1.0, TINT, (48, 64))
    maps[4, 8, 8] = value
    before = maps.copy()
    maps = preserved(maps, small)
    np.testing.assert_array_equal(maps, before)


def test_black_frames_are_not_changed() -> None:
    small = np.zeros((3, 48, 64), np.float32)
    maps = maps_of(1.0, np.full(3, 0.2, np.float32), (48, 64))
    maps = preserved(maps, small)
    np.testing.assert_allclose(enhanced(maps, small), 0.2)


@pytest.mark.parametrize("channels", [3, 6])
def test_an_enhancer_preserves_the_tones_of_bright_frames_only(tmp_path: Path, channels: int) -> None:
    file = write_tiny_model(tmp_path / "tiny.onnx", 1.0, 0.1, ModelInput(working_size=48), channels=channels)
    enhancer = Enhancer(file)
    bright = np.rint(scene(96, 128, 0.6).transpose(1, 2, 0) * 255).astype(np.uint8)
    bright[:16, :24] = 255
    assert np.abs(enhancer(bright, UNKNOWN).mean((0, 1)) - bright.mean((0, 1))).max() < 1.0
    dark = bright // 20
    assert np.all(np.abs(enhancer(dark, UNKNOWN).mean((0, 1)) - dark.mean((0, 1)) - 25.5) < 1.0)
