"""Temporary folders that the next run removes where their process was killed.

A scratch folder holds a lock file that its process keeps locked. The kernel releases the lock when the process ends in
any way, SIGKILL and power loss included, so a folder whose lock is free belongs to nobody. A process id in the name
would not do: ids are reused, and differ between containers that share a volume.
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
"""Names of scratch folders begin with this."""

_UNLOCKED_PREFIX = ".new-writing-"
"""Until its lock is held, a scratch folder has a name that no other process removes."""

_LOCK = ".lock"
_REPLACED = ".replaced"

_tempfile_lock = threading.Lock()


@contextlib.contextmanager
def scratch_folder(parent: Path) -> Iterator[Path]:
    """A new, empty folder in ``parent``, on the same file system, so that its files can be renamed into ``parent``.

    It is removed with all that it holds when the block ends. Leftovers of killed processes in ``parent`` are removed
    first.

    Raises:
        OSError: ``parent`` does not exist or cannot be written.
    """
    remove_leftovers(parent)
    scratch = Path(tempfile.mkdtemp(prefix=_UNLOCKED_PREFIX, dir=parent))  # noqa: TID251
    lock = -1
    try:
        lock = os.open(scratch / _LOCK, os.O_CREAT | os.O_RDWR, 0o600)
        with contextlib.suppress(OSError):  # some network file systems have no locks; nothing is removed there
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        scratch = scratch.rename(parent / (PREFIX + scratch.name.removeprefix(_UNLOCKED_PREFIX)))
        yield scratch
    finally:
        if lock >= 0:
            os.close(lock)  # NFS cannot remove a file that is open
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
    """Remove the scratch folders in ``parent`` whose processes are gone.

    Where such a process was killed while it exchanged an old folder for a new one, the old one is restored first.
    Errors are ignored: leftovers cost space, not correctness.
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
    """Make the folder ``scratch / target.name`` the new ``target``; an existing target moves into ``scratch``.

    Raises:
        OSError: the exchange failed, and ``target`` is what it was.
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
    """Whether it is a real folder of this user; in /tmp others may have planted links or folders of that name."""
    with contextlib.suppress(OSError):
        return entry.is_dir(follow_symlinks=False) and entry.stat(follow_symlinks=False).st_uid == os.geteuid()
    return False


@contextlib.contextmanager
def _abandoned(scratch: Path) -> Iterator[None]:
    """Hold the lock of ``scratch`` inside the block.

    Raises:
        OSError: it is another process's, or has no lock.
    """
    lock = os.open(scratch / _LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(lock)


def _restore_replaced(scratch: Path) -> None:
    """Move what was being replaced back, where nothing has taken its place."""
    replaced = scratch / _REPLACED
    if not replaced.is_dir():
        return
    for old in replaced.iterdir():
        target = scratch.parent / old.name
        if not target.exists():
            old.rename(target)
            logger.warning("restored %s, which an interrupted run was replacing", target)
