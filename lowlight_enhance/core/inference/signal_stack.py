"""Keeps a library from leaving a thread with a signal stack that is no longer there."""

from __future__ import annotations

import contextlib
import ctypes
import sys
from collections.abc import Iterator


class _Stack(ctypes.Structure):
    """``stack_t`` of Linux: where the signal handlers of a thread run."""

    _fields_ = (("address", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


@contextlib.contextmanager
def preserve_signal_stack() -> Iterator[None]:
    """Within, a library may give the calling thread another alternate signal stack; afterwards it has its own again.

    OpenVINO's CPU plugin gives one to the thread that loads it, and unmaps it when the last session closes. Where
    another thread closes it, the first keeps an address without memory, and as Python's handlers run on the alternate
    stack, the next signal, be it Ctrl-C, ends the process with a segmentation fault.
    """
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
