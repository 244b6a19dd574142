"""Any checkpoint of this package as a network that runs, and as an ``Enhance``."""

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
from lowlight_enhance.training.distill import DISTILLED_STUDENT
from lowlight_enhance.training.engine import checkpoint
from lowlight_enhance.training.engine.network import Kind, LoadedNetwork
from lowlight_enhance.training.train_student import TRAINED_STUDENT
from lowlight_enhance.training.train_teacher import TRAINED_TEACHER

TRAINED: dict[Kind, checkpoint.Trained[Any, Any]] = {
    "student": TRAINED_STUDENT,
    "distilled student": DISTILLED_STUDENT,
    "teacher": TRAINED_TEACHER,
}


def load_checkpoint(path: Path) -> LoadedNetwork:
    """The network of a checkpoint of ``train-student``, ``distill`` or ``train-teacher``.

    Raises:
        DataError: not such a checkpoint.
    """
    saved = checkpoint.load(path)
    for kind, trained in TRAINED.items():
        if trained.wrote(saved):
            network, config, step = trained.load(path, saved)
            return LoadedNetwork(network, config.model_input, step, kind, path)
    raise DataError(f"{path} holds {' and '.join(saved['about'])}: no network of this package")


@torch.inference_mode()
def infer(network: nn.Module, tensor: Tensor) -> Tensor:
    """The network's output on a (1, 5, h, w) tensor, both on the CPU."""
    return np.asarray(network(torch.from_numpy(tensor)).numpy(), dtype=np.float32)


def enhance_by(
    loaded: LoadedNetwork, working_size: int | None = None, upsampling: Upsampling = "local_affine"
) -> Enhance:
    """An ``Enhance`` run by torch; the way to the network and back is the robot's own.

    Args:
        loaded: of ``load_checkpoint``.
        working_size: instead of the checkpoint's own.
        upsampling: way from the small result to the full size.
    """
    model_input, renderer = loaded.model_input, AffineRenderer()
    if working_size is not None:
        model_input = replace(model_input, working_size=working_size)

    def enhance(rgb: Rgb, capture: CaptureMetadata) -> NDArray[np.uint8]:
        tensor = model_input.encode(rgb, capture)
        maps = decode_maps(model_input, infer(loaded.network, tensor), tensor, rgb)
        return render(maps, rgb, upsampling, renderer)

    return enhance
