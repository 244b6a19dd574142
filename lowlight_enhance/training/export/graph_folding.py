"""Rewrite networks for export: the same output by fewer and faster operations."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from lowlight_enhance.training.models.affine_unet import LEAST_WHITE, WHITE_LEVELS, AffineUNet, DecoderLevel
from lowlight_enhance.training.models.blocks import ResBlock


def optimize_for_runtime(network: nn.Module, frames: Iterable[Tensor] | None = None) -> nn.Module:
    """Return a copy of ``network`` for export, whose output is the same except for rounding.

    Args:
        network: network in inference mode.
        frames: for int8 files: (1, 5, h, w) inputs like those of the robot. Some rewrites help in int8 only.
    """
    folded = fold_normalisation(network)
    return folded if frames is None else balance_skips(scale_levels(fold_pooling(folded)), frames)


def fold_normalisation(model: nn.Module) -> nn.Module:
    """Return a copy with batch normalisation folded into the convolution before it."""
    folded = copy.deepcopy(model).eval()
    for module in list(folded.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Sequential) and len(child) == 2 and isinstance(child[1], nn.BatchNorm2d):
                setattr(module, name, fuse_conv_bn_eval(child[0], child[1]))  # type: ignore[type-var]
    return folded


def fold_pooling(model: nn.Module) -> nn.Module:
    """Return a copy whose shortcuts average 2x2 pixels by a depthwise convolution.

    In int8, the average pooling of ONNX Runtime takes longer than the convolutions that it makes smaller.
    """
    folded = copy.deepcopy(model)
    for block in folded.modules():
        if isinstance(block, ResBlock) and isinstance(block.pool, nn.AvgPool2d):
            channels = _convolution(block.shortcut).in_channels
            means = nn.Conv2d(channels, channels, 2, 2, groups=channels, bias=False)
            nn.init.constant_(means.weight, 0.25)
            block.pool = means  # type: ignore[assignment]
    return folded


def scale_levels(model: nn.Module) -> nn.Module:
    """Return a copy whose input has the logarithms of the white levels scaled to -1..0; its weights compensate.

    In int8 the input has one scale: beside logarithms down to -5.6, the colours would have 45 of 255 steps.
    Normalisation must be folded before. Only the student changes.
    """
    scaled = copy.deepcopy(model)
    if isinstance(scaled, AffineUNet):
        scaled.level_scale = -1.0 / math.log2(LEAST_WHITE)
        entry = scaled.encoder[0]
        assert isinstance(entry, ResBlock)
        with torch.no_grad():
            for convolution in (_convolution(entry.first), _convolution(entry.shortcut)):
                convolution.weight[:, -WHITE_LEVELS:].div_(scaled.level_scale)
    return scaled


def balance_skips(model: nn.Module, frames: Iterable[Tensor]) -> nn.Module:
    """Return a copy whose decoder features have the range of the gated skips that they are concatenated with.

    In int8 a concatenation has one scale: beside values up to 140, a skip of up to 5 would have nine of 255 steps. The
    weights that read the features compensate. This is cross-layer equalisation (Nagel et al. 2019) with one factor per
    level. Normalisation must be folded before. Only the student changes.
    """
    balanced = copy.deepcopy(model)
    if not isinstance(balanced, AffineUNet):
        return balanced
    largest: dict[nn.Module, float] = {}

    def note(module: nn.Module, _inputs: object, output: Tensor) -> None:
        largest[module] = max(largest.get(module, 0.0), float(output.max()))

    levels = [level for level in balanced.decoder if isinstance(level, DecoderLevel)]
    handles = [part.register_forward_hook(note) for level in levels for part in (level.smooth, level.gate)]
    with torch.inference_mode():
        for frame in frames:
            balanced(frame)
    for handle in handles:
        handle.remove()
    readers = [*(level.squeeze for level in levels[1:]), balanced.head]
    with torch.no_grad():
        for level, reader in zip(levels, readers, strict=True):
            if largest[level.smooth] > 0.0 and largest[level.gate] > 0.0:
                _scale(level, _convolution(reader), largest[level.gate] / largest[level.smooth])
    return balanced


def _scale(level: DecoderLevel, reader: nn.Conv2d, factor: float) -> None:
    """Multiply the features of ``level`` by ``factor``, and divide the weights that read them."""
    smooth, reduce = _convolution(level.smooth), _convolution(level.gate.reduce)
    for parameter in smooth.parameters():
        parameter.mul_(factor)
    for convolution in (reduce, reader):  # the skip comes first in their input
        convolution.weight[:, smooth.out_channels :].div_(factor)


def _convolution(folded: nn.Module) -> nn.Conv2d:
    """Return ``folded`` as the convolution that it is after folding."""
    assert isinstance(folded, nn.Conv2d)
    return folded
