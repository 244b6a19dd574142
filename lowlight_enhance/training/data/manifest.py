"""Manifests: CSV files that list the pictures of a data set, their capture metadata, splits and hashes.

Column names are matched regardless of case and surrounding spaces.
"""

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
"""Accepted names of the two file columns of a manifest of pairs."""

SPLITS = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class Pair:
    """Two pictures of one scene, of the same size."""

    dark: Path
    bright: Path
    capture: CaptureMetadata
    scene: str
    split: str


@dataclass(frozen=True, slots=True)
class ListedFrame:
    """A dark frame in a manifest.

    Attributes:
        path: file of the frame.
        capture: ISO and exposure time, as far as known.
        reference: file of the well-exposed picture; None if there is none.
    """

    path: Path
    capture: CaptureMetadata
    reference: Path | None = None


def scene_split(scene: str, every: int = 12) -> str:
    """Return ``val`` for about one scene in ``every``, else ``train``, by a hash of its name."""
    return "val" if zlib.crc32(scene.encode()) % every == 0 else "train"


def read_pairs(manifest: Path, root: Path | None = None) -> list[Pair]:
    """Read a manifest with the columns dark and bright and, optionally, iso, exposure_s, scene and split.

    Args:
        manifest: CSV file.
        root: folder to which file names are relative; None: the folder of the manifest.

    Raises:
        DataError: the manifest cannot be read, a column or a file is missing, or a value is invalid.
    """
    pairs, folder = [], root or manifest.parent
    for row in read_rows(manifest):
        dark, bright = (row.text(*names) for names in COLUMNS.values())
        scene = row.values.get("scene") or dark
        pair = Pair(folder / dark, folder / bright, row.capture(), scene, row.split(scene))
        for path in (pair.dark, pair.bright):
            if not path.is_file():
                raise DataError(f"{row.where}: {path} does not exist; correct the manifest or the folder")
        pairs.append(pair)
    return pairs


def read_photos(manifest: Path, root: Path | None = None) -> list[tuple[Path, str]]:
    """Read (file, split) of a manifest with the column file and, optionally, split.

    Args:
        manifest: CSV file.
        root: folder to which file names are relative; None: the folder of the manifest.

    Raises:
        DataError: the manifest cannot be read, the column is missing, or a split is invalid.
    """
    folder = root or manifest.parent
    return [(folder / row.text("file"), row.split(row.text("file"))) for row in read_rows(manifest)]


def read_frames(manifest: Path, root: Path | None = None) -> list[ListedFrame]:
    """Read the dark frames of pairs, or those of a manifest with the column file and, optionally, iso and exposure_s.

    Rows with the split ``test`` are omitted.

    Args:
        manifest: CSV file.
        root: folder to which file names are relative; None: the folder of the manifest.

    Raises:
        DataError: the manifest cannot be read or has no such rows, a column is missing, a value is invalid, or a file
            of a pair is missing.
    """
    rows = read_rows(manifest)
    if not rows:
        raise DataError(f"{manifest} lists no pictures")
    if "file" in rows[0].values:
        folder = root or manifest.parent
        frames = [
            ListedFrame(folder / row.text("file"), row.capture()) for row in rows if row.values.get("split") != "test"
        ]
    else:
        pairs = [pair for pair in read_pairs(manifest, root) if pair.split != "test"]
        frames = [ListedFrame(pair.dark, pair.capture, pair.bright) for pair in pairs]
    if not frames:
        raise DataError(f"{manifest} lists only pictures of the split 'test'")
    return frames


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a manifest.

    Attributes:
        where: file and line, for messages.
        values: by column name in lower case.
    """

    where: str
    values: Mapping[str, str | None]

    def text(self, *names: str) -> str:
        """Return the value of the first of these columns that is not empty.

        Raises:
            DataError: all of them are missing or empty.
        """
        for name in names:
            if value := self.values.get(name):
                return value
        found = ", ".join(filter(None, self.values))
        raise DataError(f"{self.where}: no column {' or '.join(names)}, or nothing in it; found {found}")

    def capture(self) -> CaptureMetadata:
        """Return ISO and exposure time, as far as known."""
        return CaptureMetadata.sanitized(self._number("iso"), self._number("exposure_s"))

    def split(self, scene: str) -> str:
        """Return the value of the column split, or where it is empty the split of ``scene``."""
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


def read_rows(manifest: Path) -> list[Row]:
    """Read the rows of a manifest.

    Raises:
        DataError: the file cannot be read, is not a CSV file in UTF-8, or has ambiguous columns.
    """
    try:
        reader = csv.DictReader(io.StringIO(manifest.read_bytes().decode("utf-8-sig"), newline=""))
        reader.fieldnames = _column_names(manifest, reader.fieldnames or ())
        return [Row(f"{manifest}, line {reader.line_num}", values) for values in reader]
    except OSError as error:
        raise DataError(f"cannot read the manifest {manifest}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise DataError(f"{manifest}, line {line}: not UTF-8 ({error.reason}); save the manifest as UTF-8") from error
    except csv.Error as error:
        raise DataError(f"{manifest} is not a CSV file: {error}") from error


def _column_names(manifest: Path, header: Sequence[str]) -> list[str]:
    """Return the column names in lower case and without spaces around them.

    Raises:
        DataError: two columns have the same name then, or are alternatives such as ``dark`` and ``noisy``.
    """
    names = [name.strip().lower() for name in header]
    repeated = sorted({name for name in names if name and names.count(name) > 1})
    alternatives = [[name for name in names if name in group] for group in COLUMNS.values()]
    ambiguous = repeated or next((group for group in alternatives if len(group) > 1), [])
    if ambiguous:
        found = ", ".join(repr(name) for name, plain in zip(header, names, strict=True) if plain in ambiguous)
        raise DataError(f"{manifest}: the columns {found} mean the same; keep one of them")
    return names
