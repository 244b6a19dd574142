"""Smaller, faster ONNX files, float16 and int8, measured on real frames against the float32 file they come from.

int8 is for CPUs. float16 is for GPUs, and for half the file size: on CPUs ONNX Runtime computes most of it in float32.
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
from lowlight_enhance.core.metadata.capture import UNKNOWN, CaptureMetadata
from lowlight_enhance.core.scratch import tempfile_default, temporary_folder
from lowlight_enhance.evaluation.metrics import psnr_db
from lowlight_enhance.training.data.manifest import Shot
from lowlight_enhance.training.data.pictures import load_rgb

Precision = Literal["fp16", "int8"]

PRECISION_KEY = "lowlight_enhance.precision"

INT8_OPERATORS = ["Conv", "Concat", "Relu", "Resize", "Mul", "Sigmoid", "Add"]
"""What is computed in int8. With the convolutions alone, their results go to float32 and back between any two."""

MOST_SHOTS = 32
"""Frames that calibrate and measure; of a longer list, as many at even distances."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a smaller file may lose.

    Attributes:
        min_psnr_db: least mean PSNR between its pictures and the float32 file's.
        max_loss_db: most that the mean PSNR against references may fall.
    """

    min_psnr_db: float = 40.0
    max_loss_db: float = 0.25


@dataclass(frozen=True, slots=True)
class Reduction:
    """To which precision, by which frames, and what that may lose.

    Attributes:
        precision: of the file to write.
        shots: frames like those of the robot, which calibrate int8 and measure what is lost; at least one.
        limits: what may be lost.
        float_tail: of int8, how many convolutions at the end stay in float32, at least the last one.
    """

    precision: Precision
    shots: Sequence[Shot]
    limits: Limits = Limits()
    float_tail: int = 1

    def __post_init__(self) -> None:
        if self.float_tail < 1:
            raise ConfigError(f"float tail {self.float_tail}: the last convolution cannot be int8, give 1 or more")

    @property
    def chosen(self) -> list[Shot]:
        """At most ``MOST_SHOTS`` of the shots, at even distances."""
        count = min(len(self.shots), MOST_SHOTS)
        return [self.shots[i * len(self.shots) // count] for i in range(count)]

    def calibration(self, model_input: ModelInput) -> Iterator[Tensor] | None:
        """(1, 5, h, w) network inputs that show int8 the range of every activation; None for another precision."""
        return calibration(model_input, self.chosen) if self.precision == "int8" else None


@dataclass(frozen=True, slots=True)
class Fidelity:
    """What a smaller file has lost: means over frames.

    Attributes:
        frames: how many.
        psnr_db: between its pictures and the float32 file's.
        loss_db: float32's PSNR against the references minus its own; None without references.
    """

    frames: int
    psnr_db: float
    loss_db: float | None

    def __str__(self) -> str:
        loss = "" if self.loss_db is None else f", {self.loss_db:+.3f} dB lost against the references"
        return f"{self.psnr_db:.1f} dB PSNR to the float32 file's pictures{loss}; {self.frames} frames"

    def check(self, limits: Limits, target: Path) -> None:
        """Raise ModelError where ``limits`` are not kept."""
        if not self.psnr_db >= limits.min_psnr_db:
            broken = f"less than {limits.min_psnr_db:g} dB (--min-psnr)"
        elif self.loss_db is not None and self.loss_db > limits.max_loss_db:
            broken = f"more than {limits.max_loss_db:g} dB lost (--max-loss)"
        else:
            return
        raise ModelError(
            f"{target} not written: {self}, {broken}; calibrate on frames like those of the robot, or export fp32"
        )


def write_reduced(source: Path, target: Path, reduction: Reduction) -> Fidelity:
    """Write the float32 file ``source`` in another precision; returns what that loses, limits not applied.

    Inputs and outputs stay float32, height and width dynamic, and all metadata is kept.

    Raises:
        DataError: a picture that cannot be read.
    """
    full = Enhancer(source, threads=1)
    if tensors := reduction.calibration(full.model_input):
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
    return measure(full, Enhancer(target, threads=1), reduction.chosen)


def write_fp16(source: Path, target: Path) -> None:
    """Weights and arithmetic in float16."""
    model = onnx.load(str(source))
    _unshare_scales(model)
    converted = OnnxModel(convert_float_to_float16(model, keep_io_types=True))
    converted.topological_sort()  # the converter appends its casts
    onnx.save(converted.model, str(target))


def _unshare_scales(model: onnx.ModelProto) -> None:
    """Give each Resize scales of its own: the converter would name the casts of shared ones alike."""
    constants = {constant.name: constant for constant in model.graph.initializer}
    for number, node in enumerate(model.graph.node):
        if node.op_type == "Resize" and len(node.input) > 2 and node.input[2] in constants:
            own = onnx.TensorProto()
            own.CopyFrom(constants[node.input[2]])
            own.name = node.input[2] = f"{own.name}_of_{number}"
            model.graph.initializer.append(own)


def write_int8(source: Path, target: Path, tensors: Iterator[Tensor], float_tail: int = 1) -> None:
    """From the first convolution to the last but one in int8: unsigned activations, signed weights.

    What comes before the first convolution sees the picture's own fine steps, and the last one's output is what the
    enhanced picture is made of: both stay as they are. In a narrow network the last but one counts as much. Weights
    have a scale for each output channel and keep to 7 bits, because CPUs without VNNI saturate sums of two 8-bit
    products.

    Args:
        source: float32 file.
        target: file to write.
        tensors: network inputs that show the range of every activation.
        float_tail: how many convolutions at the end stay in float32.
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
            nodes_to_exclude=_kept_in_float(onnx.load(str(prepared)), float_tail),
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )


