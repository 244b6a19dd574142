"""Removal of a C library's lines from stderr."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator

_STDERR = 2
_lock = threading.Lock()


@contextlib.contextmanager
def without_stderr_lines(*prefixes: bytes) -> Iterator[None]:
    """Drop the lines with one of these prefixes that are written to file descriptor 2 inside the block.

    Other lines, of all threads of the process, are written when the block ends. Lines of a process that crashes inside
    the block, and of children that another thread starts inside it, are lost, so keep blocks short and rare. Does
    nothing where stderr is closed, and on systems without ``memfd_create`` (Linux has it).
    """
    with _lock, contextlib.ExitStack() as stack:
        if hasattr(os, "memfd_create"):
            with contextlib.suppress(OSError):
                stack.enter_context(_redirected(prefixes))
        yield


@contextlib.contextmanager
def _redirected(prefixes: tuple[bytes, ...]) -> Iterator[None]:
    original = os.dup(_STDERR)
    try:
        captured = os.memfd_create("stderr")
        try:
            os.dup2(captured, _STDERR)
            try:
                yield
            finally:
                os.dup2(original, _STDERR)
                _write_other_lines(captured, prefixes)
        finally:
            os.close(captured)
    finally:
        os.close(original)


def _write_other_lines(captured: int, prefixes: tuple[bytes, ...]) -> None:
    content = os.pread(captured, os.fstat(captured).st_size, 0)
    kept = b"".join(line for line in content.splitlines(keepends=True) if not line.startswith(prefixes))
    if kept:
        os.write(_STDERR, kept)
