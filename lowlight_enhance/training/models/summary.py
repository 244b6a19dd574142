"""Parameters, memory and arithmetic of the networks: the paper's Table 4."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from lowlight_enhance.core.errors import ConfigError
from lowlight_enhance.core.inference.model_input import CHANNELS
from lowlight_enhance.training.models.affine_unet import AffineUNet
from lowlight_enhance.training.models.blocks import parameter_count
from lowlight_enhance.training.models.discriminator import Discriminator, DiscriminatorConfig
from lowlight_enhance.training.models.teacher import PAPER_STUDENT, Teacher


@dataclass(frozen=True, slots=True)
class Summary:
    """One network.

    Attributes:
        name: name in the output of the command.
        parameters: number of trainable parameters.
        megabytes: size of these in float32; 1 MB = 1e6 bytes.
        size: height and width in pixels of the input for ``gmacs``.
        gmacs: 1e9 multiply-accumulate operations of convolutions and matrix products, for one picture.
    """

    name: str
    parameters: int
    megabytes: float
    size: int
    gmacs: float


SIZE_MULTIPLE = 32
"""Height and width of the input of every network are multiples of this."""

PRESETS: tuple[tuple[str, Callable[[], nn.Module], int, int], ...] = (
    ("teacher", Teacher, CHANNELS, 256),
    ("discriminator", Discriminator, 3, 256),
    ("discriminator, per pixel", lambda: Discriminator(DiscriminatorConfig(per_pixel=True)), 3, 256),
    ("student, as in the paper", lambda: Teacher(PAPER_STUDENT), CHANNELS, 128),
    ("student, as shipped", AffineUNet, CHANNELS, 128),
)
"""(name, network, channels of its input, size in pixels of its training in the paper)."""


def summarise(name: str, make: Callable[[], nn.Module], channels: int, size: int) -> Summary:
    """Count on the meta device of torch, without arithmetic.

    Raises:
        ConfigError: ``size`` cannot be halved as often as the networks do.
    """
    if size % SIZE_MULTIPLE:
        raise ConfigError(f"size {size}: the networks halve it five times; take a multiple of {SIZE_MULTIPLE}")
    with torch.device("meta"):
        model = make().eval()
        picture = torch.empty(1, channels, size, size)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        model(picture)
    count = parameter_count(model)
    return Summary(name, count, 4e-6 * count, size, counter.get_total_flops() / 2e9)


def table(size: int | None = None) -> list[str]:
    """Return a header and a line for each preset, at ``size`` or else the sizes of the paper."""
    lines = [f"{'network':<26} {'parameters':>11} {'fp32':>9}   {'input':>9} {'GMACs':>7}"]
    for name, make, channels, usual in PRESETS:
        s = summarise(name, make, channels, size or usual)
        lines.append(
            f"{s.name:<26} {s.parameters / 1e6:>9.2f} M {s.megabytes:>6.1f} MB   "
            f"{f'{s.size}x{s.size}':>9} {s.gmacs:>7.2f}"
        )
    return lines
