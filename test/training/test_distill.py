"""Distillation, with networks of a few hundred parameters."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from lowlight_enhance import cli
from lowlight_enhance.core.errors import ConfigError, DataError
from lowlight_enhance.core.inference.model_input import ModelInput
from lowlight_enhance.training.data.dataset import BatchShape, DataConfig
from lowlight_enhance.training.distill import DistillConfig, DistillStep, PlateauConfig, distill, load_distilled
from lowlight_enhance.training.engine import checkpoint
from lowlight_enhance.training.engine.fit import Batch, EpochConfig, accelerator_for
from lowlight_enhance.training.models.affine_unet import AffineUNet, AffineUNetConfig, apply_local_affine
from lowlight_enhance.training.models.discriminator import DiscriminatorConfig
from lowlight_enhance.training.models.teacher import Teacher, TeacherConfig
from lowlight_enhance.training.train_teacher import GanStep, TrainTeacherConfig

TEACHER = TrainTeacherConfig(
    teacher=TeacherConfig(channels=(4, 8), head=4, dropout=0.5), discriminator=DiscriminatorConfig(channels=(4, 8))
)
TINY = DistillConfig(
    paper=TeacherConfig(channels=(4, 6), head=4, dropout=0.0),
    shipped=AffineUNetConfig(unshuffle=2, channels=(4, 8), head=4),
    data=DataConfig(shapes=(BatchShape(32, 32, 2),)),
    fit=EpochConfig(epochs=2, steps_per_epoch=2, workers=0),
    model_input=ModelInput(working_size=32, size_multiple=4),
    validation_max_mean=255.0,
)


def teacher(folder: Path, config: TrainTeacherConfig = TEACHER) -> Path:
    path = folder / "teacher.pt"
    checkpoint.save(path, GanStep(config, accelerator_for(config.fit)).state, 7, 15.0, config)
    return path


def run(data: Path, out: str, config: DistillConfig = TINY) -> Path:
    return distill(config, teacher(data), [data / "pairs.csv"], [data / "photos.csv"], data / out)


def batch(full: int = 32) -> Batch:
    bright = torch.rand(2, 3, full, full)
    small = torch.nn.functional.interpolate(bright / 5, (32, 32), mode="area")
    return torch.cat((small, torch.zeros(2, 2, 32, 32)), 1), bright / 5, bright


def step(**changes: Any) -> DistillStep:
    config = replace(TINY, **changes)
    return DistillStep(config, Teacher(TEACHER.teacher), accelerator_for(config.fit))


def test_the_defaults_are_the_papers() -> None:
    config = DistillConfig()
    assert (config.network, config.ground_truth) == ("paper", 0.0)
    adam = config.optimizer
    assert (adam.learning_rate, adam.weight_decay, adam.betas) == (1e-3, 1e-5, (0.9, 0.999))
    assert {(s.full, s.working) for s in config.data.shapes} == {(128, 128)}
    assert config.fit.epochs == 50


def test_the_loss_is_the_l1_to_the_frozen_teacher() -> None:
    got = step()
    before = [p.detach().clone() for p in got.teacher.parameters()]
    x = batch()
    expected = (got.student.train()(x[0]) - got.teacher(x[0])).abs().mean()
    parts = got(x, 0)
    assert float(parts["loss"]) == pytest.approx(float(expected.detach()), rel=1e-5)
    assert not got.teacher.training  # in inference mode: no dropout
    assert all(torch.equal(a, b) for a, b in zip(before, got.teacher.parameters(), strict=True))


@pytest.mark.parametrize("network", ["paper", "shipped"])
def test_the_student_comes_closer_to_the_teacher(network: str) -> None:
    got, x = step(network=network), batch()
    losses = [float(got(x, 0)["teacher_l1"]) for _ in range(30)]
    assert losses[-1] < 0.7 * losses[0]


def test_maps_of_the_shipped_student_are_applied_to_the_dark_picture() -> None:
    got, x = step(network="shipped", ground_truth=0.25), batch(full=64)
    maps = got.student.train()(x[0])
    near = (apply_local_affine(maps, x[0][:, :3]) - got.teacher(x[0])).abs().mean()
    true = (apply_local_affine(maps, x[1]) - x[2]).abs().mean()  # at full size, as the robot applies them
    assert float(got(x, 0)["loss"]) == pytest.approx(float((near + 0.25 * true).detach()), rel=1e-5)


def test_the_ground_truth_of_a_plain_picture_is_shrunk_to_it() -> None:
    parts = step(ground_truth=1.0)(batch(full=64), 0)
    assert float(parts["loss"]) == pytest.approx(float(parts["teacher_l1"]) + float(parts["l1"]), rel=1e-5)


def test_the_learning_rate_falls_on_a_plateau_of_the_l1_to_the_teacher() -> None:
    got = step(plateau=PlateauConfig(factor=0.5, patience=1))
    for l1, expected in ((0.3, 1e-3), (0.2, 1e-3), (0.2, 1e-3), (0.2, 5e-4), (0.1, 5e-4)):
        got.validated({"teacher_l1": l1, "l1": 0.0})
        assert got.optimizer.param_groups[0]["lr"] == pytest.approx(expected)


@pytest.mark.parametrize(("network", "kind"), [("paper", Teacher), ("shipped", AffineUNet)])
def test_a_run_leaves_a_student_that_rebuilds_itself(data: Path, network: str, kind: type) -> None:
    config = replace(TINY, network=network)  # type: ignore[arg-type]
    model, found, number = load_distilled(run(data, "run", config))
    assert isinstance(model, kind)
    assert found == config
    assert number in (2, 4)
    rows = [json.loads(line) for line in (data / "run" / "log.jsonl").read_text().splitlines()]
    assert {"val_psnr", "val_ssim", "val_l1", "val_teacher_l1"} < set(rows[-1])


def test_a_resumed_run_continues_to_the_same_numbers(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    after: list[bytes] = []
    save = checkpoint.save

    def save_and_remember(path: Path, *rest: Any) -> None:
        save(path, *rest)
        if path.name == "last.pt":
            after.append(path.read_bytes())

    config = replace(TINY, plateau=PlateauConfig(patience=0))
    source = teacher(data)
    monkeypatch.setattr(checkpoint, "save", save_and_remember)
    distill(config, source, [data / "pairs.csv"], [], data / "whole")
    (data / "resumed").mkdir()
    (data / "resumed" / "last.pt").write_bytes(after[0])
    distill(config, source, [data / "pairs.csv"], [], data / "resumed")
    whole, resumed = (checkpoint.load(data / name / "last.pt") for name in ("whole", "resumed"))
    assert all(torch.equal(value, resumed["student"][key]) for key, value in whole["student"].items())
    assert whole["plateau"] == resumed["plateau"]


def test_a_run_continues_with_its_own_teacher_alone(data: Path) -> None:
    run(data, "run")
    other = teacher(data)  # the same settings, but other weights
    last = data / "run" / "last.pt"
    before = last.read_bytes()
    with pytest.raises(DataError, match=r"last\.pt is of a run with another teacher: give that one, or another --out"):
        distill(TINY, other, [data / "pairs.csv"], [], data / "run")
    assert last.read_bytes() == before


def test_a_checkpoint_that_does_not_name_its_teacher_is_continued(data: Path) -> None:
    run(data, "run")
    last = data / "run" / "last.pt"
    saved = checkpoint.load(last)
    del saved["teacher"]
    torch.save({**saved, "step": 2}, last)
    run(data, "run")
    assert checkpoint.load(last)["step"] == 4
    assert "teacher" in checkpoint.load(last)


@pytest.mark.parametrize(("withhold", "known"), [(0.0, True), (1.0, False)])
def test_metadata_that_is_never_told_is_not_validated_with(
    data: Path, told_in_validation: Callable[[str], list[bool]], withhold: float, known: bool
) -> None:
    seen = told_in_validation("distill")
    run(data, "run", replace(TINY, data=replace(TINY.data, withhold=withhold)))
    assert set(seen) == {known}


def test_a_run_without_pairs_to_validate_on_says_so(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(data, "all")
    assert "warning" not in capsys.readouterr().out
    run(data, "none", replace(TINY, validation_max_mean=0.0))
    (warning,) = [line for line in capsys.readouterr().out.splitlines() if "warning" in line]
    assert "best.pt is merely the newest state" in warning
    assert "the learning rate never falls" in warning


def test_student_and_teacher_must_read_metadata_alike(data: Path) -> None:
    other = replace(TINY, model_input=ModelInput(working_size=32, size_multiple=4, iso_range=(100.0, 3200.0)))
    with pytest.raises(ConfigError, match=r"iso_range is \(100\.0, 3200\.0\), but \(50\.0"):
        run(data, "run", other)


def test_sizes_must_suit_the_teacher_too(data: Path) -> None:
    with pytest.raises(ConfigError, match=r"working is 34.*multiple of 4"):
        run(data, "run", replace(TINY, data=DataConfig(shapes=(BatchShape(34, 34, 2),))))


def test_a_teacher_is_no_distilled_student(data: Path) -> None:
    with pytest.raises(DataError, match=r"teacher\.pt is not a checkpoint of 'lowlight distill'"):
        load_distilled(teacher(data))


RECIPE = """
network: shipped
shipped: {unshuffle: 2, channels: [4, 8], head: 4}
data: {shapes: [{full: 32, working: 32, size: 2}]}
fit: {epochs: 1, steps_per_epoch: 2, workers: 0}
model_input: {working_size: 32, size_multiple: 4}
"""


def test_the_command_distils_a_checkpoint(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (data / "run.yaml").write_text(RECIPE)
    options = ["--pairs", data / "pairs.csv", "--config", data / "run.yaml", "--out", data / "run"]
    assert cli.main(["distill", str(teacher(data)), *map(str, options)]) == 0
    assert capsys.readouterr().out.endswith(f"{data / 'run' / 'best.pt'}\n")
    assert load_distilled(data / "run" / "best.pt")[1].ground_truth == 0.0
