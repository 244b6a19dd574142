"""Adversarial training as the paper describes it, with networks of a few hundred parameters."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from lowlight_enhance.core.errors import ConfigError, DataError
from lowlight_enhance.core.inference.model_input import ModelInput
from lowlight_enhance.training import train_teacher
from lowlight_enhance.training.config import load_config
from lowlight_enhance.training.data.config import BatchShape, DataConfig
from lowlight_enhance.training.data.dataset import Batches
from lowlight_enhance.training.data.pictures import Sources
from lowlight_enhance.training.engine import checkpoint
from lowlight_enhance.training.engine.fit import Batch, FitConfig, create_accelerator
from lowlight_enhance.training.engine.optimization import CosineConfig, OptimizerConfig
from lowlight_enhance.training.losses import ReconstructionWeights, hinge_discriminator
from lowlight_enhance.training.models.affine_unet import AffineUNetConfig
from lowlight_enhance.training.models.discriminator import Discriminator, DiscriminatorConfig
from lowlight_enhance.training.models.network import NetworkConfig
from lowlight_enhance.training.models.teacher import TeacherConfig
from lowlight_enhance.training.train_teacher import (
    AdversaryPhases,
    LossWeights,
    TeacherStep,
    TrainTeacherConfig,
    load_teacher,
)

ROOT = Path(__file__).parents[2]

TINY = TrainTeacherConfig(
    network=NetworkConfig("paper", paper=TeacherConfig(channels=(4, 8), head=4)),
    discriminator=DiscriminatorConfig(channels=(4, 8)),
    data=DataConfig(shapes=(BatchShape(32, 32, 2),)),
    fit=FitConfig(epochs=3, steps_per_epoch=2, workers=0),
    model_input=ModelInput(working_size=32, size_multiple=4),
    phases=AdversaryPhases(warmup=1, cooldown_from=9),
    validation_max_mean=255.0,
)


def run(data: Path, out: str, config: TrainTeacherConfig = TINY) -> Path:
    return train_teacher.train_teacher(config, Sources([data / "pairs.csv"], [data / "photos.csv"]), data / out)


def log(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def batch() -> Batch:
    bright = torch.rand(2, 3, 32, 32)
    return torch.cat((bright / 5, torch.zeros(2, 2, 32, 32)), 1), bright / 5, bright, torch.ones(2)


def step(**changes: Any) -> TeacherStep:
    config = replace(TINY, **changes)
    return TeacherStep(config, create_accelerator(config.fit))


def networks(got: TeacherStep) -> dict[str, nn.Module]:
    return {"teacher": got.teacher.model, "discriminator": got.discriminator}


def changed_by(model: nn.Module, act: Callable[[], object]) -> bool:
    before = [p.detach().clone() for p in model.parameters()]
    act()
    return any(not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_the_defaults_are_the_papers() -> None:
    config = TrainTeacherConfig()
    assert config.losses == LossWeights(
        ReconstructionWeights(l1=0.5, ssim=0.35, psnr=0.0, hue=0.0), adversarial=0.15, perceptual=0.0
    )
    g, d = config.optimizer, config.discriminator_optimizer
    assert (g.learning_rate, g.weight_decay, g.betas) == (1e-3, 1e-5, (0.5, 0.999))
    assert (d.learning_rate, d.weight_decay) == (2e-4, 5e-5)
    assert (config.schedule.eta_min, config.schedule.warmup, config.fit.epochs) == (1e-5, 0, 50)
    assert {(s.crop_size, s.working_size) for s in config.data.shapes} == {(256, 256)}
    assert config.model_input.working_size == 256


def test_the_optimisers_are_the_papers() -> None:
    got = step()
    assert isinstance(got.optimizer.optimizer, torch.optim.RAdam)
    assert isinstance(got.discriminator_optimizer.optimizer, torch.optim.RMSprop)


def test_the_schedule_is_torchs_cosine_annealing() -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1e-3)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=50, eta_min=1e-5)
    for epoch in range(50):
        assert CosineConfig().learning_rate(1e-3, epoch, 50) == pytest.approx(theirs.get_last_lr()[0])
        optimizer.step()
        theirs.step()
    assert CosineConfig().learning_rate(1e-3, 50, 50) == pytest.approx(1e-5)


def test_the_learning_rate_stays_low_after_the_cosine() -> None:
    schedule = CosineConfig(t_max=4, warmup=1)
    rates = [schedule.learning_rate(1e-3, epoch, 8) for epoch in range(8)]
    assert rates[:2] == pytest.approx([5e-4, 1e-3])
    assert rates[4:] == pytest.approx([1e-5] * 4)


def test_learning_rates_follow_the_epoch() -> None:
    got = step()
    got(batch(), number=2)  # the first step of the second epoch
    for optimizer, peak in ((got.optimizer, 1e-3), (got.discriminator_optimizer, 2e-4)):
        assert optimizer.param_groups[0]["lr"] == pytest.approx(CosineConfig().learning_rate(peak, 1, TINY.fit.epochs))


def test_phases_of_the_discriminator() -> None:
    phases = AdversaryPhases(warmup=2, cooldown_from=5, cooldown_every=3)
    assert [phases.uses_discriminator(e) for e in range(4)] == [False, False, True, True]
    assert [e for e in range(13) if phases.trains_discriminator(e)] == [2, 3, 4, 5, 8, 11]
    with pytest.raises(ConfigError, match="cooldown_every 1 or more"):
        AdversaryPhases(cooldown_every=0)


def test_accumulated_batches_make_one_step_of_both_optimisers() -> None:
    """Batch statistics are frozen and nothing is dropped; the teacher's first steps would be too small to be seen."""

    def learnt(batches: list[Batch], accumulate: int) -> TeacherStep:
        torch.manual_seed(1)
        got = step(
            network=NetworkConfig("paper", paper=replace(TINY.network.paper, dropout=0.0)),
            fit=FitConfig(epochs=2, steps_per_epoch=4, workers=0, freeze_norm=1.0, grad_accum_steps=accumulate),
            phases=AdversaryPhases(warmup=0),
            optimizer=OptimizerConfig("radam", learning_rate=0.1, betas=(0.5, 0.999)),
        )
        for number, one in enumerate(batches):
            got(one, number)
        return got

    parts = [batch() for _ in range(4)]
    joined = [tuple(torch.cat(pair) for pair in zip(*parts[i : i + 2], strict=True)) for i in (0, 2)]
    untouched, two, one = learnt([], 1), learnt(parts, 2), learnt(joined, 1)
    for name in ("teacher", "discriminator"):
        start, ours, theirs = (networks(got)[name].state_dict() for got in (untouched, two, one))
        assert any(not torch.equal(start[key], value) for key, value in theirs.items())
        for key, value in theirs.items():
            assert torch.allclose(ours[key], value, atol=5e-6), f"{name}: {key}"


