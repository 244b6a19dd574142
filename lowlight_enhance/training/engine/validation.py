"""Scores and sample pictures of a network during training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lowlight_enhance.core.inference.model_input import ModelInput
from lowlight_enhance.core.metadata.capture import UNKNOWN
from lowlight_enhance.evaluation import metrics
from lowlight_enhance.training.data.augment import to_float
from lowlight_enhance.training.data.config import DataConfig
from lowlight_enhance.training.data.pictures import LazySequence, LoadedPair, Picture, TrainingPictures
from lowlight_enhance.training.data.samples import simulate
from lowlight_enhance.training.engine.run_log import Validation
from lowlight_enhance.training.models.affine_unet import apply_local_affine

SIMULATED_PAIRS, SIMULATION_SEED = 48, 7
"""Number of simulated validation pairs, and the seed of their noise."""

SHOWN = 3
TILE = 160
WITHOUT_PAIRS = (
    "warning: no pairs to validate on (split 'val', mean of the dark frame at most validation_max_mean): best.pt is "
    "the newest state"
)


def validation_pairs(
    pictures: TrainingPictures, data: DataConfig, warn: Callable[[str], None]
) -> Sequence[LoadedPair]:
    """Return the validation pairs: real pairs, and pairs simulated from the photographs of the validation split.

    They are simulated as for training, with a fixed seed, each from a single frame. Capture metadata is withheld if
    training always withholds it (``metadata_dropout`` of 1).

    Args:
        pictures: pictures of the run.
        data: data settings of the run.
        warn: called with a warning if there are no pairs.
    """
    real, simulated = pictures.validation, _simulated(pictures.validation_photos, data)
    pairs: Sequence[LoadedPair] = LazySequence(
        range(len(real) + len(simulated)), lambda n: real[n] if n < len(real) else simulated[n - len(real)]
    )
    if not pairs:
        warn(WITHOUT_PAIRS)
    if data.metadata_dropout >= 1.0:
        return LazySequence(pairs, lambda pair: replace(pair, capture=UNKNOWN))
    return pairs


def _simulated(photos: Sequence[Picture], data: DataConfig) -> list[LoadedPair]:
    config, pairs = replace(data, averaged=0.0, reference_photos=False), []
    for number in range(min(len(photos), SIMULATED_PAIRS)):
        rng = np.random.default_rng([SIMULATION_SEED, number])
        sample = simulate(photos[number], config, rng)
        pairs.append(LoadedPair(np.asarray(sample.dark, dtype=np.uint8), sample.bright, sample.capture))
    return pairs


def apply_output(output: Tensor, rgb: Tensor) -> Tensor:
    """Return the picture of a network's output: the output itself, or ``rgb`` with gain and offset applied.

    Args:
        output: (B, 3, h, w) picture, or (B, 6, h, w) gain and offset.
        rgb: (B, 3, H, W) dark picture, to which gain and offset are applied at its own size.
    """
    return output if output.shape[1] == 3 else apply_local_affine(output, rgb)


def resize_like(target: Tensor, output: Tensor) -> Tensor:
    """Resize ``target`` to the size of ``output`` where they differ: smaller by area averaging, larger bilinearly."""
    if target.shape[2:] == output.shape[2:]:
        return target
    if target.shape[2] < output.shape[2]:
        return F.interpolate(target, output.shape[2:], mode="bilinear", align_corners=False)
    return F.interpolate(target, output.shape[2:], mode="area")


@torch.inference_mode()
def validate(
    model: nn.Module, pairs: Sequence[LoadedPair], model_input: ModelInput, teacher: nn.Module | None = None
) -> Validation:
    """Return the means of PSNR in dB, SSIM and L1 over pairs, and strips of dark, enhanced and reference pictures.

    An output picture is compared at the working size, as in the paper. Maps are applied to the full-size dark picture,
    and the result is compared with the full-size reference.

    Args:
        model: network whose output is a picture or maps.
        pairs: dark and bright pictures.
        model_input: input of the network.
        teacher: network for the score ``teacher_l1``, the L1 distance to its output; None: no such score.
    """
    model.eval()
    rows: list[dict[str, float]] = []
    strips: list[Tensor] = []
    for pair in pairs:
        out = enhanced(model, pair, model_input)
        is_full_size = out.shape[2:] == pair.bright.shape[:2]
        dark, bright = (
            _batch(picture if is_full_size else np.asarray(model_input.downscale(picture), dtype=np.uint8), out)
            for picture in (pair.dark, pair.bright)
        )
        rows.append(scores(out, bright))
        if teacher is not None:
            taught = resize_like(enhanced(teacher, pair, model_input), out)
            rows[-1]["teacher_l1"] = float((out - taught).abs().mean())
        if len(strips) < SHOWN:
            row = [F.interpolate(p, (TILE, TILE), mode="area")[0] for p in (dark, out, bright)]
            strips.append(torch.cat(row, 2).cpu())
    if not rows:
        return Validation({})
    means = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
    return Validation(means, torch.cat(strips, 1))


def enhanced(network: nn.Module, pair: LoadedPair, model_input: ModelInput) -> Tensor:
    """Return the (1, 3, H, W) enhanced picture of a pair in 0..1, at the working size or, from maps, at full size."""
    grid = model_input.grid(*pair.dark.shape[:2])
    x = torch.from_numpy(model_input.encode(pair.dark, pair.capture)).to(next(network.parameters()).device)
    output = network(x)[:, :, : grid.height, : grid.width]
    return apply_output(output, _batch(pair.dark, x)).clamp(0.0, 1.0)


def _batch(picture: Picture, like: Tensor) -> Tensor:
    return torch.from_numpy(to_float(picture))[None].to(like.device)


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
