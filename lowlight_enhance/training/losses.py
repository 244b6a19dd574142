"""Training losses. Pictures are (B, 3, H, W) in 0..1; every loss is a mean over the batch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics.functional.image import (
    multiscale_structural_similarity_index_measure,
)

from lowlight_enhance.core.errors import ConfigError
from lowlight_enhance.training.config import check_range

SSIM_KERNEL = 11
SSIM_SIGMA = 1.5

Similarity = Literal["ssim", "ms-ssim"]

SMALLEST_FOR_MS_SSIM = 176
"""Smallest shorter side in pixels for MS-SSIM: the window of torchmetrics must fit the smallest of five scales."""

EXCESS = 0.05
"""Share of the part of an output outside 0..1 that enters a loss."""

BEST_PSNR = 42.0
"""Upper limit in dB of the PSNR of a block in a loss."""

PSNR_BLOCK = 32
"""Side in pixels of the blocks of ``local_psnr``."""

HUE_CHROMA_FLOOR = 0.02
"""Chroma (0..1) below which the hue of an output pixel gets less weight."""


def structural_similarity(a: Tensor, b: Tensor, stride: int = 1) -> Tensor:
    """Return the mean SSIM (Wang et al. 2004, Gaussian window 11, sigma 1.5, range 1) at every ``stride``-th pixel.

    The value is that of torchmetrics on the pixels whose window lies inside the picture. It is computed by banded
    matrix products: on a CPU ten times as fast as a depthwise convolution, which would take longer than the student.

    Args:
        a: (B, C, H, W).
        b: the same shape.
        stride: distance in pixels between windows.
    """
    c1, c2 = 0.01**2, 0.03**2
    rows, columns = (_band(n, stride, a) for n in a.shape[2:])
    stack = torch.cat((a, b, a * a, b * b, a * b), 1)
    mean_a, mean_b, aa, bb, ab = torch.chunk(rows @ stack @ columns.T, 5, 1)
    var_a, var_b, cov = aa - mean_a * mean_a, bb - mean_b * mean_b, ab - mean_a * mean_b
    luminance = (2 * mean_a * mean_b + c1) / (mean_a * mean_a + mean_b * mean_b + c1)
    structure = (2 * cov + c2) / (var_a + var_b + c2)
    return torch.mean(luminance * structure)


def _band(n: int, stride: int, like: Tensor) -> Tensor:
    """Return a (windows, n) matrix whose rows are the Gaussian window at successive places."""
    offsets = torch.arange(SSIM_KERNEL, device=like.device)
    window = torch.exp(-((offsets - SSIM_KERNEL // 2) ** 2) / (2 * SSIM_SIGMA**2)).to(like.dtype)
    starts = torch.arange(0, n - SSIM_KERNEL + 1, stride, device=like.device)
    band = torch.zeros(len(starts), n, device=like.device, dtype=like.dtype)
    return band.scatter_(1, starts[:, None] + offsets, (window / window.sum()).expand(len(starts), -1))


def as_displayed(output: Tensor) -> Tensor:
    """Clip ``output`` to 0..1, as in the published picture, except for a small share of the excess.

    Without clipping, a lamp brighter than white would cost as much as a wrong one. The share keeps a gradient.
    """
    return torch.lerp(output.clamp(0.0, 1.0), output, EXCESS)


def local_psnr(output: Tensor, target: Tensor) -> Tensor:
    """Return the mean PSNR in dB over blocks of ``PSNR_BLOCK`` pixels; a block has ``BEST_PSNR`` at most.

    As a loss it is relative: a tenth less error has the same weight in a region with small errors as in one with large
    errors, while L1 neglects the former (compare Chen et al., "HINet", 2021, for whole pictures). So the lit part of a
    frame keeps its tones although most of the error lies in the dark part.
    """
    side = min(PSNR_BLOCK, *output.shape[2:])
    error = F.avg_pool2d((output - target).square().mean(1, keepdim=True), side, ceil_mode=True)
    return -10.0 * torch.log10(error + 10.0 ** (-BEST_PSNR / 10.0)).mean()


@dataclass(frozen=True, slots=True)
class ReconstructionWeights:
    """Weights of the losses that compare a picture with its reference. A loss of weight 0 is not computed.

    Attributes:
        l1: mean absolute difference.
        ssim: 1 - SSIM, or 1 - MS-SSIM.
        psnr: ``local_psnr``, per decibel; not in the paper.
        hue: ``hue_penalty``; the paper proposes such a term.
        ssim_stride: distance in pixels between the windows of SSIM; 2 takes a quarter of the time.
    """

    l1: float = 0.5
    ssim: float = 0.35
    psnr: float = 0.0
    hue: float = 0.0
    ssim_stride: int = 1

    def __post_init__(self) -> None:
        check_range(self, 0.0, math.inf, "l1", "ssim", "psnr", "hue")
        check_range(self, 1, SSIM_KERNEL, "ssim_stride")


def reconstruction_loss(
    output: Tensor, target: Tensor, weights: ReconstructionWeights, similarity: Similarity = "ssim"
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the weighted sum of the losses between (B, 3, H, W) pictures, and each loss by name.

    ``psnr`` and ``ssim`` are returned as scores, larger is better; they enter the sum with a minus sign.
    """
    parts = {"l1": (output - target).abs().mean()}
    loss = weights.l1 * parts["l1"]
    if weights.ssim:
        if similarity == "ssim":
            parts["ssim"] = structural_similarity(output, target, weights.ssim_stride)
        else:
            parts["ssim"] = multiscale_similarity(output, target)
        loss = loss + weights.ssim * (1.0 - parts["ssim"])
    if weights.psnr:
        parts["psnr"] = local_psnr(output, target)
        loss = loss - weights.psnr * parts["psnr"]
    if weights.hue:
        parts["hue"] = hue_penalty(output, target)
        loss = loss + weights.hue * parts["hue"]
    return loss, parts


