"""Write float16 and int8 ONNX files, and measure on real frames what they lose against the float32 file.

int8 is for CPUs. float16 is for GPUs, and halves the file size; on CPUs ONNX Runtime computes most of it in float32.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from onnxruntime.transformers.float16 import convert_float_to_float16
from onnxruntime.transformers.onnx_model import OnnxModel

from lowlight_enhance.core.enhancement.enhancer import Enhance, Enhancer
from lowlight_enhance.core.errors import ConfigError, ModelError
from lowlight_enhance.core.inference.model_input import ModelInput, Tensor
from lowlight_enhance.core.scratch import tempfile_default, temporary_folder
from lowlight_enhance.evaluation.metrics import psnr_db
from lowlight_enhance.training.data.pictures import LazySequence
from lowlight_enhance.training.export.calibration import CalibrationFrame, network_inputs, spread

Precision = Literal["fp16", "int8"]

PRECISION_KEY = "lowlight_enhance.precision"
"""Key of the precision in the metadata of an ONNX file."""

INT8_OPERATORS = ["Conv", "Concat", "Relu", "Resize", "Mul", "Sigmoid", "Add"]
"""Operators that are computed in int8. With convolutions alone, data is converted to float32 and back between them."""

MAX_FRAMES = 32
"""Frames that calibrate and measure; longer lists are thinned evenly."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Largest loss of a file of reduced precision.

    Attributes:
        min_psnr_db: least mean PSNR between its pictures and those of the float32 file.
        max_loss_db: largest fall of the mean PSNR against references.
    """

    min_psnr_db: float = 40.0
    max_loss_db: float = 0.25


@dataclass(frozen=True, slots=True)
class Reduction:
    """Settings of a file of reduced precision.

    Attributes:
        precision: of the file.
        frames: frames like those of the robot, at least one. They calibrate int8 and measure the loss.
        limits: largest loss.
        float_tail: int8: number of convolutions at the end that stay in float32, at least 1.
    """

    precision: Precision
    frames: Sequence[CalibrationFrame]
    limits: Limits = Limits()
    float_tail: int = 1

    def __post_init__(self) -> None:
        if self.float_tail < 1:
            raise ConfigError(f"float tail {self.float_tail}: the last convolution cannot be int8, give 1 or more")

    @property
    def chosen_frames(self) -> Sequence[CalibrationFrame]:
        """At most ``MAX_FRAMES`` of the frames, at even distances, each loaded when it is used."""
        places = spread(range(len(self.frames)), MAX_FRAMES)
        return LazySequence(places, self.frames.__getitem__)

    def network_inputs(self, model_input: ModelInput) -> Iterator[Tensor] | None:
        """Return the (1, 5, h, w) network inputs that calibrate int8; None for another precision."""
        return network_inputs(model_input, self.chosen_frames) if self.precision == "int8" else None


@dataclass(frozen=True, slots=True)
class Fidelity:
    """Loss of a file of reduced precision, as means over frames.

    Attributes:
        frames: number of frames.
        psnr_db: PSNR between its pictures and those of the float32 file.
        loss_db: PSNR of the float32 file against the references minus its own; None without references.
    """

    frames: int
    psnr_db: float
    loss_db: float | None

    def __str__(self) -> str:
        loss = "" if self.loss_db is None else f", {self.loss_db:+.3f} dB lost against the references"
        return f"{self.psnr_db:.1f} dB PSNR to the float32 file's pictures{loss}; {self.frames} frames"

    def check(self, limits: Limits, target: Path) -> None:
        """Raise ModelError if the loss is larger than ``limits``."""
        if not self.psnr_db >= limits.min_psnr_db:
            reason = f"less than {limits.min_psnr_db:g} dB (--min-psnr)"
        elif self.loss_db is not None and self.loss_db > limits.max_loss_db:
            reason = f"more than {limits.max_loss_db:g} dB lost (--max-loss)"
        else:
            return
        raise ModelError(
            f"{target} not written: {self}, {reason}; calibrate on frames like those of the robot, or export fp32"
        )


def write_reduced(source: Path, target: Path, reduction: Reduction) -> Fidelity:
    """Write the float32 file ``source`` in another precision.

    Inputs and outputs stay float32, height and width dynamic, and all metadata is kept.

    Returns:
        The loss. The limits are not applied.

    Raises:
        DataError: a frame cannot be read.
    """
    full = Enhancer(source, threads=1)
    if tensors := reduction.network_inputs(full.model_input):
        write_int8(source, target, tensors, reduction.float_tail)
    else:
        write_fp16(source, target)
    written, original = onnx.load(str(target)), onnx.load(str(source))
    written.ir_version = original.ir_version
    used = {node.domain for node in written.graph.node}  # the quantiser imports every domain that it knows
    domains = [opset for opset in written.opset_import if opset.domain in used]
    del written.opset_import[:]
    written.opset_import.extend(domains)
    metadata = {entry.key: entry.value for entry in original.metadata_props}
    onnx.helper.set_model_props(written, {**metadata, PRECISION_KEY: reduction.precision})
    onnx.checker.check_model(written)
    onnx.save(written, str(target))
    return measure(full, Enhancer(target, threads=1), reduction.chosen_frames)


def write_fp16(source: Path, target: Path) -> None:
    """Convert weights and arithmetic to float16."""
    model = onnx.load(str(source))
    _unshare_scales(model)
    converted = OnnxModel(convert_float_to_float16(model, keep_io_types=True))
    converted.topological_sort()  # the converter appends its casts
    onnx.save(converted.model, str(target))


def _unshare_scales(model: onnx.ModelProto) -> None:
    """Give each Resize its own scales: the converter gives the casts of shared ones the same name."""
    constants = {constant.name: constant for constant in model.graph.initializer}
    for number, node in enumerate(model.graph.node):
        if node.op_type == "Resize" and len(node.input) > 2 and node.input[2] in constants:
            own = onnx.TensorProto()
            own.CopyFrom(constants[node.input[2]])
            own.name = node.input[2] = f"{own.name}_of_{number}"
            model.graph.initializer.append(own)


def write_int8(source: Path, target: Path, tensors: Iterator[Tensor], float_tail: int = 1) -> None:
    """Quantise everything between the first and the last convolution: unsigned activations, signed weights.

    The part before the first convolution reads the fine steps of the picture, and the last convolution makes the
    gains and offsets of the enhanced picture: both stay in float32. In a narrow network the last but one matters as
    much. Weights have one scale per output channel and use 7 bits, because CPUs without VNNI saturate sums of two
    8-bit products.

    Args:
        source: float32 file.
        target: file to write.
        tensors: network inputs that show the range of every activation.
        float_tail: number of convolutions at the end that stay in float32.
    """
    with temporary_folder() as folder, tempfile_default(folder):  # ONNX Runtime keeps temporary files too
        prepared = folder / "prepared.onnx"
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared),
            str(target),
            CalibrationTensors(tensors),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=INT8_OPERATORS,
            nodes_to_exclude=_float_nodes(onnx.load(str(prepared)), float_tail),
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )


def _float_nodes(model: onnx.ModelProto, float_tail: int) -> list[str]:
    """Return the names of the nodes before the first convolution, and from the first of the last ``float_tail`` on.

    The tail includes what follows the last convolution: the gain of a dark frame is large, and its steps would show.
    """
    nodes = list(model.graph.node)
    places = [place for place, node in enumerate(nodes) if node.op_type == "Conv"]
    if float_tail > len(places):
        raise ConfigError(f"float tail {float_tail}: the network has only {len(places)} convolutions")
    return [node.name for node in [*nodes[: places[0]], *nodes[places[-float_tail] :]]]


class CalibrationTensors:
    """Data reader for the calibration of ONNX Runtime."""

    def __init__(self, tensors: Iterator[Tensor]) -> None:
        self.tensors = tensors

    def get_next(self) -> dict[str, Tensor] | None:
        """Return the next input by name, or None at the end."""
        tensor = next(self.tensors, None)
        return None if tensor is None else {"input": tensor}


def measure(full: Enhance, reduced: Enhance, frames: Iterable[CalibrationFrame]) -> Fidelity:
    """Compare the pictures of two models with each other, and with the references where there are any."""
    similarity: list[float] = []
    losses: list[float] = []
    for frame in frames:
        a, b = full(frame.rgb, frame.capture), reduced(frame.rgb, frame.capture)
        similarity.append(psnr_db(a, b))
        if frame.reference is not None:
            losses.append(psnr_db(a, frame.reference) - psnr_db(b, frame.reference))
    return Fidelity(len(similarity), float(np.mean(similarity)), float(np.mean(losses)) if losses else None)
