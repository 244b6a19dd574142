"""Any ONNX detector that puts out boxes as the YOLO exporters do.

The layouts: ``v5`` (1, N, 5 + C), centre, size, objectness and a score a class; ``v8`` (1, 4 + C, N), centre, size
and a score a class, also of v9 to v12; ``nms`` (1, N, 6), corners, score and class, of v10 and of files with
suppression in the graph. Places are in pixels of the network's input.
"""

from __future__ import annotations

import ast
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from lowlight_enhance.core.errors import ConfigError, ModelError
from lowlight_enhance.core.inference.model_file import FLOAT, ModelFile, read_model
from lowlight_enhance.core.inference.sessions import DEFAULT_PROVIDERS, OnnxRuntimeSession
from lowlight_enhance.evaluation.detection.boxes import NO_BOXES, Boxes
from lowlight_enhance.evaluation.detection.clips import Picture

Layout = Literal["v5", "v8", "nms"]
LAYOUTS: tuple[Layout, ...] = get_args(Layout)

FLOAT16 = 10
"""TensorProto.FLOAT16."""

SIZE, MAX_SIZE = 640, 8192
"""Side of the input where neither the file nor the user says it, and the largest."""

GREY = 114
"""Of the bars that fill the input (Ultralytics' letterbox)."""

FLOOR, MOST = 0.001, 300
"""Least score of a box and most boxes of a picture, as in Ultralytics' validation."""

CANDIDATES = 5000
"""Boxes of the highest scores among which suppression chooses."""

REMEDY = "export the detector anew as one ONNX file of standard operators"


@dataclass(frozen=True, slots=True)
class YoloOptions:
    """How a detector is run.

    Attributes:
        layout: of its output; None: told by its shape.
        classes: names; none: as the file says.
        sure: least score of a box that counts.
        suppress: intersection over union from which on the less sure box of a class goes.
        size: side of the input in pixels; 0: as the file says.
        threads: CPU threads; None: the runtime decides.

    Raises:
        ConfigError: a value out of range.
    """

    layout: Layout | None = None
    classes: tuple[str, ...] = ()
    sure: float = 0.25
    suppress: float = 0.7
    size: int = 0
    threads: int | None = None

    def __post_init__(self) -> None:
        if not (0.0 <= self.sure <= 1.0 and 0.0 <= self.suppress <= 1.0):
            raise ConfigError(f"confidence {self.sure}, overlap {self.suppress}: give numbers from 0 to 1")
        if not 0 <= self.size <= MAX_SIZE:
            raise ConfigError(f"an input of {self.size} pixels: give a size up to {MAX_SIZE}")


