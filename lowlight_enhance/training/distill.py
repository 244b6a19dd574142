"""Distillation: train a student to reproduce the output of a frozen teacher on the same input."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from lowlight_enhance.core.errors import ConfigError
from lowlight_enhance.core.inference.model_input import ModelInput
from lowlight_enhance.training.config import check_below, check_range
from lowlight_enhance.training.data.config import BatchShape, DataConfig, check_sizes
from lowlight_enhance.training.data.dataset import Batches
from lowlight_enhance.training.data.pictures import Sources, load_training_pictures
from lowlight_enhance.training.engine import checkpoint
from lowlight_enhance.training.engine.checkpoint import State, WeightsHash
from lowlight_enhance.training.engine.fit import Batch, FitConfig, backward_step, create_accelerator, fit, set_mode
from lowlight_enhance.training.engine.network import LoadedNetwork, TrainedNetwork, check_metadata_encoding, start_from
from lowlight_enhance.training.engine.optimization import CosineConfig, OptimizerConfig, set_learning_rate
from lowlight_enhance.training.engine.run_log import Parts, Validation
from lowlight_enhance.training.engine.validation import apply_output, resize_like, validate, validation_pairs
from lowlight_enhance.training.losses import ReconstructionWeights, as_displayed, reconstruction_loss
from lowlight_enhance.training.models.affine_unet import AffineUNet
from lowlight_enhance.training.models.network import NetworkConfig
from lowlight_enhance.training.models.teacher import PAPER_STUDENT


@dataclass(frozen=True, slots=True)
class PlateauConfig:
    """Lower the learning rate when the L1 to the teacher in validation stops falling.

    Attributes:
        factor: factor on the learning rate.
        patience: epochs without a lower L1 before the learning rate falls.
    """

    factor: float = 0.1
    patience: int = 10

    def __post_init__(self) -> None:
        check_range(self, 0.0, 1.0, "factor")
        check_below(self, 1.0, "factor")
        check_range(self, 0, math.inf, "patience")


@dataclass(frozen=True, slots=True)
class DistillConfig:
    """Settings of a distillation. The defaults are those of the paper, but of ``data`` only the shapes.

    Attributes:
        network: the student.
        data: samples and batches.
        fit: length and precision.
        model_input: how frames and metadata become the input of the network.
        teacher: weight of the L1 to the teacher's picture.
        losses: weights of the losses to the reference (after Zhang & Yan 2025); all 0 in the paper.
        optimizer: optimiser of the student.
        schedule: schedule of the learning rate: ``plateau`` as in the paper, or ``cosine``.
        plateau: settings of ``plateau``.
        cosine: settings of ``cosine``, in steps.
        validation_max_mean: largest mean (0..255) of the dark frame of a validation pair.
    """

    network: NetworkConfig = field(default_factory=lambda: NetworkConfig("paper", paper=PAPER_STUDENT))
    data: DataConfig = field(default_factory=lambda: DataConfig(shapes=(BatchShape(128, 128, 16),)))
    fit: FitConfig = field(default_factory=FitConfig)
    model_input: ModelInput = field(default_factory=lambda: ModelInput(working_size=128))
    teacher: float = 1.0
    losses: ReconstructionWeights = field(default_factory=lambda: ReconstructionWeights(l1=0.0, ssim=0.0))
    optimizer: OptimizerConfig = field(default_factory=lambda: OptimizerConfig("adam"))
    schedule: Literal["plateau", "cosine"] = "plateau"
    plateau: PlateauConfig = field(default_factory=PlateauConfig)
    cosine: CosineConfig = field(default_factory=lambda: CosineConfig(warmup=300))
    validation_max_mean: float = 40.0

    def __post_init__(self) -> None:
        check_range(self, 0.0, math.inf, "teacher")
        check_range(self, 0.0, 255.0, "validation_max_mean")
        if self.network.kind == "paper" and self.data.unlabelled:
            raise ConfigError("data: unlabelled needs 'network: {kind: affine}'")

    @property
    def has_references(self) -> bool:
        """Whether any loss to the reference has a weight."""
        weights = self.losses
        return any((weights.l1, weights.ssim, weights.psnr, weights.hue))


def distill(
    config: DistillConfig,
    teacher: LoadedNetwork,
    sources: Sources,
    out: Path,
    init: LoadedNetwork | None = None,
) -> Path:
    """Distil a teacher into a student, and return the checkpoint of the last step.

    Args:
        config: settings of the run.
        teacher: the frozen network.
        sources: manifests of the pictures.
        out: folder for checkpoints and the log; a run that exists there is continued.
        init: student whose weights the run starts from; ignored if a run is continued.

    Raises:
        ConfigError: settings that do not fit each other or the teacher, or the network of ``init`` is another one.
        DataError: pictures or a checkpoint that cannot be read, or a folder of a run with other settings or another
            teacher.
        LowlightError: a loss is not finite.
    """
    check_sizes(config.data, config.model_input, max(config.network.size_multiple, teacher.size_multiple))
    check_metadata_encoding(config.model_input, teacher)
    pictures = load_training_pictures(sources, config.validation_max_mean, config.data.memory_gb)
    accelerator = create_accelerator(config.fit)
    torch.manual_seed(config.fit.seed)
    network = config.network.build()
    if init is not None:
        accelerator.print(start_from(init, network, config.model_input, out))
    step = DistillStep(config, network, teacher.network, accelerator)
    accelerator.print(f"{step.student}, {pictures}")
    validation_set = validation_pairs(pictures, config.data, accelerator.print)
    batches = Batches(pictures, config.data, config.model_input, config.fit.seed, config.fit.steps)

    def run_validation() -> Validation:
        return validate(step.student.result, validation_set, config.model_input, step.teacher)

    fit(step, batches, run_validation, config.fit, config, out, accelerator)
    return out / "last.pt"


class DistillStep:
    """Update of the student by the L1 to the picture of the teacher and the losses to the reference."""

    def __init__(
        self, config: DistillConfig, student: nn.Module, teacher: nn.Module, accelerator: Accelerator
    ) -> None:
        self.config, self.accelerator = config, accelerator
        self.origin = WeightsHash.of(teacher)
        self.teacher = teacher.to(accelerator.device).eval().requires_grad_(False)
        if isinstance(self.teacher, AffineUNet):
            self.teacher = self.teacher.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.student = TrainedNetwork(student, config.fit.ema_decay, accelerator)
        optimizer = config.optimizer.build(self.student.model.parameters())
        self.optimizer = self.student.prepare(optimizer)
        self.plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(
            optimizer, factor=config.plateau.factor, patience=config.plateau.patience
        )

    @property
    def state(self) -> State:
        return {
            **self.student.state("student"),
            "optimizer": self.optimizer,
            "plateau": self.plateau,
            "teacher": self.origin,
        }

    def __call__(self, batch: Batch, number: int) -> Parts:
        inputs, dark, bright, labelled = batch
        config = self.config
        set_mode(self.student.model, frozen=config.fit.norm_is_frozen(number))
        if config.schedule == "cosine":
            peak = config.optimizer.learning_rate
            set_learning_rate(self.optimizer, config.cosine.learning_rate(peak, number, config.fit.steps))
        # A picture of the paper's networks has the working size; maps are applied to the full-size dark picture.
        rgb = dark if config.network.kind == "affine" else inputs[:, :3]
        taught = self._teacher_output(inputs, rgb)
        with self.accelerator.accumulate(self.student.prepared):
            output = apply_output(self.student(inputs), rgb)
            parts: dict[str, Tensor] = {"teacher_l1": (output - resize_like(taught, output)).abs().mean()}
            loss = config.teacher * parts["teacher_l1"]
            chosen = labelled > 0.5
            if config.has_references and bool(chosen.any()):
                shown = as_displayed(output[chosen])
                to_reference, more = reconstruction_loss(shown, resize_like(bright[chosen], shown), config.losses)
                loss, parts = loss + to_reference, {**parts, **more}
            backward_step(self.accelerator, loss, self.student.prepared, self.optimizer, config.fit.clip_grad)
        if self.accelerator.sync_gradients:
            self.student.average(number)
        parts = {name: value.detach() for name, value in {"loss": loss, **parts}.items()}
        return {**parts, "learning_rate": self.optimizer.param_groups[0]["lr"]}

    @torch.no_grad()
    def _teacher_output(self, inputs: Tensor, rgb: Tensor) -> Tensor:
        if isinstance(self.teacher, AffineUNet):
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        with self.accelerator.autocast():
            output = self.teacher(inputs).float().contiguous()
        return apply_output(output, rgb).clamp(0.0, 1.0)

    def end_epoch(self, scores: Mapping[str, float]) -> None:
        """Lower the learning rate on a plateau."""
        if self.config.schedule == "plateau" and "teacher_l1" in scores:
            self.plateau.step(scores["teacher_l1"])


DISTILLED_CHECKPOINT: checkpoint.CheckpointKind[DistillConfig, nn.Module] = checkpoint.CheckpointKind(
    DistillConfig, "lowlight distill", "student", lambda config: config.network.build()
)


def load_distilled(path: Path) -> tuple[nn.Module, DistillConfig, int]:
    """Return the student in a checkpoint of ``distill``, the settings of its run and the steps done.

    Raises:
        DataError: the file is not such a checkpoint.
    """
    return DISTILLED_CHECKPOINT.load(path)
