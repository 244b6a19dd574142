"""Train a student on references, without a teacher: from random weights, or fine-tuning for a camera."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import nn

from lowlight_enhance.core.inference.model_input import ModelInput
from lowlight_enhance.training.config import check_range
from lowlight_enhance.training.data.config import DataConfig, check_sizes
from lowlight_enhance.training.data.dataset import Batches
from lowlight_enhance.training.data.pictures import Sources, load_training_pictures
from lowlight_enhance.training.engine import checkpoint
from lowlight_enhance.training.engine.checkpoint import Stateful
from lowlight_enhance.training.engine.fit import Batch, FitConfig, backward_step, create_accelerator, fit, set_mode
from lowlight_enhance.training.engine.network import LoadedNetwork, TrainedNetwork, start_from
from lowlight_enhance.training.engine.optimization import CosineConfig, OptimizerConfig, set_learning_rate
from lowlight_enhance.training.engine.run_log import Parts, Validation
from lowlight_enhance.training.engine.validation import apply_output, resize_like, validate, validation_pairs
from lowlight_enhance.training.losses import ReconstructionWeights, as_displayed, reconstruction_loss
from lowlight_enhance.training.models.network import NetworkConfig, network_config


@dataclass(frozen=True, slots=True)
class TrainStudentConfig:
    """Settings of the training of a student on references.

    Attributes:
        network: the student.
        data: samples and batches.
        fit: length and precision.
        model_input: how frames and metadata become the input of the network.
        losses: weights of the losses.
        optimizer: optimiser of the student.
        schedule: schedule of the learning rate, in steps.
        validation_max_mean: largest mean (0..255) of the dark frame of a validation pair.
    """

    network: NetworkConfig = field(default_factory=lambda: NetworkConfig("affine"))
    data: DataConfig = field(default_factory=DataConfig)
    fit: FitConfig = field(default_factory=FitConfig)
    model_input: ModelInput = field(default_factory=ModelInput)
    losses: ReconstructionWeights = field(default_factory=ReconstructionWeights)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: CosineConfig = field(default_factory=lambda: CosineConfig(warmup=300))
    validation_max_mean: float = 255.0

    def __post_init__(self) -> None:
        check_range(self, 0.0, 255.0, "validation_max_mean")


def fine_tuning_defaults(init: LoadedNetwork) -> TrainStudentConfig:
    """Return the settings that fine-tuning starts from: network and model input are those of ``init``."""
    return TrainStudentConfig(network=network_config(init.network), model_input=init.model_input)


def train_student(
    config: TrainStudentConfig,
    sources: Sources,
    out: Path,
    init: LoadedNetwork | None = None,
) -> Path:
    """Train a student, and return the checkpoint of the last step.

    Args:
        config: settings of the run.
        sources: manifests of the pictures.
        out: folder for checkpoints and the log; a run that exists there is continued.
        init: network whose weights the run starts from; ignored if a run is continued.

    Raises:
        ConfigError: settings that do not fit each other, or the network of ``init`` is another one.
        DataError: pictures or ``init`` cannot be read, or a folder of another run.
        LowlightError: a loss, or the weights to save, are not finite.
    """
    check_sizes(config.data, config.model_input, config.network.size_multiple)
    pictures = load_training_pictures(sources, config.validation_max_mean, config.data.memory_gb)
    accelerator = create_accelerator(config.fit)
    torch.manual_seed(config.fit.seed)
    network = config.network.build()
    if init is not None:
        accelerator.print(start_from(init, network, config.model_input, out))
    step = StudentStep(config, network, accelerator)
    accelerator.print(f"{step.student}, {pictures}")
    validation_set = validation_pairs(pictures, config.data, accelerator.print)
    batches = Batches(pictures, config.data, config.model_input, config.fit.seed, config.fit.steps)

    def run_validation() -> Validation:
        return validate(step.student.result, validation_set, config.model_input)

    fit(step, batches, run_validation, config.fit, config, out, accelerator)
    return out / "last.pt"


class StudentStep:
    """Update of the student by the reconstruction loss of the enhanced full-size picture."""

    def __init__(self, config: TrainStudentConfig, network: nn.Module, accelerator: Accelerator) -> None:
        self.config, self.accelerator = config, accelerator
        self.student = TrainedNetwork(network, config.fit.ema_decay, accelerator)
        optimizer = config.optimizer.build(self.student.model.parameters())
        self.optimizer = self.student.prepare(optimizer)

    @property
    def state(self) -> Mapping[str, Stateful]:
        return {**self.student.state("student"), "optimizer": self.optimizer}

    def __call__(self, batch: Batch, number: int) -> Parts:
        inputs, dark, bright, _ = batch
        config = self.config
        set_mode(self.student.model, frozen=config.fit.norm_is_frozen(number))
        peak = config.optimizer.learning_rate
        set_learning_rate(self.optimizer, config.schedule.learning_rate(peak, number, config.fit.steps))
        with self.accelerator.accumulate(self.student.prepared):
            output = as_displayed(apply_output(self.student(inputs), dark))
            loss, parts = reconstruction_loss(output, resize_like(bright, output), config.losses)
            backward_step(self.accelerator, loss, self.student.prepared, self.optimizer, config.fit.clip_grad)
        if self.accelerator.sync_gradients:
            self.student.average(number)
        return {"loss": loss.detach(), **{name: value.detach() for name, value in parts.items()}}

    def end_epoch(self, scores: Mapping[str, float]) -> None:
        """Do nothing: the learning rate depends on the step only."""


STUDENT_CHECKPOINT: checkpoint.CheckpointKind[TrainStudentConfig, nn.Module] = checkpoint.CheckpointKind(
    TrainStudentConfig, "lowlight train-student", "student", lambda config: config.network.build()
)


def load_student(path: Path) -> tuple[nn.Module, TrainStudentConfig, int]:
    """Return the student in a checkpoint of ``train_student``, the settings of its run and the steps done.

    Raises:
        DataError: the file is not such a checkpoint.
    """
    return STUDENT_CHECKPOINT.load(path)
