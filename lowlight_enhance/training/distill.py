"""Distillation: a student learns to put out what the frozen teacher does, on the same input."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from accelerate import Accelerator
from torch import nn

from lowlight_enhance.core.errors import ConfigError
from lowlight_enhance.core.inference.model_input import ModelInput
from lowlight_enhance.training.config import check_range
from lowlight_enhance.training.data.dataset import Batches, BatchShape, DataConfig, check_sizes
from lowlight_enhance.training.data.pictures import load_training_pictures
from lowlight_enhance.training.engine import checkpoint
from lowlight_enhance.training.engine.checkpoint import Origin, State
from lowlight_enhance.training.engine.fit import (
    Batch,
    EpochConfig,
    accelerator_for,
    descend,
    fit,
    set_mode,
    synchronised,
)
from lowlight_enhance.training.engine.run_log import Parts, Validation
from lowlight_enhance.training.engine.validation import WITHOUT_PAIRS, as_picture, as_told, at_size_of, validate
from lowlight_enhance.training.models.blocks import parameter_count
from lowlight_enhance.training.models.student import Student, StudentConfig
from lowlight_enhance.training.models.teacher import PAPER_STUDENT, Teacher, TeacherConfig
from lowlight_enhance.training.train_teacher import load_teacher


@dataclass(frozen=True, slots=True)
class AdamConfig:
    """The student's optimiser."""

    learning_rate: float = 1e-3
    weight_decay: float = 1e-5
    betas: tuple[float, float] = (0.9, 0.999)

    def __post_init__(self) -> None:
        check_range(self, 0.0, math.inf, "learning_rate", "weight_decay")
        check_range(self, 0.0, 1.0, "betas")


@dataclass(frozen=True, slots=True)
class PlateauConfig:
    """Lower the learning rate when the validation's L1 to the teacher has stopped falling.

    Attributes:
        factor: of the learning rate.
        patience: epochs without a lower L1 that are waited.
    """

    factor: float = 0.1
    patience: int = 10

    def __post_init__(self) -> None:
        check_range(self, 0.0, 1.0, "factor")
        check_range(self, 0, math.inf, "patience")


@dataclass(frozen=True, slots=True)
class DistillConfig:
    """A run that distils a teacher; the defaults are the paper's; of ``data``, the shapes alone are.

    Attributes:
        network: ``paper``: the teacher's design, smaller; ``shipped``: the student that flies, whose maps are applied
            to the dark picture.
        paper: size of the first.
        shipped: size of the second.
        ground_truth: weight of the L1 to the bright picture beside that to the teacher's output, whose weight is 1
            (after Zhang & Yan 2025); 0 in the paper.
        validation_max_mean: largest mean (0..255) of the dark frame of a validation pair.
    """

    network: Literal["paper", "shipped"] = "paper"
    paper: TeacherConfig = PAPER_STUDENT
    shipped: StudentConfig = field(default_factory=StudentConfig)
    data: DataConfig = field(default_factory=lambda: DataConfig(shapes=(BatchShape(128, 128, 16),)))
    fit: EpochConfig = field(default_factory=EpochConfig)
    model_input: ModelInput = field(default_factory=lambda: ModelInput(working_size=128))
    ground_truth: float = 0.0
    optimizer: AdamConfig = field(default_factory=AdamConfig)
    plateau: PlateauConfig = field(default_factory=PlateauConfig)
    validation_max_mean: float = 40.0

    def __post_init__(self) -> None:
        check_range(self, 0.0, math.inf, "ground_truth")
        check_range(self, 0.0, 255.0, "validation_max_mean")

    @property
    def size_multiple(self) -> int:
        """Height and width of the student's input must be multiples of this."""
        return self.paper.size_multiple if self.network == "paper" else self.shipped.size_multiple

    def student(self) -> nn.Module:
        """The student, untrained."""
        return Teacher(self.paper) if self.network == "paper" else Student(self.shipped)


