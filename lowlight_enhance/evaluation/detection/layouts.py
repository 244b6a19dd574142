"""Output layouts of ONNX detectors: recognition, input format and decoding of each.

| layout | outputs | exporters |
|---|---|---|
| ``v5`` | (1, N, 5 + C): centre, size, objectness, class scores | YOLOv5, v6, v7 |
| ``v8`` | (1, 4 + C, N): centre, size, class scores | YOLOv8, v9, 11, 12 |
| ``nms`` | (1, N, 6): corners, score, class | YOLOv10, ``nms=True`` of Ultralytics |
| ``yolox`` | (1, N, 5 + C): offsets and log sizes relative to the cells of strides 8, 16, 32 | YOLOX |
| ``yolox_decoded`` | (1, N, 5 + C): as ``v5``, one box per cell | YOLOX with ``--decode_in_inference`` |
| ``rtdetr`` | boxes (1, N, 4), centre and size in 0..1, and logits (1, N, C) | RT-DETR |

Positions are in pixels of the network's input, except for ``rtdetr``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from lowlight_enhance.core.errors import ModelError

Layout = Literal["v5", "v8", "nms", "yolox", "yolox_decoded", "rtdetr"]
LAYOUTS: tuple[Layout, ...] = get_args(Layout)

Output = NDArray[np.float32]
Size = tuple[int, int]
"""(height, width)."""

STRIDES = ((8, 16, 32), (8, 16, 32, 64))
"""Strides of the cells of YOLO networks."""

SUPPORTED = (
    "supported are one output (1, N, 5 + C), (1, 4 + C, N) or (1, N, 6), or two outputs, boxes (1, N, 4) and logits "
    "(1, N, C)"
)


@dataclass(frozen=True, slots=True)
class InputFormat:
    """How an image is fed to a network.

    Attributes:
        placement: ``centre`` and ``corner`` keep the aspect ratio and fill the rest with grey; ``stretch`` does not.
        is_bgr: channel order B, G, R instead of R, G, B.
        scale: value that 255 becomes.
        needs_suppression: boxes of one object must be merged by non-maximum suppression.
    """

    placement: Literal["centre", "corner", "stretch"] = "centre"
    is_bgr: bool = False
    scale: float = 1.0
    needs_suppression: bool = True


_YOLOX_FORMAT = InputFormat("corner", is_bgr=True, scale=255.0)
INPUT_FORMATS: dict[Layout, InputFormat] = {
    "v5": InputFormat(),
    "v8": InputFormat(),
    "nms": InputFormat(needs_suppression=False),
    "yolox": _YOLOX_FORMAT,
    "yolox_decoded": _YOLOX_FORMAT,
    "rtdetr": InputFormat("stretch", needs_suppression=False),
}


@dataclass(frozen=True, slots=True)
class Decoded:
    """Boxes of one image; each has its best class alone.

    Attributes:
        corners: (N, 4) left, top, right, bottom in pixels of the input.
        scores: (N,).
        classes: (N,) class numbers.
    """

    corners: NDArray[np.float64]
    scores: NDArray[np.float64]
    classes: NDArray[np.int64]


def recognise_layout(outputs: Sequence[Output], class_count: int, size: Size, path: Path) -> Layout:
    """Recognise the layout of the outputs of a network.

    Args:
        outputs: outputs of a run on a grey image.
        class_count: number of classes in the metadata; 0: unknown.
        size: size of the input.
        path: path of the file, for messages.

    Raises:
        ModelError: no layout fits, or several do.
    """
    if len(outputs) == 2 and split_detr(outputs) is not None:
        return "rtdetr"
    if len(outputs) != 1 or outputs[0].ndim != 3 or outputs[0].shape[0] != 1:
        shapes = ", ".join(str(output.shape) for output in outputs)
        raise ModelError(f"{path} has outputs of shape {shapes}: {SUPPORTED}; export it for one image with boxes")
    shape = outputs[0].shape
    fits = _fitting_layouts(shape, class_count, size)
    if fits == ["yolox"] and _is_decoded(outputs[0][0], size):
        fits = ["yolox_decoded"]
    if len(fits) != 1:
        known = f"{class_count} classes" if class_count else "an unknown number of classes"
        why = f"fits {' and '.join(fits)}" if fits else f"fits no layout; {SUPPORTED}"
        raise ModelError(f"{path} has an output of shape {shape} for {known}, which {why}: give --layout or --classes")
    return fits[0]


def _fitting_layouts(shape: tuple[int, ...], class_count: int, size: Size) -> list[Layout]:
    _, rows, columns = shape
    cells = cell_counts(size)
    has_anchors = rows in [3 * count for count in cells]
    has_cells = rows in cells
    fits: list[Layout] = []
    # Six columns are ``nms``, or ``v5`` or ``yolox`` with one class. Those have as many rows as anchors or cells.
    if columns == 6 and not has_anchors and not (has_cells and class_count == 1):
        fits.append("nms")
    elif columns == 5 + class_count if class_count else columns > 5 and rows > columns:
        fits.append("yolox" if has_cells else "v5")
    if rows == 4 + class_count if class_count else rows > 4 and columns > rows:
        fits.append("v8")
    # If the number of columns is that of the cells, ``v8`` is certain, whatever else the shape fits.
    return ["v8"] if "v8" in fits and columns in cells else fits


def cell_counts(size: Size) -> list[int]:
    """Return the number of cells of an input, for each of ``STRIDES``."""
    return [sum(math.ceil(size[0] / s) * math.ceil(size[1] / s) for s in strides) for strides in STRIDES]


def _is_decoded(output: Output, size: Size) -> bool:
    """Return whether centres are in pixels: decoded centres are near the centres of their cells, offsets near 0."""
    grid, strides = _grid(size, len(output))
    centres = (grid + 0.5) * strides[:, None]
    distance = float(np.median(np.abs(output[:, :2] - centres)))
    return distance < float(np.median(np.abs(output[:, :2])))


def split_detr(outputs: Sequence[Output]) -> tuple[Output, Output] | None:
    """Return (boxes, logits) of two outputs with the same number of queries; None for any other outputs."""
    shapes = [output.shape for output in outputs]
    if any(len(shape) != 3 or shape[0] != 1 for shape in shapes) or shapes[0][1] != shapes[1][1]:
        return None
    for boxes, logits in (outputs, outputs[::-1]):
        inside = boxes.shape[2] == 4 and bool((boxes >= 0.0).all() and (boxes <= 1.0).all())
        if inside and (logits.shape[2] != 4 or not (logits >= 0.0).all()):
            return boxes, logits
    return None


def class_count_of(outputs: Sequence[Output], layout: Layout, path: Path) -> int:
    """Return the number of classes that the outputs score; 0 for ``nms``, whose outputs do not contain it.

    Raises:
        ModelError: the outputs do not have the layout.
    """
    shapes = [output.shape for output in outputs]
    count = -1
    if layout == "rtdetr":
        split = split_detr(outputs) if len(outputs) == 2 else None
        count = -1 if split is None else split[1].shape[2]
    elif len(outputs) == 1 and len(shapes[0]) == 3 and shapes[0][0] == 1:
        _, rows, columns = shapes[0]
        count = {"v8": rows - 4, "nms": 0 if columns == 6 else -1}.get(layout, columns - 5)
    if count < (0 if layout == "nms" else 1):
        raise ModelError(f"{path} has outputs of shape {shapes}, which is not layout {layout}: give another --layout")
    return count


def decode(outputs: Sequence[Output], layout: Layout, size: Size) -> Decoded:
    """Decode the outputs of one run.

    Args:
        outputs: outputs of the network.
        layout: layout of the outputs.
        size: size of the input.
    """
    if layout == "rtdetr":
        return _decode_detr(outputs, size)
    values: NDArray[np.float64] = outputs[0][0].astype(np.float64)
    if layout == "nms":
        numbers = np.rint(np.nan_to_num(values[:, 5], posinf=-1.0, neginf=-1.0, nan=-1.0)).astype(np.int64)
        return Decoded(values[:, :4], values[:, 4], numbers)
    if layout == "v8":
        return _best_class(values[:4].T, values[4:].T)
    boxes = values[:, :4]
    if layout == "yolox":
        grid, strides = _grid(size, len(values))
        centres, sizes = (boxes[:, :2] + grid) * strides[:, None], np.exp(boxes[:, 2:]) * strides[:, None]
        boxes = np.concatenate([centres, sizes], 1)
    return _best_class(boxes, values[:, 5:] * values[:, 4:5])


def _best_class(boxes: NDArray[np.float64], scores: NDArray[np.float64]) -> Decoded:
    """Return the boxes of (N, 4) centre and size with the best of (N, C) scores."""
    numbers = np.asarray(scores.argmax(1), dtype=np.int64)
    half = boxes[:, 2:] / 2.0
    corners = np.concatenate([boxes[:, :2] - half, boxes[:, :2] + half], 1)
    return Decoded(corners, scores[np.arange(len(scores)), numbers], numbers)


def _decode_detr(outputs: Sequence[Output], size: Size) -> Decoded:
    split = split_detr(outputs)
    if split is None:
        raise ModelError("the boxes of an RT-DETR output are not in 0..1; export the detector again")
    boxes, logits = (output[0].astype(np.float64) for output in split)
    is_probability = bool((logits >= 0.0).all() and (logits <= 1.0).all())
    scores = logits if is_probability else 1.0 / (1.0 + np.exp(-np.clip(logits, -50.0, 50.0)))
    return _best_class(boxes * np.array([size[1], size[0]] * 2, np.float64), scores)


def _grid(size: Size, count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return (N, 2) column and row of each cell, and (N,) its stride, in the order of YOLOX.

    Raises:
        ModelError: the input does not have that many cells.
    """
    for strides in STRIDES:
        grids, steps = [], []
        for stride in strides:
            rows, columns = math.ceil(size[0] / stride), math.ceil(size[1] / stride)
            y, x = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
            grids.append(np.stack([x, y], 2).reshape(-1, 2))
            steps.append(np.full(rows * columns, float(stride)))
        if sum(map(len, steps)) == count:
            return np.concatenate(grids).astype(np.float64), np.concatenate(steps)
    raise ModelError(f"an input of {size[1]}x{size[0]} does not have {count} cells: give another --layout")
