"""Networks as a runtime likes them: the same pictures by fewer and faster operations."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from lowlight_enhance.training.blocks import ResBlock
from lowlight_enhance.training.student import Student

PLANES = 2
"""Channels of the input beside R, G, B: ISO and exposure time."""


def for_runtime(network: nn.Module, int8: bool = False) -> nn.Module:
    """A copy of ``network`` to export; what it puts out is the same but for rounding.

    Args:
        network: in inference mode.
        int8: for a file that is to be quantised: what pays there alone, and makes a file larger.
    """
    folded = fold_normalisation(network)
    return align_entry(fold_pooling(folded)) if int8 else folded


def fold_normalisation(model: nn.Module) -> nn.Module:
    """A copy whose pairs of convolution and batch normalisation are single convolutions."""
    folded = copy.deepcopy(model).eval()
    for module in list(folded.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Sequential) and len(child) == 2 and isinstance(child[1], nn.BatchNorm2d):
                setattr(module, name, fuse_conv_bn_eval(child[0], child[1]))  # type: ignore[type-var]
    return folded


def fold_pooling(model: nn.Module) -> nn.Module:
    """A copy whose shortcuts are one strided convolution each, in place of means of 2x2 pixels and a 1x1 convolution.

    Normalisation has to be folded before. In int8, ONNX Runtime takes longer for the means than for the convolution.
    """
    folded = copy.deepcopy(model)
    for block in folded.modules():
        if isinstance(block, ResBlock) and isinstance(block.pool, nn.AvgPool2d):
            pointwise = _convolution(block.shortcut)
            block.pool, strided = nn.Identity(), nn.Conv2d(pointwise.in_channels, pointwise.out_channels, 2, 2)
            weight = (pointwise.weight / 4.0).expand_as(strided.weight)
            strided.load_state_dict({"weight": weight, "bias": pointwise.bias})
            block.shortcut = strided  # type: ignore[assignment]
    return folded


def align_entry(model: nn.Module) -> nn.Module:
    """A copy that sees the planes of ISO and exposure time twice, the second time with weights of zero.

    So the channels of its first convolutions are a multiple of four, for which ONNX Runtime has an int8 convolution
    that is more than twice as fast. Normalisation has to be folded before. Networks other than the student stay as
    they are.
    """
    aligned = copy.deepcopy(model)
    if isinstance(aligned, Student):
        entry = aligned.encoder[0]
        assert isinstance(entry, ResBlock)
        for convolution in (_convolution(entry.first), _convolution(entry.shortcut)):
            weight = convolution.weight.detach()
            convolution.weight = nn.Parameter(torch.cat((weight, torch.zeros_like(weight[:, -PLANES:])), 1))
            convolution.in_channels += PLANES
        aligned.plane_copies = 2
    return aligned


def _convolution(folded: nn.Module) -> nn.Conv2d:
    """``folded``, which is a convolution since its normalisation is in it."""
    assert isinstance(folded, nn.Conv2d)
    return folded
