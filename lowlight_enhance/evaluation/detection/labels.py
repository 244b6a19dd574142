"""What is on the pictures of a data set: boxes in COCO's JSON, or in YOLO's text files."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lowlight_enhance.core.errors import DataError
from lowlight_enhance.evaluation.detection.boxes import NO_BOXES, BoxDetector, Boxes


@dataclass(frozen=True, slots=True)
class Labels:
    """Boxes by picture.

    Attributes:
        source: where they were read from.
        pixels: of COCO, by the file name of the picture.
        folder: of YOLO, with a text file a picture.
        classes: of YOLO, in the order of their numbers; empty: the numbers are the names.
    """

    source: Path
    pixels: dict[str, Boxes] = field(default_factory=dict)
    folder: Path | None = None
    classes: tuple[str, ...] = ()

    def of(self, files: Iterable[Path], width: int, height: int) -> Boxes | None:
        """Boxes of the first of some pictures, of that size, that is labelled; None where none is.

        Raises:
            DataError: its file cannot be read as labels.
        """
        for picture in files:
            if self.folder is None:
                if picture.name in self.pixels:
                    return self.pixels[picture.name]
            elif (path := self.folder / f"{picture.stem}.txt").is_file():
                return _yolo_boxes(path, width, height, self.classes)
        return None


def check_labels(labels: Labels, detectors: Iterable[BoxDetector]) -> None:
    """Look, before any work is done, whether mean precision can come of it.

    Raises:
        ModuleNotFoundError: pycocotools is missing.
        DataError: a detector knows nothing of what COCO's labels name.
    """
    import pycocotools.cocoeval  # noqa: F401

    named = {name for boxes in labels.pixels.values() for name in boxes.classes}
    for detector in detectors:
        if named and not named & set(detector.classes):
            raise DataError(
                f"{labels.source} labels {', '.join(sorted(named)[:20])}, and {detector.name} knows "
                f"{', '.join(detector.classes[:20])}: name its classes alike with --classes, or leave it out"
            )


def read_labels(source: Path, classes: Sequence[str] = ()) -> Labels:
    """Labels of a data set.

    Args:
        source: COCO's JSON file, or a folder with YOLO's text files.
        classes: names in the order of YOLO's numbers; else ``classes.txt`` in the folder has them, one a line.

    Raises:
        DataError: neither.
    """
    if source.is_dir():
        listed = source / "classes.txt"
        try:
            names = listed.read_text(encoding="utf-8").splitlines() if listed.is_file() and not classes else classes
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{listed} cannot be read: {error}") from error
        return Labels(source, folder=source, classes=tuple(name.strip() for name in names if name.strip()))
    try:
        content = json.loads(source.read_text(encoding="utf-8"))
        return Labels(source, pixels=_coco_boxes(content))
    except OSError as error:
        raise DataError(f"cannot read the labels {source}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(
            f"{source} holds no labels in COCO's format ({type(error).__name__}: {error}): give a JSON file with "
            "images, annotations and categories, or a folder of YOLO's text files"
        ) from error


def _coco_boxes(content: dict[str, Any]) -> dict[str, Boxes]:
    names = {category["id"]: str(category["name"]) for category in content["categories"]}
    listed: dict[Any, list[tuple[list[float], str, bool]]] = {image["id"]: [] for image in content["images"]}
    for entry in content["annotations"]:
        left, top, width, height = (float(value) for value in entry["bbox"])
        if not all(map(math.isfinite, (left, top, width, height))):
            raise ValueError(f"a box of image {entry['image_id']} is not finite")
        corners = [left, top, left + width, top + height]
        listed[entry["image_id"]].append((corners, names[entry["category_id"]], bool(entry.get("iscrowd", 0))))
    return {Path(str(image["file_name"])).name: _boxes(listed[image["id"]]) for image in content["images"]}


def _yolo_boxes(path: Path, width: int, height: int, classes: Sequence[str]) -> Boxes:
    """Lines of class, centre x and y, width and height as parts of the picture; of a polygon, the box around it."""
    found = []
    try:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            if not line.strip():
                continue
            first, *rest = line.split()
            values = np.array([float(value) for value in rest])
            polygon = len(values) >= 6 and len(values) % 2 == 0
            if (len(values) not in (4, 5) and not polygon) or not np.isfinite(values).all():
                raise ValueError(f"line {number}")
            if polygon:
                x, y = values[0::2], values[1::2]
                parts = np.array([x.min(), y.min(), x.max(), y.max()])
            else:
                parts = np.concatenate([values[:2] - values[2:4] / 2.0, values[:2] + values[2:4] / 2.0])
            index = int(first)
            name = classes[index] if 0 <= index < len(classes) else str(index)
            found.append(((parts * [width, height, width, height]).tolist(), name, False))
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path} holds no labels in YOLO's format ({error}): lines of class, x, y, width, height in 0..1"
        ) from error
    return _boxes(found)


def _boxes(found: Iterable[tuple[list[float], str, bool]]) -> Boxes:
    entries = list(found)
    if not entries:
        return NO_BOXES
    corners, names, crowd = zip(*entries, strict=True)
    return Boxes(np.array(corners, np.float64), np.ones(len(entries)), tuple(names), np.array(crowd, bool))
