"""Check that a command does not overwrite its own input."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from lowlight_enhance.core.errors import DataError

FileId = tuple[int, int]
"""Device and inode number."""


def check_sources_not_overwritten(sources: Iterable[Path], targets: Iterable[Path]) -> None:
    """Check that writing the targets does not replace or delete a source.

    A source is lost if it is a target, or lies in a folder that is a target, because target folders are replaced as a
    whole. Symbolic links are followed, and files are compared by device and inode, so other spellings of a path, bind
    mounts and case-insensitive file systems are recognised. Paths that do not exist are compared by name.

    Args:
        sources: all files and folders that the command reads.
        targets: all files and folders that the command writes.

    Raises:
        DataError: a target would replace a source.
    """
    by_id: dict[FileId, Path] = {}
    by_name: dict[Path, Path] = {}
    for target in targets:
        by_name[Path(os.path.realpath(target))] = target
        if (file_id := _file_id(target)) is not None:
            by_id[file_id] = target
    for source in sources:
        resolved = Path(os.path.realpath(source))
        for path in (resolved, *resolved.parents):
            found = by_name.get(path)
            if found is None and (file_id := _file_id(path)) is not None:
                found = by_id.get(file_id)
            if found is not None:
                raise DataError(_message(source, found, is_same=path == resolved))


def _file_id(path: Path) -> FileId | None:
    """Return the id of a file or folder, following links; None if it does not exist."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _message(source: Path, target: Path, is_same: bool) -> str:
    if is_same:
        return f"{target} is the source itself; choose another target, so that the original is kept"
    return f"{source} lies in {target}, which would be replaced; choose another target, so that the original is kept"
