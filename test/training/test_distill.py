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
from lowlight_enhance.training.data.config import BatchShape, DataConfig
from lowlight_enhance.training.data.pictures import Sources
from lowlight_enhance.training.distill import DistillConfig, DistillStep, PlateauConfig, distill, load_distilled
from lowlight_enhance.training.engine import checkpoint
from lowlight_enhance.training.engine.fit import Batch, FitConfig, create_accelerator
from lowlight_enhance.training.engine.optimization import OptimizerConfig
from lowlight_enhance.training.losses import ReconstructionWeights, as_displayed
from lowlight_enhance.training.models.affine_unet import AffineUNet, AffineUNetConfig, apply_local_affine
from lowlight_enhance.training.models.discriminator import DiscriminatorConfig
from lowlight_enhance.training.models.network import NetworkConfig
from lowlight_enhance.training.models.teacher import Teacher, TeacherConfig
from lowlight_enhance.training.networks import load_checkpoint
from lowlight_enhance.training.train_teacher import TeacherStep, TrainTeacherConfig

TEACHER = TrainTeacherConfig(
    network=NetworkConfig("paper", paper=TeacherConfig(channels=(4, 8), head=4, dropout=0.5)),
    discriminator=DiscriminatorConfig(channels=(4, 8)),
    model_input=ModelInput(working_size=32, size_multiple=4),
)
TINY = DistillConfig(
    network=NetworkConfig(
        "paper",
        paper=TeacherConfig(channels=(4, 6), head=4, dropout=0.0),
        affine=AffineUNetConfig(unshuffle=2, channels=(4, 8), head=4),
    ),
    data=DataConfig(shapes=(BatchShape(32, 32, 2),)),
    fit=FitConfig(epochs=2, steps_per_epoch=2, workers=0),
    model_input=ModelInput(working_size=32, size_multiple=4),
    validation_max_mean=255.0,
)


def teacher(folder: Path, config: TrainTeacherConfig = TEACHER) -> Path:
    path = folder / "teacher.pt"
    checkpoint.save(path, TeacherStep(config, create_accelerator(config.fit)).state, 7, 15.0, config)
    return path


def run(data: Path, out: str, config: DistillConfig = TINY) -> Path:
    sources = Sources([data / "pairs.csv"], [data / "photos.csv"])
    return distill(config, load_checkpoint(teacher(data)), sources, data / out)


def batch(full: int = 32) -> Batch:
    bright = torch.rand(2, 3, full, full)
    small = torch.nn.functional.interpolate(bright / 5, (32, 32), mode="area")
    return torch.cat((small, torch.zeros(2, 2, 32, 32)), 1), bright / 5, bright, torch.ones(2)


def step(**changes: Any) -> DistillStep:
    config = replace(TINY, **changes)
    student = config.network.build()
    return DistillStep(config, student, Teacher(TEACHER.network.paper), create_accelerator(config.fit))


def test_the_defaults_are_the_papers() -> None:
    config = DistillConfig()
    assert (config.network.kind, config.has_references, config.schedule) == ("paper", False, "plateau")
    adam = config.optimizer
    assert (adam.name, adam.learning_rate, adam.weight_decay, adam.betas) == ("adam", 1e-3, 1e-5, (0.9, 0.999))
    assert {(s.crop_size, s.working_size) for s in config.data.shapes} == {(128, 128)}
    assert config.fit.epochs == 50


def test_the_loss_is_the_l1_to_the_frozen_teacher() -> None:
    got = step()
    before = [p.detach().clone() for p in got.teacher.parameters()]
    x = batch()
    expected = (got.student.model.train()(x[0]) - got.teacher(x[0])).abs().mean()
    parts = got(x, 0)
    assert float(parts["loss"]) == pytest.approx(float(expected.detach()), rel=1e-5)
    assert not got.teacher.training  # in inference mode: no dropout
    assert all(torch.equal(a, b) for a, b in zip(before, got.teacher.parameters(), strict=True))


