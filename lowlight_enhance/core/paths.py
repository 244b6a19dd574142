"""Checks that a command does not write over its own input."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from lowlight_enhance.core.errors import DataError

FileId = tuple[int, int]
"""Device and inode number."""


def check_sources_not_overwritten(sources: Iterable[Path], targets: Iterable[Path]) -> None:
    """Check that writing the targets replaces or deletes none of the sources.

    A source is lost where it is a target, or lies in a folder that is a target: such a folder is replaced as a whole.
    Symbolic links are followed, and files are compared by device and inode, so other spellings of the same path, bind
    mounts and file systems that ignore case are recognised. Paths that do not exist are compared by name.

    Args:
        sources: every file or folder that is read, of all jobs of the command.
        targets: every file or folder that is written, of all jobs of the command.

    Raises:
        DataError: names the source and the target.
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
    """Identity of an existing file or folder, links followed; None where there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _message(source: Path, target: Path, is_same: bool) -> str:
    if is_same:
        return f"{target} is the source itself; choose another target, so that the original is kept"
    return f"{source} lies in {target}, which would be replaced; choose another target, so that the original is kept"
