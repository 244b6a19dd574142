"""Protection against libraries that replace the signal stack of a thread and free it later.

OpenVINO's CPU plugin gives the thread that loads it an alternate signal stack, and unmaps it when the last session
closes. If another thread closes that session, the first thread keeps an invalid stack. Python runs its signal handlers
on the alternate stack, so the next signal (Ctrl-C) ends the process with a segmentation fault. Python has no function
for sigaltstack, so ctypes calls it.
"""

from __future__ import annotations

import contextlib
import ctypes
import sys
from collections.abc import Iterator


class _Stack(ctypes.Structure):
    """``stack_t`` of Linux."""

    _fields_ = (("address", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


@contextlib.contextmanager
def preserve_signal_stack() -> Iterator[None]:
    """Restore the alternate signal stack of the calling thread when the block ends. Does nothing outside Linux."""
    if not sys.platform.startswith("linux"):
        yield
        return
    sigaltstack = ctypes.CDLL(None).sigaltstack
    before = _Stack()
    known = sigaltstack(None, ctypes.byref(before)) == 0
    try:
        yield
    finally:
        if known:
            sigaltstack(ctypes.byref(before), None)
