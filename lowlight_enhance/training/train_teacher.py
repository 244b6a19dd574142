"""Training the teacher against a discriminator, as in the paper; the paper's own next steps are options."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor

from lowlight_enhance.core.errors import ConfigError
from lowlight_enhance.core.inference.model_input import ModelInput
from lowlight_enhance.training.config import check_range
from lowlight_enhance.training.data.dataset import Batches, BatchShape, DataConfig, check_sizes
from lowlight_enhance.training.data.pictures import load_training_pictures
from lowlight_enhance.training.engine import checkpoint
from lowlight_enhance.training.engine.checkpoint import Stateful
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
from lowlight_enhance.training.engine.validation import WITHOUT_PAIRS, as_told, at_size_of, validate
from lowlight_enhance.training.losses import (
    PerceptualLoss,
    Similarity,
    hinge_discriminator,
    hinge_generator,
    hue_penalty,
    torchmetrics_similarity,
    vgg_features,
)
from lowlight_enhance.training.models.blocks import parameter_count
from lowlight_enhance.training.models.discriminator import Discriminator, DiscriminatorConfig
from lowlight_enhance.training.models.teacher import Teacher, TeacherConfig


@dataclass(frozen=True, slots=True)
class LossWeights:
    """Weights of the generator's losses; the defaults are the paper's. A loss of weight 0 is not computed.

    Attributes:
        l1: mean absolute difference.
        ssim: 1 - SSIM, or 1 - MS-SSIM.
        adversarial: the hinge loss.
        hue: ``losses.hue_penalty``.
        perceptual: ``losses.PerceptualLoss`` on VGG-16.
    """

    l1: float = 0.5
    ssim: float = 0.35
    adversarial: float = 0.15
    hue: float = 0.0
    perceptual: float = 0.0

    def __post_init__(self) -> None:
        check_range(self, 0.0, math.inf, "l1", "ssim", "adversarial", "hue", "perceptual")


@dataclass(frozen=True, slots=True)
class AdversaryPhases:
    """When the discriminator takes part, in epochs counted from 0. The paper names the phases but not their lengths.

    Attributes:
        warmup: epochs at the start in which the generator learns without it.
        cooldown_from: epoch from which on it learns more rarely, but still judges.
        cooldown_every: n, where it then learns in every n-th epoch alone.
    """

    warmup: int = 5
    cooldown_from: int = 25
    cooldown_every: int = 2

    def __post_init__(self) -> None:
        if min(self.warmup, self.cooldown_from) < 0 or self.cooldown_every < 1:
            raise ConfigError("phases: warmup and cooldown_from must be 0 or more, cooldown_every 1 or more")

    def judges(self, epoch: int) -> bool:
        """Whether the generator's loss has the adversarial term."""
        return epoch >= self.warmup

    def learns(self, epoch: int) -> bool:
        """Whether the discriminator is trained."""
        cooling = epoch >= self.cooldown_from
        return self.judges(epoch) and (not cooling or (epoch - self.cooldown_from) % self.cooldown_every == 0)


@dataclass(frozen=True, slots=True)
class RAdamConfig:
    """The teacher's optimiser (Liu et al. 2020)."""

    learning_rate: float = 1e-3
    weight_decay: float = 1e-5
    betas: tuple[float, float] = (0.5, 0.999)

    def __post_init__(self) -> None:
        check_range(self, 0.0, math.inf, "learning_rate", "weight_decay")
        check_range(self, 0.0, 1.0, "betas")


@dataclass(frozen=True, slots=True)
class RMSpropConfig:
    """The discriminator's optimiser."""

    learning_rate: float = 2e-4
    weight_decay: float = 5e-5

    def __post_init__(self) -> None:
        check_range(self, 0.0, math.inf, "learning_rate", "weight_decay")


@dataclass(frozen=True, slots=True)
class CosineConfig:
    """Cosine annealing of both learning rates, over epochs (Loshchilov & Hutter 2017)."""

    t_max: int = 50
    eta_min: float = 1e-5

    def __post_init__(self) -> None:
        check_range(self, 1, math.inf, "t_max")
        check_range(self, 0.0, math.inf, "eta_min")

    def learning_rate(self, peak: float, epoch: int) -> float:
        """In ``epoch``, counted from 0: the closed form of torch's CosineAnnealingLR."""
        return self.eta_min + (peak - self.eta_min) * (1.0 + math.cos(math.pi * epoch / self.t_max)) / 2.0


