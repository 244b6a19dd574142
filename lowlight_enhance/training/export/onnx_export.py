"""Export a checkpoint as an ONNX file that carries its ``ModelInput`` and is compared with the checkpoint."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator
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
from lowlight_enhance.core.scratch import tempfile_default
from lowlight_enhance.training.engine.network import LoadedNetwork
from lowlight_enhance.training.engine.validation import apply_output
from lowlight_enhance.training.export.graph_folding import optimize_for_runtime
from lowlight_enhance.training.export.onnx_weights import STEP_KEY
from lowlight_enhance.training.export.reduced_precision import Fidelity, Reduction, write_reduced
from lowlight_enhance.training.networks import infer, load_network

OPSET, IR_VERSION = 18, 8
"""Readable by ONNX Runtime 1.17 and later. The exporter would write the newest IR version, which is not."""

TOLERANCE = 1.0 / 255.0
"""Largest difference between the pictures of the file and of the checkpoint, of full scale."""


@dataclass(frozen=True, slots=True)
class Exported:
    """Measured quality of a written file.

    Attributes:
        difference: largest difference between the pictures of the float32 file and of the checkpoint, of full scale.
        fidelity: loss of the file of reduced precision against the float32 file; None for a float32 file.
    """

    difference: float
    fidelity: Fidelity | None = None


def export(
    source: Path | LoadedNetwork,
    target: Path,
    model_input: ModelInput | None = None,
    reduction: Reduction | None = None,
    working_size: int | None = None,
) -> Exported:
    """Write an ONNX file.

    Args:
        source: checkpoint or weights file, or the network of one.
        target: file to write; it is replaced only when the new one has passed all checks.
        model_input: replaces that of the source.
        reduction: to a precision below float32.
        working_size: shorter side in pixels of the network's copy, replaces that of the model input; 0: the size of
            the frame.

    Raises:
        DataError: ``source`` or a frame cannot be read, or ``target`` cannot be written.
        ModelError: the file differs from the checkpoint by more than 1/255, or loses more than ``reduction`` allows.
    """
    loaded = load_network(source) if isinstance(source, Path) else source
    model_input = model_input or loaded.model_input
    if working_size is not None:
        model_input = replace(model_input, working_size=working_size)
    make_folder(target.parent)
    with atomic_file(target) as temporary:
        file = temporary.with_name(".float32.onnx")
        inputs = reduction.network_inputs(model_input) if reduction else None
        network = optimize_for_runtime(loaded.network, map(torch.from_numpy, inputs) if inputs else None)
        # tempfile_default: the next export removes the temporary files of a killed one.
        with tempfile_default(file.parent), _quiet_exporter():
            write_onnx(network, model_input, file, {STEP_KEY: str(loaded.step)})
        difference = compare(loaded.network, file, model_input)
        if not difference <= TOLERANCE:
            raise ModelError(
                f"{target} not written: its output differs from {loaded.path} by {difference * 255:.2f}/255; "
                "try another torch or onnxruntime version"
            )
        if reduction is None:
            file.replace(temporary)
            return Exported(difference)
        fidelity = write_reduced(file, temporary, reduction)
        fidelity.check(reduction.limits, target)
    return Exported(difference, fidelity)


@contextlib.contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Hide messages of the exporter that users can ignore: missing torchvision operators, and its own deprecations."""
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=FutureWarning, module="copyreg")
            yield
    finally:
        logger.setLevel(level)


def write_onnx(model: nn.Module, model_input: ModelInput, file: Path, metadata: dict[str, str]) -> None:
    """Write a network with dynamic height and width, with ``model_input`` and ``metadata`` in the file."""
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
    strip_source_locations(written)
    for key, value in {METADATA_KEY: model_input.to_json(), **metadata}.items():
        written.metadata_props.add(key=key, value=value)
    onnx.checker.check_model(written)
    onnx.save(written, str(file))


def strip_source_locations(model: onnx.ModelProto) -> None:
    """Remove the source lines, with paths of this machine, that torch writes at every node and value."""
    graph = model.graph
    for part in (graph, *graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")


def _pixel_unshuffle(picture: Any, factor: int) -> Any:
    """Pixel-unshuffle as SpaceToDepth of each channel.

    In ONNX Runtime it takes a quarter of the time of torch's transposition in six dimensions.
    """

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
    """Return the largest difference between the pictures of a network and of its file, of full scale.

    Frames of several sizes, with and without capture metadata, are compared.
    """
    enhancer = Enhancer(file, threads=1)
    rng = np.random.default_rng(0)
    worst = 0.0
    for height, width, iso, exposure_s in ((96, 160, 3200.0, 0.01), (130, 75, None, None), (64, 64, 100.0, None)):
        rgb = rng.integers(0, 80, (height, width, 3), dtype=np.uint8)
        capture = CaptureMetadata(iso, exposure_s)
        tensor = model_input.encode(rgb, capture)
        outputs = enhancer.infer(enhancer.encode(rgb, capture)), infer(network, tensor)
        small = torch.from_numpy(tensor[:, :3])
        a, b = (apply_output(torch.from_numpy(output), small).clamp(0.0, 1.0) for output in outputs)
        worst = max(worst, float((a - b).abs().max()))
    return worst