def hinge_discriminator(real: tuple[Tensor, ...], fake: tuple[Tensor, ...]) -> Tensor:
    """E[max(0, 1 - D(x))] + E[max(0, 1 + D(G(z)))], the mean over the heads of D.

    Args:
        real: scores of photographs, one tensor a head of any shape (B, ...).
        fake: scores of the generator's pictures.
    """
    heads = (F.relu(1.0 - r).mean() + F.relu(1.0 + f).mean() for r, f in zip(real, fake, strict=True))
    return torch.stack(list(heads)).mean()


def hinge_generator(fake: tuple[Tensor, ...]) -> Tensor:
    """-E[D(G(z))], the mean over the heads of D."""
    return torch.stack([-f.mean() for f in fake]).mean()


def multiscale_similarity(output: Tensor, target: Tensor) -> Tensor:
    """Mean MS-SSIM by torchmetrics with its defaults, data range 1.

    Raises:
        ConfigError: the pictures are too small for MS-SSIM.
    """
    if min(output.shape[2:]) < SMALLEST_FOR_MS_SSIM:
        raise ConfigError(
            f"MS-SSIM needs pictures of at least {SMALLEST_FOR_MS_SSIM} pixels, these have "
            f"{min(output.shape[2:])}: enlarge the shapes of data, or choose similarity: ssim"
        )
    similarity = multiscale_structural_similarity_index_measure(output, target, data_range=1.0)
    assert isinstance(similarity, Tensor)
    return similarity


def hue_penalty(output: Tensor, target: Tensor) -> Tensor:
    """Return the error of hue: mean over pixels of ``|t| (1 - cos angle(o, t))``.

    o and t are the opponent-chroma vectors of output and target, ``(R - (G + B) / 2, sqrt(3) / 2 (G - B))``: their
    direction is the hue, their length the chroma. The weight ``|t|`` excludes dark and grey pixels, whose hue is
    noise. The cosine does not depend on the saturation of the output, so less saturation does not lower the loss: an
    output without chroma costs as much as one at 90 degrees.

    ``cos`` is smoothed as ``o.t / (|t| sqrt(|o|^2 + floor^2))``, which keeps the gradient finite at grey. Equal
    pictures therefore have a loss of up to 0.31 ``HUE_CHROMA_FLOOR``.
    """
    o, t = _opponent_chroma(output), _opponent_chroma(target)
    length = torch.sqrt(o.square().sum(1) + HUE_CHROMA_FLOOR**2)
    along = (o * t).sum(1) / length  # (B, H, W): |t| cos
    return torch.mean(torch.linalg.vector_norm(t, dim=1) - along)


def _opponent_chroma(rgb: Tensor) -> Tensor:
    """Convert (B, 3, H, W) RGB to (B, 2, H, W): red against cyan, green against blue."""
    r, g, b = rgb.unbind(1)
    return torch.stack((r - (g + b) / 2.0, (3.0**0.5 / 2.0) * (g - b)), 1)


class PerceptualLoss(nn.Module):
    """L1 between the features of output and target in a frozen network (Johnson et al. 2016)."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, features: nn.Module) -> None:
        super().__init__()
        self.features = features.eval().requires_grad_(False)
        self.register_buffer("mean", torch.tensor((0.485, 0.456, 0.406)).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor((0.229, 0.224, 0.225)).view(1, 3, 1, 1), persistent=False)

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        ours, theirs = (self.features((x - self.mean) / self.deviation) for x in (output, target))
        return F.l1_loss(ours, theirs)


def vgg_features(weights: Path) -> nn.Module:
    """Load VGG-16 (Simonyan & Zisserman 2015) up to relu3_3 from a torchvision weights file. Nothing is downloaded.

    Raises:
        ConfigError: torchvision cannot be imported, or the file is missing or not such a file.
    """
    try:
        from torchvision.models import vgg16
    except (ImportError, RuntimeError, OSError) as error:  # a build for another torch fails with the latter two
        raise ConfigError(
            f"the perceptual loss needs torchvision, which cannot be imported ({error}): "
            "install the build for your torch version, or set perceptual: 0"
        ) from error
    try:
        state = torch.load(weights, map_location="cpu", weights_only=True)
        model = vgg16(weights=None)
        model.load_state_dict(state)
    except (OSError, EOFError, TypeError, RuntimeError, ValueError, UnpicklingError) as error:
        raise ConfigError(
            f"{weights} is not a weights file of torchvision's vgg16 ({error}): set perceptual_weights to the path "
            "of vgg16-397923af.pth, or perceptual: 0"
        ) from error
    features: nn.Module = model.features[:16]
    return features
