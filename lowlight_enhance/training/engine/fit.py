"""Training loop: steps, logging, validation and checkpoints. Accelerate handles devices and processes."""

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
from lowlight_enhance.training.engine.interrupts import catch_interrupts, ignore_stop_signals
from lowlight_enhance.training.engine.run_log import Parts, RunLog, Validation

T = TypeVar("T")
Batch = tuple[Tensor, ...]
Precision = Literal["no", "bf16"]

LOG_EVERY = 100
"""Steps between two lines of losses in the log."""


@dataclass(frozen=True, slots=True)
class FitConfig:
    """Length and precision of a run.

    A batch is a pure function of (seed, step). An epoch is therefore not a pass over a list of files, but
    ``steps_per_epoch`` batches. It ends with a validation, a checkpoint and a step of the schedules.

    Attributes:
        epochs: epochs of the whole run.
        steps_per_epoch: batches in an epoch. The default is a pass over the 1865 pairs of the Sony training list of
            SID in batches of 16.
        ema_decay: decay of the exponential moving average of the weights, which is then validated and exported; 0:
            no average.
        freeze_norm: share of the steps, at the end, with frozen batch statistics, as at run time.
        clip_grad: largest gradient norm; 0: no limit.
        workers: processes that make batches.
        seed: seed of weights and batches.
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
        """Steps of the whole run."""
        return self.epochs * self.steps_per_epoch

    def norm_is_frozen(self, step: int) -> bool:
        """Whether batch statistics are frozen in this step, counted from 0."""
        return step >= self.steps * (1.0 - self.freeze_norm)


class Step(Protocol):
    """One kind of training: the update from a batch, and the state that a checkpoint must hold."""

    @property
    def state(self) -> State:
        """Networks, optimisers, schedules and hashes of frozen networks, by name."""

    def __call__(self, batch: Batch, number: int) -> Parts:
        """Update the networks from a batch, and return its losses by name.

        Raises:
            FloatingPointError: a loss is not finite. The network of that loss is unchanged, but another network may
                have been updated from this batch already, so the state must not be saved.
        """

    def end_epoch(self, scores: Mapping[str, float]) -> None:
        """Update the schedules with the scores of the validation."""


def create_accelerator(fit_config: FitConfig) -> Accelerator:
    """Create the Accelerator of a run; devices and processes are those of the machine or of ``accelerate launch``.

    Buffers are not broadcast: a discriminator runs twice before one backward pass, and a broadcast between the two
    would break that pass. So each process has its own batch statistics, and those of the first one are saved;
    ``to_device`` makes them common where the device can.

    Raises:
        ConfigError: a checkpoint would fall between the batches of one optimiser step.
    """
    if fit_config.steps_per_epoch % fit_config.grad_accum_steps:
        raise ConfigError(
            f"steps_per_epoch {fit_config.steps_per_epoch} must be a multiple of grad_accum_steps "
            f"({fit_config.grad_accum_steps})"
        )
    return Accelerator(
        gradient_accumulation_steps=fit_config.grad_accum_steps,
        mixed_precision=None if fit_config.precision == "no" else fit_config.precision,
        kwargs_handlers=[DistributedDataParallelKwargs(broadcast_buffers=False)],
    )


def to_device(model: nn.Module, accelerator: Accelerator) -> nn.Module:
    """Move a network to its device; on several GPUs its batch statistics become those of all of them."""
    if accelerator.num_processes > 1 and accelerator.device.type == "cuda":
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
    return model.to(accelerator.device)


def set_mode(model: nn.Module, frozen: bool) -> None:
    """Set training mode; with ``frozen``, batch statistics do not change."""
    model.train()
    if frozen:
        for module in model.modules():
            if isinstance(module, _BatchNorm):
                module.eval()


def backward_step(
    accelerator: Accelerator, loss: Tensor, model: nn.Module, optimizer: torch.optim.Optimizer, clip: float = 0.0
) -> None:
    """Backpropagate a loss and step the optimiser; within ``accelerator.accumulate``, only after its last batch.

    Raises:
        FloatingPointError: the loss is not finite; the parameters of ``model`` are unchanged.
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
    fit_config: FitConfig,
    config: Any,
    out: Path,
    accelerator: Accelerator,
) -> None:
    """Train.

    Writes ``last.pt`` and ``best.pt`` (highest validation PSNR), and appends to ``log.jsonl`` and to the files of
    TensorBoard in ``out``. Continues from ``last.pt`` if it exists. Each of n processes takes every n-th batch, so a
    step of n processes is a step on n batches. An interrupt saves, then raises KeyboardInterrupt.

    Args:
        step: update from a batch.
        batches: item n is a whole batch.
        validate: scores the current state; called in the first process only.
        fit_config: length and precision.
        config: dataclass that rebuilds the networks; written to the checkpoints.
        out: folder of the run.
        accelerator: from ``create_accelerator(fit_config)``.

    Raises:
        LowlightError: a loss, or the weights to save, are not finite; ``last.pt`` is unchanged.
        DataError: ``last.pt`` belongs to another run.
    """
    make_folder(out)
    # Numbers near 1e-40, as in averages that fade out, take a CPU many times as long.
    torch.set_flush_denormal(True)
    start, best = checkpoint.resume(out / "last.pt", step.state, config)
    loader = _loader(batches, fit_config, start, accelerator)
    with RunLog(out, start, fit_config.steps, accelerator) as log, catch_interrupts(accelerator) as interrupted:
        for number, batch in enumerate(loader, start=start):
            seed = fit_config.seed * 1_000_003 + number
            torch.manual_seed(seed * accelerator.num_processes + accelerator.process_index)
            try:
                log.add(step(batch, number))
            except FloatingPointError as error:
                raise _diverged(f"the loss is {error} at step {number}", fit_config, out) from error
            done = number + 1
            ends_epoch = done % fit_config.steps_per_epoch == 0 or done == fit_config.steps
            if ends_epoch or done % LOG_EVERY == 0:
                log.write_means(done)
            if ends_epoch:
                _require_finite(step, number, fit_config, out, accelerator)
                validation = _on_main_process(validate, accelerator)
                log.write_scores(done, validation)
                step.end_epoch(validation.scores)
                psnr = validation.scores.get("psnr")
                if psnr is None or psnr > best:
                    best = best if psnr is None else psnr
                    _save(out / "best.pt", step, done, best, config, accelerator)
                _save(out / "last.pt", step, done, best, config, accelerator)
            if accelerator.sync_gradients and interrupted():
                if not ends_epoch:
                    _require_finite(step, number, fit_config, out, accelerator)
                    _save(out / "last.pt", step, done, best, config, accelerator)
                log.print(f"interrupted; {out / 'last.pt'} holds step {done}: the same command continues there")
                raise KeyboardInterrupt


