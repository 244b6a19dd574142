"""The student network: the paper's attention-gated residual U-Net, small enough for a drone's CPU.

Design after M. Alegredo, "Low-Light Image Reconstruction for Computationally Limited Systems": ResBlocks of two 3x3
convolutions (He et al. 2016), the first strided by 2; decoder levels of bilinear upsampling and convolution; each
skip passes a concatenative attention gate with a bottleneck of half the channels (after Oktay et al. 2018).

The differences reduce computing time (figures in docs/architecture.md). A pixel-unshuffle replaces the first two
levels, so most of the 2.4 M parameters work on small maps. Each decoder convolution is split into a 1x1 convolution
before and a 3x3 convolution after the upsampling. The lowest level also receives the mean of the scene. The output is
a local affine map (gain and offset for each pixel and channel). The runtime applies it to the full-size frame, so
edges of the frame are kept where noise is low.

The frame is divided by its white level, the largest mean of 2x2 blocks of ``unshuffle`` pixels each way, before the
first convolution, and the gain contains the same division. A well-exposed picture nearly always holds something white,
so the division alone corrects most of the under-exposure: on 12 photographs 2 stops under-exposed at ISO 400 it gives
31.5 dB, while a network without it gave 22.5 dB. Larger areas miss small highlights; in smaller ones noise raises the
maximum. The largest mean of one block is a second input.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lowlight_enhance.core.errors import ConfigError
from lowlight_enhance.training.config import check_range
from lowlight_enhance.training.models.blocks import AttentionGate, ResBlock, conv, upsample


@dataclass(frozen=True, slots=True)
class AffineUNetConfig:
    """Size of the student.

    Attributes:
        unshuffle: factor of the pixel-unshuffle at the input and of the pixel-shuffle at the output.
        channels: width of each encoder level; level k works at 1 / (unshuffle * 2**k) of the input's size.
        head: width of the last convolution before the output.
        dropout: share of decoder channels dropped in training.
    """

    unshuffle: int = 4
    channels: tuple[int, ...] = (32, 64, 144, 352)
    head: int = 32
    dropout: float = 0.0

    def __post_init__(self) -> None:
        check_range(self, 1, math.inf, "unshuffle", "channels", "head")
        check_range(self, 0.0, 1.0, "dropout")
        if len(self.channels) < 2:
            raise ConfigError(f"channels must be of two levels at least, found {list(self.channels)}")

    @property
    def size_multiple(self) -> int:
        """Height and width of the input must be multiples of this."""
        return int(self.unshuffle * 2 ** (len(self.channels) - 1))


class DecoderLevel(nn.Module):
    """1x1 to the skip's width, bilinear x2, 3x3, then the gated skip beside it: -> (B, 2 * outputs, 2H, 2W)."""

    def __init__(self, inputs: int, outputs: int, dropout: float) -> None:
        super().__init__()
        self.squeeze = conv(inputs, outputs, 1)
        self.smooth = conv(outputs, outputs)
        self.gate = AttentionGate(outputs)
        self.dropout = nn.Dropout2d(dropout) if dropout else nn.Identity()

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        x = upsample(F.relu(self.squeeze(x)))
        x = self.dropout(F.relu(self.smooth(x)))
        return torch.cat((self.gate(skip, x), x), 1)


