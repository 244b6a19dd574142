"""Indices of data sets: CSV files that name pictures, what is known of their capture, and what they are for."""

from __future__ import annotations

import csv
import io
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lowlight_enhance.core.errors import DataError
from lowlight_enhance.core.metadata.capture import CaptureMetadata

COLUMNS = {"dark": ("dark", "noisy"), "bright": ("bright", "clean")}
"""Accepted names of the two file columns of a pairs index."""

SPLITS = ("train", "val", "test")


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


def read_pairs(index: Path, root: Path | None = None) -> list[Pair]:
    """Pairs listed in a CSV with the columns dark, bright and, where known, iso, exposure_s, scene, split.

    Raises:
        DataError: no such file, no such columns, a value that makes no sense, or a picture that is missing.
    """
    pairs, folder = [], root or index.parent
    for row in _rows(index):
        dark, bright = (row.text(*names) for names in COLUMNS.values())
        scene = row.values.get("scene") or dark
        pair = Pair(folder / dark, folder / bright, row.capture(), scene, row.split(scene))
        for path in (pair.dark, pair.bright):
            if not path.is_file():
                raise DataError(f"{row.where}: {path} does not exist; correct the index or the folder")
        pairs.append(pair)
    return pairs


def read_photos(index: Path, root: Path | None = None) -> list[tuple[Path, str]]:
    """(file, split) of well-exposed photographs listed in a CSV with a column ``file`` and, if wanted, ``split``.

    Raises:
        DataError: no such file, no such column, or a split that is none.
    """
    folder = root or index.parent
    return [(folder / row.text("file"), row.split(row.text("file"))) for row in _rows(index)]


@dataclass(frozen=True, slots=True)
class Shot:
    """A frame as a camera delivered it, with the photograph that it should have been, where there is one."""

    picture: Path
    capture: CaptureMetadata
    reference: Path | None = None


def read_shots(index: Path) -> list[Shot]:
    """Frames listed in a CSV: the dark ones of pairs, or with a column ``file`` and, where known, iso, exposure_s.

    Raises:
        DataError: no such file, no such columns, no rows, a value that makes no sense, or a picture of a pair that is
            missing.
    """
    rows = _rows(index)
    if not rows:
        raise DataError(f"{index} lists no pictures")
    if "file" not in rows[0].values:
        return [Shot(pair.dark, pair.capture, pair.bright) for pair in read_pairs(index)]
    return [Shot(index.parent / row.text("file"), row.capture()) for row in rows]


@dataclass(frozen=True, slots=True)
class _Row:
    """A line of an index: its values by column, and where it stands, for messages."""

    where: str
    values: Mapping[str, str | None]

    def text(self, *names: str) -> str:
        """What stands in the first of these columns that is not empty."""
        for name in names:
            if value := self.values.get(name):
                return value
        found = ", ".join(filter(None, self.values))
        raise DataError(f"{self.where}: no column {' or '.join(names)}, or nothing in it; found {found}")

    def capture(self) -> CaptureMetadata:
        return CaptureMetadata.sanitized(self._number("iso"), self._number("exposure_s"))

    def split(self, scene: str) -> str:
        """What the index says, else the split of ``scene``."""
        split = self.values.get("split") or scene_split(scene)
        if split not in SPLITS:
            raise DataError(f"{self.where}: split is '{split}', expected {', '.join(SPLITS)} or nothing")
        return split

    def _number(self, name: str) -> float | None:
        text = self.values.get(name)
        try:
            return float(text) if text else None
        except ValueError:
            raise DataError(f"{self.where}: {name} is '{text}', expected a number, or nothing if unknown") from None


def _rows(index: Path) -> list[_Row]:
    try:
        reader = csv.DictReader(io.StringIO(index.read_bytes().decode("utf-8-sig"), newline=""))
        reader.fieldnames = _column_names(index, reader.fieldnames or ())
        return [_Row(f"{index}, line {reader.line_num}", values) for values in reader]
    except OSError as error:
        raise DataError(f"cannot read the index {index}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise DataError(f"{index}, line {line}: not UTF-8 ({error.reason}); save the index as UTF-8") from error
    except csv.Error as error:
        raise DataError(f"{index} is not a CSV file: {error}") from error


def _column_names(index: Path, header: Sequence[str]) -> list[str]:
    """Return the column names in lower case and without spaces around them, as the rest of this module reads them.

    Raises:
        DataError: two columns have the same name then, or are alternatives such as ``dark`` and ``noisy``.
    """
    names = [name.strip().lower() for name in header]
    repeated = sorted({name for name in names if name and names.count(name) > 1})
    alternatives = [[name for name in names if name in group] for group in COLUMNS.values()]
    ambiguous = repeated or next((group for group in alternatives if len(group) > 1), [])
    if ambiguous:
        found = ", ".join(repr(name) for name, plain in zip(header, names, strict=True) if plain in ambiguous)
        raise DataError(f"{index}: the columns {found} mean the same; keep one of them")
    return names
