"""Building blocks of the networks: convolution with normalisation, ResBlock, attention gate, decoder level."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def conv(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """Convolution without bias and batch normalisation; folded into one convolution at export."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
    )


class ResBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut; (B, inputs, H, W) -> (B, outputs, H / stride, W / stride)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = conv(inputs, outputs, 3, stride)
        self.second = conv(outputs, outputs)
        self.shortcut = conv(inputs, outputs, 1)
        self.pool = nn.AvgPool2d(2) if stride == 2 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = self.second(F.relu(self.first(x)))
        return F.relu(y + self.shortcut(self.pool(x)))


class AttentionGate(nn.Module):
    """Weights a skip connection by decoder features: (B, C, H, W) skip and decoder -> (B, C, H, W) gated skip.

    1x1 convolution of both to C / 2 channels, 1x1 convolution back to C, sigmoid.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.reduce = conv(2 * channels, channels // 2, 1)
        self.expand = nn.Conv2d(channels // 2, channels, 1)

    def forward(self, skip: Tensor, decoder: Tensor) -> Tensor:
        attention = self.expand(F.relu(self.reduce(torch.cat((skip, decoder), 1))))
        return skip * torch.sigmoid(attention)


class UpBlock(nn.Module):
    """Bilinear x2, 3x3, concatenation with the gated skip, two 3x3, dropout: -> (B, outputs, 2H, 2W)."""

    def __init__(self, inputs: int, outputs: int, dropout: float) -> None:
        super().__init__()
        self.up = conv(inputs, outputs)
        self.gate = AttentionGate(outputs)
        self.first = conv(2 * outputs, outputs)
        self.second = conv(outputs, outputs)
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        x = F.relu(self.up(upsample(x)))
        x = torch.cat((self.gate(skip, x), x), 1)  # (B, 2 * outputs, 2H, 2W)
        x = self.dropout(F.relu(self.second(F.relu(self.first(x)))))
        return x


def upsample(x: Tensor) -> Tensor:
    """Upsample (B, C, H, W) to (B, C, 2H, 2W), bilinear."""
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


def encoder(inputs: int, channels: tuple[int, ...]) -> nn.ModuleList:
    """Return ResBlocks with a strided first convolution: level k has 1 / 2**(k + 1) of the size of the input."""
    return nn.ModuleList(ResBlock(a, b, stride=2) for a, b in zip((inputs, *channels[:-1]), channels, strict=True))


def decoder(channels: tuple[int, ...], dropout: float) -> nn.ModuleList:
    """Return the decoder levels for an ``encoder`` with these channels, from the lowest level to the first."""
    levels = reversed(range(len(channels) - 1))
    return nn.ModuleList(UpBlock(channels[k + 1], channels[k], dropout) for k in levels)


def encode_decode(x: Tensor, down: nn.ModuleList, up: nn.ModuleList) -> tuple[Tensor, Tensor]:
    """Return features of the lowest level (B, channels[-1], H/2**n, W/2**n) and the top (B, channels[0], H/2, W/2)."""
    skips = []
    for block in down:
        x = block(x)
        skips.append(x)
    lowest = skips.pop()
    x = lowest
    for level in up:
        x = level(x, skips.pop())
    return lowest, x


def parameter_count(model: nn.Module) -> int:
    """Return the number of trainable parameters."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
