"""Temporary folders that the next run removes if their process was killed.

A scratch folder holds a lock file that its process keeps locked. The kernel releases the lock when the process ends,
also by SIGKILL or power loss, so a folder without a held lock is abandoned. A process id in the name is not enough:
ids are reused, and differ between containers that share a volume. Python's tempfile leaves such folders behind.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

logger = logging.getLogger(__name__)

PREFIX = ".writing-"
"""Prefix of the names of scratch folders."""

_UNLOCKED_PREFIX = ".new-writing-"
"""Prefix until the lock is held. Other processes do not remove folders with it."""

_LOCK = ".lock"
_REPLACED = ".replaced"

_tempfile_lock = threading.Lock()


@contextlib.contextmanager
def scratch_folder(parent: Path) -> Iterator[Path]:
    """Create an empty folder in ``parent``, so that its files can be renamed into ``parent`` on the same file system.

    The folder and its content are removed when the block ends. Abandoned scratch folders in ``parent`` are removed
    first.

    Raises:
        OSError: ``parent`` does not exist or cannot be written.
    """
    remove_leftovers(parent)
    scratch = Path(tempfile.mkdtemp(prefix=_UNLOCKED_PREFIX, dir=parent))  # noqa: TID251
    lock = -1
    try:
        lock = os.open(scratch / _LOCK, os.O_CREAT | os.O_RDWR, 0o600)
        with contextlib.suppress(OSError):  # some network file systems have no locks: nothing is removed there
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        scratch = scratch.rename(parent / (PREFIX + scratch.name.removeprefix(_UNLOCKED_PREFIX)))
        yield scratch
    finally:
        if lock >= 0:
            os.close(lock)  # NFS keeps an open file under another name
        shutil.rmtree(scratch, ignore_errors=True)


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """Create a scratch folder where the system keeps temporary files.

    ``tempfile.TemporaryDirectory`` leaves its files behind for good when the process is killed.

    Raises:
        OSError: the system's folder for temporary files cannot be written.
    """
    with scratch_folder(Path(tempfile.gettempdir())) as folder:
        yield folder


@contextlib.contextmanager
def tempfile_default(folder: Path) -> Iterator[None]:
    """Let ``tempfile`` create files in ``folder`` inside the block, for libraries that offer no parameter for it."""
    with _tempfile_lock:
        previous, tempfile.tempdir = tempfile.tempdir, str(folder)
        try:
            yield
        finally:
            tempfile.tempdir = previous


def remove_leftovers(parent: Path) -> None:
    """Remove abandoned scratch folders in ``parent``.

    If a process was killed while it replaced a folder, the old folder is restored first. Errors are ignored: leftovers
    only take space.
    """
    try:
        with os.scandir(parent) as entries:
            found = [Path(entry.path) for entry in entries if entry.name.startswith(PREFIX) and _is_own_folder(entry)]
    except OSError:
        return
    for scratch in found:
        with contextlib.suppress(OSError), _abandoned(scratch):
            _restore_replaced(scratch)
            shutil.rmtree(scratch, ignore_errors=True)


def replace_folder(scratch: Path, target: Path) -> None:
    """Move the folder ``scratch / target.name`` to ``target``; an existing target is moved into ``scratch``.

    Raises:
        OSError: the move failed; ``target`` is unchanged.
    """
    replaced = scratch / _REPLACED
    replaced.mkdir()
    if target.exists():
        target.rename(replaced / target.name)
    try:
        (scratch / target.name).rename(target)
    except BaseException:
        _restore_replaced(scratch)
        raise


def _is_own_folder(entry: os.DirEntry[str]) -> bool:
    """Return whether it is a folder of this user and not a link: in /tmp, other users can create such names."""
    with contextlib.suppress(OSError):
        return entry.is_dir(follow_symlinks=False) and entry.stat(follow_symlinks=False).st_uid == os.geteuid()
    return False


@contextlib.contextmanager
def _abandoned(scratch: Path) -> Iterator[None]:
    """Hold the lock of an abandoned scratch folder inside the block.

    Raises:
        OSError: another process holds the lock, or there is none.
    """
    lock = os.open(scratch / _LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(lock)


def _restore_replaced(scratch: Path) -> None:
    """Move the replaced folder back if the new folder is not in its place."""
    replaced = scratch / _REPLACED
    if not replaced.is_dir():
        return
    for old in replaced.iterdir():
        target = scratch.parent / old.name
        if not target.exists():
            old.rename(target)
            logger.warning("restored %s, which an interrupted run was replacing", target)
