"""Whole files or none: results are written under a temporary name and then renamed."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from lowlight_enhance.core.errors import DataError


@contextlib.contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """A temporary path beside ``target`` with its suffix; becomes ``target`` when the block ends without an error.

    On any error, an interrupt included, the temporary file goes and ``target`` stays what it was.

    Raises:
        DataError: the folder does not exist or cannot be written, or ``target`` is a folder.
    """
    if target.is_dir():
        raise DataError(f"{target} is a folder; name a file in it")
    if not target.parent.is_dir():
        raise DataError(f"the folder {target.parent} does not exist; create it, or name another target")
    try:
        handle, name = tempfile.mkstemp(prefix=".writing-", suffix=target.suffix, dir=target.parent)
    except OSError as error:
        raise DataError(
            f"cannot write into the folder {target.parent} ({error.strerror}); change its permissions or name another"
        ) from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(target)
    except OSError as error:
        raise DataError(f"cannot write {target} ({error.strerror}); free some space or name another target") from error
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def replacing_folder(target: Path) -> Iterator[Path]:
    """A path of the name of ``target`` in a temporary folder beside it; what is made there becomes ``target``.

    That happens when the block ends without an error, and a ``target`` that was there then makes way. On any error, an
    interrupt included, the temporary folder goes and ``target`` stays what it was.

    Raises:
        DataError: the folder around it does not exist or cannot be written.
    """
    if not target.parent.is_dir():
        raise DataError(f"the folder {target.parent} does not exist; create it, or name another target")
    try:
        scratch = Path(tempfile.mkdtemp(prefix=".writing-", dir=target.parent))
    except OSError as error:
        raise DataError(
            f"cannot write into the folder {target.parent} ({error.strerror}); change its permissions or name another"
        ) from error
    try:
        yield scratch / target.name
        old = scratch / "replaced"
        if target.exists():
            target.replace(old)
        try:
            (scratch / target.name).replace(target)
        except BaseException:
            if old.exists():
                old.replace(target)
            raise
    except OSError as error:
        raise DataError(f"cannot write {target} ({error.strerror}); free some space or name another target") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def check_output_folder(folder: Path) -> None:
    """Check, before the work starts, that ``folder`` exists or can be created, and can be written. Creates nothing.

    Raises:
        DataError: a part of the path is a file, or the permissions or the file system do not allow it.
    """
    try:
        existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        if not existing.is_dir():
            raise DataError(f"cannot write into the folder {folder}: {existing} is a file; choose another folder")
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        raise DataError(f"cannot write into the folder {folder} ({error.strerror}); choose another folder") from error


def check_output_file(target: Path) -> None:
    """Check, before the work starts, that ``replacing(target)`` will be able to write. Creates nothing.

    Raises:
        DataError: ``target`` is a folder, or its folder does not exist or cannot be written.
    """
    try:
        if target.is_dir():
            raise DataError(f"{target} is a folder; name a file in it")
        if not target.parent.is_dir():
            raise DataError(f"the folder {target.parent} does not exist; create it, or name another target")
        if target.exists() and not target.is_file():
            return  # a device or a pipe is written to, not replaced
        with tempfile.TemporaryFile(dir=target.parent):
            pass
    except OSError as error:
        raise DataError(f"cannot write {target} ({error.strerror}); choose another target") from error


def _umask() -> int:
    """The process's file-mode mask; reading it means setting it for a moment."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
