"""The teacher of the paper, an attention-gated residual U-Net, and the size of the student of the paper.

Design after M. Alegredo, "Low-Light Image Reconstruction for Computationally Limited Systems": encoder levels are
ResBlocks of two 3x3 convolutions (He et al. 2016), the first strided by 2; decoder levels are bilinear upsampling and
convolution, with dropout; each skip passes a concatenative attention gate with a bottleneck of half the channels
(after Oktay et al. 2018) and is concatenated with the decoder's features, doubling their channels.

The paper gives 512 channels for the second-to-last level and 38.1 M parameters in all. Widths that double up to there
and two convolutions after each concatenation are usual for such networks. The width of the last level is ours, chosen
so that the total is that of the paper.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lowlight_enhance.core.inference.model_input import CHANNELS
from lowlight_enhance.training.config import check_range
from lowlight_enhance.training.models.blocks import conv, decoder, encode_decode, encoder, upsample


@dataclass(frozen=True, slots=True)
class TeacherConfig:
    """Size of the teacher; the default is the paper's.

    Attributes:
        channels: width of each encoder level; level k works at 1 / 2**(k + 1) of the input's size.
        head: width of the convolution at full size.
        dropout: share of decoder channels dropped in training.
    """

    channels: tuple[int, ...] = (64, 128, 256, 512, 1104)
    head: int = 32
    dropout: float = 0.1

    def __post_init__(self) -> None:
        check_range(self, 1, math.inf, "channels", "head")
        check_range(self, 0.0, 1.0, "dropout")

    @property
    def size_multiple(self) -> int:
        """Height and width of the input must be multiples of this."""
        return int(2 ** len(self.channels))


PAPER_STUDENT = TeacherConfig(channels=(32, 64, 128, 280), head=16)
"""The paper's student: one level fewer, half the width; 2.4 M parameters."""


class Teacher(nn.Module):
    """(B, 5, H, W) ModelInput tensor -> (B, 3, H, W) picture in 0..1.

    H and W are multiples of ``config.size_multiple``.
    """

    def __init__(self, config: TeacherConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or TeacherConfig()
        self.encoder = encoder(CHANNELS, config.channels)
        self.decoder = decoder(config.channels, config.dropout)
        self.head = conv(config.channels[0], config.head)
        self.out = nn.Conv2d(config.head, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        _, x = encode_decode(x, self.encoder, self.decoder)  # (B, channels[0], H/2, W/2)
        x = F.relu(self.head(upsample(x)))  # (B, head, H, W)
        return torch.sigmoid(self.out(x))
