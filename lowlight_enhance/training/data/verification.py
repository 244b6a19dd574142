"""Check the files of a data set against the hashes in its manifests, and write manifests with hashes.

A hash shows that training reads the files that a recipe names, and that no picture is in two splits.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lowlight_enhance.core.errors import DataError, system_error_remedy
from lowlight_enhance.core.files import atomic_file
from lowlight_enhance.training.data.manifest import COLUMNS, Row, read_rows

SPLIT = "split"


@dataclass(frozen=True, slots=True)
class ListedFile:
    """A file in a row of a manifest.

    Attributes:
        where: manifest and line, for messages.
        column: ``file``, ``dark`` or ``bright``.
        name: as the manifest spells it.
        path: of the file.
        split: of the row.
        sha256: hexadecimal digest in the manifest; None if there is none.
    """

    where: str
    column: str
    name: str
    path: Path
    split: str
    sha256: str | None


@dataclass(frozen=True, slots=True)
class Check:
    """Result of a check of manifests.

    Attributes:
        files: number of different files.
        problems: one line for each; empty if all files are as listed.
    """

    files: int
    problems: tuple[str, ...]


def check_manifests(manifests: Sequence[Path], root: Path | None = None) -> Check:
    """Compare the files of a data set with its manifests.

    Reported are missing and changed files, rows without a hash, rows that are listed twice, and pictures that are
    listed under two names or in two splits.

    Args:
        manifests: CSV files with the columns ``sha256``, or ``dark_sha256`` and ``bright_sha256``.
        root: folder to which file names are relative; None: the folder of each manifest.

    Raises:
        DataError: a manifest cannot be read, lists no files or has no column of hashes.
    """
    problems: list[str] = []
    listed: list[ListedFile] = []
    for manifest in manifests:
        rows = read_rows(manifest)
        if not rows:
            raise DataError(f"{manifest} lists no pictures")
        files = [file for row in rows for file in _files(row, root or manifest.parent)]
        if not any(file.sha256 for file in files):
            raise DataError(
                f"{manifest} has no column sha256, or dark_sha256 and bright_sha256; "
                f"write one with: lowlight dataset make {manifest} TARGET.csv"
            )
        problems += _repeated_rows(rows)
        listed += files
    unique = {(file.path, file.sha256): file for file in listed}
    problems += [problem for file in unique.values() if (problem := _file_problem(file)) is not None]
    problems += _shared_content(listed)
    return Check(len({file.path for file in listed}), tuple(problems))


def make_manifest(index: Path, target: Path, root: Path | None = None) -> int:
    """Write a manifest with splits and hashes from one without them.

    All columns are kept; ``split`` is filled in where it is empty, and hashes are computed again. File names stay as
    they are.

    Args:
        index: CSV file of pairs or photographs.
        target: manifest to write.
        root: folder to which file names are relative; None: the folder of ``index``.

    Returns:
        The number of rows.

    Raises:
        DataError: ``index`` or a file cannot be read, or ``target`` cannot be written.
    """
    rows, lines = read_rows(index), []
    if not rows:
        raise DataError(f"{index} lists no pictures")
    for row in rows:
        files = _files(row, root or index.parent)
        hashes = {_hash_column(file.column): _hash_or_raise(file) for file in files}
        values = {name: value or "" for name, value in row.values.items() if name}
        lines.append({**values, SPLIT: files[0].split, **hashes})
    with atomic_file(target) as temporary, temporary.open("w", newline="", encoding="utf-8") as output:
        writer = csv.DictWriter(output, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)
    return len(lines)


def sha256_of(path: Path) -> str:
    """Return the hexadecimal SHA-256 digest of a file.

    Raises:
        OSError: the file cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _files(row: Row, folder: Path) -> list[ListedFile]:
    """Return the files of a row: the photograph, or the dark and the bright picture."""
    if "file" in row.values:
        names = {"file": row.text("file")}
        scene = names["file"]
    else:
        names = {column: row.text(*alternatives) for column, alternatives in COLUMNS.items()}
        scene = row.values.get("scene") or names["dark"]
    split = row.split(scene)
    return [
        ListedFile(row.where, column, name, folder / name, split, _lower(row.values.get(_hash_column(column))))
        for column, name in names.items()
    ]


def _lower(text: str | None) -> str | None:
    return text.strip().lower() if text else None


def _hash_column(column: str) -> str:
    return "sha256" if column == "file" else f"{column}_sha256"


def _hash_or_raise(file: ListedFile) -> str:
    try:
        return sha256_of(file.path)
    except OSError as error:
        raise DataError(f"{file.where}: cannot read {file.path}: {system_error_remedy(error)}") from error


def _file_problem(file: ListedFile) -> str | None:
    """Return what is wrong with a file, or None."""
    if not file.path.exists():
        return f"missing: {file.path}"
    if file.sha256 is None:
        return f"no hash: {file.name} ({file.where})"
    try:
        found = sha256_of(file.path)
    except OSError as error:
        return f"unreadable: {file.path}: {system_error_remedy(error)}"
    return None if found == file.sha256 else f"changed: {file.path} has the SHA-256 {found}, not {file.sha256}"


def _repeated_rows(rows: Iterable[Row]) -> Iterator[str]:
    first: dict[tuple[str, ...], str] = {}
    for row in rows:
        key = tuple(file.name for file in _files(row, Path()))
        if key in first:
            yield f"duplicate: {' and '.join(key)} ({row.where}, also {first[key].rpartition(', ')[2]})"
        else:
            first[key] = row.where


def _shared_content(files: Iterable[ListedFile]) -> Iterator[str]:
    """Report content that is listed under several names or in several splits."""
    by_hash: dict[str, dict[tuple[Path, str], ListedFile]] = {}
    for file in files:
        if file.sha256:
            by_hash.setdefault(file.sha256, {}).setdefault((file.path, file.split), file)
    for found in by_hash.values():
        if len(found) > 1:
            yield (
                "duplicate: "
                + " and ".join(f"{file.name} ({file.split})" for file in found.values())
                + (" have the same content" if len({file.path for file in found.values()}) > 1 else " are one file")
            )
