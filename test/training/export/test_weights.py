"""Float32 weights in safetensors and ONNX files, and fine-tuning that starts from those of a shipped model."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from safetensors.torch import save_file
from tiny_checkpoints import MODEL_INPUT, STEP, WRITERS

from lowlight_enhance import cli
from lowlight_enhance.core.errors import ConfigError, DataError
from lowlight_enhance.core.inference import model_zoo
from lowlight_enhance.core.inference.model_zoo import find_model
from lowlight_enhance.core.metadata.capture import CaptureMetadata
from lowlight_enhance.training.config import load_config
from lowlight_enhance.training.engine.network import LoadedNetwork
from lowlight_enhance.training.export.onnx_export import export
from lowlight_enhance.training.export.weights import SUFFIX, read_weights, write_weights
from lowlight_enhance.training.models.affine_unet import WHITE_LEVELS
from lowlight_enhance.training.models.network import network_config
from lowlight_enhance.training.networks import enhance_with, load_checkpoint, load_network
from lowlight_enhance.training.train_student import TrainStudentConfig, fine_tuning_defaults, load_student

CONFIG = Path(__file__).parents[3] / "config/train"
MODELS = Path(__file__).parents[3] / "models"


def assert_same_description(found: LoadedNetwork, loaded: LoadedNetwork) -> None:
    assert network_config(found.network) == network_config(loaded.network)
    assert (found.model_input, found.step, found.kind) == (MODEL_INPUT, STEP, "weights")
    assert not found.network.training


@pytest.mark.parametrize("name", WRITERS)
def test_a_network_is_the_same_after_a_round_trip(name: str, tmp_path: Path) -> None:
    loaded = load_checkpoint(WRITERS[name](tmp_path / "last.pt"))
    write_weights(loaded, tmp_path / "new folder/net.safetensors")
    found = load_network(tmp_path / "new folder/net.safetensors")
    assert_same_description(found, loaded)
    theirs = loaded.network.state_dict()
    assert found.network.state_dict().keys() == theirs.keys()
    assert all(torch.equal(value, theirs[key]) for key, value in found.network.state_dict().items())
    rgb = np.random.default_rng(0).integers(0, 90, (50, 70, 3), dtype=np.uint8)
    capture = CaptureMetadata(3200.0, 0.02)
    assert np.array_equal(enhance_with(found)(rgb, capture), enhance_with(loaded)(rgb, capture))


@pytest.mark.parametrize("name", ["student", "distilled affine"])
def test_a_float32_onnx_file_is_read_as_a_network(name: str, tmp_path: Path) -> None:
    loaded = load_checkpoint(WRITERS[name](tmp_path / "last.pt"))
    export(loaded, tmp_path / "net.onnx")
    found = load_network(tmp_path / "net.onnx")
    assert_same_description(found, loaded)
    x = torch.rand(2, 5, 32, 48)
    with torch.inference_mode():
        torch.testing.assert_close(found.network(x), loaded.network(x), atol=1e-5, rtol=1e-4)


def test_an_onnx_file_without_white_levels_is_read(tmp_path: Path) -> None:
    """The network of version 0.1 had no input channels for white levels. Where white is 1, the output is the same."""
    loaded = load_checkpoint(WRITERS["student"](tmp_path / "last.pt"))
    export(loaded, tmp_path / "net.onnx")
    older = onnx.load(tmp_path / "net.onnx")
    for item in older.graph.initializer:
        if item.name in ("encoder.0.first.weight", "encoder.0.shortcut.weight"):
            item.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(item)[:, :-WHITE_LEVELS], item.name))
    onnx.save(older, tmp_path / "older.onnx")
    x = torch.rand(1, 5, 32, 48)
    x[:, :3, :16, :16] = 1.0
    with torch.inference_mode():
        torch.testing.assert_close(
            load_network(tmp_path / "older.onnx").network(x), loaded.network(x), atol=1e-5, rtol=1e-4
        )


def test_onnx_files_that_hold_no_student_are_named(tmp_path: Path) -> None:
    export(load_checkpoint(WRITERS["teacher"](tmp_path / "last.pt")), tmp_path / "teacher.onnx")
    (tmp_path / "text.onnx").write_text("nothing")
    for name in ("text", "teacher", "missing"):
        with pytest.raises(DataError, match=rf"{name}\.onnx is not a float32 ONNX file of a student of this package"):
            load_network(tmp_path / f"{name}.onnx")


def test_the_same_network_gives_the_same_file(tmp_path: Path) -> None:
    loaded = load_checkpoint(WRITERS["student"](tmp_path / "last.pt"))
    in_channels_last = loaded._replace(network=loaded.network.to(memory_format=torch.channels_last))  # type: ignore[call-overload]
    for name, network in (("a", loaded), ("b", in_channels_last)):
        write_weights(network, tmp_path / f"{name}{SUFFIX}")
    assert (tmp_path / f"a{SUFFIX}").read_bytes() == (tmp_path / f"b{SUFFIX}").read_bytes()


def test_files_that_hold_no_network_are_named(tmp_path: Path) -> None:
    (tmp_path / "text.safetensors").write_text("nothing")
    save_file({"x": torch.zeros(2)}, tmp_path / "foreign.safetensors")
    for name in ("text", "foreign", "missing"):
        with pytest.raises(DataError, match=rf"{name}\.safetensors is not a weights file of this package"):
            read_weights(tmp_path / f"{name}.safetensors")


def test_the_command_writes_weights_and_rejects_settings_of_onnx_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = WRITERS["student"](tmp_path / "last.pt"), tmp_path / "net.safetensors"
    assert cli.main(["export", str(source), str(target), "--working-size", "64"]) == 2
    assert "for ONNX files" in capsys.readouterr().err
    assert not target.exists()
    assert cli.main(["export", str(source), str(target)]) == 0
    assert capsys.readouterr().out == f"{target}\n"
    assert read_weights(target).step == STEP


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("last.pt", "name must end in .onnx or .safetensors"),
        ("net", "name must end in .onnx or .safetensors"),
        ("net.safetensors", "is the source itself"),
        ("link.onnx", "is the source itself"),
    ],
)
def test_export_does_not_overwrite_a_file_that_it_reads(
    target: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = WRITERS["student"](tmp_path / "last.pt")
    weights = tmp_path / "net.safetensors"
    write_weights(load_checkpoint(checkpoint), weights)
    (tmp_path / "link.onnx").symlink_to(weights)
    before = {path.name: path.read_bytes() for path in (checkpoint, weights)}
    assert cli.main(["export", str(weights), str(tmp_path / target)]) == 2
    shown = capsys.readouterr().err
    assert message in shown
    assert shown.count("\n") == 1
    assert {path.name: path.read_bytes() for path in (checkpoint, weights)} == before
    assert (tmp_path / "link.onnx").is_symlink()


def test_export_does_not_overwrite_the_calibration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint, manifest = WRITERS["student"](tmp_path / "last.pt"), tmp_path / "frames.onnx"
    manifest.write_text("file\n")
    options = ["--precision", "int8", "--calibration", str(manifest)]
    assert cli.main(["export", str(checkpoint), str(manifest), *options]) == 2
    assert "is the source itself" in capsys.readouterr().err
    assert manifest.read_text() == "file\n"


@pytest.fixture
def installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the models of an installation."""
    folder = tmp_path / "share/models"
    folder.mkdir(parents=True)
    monkeypatch.setattr(model_zoo, "resource", lambda name: folder.parent / name)
    return folder


