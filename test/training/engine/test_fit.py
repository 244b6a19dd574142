"""The loop alone, with a network of two numbers."""

import json
import os
import signal
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn
from torch.utils.data import Dataset

from lowlight_enhance.core.errors import ConfigError, LowlightError
from lowlight_enhance.training.engine import checkpoint
from lowlight_enhance.training.engine.checkpoint import Stateful
from lowlight_enhance.training.engine.fit import (
    Batch,
    FitConfig,
    backward_step,
    create_accelerator,
    fit,
    set_mode,
)
from lowlight_enhance.training.engine.run_log import Parts, Validation


class Numbers(Dataset[Batch]):
    """Item n is ``size`` pairs drawn from n; ``bad`` is not a number."""

    def __init__(self, size: int = 4, bad: int = -1) -> None:
        self.size, self.bad = size, bad

    def __len__(self) -> int:
        return 1000

    def __getitem__(self, step: int) -> Batch:
        x = torch.randn(self.size, 1, generator=torch.Generator().manual_seed(step))
        return (x * float("nan") if step == self.bad else x, 3.0 * x + 1.0)


class Line:
    """Fits y = a x + b, with some dropout so that the random state matters."""

    def __init__(self, accelerator: Accelerator, dropout: float = 0.0) -> None:
        torch.manual_seed(0)
        self.accelerator = accelerator
        self.model = nn.Sequential(nn.Linear(1, 1), nn.Dropout(dropout))
        sgd = torch.optim.SGD(self.model.parameters(), lr=0.1, momentum=0.9)
        self.prepared, self.optimizer = accelerator.prepare(self.model, sgd)
        self.seen: list[int] = []
        self.scores: list[Mapping[str, float]] = []

    @property
    def state(self) -> Mapping[str, Stateful]:
        return {"model": self.model, "optimizer": self.optimizer}

    def __call__(self, batch: Batch, number: int) -> Parts:
        self.seen.append(number)
        x, y = batch
        with self.accelerator.accumulate(self.prepared):
            loss = (self.prepared(x) - y).square().mean()
            backward_step(self.accelerator, loss, self.prepared, self.optimizer)
        return {"loss": loss.detach()}

    def end_epoch(self, scores: Mapping[str, float]) -> None:
        self.scores.append(scores)


def run(
    out: Path,
    fit_config: FitConfig,
    batches: Dataset[Batch] | None = None,
    psnr: list[float] | None = None,
    kind: type[Line] = Line,
    **how: float,
) -> Line:
    accelerator = create_accelerator(fit_config)
    line = kind(accelerator, **how)
    left = list(psnr or [])
    picture = torch.rand(3, 8, 8)

    def validate() -> Validation:
        return Validation({"psnr": left.pop(0)} if left else {}, picture)

    fit(line, batches or Numbers(), validate, fit_config, fit_config, out, accelerator)
    return line


def weights(line: Line) -> list[float]:
    return [float(p.detach()) for p in line.model.parameters()]


