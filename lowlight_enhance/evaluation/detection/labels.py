"""Labels of a data set: boxes in COCO's JSON, or in YOLO's text files."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from lowlight_enhance.core.errors import DataError
from lowlight_enhance.evaluation.detection.boxes import NO_BOXES, BoxDetector, Boxes
from lowlight_enhance.evaluation.detection.yolo_labels import LabelFormat, read_class_names, read_yolo_file


@dataclass(frozen=True, slots=True)
class Labels:
    """Boxes by image.

    Attributes:
        source: file or folder that the labels were read from.
        coco: labels of COCO by the base name of the image: its path in the JSON and its boxes.
        folder: folder of YOLO's text files, one per image; None for COCO.
        classes: class names of YOLO in the order of their numbers; empty: the numbers are the names.
        format: format of the lines of YOLO's files.
    """

    source: Path
    coco: dict[str, list[tuple[PurePosixPath, Boxes]]] = field(default_factory=dict)
    folder: Path | None = None
    classes: tuple[str, ...] = ()
    format: LabelFormat = "auto"
    _used: dict[Path, Path] = field(default_factory=dict)

    def find(self, files: Iterable[Path], width: int, height: int) -> Boxes | None:
        """Return the boxes of the first of the image files that has labels; None if none has.

        Args:
            files: image files of one frame.
            width: width of the frame in pixels.
            height: height of the frame in pixels.

        Raises:
            DataError: the labels cannot be read, or belong to several images.
        """
        for image in files:
            found = self._find_coco(image) if self.folder is None else self._find_yolo(image, width, height)
            if found is not None:
                return found
        return None

    def _find_coco(self, image: Path) -> Boxes | None:
        entries = self.coco.get(image.name, [])
        if len(entries) < 2:
            return entries[0][1] if entries else None
        parts = image.parts
        fitting = [boxes for path, boxes in entries if parts[-len(path.parts) :] == path.parts]
        if len(fitting) == 1:
            return fitting[0]
        names = ", ".join(str(path) for path, _ in entries)
        raise DataError(
            f"{self.source} labels several images of the name {image.name} ({names}), and {image} is not one of them "
            "clearly: use unique file names, or the folders of the labels"
        )

    def _find_yolo(self, image: Path, width: int, height: int) -> Boxes | None:
        assert self.folder is not None
        parts = image.parts
        for count in range(len(parts), 0, -1):  # the longest relative path first: FOLDER/cam1/0001.txt
            relative = Path(*parts[-count:])
            if relative.is_absolute() or ".." in relative.parts:
                continue
            path = (self.folder / relative).with_suffix(".txt")
            if path.is_file():
                other = self._used.setdefault(path, image)
                if other != image:
                    raise DataError(
                        f"{path} would label both {other} and {image}: give the images unique names, or put the "
                        f"labels into subfolders named like those of the images"
                    )
                return read_yolo_file(path, width, height, self.classes, self.format)
        return None


def check_labels(labels: Labels, detectors: Iterable[BoxDetector]) -> None:
    """Check that each detector has a class of COCO's labels.

    Raises:
        DataError: a detector has none.
    """
    named = {name for entries in labels.coco.values() for _, boxes in entries for name in boxes.classes}
    named |= set(labels.classes)
    for detector in detectors:
        if named and detector.classes and not named & set(detector.classes):
            raise DataError(
                f"{labels.source} labels {', '.join(sorted(named)[:20])}, and {detector.name} knows "
                f"{', '.join(detector.classes[:20])}: give the same names with --classes, or leave out --labels"
            )


def read_labels(
    source: Path,
    classes: Sequence[str] = (),
    fallback: Sequence[str] = (),
    format: LabelFormat = "auto",  # noqa: A002
) -> Labels:
    """Read the labels of a data set.

    Args:
        source: COCO's JSON file, or a folder with YOLO's text files.
        classes: class names in the order of YOLO's numbers; empty: those of ``classes.txt`` or ``data.yaml`` beside
            the labels.
        fallback: class names if neither exists, for example those of the detector.
        format: format of the lines of YOLO's files.

    Raises:
        DataError: the labels cannot be read.
    """
    if source.is_dir():
        names = tuple(classes) or read_class_names(source) or tuple(fallback)
        return Labels(source, folder=source, classes=names, format=format)
    try:
        return Labels(source, coco=_read_coco(json.loads(source.read_text(encoding="utf-8"))))
    except OSError as error:
        raise DataError(f"cannot read the labels {source}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(
            f"{source} holds no labels in COCO's format ({type(error).__name__}: {error}): give a JSON file with "
            "images, annotations and categories, or a folder of YOLO's text files"
        ) from error


def _read_coco(content: dict[str, Any]) -> dict[str, list[tuple[PurePosixPath, Boxes]]]:
    names = {category["id"]: str(category["name"]) for category in content["categories"]}
    listed: dict[Any, list[tuple[list[float], str, bool]]] = {image["id"]: [] for image in content["images"]}
    for entry in content["annotations"]:
        left, top, width, height = (float(value) for value in entry["bbox"])
        if not all(map(math.isfinite, (left, top, width, height))):
            raise ValueError(f"a box of image {entry['image_id']} is not finite")
        corners = [left, top, left + width, top + height]
        listed[entry["image_id"]].append((corners, names[entry["category_id"]], bool(entry.get("iscrowd", 0))))
    found: dict[str, list[tuple[PurePosixPath, Boxes]]] = {}
    for image in content["images"]:
        path = PurePosixPath(str(image["file_name"]))
        found.setdefault(path.name, []).append((path, _boxes(listed[image["id"]])))
    return found


def _boxes(entries: Sequence[tuple[list[float], str, bool]]) -> Boxes:
    if not entries:
        return NO_BOXES
    corners, names, crowd = zip(*entries, strict=True)
    return Boxes(np.array(corners, np.float64), np.ones(len(entries)), tuple(names), np.array(crowd, bool))