def test_a_shipped_model_of_low_precision_is_no_start(
    data: Path, installation: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(MODELS / "student_int8.onnx", installation / "student_int8.onnx")
    options = ["--init", "student_int8", "--pairs", str(data / "pairs.csv"), "--out", str(data / "run")]
    assert cli.main(["train-student", *options]) == 2
    shown = capsys.readouterr().err
    assert f"{installation / 'student_int8.onnx'} is not a float32 ONNX file" in shown
    assert "int8 and float16 files cannot be trained" in shown
    assert shown.count("\n") == 1
    assert not (data / "run").exists()


def test_a_path_is_taken_as_it_is(tmp_path: Path) -> None:
    assert find_model(tmp_path / "student.safetensors") == tmp_path / "student.safetensors"
    assert find_model("~/last.pt") == Path("~/last.pt").expanduser()


def test_fine_tuning_starts_from_the_weights_of_a_shipped_model(
    data: Path, installation: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Network and model input are those of the weights; the learning rate is so small that the weights stay."""
    loaded = load_checkpoint(WRITERS["distilled affine"](data / "last.pt"))
    export(loaded, installation / "student.onnx")
    (data / "run.yaml").write_text(
        "data: {shapes: [{crop_size: 32, working_size: 32, batch_size: 2}]}\n"
        "fit: {epochs: 1, steps_per_epoch: 1, workers: 0, freeze_norm: 1.0}\noptimizer: {learning_rate: 1.0e-12}\n"
    )
    options = ["--pairs", data / "pairs.csv", "--config", data / "run.yaml", "--out", data / "run"]
    assert cli.main(["train-student", "--init", "student", *map(str, options)]) == 0
    assert f"starting from {installation / 'student.onnx'}" in capsys.readouterr().out
    _, config, _ = load_student(data / "run/last.pt")
    assert config.model_input == MODEL_INPUT
    assert config.network == network_config(loaded.network)
    rgb = np.random.default_rng(0).integers(0, 90, (50, 70, 3), dtype=np.uint8)
    ours, theirs = (
        enhance_with(load_network(path))(rgb, CaptureMetadata(400.0, None))
        for path in (data / "run/last.pt", data / "last.pt")
    )
    assert np.abs(ours.astype(int) - theirs).max() <= 1


def test_fine_tuning_must_encode_metadata_as_the_weights_do(
    data: Path, installation: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export(load_checkpoint(WRITERS["student"](data / "last.pt")), installation / "student.onnx")
    (data / "run.yaml").write_text(
        "data: {shapes: [{crop_size: 32, working_size: 32, batch_size: 2}]}\nmodel_input: {iso_range: [50, 51200]}\n"
    )
    options = ["--pairs", data / "pairs.csv", "--config", data / "run.yaml", "--out", data / "run"]
    assert cli.main(["train-student", "--init", "student", *map(str, options)]) == 2
    assert "model_input: iso_range is (50.0, 51200.0), but" in capsys.readouterr().err


def test_the_recipe_of_fine_tuning_fits_the_shipped_network(tmp_path: Path) -> None:
    loaded = load_checkpoint(WRITERS["student"](tmp_path / "last.pt"))
    config = load_config(TrainStudentConfig, CONFIG / "fine_tune.yaml", fine_tuning_defaults(loaded))
    assert config.network == network_config(loaded.network)
    assert config.model_input == MODEL_INPUT
    assert config.fit.freeze_norm == 1.0


def test_a_setting_of_fine_tuning_that_does_not_exist_is_named(tmp_path: Path) -> None:
    loaded = load_checkpoint(WRITERS["student"](tmp_path / "last.pt"))
    (tmp_path / "run.yaml").write_text("model_input: {workingsize: 64}")
    with pytest.raises(ConfigError, match="did you mean 'working_size'"):
        load_config(TrainStudentConfig, tmp_path / "run.yaml", fine_tuning_defaults(loaded))
