"""Output files and folders: every result is complete under its name, or the name holds what it held before.

Results are written into a scratch folder beside the target, flushed to the disk, and renamed. Every system error
becomes a ``DataError`` that names the target. Devices and pipes cannot be replaced by a rename; they are written to.
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
"""Errors of file systems that have no ``fsync``."""


@contextlib.contextmanager
def atomic_file(target: Path) -> Iterator[Path]:
    """Write a file through a temporary one of the same name in a scratch folder beside ``target``.

    When the block ends without an error, the temporary file is flushed to the disk and becomes ``target``. On any
    error, an interrupt included, it is removed and ``target`` stays as it was. Where ``target`` is a symbolic link,
    the file that it points to is replaced. Where it is a character device, a pipe or a file descriptor
    (``/dev/stdout``), the content is written to it. Other files that the block creates beside the temporary file are
    removed.

    Yields:
        Path of the temporary file, which does not exist yet.

    Raises:
        DataError: the folder does not exist, ``target`` is a folder, a disk or a socket, or it cannot be written.
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
    """Write a folder through a temporary one of the same name in a scratch folder beside ``target``.

    When the block ends without an error, all files are flushed to the disk, and the new folder takes the place of
    ``target``, which is then deleted. On any error, an interrupt included, ``target`` stays as it was. Where
    ``target`` is a symbolic link, the folder that it points to is replaced.

    Yields:
        Path of the temporary folder, which the block must create.

    Raises:
        DataError: the folder around it does not exist, ``target`` is a file or a mount point, or it cannot be
            written.
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
    """Write a whole file, as ``atomic_file``.

    Raises:
        DataError: it cannot be written.
    """
    with atomic_file(target) as temporary:
        temporary.write_bytes(content)


def write_text(target: Path, text: str) -> None:
    """Write a whole file in UTF-8, as ``atomic_file``.

    Raises:
        DataError: it cannot be written.
    """
    write_bytes(target, text.encode("utf-8"))


def make_folder(folder: Path) -> None:
    """Create ``folder`` and those around it where they do not exist.

    Raises:
        DataError: it cannot be created, or is a file.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise DataError(f"cannot create the folder {folder}: a file has that name; choose another folder") from error
    except OSError as error:
        raise DataError(f"cannot create the folder {folder}: {system_error_remedy(error)}") from error


@contextlib.contextmanager
def translate_os_errors(target: Path) -> Iterator[None]:
    """Turn system errors inside the block into a ``DataError`` that says that ``target`` cannot be written.

    Another file that the error is about, such as one that is read inside the block, is named too.
    """
    try:
        yield
    except OSError as error:
        other = "" if error.filename is None or _is_part_of(error.filename, target) else f"{error.filename}: "
        raise DataError(f"cannot write {target}: {other}{system_error_remedy(error)}") from error


def _is_part_of(name: object, target: Path) -> bool:
    """Whether a file name of an error is the target, its folder, or lies in a scratch folder."""
    text = os.fsdecode(name) if isinstance(name, str | bytes) else ""
    return not text or text in (str(target), str(target.parent)) or PREFIX in text or str(target) in text


def check_output_folder(folder: Path) -> None:
    """Check, before the work starts, that ``folder`` exists or can be created, and can be written. Creates nothing.

    Raises:
        DataError: a part of the path is a file, or the permissions or the file system do not allow it.
    """
    try:
        existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        if not existing.is_dir():
            raise DataError(f"cannot write into the folder {folder}: {existing} is a file; choose another folder")
        _check_space(existing)
    except OSError as error:
        raise DataError(f"cannot write into the folder {folder}: {system_error_remedy(error)}") from error


def check_output_file(target: Path) -> None:
    """Check, before the work starts, that ``atomic_file(target)`` will be able to write. Creates nothing.

    Raises:
        DataError: ``target`` is a folder, a disk or a socket, or its folder does not exist or cannot be written.
    """
    with translate_os_errors(target):
        if _is_stream(target):
            return
        _check_file(target)
        _check_space(Path(os.path.realpath(target.parent)))


def _check_space(folder: Path) -> None:
    """Write a page into ``folder`` and remove it: on a full disk a file can be created, but not filled."""
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
    """Whether ``target`` is written to instead of replaced.

    Raises:
        DataError: it is a disk or a socket.
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
    # A redirected standard output is a regular file, but /dev/stdout must stay a link and keep its place in the file.
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
    """Wait until a file or folder is on the disk: some errors of writing, such as quotas, are reported only then."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_FSYNC:
            raise
    finally:
        os.close(descriptor)
