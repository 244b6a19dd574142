"""From a student's checkpoint to the ONNX file that flies: self-describing, reloaded and compared before it counts."""

from __future__ import annotations

import copy
import tempfile
from pathlib import Path
from pickle import UnpicklingError

import numpy as np
import onnx
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from lowlight_enhance.core.capture import CaptureMetadata
from lowlight_enhance.core.enhancer import Enhancer
from lowlight_enhance.core.errors import ConfigError, DataError, ModelError
from lowlight_enhance.core.model_input import CHANNELS, METADATA_KEY, ModelInput
from lowlight_enhance.training.config import build
from lowlight_enhance.training.student import Student
from lowlight_enhance.training.train import TrainStudentConfig

OPSET = 18
TOLERANCE = 1.0 / 255.0
"""Largest difference between the file's output and the checkpoint's, of full scale."""


def load_student(checkpoint: Path) -> tuple[Student, TrainStudentConfig, int]:
    """The averaged student of a checkpoint that ``fit`` wrote, the settings of its run and its step.

    Raises:
        DataError: not such a checkpoint.
    """
    try:
        saved = torch.load(checkpoint, map_location="cpu", weights_only=True)
        config = build(TrainStudentConfig, saved["about"]["TrainStudentConfig"], str(checkpoint))
        model = Student(config.student)
        model.load_state_dict(saved["averaged"])
    except (OSError, KeyError, TypeError, RuntimeError, ValueError, UnpicklingError, ConfigError) as error:
        raise DataError(f"{checkpoint} is not a checkpoint of 'lowlight train-student' ({error})") from error
    return model.eval(), config, int(saved["step"])


def export(checkpoint: Path, target: Path, model_input: ModelInput | None = None) -> float:
    """Write ``target``; returns the largest difference between it and the checkpoint on test frames, of full scale.

    Args:
        checkpoint: ``best.pt`` or ``last.pt`` of a training run.
        target: ONNX file to write; replaced only when the new one has passed.
        model_input: instead of the checkpoint's own, e.g. with another working size.

    Raises:
        DataError: not a checkpoint.
        ModelError: the file differs from the checkpoint by more than 1/255.
    """
    model, config, step = load_student(checkpoint)
    model_input = model_input or config.model_input
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        file = Path(folder) / target.name
        write_onnx(fold_normalisation(model), model_input, file, {"lowlight_enhance.step": str(step)})
        difference = compare(model, file, model_input)
        if difference > TOLERANCE:
            raise ModelError(
                f"{target} not written: its output differs from {checkpoint} by {difference * 255:.2f}/255; "
                "try another torch or onnxruntime version"
            )
        file.replace(target)
    return difference


def fold_normalisation(model: nn.Module) -> nn.Module:
    """A copy whose pairs of convolution and batch normalisation are single convolutions."""
    folded = copy.deepcopy(model).eval()
    for module in list(folded.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Sequential) and len(child) == 2 and isinstance(child[1], nn.BatchNorm2d):
                setattr(module, name, fuse_conv_bn_eval(child[0], child[1]))  # type: ignore[type-var]
    return folded


def write_onnx(model: nn.Module, model_input: ModelInput, file: Path, metadata: dict[str, str]) -> None:
    """ONNX file of ``model`` with dynamic height and width, carrying ``model_input``."""
    m = model_input.size_multiple
    height, width = (torch.export.Dim(name, min=1, max=512) for name in ("height", "width"))
    torch.onnx.export(
        model,
        (torch.rand(1, CHANNELS, 4 * m, 6 * m),),
        str(file),
        input_names=["input"],
        output_names=["maps"],
        dynamic_shapes=({2: m * height, 3: m * width},),
        opset_version=OPSET,
        external_data=False,
        verbose=False,
    )
    content = onnx.load(str(file))
    for key, value in {METADATA_KEY: model_input.to_json(), **metadata}.items():
        content.metadata_props.add(key=key, value=value)
    onnx.checker.check_model(content)
    onnx.save(content, str(file))


@torch.inference_mode()
def compare(model: nn.Module, file: Path, model_input: ModelInput) -> float:
    """Largest difference of the enhanced pictures, of full scale, over frames of several sizes and captures."""
    enhancer = Enhancer(file, threads=1)
    rng = np.random.default_rng(0)
    worst = 0.0
    for height, width, iso, exposure_s in ((96, 160, 3200.0, 0.01), (130, 75, None, None), (64, 64, 100.0, None)):
        rgb = rng.integers(0, 80, (height, width, 3), dtype=np.uint8)
        tensor = model_input.encode(rgb, CaptureMetadata(iso, exposure_s))
        theirs, ours = torch.from_numpy(enhancer.infer(tensor)), model(torch.from_numpy(tensor))
        picture = torch.from_numpy(tensor[:, :3])
        a, b = ((m[:, :3] * picture + m[:, 3:]).clamp(0.0, 1.0) for m in (theirs, ours))
        worst = max(worst, float((a - b).abs().max()))
    return worst
