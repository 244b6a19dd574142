"""A network that is made ready for a runtime puts out what it did."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto
from tiny_checkpoints import write_student
from torch import nn

from lowlight_enhance.core.metadata.capture import UNKNOWN
from lowlight_enhance.training.export.calibration import CalibrationFrame
from lowlight_enhance.training.export.graph_folding import optimize_for_runtime
from lowlight_enhance.training.export.onnx_export import export
from lowlight_enhance.training.export.reduced_precision import Limits, Reduction
from lowlight_enhance.training.models.affine_unet import EXPOSURE_PLANES, AffineUNet, AffineUNetConfig
from lowlight_enhance.training.models.blocks import parameter_count
from lowlight_enhance.training.models.teacher import Teacher, TeacherConfig

STUDENT = AffineUNetConfig(unshuffle=2, channels=(4, 6, 8), head=4)
FRAMES = list(torch.rand(2, 1, 5, 16, 24, generator=torch.Generator().manual_seed(3)))


def used(network: nn.Module) -> nn.Module:
    """With batch statistics of its own."""
    for _ in range(3):
        network(torch.rand(4, 5, 16, 16))
    return network.eval()


def kinds(network: nn.Module) -> set[type]:
    return {type(module) for module in network.modules()}


@pytest.mark.parametrize("network", [AffineUNet(STUDENT), Teacher(TeacherConfig(channels=(4, 8), head=4))])
def test_the_output_is_the_same(network: nn.Module) -> None:
    torch.manual_seed(0)
    network = used(network)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    for parameter in network.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    x = torch.rand(1, 5, 16, 24)
    with torch.no_grad():
        assert torch.allclose(optimize_for_runtime(network, FRAMES)(x), network(x), atol=1e-4)
        network.load_state_dict(before)
        assert torch.allclose(optimize_for_runtime(network)(x), network(x), atol=1e-4)


def test_normalisation_and_pooling_are_gone_and_the_original_is_as_it_was() -> None:
    network = used(AffineUNet(STUDENT))
    parameters = parameter_count(network)
    assert {nn.BatchNorm2d, nn.AvgPool2d} <= kinds(network)
    assert not {nn.BatchNorm2d, nn.AvgPool2d} & kinds(optimize_for_runtime(network, FRAMES))
    assert nn.BatchNorm2d not in kinds(optimize_for_runtime(network))
    assert parameter_count(optimize_for_runtime(network)) < parameters
    assert {nn.BatchNorm2d, nn.AvgPool2d} <= kinds(network)
    assert parameter_count(network) == parameters


def test_the_white_levels_are_as_large_as_the_colours() -> None:
    """Beside logarithms down to -5.6, the one scale of 8 bits would leave the colours few steps."""
    seen: list[torch.Tensor] = []
    ready = optimize_for_runtime(used(AffineUNet(STUDENT)), FRAMES)
    ready.encoder[0].register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    ready(0.01 * FRAMES[0])
    assert seen[0].shape[1] == 3 * 2 * 2 + EXPOSURE_PLANES
    assert seen[0].abs().max() <= 1.5


def test_no_part_of_a_concatenation_dwarfs_the_other() -> None:
    """It would leave the other few of the steps that one scale of 8 bits has."""
    torch.manual_seed(0)
    network = used(AffineUNet(STUDENT))
    assert isinstance(network, AffineUNet)
    for level in network.decoder:
        level.smooth[1].weight.data *= 30.0
    x = torch.rand(1, 5, 16, 24)
    ranges: list[float] = []

    def note(_module: object, _inputs: object, output: torch.Tensor) -> None:
        ranges.append(float(output.max()))

    balanced = optimize_for_runtime(network, [x])
    with torch.no_grad():
        assert torch.allclose(balanced(x), network(x), atol=1e-4)
        for part in (part for level in balanced.decoder for part in (level.smooth, level.gate)):
            part.register_forward_hook(note)
        balanced(x)
    smooth, gated = ranges[::2], ranges[1::2]
    assert smooth == pytest.approx(gated, rel=1e-3)


def test_an_int8_file_has_what_its_runtime_is_fast_at(tmp_path: Path) -> None:
    """Else it is several milliseconds slower, with the same pictures."""
    frames = [
        CalibrationFrame(np.random.default_rng(number).integers(0, 90, (32, 32, 3), np.uint8), UNKNOWN)
        for number in range(2)
    ]
    reduction = Reduction("int8", frames, Limits(min_psnr_db=0.0))
    export(write_student(tmp_path / "best.pt"), tmp_path / "net.onnx", reduction=reduction)
    graph = onnx.load(tmp_path / "net.onnx").graph
    operators = {node.op_type for node in graph.node}
    assert "SpaceToDepth" in operators
    assert not {"AveragePool", "BatchNormalization", "Split"} & operators
    weights = [entry for entry in graph.initializer if len(entry.dims) == 4 and entry.data_type == TensorProto.INT8]
    assert {entry.dims[2] for entry in weights} >= {2, 3}, "means of 2x2 are convolutions too"
    assert all(entry.dims[1] % 4 == 0 for entry in weights if entry.name.startswith("encoder.0"))
