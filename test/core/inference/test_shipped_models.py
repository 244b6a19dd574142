"""The model files in this repository agree with their model card."""

from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest

from lowlight_enhance.core.enhancement.enhancer import Enhancer
from lowlight_enhance.core.inference.model_zoo import default_model
from lowlight_enhance.core.metadata.capture import UNKNOWN, CaptureMetadata
from lowlight_enhance.simulation.low_light import DarkExposure, darken
from lowlight_enhance.simulation.sensors import SENSORS

MODELS = sorted((Path(__file__).parents[3] / "models").glob("*.onnx"))
CAPTURE = CaptureMetadata(1600.0, 1 / 60)


def scene() -> np.ndarray:
    """Return smooth coloured shapes, (240, 320, 3) uint8."""
    coarse = np.random.default_rng(4).integers(40, 230, (6, 8, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(coarse, (320, 240), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((a.astype(float) - b) ** 2)))


def roughness(rgb: np.ndarray) -> float:
    """Return the standard deviation of the difference to a blurred copy: the noise of a smooth scene."""
    return float((rgb - cv2.GaussianBlur(rgb.astype(np.float32), (0, 0), 3)).std())


@pytest.mark.parametrize("model", MODELS, ids=lambda path: path.name)
def test_models_brighten_and_denoise_with_and_without_metadata(model: Path) -> None:
    bright = scene()
    dark = darken(bright, DarkExposure(4.0, CAPTURE, SENSORS["CanonEOS700D"]), np.random.default_rng(0))
    enhancer = Enhancer(model, threads=1)
    gain = bright.mean() / dark.mean()
    for capture in (CAPTURE, UNKNOWN):
        out = enhancer(dark, capture)
        assert psnr(out, bright) > psnr(dark, bright) + 6.0
        assert roughness(out) < 0.7 * gain * roughness(dark)


@pytest.mark.parametrize("model", MODELS, ids=lambda path: path.name)
def test_models_are_small_and_on_their_card(model: Path) -> None:
    assert model.stat().st_size < 10_000_000
    assert model.name in (model.parent / "MODEL_CARD.md").read_text()


def test_the_default_model_has_the_size_in_the_paper() -> None:
    weights = onnx.load(default_model()).graph.initializer
    assert 2.28e6 <= sum(int(np.prod(w.dims)) for w in weights) <= 2.52e6
