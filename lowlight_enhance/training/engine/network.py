"""A network in training, and one read from a file."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from lowlight_enhance.core.errors import ConfigError
from lowlight_enhance.core.inference.model_input import ModelInput
from lowlight_enhance.training.engine.checkpoint import Stateful, first_difference
from lowlight_enhance.training.engine.fit import to_device
from lowlight_enhance.training.engine.optimization import update_average
from lowlight_enhance.training.models.affine_unet import AffineUNet
from lowlight_enhance.training.models.blocks import parameter_count

Kind = Literal["student", "distilled student", "teacher", "weights"]


class LoadedNetwork(NamedTuple):
    """A network in inference mode: (1, 5, h, w) -> (1, 6, h, w) gain and offset, or (1, 3, h, w) picture.

    Attributes:
        network: network with the weights of the file.
        model_input: how frames and metadata become its input.
        step: training steps done.
        kind: kind of training that wrote the file, or ``weights`` for a safetensors file.
        path: the file.
    """

    network: nn.Module
    model_input: ModelInput
    step: int
    kind: Kind
    path: Path

    @property
    def size_multiple(self) -> int:
        """Height and width of the input must be multiples of this."""
        config: Any = self.network.config
        return int(config.size_multiple)


def check_metadata_encoding(model_input: ModelInput, network: LoadedNetwork) -> None:
    """Check that a run encodes ISO and exposure time as ``network`` was trained to read them.

    Raises:
        ConfigError: they differ.
    """
    for name in ("iso_range", "exposure_range_s", "unknown"):
        ours, theirs = getattr(model_input, name), getattr(network.model_input, name)
        if ours != theirs:
            raise ConfigError(
                f"model_input: {name} is {ours}, but {theirs} in {network.path}; set it to that value, because both "
                "networks must read ISO and exposure time alike"
            )


def start_from(init: LoadedNetwork, network: nn.Module, model_input: ModelInput, out: Path) -> str:
    """Copy the weights of ``init`` into ``network``, unless ``out`` holds a run to continue; return a line about it.

    Raises:
        ConfigError: the networks differ in more than the dropout, which has no weights, or in their metadata encoding.
    """
    if (out / "last.pt").exists():
        return f"continuing {out / 'last.pt'}; {init.path} is not used"
    check_metadata_encoding(model_input, init)
    theirs: Any = init.network.config
    ours: Any = network.config
    if type(theirs) is not type(ours):
        raise ConfigError(f"{init.path} holds another kind of network; set network: kind in --config to that kind")
    if replace(theirs, dropout=ours.dropout) != ours:
        difference = first_difference(theirs, ours)
        raise ConfigError(
            f"the network in {init.path} differs ({difference}); set network in --config to that network"
        )
    network.load_state_dict(init.network.state_dict())
    return f"starting from {init.path}"


class TrainedNetwork:
    """A network in training, its average over time, and its Accelerate wrapper.

    Attributes:
        model: network that is trained.
        averaged: exponential moving average of its weights; None without ``ema_decay``.
        prepared: ``model`` as Accelerate wraps it.
    """

    def __init__(self, network: nn.Module, ema_decay: float, accelerator: Accelerator) -> None:
        # channels_last halves the time of these networks on CPUs. The paper's networks begin with a strided 1x1
        # convolution on 5 channels, whose backward pass corrupts memory in that layout (torch 2.13 on CPUs).
        self._channels_last = isinstance(network, AffineUNet)
        if self._channels_last:
            network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.accelerator, self.ema_decay = accelerator, ema_decay
        self.model = to_device(network, accelerator)
        self.averaged = copy.deepcopy(self.model).eval().requires_grad_(False) if ema_decay else None
        self.prepared: nn.Module = self.model

    def __str__(self) -> str:
        return f"network of {parameter_count(self.model) / 1e6:.2f} M parameters"

    @property
    def result(self) -> nn.Module:
        """The network that is validated and exported."""
        return self.model if self.averaged is None else self.averaged

    def prepare(self, optimizer: torch.optim.Optimizer) -> Any:
        """Wrap network and optimiser with Accelerate, and return the wrapped optimiser."""
        self.prepared, prepared = self.accelerator.prepare(self.model, optimizer)
        return prepared

    def __call__(self, inputs: Tensor) -> Tensor:
        """Run the network on (B, 5, h, w), and return float32."""
        if self._channels_last:
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        output: Tensor = self.prepared(inputs)
        return output.float().contiguous()

    def average(self, step: int) -> None:
        """Update the average after ``step``, counted from 0."""
        if self.averaged is not None:
            update_average(self.averaged, self.model, self.ema_decay, step)

    def state(self, name: str) -> dict[str, Stateful]:
        """Return parts of a checkpoint: the result as ``name``, and with an average also the trained network."""
        if self.averaged is None:
            return {name: self.model}
        return {name: self.averaged, f"{name}_trained": self.model}
