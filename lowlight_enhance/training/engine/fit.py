"""The loop of every training: counts steps, logs, validates, saves. Devices and processes are Accelerate's matter."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.utils import broadcast_object_list
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.data import BatchSampler, DataLoader, Dataset

from lowlight_enhance.core.errors import ConfigError, LowlightError
from lowlight_enhance.core.files import make_folder
from lowlight_enhance.training.config import check_range
from lowlight_enhance.training.engine import checkpoint
from lowlight_enhance.training.engine.checkpoint import State
from lowlight_enhance.training.engine.interrupts import interrupts, leave_signals_to_the_parent
from lowlight_enhance.training.engine.run_log import Parts, RunLog, Validation

T = TypeVar("T")
Batch = tuple[Tensor, ...]
Precision = Literal["no", "bf16"]

LOG_EVERY = 100


@dataclass(frozen=True, slots=True)
class FitConfig:
    """Length and precision of a run.

    A batch is a pure function of (seed, step), so an epoch is no pass over a list of files but ``steps_per_epoch``
    batches; it ends with a validation, a checkpoint and a step of the schedules.

    Attributes:
        epochs: of the whole run.
        steps_per_epoch: the default is a pass over the 1865 pairs of SID's Sony training list in batches of 16.
        ema_decay: decay of the exponential moving average of the weights, which is then validated and exported; 0:
            none.
        freeze_norm: share of the steps, at the end, with batch statistics frozen, as at run time.
        clip_grad: largest gradient norm; 0: not limited.
        workers: processes that make batches.
        seed: of weights and batches.
        grad_accum_steps: batches whose gradients make one optimiser step.
        precision: ``bf16`` computes the networks in mixed precision.
    """

    epochs: int = 50
    steps_per_epoch: int = 117
    ema_decay: float = 0.0
    freeze_norm: float = 0.0
    clip_grad: float = 0.0
    workers: int = 1
    seed: int = 1
    grad_accum_steps: int = 1
    precision: Precision = "no"

    def __post_init__(self) -> None:
        check_range(self, 1, math.inf, "epochs", "steps_per_epoch", "grad_accum_steps")
        check_range(self, 0.0, math.inf, "clip_grad", "workers", "seed")
        check_range(self, 0.0, 1.0, "ema_decay", "freeze_norm")

    @property
    def steps(self) -> int:
        """Batches of the whole run."""
        return self.epochs * self.steps_per_epoch

    def norm_is_frozen(self, step: int) -> bool:
        """Whether batch statistics are frozen in this step, counted from 0."""
        return step >= self.steps * (1.0 - self.freeze_norm)


class Step(Protocol):
    """One kind of training: what it does with a batch, and all that a checkpoint must hold of it."""

    @property
    def state(self) -> State:
        """Networks, optimisers, schedules and origins, by their names in the checkpoint."""

    def __call__(self, batch: Batch, number: int) -> Parts:
        """Learn from a batch.

        Raises:
            FloatingPointError: a loss is not finite. Nothing has learnt from it, but another part of the state may
                have learnt from this batch already: it must not be saved.
        """

    def validated(self, scores: Mapping[str, float]) -> None:
        """Move the schedules on."""


def accelerator_for(pace: FitConfig) -> Accelerator:
    """Devices, precision and processes as the machine, ``accelerate launch`` and ``pace`` say.

    Buffers are not broadcast: a discriminator runs twice before one backward pass, which a broadcast between would
    break. So batch statistics belong to each process, and the first one's are saved; ``synchronised`` makes them
    common where the device can.

    Raises:
        ConfigError: a checkpoint would fall between the batches of one optimiser step.
    """
    if pace.steps_per_epoch % pace.grad_accum_steps:
        raise ConfigError(
            f"steps_per_epoch {pace.steps_per_epoch} must be a multiple of grad_accum_steps ({pace.grad_accum_steps})"
        )
    return Accelerator(
        gradient_accumulation_steps=pace.grad_accum_steps,
        mixed_precision=None if pace.precision == "no" else pace.precision,
        kwargs_handlers=[DistributedDataParallelKwargs(broadcast_buffers=False)],
    )


def synchronised(model: nn.Module, accelerator: Accelerator) -> nn.Module:
    """``model`` on its device; on several GPUs, and there alone, with batch statistics over all of them."""
    if accelerator.num_processes > 1 and accelerator.device.type == "cuda":
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
    return model.to(accelerator.device)


def set_mode(model: nn.Module, frozen: bool) -> None:
    """Training mode; with ``frozen``, batch statistics stay what they are."""
    model.train()
    if frozen:
        for module in model.modules():
            if isinstance(module, _BatchNorm):
                module.eval()


def descend(
    accelerator: Accelerator, loss: Tensor, model: nn.Module, optimizer: torch.optim.Optimizer, clip: float = 0.0
) -> None:
    """One step of ``optimizer`` down ``loss``, or one part of it within ``accelerator.accumulate``.

    Raises:
        FloatingPointError: the loss is not finite; ``model``'s parameters are as they were.
    """
    if not torch.isfinite(loss):
        raise FloatingPointError(float(loss.detach()))
    accelerator.backward(loss)
    if clip and accelerator.sync_gradients:
        accelerator.clip_grad_norm_(model.parameters(), clip)
    optimizer.step()
    optimizer.zero_grad()


def fit(
    step: Step,
    batches: Dataset[Batch],
    validate: Callable[[], Validation],
    pace: FitConfig,
    config: Any,
    out: Path,
    accelerator: Accelerator,
) -> None:
    """Train ``step`` on ``batches``.

    Writes ``last.pt`` and ``best.pt`` (highest validation PSNR), appends to ``log.jsonl`` and to TensorBoard's files
    in ``out``; continues from ``last.pt`` where there is one. Each of n processes takes every n-th batch, so a step is
    as one on n batches together. An interrupt saves, then raises KeyboardInterrupt.

    Args:
        step: what to do with a batch.
        batches: item n is a whole batch.
        validate: scores the state at hand; called in the first process alone.
        pace: how long.
        config: a dataclass, all that rebuilds the networks; goes into the checkpoints.
        out: folder of the run.
        accelerator: of ``accelerator_for(pace)``.

    Raises:
        LowlightError: a loss, or weights that were to be saved, are not finite; ``last.pt`` stays as it was.
        DataError: ``last.pt`` belongs to another run.
    """
    make_folder(out)
    torch.set_flush_denormal(True)  # numbers near 1e-40, as in averages that fade out, take a CPU many times as long
    start, best = checkpoint.resume(out / "last.pt", step.state, config)
    loader = _loader(batches, pace, start, accelerator)
    with RunLog(out, start, pace.steps, accelerator) as log, interrupts(accelerator) as interrupted:
        for number, batch in enumerate(loader, start=start):
            torch.manual_seed((pace.seed * 1_000_003 + number) * accelerator.num_processes + accelerator.process_index)
            try:
                log.add(step(batch, number))
            except FloatingPointError as error:
                raise _diverged(f"the loss is {error} at step {number}", pace, out) from error
            done = number + 1
            due = done % pace.steps_per_epoch == 0 or done == pace.steps
            if due or done % LOG_EVERY == 0:
                log.means(done)
            if due:
                _require_finite(step, number, pace, out, accelerator)
                validation = _on_the_first(validate, accelerator)
                log.scores(done, validation)
                step.validated(validation.scores)
                psnr = validation.scores.get("psnr")
                if psnr is None or psnr > best:
                    best = best if psnr is None else psnr
                    _save(out / "best.pt", step, done, best, config, accelerator)
                _save(out / "last.pt", step, done, best, config, accelerator)
            if accelerator.sync_gradients and interrupted():
                if not due:
                    _require_finite(step, number, pace, out, accelerator)
                    _save(out / "last.pt", step, done, best, config, accelerator)
                log.say(f"interrupted; {out / 'last.pt'} holds step {done}: the same command continues there")
                raise KeyboardInterrupt


def _loader(batches: Dataset[Batch], pace: FitConfig, start: int, accelerator: Accelerator) -> DataLoader[Batch]:
    """Batches from number ``start`` of each process on, on its device."""
    each = accelerator.num_processes
    loader = DataLoader(
        batches,
        batch_sampler=BatchSampler(range(start * each, pace.steps * each), 1, drop_last=False),
        collate_fn=_only,
        num_workers=pace.workers,
        worker_init_fn=leave_signals_to_the_parent,
    )
    prepared: DataLoader[Batch] = accelerator.prepare_data_loader(loader)
    return prepared


def _only(items: list[Batch]) -> Batch:
    (item,) = items
    return item


def _require_finite(step: Step, number: int, pace: FitConfig, out: Path, accelerator: Accelerator) -> None:
    """Raise LowlightError in all processes where a number in the first one's networks is not finite."""

    def finite() -> bool:
        networks = [part for part in step.state.values() if isinstance(part, nn.Module)]
        return all(bool(torch.isfinite(value).all()) for part in networks for value in part.state_dict().values())

    if not _on_the_first(finite, accelerator):
        raise _diverged(f"the weights are not finite after step {number}", pace, out)


def _diverged(what: str, pace: FitConfig, out: Path) -> LowlightError:
    clip = pace.clip_grad / 2.0 if pace.clip_grad else 1.0
    advice = f"try, with another --out, a smaller learning_rate or 'fit: {{clip_grad: {clip:g}}}' in --config"
    last = out / "last.pt"
    if last.exists():
        advice += f"; {last} holds the last good state"
    return LowlightError(f"{what}; {advice}")


def _save(path: Path, step: Step, done: int, best: float, config: Any, accelerator: Accelerator) -> None:
    if accelerator.is_main_process:
        checkpoint.save(path, step.state, done, best, config)


def _on_the_first(ask: Callable[[], T], accelerator: Accelerator) -> T:
    """What ``ask`` says in the first process, in all of them."""
    found = [ask() if accelerator.is_main_process else None]
    if accelerator.num_processes > 1:
        broadcast_object_list(found)
    assert found[0] is not None
    return found[0]
