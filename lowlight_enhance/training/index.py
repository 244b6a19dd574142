"""Indices of data sets: CSV files that name pictures, what is known of their capture, and what they are for."""

from __future__ import annotations

import csv
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lowlight_enhance.core.capture import CaptureMetadata
from lowlight_enhance.core.errors import DataError

COLUMNS = {"dark": ("dark", "noisy"), "bright": ("bright", "clean")}
"""Accepted names of the two file columns of a pairs index."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two photographs of one scene."""

    dark: Path
    bright: Path
    capture: CaptureMetadata
    scene: str
    split: str


def scene_split(scene: str, every: int = 12) -> str:
    """``val`` for about one scene in ``every``, by a hash of its name: stable over runs and machines."""
    return "val" if zlib.crc32(scene.encode()) % every == 0 else "train"


def read_pairs(index: Path) -> list[Pair]:
    """Pairs listed in a CSV with the columns dark, bright and, where known, iso, exposure_s, scene, split.

    Raises:
        DataError: no such file, no such columns, or a picture that is missing.
    """
    pairs = []
    for number, row in enumerate(_rows(index), start=2):
        dark, bright = (_column(row, names, index) for names in COLUMNS.values())
        scene = row.get("scene") or dark
        capture = CaptureMetadata.of(_number(row.get("iso")), _number(row.get("exposure_s")))
        split = row.get("split") or scene_split(scene)
        pair = Pair(index.parent / dark, index.parent / bright, capture, scene, split)
        for path in (pair.dark, pair.bright):
            if not path.is_file():
                raise DataError(f"{index}, line {number}: {path} does not exist; correct the index or the folder")
        pairs.append(pair)
    return pairs


def read_photos(index: Path) -> list[tuple[Path, str]]:
    """(file, split) of well-exposed photographs listed in a CSV with a column ``file`` and, if wanted, ``split``."""
    return [
        (index.parent / row["file"], row.get("split") or scene_split(row["file"]))
        for row in _rows(index)
        if _column(row, ("file",), index)
    ]


@dataclass(frozen=True, slots=True)
class Shot:
    """A frame as a camera delivered it, with the photograph that it should have been, where there is one."""

    picture: Path
    capture: CaptureMetadata
    reference: Path | None = None


def read_shots(index: Path) -> list[Shot]:
    """Frames listed in a CSV: the dark ones of pairs, or with a column ``file`` and, where known, iso, exposure_s.

    Raises:
        DataError: no such file, no such columns, no rows, or a picture of a pair that is missing.
    """
    rows = _rows(index)
    if not rows:
        raise DataError(f"{index} lists no pictures")
    if "file" not in rows[0]:
        return [Shot(pair.dark, pair.capture, pair.bright) for pair in read_pairs(index)]
    return [
        Shot(
            index.parent / _column(row, ("file",), index),
            CaptureMetadata.of(_number(row.get("iso")), _number(row.get("exposure_s"))),
        )
        for row in rows
    ]


def _rows(index: Path) -> list[dict[str, str]]:
    try:
        with index.open(newline="") as file:
            return list(csv.DictReader(file))
    except OSError as error:
        raise DataError(f"cannot read the index {index}: {error.strerror}") from error


def _column(row: dict[str, str], names: Sequence[str], index: Path) -> str:
    for name in names:
        if row.get(name):
            return row[name]
    raise DataError(f"{index}: no column {' or '.join(names)}; found {', '.join(row)}")


def _number(text: str | None) -> float | None:
    return float(text) if text else None
