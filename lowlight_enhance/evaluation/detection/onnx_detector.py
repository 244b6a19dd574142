"""OnnxDetector: an object detector in an ONNX file, in one of the layouts of ``layouts``."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from lowlight_enhance.core.errors import ConfigError, ModelError
from lowlight_enhance.core.inference.model_file import FLOAT, ModelFile, read_model
from lowlight_enhance.core.inference.onnxruntime_session import NONEXISTENT_FOLDER
from lowlight_enhance.core.inference.session import one_line
from lowlight_enhance.evaluation.detection.boxes import NO_BOXES, Boxes
from lowlight_enhance.evaluation.detection.layouts import (
    INPUT_FORMATS,
    InputFormat,
    Layout,
    Output,
    Size,
    class_count_of,
    decode,
    recognise_layout,
)

Image = NDArray[np.uint8]

FLOAT16 = 10
"""TensorProto.FLOAT16."""

DEFAULT_SIZE, MAX_SIZE = 640, 8192
"""Side of the input if neither the file nor the user defines it, and the largest side."""

GREY = 114
"""Value of the padding, as in Ultralytics and YOLOX."""

MIN_SCORE, MAX_BOXES = 0.001, 300
"""Lowest score and largest number of boxes of an image, as in the validation of Ultralytics."""

MAX_CANDIDATES = 5000
"""Boxes of the highest scores that enter non-maximum suppression."""

REMEDY = "export the detector again as one ONNX file of standard operators"


@dataclass(frozen=True, slots=True)
class DetectorOptions:
    """Options of a detector.

    Attributes:
        layout: layout of its outputs; None: it is recognised.
        classes: class names; empty: those of the file.
        confidence: lowest score of a box that counts.
        iou: overlap above which the box with the lower score is suppressed.
        size: side of the input in pixels; 0: as in the file.
        threads: CPU threads; None: the runtime decides.

    Raises:
        ConfigError: a value out of range.
    """

    layout: Layout | None = None
    classes: tuple[str, ...] = ()
    confidence: float = 0.25
    iou: float = 0.7
    size: int = 0
    threads: int | None = None

    def __post_init__(self) -> None:
        if not (0.0 <= self.confidence <= 1.0 and 0.0 <= self.iou <= 1.0):
            raise ConfigError(f"confidence {self.confidence}, overlap {self.iou}: give numbers from 0 to 1")
        if not 0 <= self.size <= MAX_SIZE:
            raise ConfigError(f"an input of {self.size} pixels: give a size up to {MAX_SIZE}")


class OnnxDetector:
    """A detector in an ONNX file.

    Attributes:
        name: stem of the file.
        classes: class names in the order of their numbers.
        confidence: lowest score of a box that counts.
        layout: of the outputs.
    """

    def __init__(self, path: Path, options: DetectorOptions | None = None) -> None:
        """Load a detector and recognise its layout.

        Raises:
            ModelError: the file cannot be loaded, or is not a detector of a known layout.
            ConfigError: the options do not fit the file.
        """
        self.name, self.options = path.stem, options or DetectorOptions()
        file = read_model(path, REMEDY, allow_control_flow=True)  # PyTorch exports detectors with If
        self.confidence = self.options.confidence
        self._path, self._size = path, _input_size(file, self.options.size)
        self._dtype = np.float16 if file.inputs[0].element_type == FLOAT16 else np.float32
        self._session = _open_session(file, self.options.threads)
        self._input_name = file.inputs[0].name
        names = self.options.classes or class_names(file)
        # The outputs for a grey image show the layout: their shapes, and for YOLOX their values.
        blank = np.full((*self._size, 3), GREY, np.uint8)
        outputs = self._infer(blank, INPUT_FORMATS["v8"])
        layout = self.options.layout or recognise_layout(outputs, len(names), self._size, path)
        if layout == "yolox_decoded" or layout == "yolox":
            outputs = self._infer(blank, INPUT_FORMATS[layout])
        count = class_count_of(outputs, layout, path)
        if count and names and count != len(names):
            raise ModelError(f"{path} scores {count} classes, not {len(names)}: correct --classes or --layout")
        self.layout: Layout = layout
        self.classes = names or tuple(str(number) for number in range(count))

    def __call__(self, image: Image) -> Boxes:
        """Return the boxes with a score of at least ``MIN_SCORE`` of an (H, W, 3) uint8 RGB image."""
        input_format = INPUT_FORMATS[self.layout]
        fitted, scale, offset = fit_image(image, self._size, input_format)
        found = decode(self._infer(fitted, input_format), self.layout, self._size)
        kept = np.flatnonzero((found.scores >= MIN_SCORE) & np.isfinite(found.corners).all(1))
        kept = kept[np.argsort(-found.scores[kept], kind="stable")[:MAX_CANDIDATES]]
        if input_format.needs_suppression and len(kept):
            kept = kept[_suppress(found.corners[kept], found.scores[kept], found.classes[kept], self.options.iou)]
        kept = kept[:MAX_BOXES]
        if not len(kept):
            return NO_BOXES
        limits = np.array([image.shape[1], image.shape[0]] * 2)
        corners = ((found.corners[kept] - [*offset, *offset]) / [*scale, *scale]).clip(0, limits)
        return Boxes(corners, found.scores[kept], tuple(self._name(number) for number in found.classes[kept].tolist()))

    def _infer(self, fitted: Image, input_format: InputFormat) -> list[Output]:
        ordered = fitted[:, :, ::-1] if input_format.is_bgr else fitted
        tensor: Any = np.ascontiguousarray(ordered.transpose(2, 0, 1)[None], self._dtype)
        tensor *= self._dtype(input_format.scale / 255.0)
        try:
            outputs = self._session.run(None, {self._input_name: tensor})
        except Exception as error:  # ONNX Runtime raises its own types
            raise ModelError(f"{self._path}: inference failed: {one_line(error)}") from error
        return [np.asarray(output, dtype=np.float32) for output in outputs]

    def _name(self, number: int) -> str:
        return self.classes[number] if 0 <= number < len(self.classes) else str(number)


def fit_image(
    image: Image, size: Size, input_format: InputFormat
) -> tuple[Image, tuple[float, float], tuple[int, int]]:
    """Resize an image to the input of a network.

    Args:
        image: (H, W, 3) uint8.
        size: size of the input.
        input_format: placement of the image.

    Returns:
        The (height, width, 3) input; input pixels per image pixel in x and y; and (left, top) of the image in it.
    """
    height, width = size
    if input_format.placement == "stretch":
        stretched = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
        return np.asarray(stretched, dtype=np.uint8), (width / image.shape[1], height / image.shape[0]), (0, 0)
    scale = min(height / image.shape[0], width / image.shape[1])
    rows, columns = (max(1, round(side * scale)) for side in image.shape[:2])
    left, top = (0, 0) if input_format.placement == "corner" else _centred(width - columns, height - rows)
    fitted = np.full((height, width, 3), GREY, np.uint8)
    shrunk = cv2.resize(image, (columns, rows), interpolation=cv2.INTER_LINEAR)
    fitted[top : top + rows, left : left + columns] = shrunk
    return fitted, (scale, scale), (left, top)


def _centred(free_columns: int, free_rows: int) -> tuple[int, int]:
    """Return the left and top padding, rounded as in Ultralytics' LetterBox."""
    return round(free_columns / 2 - 0.1), round(free_rows / 2 - 0.1)