class GlobalContext(nn.Module):
    """Adds a projection of the scene's mean features to every place: how bright the whole frame is, once."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, channels // 4, 1)
        self.expand = nn.Conv2d(channels // 4, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        shift: Tensor = self.expand(F.relu(self.reduce(x.mean((2, 3), keepdim=True))))
        return x + shift


LEAST_WHITE = 0.02
"""Lowest white level (sRGB-encoded, 9 stops below full scale), so that a black frame is not divided by zero."""

WHITE_LEVELS = 2
"""Number of white levels that the network sees."""

EXPOSURE_PLANES = 2 + WHITE_LEVELS
"""Channels of the first convolution beside the colours: ISO, exposure time, and the logarithms of two white levels.
With the colours of 4x4 pixels they make 52, a multiple of four, for which ONNX Runtime has an int8 convolution that is
more than twice as fast."""


class AffineUNet(nn.Module):
    """(B, 5, H, W) ModelInput tensor -> (B, 6, H, W): gain R, G, B and offset R, G, B.

    The enhanced picture is ``gain * rgb + offset`` with rgb in 0..1, at this size or, with both maps brought up, at
    any larger one. H and W are multiples of ``config.size_multiple``.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, config: AffineUNetConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or AffineUNetConfig()
        self.level_scale = 1.0  # smaller in an exported file, see there
        widths, r = config.channels, config.unshuffle
        entries = (3 * r * r + EXPOSURE_PLANES, *widths[:-1])
        self.encoder = nn.ModuleList(
            ResBlock(entries[k], widths[k], stride=1 if k == 0 else 2) for k in range(len(widths))
        )
        self.context = GlobalContext(widths[-1])
        below = (*(2 * w for w in widths[1:-1]), widths[-1])
        self.decoder = nn.ModuleList(
            DecoderLevel(below[k], widths[k], config.dropout) for k in reversed(range(len(widths) - 1))
        )
        self.head = conv(2 * widths[0], config.head)
        self.out = nn.Conv2d(config.head, 6 * r * r, 1)
        gains, offsets = torch.ones(3 * r * r), torch.zeros(3 * r * r)
        self.register_buffer("scale", torch.cat((4.0 * gains, gains)), persistent=False)
        self.register_buffer("shift", torch.cat((gains, offsets)), persistent=False)
        nn.init.normal_(self.out.weight, std=1e-3)  # begins close to the identity
        nn.init.zeros_(self.out.get_parameter("bias"))

    def forward(self, x: Tensor) -> Tensor:
        r = self.config.unshuffle
        blocks = F.pixel_unshuffle(x[:, :3].clamp(0.0, 1.0), r)
        white, fine = white_levels(blocks)
        brightening = 1.0 / white
        blocks = torch.sqrt(blocks * brightening + 1e-3)  # evens out shot noise and spreads the dark end
        planes = x[:, :, ::r, ::r][:, 3:]  # in this order, as ONNX Runtime would copy the whole input for the other
        levels = self.level_scale * torch.log2(torch.cat((white, fine), 1))
        levels = levels.expand(-1, -1, planes.shape[2], planes.shape[3])
        x = torch.cat((blocks, planes, levels), 1)  # (B, 3 r^2 + 4, H/r, W/r)
        skips = []
        for block in self.encoder:
            x = block(x)
            skips.append(x)
        x = self.context(skips.pop())
        for level in self.decoder:
            x = level(x, skips.pop())
        maps = self._maps(F.relu(self.head(x)))
        gains = brightening.expand(-1, 3 * r * r, -1, -1)
        return F.pixel_shuffle(maps * torch.cat((gains, torch.ones_like(gains)), 1), r)  # (B, 6, H, W)

    def _maps(self, x: Tensor) -> Tensor:
        """1 + 4 ``out`` for the gains, ``out`` for the offsets, as one convolution, also in the exported file."""
        weight, bias = self.out.weight * self.scale[:, None, None, None], self.out.get_parameter("bias") * self.scale
        return F.conv2d(x, weight, bias + self.shift)


def white_levels(blocks: Tensor) -> tuple[Tensor, Tensor]:
    """Return the white level of pictures over 2x2 blocks of pixels, and over one block.

    Args:
        blocks: (B, 3 r^2, h, w) R, G, B in 0..1, unshuffled.

    Returns:
        Two (B, 1, 1, 1) tensors.
    """
    # not avg_pool2d, which ONNX Runtime quantises badly
    means = blocks.reshape(blocks.shape[0], 3, -1, *blocks.shape[2:]).mean(2)
    rows = 0.5 * (means[:, :, 1:] + means[:, :, :-1])
    areas = 0.5 * (rows[..., 1:] + rows[..., :-1])
    white, fine = (level.amax((1, 2, 3), keepdim=True).clamp(min=LEAST_WHITE) for level in (areas, means))
    return white, fine


def apply_local_affine(maps: Tensor, rgb: Tensor) -> Tensor:
    """The enhanced picture from the student's maps, as the runtime makes it.

    Args:
        maps: (B, 6, h, w) gain and offset.
        rgb: (B, 3, H, W) full-size input in 0..1.

    Returns:
        (B, 3, H, W), not clipped.
    """
    if maps.shape[2:] != rgb.shape[2:]:
        maps = F.interpolate(maps, rgb.shape[2:], mode="bilinear", align_corners=False)
    return maps[:, :3] * rgb + maps[:, 3:]
