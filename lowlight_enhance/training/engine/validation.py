"""Scores and a picture of a network at its own working size, as the paper measures: while it trains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lowlight_enhance.core.inference.model_input import ModelInput
from lowlight_enhance.core.metadata.capture import UNKNOWN
from lowlight_enhance.evaluation import metrics
from lowlight_enhance.training.data.dataset import to_tensor
from lowlight_enhance.training.data.pictures import LoadedPair, Opened
from lowlight_enhance.training.engine.run_log import Validation
from lowlight_enhance.training.models.student import apply_local_affine

SHOWN = 3
TILE = 160
WITHOUT_PAIRS = (
    "warning: no pairs to validate on (split 'val', mean of the dark frame at most validation_max_mean): best.pt is "
    "merely the newest state"
)


def as_told(pairs: Sequence[LoadedPair], withhold: float) -> Sequence[LoadedPair]:
    """``pairs``; without ISO and exposure time where training never tells them, ``withhold`` being 1 or more."""
    return Opened(pairs, lambda pair: replace(pair, capture=UNKNOWN)) if withhold >= 1.0 else pairs


def as_picture(output: Tensor, rgb: Tensor) -> Tensor:
    """The picture (B, 3, ., .) of a network's output: itself, or what its six maps make of ``rgb``.

    Args:
        output: (B, 3, h, w) picture, or (B, 6, h, w) gain and offset.
        rgb: (B, 3, H, W) dark picture that the maps are for; sets the size of what they make.
    """
    return output if output.shape[1] == 3 else apply_local_affine(output, rgb)


def at_size_of(target: Tensor, output: Tensor) -> Tensor:
    """``target``, area-averaged to the size of ``output`` where they differ."""
    if target.shape[2:] == output.shape[2:]:
        return target
    return F.interpolate(target, output.shape[2:], mode="area")


@torch.inference_mode()
def validate(
    model: nn.Module, pairs: Sequence[LoadedPair], model_input: ModelInput, teacher: nn.Module | None = None
) -> Validation:
    """Means over ``pairs`` of PSNR in dB, SSIM and L1; and a strip of dark, enhanced and reference pictures.

    Args:
        model: puts out pictures or local affine maps.
        pairs: their bright pictures are shrunk to the working size.
        model_input: of the network.
        teacher: with one, also the L1 to its output, as ``teacher_l1``.
    """
    model.eval()
    device = next(model.parameters()).device
    rows: list[dict[str, float]] = []
    strips: list[Tensor] = []
    for pair in pairs:
        grid = model_input.grid(*pair.dark.shape[:2])
        x = torch.from_numpy(model_input.encode(pair.dark, pair.capture)).to(device)

        def enhanced(network: nn.Module, x: Tensor = x, height: int = grid.height, width: int = grid.width) -> Tensor:
            return as_picture(network(x), x[:, :3])[:, :, :height, :width].clamp(0.0, 1.0)

        out = enhanced(model)
        bright = to_tensor([np.asarray(model_input.shrink(pair.bright), dtype=np.uint8)]).to(device)
        rows.append(scores(out, bright))
        if teacher is not None:
            rows[-1]["teacher_l1"] = float((out - enhanced(teacher)).abs().mean())
        if len(strips) < SHOWN:
            dark = x[:, :3, : grid.height, : grid.width]
            row = [F.interpolate(p, (TILE, TILE), mode="area")[0] for p in (dark, out, bright)]
            strips.append(torch.cat(row, 2).cpu())
    if not rows:
        return Validation({})
    means = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
    return Validation(means, torch.cat(strips, 1))


def scores(output: Tensor, target: Tensor) -> dict[str, float]:
    """Return PSNR in dB, SSIM and L1 of (1, 3, H, W) images in 0..1."""
    image, reference = (
        np.ascontiguousarray(tensor[0].permute(1, 2, 0).cpu().numpy(), np.float32) for tensor in (output, target)
    )
    return {
        "psnr": metrics.psnr_db(image, reference),
        "ssim": metrics.ssim(image, reference),
        "l1": metrics.l1(image, reference),
    }
