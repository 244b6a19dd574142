"""The loop: counts steps, logs, validates, writes self-contained checkpoints."""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from lowlight_enhance.core.errors import DataError, LowlightError

Batch = tuple[Tensor, ...]
Step = Callable[[Batch], tuple[Tensor, dict[str, float]]]
Validate = Callable[[nn.Module], dict[str, float]]


@dataclass(frozen=True, slots=True)
class FitConfig:
    """How long and how fast.

    Attributes:
        steps: optimiser steps.
        learning_rate: peak; reached after ``warmup`` steps, then a cosine down to a hundredth.
        weight_decay: Adam's L2 term.
        ema: decay of the averaged weights that are validated and exported.
        freeze_norm: share of the steps, at the end, with batch statistics frozen, as at run time.
        validate_every: steps between validations (and checkpoints).
        clip: largest gradient norm.
        workers: processes that make batches.
    """

    steps: int = 20000
    learning_rate: float = 1e-3
    warmup: int = 300
    weight_decay: float = 1e-5
    ema: float = 0.999
    freeze_norm: float = 0.2
    validate_every: int = 1000
    clip: float = 1.0
    workers: int = 1
    seed: int = 1


def learning_rate_factor(step: int, config: FitConfig) -> float:
    """Share of the peak learning rate at ``step``."""
    if step < config.warmup:
        return (step + 1) / config.warmup
    done = (step - config.warmup) / max(1, config.steps - config.warmup)
    return 0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * min(done, 1.0)))


def fit(
    model: nn.Module,
    batches: Dataset[Batch],
    step: Step,
    validate: Validate,
    config: FitConfig,
    out: Path,
    about: dict[str, Any],
    log: Callable[[str], None] = print,
) -> nn.Module:
    """Train ``model`` in place; returns the averaged copy.

    Writes ``last.pt`` and ``best.pt`` (highest validation PSNR) and appends to ``log.jsonl`` in ``out``; continues
    from ``last.pt`` where there is one.

    Raises:
        LowlightError: the loss is not finite.
        DataError: ``last.pt`` belongs to another run.
    """
    out.mkdir(parents=True, exist_ok=True)
    optimizer = torch.optim.Adam(
        model.parameters(), lr=config.learning_rate, betas=(0.9, 0.999), weight_decay=config.weight_decay
    )
    averaged = copy.deepcopy(model).eval().requires_grad_(False)
    start, best = _resume(out / "last.pt", model, averaged, optimizer, about)
    loader = DataLoader(
        batches,
        batch_size=None,
        sampler=range(start, config.steps),
        num_workers=config.workers,
        persistent_workers=False,
    )
    totals: dict[str, float] = {}
    since, count = time.monotonic(), 0
    for number, batch in enumerate(loader, start=start):
        _set_mode(model, frozen=number >= config.steps * (1.0 - config.freeze_norm))
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * learning_rate_factor(number, config)
        loss, parts = step(batch)
        if not torch.isfinite(loss):
            raise LowlightError(
                f"the loss is {float(loss)} at step {number}; {out / 'last.pt'} holds the state before it: "
                "lower learning_rate or clip and run again"
            )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), config.clip)
        optimizer.step()
        _average(averaged, model, min(config.ema, (number + 1) / (number + 10)))
        for name, value in {"loss": float(loss.detach()), **parts}.items():
            totals[name] = totals.get(name, 0.0) + value
        count += 1
        last = number + 1 == config.steps
        if (number + 1) % 100 == 0 or last:
            row = {"step": number + 1, **{k: v / count for k, v in totals.items()}}
            row["s_per_step"] = (time.monotonic() - since) / count
            _log(out, row, log)
            totals, count, since = {}, 0, time.monotonic()
        if (number + 1) % config.validate_every == 0 or last:
            scores = validate(averaged)
            _log(out, {"step": number + 1, **{f"val_{k}": v for k, v in scores.items()}}, log)
            state = {"model": model, "averaged": averaged, "optimizer": optimizer}
            psnr = scores.get("psnr", -math.inf)
            if psnr > best:
                best = psnr
                _save(out / "best.pt", state, number + 1, best, about)
            _save(out / "last.pt", state, number + 1, best, about)
            since = time.monotonic()
    return averaged


def _set_mode(model: nn.Module, frozen: bool) -> None:
    model.train()
    if frozen:
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()


def _average(averaged: nn.Module, model: nn.Module, decay: float) -> None:
    with torch.no_grad():
        for mine, theirs in zip(averaged.state_dict().values(), model.state_dict().values(), strict=True):
            if mine.is_floating_point():
                mine.lerp_(theirs, 1.0 - decay)
            else:
                mine.copy_(theirs)


def _log(out: Path, row: dict[str, float], log: Callable[[str], None]) -> None:
    with (out / "log.jsonl").open("a") as file:
        file.write(json.dumps(row) + "\n")
    log("  ".join(f"{name} {value:.4g}" if name != "step" else f"step {value}" for name, value in row.items()))


def _save(path: Path, state: dict[str, Any], step: int, best: float, about: dict[str, Any]) -> None:
    content = {name: part.state_dict() for name, part in state.items()}
    temporary = path.with_suffix(".tmp")
    torch.save({**content, "step": step, "best": best, "about": about}, temporary)
    temporary.replace(path)


def _resume(
    path: Path, model: nn.Module, averaged: nn.Module, optimizer: torch.optim.Optimizer, about: dict[str, Any]
) -> tuple[int, float]:
    if not path.exists():
        return 0, -math.inf
    saved = torch.load(path, map_location="cpu", weights_only=True)
    if saved["about"] != about:
        raise DataError(f"{path} was written with other settings; give another --out, or remove it to start anew")
    model.load_state_dict(saved["model"])
    averaged.load_state_dict(saved["averaged"])
    optimizer.load_state_dict(saved["optimizer"])
    return int(saved["step"]), float(saved["best"])


def settings(*configs: Any) -> dict[str, Any]:
    """Dataclasses as plain values by class name, for a checkpoint that rebuilds what made it."""
    return {type(config).__name__: json.loads(json.dumps(asdict(config))) for config in configs}