def with_network(kind: str) -> NetworkConfig:
    return replace(TINY.network, kind=kind)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["paper", "affine"])
def test_the_student_comes_closer_to_the_teacher(kind: str) -> None:
    got, x = step(network=with_network(kind)), batch()
    losses = [float(got(x, 0)["teacher_l1"]) for _ in range(30)]
    assert losses[-1] < 0.7 * losses[0]


def test_maps_are_applied_to_the_full_size_dark_picture() -> None:
    got = step(network=with_network("affine"), losses=ReconstructionWeights(l1=0.25, ssim=0.0), teacher=0.5)
    x = batch(full=64)
    maps = got.student.model.train()(x[0])
    output = apply_local_affine(maps, x[1])  # at full size, as the runtime applies them
    taught = torch.nn.functional.interpolate(got.teacher(x[0]), (32, 32), mode="area")
    near = (output - torch.nn.functional.interpolate(taught, output.shape[2:], mode="area")).abs().mean()
    true = (as_displayed(output) - x[2]).abs().mean()
    assert float(got(x, 0)["loss"]) == pytest.approx(float((0.5 * near + 0.25 * true).detach()), rel=1e-4)


def test_an_unlabelled_sample_has_the_teacher_alone() -> None:
    got, x = step(network=with_network("affine"), losses=ReconstructionWeights(l1=1.0, ssim=0.0)), batch()
    half = (*x[:3], torch.tensor([1.0, 0.0]))
    output = apply_local_affine(got.student.model.train()(x[0]), x[1])
    expected = (as_displayed(output[:1]) - x[2][:1]).abs().mean()
    assert float(got(half, 0)["l1"]) == pytest.approx(float(expected.detach()), rel=1e-5)


def test_a_batch_without_labels_is_learnt_from_the_teacher() -> None:
    got, x = step(network=with_network("affine"), losses=ReconstructionWeights()), batch()
    parts = got((*x[:3], torch.zeros(2)), 0)
    assert set(parts) == {"loss", "teacher_l1", "learning_rate"}


def test_the_ground_truth_of_a_plain_picture_is_shrunk_to_it() -> None:
    parts = step(losses=ReconstructionWeights(l1=1.0, ssim=0.0))(batch(full=64), 0)
    assert float(parts["loss"]) == pytest.approx(float(parts["teacher_l1"]) + float(parts["l1"]), rel=1e-5)


def test_the_learning_rate_falls_on_a_plateau_of_the_l1_to_the_teacher() -> None:
    got = step(plateau=PlateauConfig(factor=0.5, patience=1))
    for l1, expected in ((0.3, 1e-3), (0.2, 1e-3), (0.2, 1e-3), (0.2, 5e-4), (0.1, 5e-4)):
        got.end_epoch({"teacher_l1": l1, "l1": 0.0})
        assert got.optimizer.param_groups[0]["lr"] == pytest.approx(expected)


