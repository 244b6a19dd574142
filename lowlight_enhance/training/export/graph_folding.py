"""Networks as a runtime likes them: the same pictures by fewer and faster operations."""

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
    """A copy of ``network`` to export; what it puts out is the same but for rounding.

    Args:
        network: in inference mode.
        frames: for a file that is to be quantised, (1, 5, h, w) inputs like the robot's. What is done then pays in
            int8 alone.
    """
    folded = fold_normalisation(network)
    return folded if frames is None else balance_skips(scale_levels(fold_pooling(folded)), frames)


def fold_normalisation(model: nn.Module) -> nn.Module:
    """A copy whose pairs of convolution and batch normalisation are single convolutions."""
    folded = copy.deepcopy(model).eval()
    for module in list(folded.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Sequential) and len(child) == 2 and isinstance(child[1], nn.BatchNorm2d):
                setattr(module, name, fuse_conv_bn_eval(child[0], child[1]))  # type: ignore[type-var]
    return folded


def fold_pooling(model: nn.Module) -> nn.Module:
    """A copy whose shortcuts take their means of 2x2 pixels by a convolution of each channel.

    In int8, ONNX Runtime's average pooling takes longer than all that it makes cheap.
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
    """A copy that sees the logarithms of the white levels as values of -1 to 0; its weights make up for it.

    In int8 the input has one scale: beside logarithms down to -5.6, the colours would keep 45 steps of 255.
    Normalisation has to be folded before. Networks other than the student stay as they are.
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
    """A copy whose decoder levels put out values as large as the gated skips that they are concatenated with.

    In int8 a concatenation has one scale: beside values up to 140, a skip of up to 5 would keep nine steps of 255. The
    outgoing weights make up for it. As of cross-layer equalisation (Nagel et al. 2019), with one factor a level.
    Normalisation has to be folded before. Networks other than the student stay as they are.
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
    """Multiply what ``level`` adds to its skip, and divide by as much where it is read."""
    smooth, reduce = _convolution(level.smooth), _convolution(level.gate.reduce)
    for parameter in smooth.parameters():
        parameter.mul_(factor)
    for convolution in (reduce, reader):  # both read the skip first
        convolution.weight[:, smooth.out_channels :].div_(factor)


def _convolution(folded: nn.Module) -> nn.Conv2d:
    """``folded``, which is a convolution since its normalisation is in it."""
    assert isinstance(folded, nn.Conv2d)
    return folded
