"""Atomic output files and folders: a result appears complete under its name, or the name is unchanged.

Results are written into a scratch folder beside the target, flushed to disk, and renamed. System errors become a
``DataError`` that names the target. Devices and pipes cannot be replaced by a rename, so the result is copied to them.

atomicwrites (archived) and the temporary files of other libraries write single files; they do not replace folders,
remove the leftovers of killed processes, or write to devices.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from lowlight_enhance.core.errors import DataError, system_error_remedy
from lowlight_enhance.core.scratch import PREFIX, replace_folder, scratch_folder, temporary_folder

PAGE_BYTES = 4096

_NO_FSYNC = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP)
"""Errors of ``fsync`` on file systems without it."""


@contextlib.contextmanager
def atomic_file(target: Path) -> Iterator[Path]:
    """Write a file through a temporary file of the same name in a scratch folder beside ``target``.

    When the block ends without an error, the temporary file is flushed to disk and renamed to ``target``. On any
    error or interrupt, it is removed and ``target`` is unchanged. If ``target`` is a symbolic link, the file that it
    points to is replaced. If it is a character device, a pipe or a file descriptor (``/dev/stdout``), the content is
    written to it. Other files that the block creates beside the temporary file are removed.

    Yields:
        Path of the temporary file, which does not exist yet.

    Raises:
        DataError: the folder does not exist, ``target`` is a folder, a block device or a socket, or it cannot be
            written.
    """
    with translate_os_errors(target):
        if _is_stream(target):
            with temporary_folder() as folder:
                temporary = folder / target.name
                yield temporary
                _write_to_stream(temporary, target)
            return
        _check_file(target)
        path = Path(os.path.realpath(target))
        with scratch_folder(path.parent) as scratch:
            temporary = scratch / path.name
            yield temporary
            _sync(temporary)
            temporary.replace(path)
            _sync(path.parent)


@contextlib.contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """Write a folder through a temporary folder of the same name in a scratch folder beside ``target``.

    When the block ends without an error, all files are flushed to disk, and the new folder replaces ``target``, which
    is deleted. On any error or interrupt, ``target`` is unchanged. If ``target`` is a symbolic link, the folder that
    it points to is replaced.

    Yields:
        Path of the temporary folder, which the block must create.

    Raises:
        DataError: the parent folder does not exist, ``target`` is a file or a mount point, or it cannot be written.
    """
    with translate_os_errors(target):
        _check_parent(target)
        path = Path(os.path.realpath(target))
        if path.exists() and not path.is_dir():
            raise DataError(f"{target} is a file; choose the name of a folder")
        if path.is_mount():
            raise DataError(f"{target} is a mount point, which cannot be replaced; choose a new folder in it")
        with scratch_folder(path.parent) as scratch:
            temporary = scratch / path.name
            yield temporary
            _sync_tree(temporary)
            replace_folder(scratch, path)
            _sync(path.parent)


def write_bytes(target: Path, content: bytes | memoryview) -> None:
    """Write a file with ``atomic_file``.

    Raises:
        DataError: as ``atomic_file``.
    """
    with atomic_file(target) as temporary:
        temporary.write_bytes(content)


def write_text(target: Path, text: str) -> None:
    """Write a file in UTF-8 with ``atomic_file``.

    Raises:
        DataError: as ``atomic_file``.
    """
    write_bytes(target, text.encode("utf-8"))


def make_folder(folder: Path) -> None:
    """Create ``folder`` and its parents if they do not exist.

    Raises:
        DataError: the folder cannot be created, or is a file.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise DataError(f"cannot create the folder {folder}: a file has that name; choose another folder") from error
    except OSError as error:
        raise DataError(f"cannot create the folder {folder}: {system_error_remedy(error)}") from error


@contextlib.contextmanager
def translate_os_errors(target: Path) -> Iterator[None]:
    """Raise ``DataError`` "cannot write <target>" for an OSError in the block.

    If the error is about another file, for example one that the block reads, the message names that file too.
    """
    try:
        yield
    except OSError as error:
        other = "" if error.filename is None or _is_part_of(error.filename, target) else f"{error.filename}: "
        raise DataError(f"cannot write {target}: {other}{system_error_remedy(error)}") from error


def _is_part_of(name: object, target: Path) -> bool:
    """Return whether the file name of an error is the target, its folder, or in a scratch folder."""
    text = os.fsdecode(name) if isinstance(name, str | bytes) else ""
    return not text or text in (str(target), str(target.parent)) or PREFIX in text or str(target) in text


def check_output_folder(folder: Path) -> None:
    """Check, before the work starts, that ``folder`` exists or can be created, and is writable. Creates nothing.

    Raises:
        DataError: a part of the path is a file, or permissions or the file system do not allow writing.
    """
    try:
        existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        if not existing.is_dir():
            raise DataError(f"cannot write into the folder {folder}: {existing} is a file; choose another folder")
        _check_space(existing)
    except OSError as error:
        raise DataError(f"cannot write into the folder {folder}: {system_error_remedy(error)}") from error


def check_output_file(target: Path) -> None:
    """Check, before the work starts, that ``atomic_file(target)`` can write. Creates nothing.

    Raises:
        DataError: ``target`` is a folder, a block device or a socket, or its folder does not exist or is not writable.
    """
    with translate_os_errors(target):
        if _is_stream(target):
            return
        _check_file(target)
        _check_space(Path(os.path.realpath(target.parent)))


def _check_space(folder: Path) -> None:
    """Write a page to a temporary file in ``folder``. On a full disk, an empty file can still be created."""
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(bytes(PAGE_BYTES))


def _check_file(target: Path) -> None:
    if target.is_dir():
        raise DataError(f"{target} is a folder; choose the name of a file in it")
    _check_parent(target)


def _check_parent(target: Path) -> None:
    if not target.parent.is_dir():
        raise DataError(f"the folder {target.parent} does not exist; create it, or choose another target")


def _is_stream(target: Path) -> bool:
    """Return whether ``target`` is written to instead of replaced.

    Raises:
        DataError: ``target`` is a block device or a socket.
    """
    try:
        mode = target.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return False
    if stat.S_ISBLK(mode) or stat.S_ISSOCK(mode):
        kind = "disk" if stat.S_ISBLK(mode) else "socket"
        raise DataError(f"{target} is a {kind}, to which no results are written; choose the name of a file")
    if stat.S_ISCHR(mode) or stat.S_ISFIFO(mode):
        return True
    # If stdout is redirected to a file, /dev/stdout is a link to it. It must not be replaced, and the position in the
    # file must be kept.
    folder = os.path.realpath(target.parent)
    return target.is_symlink() and stat.S_ISREG(mode) and (folder == "/dev" or folder.startswith("/proc/"))


def _write_to_stream(content: Path, target: Path) -> None:
    descriptor = os.open(target, os.O_WRONLY | os.O_APPEND | os.O_NOCTTY)
    with content.open("rb") as source, open(descriptor, "wb") as sink:  # noqa: PTH123 (a descriptor has no path)
        shutil.copyfileobj(source, sink)


def _sync_tree(folder: Path) -> None:
    for parent, _, names in os.walk(folder):
        for name in names:
            _sync(Path(parent) / name)
        _sync(Path(parent))


def _sync(path: Path) -> None:
    """Flush a file or folder to disk. Some write errors, such as quotas on NFS, are reported only then."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_FSYNC:
            raise
    finally:
        os.close(descriptor)