def test_a_student_may_start_from_weights(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    init = load_checkpoint(run(data, "first", replace(TINY, network=with_network("affine"))))
    still = replace(
        TINY,
        network=with_network("affine"),
        fit=FitConfig(epochs=1, steps_per_epoch=1, workers=0, freeze_norm=1.0),
        optimizer=OptimizerConfig("adam", learning_rate=1e-12),
    )
    sources, taught = Sources([data / "pairs.csv"]), load_checkpoint(teacher(data))
    last = distill(still, taught, sources, data / "second", init)
    assert f"starting from {init.path}" in capsys.readouterr().out
    found = load_checkpoint(last).network.state_dict()
    assert all(torch.allclose(found[name], value, atol=1e-6) for name, value in init.network.state_dict().items())
    with pytest.raises(ConfigError, match="another kind of network"):
        distill(replace(still, network=with_network("paper")), taught, sources, data / "third", init)


@pytest.mark.parametrize(("kind", "network"), [("paper", Teacher), ("affine", AffineUNet)])
def test_a_run_leaves_a_student_that_rebuilds_itself(data: Path, kind: str, network: type) -> None:
    config = replace(TINY, network=with_network(kind))
    model, found, number = load_distilled(run(data, "run", config))
    assert isinstance(model, network)
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
    source, sources = load_checkpoint(teacher(data)), Sources([data / "pairs.csv"])
    monkeypatch.setattr(checkpoint, "save", save_and_remember)
    distill(config, source, sources, data / "whole")
    (data / "resumed").mkdir()
    (data / "resumed" / "last.pt").write_bytes(after[0])
    distill(config, source, sources, data / "resumed")
    whole, resumed = (checkpoint.load(data / name / "last.pt") for name in ("whole", "resumed"))
    assert all(torch.equal(value, resumed["student"][key]) for key, value in whole["student"].items())
    assert whole["plateau"] == resumed["plateau"]


def test_a_run_continues_with_its_own_teacher_alone(data: Path) -> None:
    run(data, "run")
    other = teacher(data)  # the same settings, but other weights
    last = data / "run" / "last.pt"
    before = last.read_bytes()
    with pytest.raises(
        DataError, match=r"last\.pt belongs to a run with another teacher; give that teacher, or another --out"
    ):
        distill(TINY, load_checkpoint(other), Sources([data / "pairs.csv"]), data / "run")
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
    data: Path, validation_metadata: Callable[[str], list[bool]], withhold: float, known: bool
) -> None:
    seen = validation_metadata("distill")
    run(data, "run", replace(TINY, data=replace(TINY.data, metadata_dropout=withhold)))
    assert set(seen) == {known}


def test_a_run_without_pairs_to_validate_on_says_so(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(data, "all")
    assert "warning" not in capsys.readouterr().out
    (data / "photos.csv").write_text("file,split\n0.png,train\n")
    run(data, "none", replace(TINY, validation_max_mean=0.0))
    (warning,) = [line for line in capsys.readouterr().out.splitlines() if "warning" in line]
    assert "best.pt is the newest state" in warning


def test_student_and_teacher_must_read_metadata_alike(data: Path) -> None:
    other = replace(TINY, model_input=ModelInput(working_size=32, size_multiple=4, iso_range=(100.0, 3200.0)))
    with pytest.raises(ConfigError, match=r"iso_range is \(100\.0, 3200\.0\), but \(50\.0"):
        run(data, "run", other)


def test_sizes_must_suit_the_teacher_too(data: Path) -> None:
    with pytest.raises(ConfigError, match=r"working_size is 34.*multiple of 4"):
        run(data, "run", replace(TINY, data=DataConfig(shapes=(BatchShape(34, 34, 2),))))


def test_a_teacher_is_no_distilled_student(data: Path) -> None:
    with pytest.raises(DataError, match=r"teacher\.pt is not a checkpoint of 'lowlight distill'"):
        load_distilled(teacher(data))


RECIPE = """
network: {kind: affine, affine: {unshuffle: 2, channels: [4, 8], head: 4}}
data: {shapes: [{crop_size: 32, working_size: 32, batch_size: 2}]}
fit: {epochs: 1, steps_per_epoch: 2, workers: 0}
model_input: {working_size: 32, size_multiple: 4}
"""


def test_the_command_distils_a_checkpoint(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (data / "run.yaml").write_text(RECIPE)
    options = ["--pairs", data / "pairs.csv", "--config", data / "run.yaml", "--out", data / "run"]
    assert cli.main(["distill", str(teacher(data)), *map(str, options)]) == 0
    last = data / "run/last.pt"
    assert capsys.readouterr().out.endswith(f"{last} (next: lowlight export {last} student.onnx)\n")
    assert not load_distilled(data / "run" / "last.pt")[1].has_references