@pytest.mark.parametrize(
    ("number", "uses_discriminator", "trains_discriminator"), [(0, False, False), (2, True, True), (4, True, False)]
)
def test_who_learns_in_which_phase(number: int, uses_discriminator: bool, trains_discriminator: bool) -> None:
    got = step(phases=AdversaryPhases(warmup=1, cooldown_from=1, cooldown_every=2))
    parts: dict[str, Any] = {}
    assert changed_by(got.teacher.model, lambda: parts.update(got(batch(), number)))
    assert ("adversarial" in parts) == uses_discriminator
    assert ("discriminator" in parts) == trains_discriminator
    assert changed_by(got.discriminator, lambda: got(batch(), number)) == trains_discriminator


def test_the_loss_is_the_weighted_sum() -> None:
    got = step(losses=LossWeights(ReconstructionWeights(hue=0.05)))
    parts = {name: float(value) for name, value in got(batch(), 2).items()}
    expected = 0.5 * parts["l1"] + 0.35 * (1 - parts["ssim"]) + 0.15 * parts["adversarial"] + 0.05 * parts["hue"]
    assert parts["loss"] == pytest.approx(expected, rel=1e-5)


def test_the_adversarial_loss_teaches_the_generator_alone() -> None:
    got = step(losses=LossWeights(ReconstructionWeights(l1=0.0, ssim=0.0), adversarial=1.0))
    inputs, _, bright, _ = batch()
    parts = got.generator_losses(got.teacher(inputs), bright, adversarial=True)
    parts["loss"].backward()
    assert all(p.grad is None for p in got.discriminator.parameters())
    assert any(p.grad is not None and p.grad.abs().max() > 0 for p in got.teacher.model.parameters())
    assert all(p.requires_grad for p in got.discriminator.parameters())


