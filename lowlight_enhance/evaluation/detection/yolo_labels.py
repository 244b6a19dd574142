"""Label files of YOLO: one line per object, in one of several formats that differ only in the number of values.

| format | values after the class number |
|---|---|
| ``box`` | centre x, y, width, height; optionally a score |
| ``polygon`` | x, y of three or more points; also oriented boxes with four points |
| ``pose`` | centre x, y, width, height, then x, y or x, y, visibility of each keypoint |

All positions are relative to the image, 0..1. Files with pixels, or with lines that fit two formats, are rejected
instead of being misread.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from lowlight_enhance.core.errors import DataError
from lowlight_enhance.evaluation.detection.boxes import NO_BOXES, Boxes

LabelFormat = Literal["auto", "box", "polygon", "pose"]
LABEL_FORMATS: tuple[LabelFormat, ...] = get_args(LabelFormat)

MARGIN = 0.05
"""How far a value may lie outside 0..1, because annotation tools round."""

CLASS_FILES = ("classes.txt", "obj.names")
DATA_FILES = ("data.yaml", "data.yml")
"""Files with class names: one per line, or Ultralytics' ``names``. The second kind may lie one or two folders up."""

Values = NDArray[np.float64]


def read_class_names(folder: Path) -> tuple[str, ...]:
    """Return the class names that a folder of labels defines, in the order of their numbers; empty if there are none.

    Raises:
        DataError: a file of class names cannot be read.
    """
    for path in (folder / name for name in CLASS_FILES):
        if path.is_file():
            try:
                names = path.read_text(encoding="utf-8-sig").splitlines()
            except (OSError, UnicodeDecodeError) as error:
                raise DataError(f"{path} cannot be read: {error}") from error
            while names and not names[-1].strip():
                names.pop()
            return tuple(name.strip() for name in names)
    parents = (folder, *list(folder.absolute().parents)[:2])
    for path in (parent / name for parent in parents for name in DATA_FILES):
        if path.is_file():
            return _names_of_yaml(path)
    return ()


def _names_of_yaml(path: Path) -> tuple[str, ...]:
    try:
        import yaml
    except ModuleNotFoundError as error:
        raise DataError(f"{path} has the class names, and PyYAML is not installed: give --classes") from error
    try:
        names = yaml.safe_load(path.read_text(encoding="utf-8"))["names"]
        listed = [names[number] for number in range(len(names))]
    except (OSError, ValueError, TypeError, KeyError, yaml.YAMLError) as error:
        raise DataError(f"{path} lists no class names under 'names': give --classes") from error
    return tuple(str(name) for name in listed)


def read_yolo_file(path: Path, width: int, height: int, classes: Sequence[str], label_format: LabelFormat) -> Boxes:
    """Read the boxes of one image.

    Args:
        path: text file.
        width: width of the image in pixels.
        height: height of the image in pixels.
        classes: class names in the order of their numbers.
        label_format: format of the lines.

    Raises:
        DataError: a line does not have that format, or fits several formats.
    """
    corners, names = [], []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} holds no labels in YOLO's format ({error})") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            first, *rest = line.split()
            index, values = int(first), np.array([float(value) for value in rest])
            corners.append(_relative_corners(values, label_format) * [width, height, width, height])
        except ValueError as error:
            raise DataError(f"{path}, line {number} is no label in YOLO's format: {error}") from error
        names.append(classes[index] if 0 <= index < len(classes) else str(index))
    return Boxes(np.array(corners), np.ones(len(names)), tuple(names)) if names else NO_BOXES


def _relative_corners(values: Values, label_format: LabelFormat) -> Values:
    """Left, top, right and bottom of a line, 0..1.

    Raises:
        ValueError: the values are not of the format.
    """
    if len(values) < 4 or not np.isfinite(values).all():
        raise ValueError("expected a class number and at least four finite numbers")
    kind = _line_format(values) if label_format == "auto" else label_format
    if kind == "polygon":
        if len(values) < 6 or len(values) % 2:
            raise ValueError(f"{len(values)} values are no polygon: expected x and y of three or more points")
        x, y = values[0::2], values[1::2]
        corners = np.array([x.min(), y.min(), x.max(), y.max()])
    else:
        corners = _box_corners(values)
    if corners.min() < -MARGIN or corners.max() > 1.0 + MARGIN:
        raise ValueError(
            "the box lies outside the image: expected centre, width and height as parts of the image (0..1), not "
            "pixels or corners"
        )
    return corners


def _line_format(values: Values) -> LabelFormat:
    """Recognise the format of a line.

    Raises:
        ValueError: no format fits, or both a polygon and a box with keypoints do.
    """
    count = len(values)
    if count in (4, 5):
        return "box"
    is_polygon = count % 2 == 0
    is_pose = (count % 2 == 0 and _fits_pose(values, 2)) or ((count - 4) % 3 == 0 and _fits_pose(values, 3))
    if is_polygon and is_pose:
        raise ValueError("it may be a polygon or a box with keypoints: give --label-format polygon or pose")
    if not is_polygon and not is_pose:
        raise ValueError(f"{count} values are neither a box nor a polygon nor a box with keypoints")
    return "polygon" if is_polygon else "pose"


def _fits_pose(values: Values, per_point: int) -> bool:
    """Return whether the values after the box are keypoints within it (0, 0 stands for a missing one)."""
    if values[2] <= 0.0 or values[3] <= 0.0:
        return False
    points = values[4:].reshape(-1, per_point)
    if per_point == 3 and not np.isin(points[:, 2], (0.0, 1.0, 2.0)).all():
        return False
    left, top, right, bottom = _box_corners(values)
    x, y = points[:, 0], points[:, 1]
    missing = (x == 0.0) & (y == 0.0)
    inside = (x >= left - MARGIN) & (x <= right + MARGIN) & (y >= top - MARGIN) & (y <= bottom + MARGIN)
    return bool((inside | missing).all())


def _box_corners(values: Values) -> Values:
    return np.concatenate([values[:2] - values[2:4] / 2.0, values[:2] + values[2:4] / 2.0])