def distill(config: DistillConfig, teacher: Path, pairs: Sequence[Path], photos: Sequence[Path], out: Path) -> Path:
    """Train a student from a teacher; returns the checkpoint with the best validation PSNR.

    Args:
        config: every setting of the run.
        teacher: checkpoint of ``train_teacher``.
        pairs: CSV indices of real pairs.
        photos: CSV indices of well-exposed photographs to darken.
        out: folder for checkpoints and the log; a run found there is continued.

    Raises:
        ConfigError: settings that do not fit each other or the teacher.
        DataError: pictures or a checkpoint that cannot be read, or a folder of a run with other settings or another
            teacher.
        LowlightError: a loss is not finite.
    """
    frozen, teacher_config, _ = load_teacher(teacher)
    check_sizes(config.data, config.model_input, max(config.size_multiple, teacher_config.teacher.size_multiple))
    _check_same_input(config.model_input, teacher_config.model_input, teacher)
    pictures = load_training_pictures(pairs, photos, config.validation_max_mean, config.data.memory_gb)
    pace = config.fit
    accelerator = accelerator_for(pace)
    torch.manual_seed(pace.seed)
    step = DistillStep(config, frozen, accelerator)
    accelerator.print(f"student of {parameter_count(step.student) / 1e6:.2f} M parameters, {pictures}")
    if not pictures.validation:
        accelerator.print(f"{WITHOUT_PAIRS}, and the learning rate never falls")
    to_validate = as_told(pictures.validation, config.data.withhold)
    batches = Batches(pictures, config.data, config.model_input, pace.seed, pace.steps)

    def validated() -> Validation:
        return validate(step.student, to_validate, config.model_input, step.teacher)

    fit(step, batches, validated, pace, config, out, accelerator)
    return out / "best.pt"


def _check_same_input(ours: ModelInput, theirs: ModelInput, teacher: Path) -> None:
    for name in ("iso_range", "exposure_range_s", "unknown"):
        if getattr(ours, name) != getattr(theirs, name):
            raise ConfigError(
                f"model_input: {name} is {getattr(ours, name)}, but {getattr(theirs, name)} in {teacher}: "
                "student and teacher must read ISO and exposure time alike"
            )


class DistillStep:
    """Adam on the L1 between the student's and the teacher's picture."""

    def __init__(self, config: DistillConfig, teacher: nn.Module, accelerator: Accelerator) -> None:
        self.config, self.accelerator = config, accelerator
        self.origin = Origin.of(teacher)
        self.teacher = teacher.to(accelerator.device).eval().requires_grad_(False)
        self.student = synchronised(config.student(), accelerator)
        values = config.optimizer
        adam = torch.optim.Adam(
            self.student.parameters(), lr=values.learning_rate, betas=values.betas, weight_decay=values.weight_decay
        )
        self.prepared, self.optimizer = accelerator.prepare(self.student, adam)
        self.plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(
            adam, factor=config.plateau.factor, patience=config.plateau.patience
        )

    @property
    def state(self) -> State:
        return {
            "student": self.student,
            "optimizer": self.optimizer,
            "plateau": self.plateau,
            "teacher": self.origin,
        }

    def __call__(self, batch: Batch, number: int) -> Parts:
        inputs, dark, bright = batch
        pace = self.config.fit
        set_mode(self.student, frozen=number >= pace.steps * (1.0 - pace.freeze_norm))
        with torch.inference_mode(), self.accelerator.autocast():
            taught = self.teacher(inputs).float()
        with self.accelerator.accumulate(self.prepared):
            output = self.prepared(inputs)
            parts = {"teacher_l1": (as_picture(output, inputs[:, :3]) - taught.clone()).abs().mean()}
            loss = parts["teacher_l1"]
            if self.config.ground_truth:
                picture = as_picture(output, dark)
                parts["l1"] = (picture - at_size_of(bright, picture)).abs().mean()
                loss = loss + self.config.ground_truth * parts["l1"]
            descend(self.accelerator, loss, self.prepared, self.optimizer, pace.clip)
        parts = {name: value.detach() for name, value in {"loss": loss, **parts}.items()}
        return {**parts, "learning_rate": self.optimizer.param_groups[0]["lr"]}

    def validated(self, scores: Mapping[str, float]) -> None:
        """Lower the learning rate on a plateau."""
        if "teacher_l1" in scores:
            self.plateau.step(scores["teacher_l1"])


DISTILLED_STUDENT = checkpoint.Trained(DistillConfig, "lowlight distill", "student", DistillConfig.student)


def load_distilled(path: Path) -> tuple[nn.Module, DistillConfig, int]:
    """The student of a checkpoint that ``distill`` wrote, the settings of its run and its step.

    Raises:
        DataError: not such a checkpoint.
    """
    return DISTILLED_STUDENT.load(path)
