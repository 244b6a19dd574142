"""Training the student directly on pairs: real ones and darkened photographs."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn

from lowlight_enhance.core.errors import ConfigError
from lowlight_enhance.core.inference.model_input import ModelInput
from lowlight_enhance.core.metadata.capture import CaptureMetadata
from lowlight_enhance.training.config import check_range
from lowlight_enhance.training.data.dataset import Batches, DataConfig, check_sizes, to_tensor
from lowlight_enhance.training.data.pictures import LoadedPair, Picture, load_training_pictures
from lowlight_enhance.training.distill import DISTILLED_STUDENT
from lowlight_enhance.training.engine import checkpoint
from lowlight_enhance.training.engine.checkpoint import Stateful
from lowlight_enhance.training.engine.fit import (
    Batch,
    FitConfig,
    accelerator_for,
    descend,
    fit,
    learning_rate_factor,
    set_mode,
    synchronised,
)
from lowlight_enhance.training.engine.run_log import Parts, Validation
from lowlight_enhance.training.engine.validation import WITHOUT_PAIRS, as_told, scores
from lowlight_enhance.training.losses import as_displayed, reconstruction_loss
from lowlight_enhance.training.models.blocks import parameter_count
from lowlight_enhance.training.models.reinit_channels import revive
from lowlight_enhance.training.models.student import Student, StudentConfig, apply_local_affine

REVIVAL_BATCHES = 8


@dataclass(frozen=True, slots=True)
class TrainStudentConfig:
    """A run that trains the student directly on pairs.

    Attributes:
        l1: weight of L1, the paper's.
        ssim: weight of 1 - SSIM, the paper's.
        psnr: weight of a decibel of PSNR; not in the paper.
        hue: weight of ``losses.hue_penalty``; the paper proposes such a term.
        clip_output: whether the losses see the picture clipped to 0..1, as it is published; not in the paper.
        validation_max_mean: validation frames are those of at most this mean, 0..255.
    """

    student: StudentConfig = field(default_factory=StudentConfig)
    data: DataConfig = field(default_factory=DataConfig)
    fit: FitConfig = field(default_factory=FitConfig)
    model_input: ModelInput = field(default_factory=ModelInput)
    l1: float = 0.5
    ssim: float = 0.35
    psnr: float = 0.0
    hue: float = 0.0
    clip_output: bool = False
    validation_max_mean: float = 40.0

    def __post_init__(self) -> None:
        check_range(self, 0.0, math.inf, "l1", "ssim", "psnr", "hue")
        check_range(self, 0.0, 255.0, "validation_max_mean")


def train_student(
    config: TrainStudentConfig,
    pairs: Sequence[Path],
    photos: Sequence[Path],
    out: Path,
    init: Path | None = None,
    new_channels: bool = False,
) -> Path:
    """Train a student; returns the checkpoint with the best validation PSNR.

    Args:
        config: every setting of the run.
        pairs: CSV indices of real pairs.
        photos: CSV indices of well-exposed photographs to darken.
        out: folder for checkpoints and the log; a run found there is continued.
        init: checkpoint of a student, trained directly or distilled, to start from; not read where a run is continued.
        new_channels: whether channels of ``init`` that have died start anew.

    Raises:
        ConfigError: settings that do not fit each other, or the network of ``init`` is another one.
        DataError: pictures or ``init`` cannot be read, or a folder of another run.
        LowlightError: a loss, or weights that were to be saved, are not finite.
    """
    check_sizes(config.data, config.model_input, config.student.size_multiple)
    start = None if init is None or (out / "last.pt").exists() else load_start(init, config.student)
    pictures = load_training_pictures(pairs, photos, config.validation_max_mean, config.data.memory_gb)
    accelerator = accelerator_for(config.fit)
    batches = Batches(pictures, config.data, config.model_input, config.fit.seed, config.fit.steps)
    if start is not None and new_channels:
        found = revive(start, (batches[step][0] for step in range(min(REVIVAL_BATCHES, len(batches)))))
        accelerator.print(f"{found} channels were dead and start anew")
    torch.manual_seed(config.fit.seed)
    step = StudentStep(config, accelerator, start)
    if init is not None:
        resumed = f"{out / 'last.pt'} is continued, {init} is not read: give another --out to start from it"
        accelerator.print(f"starting from {init}" if start is not None else resumed)
    accelerator.print(f"{parameter_count(step.model) / 1e6:.2f} M parameters, {pictures}")
    if not pictures.validation:
        accelerator.print(WITHOUT_PAIRS)
    to_validate = as_told(pictures.validation, config.data.withhold)

    def validate() -> Validation:
        return Validation(score_pairs(step.averaged, to_validate, config.model_input))

    fit(step, batches, validate, config.fit, config, out, accelerator)
    return out / "best.pt"


class StudentStep:
    """AdamW on L1 and SSIM of the enhanced full-size picture, with an average of the weights over time."""

    def __init__(self, config: TrainStudentConfig, accelerator: Accelerator, start: Student | None = None) -> None:
        self.config, self.accelerator = config, accelerator
        student = Student(config.student)
        if start is not None:
            student.load_state_dict(start.state_dict())
        model = student.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.model = synchronised(model, accelerator)
        self.averaged = copy.deepcopy(self.model).eval().requires_grad_(False)
        adam = torch.optim.AdamW(  # the L2 term of Adam kills channels whose gradients are small
            self.model.parameters(),
            lr=config.fit.learning_rate,
            betas=(0.9, 0.999),
            weight_decay=config.fit.weight_decay,
        )
        self.prepared, self.optimizer = accelerator.prepare(self.model, adam)

    @property
    def state(self) -> Mapping[str, Stateful]:
        return {"model": self.model, "averaged": self.averaged, "optimizer": self.optimizer}

    def __call__(self, batch: Batch, number: int) -> Parts:
        inputs, dark, bright = batch
        pace = self.config.fit
        set_mode(self.model, frozen=number >= pace.steps * (1.0 - pace.freeze_norm))
        for group in self.optimizer.param_groups:
            group["lr"] = pace.learning_rate * learning_rate_factor(number, pace)
        with self.accelerator.accumulate(self.prepared):
            maps = self.prepared(inputs.contiguous(memory_format=torch.channels_last)).contiguous()
            output = apply_local_affine(maps, dark)
            if self.config.clip_output:
                output = as_displayed(output)
            weights = self.config
            loss, parts = reconstruction_loss(output, bright, weights.l1, weights.ssim, weights.psnr, weights.hue)
            descend(self.accelerator, loss, self.prepared, self.optimizer, pace.clip)
        if self.accelerator.sync_gradients:
            _average(self.averaged, self.model, min(pace.ema, (number + 1) / (number + 10)))
        return {"loss": loss.detach(), **parts}

    def validated(self, scores: Mapping[str, float]) -> None:
        """The learning rate follows the steps alone."""


def _average(averaged: nn.Module, model: nn.Module, decay: float) -> None:
    with torch.no_grad():
        for mine, theirs in zip(averaged.state_dict().values(), model.state_dict().values(), strict=True):
            if mine.is_floating_point():
                mine.lerp_(theirs, 1.0 - decay)
            else:
                mine.copy_(theirs)


@torch.inference_mode()
def enhance(model: nn.Module, picture: Picture, capture: CaptureMetadata, model_input: ModelInput) -> torch.Tensor:
    """(1, 3, H, W) in 0..1 of one (H, W, 3) picture, as the runtime makes it from the student's maps of a dark one."""
    device = next(model.parameters()).device
    grid = model_input.grid(*picture.shape[:2])
    tensor = torch.from_numpy(model_input.encode(picture, capture)).to(device)
    maps = model(tensor)[:, :, : grid.height, : grid.width]
    return apply_local_affine(maps, to_tensor([picture]).to(device)).clamp(0.0, 1.0)