def class_names(file: ModelFile) -> tuple[str, ...]:
    """Return the class names in the metadata, which Ultralytics writes as ``{0: 'person', ...}``; empty if none.

    Raises:
        ModelError: the metadata cannot be parsed.
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
        raise ModelError(f"{file.path}: the metadata 'names' lists no classes; give them with --classes") from error


def _open_session(file: ModelFile, threads: int | None) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or 0
    options.log_severity_level = 3
    options.add_session_config_entry("session.load_model_format", "ONNX")
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", NONEXISTENT_FOLDER)
    try:
        return ort.InferenceSession(file.content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime raises its own types
        raise ModelError(f"{file.path} cannot be loaded ({one_line(error)}); {REMEDY}") from error


def _input_size(file: ModelFile, requested: int) -> Size:
    """Return the size of the input.

    Raises:
        ModelError: the input is not one image.
        ConfigError: the size of the input is fixed to another one.
    """
    ports = file.inputs
    if len(ports) != 1 or len(ports[0].dims) != 4 or ports[0].element_type not in (FLOAT, FLOAT16):
        found = ", ".join(f"{port.name} {port.dims}" for port in ports)
        raise ModelError(
            f"{file.path} has the inputs {found}: supported is one float image (1, 3, height, width) as the only input"
        )
    batch, channels, height, width = ports[0].dims
    if batch not in (0, 1) or channels not in (0, 3):
        raise ModelError(f"{file.path} has the input {ports[0].dims}: export it for one image (1, 3, height, width)")
    if requested and (height or requested, width or requested) != (requested, requested):
        raise ConfigError(f"{file.path} has a fixed input of {width}x{height}: leave out --detector-size")
    exported = _exported_size(file.metadata.get("imgsz", ""))
    size = height or requested or exported[0], width or requested or exported[1]
    if max(size) > MAX_SIZE:
        raise ModelError(f"{file.path} has an input of {size[1]}x{size[0]}; the limit is {MAX_SIZE} pixels per side")
    return size


def _exported_size(text: str) -> Size:
    """Return the size from the metadata ``imgsz`` of Ultralytics, such as ``[640, 640]``."""
    sides = [int(part) for part in text.strip("[]() ").split(",") if part.strip().isdigit()]
    return (sides[0], sides[-1]) if sides and min(sides) > 0 else (DEFAULT_SIZE, DEFAULT_SIZE)


def _suppress(
    corners: NDArray[np.float64], scores: NDArray[np.float64], classes: NDArray[np.int64], iou: float
) -> NDArray[np.int64]:
    """Return the indices of the boxes that non-maximum suppression within each class keeps, highest score first."""
    rectangles = np.column_stack([corners[:, :2], corners[:, 2:] - corners[:, :2]])
    # Each class is shifted to an area of its own, because OpenCV 4.5 has no NMSBoxesBatched.
    shift = classes[:, None] * (float(np.abs(corners).max()) + 1.0) * 2.0
    rectangles[:, :2] += shift
    indices = cv2.dnn.NMSBoxes(rectangles.tolist(), scores.tolist(), MIN_SCORE, iou)
    kept = np.asarray(indices, np.int64).ravel()
    return np.asarray(kept[np.argsort(-scores[kept], kind="stable")], dtype=np.int64)
