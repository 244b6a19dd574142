"""Train the teacher against a discriminator, as in the paper. Further losses that the paper proposes are options."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from lowlight_enhance.core.errors import ConfigError
from lowlight_enhance.core.inference.model_input import ModelInput
from lowlight_enhance.training.config import check_range
from lowlight_enhance.training.data.config import BatchShape, DataConfig, check_sizes
from lowlight_enhance.training.data.dataset import Batches
from lowlight_enhance.training.data.pictures import Sources, load_training_pictures
from lowlight_enhance.training.engine import checkpoint
from lowlight_enhance.training.engine.checkpoint import Stateful
from lowlight_enhance.training.engine.fit import (
    Batch,
    FitConfig,
    backward_step,
    create_accelerator,
    fit,
    set_mode,
    to_device,
)
from lowlight_enhance.training.engine.network import TrainedNetwork
from lowlight_enhance.training.engine.optimization import CosineConfig, OptimizerConfig, set_learning_rate
from lowlight_enhance.training.engine.run_log import Parts, Validation
from lowlight_enhance.training.engine.validation import apply_output, resize_like, validate, validation_pairs
from lowlight_enhance.training.losses import (
    PerceptualLoss,
    ReconstructionWeights,
    Similarity,
    as_displayed,
    hinge_discriminator,
    hinge_generator,
    reconstruction_loss,
    vgg_features,
)
from lowlight_enhance.training.models.blocks import parameter_count
from lowlight_enhance.training.models.discriminator import Discriminator, DiscriminatorConfig
from lowlight_enhance.training.models.network import NetworkConfig


@dataclass(frozen=True, slots=True)
class LossWeights:
    """Weights of the losses of the generator, by default those of the paper. A loss of weight 0 is not computed.

    Attributes:
        reconstruction: losses between output and reference.
        adversarial: hinge loss of the discriminator's scores.
        perceptual: ``losses.PerceptualLoss`` on VGG-16.
    """

    reconstruction: ReconstructionWeights = field(default_factory=ReconstructionWeights)
    adversarial: float = 0.15
    perceptual: float = 0.0

    def __post_init__(self) -> None:
        check_range(self, 0.0, math.inf, "adversarial", "perceptual")


@dataclass(frozen=True, slots=True)
class AdversaryPhases:
    """Epochs, counted from 0, in which the discriminator is used. The paper names the phases but not their lengths.

    Attributes:
        warmup: epochs at the start without the adversarial loss.
        cooldown_from: first epoch of the cooldown, in which the discriminator is used but trained less often.
        cooldown_every: in the cooldown the discriminator is trained in every n-th epoch.
    """

    warmup: int = 5
    cooldown_from: int = 25
    cooldown_every: int = 2

    def __post_init__(self) -> None:
        if min(self.warmup, self.cooldown_from) < 0 or self.cooldown_every < 1:
            raise ConfigError("phases: warmup and cooldown_from must be 0 or more, cooldown_every 1 or more")

    def uses_discriminator(self, epoch: int) -> bool:
        """Whether the generator's loss has the adversarial term."""
        return epoch >= self.warmup

    def trains_discriminator(self, epoch: int) -> bool:
        """Whether the discriminator is trained."""
        cooling = epoch >= self.cooldown_from
        return self.uses_discriminator(epoch) and (
            not cooling or (epoch - self.cooldown_from) % self.cooldown_every == 0
        )