@torch.inference_mode()
def score_pairs(model: nn.Module, pairs: Sequence[LoadedPair], model_input: ModelInput) -> dict[str, float]:
    """Mean PSNR in dB, SSIM and L1 at native size over ``pairs``; nothing without any."""
    model.eval()
    rows = []
    for pair in pairs:
        out = enhance(model, pair.dark, pair.capture, model_input)
        rows.append(scores(out, to_tensor([pair.bright]).to(out.device)))
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]} if rows else {}


TRAINED_STUDENT = checkpoint.Trained(
    TrainStudentConfig, "lowlight train-student", "averaged", lambda config: Student(config.student)
)


def load_student(path: Path) -> tuple[Student, TrainStudentConfig, int]:
    """The averaged student of a checkpoint that ``train_student`` wrote, the settings of its run and its step.

    Raises:
        DataError: not such a checkpoint.
    """
    return TRAINED_STUDENT.load(path)


def load_start(path: Path, student: StudentConfig) -> Student:
    """The student to start from: the averaged one of ``train_student``, or one of ``distill``.

    Raises:
        ConfigError: its network is not that of ``student``; only the dropout, which has no weights, may differ.
        DataError: not such a checkpoint.
    """
    saved = checkpoint.load(path)
    network: nn.Module = (
        DISTILLED_STUDENT.load(path, saved)[0]
        if DISTILLED_STUDENT.wrote(saved)
        else TRAINED_STUDENT.load(path, saved)[0]
    )
    if not isinstance(network, Student):
        raise ConfigError(f"{path} holds the paper's student, which is another network than train-student's")
    theirs = replace(network.config, dropout=student.dropout)
    if theirs != student:
        difference = checkpoint.first_difference(theirs, student)
        raise ConfigError(f"the network in {path} is another one ({difference}): set student in --config alike")
    return network
