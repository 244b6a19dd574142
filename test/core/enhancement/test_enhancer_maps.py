"""The two steps of an enhancer, and frames that stay unchanged."""

from pathlib import Path

import numpy as np
import pytest
from tiny_model import write_tiny_model

from lowlight_enhance.core.enhancement.enhancer import Enhancer, FrameEnhancer, FunctionEnhancer
from lowlight_enhance.core.enhancement.maps import EnhancementMaps
from lowlight_enhance.core.inference.model_input import ModelInput, to_8_bit
from lowlight_enhance.core.metadata.capture import UNKNOWN

WORKING = ModelInput(working_size=48, size_multiple=32)


def noise(height: int, width: int, dtype: str = "uint8") -> np.ndarray:
    return np.random.default_rng(3).integers(0, np.iinfo(dtype).max, (height, width, 3), dtype=dtype, endpoint=True)


@pytest.mark.parametrize("resolution", ["input", "model"])
@pytest.mark.parametrize("channels", [3, 6])
def test_maps_and_apply_equal_a_call(tmp_path: Path, channels: int, resolution: str) -> None:
    file = write_tiny_model(tmp_path / "tiny.onnx", 1.5, 0.1, WORKING, channels=channels)
    enhancer = Enhancer(file, output_resolution=resolution)
    assert isinstance(enhancer, FrameEnhancer)
    rgb = noise(70, 100)
    maps = enhancer.maps(rgb, UNKNOWN)
    assert maps.gain.shape == maps.offset.shape == maps.frame.shape == (3, 48, 69)
    np.testing.assert_array_equal(enhancer.apply(maps, rgb), enhancer(rgb, UNKNOWN))


def test_maps_may_be_changed_before_apply(tmp_path: Path) -> None:
    enhancer = Enhancer(write_tiny_model(tmp_path / "tiny.onnx", 2.0, 0.0, WORKING))
    rgb = np.full((60, 80, 3), 20, np.uint8)
    maps = enhancer.maps(rgb, UNKNOWN)
    brighter = EnhancementMaps(maps.gain, maps.offset + np.float32(10.0 / 255.0), maps.frame)
    assert np.all(enhancer.apply(brighter, rgb) == 50)
    assert np.all(enhancer(rgb, UNKNOWN) == 40)


@pytest.mark.parametrize("way", ["local_affine", "guided", "gain", "resize"])
@pytest.mark.parametrize("channels", [3, 6])
@pytest.mark.parametrize("resolution", ["input", "model"])
def test_a_correction_is_added_to_the_frame(tmp_path: Path, channels: int, way: str, resolution: str) -> None:
    file = write_tiny_model(tmp_path / "tiny.onnx", 2.0, 0.0, WORKING, channels=channels)
    enhancer = Enhancer(file, upsampling=way, output_resolution=resolution)
    rgb = np.full((96, 96, 3), 20, np.uint8)
    correction = np.zeros((3, 5, 7), np.float32)
    correction[:] = np.array([10.0, -10.0, 0.0], np.float32)[:, None, None] / 255.0
    levels = enhancer.apply(enhancer.maps(rgb, UNKNOWN), rgb, correction)
    np.testing.assert_allclose(levels.reshape(-1, 3), np.full((levels.shape[0] ** 2, 3), [50, 30, 40]), atol=1)


def test_a_correction_varies_over_the_frame(tmp_path: Path) -> None:
    enhancer = Enhancer(write_tiny_model(tmp_path / "tiny.onnx", 1.0, 0.0, WORKING))
    rgb = np.full((96, 96, 3), 100, np.uint8)
    correction = np.zeros((3, 1, 2), np.float32)
    correction[:, :, 1] = 0.2
    out = enhancer.apply(enhancer.maps(rgb, UNKNOWN), rgb, correction)
    assert np.all(out[:, :20] == 100)
    assert np.all(out[:, -20:] == 151)
    assert np.all(np.diff(out[0, :, 0].astype(int)) >= 0)


def test_an_unchanged_frame_has_the_size_of_enhanced_ones(tmp_path: Path) -> None:
    file = write_tiny_model(tmp_path / "tiny.onnx", model_input=WORKING)
    rgb = noise(70, 100)
    assert Enhancer(file).unchanged(rgb) is rgb
    at_model = Enhancer(file, output_resolution="model")
    small = at_model.unchanged(rgb)
    assert small.shape == at_model(rgb, UNKNOWN).shape == (48, 69, 3)
    np.testing.assert_array_equal(small, WORKING.downscale(rgb))


def test_unchanged_16_bit_frames_are_converted_to_8() -> None:
    levels = np.array([0, 128, 129, 257, 65535 - 129, 65535], np.uint16)
    rgb = np.repeat(levels[:, None, None], 3, axis=2)
    np.testing.assert_array_equal(to_8_bit(rgb)[:, 0, 0], [0, 0, 1, 1, 254, 255])
    eight = noise(2, 2)
    assert to_8_bit(eight) is eight


@pytest.mark.parametrize("size", [(6, 8), (3, 4)])
def test_a_function_becomes_a_frame_enhancer(size: tuple[int, int]) -> None:
    result = noise(*size)
    enhancer = FunctionEnhancer(lambda *_: result)
    assert isinstance(enhancer, FrameEnhancer)
    rgb = noise(6, 8, "uint16")
    np.testing.assert_array_equal(enhancer.apply(enhancer.maps(rgb, UNKNOWN), rgb), result)
    np.testing.assert_array_equal(enhancer.unchanged(rgb), to_8_bit(rgb))