def _loader(batches: Dataset[Batch], fit_config: FitConfig, start: int, accelerator: Accelerator) -> DataLoader[Batch]:
    """Return the batches of each process from number ``start`` on, on its device."""
    each = accelerator.num_processes
    loader = DataLoader(
        batches,
        batch_sampler=BatchSampler(range(start * each, fit_config.steps * each), 1, drop_last=False),
        collate_fn=_only,
        num_workers=fit_config.workers,
        worker_init_fn=ignore_stop_signals,
    )
    prepared: DataLoader[Batch] = accelerator.prepare_data_loader(loader)
    return prepared


def _only(items: list[Batch]) -> Batch:
    (item,) = items
    return item


def _require_finite(step: Step, number: int, fit_config: FitConfig, out: Path, accelerator: Accelerator) -> None:
    """Raise LowlightError in all processes if a weight of the first one is not finite."""

    def finite() -> bool:
        networks = [part for part in step.state.values() if isinstance(part, nn.Module)]
        return all(bool(torch.isfinite(value).all()) for part in networks for value in part.state_dict().values())

    if not _on_main_process(finite, accelerator):
        raise _diverged(f"the weights are not finite after step {number}", fit_config, out)


def _diverged(what: str, fit_config: FitConfig, out: Path) -> LowlightError:
    clip = fit_config.clip_grad / 2.0 if fit_config.clip_grad else 1.0
    advice = f"try, with another --out, a smaller learning_rate or 'fit: {{clip_grad: {clip:g}}}' in --config"
    last = out / "last.pt"
    if last.exists():
        advice += f"; {last} holds the last good state"
    return LowlightError(f"{what}; {advice}")


def _save(path: Path, step: Step, done: int, best: float, config: Any, accelerator: Accelerator) -> None:
    if accelerator.is_main_process:
        checkpoint.save(path, step.state, done, best, config)


def _on_main_process(function: Callable[[], T], accelerator: Accelerator) -> T:
    """Call a function in the first process, and return its result in all of them."""
    found = [function() if accelerator.is_main_process else None]
    if accelerator.num_processes > 1:
        broadcast_object_list(found)
    assert found[0] is not None
    return found[0]
