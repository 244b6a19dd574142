"""ONNX detectors that put out the same boxes whatever they see, in the layouts of the YOLO exporters."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def write_detector(
    path: Path,
    output: np.ndarray,
    names: str | None = None,
    size: tuple[int | str, int | str] = (64, 64),
    element: int = TensorProto.FLOAT,
    domain: str = "",
    batch: int | str = 1,
) -> Path:
    """A detector that answers any picture of ``size`` (height, width) with ``output``. Returns ``path``."""
    picture = helper.make_tensor_value_info("images", element, [batch, 3, *size])
    boxes = helper.make_tensor_value_info("output0", element, list(output.shape))
    dtype = np.float16 if element == TensorProto.FLOAT16 else np.float32
    initializers = [
        numpy_helper.from_array(output.astype(dtype), "boxes"),
        numpy_helper.from_array(np.array(0.0, dtype), "nothing"),
    ]
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "nothing"], ["zero"]),
        helper.make_node("Add", ["boxes", "zero"], ["output0"], domain=domain),
    ]
    graph = helper.make_graph(nodes, "tiny", [picture], [boxes], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    if names is not None:
        model.metadata_props.add(key="names", value=names)
    onnx.save(model, str(path))
    return path


def v5(boxes: list[tuple[float, ...]], classes: int, objectness: float = 1.0) -> np.ndarray:
    """(1, N, 5 + C) of (x, y, width, height, score, class)."""
    rows = np.zeros((1, len(boxes), 5 + classes))
    for row, (x, y, width, height, score, number) in zip(rows[0], boxes, strict=True):
        row[:5] = x, y, width, height, objectness
        row[5 + int(number)] = score
    return rows


def v8(boxes: list[tuple[float, ...]], classes: int) -> np.ndarray:
    """(1, 4 + C, N) of the same."""
    return np.delete(v5(boxes, classes), 4, axis=2).transpose(0, 2, 1)


def nms(boxes: list[tuple[float, ...]], rows: int) -> np.ndarray:
    """(1, rows, 6) of the same, as corners."""
    output = np.zeros((1, rows, 6))
    for row, (x, y, width, height, score, number) in zip(output[0], boxes, strict=False):
        row[:] = x - width / 2, y - height / 2, x + width / 2, y + height / 2, score, number
    return output