class Yolo:
    """A detector of the user's."""

    def __init__(self, path: Path, options: YoloOptions | None = None) -> None:
        """Load it.

        Raises:
            ModelError: not a file that may be opened, or not one picture in and boxes out.
            ConfigError: classes of no use.
        """
        self.name, self.options = path.stem, options or YoloOptions()
        file = read_model(path, REMEDY)
        self.sure = self.options.sure
        self.classes = self.options.classes or class_names(file)
        self._path, self._height, self._width = path, *_input_size(file, self.options.size)
        self._type = np.float16 if file.inputs[0].element == FLOAT16 else np.float32
        self._session = OnnxRuntimeSession(file, DEFAULT_PROVIDERS, self.options.threads or 0)
        blank = np.full((self._height, self._width, 3), GREY, np.uint8)
        shape = self._run(blank).shape
        self.layout = self.options.layout or recognised(shape, len(self.classes), (self._height, self._width), path)
        channels = channels_of(shape, self.layout, path)
        if self.layout != "nms":
            own = channels - (5 if self.layout == "v5" else 4)
            if own < 1 or (self.classes and own != len(self.classes)):
                raise ModelError(
                    f"{path} scores {own} classes, not {len(self.classes)}: correct --classes or --layout"
                )
            self.classes = self.classes or tuple(str(number) for number in range(own))

    def __call__(self, picture: Picture) -> Boxes:
        """Boxes of a score of at least ``FLOOR``."""
        fitted, scale, left, top = letterbox(picture, self._height, self._width)
        corners, scores, numbers = decoded(self._run(fitted)[0], self.layout)
        kept = np.flatnonzero((scores >= FLOOR) & np.isfinite(corners).all(1))
        kept = kept[np.argsort(-scores[kept], kind="stable")[:CANDIDATES]]
        if self.layout != "nms" and len(kept):
            kept = kept[_suppressed(corners[kept], scores[kept], numbers[kept], self.options.suppress)]
        kept = kept[:MOST]
        if not len(kept):
            return NO_BOXES
        limits = np.array([picture.shape[1], picture.shape[0]] * 2)
        corners = ((corners[kept] - [left, top, left, top]) / scale).clip(0, limits)
        return Boxes(corners, scores[kept], tuple(self._name(number) for number in numbers[kept].tolist()))

    def _run(self, rgb: Picture) -> NDArray[np.float32]:
        tensor: Any = np.ascontiguousarray(rgb.transpose(2, 0, 1)[None], self._type) / self._type(255.0)
        output = self._session.run(tensor)
        if output.ndim != 3 or output.shape[0] != 1:
            raise ModelError(
                f"{self._path} puts out {output.shape}: boxes are expected as (1, N, 5 + C), (1, 4 + C, N) or "
                "(1, N, 6); export a detector of boxes, for a batch of 1"
            )
        return np.asarray(output, dtype=np.float32)

    def _name(self, number: int) -> str:
        return self.classes[number] if 0 <= number < len(self.classes) else str(number)


def recognised(shape: tuple[int, ...], classes: int, size: tuple[int, int], path: Path) -> Layout:
    """The layout of an output of ``shape`` (1, A, B).

    Args:
        shape: of the output.
        classes: how many the detector knows; 0: unknown.
        size: (height, width) of the input.
        path: for messages.

    Raises:
        ModelError: none fits, or more than one does.
    """
    _, rows, columns = shape
    cells = [sum(math.ceil(size[0] / s) * math.ceil(size[1] / s) for s in strides) for strides in _STRIDES]
    is_v5_grid = rows in [3 * count for count in cells]
    is_v5 = columns == 5 + classes if classes else columns > 6 and rows > columns
    fits: list[Layout] = []
    if columns == 6 and not is_v5_grid:
        fits.append("nms")
    elif is_v5 or (columns == 6 and not classes):
        fits.append("v5")
    if rows == 4 + classes if classes else rows > 4 and columns > rows:
        fits.append("v8")
    if "v8" in fits and columns in cells:
        fits = ["v8"]
    if len(fits) != 1:
        known = f"{classes} classes" if classes else "an unknown number of classes"
        why = f"may be any of {', '.join(fits)}" if fits else "is none of (1, N, 5 + C), (1, 4 + C, N) and (1, N, 6)"
        raise ModelError(f"{path} puts out {shape} for {known}, which {why}: give --layout, and --classes if wrong")
    return fits[0]


_STRIDES = ((8, 16, 32), (8, 16, 32, 64))
"""Pixels between the places at which YOLO networks predict."""


def channels_of(shape: tuple[int, ...], layout: Layout, path: Path) -> int:
    """Values of one box.

    Raises:
        ModelError: too few for ``layout``.
    """
    channels = shape[1] if layout == "v8" else shape[2]
    if channels < 5 or (layout == "nms" and channels != 6) or (layout == "v5" and channels < 6):
        raise ModelError(f"{path} puts out {shape}, which is not of layout {layout}: give another --layout")
    return channels