def _kept_in_float(model: onnx.ModelProto, float_tail: int) -> list[str]:
    """Names of the nodes before the first convolution, and of the last ``float_tail`` convolutions."""
    nodes = list(model.graph.node)
    places = [place for place, node in enumerate(nodes) if node.op_type == "Conv"]
    return [node.name for node in nodes[: places[0]]] + [nodes[place].name for place in places[-float_tail:]]


class CalibrationTensors:
    """What ONNX Runtime's calibration asks for its inputs."""

    def __init__(self, tensors: Iterator[Tensor]) -> None:
        self.tensors = tensors

    def get_next(self) -> dict[str, Tensor] | None:
        """The next input by name; None at the end."""
        tensor = next(self.tensors, None)
        return None if tensor is None else {"input": tensor}


def calibration(model_input: ModelInput, shots: Iterable[Shot]) -> Iterator[Tensor]:
    """Network inputs of ``shots``: each with its own metadata, without any, and with the highest.

    Whatever lies outside the range that calibration sees is cut off, and a robot may lose its metadata or see other
    values than these frames have.
    """
    highest = CaptureMetadata(model_input.iso_range[1], model_input.exposure_range_s[1])
    for shot in shots:
        rgb = load_rgb(shot.picture)
        for capture in (shot.capture, UNKNOWN, highest):
            yield model_input.encode(rgb, capture)


def measure(full: Enhance, reduced: Enhance, shots: Sequence[Shot]) -> Fidelity:
    """Compare the pictures that two ``Enhance`` make of ``shots``, and both with the references, if any."""
    near: list[float] = []
    losses: list[float] = []
    for shot in shots:
        rgb = load_rgb(shot.picture)
        a, b = full(rgb, shot.capture), reduced(rgb, shot.capture)
        near.append(psnr_db(a, b))
        if shot.reference is not None:
            reference = load_rgb(shot.reference)
            losses.append(psnr_db(a, reference) - psnr_db(b, reference))
    return Fidelity(len(near), float(np.mean(near)), float(np.mean(losses)) if losses else None)