@dataclass(frozen=True, slots=True)
class TrainTeacherConfig:
    """A run of the paper's adversarial training; the defaults are the paper's; of ``data``, the shapes alone are.

    Attributes:
        similarity: the paper's text names torchmetrics' SSIM, its equation MS-SSIM.
        perceptual_weights: path of torchvision's weights of VGG-16; needed where ``losses.perceptual`` is not 0.
        validation_max_mean: largest mean (0..255) of the dark frame of a validation pair.
    """

    teacher: TeacherConfig = field(default_factory=TeacherConfig)
    discriminator: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    data: DataConfig = field(default_factory=lambda: DataConfig(shapes=(BatchShape(256, 256, 16),)))
    fit: EpochConfig = field(default_factory=EpochConfig)
    model_input: ModelInput = field(default_factory=lambda: ModelInput(working_size=256))
    losses: LossWeights = field(default_factory=LossWeights)
    similarity: Similarity = "ssim"
    perceptual_weights: str | None = None
    phases: AdversaryPhases = field(default_factory=AdversaryPhases)
    teacher_optimizer: RAdamConfig = field(default_factory=RAdamConfig)
    discriminator_optimizer: RMSpropConfig = field(default_factory=RMSpropConfig)
    schedule: CosineConfig = field(default_factory=CosineConfig)
    validation_max_mean: float = 40.0

    def __post_init__(self) -> None:
        check_range(self, 0.0, 255.0, "validation_max_mean")


def train_teacher(config: TrainTeacherConfig, pairs: Sequence[Path], photos: Sequence[Path], out: Path) -> Path:
    """Train a teacher; returns the checkpoint with the best validation PSNR.

    Args:
        config: every setting of the run.
        pairs: CSV indices of real pairs.
        photos: CSV indices of well-exposed photographs to darken.
        out: folder for checkpoints and the log; a run found there is continued.

    Raises:
        ConfigError: settings that do not fit each other.
        DataError: pictures that cannot be read, or a folder of another run.
        LowlightError: a loss is not finite.
    """
    multiple = max(config.teacher.size_multiple, int(2 ** len(config.discriminator.channels)))
    check_sizes(config.data, config.model_input, multiple)
    pictures = load_training_pictures(pairs, photos, config.validation_max_mean, config.data.memory_gb)
    pace, t_max = config.fit, config.schedule.t_max
    accelerator = accelerator_for(pace)
    torch.manual_seed(pace.seed)
    step = GanStep(config, accelerator)
    accelerator.print(
        f"teacher of {parameter_count(step.teacher) / 1e6:.2f} M parameters, discriminator of "
        f"{parameter_count(step.discriminator) / 1e6:.2f} M, {pictures}"
    )
    if not pictures.validation:
        accelerator.print(WITHOUT_PAIRS)
    if not t_max <= pace.epochs <= t_max + 1:
        problem = "does not fall to its end" if pace.epochs < t_max else f"rises again from epoch {t_max + 1} on"
        accelerator.print(
            f"warning: {pace.epochs} epochs, but schedule: t_max {t_max}: the learning rate {problem}; "
            f"set schedule: {{t_max: {pace.epochs}}}"
        )
    to_validate = as_told(pictures.validation, config.data.withhold)
    batches = Batches(pictures, config.data, config.model_input, pace.seed, pace.steps)

    def validated() -> Validation:
        found = validate(step.teacher, to_validate, config.model_input)
        if not found.scores:
            return found
        return replace(found, scores={**found.scores, "loss": validation_loss(found.scores, config.losses)})

    fit(step, batches, validated, pace, config, out, accelerator)
    return out / "best.pt"


def validation_loss(scores: Mapping[str, float], weights: LossWeights) -> float:
    """What the log calls ``val_loss``: the weighted sum of L1 and 1 - SSIM alone.

    The training's ``loss`` also has the adversarial, hue and perceptual terms where they have a weight, and MS-SSIM in
    place of SSIM where ``similarity`` says so: only without all of them are the two the same measure.
    """
    return weights.l1 * scores["l1"] + weights.ssim * (1.0 - scores["ssim"])


