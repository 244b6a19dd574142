"""Optimisers, learning-rate schedules and averaged weights."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from lowlight_enhance.core.errors import ConfigError
from lowlight_enhance.training.config import check_below, check_range


@dataclass(frozen=True, slots=True)
class OptimizerConfig:
    """An optimiser of torch.

    Attributes:
        name: class of the optimiser.
        learning_rate: peak learning rate.
        weight_decay: L2 term of the gradient; of ``adamw`` apart from the gradient's moments.
        betas: decay of the moments; not of ``rmsprop``.
    """

    name: Literal["radam", "rmsprop", "adam", "adamw"] = "adamw"
    learning_rate: float = 1e-3
    weight_decay: float = 1e-5
    betas: tuple[float, float] = (0.9, 0.999)

    def __post_init__(self) -> None:
        check_range(self, 0.0, math.inf, "learning_rate", "weight_decay")
        check_range(self, 0.0, 1.0, "betas")
        check_below(self, 1.0, "betas")

    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """Return the optimiser of these parameters."""
        rate, decay = self.learning_rate, self.weight_decay
        if self.name == "rmsprop":
            return torch.optim.RMSprop(parameters, lr=rate, weight_decay=decay)
        kinds: dict[str, type[torch.optim.RAdam | torch.optim.Adam | torch.optim.AdamW]] = {
            "radam": torch.optim.RAdam,
            "adam": torch.optim.Adam,
            "adamw": torch.optim.AdamW,
        }
        return kinds[self.name](parameters, lr=rate, betas=self.betas, weight_decay=decay)


@dataclass(frozen=True, slots=True)
class CosineConfig:
    """Linear warm-up, then cosine annealing (Loshchilov & Hutter 2017), in steps or epochs.

    Attributes:
        t_max: end of the cosine, counted from the start of the run; 0: the end of the run. The learning rate stays at
            ``eta_min`` afterwards.
        eta_min: learning rate at the end of the cosine.
        warmup: length of the warm-up, with which the run starts.
    """

    t_max: int = 0
    eta_min: float = 1e-5
    warmup: int = 0

    def __post_init__(self) -> None:
        check_range(self, 0, math.inf, "t_max", "warmup")
        check_range(self, 0.0, math.inf, "eta_min")
        if 0 < self.t_max <= self.warmup:
            raise ConfigError(f"t_max must be 0 or above warmup ({self.warmup}), found {self.t_max}")

    def learning_rate(self, peak: float, now: int, length: int) -> float:
        """Return the learning rate at ``now``, counted from 0, of a run of ``length``.

        Without a warm-up it is the closed form of torch's CosineAnnealingLR, up to ``t_max``.
        """
        if now < self.warmup:
            return peak * (now + 1) / (self.warmup + 1)
        t_max = (self.t_max or length) - self.warmup
        share = min(1.0, (now - self.warmup) / max(1, t_max))
        return self.eta_min + (peak - self.eta_min) * (1.0 + math.cos(math.pi * share)) / 2.0


def set_learning_rate(optimizer: torch.optim.Optimizer, value: float) -> None:
    """Set the learning rate of all parameters."""
    for group in optimizer.param_groups:
        group["lr"] = value


def update_average(averaged: nn.Module, model: nn.Module, decay: float, step: int) -> None:
    """Move the exponential moving average of the weights towards ``model``.

    Args:
        averaged: network of the same kind; changed in place.
        model: network that is trained.
        decay: share of the average that remains; smaller in the first steps, so that the random start is forgotten.
        step: number of the step, counted from 0.
    """
    decay = min(decay, (step + 1) / (step + 10))
    with torch.no_grad():
        for mine, theirs in zip(averaged.state_dict().values(), model.state_dict().values(), strict=True):
            if mine.is_floating_point():
                mine.lerp_(theirs, 1.0 - decay)
            else:
                mine.copy_(theirs)