def rows(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


FIT_CONFIG = FitConfig(epochs=3, steps_per_epoch=2, workers=0)


def test_every_step_is_taken_once_in_order_and_validated_when_due(tmp_path: Path) -> None:
    line = run(tmp_path, FIT_CONFIG, psnr=[1.0, 3.0, 2.0])
    assert line.seen == list(range(6))
    assert line.scores == [{"psnr": 1.0}, {"psnr": 3.0}, {"psnr": 2.0}]
    assert [row["val_psnr"] for row in rows(tmp_path) if "val_psnr" in row] == [1.0, 3.0, 2.0]
    best, last = (checkpoint.load(tmp_path / name) for name in ("best.pt", "last.pt"))
    assert (best["step"], last["step"], last["best"]) == (4, 6, 3.0)


def test_without_scores_the_newest_state_is_the_best(tmp_path: Path) -> None:
    run(tmp_path, FIT_CONFIG)
    assert checkpoint.load(tmp_path / "best.pt")["step"] == 6


def test_worker_processes_deliver_the_same_batches(tmp_path: Path) -> None:
    alone = run(tmp_path / "a", FIT_CONFIG)
    helped = run(tmp_path / "b", FitConfig(epochs=3, steps_per_epoch=2, workers=2))
    assert weights(alone) == weights(helped)


def test_a_resumed_run_continues_to_the_same_numbers_with_dropout(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole", FIT_CONFIG, psnr=[1.0] * 3, dropout=0.5)
    fit_config = FitConfig(epochs=2, steps_per_epoch=2, workers=0)
    run(tmp_path / "part", fit_config, psnr=[1.0] * 2, dropout=0.5)
    path = tmp_path / "part" / "last.pt"
    saved = checkpoint.load(path)
    saved["about"]["FitConfig"]["epochs"] = 3
    torch.save(saved, path)
    resumed = run(tmp_path / "part", FIT_CONFIG, psnr=[1.0], dropout=0.5)
    assert resumed.seen == [4, 5]
    assert weights(resumed) == weights(whole)
    assert rows(tmp_path / "part")[-2]["loss"] == rows(tmp_path / "whole")[-2]["loss"]


def test_a_loss_that_is_not_finite_stops_with_the_step(tmp_path: Path) -> None:
    with pytest.raises(LowlightError, match="nan at step 3"):
        run(tmp_path, FIT_CONFIG, Numbers(bad=3))
    assert checkpoint.load(tmp_path / "last.pt")["step"] == 2


@pytest.mark.parametrize(("clip", "smaller"), [(0.0, "1"), (0.5, "0.25")])
def test_what_to_try_after_such_a_loss_is_possible(tmp_path: Path, clip: float, smaller: str) -> None:
    advice = f"with another --out, a smaller learning_rate or 'fit: {{clip_grad: {smaller}}}'"
    with pytest.raises(LowlightError) as early:
        run(tmp_path, replace(FIT_CONFIG, clip_grad=clip), Numbers(bad=1))
    assert advice in str(early.value)
    assert "last.pt" not in str(early.value)  # nothing has been saved yet
    with pytest.raises(LowlightError) as later:
        run(tmp_path, replace(FIT_CONFIG, clip_grad=clip), Numbers(bad=3))
    assert advice in str(later.value)
    assert f"{tmp_path / 'last.pt'} holds the last good state" in str(later.value)


class Breaking(Line):
    """The loss of step 3 is finite, its gradient is not; where ``asked``, the run is to stop after that step."""

    asked = False

    def __call__(self, batch: Batch, number: int) -> Parts:
        if number == 3:
            next(self.model.parameters()).register_hook(lambda gradient: gradient * float("nan"))
            if self.asked:
                os.kill(os.getpid(), signal.SIGINT)
        return super().__call__(batch, number)


class BreakingWhenAsked(Breaking):
    asked = True


@pytest.mark.parametrize(
    ("kind", "fit_config"),
    [
        (Breaking, FitConfig(epochs=3, steps_per_epoch=2, workers=0)),
        (BreakingWhenAsked, FitConfig(epochs=2, steps_per_epoch=3, workers=0)),
    ],
)
def test_weights_that_are_not_finite_are_never_saved(tmp_path: Path, kind: type[Line], fit_config: FitConfig) -> None:
    with pytest.raises(LowlightError, match="weights are not finite after step 3"):
        run(tmp_path, fit_config, kind=kind)
    for name in ("last.pt", "best.pt"):
        saved = checkpoint.load(tmp_path / name)
        assert saved["step"] == fit_config.steps_per_epoch
        assert all(bool(torch.isfinite(value).all()) for value in saved["model"].values())


def test_accumulated_batches_make_one_step_of_their_mean(tmp_path: Path) -> None:
    class Joined(Numbers):
        def __getitem__(self, step: int) -> Batch:
            first, second = (Numbers.__getitem__(self, 2 * step + i) for i in (0, 1))
            return tuple(torch.cat(pair) for pair in zip(first, second, strict=True))

    parts = run(tmp_path / "a", FitConfig(epochs=2, steps_per_epoch=4, workers=0, grad_accum_steps=2))
    whole = run(tmp_path / "b", FitConfig(epochs=2, steps_per_epoch=2, workers=0), Joined())
    assert weights(parts) == pytest.approx(weights(whole), rel=1e-5)


def test_a_checkpoint_never_falls_between_the_batches_of_a_step() -> None:
    with pytest.raises(ConfigError, match="multiple of grad_accum_steps"):
        create_accelerator(FitConfig(epochs=1, steps_per_epoch=6, grad_accum_steps=4))
    with pytest.raises(ConfigError, match="grad_accum_steps must be 1 or more"):
        FitConfig(grad_accum_steps=0)


def test_bf16_computes_the_network_in_mixed_precision(tmp_path: Path) -> None:
    fit_config = FitConfig(epochs=1, steps_per_epoch=2, workers=0, precision="bf16")
    accelerator = create_accelerator(fit_config)
    line = Line(accelerator)
    seen = []
    line.model[0].register_forward_hook(lambda _m, _i, out: seen.append(out.dtype))
    fit(line, Numbers(), lambda: Validation({}), fit_config, fit_config, tmp_path, accelerator)
    assert set(seen) == {torch.bfloat16}
    assert line.model[0].weight.dtype == torch.float32


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_workers_too_loses_no_step(tmp_path: Path, number: signal.Signals) -> None:
    class Interrupting(Numbers):
        def __getitem__(self, step: int) -> Batch:
            if step == 3:  # in a worker
                os.kill(os.getpid(), number)
                os.kill(os.getppid(), number)
            return Numbers.__getitem__(self, step)

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, FitConfig(epochs=1, steps_per_epoch=50, workers=1), Interrupting())
    assert 1 <= checkpoint.load(tmp_path / "last.pt")["step"] < 50


@pytest.mark.parametrize("steps_per_epoch", [8, 1])
def test_an_interrupt_saves_and_the_same_command_continues(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], steps_per_epoch: int
) -> None:
    class Interrupting(Numbers):
        def __getitem__(self, step: int) -> Batch:
            if step == 3:
                os.kill(os.getpid(), signal.SIGINT)
            return Numbers.__getitem__(self, step)

    fit_config = FitConfig(epochs=8 // steps_per_epoch, steps_per_epoch=steps_per_epoch, workers=0)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, fit_config, Interrupting())
    assert signal.getsignal(signal.SIGINT) is before
    done = checkpoint.load(tmp_path / "last.pt")["step"]
    assert done in (3, 4)  # the loader reads one batch ahead
    assert f"step {done}: the same command continues there" in capsys.readouterr().out
    resumed = run(tmp_path, fit_config)
    assert resumed.seen == list(range(done, 8))
    assert weights(resumed) == weights(run(tmp_path / "whole", fit_config))


def test_scalars_and_pictures_reach_tensorboard(tmp_path: Path) -> None:
    run(tmp_path, FIT_CONFIG, psnr=[1.0, 3.0, 2.0])
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(e.step, e.value) for e in events.Scalars("val_psnr")] == [(2, 1.0), (4, 3.0), (6, 2.0)]
    assert "loss" in events.Tags()["scalars"]
    assert [e.step for e in events.Images("dark, enhanced, reference")] == [2, 4, 6]


def test_an_epoch_ends_with_a_validation() -> None:
    fit_config = FitConfig(epochs=3, steps_per_epoch=10)
    assert fit_config.steps == 30


def test_frozen_statistics_stay_what_they_are() -> None:
    model = nn.Sequential(nn.BatchNorm2d(2), nn.Dropout(0.5))
    set_mode(model, frozen=True)
    model(torch.rand(4, 2, 3, 3))
    assert torch.equal(model[0].running_mean, torch.zeros(2))
    assert model[1].training
    set_mode(model, frozen=False)
    model(torch.rand(4, 2, 3, 3))
    assert not torch.equal(model[0].running_mean, torch.zeros(2))
