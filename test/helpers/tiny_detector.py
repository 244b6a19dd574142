"""ONNX detectors that return the same outputs for every image, in the layouts of common exporters."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Box = tuple[float, ...]
"""Centre x, y, width, height in pixels of the input, score, class number."""


def write_detector(
    path: Path,
    output: np.ndarray | Sequence[np.ndarray],
    names: str | None = None,
    size: tuple[int | str, int | str] = (64, 64),
    element: int = TensorProto.FLOAT,
    domain: str = "",
    batch: int | str = 1,
) -> Path:
    """Write a detector that returns ``output`` for any image of ``size`` (height, width). Returns ``path``."""
    outputs = [output] if isinstance(output, np.ndarray) else list(output)
    image = helper.make_tensor_value_info("images", element, [batch, 3, *size])
    infos = [helper.make_tensor_value_info(f"output{n}", element, list(o.shape)) for n, o in enumerate(outputs)]
    dtype = np.float16 if element == TensorProto.FLOAT16 else np.float32
    initializers = [numpy_helper.from_array(o.astype(dtype), f"values{n}") for n, o in enumerate(outputs)]
    initializers.append(numpy_helper.from_array(np.array(0.0, dtype), "nothing"))
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "nothing"], ["zero"]),
        *(helper.make_node("Add", [f"values{n}", "zero"], [f"output{n}"], domain=domain) for n in range(len(outputs))),
    ]
    graph = helper.make_graph(nodes, "tiny", [image], infos, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    if names is not None:
        model.metadata_props.add(key="names", value=names)
    onnx.save(model, str(path))
    return path


def v5(boxes: Sequence[Box], classes: int, objectness: float = 1.0) -> np.ndarray:
    """Return (1, N, 5 + C)."""
    rows = np.zeros((1, len(boxes), 5 + classes))
    for row, (x, y, width, height, score, number) in zip(rows[0], boxes, strict=True):
        row[:5] = x, y, width, height, objectness
        row[5 + int(number)] = score
    return rows


def v8(boxes: Sequence[Box], classes: int) -> np.ndarray:
    """Return (1, 4 + C, N)."""
    return np.delete(v5(boxes, classes), 4, axis=2).transpose(0, 2, 1)


def nms(boxes: Sequence[Box], rows: int) -> np.ndarray:
    """Return (1, rows, 6), corners."""
    output = np.zeros((1, rows, 6))
    for row, (x, y, width, height, score, number) in zip(output[0], boxes, strict=False):
        row[:] = x - width / 2, y - height / 2, x + width / 2, y + height / 2, score, number
    return output


def yolox(boxes: Sequence[Box], classes: int, size: int = 64, decoded: bool = False) -> np.ndarray:
    """Return (1, N, 5 + C) with one row per cell of the strides 8, 16 and 32; box n stands at cell 3 n."""
    grid, strides = [], []
    for stride in (8, 16, 32):
        for row in range(size // stride):
            grid += [(column, row) for column in range(size // stride)]
            strides += [stride] * (size // stride)
    output = np.zeros((1, len(grid), 5 + classes))
    if decoded:
        output[0, :, :2] = (np.array(grid) + 0.5) * np.array(strides)[:, None]
        output[0, :, 2:4] = np.array(strides)[:, None]
    for number, (x, y, width, height, score, index) in enumerate(boxes):
        cell = 3 * number
        (column, row), stride = grid[cell], strides[cell]
        raw = (x / stride - column, y / stride - row, np.log(width / stride), np.log(height / stride))
        output[0, cell, :4] = (x, y, width, height) if decoded else raw
        output[0, cell, 4], output[0, cell, 5 + int(index)] = 1.0, score
    return output


def rtdetr(boxes: Sequence[Box], classes: int, queries: int = 10, size: int = 64) -> list[np.ndarray]:
    """Logits (1, queries, C) and boxes (1, queries, 4) in 0..1, in the order of Hugging Face's export."""
    logits, corners = np.full((1, queries, classes), -9.0), np.full((1, queries, 4), 0.5)
    for query, (x, y, width, height, score, number) in enumerate(boxes):
        corners[0, query] = np.array([x, y, width, height]) / size
        logits[0, query, int(number)] = np.log(score / (1.0 - score))
    return [logits, corners]
