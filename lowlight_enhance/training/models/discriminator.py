"""Discriminators: one score per picture, as in the paper, and optionally one per pixel by a U-Net."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor, nn

from lowlight_enhance.training.config import check_range
from lowlight_enhance.training.models.blocks import decoder, encode_decode, encoder, upsample

Scores = tuple[Tensor, ...]
"""Scores of B pictures, higher is more real: (B, 1), and with ``per_pixel`` also (B, 1, H, W)."""


@dataclass(frozen=True, slots=True)
class DiscriminatorConfig:
    """Size of a discriminator; the default is the paper's.

    Attributes:
        channels: width of each level; level k works at 1 / 2**(k + 1) of the input's size.
        per_pixel: also score every pixel, by a decoder (Schönfeld et al. 2020).
    """

    channels: tuple[int, ...] = (64, 128, 256, 512)
    per_pixel: bool = False

    def __post_init__(self) -> None:
        check_range(self, 1, math.inf, "channels")


class Discriminator(nn.Module):
    """(B, 3, H, W) picture in 0..1 -> Scores; H and W are multiples of 2**levels.

    ResBlocks as in the teacher, then the mean over all positions and a linear score: 4.9 M parameters in the size of
    the paper. With ``per_pixel`` a decoder as in the teacher upsamples the lowest level to a score for each pixel,
    after Schönfeld et al. 2020, "A U-Net Based Discriminator for GANs", without its CutMix consistency loss.
    """

    def __init__(self, config: DiscriminatorConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or DiscriminatorConfig()
        self.encoder = encoder(3, config.channels)
        self.score = nn.Linear(config.channels[-1], 1)
        self.decoder = decoder(config.channels, dropout=0.0) if config.per_pixel else None
        self.pixel_score = nn.Conv2d(config.channels[0], 1, 3, padding=1) if config.per_pixel else None

    def forward(self, x: Tensor) -> Scores:
        if self.decoder is None or self.pixel_score is None:
            for block in self.encoder:
                x = block(x)
            return (self.score(x.mean((2, 3))),)
        lowest, x = encode_decode(x, self.encoder, self.decoder)
        return self.score(lowest.mean((2, 3))), self.pixel_score(upsample(x))
