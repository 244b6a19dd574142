"""Training the student directly on pairs: real ones and darkened photographs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torchmetrics.functional.image import structural_similarity_index_measure

from lowlight_enhance.core.capture import CaptureMetadata
from lowlight_enhance.core.model_input import ModelInput
from lowlight_enhance.training.blocks import parameter_count
from lowlight_enhance.training.dataset import (
    Batches,
    DataConfig,
    LoadedPair,
    Picture,
    load_pairs,
    load_rgb,
    read_pairs,
    read_photos,
)
from lowlight_enhance.training.fit import Batch, FitConfig, fit, settings
from lowlight_enhance.training.losses import reconstruction_loss
from lowlight_enhance.training.student import Student, StudentConfig, apply_local_affine


@dataclass(frozen=True, slots=True)
class TrainStudentConfig:
    """A run that trains the student directly on pairs; the loss has the paper's weights of L1 and SSIM."""

    student: StudentConfig = field(default_factory=StudentConfig)
    data: DataConfig = field(default_factory=DataConfig)
    fit: FitConfig = field(default_factory=FitConfig)
    model_input: ModelInput = field(default_factory=ModelInput)
    l1: float = 0.5
    ssim: float = 0.35
    validation_max_mean: float = 40.0


def train_student(config: TrainStudentConfig, pairs: Sequence[Path], photos: Sequence[Path], out: Path) -> Path:
    """Train a student; returns the checkpoint with the best validation PSNR.

    Args:
        config: every setting of the run.
        pairs: CSV indices of real pairs.
        photos: CSV indices of well-exposed photographs to darken.
        out: folder for checkpoints and the log; a run found there is continued.
    """
    listed = [pair for index in pairs for pair in read_pairs(index)]
    files = [file for index in photos for file, split in read_photos(index) if split == "train"]
    training = load_pairs([p for p in listed if p.split == "train"])
    validation = [
        pair
        for pair in load_pairs([p for p in listed if p.split == "val"])
        if pair.dark.mean() <= config.validation_max_mean
    ]
    torch.manual_seed(config.fit.seed)
    model = Student(config.student).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    print(
        f"{parameter_count(model) / 1e6:.2f} M parameters, {len(training)} pairs and {len(files)} photographs to "
        f"train, {len(validation)} pairs to validate"
    )
    batches = Batches(
        training, [load_rgb(f) for f in files], config.data, config.model_input, config.fit.seed, config.fit.steps
    )

    def step(batch: Batch) -> tuple[torch.Tensor, dict[str, float]]:
        inputs, dark, bright = batch
        maps = model(inputs.contiguous(memory_format=torch.channels_last)).contiguous()
        return reconstruction_loss(apply_local_affine(maps, dark), bright, config.l1, config.ssim)

    fit(
        model,
        batches,
        step,
        lambda candidate: score_pairs(candidate, validation, config.model_input),
        config.fit,
        out,
        settings(config),
    )
    return out / "best.pt"


@torch.inference_mode()
def enhance(model: nn.Module, picture: Picture, capture: CaptureMetadata, model_input: ModelInput) -> torch.Tensor:
    """(1, 3, H, W) in 0..1 of one (H, W, 3) picture, as the runtime makes it."""
    height, width = picture.shape[:2]
    grid = model_input.grid(height, width)
    maps = model(torch.from_numpy(model_input.encode(picture, capture)))[:, :, : grid.height, : grid.width]
    rgb = torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))[None].float() / 255.0
    return apply_local_affine(maps, rgb).clamp(0.0, 1.0)


@torch.inference_mode()
def score_pairs(model: nn.Module, pairs: Sequence[LoadedPair], model_input: ModelInput) -> dict[str, float]:
    """Mean PSNR in dB, SSIM and L1 at native size over ``pairs``."""
    model.eval()
    rows = []
    for pair in pairs:
        out = enhance(model, pair.dark, pair.capture, model_input)
        target = torch.from_numpy(np.ascontiguousarray(pair.bright.transpose(2, 0, 1)))[None].float() / 255.0
        mse = float((out - target).square().mean())
        ssim = float(structural_similarity_index_measure(out, target, data_range=1.0))  # type: ignore[arg-type]
        rows.append((-10.0 * np.log10(max(mse, 1e-10)), ssim, float((out - target).abs().mean())))
    means = np.mean(rows, axis=0) if rows else (float("nan"),) * 3
    return dict(zip(("psnr", "ssim", "l1"), map(float, means), strict=True))