@dataclass(frozen=True, slots=True)
class TrainTeacherConfig:
    """Settings of the training of a teacher. The defaults are those of the paper, but of ``data`` only the shapes.

    Attributes:
        network: the teacher.
        discriminator: size of the discriminator.
        data: samples and batches.
        fit: length and precision.
        model_input: how frames and metadata become the input of the network.
        losses: weights of the losses.
        similarity: SSIM or MS-SSIM. The text of the paper names the SSIM of torchmetrics, its equation MS-SSIM.
        perceptual_weights: path of the VGG-16 weights of torchvision; required if ``losses.perceptual`` is not 0.
        phases: epochs in which the discriminator is used.
        optimizer: optimiser of the teacher (RAdam, Liu et al. 2020).
        discriminator_optimizer: optimiser of the discriminator.
        schedule: schedule of both learning rates, in epochs.
        validation_max_mean: largest mean (0..255) of the dark frame of a validation pair.
    """

    network: NetworkConfig = field(default_factory=NetworkConfig)
    discriminator: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    data: DataConfig = field(default_factory=lambda: DataConfig(shapes=(BatchShape(256, 256, 16),)))
    fit: FitConfig = field(default_factory=FitConfig)
    model_input: ModelInput = field(default_factory=lambda: ModelInput(working_size=256))
    losses: LossWeights = field(default_factory=LossWeights)
    similarity: Similarity = "ssim"
    perceptual_weights: str | None = None
    phases: AdversaryPhases = field(default_factory=AdversaryPhases)
    optimizer: OptimizerConfig = field(default_factory=lambda: OptimizerConfig("radam", betas=(0.5, 0.999)))
    discriminator_optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig("rmsprop", learning_rate=2e-4, weight_decay=5e-5)
    )
    schedule: CosineConfig = field(default_factory=CosineConfig)
    validation_max_mean: float = 40.0

    def __post_init__(self) -> None:
        check_range(self, 0.0, 255.0, "validation_max_mean")


def train_teacher(config: TrainTeacherConfig, sources: Sources, out: Path) -> Path:
    """Train a teacher, and return the checkpoint of the last step.

    Args:
        config: settings of the run.
        sources: manifests of the pictures.
        out: folder for checkpoints and the log; a run that exists there is continued.

    Raises:
        ConfigError: settings that do not fit each other.
        DataError: pictures that cannot be read, or a folder of another run.
        LowlightError: a loss is not finite.
    """
    check_sizes(config.data, config.model_input, config.network.size_multiple)
    check_sizes(config.data, config.model_input, int(2 ** len(config.discriminator.channels)))
    pictures = load_training_pictures(sources, config.validation_max_mean, config.data.memory_gb)
    accelerator = create_accelerator(config.fit)
    torch.manual_seed(config.fit.seed)
    step = TeacherStep(config, accelerator)
    accelerator.print(
        f"{step.teacher}, discriminator of {parameter_count(step.discriminator) / 1e6:.2f} M parameters, {pictures}"
    )
    validation_set = validation_pairs(pictures, config.data, accelerator.print)
    batches = Batches(pictures, config.data, config.model_input, config.fit.seed, config.fit.steps)

    def run_validation() -> Validation:
        found = validate(step.teacher.result, validation_set, config.model_input)
        if not found.scores:
            return found
        loss = validation_loss(found.scores, config.losses.reconstruction)
        return replace(found, scores={**found.scores, "loss": loss})

    fit(step, batches, run_validation, config.fit, config, out, accelerator)
    return out / "last.pt"


def validation_loss(scores: Mapping[str, float], weights: ReconstructionWeights) -> float:
    """Return the weighted sum of L1 and 1 - SSIM, ``val_loss`` in the log.

    ``loss`` of the training also has the PSNR, adversarial, hue and perceptual terms that have a weight, and MS-SSIM
    instead of SSIM if ``similarity`` says so. The two can be compared only without these.
    """
    return weights.l1 * scores["l1"] + weights.ssim * (1.0 - scores["ssim"])


