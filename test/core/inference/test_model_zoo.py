from pathlib import Path

import pytest

from lowlight_enhance.core.errors import ConfigError
from lowlight_enhance.core.inference.model_zoo import DEFAULT_MODEL, INCLUDED_MODELS, default_model, find_model

FOLDER = Path(__file__).parents[3] / "models"


def test_names_are_those_of_the_files() -> None:
    assert {path.stem for path in FOLDER.glob("*.onnx")} == set(INCLUDED_MODELS)
    for name in INCLUDED_MODELS:
        assert find_model(name).read_bytes() == (FOLDER / f"{name}.onnx").read_bytes()


def test_no_model_is_the_default_model() -> None:
    assert find_model("") == find_model(None) == default_model() == find_model(DEFAULT_MODEL)


def test_other_values_are_paths(tmp_path: Path) -> None:
    for path in ("mine.onnx", "folder/mine", tmp_path / "x.pt"):
        assert find_model(path) == Path(path)
    assert find_model("~/mine.onnx") == Path("~/mine.onnx").expanduser()


@pytest.mark.parametrize("name", ["~no_such_user", "~no_such_user/x.onnx", "x" * 256])
def test_a_path_that_cannot_exist_is_an_error_that_names_it(name: str) -> None:
    with pytest.raises(ConfigError, match=f"model '{name[:9]}.*cannot be the path of an ONNX file"):
        find_model(name)


def test_an_unknown_name_is_an_error_that_lists_the_names() -> None:
    with pytest.raises(ConfigError, match=r"model 'studnet' is neither an included model .student_int8"):
        find_model("studnet")
