"""ONNX models of a few nodes, so that tests of everything around the network run in milliseconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from lowlight_enhance.core.inference.model_input import METADATA_KEY, ModelInput


def write_tiny_model(
    path: Path,
    gain: float = 2.0,
    offset: float = 0.0,
    model_input: ModelInput | None = None,
    metadata: dict[str, str] | None = None,
    channels: int = 6,
    inputs: int = 5,
) -> Path:
    """Write a model with constant maps: enhanced = ``gain`` * rgb + ``offset`` (0..1). Return ``path``.

    With ``channels=3`` its output is that picture instead of the maps. ``metadata`` replaces the ONNX metadata.
    """
    constants = np.zeros((1, 6, 1, 1), np.float32)
    constants[0, :3], constants[0, 3:] = gain, offset
    picture = helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, inputs, "height", "width"])
    maps = helper.make_tensor_value_info("maps", TensorProto.FLOAT, [1, channels, "height", "width"])
    initializers = [
        numpy_helper.from_array(np.array([0], np.int64), "zero"),
        numpy_helper.from_array(np.array([3], np.int64), "three"),
        numpy_helper.from_array(np.array([1], np.int64), "axis"),
        numpy_helper.from_array(np.array([0.0], np.float32), "nothing"),
        numpy_helper.from_array(constants[:, :3], "gain"),
        numpy_helper.from_array(constants[:, 3:], "offset"),
    ]
    nodes = [helper.make_node("Slice", ["input", "zero", "three", "axis"], ["rgb"])]
    if channels == 6:
        nodes += [
            helper.make_node("Mul", ["rgb", "nothing"], ["blank"]),
            helper.make_node("Add", ["blank", "gain"], ["gains"]),
            helper.make_node("Add", ["blank", "offset"], ["offsets"]),
            helper.make_node("Concat", ["gains", "offsets"], ["maps"], axis=1),
        ]
    else:
        nodes += [
            helper.make_node("Mul", ["rgb", "gain"], ["scaled"]),
            helper.make_node("Add", ["scaled", "offset"], ["maps"]),
        ]
    graph = helper.make_graph(nodes, "tiny", [picture], [maps], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    entries = {METADATA_KEY: (model_input or ModelInput()).to_json()} if metadata is None else metadata
    for key, value in entries.items():
        model.metadata_props.add(key=key, value=value)
    onnx.save(model, str(path))
    return path