class TeacherStep:
    """Update of the generator by L1, SSIM and -E[D(G(z))], then of the discriminator by the hinge loss, by phase."""

    def __init__(self, config: TrainTeacherConfig, accelerator: Accelerator) -> None:
        self.config, self.accelerator = config, accelerator
        self.teacher = TrainedNetwork(config.network.build(), config.fit.ema_decay, accelerator)
        self.discriminator = to_device(Discriminator(config.discriminator), accelerator)
        self.perceptual = self._perceptual()
        self.optimizer = self.teacher.prepare(config.optimizer.build(self.teacher.model.parameters()))
        rmsprop = config.discriminator_optimizer.build(self.discriminator.parameters())
        self.prepared_discriminator, self.discriminator_optimizer = accelerator.prepare(self.discriminator, rmsprop)

    def _perceptual(self) -> PerceptualLoss | None:
        if not self.config.losses.perceptual:
            return None
        if self.config.perceptual_weights is None:
            raise ConfigError("perceptual_weights must name the weights file of VGG-16 if losses: perceptual is not 0")
        return PerceptualLoss(vgg_features(Path(self.config.perceptual_weights))).to(self.accelerator.device)

    @property
    def state(self) -> Mapping[str, Stateful]:
        return {
            **self.teacher.state("teacher"),
            "discriminator": self.discriminator,
            "teacher_optimizer": self.optimizer,
            "discriminator_optimizer": self.discriminator_optimizer,
        }

    def __call__(self, batch: Batch, number: int) -> Parts:
        inputs, dark, bright, _ = batch
        phases, clip = self.config.phases, self.config.fit.clip_grad
        epoch = number // self.config.fit.steps_per_epoch
        self._prepare(number, epoch)
        with self.accelerator.accumulate(self.teacher.prepared, self.prepared_discriminator):
            output = as_displayed(apply_output(self.teacher(inputs), dark))
            bright = resize_like(bright, output)
            parts = self.generator_losses(output, bright, adversarial=phases.uses_discriminator(epoch))
            backward_step(self.accelerator, parts["loss"], self.teacher.prepared, self.optimizer, clip)
            if phases.trains_discriminator(epoch) and self.config.losses.adversarial:
                hinge = hinge_discriminator(
                    self.prepared_discriminator(bright), self.prepared_discriminator(output.detach())
                )
                backward_step(self.accelerator, hinge, self.prepared_discriminator, self.discriminator_optimizer, clip)
                parts["discriminator"] = hinge
        if self.accelerator.sync_gradients:
            self.teacher.average(number)
        return {name: value.detach() for name, value in parts.items()}

    def end_epoch(self, scores: Mapping[str, float]) -> None:
        """Do nothing: the learning rates depend on the epoch only."""

    def _prepare(self, number: int, epoch: int) -> None:
        fit, cosine = self.config.fit, self.config.schedule
        networks: tuple[tuple[nn.Module, torch.optim.Optimizer, OptimizerConfig], ...] = (
            (self.teacher.model, self.optimizer, self.config.optimizer),
            (self.discriminator, self.discriminator_optimizer, self.config.discriminator_optimizer),
        )
        for model, optimizer, settings in networks:
            set_mode(model, frozen=fit.norm_is_frozen(number))
            set_learning_rate(optimizer, cosine.learning_rate(settings.learning_rate, epoch, fit.epochs))

    def generator_losses(self, output: Tensor, bright: Tensor, adversarial: bool) -> dict[str, Tensor]:
        """Return ``loss``, the weighted sum, and each of its terms, for (B, 3, H, W) pictures in 0..1."""
        weights = self.config.losses
        loss, parts = reconstruction_loss(output, bright, weights.reconstruction, self.config.similarity)
        if self.perceptual is not None:
            parts["perceptual"] = self.perceptual(output, bright)
            loss = loss + weights.perceptual * parts["perceptual"]
        if weights.adversarial and adversarial:
            self.discriminator.requires_grad_(False)  # its weights follow its own loss only
            parts["adversarial"] = hinge_generator(self.discriminator(output))
            self.discriminator.requires_grad_(True)
            loss = loss + weights.adversarial * parts["adversarial"]
        return {"loss": loss, **parts}


TEACHER_CHECKPOINT: checkpoint.CheckpointKind[TrainTeacherConfig, nn.Module] = checkpoint.CheckpointKind(
    TrainTeacherConfig, "lowlight train-teacher", "teacher", lambda config: config.network.build()
)


def load_teacher(path: Path) -> tuple[nn.Module, TrainTeacherConfig, int]:
    """Return the teacher in a checkpoint of ``train_teacher``, the settings of its run and the steps done.

    Raises:
        DataError: the file is not such a checkpoint.
    """
    return TEACHER_CHECKPOINT.load(path)