def test_the_discriminator_learns_to_tell(data: Path) -> None:
    got = step()
    inputs, dark, bright, labelled = batch()
    fake = got.teacher(inputs).detach()

    def hinge() -> float:
        return float(hinge_discriminator(got.discriminator(bright), got.discriminator(fake)).detach())

    before = hinge()
    for _ in range(20):
        got((inputs, dark, bright, labelled), 2)
    assert hinge() < before


def test_losses_of_weight_zero_are_not_computed() -> None:
    got = step(losses=LossWeights(ReconstructionWeights(ssim=0.0), adversarial=0.0))
    assert set(got(batch(), 2)) == {"loss", "l1"}
    half = step(losses=LossWeights(ReconstructionWeights(ssim=0.0), adversarial=0.5))
    assert set(half(batch(), 2)) == {"loss", "l1", "adversarial", "discriminator"}


def test_a_u_net_discriminator_takes_the_same_place() -> None:
    got = step(discriminator=DiscriminatorConfig(channels=(4, 8), per_pixel=True))
    assert changed_by(got.discriminator, lambda: got(batch(), 2))


def test_the_perceptual_loss_needs_weights_that_are_at_hand() -> None:
    with pytest.raises(ConfigError, match="perceptual_weights must name"):
        step(losses=LossWeights(perceptual=0.1))


def test_a_run_leaves_a_teacher_that_rebuilds_itself(data: Path) -> None:
    best = run(data, "run")
    model, config, number = load_teacher(best)
    assert config == TINY
    assert number in (2, 4, 6)
    assert not model.training
    assert [row["step"] for row in log(best.parent) if "val_loss" in row] == [2, 4, 6]
    last = [row for row in log(best.parent) if "val_loss" in row][-1]
    assert last["val_loss"] == pytest.approx(0.5 * last["val_l1"] + 0.35 * (1 - last["val_ssim"]))


def test_the_loss_in_validation_has_the_terms_of_l1_and_ssim_alone() -> None:
    weights = ReconstructionWeights(l1=0.5, ssim=0.2, psnr=9.0, hue=9.0)
    assert train_teacher.validation_loss({"l1": 0.1, "ssim": 0.6, "psnr": 20.0}, weights) == pytest.approx(0.05 + 0.08)


@pytest.mark.parametrize(("withhold", "known"), [(0.0, True), (1.0, False)])
def test_metadata_that_is_never_told_is_not_validated_with(
    data: Path, validation_metadata: Callable[[str], list[bool]], withhold: float, known: bool
) -> None:
    seen = validation_metadata("train_teacher")
    run(data, "run", replace(TINY, data=replace(TINY.data, metadata_dropout=withhold)))
    assert set(seen) == {known}


