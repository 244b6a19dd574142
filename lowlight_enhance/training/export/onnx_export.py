"""From a checkpoint to the ONNX file that flies: self-describing, reloaded and compared before it counts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnxscript import opset18
from torch import nn

from lowlight_enhance.core.enhancement.enhancer import Enhancer
from lowlight_enhance.core.errors import ModelError
from lowlight_enhance.core.files import atomic_file, make_folder
from lowlight_enhance.core.inference.model_input import CHANNELS, METADATA_KEY, ModelInput
from lowlight_enhance.core.metadata.capture import CaptureMetadata
from lowlight_enhance.training.engine.validation import as_picture
from lowlight_enhance.training.export.graph_folding import for_runtime
from lowlight_enhance.training.export.reduced_precision import Fidelity, Reduction, write_reduced
from lowlight_enhance.training.networks import infer, load_checkpoint

OPSET, IR_VERSION = 18, 8
"""Together readable by ONNX Runtime 1.17 and later; the exporter itself would stamp the newest IR version."""
TOLERANCE = 1.0 / 255.0
"""Largest difference between the file's output and the checkpoint's, of full scale."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What a written file passed with.

    Attributes:
        difference: largest difference between the float32 file's pictures and the checkpoint's, of full scale.
        fidelity: of the smaller file to the float32 one; None where that was the one to write.
    """

    difference: float
    fidelity: Fidelity | None = None


def export(
    checkpoint: Path,
    target: Path,
    model_input: ModelInput | None = None,
    reduction: Reduction | None = None,
    working_size: int | None = None,
) -> Exported:
    """Write ``target``, an ONNX file.

    Args:
        checkpoint: ``best.pt`` or ``last.pt`` of a training run.
        target: file to write; replaced only when the new one has passed.
        model_input: instead of the checkpoint's own.
        reduction: to a precision below float32.
        working_size: shorter side in pixels of the network's copy, instead of the model input's; 0: the frame's size.

    Raises:
        DataError: not a checkpoint, or frames that cannot be read.
        ModelError: the file differs from the checkpoint by more than 1/255, or loses more than ``reduction`` allows.
    """
    network, its_own, step, *_ = load_checkpoint(checkpoint)
    model_input = model_input or its_own
    if working_size is not None:
        model_input = replace(model_input, working_size=working_size)
    make_folder(target.parent)
    with atomic_file(target) as temporary:
        file = temporary.with_name(".float32.onnx")
        shown = reduction.calibration(model_input) if reduction else None
        ready = for_runtime(network, map(torch.from_numpy, shown) if shown else None)
        write_onnx(ready, model_input, file, {"lowlight_enhance.step": str(step)})
        difference = compare(network, file, model_input)
        if not difference <= TOLERANCE:
            raise ModelError(
                f"{target} not written: its output differs from {checkpoint} by {difference * 255:.2f}/255; "
                "try another torch or onnxruntime version"
            )
        if reduction is None:
            file.replace(temporary)
            return Exported(difference)
        fidelity = write_reduced(file, temporary, reduction)
        fidelity.check(reduction.limits, target)
    return Exported(difference, fidelity)


def write_onnx(model: nn.Module, model_input: ModelInput, file: Path, metadata: dict[str, str]) -> None:
    """ONNX file of ``model`` with dynamic height and width, carrying ``model_input``."""
    m = model_input.size_multiple
    height, width = (torch.export.Dim(name, min=1, max=512) for name in ("height", "width"))
    example = torch.rand(1, CHANNELS, 4 * m, 6 * m)
    with torch.inference_mode():
        content = "picture" if model(example).shape[1] == 3 else "maps"
    torch.onnx.export(
        model,
        (example,),
        str(file),
        input_names=["input"],
        output_names=[content],
        dynamic_shapes=({2: m * height, 3: m * width},),
        opset_version=OPSET,
        custom_translation_table={torch.ops.aten.pixel_unshuffle.default: _pixel_unshuffle},
        external_data=False,
        verbose=False,
    )
    written = onnx.load(str(file))
    written.ir_version = IR_VERSION
    forget_origin(written)
    for key, value in {METADATA_KEY: model_input.to_json(), **metadata}.items():
        written.metadata_props.add(key=key, value=value)
    onnx.checker.check_model(written)
    onnx.save(written, str(file))


def forget_origin(model: onnx.ModelProto) -> None:
    """Take out the lines of source, with the paths of this machine, that torch notes at every node and value."""
    graph = model.graph
    for part in (graph, *graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")


def _pixel_unshuffle(picture: Any, factor: int) -> Any:
    """SpaceToDepth on each channel: in ONNX Runtime a quarter of the time of torch's six-dimensional transposition."""

    def constant(*values: int) -> Any:
        return opset18.Constant(value_ints=values)

    shape = opset18.Shape(picture)
    channels = opset18.Slice(shape, constant(1), constant(2))
    size = opset18.Slice(shape, constant(2), constant(4))
    planes = opset18.Reshape(picture, opset18.Concat(constant(-1, 1), size, axis=0))  # (B C, 1, H, W)
    cells = opset18.SpaceToDepth(planes, blocksize=factor)  # (B C, r^2, H/r, W/r)
    depth = opset18.Mul(channels, constant(factor * factor))
    smaller = opset18.Div(size, constant(factor))
    return opset18.Reshape(cells, opset18.Concat(constant(-1), depth, smaller, axis=0))


def compare(network: nn.Module, file: Path, model_input: ModelInput) -> float:
    """Largest difference of the enhanced pictures, of full scale, over frames of several sizes and captures."""
    enhancer = Enhancer(file, threads=1)
    rng = np.random.default_rng(0)
    worst = 0.0
    for height, width, iso, exposure_s in ((96, 160, 3200.0, 0.01), (130, 75, None, None), (64, 64, 100.0, None)):
        rgb = rng.integers(0, 80, (height, width, 3), dtype=np.uint8)
        capture = CaptureMetadata(iso, exposure_s)
        tensor = model_input.encode(rgb, capture)
        theirs, ours = enhancer.infer(enhancer.encode(rgb, capture)), infer(network, tensor)
        small = torch.from_numpy(tensor[:, :3])
        a, b = (as_picture(torch.from_numpy(output), small).clamp(0.0, 1.0) for output in (theirs, ours))
        worst = max(worst, float((a - b).abs().max()))
    return worst
