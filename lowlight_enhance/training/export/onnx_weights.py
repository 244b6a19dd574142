"""Weights of a float32 ONNX file, from which users fine-tune a model that ships.

``onnx_export`` folds each batch normalisation into its convolution and keeps the names of the layers. The network that
is read here has normalisations that change nothing, so it must be trained with frozen batch statistics
(``fit: {freeze_norm: 1.0}``).
"""

from __future__ import annotations

import math
from pathlib import Path

import onnx
import torch
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import numpy_helper
from torch import Tensor, nn

from lowlight_enhance.core.errors import DataError, LowlightError
from lowlight_enhance.core.inference.model_file import read_model
from lowlight_enhance.core.inference.model_input import METADATA_KEY, ModelInput
from lowlight_enhance.training.engine.checkpoint import load_weights
from lowlight_enhance.training.engine.network import LoadedNetwork
from lowlight_enhance.training.models.affine_unet import AffineUNet, AffineUNetConfig

STEP_KEY = "lowlight_enhance.step"
"""Key of the training step in the metadata of an ONNX file."""

SUFFIX = ".onnx"

Weights = dict[str, Tensor]


def read_onnx_weights(path: Path) -> LoadedNetwork:
    """Read the network of a float32 file that ``onnx_export`` wrote, in inference mode.

    A file of a version whose network did not see white levels is read, too: its weights for them are 0.

    Raises:
        DataError: the file cannot be read, or is not such a file.
    """
    try:
        file = read_model(path)
        model = onnx.load_model_from_string(file.content)
        model_input, step = ModelInput.from_json(file.metadata[METADATA_KEY]), int(file.metadata.get(STEP_KEY, 0))
        found = {item.name: torch.from_numpy(numpy_helper.to_array(item).copy()) for item in model.graph.initializer}
        last = [node for node in model.graph.node if node.op_type == "Conv"][-1]
        weight, bias = (found[name] for name in last.input[1:3])
        network = AffineUNet(_configuration(found, weight))
        state = _unfolded(network, found, weight, bias)
        if any(value.dtype == torch.float16 for value in state.values()):
            raise TypeError("its weights are float16")
    except (DecodeError, LookupError, ValueError, TypeError, RuntimeError, LowlightError) as error:
        raise DataError(
            f"{path} is not a float32 ONNX file of a student of this package ({error!r}); int8 and float16 files "
            "cannot be trained"
        ) from error
    return LoadedNetwork(load_weights(network, state, path), model_input, step, "weights", path)


def _configuration(found: Weights, last: Tensor) -> AffineUNetConfig:
    """Return the size of the network from the shapes of its weights; ``last`` are those of the last convolution."""
    levels = sum(name.startswith("encoder.") and name.endswith(".first.weight") for name in found)
    channels = tuple(found[f"encoder.{level}.first.weight"].shape[0] for level in range(levels))
    return AffineUNetConfig(math.isqrt(last.shape[0] // 6), channels, last.shape[1])


def _unfolded(network: AffineUNet, found: Weights, weight: Tensor, bias: Tensor) -> Weights:
    """Return the state of ``network`` with these weights."""
    state = network.state_dict()
    state["out.weight"] = weight / network.scale[:, None, None, None]
    state["out.bias"] = (bias - network.shift) / network.scale
    for name, module in network.named_modules():
        if isinstance(module, nn.Sequential) and len(module) == 2 and isinstance(module[1], nn.BatchNorm2d):
            norm = module[1]
            state[f"{name}.0.weight"] = _padded(found[f"{name}.weight"], state[f"{name}.0.weight"])
            state[f"{name}.1.weight"] = torch.full_like(norm.weight, math.sqrt(1.0 + norm.eps))
            state[f"{name}.1.bias"] = found[f"{name}.bias"]
        elif isinstance(module, nn.Conv2d) and f"{name}.weight" in found:
            state[f"{name}.weight"], state[f"{name}.bias"] = found[f"{name}.weight"], found[f"{name}.bias"]
    return state


def _padded(weight: Tensor, like: Tensor) -> Tensor:
    """Return ``weight`` with zeros for the last input channels that it lacks."""
    missing = like.shape[1] - weight.shape[1]
    return torch.cat((weight, weight.new_zeros(len(weight), missing, *weight.shape[2:])), 1) if missing > 0 else weight
