import hashlib
from pathlib import Path

import numpy as np
import pytest
from tiny_model import write_tiny_model

from lowlight_enhance.core.enhancement.enhancer import Enhancer
from lowlight_enhance.core.errors import ConfigError, ImageError, ModelError
from lowlight_enhance.core.inference.model_input import ModelInput
from lowlight_enhance.core.inference.model_zoo import find_model
from lowlight_enhance.core.metadata.capture import UNKNOWN, CaptureMetadata


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return write_tiny_model(tmp_path / "tiny.onnx", gain=3.0, model_input=ModelInput(working_size=64))


@pytest.mark.parametrize(("height", "width"), [(480, 640), (97, 131), (64, 64), (20, 300), (1, 1)])
def test_output_has_the_input_size(tiny: Path, height: int, width: int) -> None:
    rgb = np.full((height, width, 3), 20, np.uint8)
    out = Enhancer(tiny, threads=1)(rgb, CaptureMetadata(3200, 0.01))
    assert out.shape == rgb.shape
    assert out.dtype == np.uint8
    assert np.all(out == 60)


def test_model_resolution_is_that_of_the_network(tiny: Path) -> None:
    out = Enhancer(tiny, output_resolution="model")(np.full((480, 640, 3), 20, np.uint8), UNKNOWN)
    assert out.shape == (64, 85, 3)
    assert np.all(out == 60)


def test_sixteen_bit_frames_keep_their_depth_into_the_network(tiny: Path) -> None:
    out = Enhancer(tiny)(np.full((64, 64, 3), 257 * 20 + 100, np.uint16), UNKNOWN)
    assert out.dtype == np.uint8
    assert np.all(out == 61)  # 3 * 20.39, where 8 bits would have made 60


def test_the_file_describes_itself(tiny: Path) -> None:
    enhancer = Enhancer(tiny, working_size=128)
    assert enhancer.working_size == 128
    assert enhancer.model_input.iso_range == ModelInput().iso_range
    assert enhancer.name == "tiny"
    assert enhancer.providers == ("CPUExecutionProvider",)
    assert enhancer.sha256 == hashlib.sha256(tiny.read_bytes()).hexdigest()


def test_three_channel_models_are_supported(tmp_path: Path) -> None:
    model = write_tiny_model(tmp_path / "picture.onnx", gain=2.0, channels=3, model_input=ModelInput(working_size=32))
    rgb = np.full((64, 96, 3), 30, np.uint8)
    out = Enhancer(model)(rgb, UNKNOWN)
    assert out.shape == rgb.shape
    assert np.abs(out.astype(int) - 60).max() <= 1


def test_a_missing_file_is_named_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"nowhere\.onnx.*lowlight export"):
        Enhancer(tmp_path / "nowhere.onnx")


def test_the_name_of_an_included_model_is_taken_and_another_name_is_an_error() -> None:
    assert Enhancer("tiny", threads=1).path == find_model("tiny")
    with pytest.raises(ConfigError, match="neither an included model"):
        Enhancer("tinny")


def test_damaged_and_foreign_files_are_rejected(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("not a model")
    with pytest.raises(ModelError, match=r"text\.onnx is not a readable ONNX model.*lowlight export"):
        Enhancer(tmp_path / "text.onnx")
    truncated = write_tiny_model(tmp_path / "cut.onnx")
    truncated.write_bytes(truncated.read_bytes()[:200])
    with pytest.raises(ModelError, match=r"cut\.onnx"):
        Enhancer(truncated)
    with pytest.raises(ModelError, match="not exported by this package"):
        Enhancer(write_tiny_model(tmp_path / "foreign.onnx", metadata={}))
    with pytest.raises(ModelError, match="expected one input"):
        Enhancer(write_tiny_model(tmp_path / "rgb.onnx", inputs=3))


def test_invalid_settings_are_rejected(tiny: Path) -> None:
    with pytest.raises(ConfigError, match=r"NoSuchProvider.*available: "):
        Enhancer(tiny, providers=("NoSuchProvider",))
    with pytest.raises(ConfigError, match="threads"):
        Enhancer(tiny, threads=-2)
    with pytest.raises(ConfigError, match="working_size"):
        Enhancer(tiny, working_size=-1)
    with pytest.raises(ConfigError, match="output_resolution"):
        Enhancer(tiny, output_resolution="full")  # type: ignore[arg-type]


def test_a_bad_image_is_an_image_error(tiny: Path) -> None:
    with pytest.raises(ImageError):
        Enhancer(tiny)(np.zeros((4, 4), np.uint8), UNKNOWN)
