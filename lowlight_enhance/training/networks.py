"""Networks from checkpoints, weights files and shipped models, and as an ``Enhance``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from lowlight_enhance.core.enhancement.enhancer import Enhance, decode_maps
from lowlight_enhance.core.enhancement.upsampling import AffineRenderer, Upsampling, render
from lowlight_enhance.core.errors import DataError
from lowlight_enhance.core.inference.model_input import Rgb, Tensor
from lowlight_enhance.core.metadata.capture import CaptureMetadata
from lowlight_enhance.training.distill import DISTILLED_CHECKPOINT
from lowlight_enhance.training.engine import checkpoint
from lowlight_enhance.training.engine.network import Kind, LoadedNetwork
from lowlight_enhance.training.export.onnx_weights import SUFFIX as ONNX_SUFFIX
from lowlight_enhance.training.export.onnx_weights import read_onnx_weights
from lowlight_enhance.training.export.weights import SUFFIX, read_weights
from lowlight_enhance.training.train_student import STUDENT_CHECKPOINT
from lowlight_enhance.training.train_teacher import TEACHER_CHECKPOINT

CHECKPOINT_KINDS: dict[Kind, checkpoint.CheckpointKind[Any, Any]] = {
    "student": STUDENT_CHECKPOINT,
    "distilled student": DISTILLED_CHECKPOINT,
    "teacher": TEACHER_CHECKPOINT,
}


def load_network(path: Path) -> LoadedNetwork:
    """Load the network of a checkpoint, or of a safetensors or float32 ONNX file that ``export`` wrote.

    Raises:
        DataError: it is none of these.
    """
    readers = {SUFFIX: read_weights, ONNX_SUFFIX: read_onnx_weights}
    return readers.get(path.suffix, load_checkpoint)(path)


def load_checkpoint(path: Path) -> LoadedNetwork:
    """Load the network of a checkpoint of ``train-student``, ``distill`` or ``train-teacher``.

    Raises:
        DataError: it is not such a checkpoint.
    """
    saved = checkpoint.load(path)
    for kind, candidate in CHECKPOINT_KINDS.items():
        if candidate.matches(saved):
            network, config, step = candidate.load(path, saved)
            return LoadedNetwork(network, config.model_input, step, kind, path)
    raise DataError(f"{path} holds {' and '.join(saved['about'])}: no network of this package")


@torch.inference_mode()
def infer(network: nn.Module, tensor: Tensor) -> Tensor:
    """Run a network on the CPU on a (1, 5, h, w) tensor."""
    return np.asarray(network(torch.from_numpy(tensor)).numpy(), dtype=np.float32)


def enhance_with(
    loaded: LoadedNetwork, working_size: int | None = None, upsampling: Upsampling = "local_affine"
) -> Enhance:
    """Return an ``Enhance`` that runs the network with PyTorch, and everything else as the runtime does.

    Args:
        loaded: network.
        working_size: replaces that of its model input.
        upsampling: upsampling of the result of the network to full size.
    """
    model_input, renderer = loaded.model_input, AffineRenderer()
    if working_size is not None:
        model_input = replace(model_input, working_size=working_size)

    def enhance(rgb: Rgb, capture: CaptureMetadata) -> NDArray[np.uint8]:
        tensor = model_input.encode(rgb, capture)
        maps = decode_maps(model_input, infer(loaded.network, tensor), tensor, rgb)
        return render(maps, rgb, upsampling, renderer)

    return enhance
