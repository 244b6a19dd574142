"""The whole way from photographs to an ONNX file, with a student of a few hundred parameters."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_checkpoints import STUDENT, WRITERS, write_student

from lowlight_enhance import cli
from lowlight_enhance.core.enhancement.enhancer import Enhancer
from lowlight_enhance.core.errors import ConfigError, DataError
from lowlight_enhance.core.inference.model_input import ModelInput
from lowlight_enhance.core.metadata.capture import UNKNOWN
from lowlight_enhance.training.data.config import BatchShape, DataConfig
from lowlight_enhance.training.data.pictures import Sources
from lowlight_enhance.training.engine import checkpoint
from lowlight_enhance.training.engine import fit as fit_module
from lowlight_enhance.training.engine.fit import FitConfig
from lowlight_enhance.training.engine.optimization import CosineConfig, OptimizerConfig
from lowlight_enhance.training.export import onnx_export
from lowlight_enhance.training.losses import ReconstructionWeights
from lowlight_enhance.training.models.affine_unet import AffineUNetConfig
from lowlight_enhance.training.models.network import NetworkConfig
from lowlight_enhance.training.networks import load_checkpoint
from lowlight_enhance.training.train_student import TrainStudentConfig, load_student, train_student

TINY = TrainStudentConfig(
    network=NetworkConfig("affine", affine=AffineUNetConfig(unshuffle=2, channels=(4, 8), head=4)),
    data=DataConfig(shapes=(BatchShape(32, 32, 2), BatchShape(48, 32, 1))),
    fit=FitConfig(epochs=2, steps_per_epoch=3, workers=0, ema_decay=0.9),
    model_input=ModelInput(working_size=32, size_multiple=4),
    validation_max_mean=255.0,
)


def run(data: Path, out: str, config: TrainStudentConfig = TINY) -> Path:
    return train_student(config, Sources([data / "pairs.csv"], [data / "photos.csv"]), data / out)


def losses(folder: Path) -> list[float]:
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [row["val_l1"] for row in rows if "val_l1" in row]


def test_a_run_validates_and_leaves_checkpoints_that_rebuild_themselves(data: Path) -> None:
    best = run(data, "run")
    assert {p.name for p in best.parent.iterdir()} == {"best.pt", "last.pt", "log.jsonl", "tensorboard"}
    model, config, step = load_student(best)
    assert config == TINY
    assert step in (3, 6)
    assert not model.training


def test_a_resumed_run_continues_to_the_same_losses(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    after_three_steps: list[bytes] = []
    save = fit_module._save

    def save_and_remember(path: Path, *rest: Any) -> None:
        save(path, *rest)
        if path.name == "last.pt":
            after_three_steps.append(path.read_bytes())

    monkeypatch.setattr(fit_module, "_save", save_and_remember)
    run(data, "whole")
    (data / "resumed").mkdir()
    (data / "resumed" / "last.pt").write_bytes(after_three_steps[0])
    run(data, "resumed")
    whole, resumed = (torch.load(data / name / "last.pt", weights_only=True) for name in ("whole", "resumed"))
    assert resumed["step"] == whole["step"] == 6
    assert all(torch.equal(value, resumed["student"][name]) for name, value in whole["student"].items())
    assert losses(data / "resumed") == losses(data / "whole")[-1:]


def test_a_folder_of_another_run_is_not_continued(data: Path) -> None:
    run(data, "run")
    with pytest.raises(DataError, match="other settings"):
        run(data, "run", replace(TINY, losses=ReconstructionWeights(l1=0.9)))


def one_step(data: Path, out: str, init: Path | None, student: AffineUNetConfig = STUDENT) -> Path:
    """Run one step with a learning rate so small that the weights stay where they began."""
    config = replace(
        TINY,
        network=NetworkConfig("affine", affine=student),
        fit=FitConfig(epochs=1, steps_per_epoch=1, workers=0, freeze_norm=1.0, ema_decay=0.9),
        optimizer=OptimizerConfig(learning_rate=1e-12),
    )
    loaded = None if init is None else load_checkpoint(init)
    return train_student(config, Sources([data / "pairs.csv"]), data / out, loaded)


@pytest.mark.parametrize("name", ["student", "distilled affine"])
def test_a_run_starts_from_the_averaged_weights_of_a_checkpoint(
    data: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    init = WRITERS[name](data / "init.pt")
    theirs = load_checkpoint(init).network.state_dict()
    saved = checkpoint.load(one_step(data, "run", init, STUDENT))
    assert f"starting from {init}" in capsys.readouterr().out
    for part in ("student_trained", "student"):
        assert all(torch.allclose(saved[part][key], value, atol=1e-6) for key, value in theirs.items())


def test_a_run_that_is_found_goes_before_the_checkpoint_and_says_so(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = one_step(data, "run", None, STUDENT).read_bytes()
    one_step(data, "run", write_student(data / "init.pt"), STUDENT)
    assert f"continuing {data / 'run' / 'last.pt'}; {data / 'init.pt'} is not used" in capsys.readouterr().out
    assert (data / "run" / "last.pt").read_bytes() == first


def test_a_checkpoint_of_another_network_is_no_start(data: Path) -> None:
    with pytest.raises(ConfigError, match=r"the network in .*init\.pt differs \(head 5 there, 4 here\)"):
        one_step(data, "run", write_student(data / "init.pt", replace(STUDENT, head=5)))
    with pytest.raises(ConfigError, match="another kind of network"):
        one_step(data, "run", WRITERS["distilled paper"](data / "init.pt"))
    with pytest.raises(ConfigError, match="another kind of network"):
        one_step(data, "run", WRITERS["teacher"](data / "init.pt"))
    assert not (data / "run" / "last.pt").exists()


@pytest.mark.parametrize(
    ("shape", "says"),
    [
        (BatchShape(48, 34, 2), r"shapes\[1\]: working_size is 34 pixels: .* multiple of 4 "),
        (BatchShape(30, 256, 2), r"shapes\[1\]: crop_size is 30 pixels: .* multiple of 4 "),
    ],
)
def test_batches_that_would_be_padded_are_refused(data: Path, shape: BatchShape, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        run(data, "run", replace(TINY, data=DataConfig(shapes=(BatchShape(32, 32, 2), shape))))
    with pytest.raises(ConfigError, match=r"size_multiple is 2: .* multiple of 4"):
        run(data, "run", replace(TINY, model_input=ModelInput(working_size=32, size_multiple=2)))
    assert not (data / "run").exists()


def test_dropout_may_differ_from_that_of_the_start(data: Path) -> None:
    init = write_student(data / "init.pt", replace(STUDENT, dropout=0.3))
    assert one_step(data, "run", init, STUDENT).exists()


def test_the_command_starts_from_a_checkpoint(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (data / "run.yaml").write_text(
        "network: {affine: {unshuffle: 2, channels: [4, 8], head: 4}}\n"
        "data: {shapes: [{crop_size: 32, working_size: 32, batch_size: 2}]}\n"
        "fit: {epochs: 1, steps_per_epoch: 1, workers: 0}\nmodel_input: {working_size: 32, size_multiple: 4}\n"
    )
    options = ["--pairs", data / "pairs.csv", "--config", data / "run.yaml", "--out", data / "run"]
    init = ["--init", write_student(data / "init.pt")]
    assert cli.main(["train-student", *map(str, options + init)]) == 0
    assert "starting from" in capsys.readouterr().out


def test_the_learning_rate_warms_up_and_falls_to_its_end() -> None:
    config = CosineConfig(warmup=100, eta_min=1e-5)
    rates = [config.learning_rate(1e-3, step, 1000) for step in (0, 99, 100, 550, 1000)]
    assert rates == pytest.approx([1e-3 / 101, 1e-3 * 100 / 101, 1e-3, (1e-3 + 1e-5) / 2, 1e-5])


def test_export_flies_like_the_checkpoint(data: Path) -> None:
    best = run(data, "run")
    target = data / "models" / "student.onnx"
    assert onnx_export.export(best, target).difference <= onnx_export.TOLERANCE
    assert {p.name for p in target.parent.iterdir()} == {"student.onnx"}
    enhancer = Enhancer(target, threads=1)
    assert enhancer.model_input == TINY.model_input
    rgb = np.full((50, 70, 3), 20, np.uint8)
    assert enhancer(rgb, UNKNOWN).shape == rgb.shape


def test_what_is_no_checkpoint_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.pt").write_text("nothing")
    with pytest.raises(DataError, match=r"x\.pt is not a checkpoint"):
        load_student(tmp_path / "x.pt")
