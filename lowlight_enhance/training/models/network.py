"""Configuration of the network that a run trains."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from torch import nn

from lowlight_enhance.training.models.affine_unet import AffineUNet, AffineUNetConfig
from lowlight_enhance.training.models.teacher import Teacher, TeacherConfig


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """A network and its size.

    Attributes:
        kind: ``paper``: the U-Net of the paper, whose output is a picture; ``affine``: the network that ships, whose
            output is gain and offset maps that are applied to the full-size frame.
        paper: size of the U-Net of the paper.
        affine: size of the network that ships.
    """

    kind: Literal["paper", "affine"] = "paper"
    paper: TeacherConfig = field(default_factory=TeacherConfig)
    affine: AffineUNetConfig = field(default_factory=AffineUNetConfig)

    @property
    def size_multiple(self) -> int:
        """Height and width of the input must be multiples of this."""
        return self.paper.size_multiple if self.kind == "paper" else self.affine.size_multiple

    def build(self) -> nn.Module:
        """Return the network with random weights."""
        return Teacher(self.paper) if self.kind == "paper" else AffineUNet(self.affine)


def network_config(network: nn.Module) -> NetworkConfig:
    """Return the configuration of a network that ``NetworkConfig.build`` made."""
    config: Any = network.config
    if isinstance(network, AffineUNet):
        return NetworkConfig("affine", affine=config)
    return NetworkConfig("paper", paper=config)