def decoded(
    output: NDArray[np.float32], layout: Layout
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """(N, 4) corners in pixels of the input, (N,) scores and (N,) class numbers; each box has its best class alone."""
    values = (output.T if layout == "v8" else output).astype(np.float64)
    if layout == "nms":
        numbers = np.rint(np.nan_to_num(values[:, 5], posinf=-1.0, neginf=-1.0, nan=-1.0)).astype(np.int64)
        return values[:, :4], values[:, 4], numbers
    scores = values[:, 5:] * values[:, 4:5] if layout == "v5" else values[:, 4:]
    numbers = scores.argmax(1)
    half = values[:, 2:4] / 2.0
    corners = np.column_stack([values[:, :2] - half, values[:, :2] + half])
    return corners, scores[np.arange(len(scores)), numbers], np.asarray(numbers, dtype=np.int64)


def letterbox(picture: Picture, height: int, width: int) -> tuple[Picture, float, int, int]:
    """The picture, scaled to fit and centred on grey, as Ultralytics' exporters expect it.

    Returns:
        (height, width, 3); pixels of it a pixel of the picture; and columns and rows of grey left of and above it.
    """
    scale = min(height / picture.shape[0], width / picture.shape[1])
    rows, columns = (max(1, round(side * scale)) for side in picture.shape[:2])
    left, top = round((width - columns) / 2 - 0.1), round((height - rows) / 2 - 0.1)
    fitted = np.full((height, width, 3), GREY, np.uint8)
    shrunk = cv2.resize(picture, (columns, rows), interpolation=cv2.INTER_LINEAR)
    fitted[top : top + rows, left : left + columns] = shrunk
    return fitted, scale, left, top


def class_names(file: ModelFile) -> tuple[str, ...]:
    """Names in the metadata, which Ultralytics writes as ``{0: 'person', ...}``; none where there are none.

    Raises:
        ModelError: they cannot be read.
    """
    text = file.metadata.get("names")
    if not text:
        return ()
    try:
        names = ast.literal_eval(text)
        if isinstance(names, dict):
            names = [names[number] for number in range(len(names))]
        return tuple(str(name) for name in names)
    except (ValueError, SyntaxError, TypeError, KeyError, MemoryError, RecursionError) as error:
        raise ModelError(f"{file.path}: the metadata 'names' lists no classes; name them with --classes") from error


def _input_size(file: ModelFile, wanted: int) -> tuple[int, int]:
    """(height, width) of the input.

    Raises:
        ModelError: not one picture.
        ConfigError: the input's size is fixed to another.
    """
    ports = file.inputs
    if len(ports) != 1 or len(ports[0].dims) != 4 or ports[0].element not in (FLOAT, FLOAT16):
        found = ", ".join(f"{port.name} {port.dims}" for port in ports)
        raise ModelError(f"{file.path} takes {found}: a detector takes one float picture (1, 3, height, width)")
    batch, channels, height, width = ports[0].dims
    if batch not in (0, 1) or channels not in (0, 3):
        raise ModelError(f"{file.path} takes {ports[0].dims}: export it for one picture (1, 3, height, width)")
    if wanted and (height or wanted, width or wanted) != (wanted, wanted):
        raise ConfigError(f"{file.path} takes {width}x{height} alone: leave --detector-size out")
    own = _exported_size(file.metadata.get("imgsz", ""))
    size = height or wanted or own[0], width or wanted or own[1]
    if max(size) > MAX_SIZE:
        raise ModelError(f"{file.path} takes {size[1]}x{size[0]}: more than {MAX_SIZE} pixels a side are not fed")
    return size


def _exported_size(text: str) -> tuple[int, int]:
    """(height, width) from Ultralytics' metadata, such as ``[640, 640]``."""
    sides = [int(part) for part in text.strip("[]() ").split(",") if part.strip().isdigit()]
    return (sides[0], sides[-1]) if sides and min(sides) > 0 else (SIZE, SIZE)


def _suppressed(
    corners: NDArray[np.float64], scores: NDArray[np.float64], numbers: NDArray[np.int64], overlap: float
) -> NDArray[np.int64]:
    """Indices of the boxes that stay, surest first."""
    rectangles = np.column_stack([corners[:, :2], corners[:, 2:] - corners[:, :2]])
    chosen = cv2.dnn.NMSBoxesBatched(rectangles.tolist(), scores.tolist(), numbers.tolist(), FLOOR, overlap)
    kept = np.asarray(chosen, np.int64).ravel()
    return np.asarray(kept[np.argsort(-scores[kept], kind="stable")], dtype=np.int64)