class GanStep:
    """Generator down L1, SSIM and -E[D(G(z))]; then discriminator down the hinge loss, where its phase says so."""

    def __init__(self, config: TrainTeacherConfig, accelerator: Accelerator) -> None:
        self.config, self.accelerator = config, accelerator
        self.teacher = synchronised(Teacher(config.teacher), accelerator)
        self.discriminator = synchronised(Discriminator(config.discriminator), accelerator)
        self.perceptual = self._perceptual()
        g, d = config.teacher_optimizer, config.discriminator_optimizer
        radam = torch.optim.RAdam(
            self.teacher.parameters(), lr=g.learning_rate, betas=g.betas, weight_decay=g.weight_decay
        )
        rmsprop = torch.optim.RMSprop(self.discriminator.parameters(), lr=d.learning_rate, weight_decay=d.weight_decay)
        self.generate, self.generator_optimizer = accelerator.prepare(self.teacher, radam)
        self.judge, self.discriminator_optimizer = accelerator.prepare(self.discriminator, rmsprop)

    def _perceptual(self) -> PerceptualLoss | None:
        if not self.config.losses.perceptual:
            return None
        if self.config.perceptual_weights is None:
            raise ConfigError(
                "perceptual_weights must name the weights file of VGG-16 where losses: perceptual is not 0"
            )
        return PerceptualLoss(vgg_features(Path(self.config.perceptual_weights))).to(self.accelerator.device)

    @property
    def state(self) -> Mapping[str, Stateful]:
        return {
            "teacher": self.teacher,
            "discriminator": self.discriminator,
            "teacher_optimizer": self.generator_optimizer,
            "discriminator_optimizer": self.discriminator_optimizer,
        }

    def __call__(self, batch: Batch, number: int) -> Parts:
        inputs, _, bright = batch
        phases, clip = self.config.phases, self.config.fit.clip
        epoch = number // self.config.fit.steps_per_epoch
        self._prepare(number, epoch)
        with self.accelerator.accumulate(self.generate, self.judge):
            output = self.generate(inputs)
            bright = at_size_of(bright, output)
            parts = self.generator_losses(output, bright, adversarial=phases.judges(epoch))
            descend(self.accelerator, parts["loss"], self.generate, self.generator_optimizer, clip)
            if phases.learns(epoch) and self.config.losses.adversarial:
                hinge = hinge_discriminator(self.judge(bright), self.judge(output.detach()))
                descend(self.accelerator, hinge, self.judge, self.discriminator_optimizer, clip)
                parts["discriminator"] = hinge
        return {name: value.detach() for name, value in parts.items()}

    def validated(self, scores: Mapping[str, float]) -> None:
        """The learning rates follow the epochs alone."""

    def _prepare(self, number: int, epoch: int) -> None:
        pace, cosine = self.config.fit, self.config.schedule
        for model, optimizer, peak in (
            (self.teacher, self.generator_optimizer, self.config.teacher_optimizer.learning_rate),
            (self.discriminator, self.discriminator_optimizer, self.config.discriminator_optimizer.learning_rate),
        ):
            set_mode(model, frozen=number >= pace.steps * (1.0 - pace.freeze_norm))
            for group in optimizer.param_groups:
                group["lr"] = cosine.learning_rate(peak, epoch)

    def generator_losses(self, output: Tensor, bright: Tensor, adversarial: bool) -> dict[str, Tensor]:
        """``loss``, the weighted sum, and each loss of which it is made; pictures (B, 3, H, W) in 0..1."""
        weights = self.config.losses
        parts = {"l1": (output - bright).abs().mean()}
        loss = weights.l1 * parts["l1"]
        if weights.ssim:
            parts["ssim"] = torchmetrics_similarity(output, bright, self.config.similarity)
            loss = loss + weights.ssim * (1.0 - parts["ssim"])
        if weights.hue:
            parts["hue"] = hue_penalty(output, bright)
            loss = loss + weights.hue * parts["hue"]
        if self.perceptual is not None:
            parts["perceptual"] = self.perceptual(output, bright)
            loss = loss + weights.perceptual * parts["perceptual"]
        if weights.adversarial and adversarial:
            self.discriminator.requires_grad_(False)  # its weights shall learn from their own loss alone
            parts["adversarial"] = hinge_generator(self.discriminator(output))
            self.discriminator.requires_grad_(True)
            loss = loss + weights.adversarial * parts["adversarial"]
        return {"loss": loss, **parts}


TRAINED_TEACHER = checkpoint.Trained(
    TrainTeacherConfig, "lowlight train-teacher", "teacher", lambda config: Teacher(config.teacher)
)


def load_teacher(path: Path) -> tuple[Teacher, TrainTeacherConfig, int]:
    """The teacher of a checkpoint that ``train_teacher`` wrote, the settings of its run and its step.

    Raises:
        DataError: not such a checkpoint.
    """
    return TRAINED_TEACHER.load(path)