def test_a_run_without_pairs_to_validate_on_says_so(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(data, "all", replace(TINY, schedule=CosineConfig(t_max=3)))
    assert "warning" not in capsys.readouterr().out
    (data / "photos.csv").write_text("file,split\n0.png,train\n")
    run(data, "none", replace(TINY, schedule=CosineConfig(t_max=3), validation_max_mean=0.0))
    (warning,) = [line for line in capsys.readouterr().out.splitlines() if "warning" in line]
    assert "best.pt is the newest state" in warning


def test_a_resumed_run_continues_to_the_same_losses(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    after: list[bytes] = []
    save = checkpoint.save

    def save_and_remember(path: Path, *rest: Any) -> None:
        save(path, *rest)
        if path.name == "last.pt":
            after.append(path.read_bytes())

    monkeypatch.setattr(checkpoint, "save", save_and_remember)
    run(data, "whole")
    (data / "resumed").mkdir()
    (data / "resumed" / "last.pt").write_bytes(after[1])  # both optimisers have learnt by then
    run(data, "resumed")
    whole, resumed = (checkpoint.load(data / name / "last.pt") for name in ("whole", "resumed"))
    for name in ("teacher", "discriminator"):
        assert all(torch.equal(value, resumed[name][key]) for key, value in whole[name].items())
    state = whole["discriminator_optimizer"]["state"], resumed["discriminator_optimizer"]["state"]
    assert all(torch.equal(state[0][k]["square_avg"], state[1][k]["square_avg"]) for k in state[0])
    ours, theirs = (log(data / name)[-2:] for name in ("resumed", "whole"))
    assert [{**row, "s_per_step": 0} for row in ours] == [{**row, "s_per_step": 0} for row in theirs]
    assert "discriminator" in ours[0]


def test_sizes_that_cannot_be_halved_are_refused(data: Path) -> None:
    with pytest.raises(ConfigError, match=r"shapes\[0\]: working_size is 30.*multiple of 4"):
        run(data, "run", replace(TINY, data=DataConfig(shapes=(BatchShape(30, 30, 2),))))
    with pytest.raises(ConfigError, match="size_multiple is 2"):
        run(data, "run", replace(TINY, model_input=ModelInput(working_size=32, size_multiple=2)))


def test_another_kind_of_checkpoint_is_named(tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "x.pt", {}, 1, 0.0, FitConfig())
    with pytest.raises(DataError, match=r"x\.pt is not a checkpoint of 'lowlight train-teacher'.*holds FitConfig"):
        load_teacher(tmp_path / "x.pt")


TWO_PROCESSES = """
network: {paper: {channels: [4, 8], head: 4, dropout: 0.0}}
discriminator: {channels: [4, 8]}
data: {shapes: [{crop_size: 32, working_size: 32, batch_size: 2}]}
fit: {epochs: 2, steps_per_epoch: 2, workers: 0, freeze_norm: 1.0}
model_input: {working_size: 32, size_multiple: 4}
phases: {warmup: 1}
validation_max_mean: 255.0
"""


class TwoAtOnce(Batches):
    """Item n is what two processes see in step n."""

    def __getitem__(self, step: int) -> Batch:
        first, second = (super(TwoAtOnce, self).__getitem__(2 * step + i) for i in (0, 1))
        joined = [torch.cat(pair) for pair in zip(first, second, strict=True)]
        return tuple(joined)


def test_two_processes_learn_as_one_with_the_doubled_batch(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batch statistics are frozen: on CPUs each process has its own, which is what would differ.

    Where every score lies between -1 and 1, the gradients of some biases cancel to rounding noise, which RMSprop
    divides by itself: those biases alone may differ, and through them the adversarial loss a little.
    """
    (data / "run.yaml").write_text(TWO_PROCESSES)
    launch = ["torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    options = ["--pairs", "pairs.csv", "--photos", "photos.csv", "--config", "run.yaml", "--out", "two"]
    process = subprocess.run(
        [sys.executable, "-m", *launch, "-m", "lowlight_enhance.cli", "train-teacher", *options],
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
        cwd=data,
        env={**os.environ, "PYTHONPATH": str(ROOT), "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"},
    )
    assert process.returncode == 0, process.stdout + process.stderr
    monkeypatch.setattr(train_teacher, "Batches", TwoAtOnce)
    run(data, "one", load_config(TrainTeacherConfig, data / "run.yaml"))
    two, one = log(data / "two"), log(data / "one")
    assert [row["step"] for row in two] == [row["step"] for row in one] == [2, 2, 4, 4]
    assert "discriminator" in two[2]
    for ours, theirs in zip(two, one, strict=True):
        ours.pop("s_per_step", None)
        theirs.pop("s_per_step", None)
        assert ours.pop("adversarial", 0.0) == pytest.approx(theirs.pop("adversarial", 0.0), rel=0.02)
        assert ours == pytest.approx(theirs, rel=5e-4)
    a, b = (checkpoint.load(data / name / "last.pt") for name in ("two", "one"))
    for name, value in b["teacher"].items():
        assert torch.allclose(a["teacher"][name], value, atol=1e-6), name
    learnt = 0
    for number, (name, _) in enumerate(Discriminator(TINY.discriminator).named_parameters()):
        real = b["discriminator_optimizer"]["state"][number]["square_avg"] > 1e-12
        learnt += int(real.sum())
        assert torch.allclose(a["discriminator"][name][real], b["discriminator"][name][real], atol=2e-6), name
    assert learnt > 500


def test_an_affine_teacher_is_judged_at_full_size(data: Path) -> None:
    config = replace(
        TINY,
        network=NetworkConfig("affine", affine=AffineUNetConfig(unshuffle=2, channels=(4, 8), head=4)),
        data=DataConfig(shapes=(BatchShape(48, 32, 2),)),
        fit=replace(TINY.fit, ema_decay=0.9),
    )
    model, found, _ = load_teacher(run(data, "run", config))
    assert found == config
    saved = checkpoint.load(data / "run" / "last.pt")
    assert all(torch.equal(saved["teacher"][name], value) for name, value in model.state_dict().items())
    assert any(not torch.equal(saved["teacher_trained"][name], value) for name, value in saved["teacher"].items())
