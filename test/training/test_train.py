"""The whole way from photographs to an ONNX file, with a student of a few hundred parameters."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lowlight_enhance.core.capture import UNKNOWN
from lowlight_enhance.core.enhancer import Enhancer
from lowlight_enhance.core.errors import DataError
from lowlight_enhance.core.model_input import ModelInput
from lowlight_enhance.training import export
from lowlight_enhance.training import fit as fit_module
from lowlight_enhance.training.dataset import BatchShape, DataConfig
from lowlight_enhance.training.fit import FitConfig, learning_rate_factor
from lowlight_enhance.training.student import StudentConfig
from lowlight_enhance.training.train import TrainStudentConfig, load_student, train_student

TINY = TrainStudentConfig(
    student=StudentConfig(unshuffle=2, channels=(4, 8), head=4),
    data=DataConfig(shapes=(BatchShape(32, 32, 2), BatchShape(48, 32, 1))),
    fit=FitConfig(steps=6, warmup=2, validate_every=3, workers=0),
    model_input=ModelInput(working_size=32, size_multiple=4),
    validation_max_mean=255.0,
)


def run(data: Path, out: str, config: TrainStudentConfig = TINY) -> Path:
    return train_student(config, [data / "pairs.csv"], [data / "photos.csv"], data / out)


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
    assert all(torch.equal(value, resumed["model"][name]) for name, value in whole["model"].items())
    assert losses(data / "resumed") == losses(data / "whole")[-1:]


def test_a_folder_of_another_run_is_not_continued(data: Path) -> None:
    run(data, "run")
    with pytest.raises(DataError, match="other settings"):
        run(data, "run", replace(TINY, l1=0.9))


def test_the_learning_rate_warms_up_and_falls_to_a_hundredth() -> None:
    config = FitConfig(steps=1000, warmup=100)
    assert learning_rate_factor(0, config) == pytest.approx(0.01)
    assert learning_rate_factor(99, config) == 1.0
    assert learning_rate_factor(1000, config) == pytest.approx(0.01)


def test_export_flies_like_the_checkpoint(data: Path) -> None:
    best = run(data, "run")
    target = data / "models" / "student.onnx"
    assert export.export(best, target) <= export.TOLERANCE
    assert {p.name for p in target.parent.iterdir()} == {"student.onnx"}
    enhancer = Enhancer(target, threads=1)
    assert enhancer.model_input == TINY.model_input
    rgb = np.full((50, 70, 3), 20, np.uint8)
    assert enhancer(rgb, UNKNOWN).shape == rgb.shape


def test_what_is_no_checkpoint_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.pt").write_text("nothing")
    with pytest.raises(DataError, match=r"x\.pt is not a checkpoint"):
        load_student(tmp_path / "x.pt")
