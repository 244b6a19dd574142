"""Signal handlers for one block of code."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

Handler = Callable[[int, FrameType | None], None]


class Interrupted(KeyboardInterrupt):
    """SIGINT was received.

    CPython ends a process by SIGINT if a ``KeyboardInterrupt`` of exactly this type has passed through ``exec`` (which
    dataclasses use), even if it was caught. A subclass avoids this.
    """


@contextlib.contextmanager
def handle_signals(handler: Handler, *numbers: signal.Signals) -> Iterator[None]:
    """Call ``handler`` for these signals inside the block, then restore the previous handlers.

    Does nothing outside the main thread, because Python allows only that thread to install handlers.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, old in previous.items():
            signal.signal(number, old)


@contextlib.contextmanager
def exit_on_sigterm() -> Iterator[None]:
    """Raise ``SystemExit(143)`` on SIGTERM inside the block, so that temporary files and child processes are removed.

    The default action ends the process without running ``finally`` blocks. In forked children, which inherit the
    handler, SIGTERM has its default action: the worker loop of ``concurrent.futures`` would catch the exception and
    continue.
    """
    code = 128 + signal.SIGTERM
    owner = os.getpid()
    received = False

    def leave(_number: int, _frame: FrameType | None) -> None:
        nonlocal received
        if os.getpid() != owner:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)
        received = True
        raise SystemExit(code)

    with handle_signals(leave, signal.SIGTERM):
        try:
            yield
        except SystemExit as error:
            # A library may have caught the exception and raised another SystemExit.
            raise (SystemExit(code) if received else error) from None


@contextlib.contextmanager
def raise_on_sigint() -> Iterator[Callable[[], bool]]:
    """Raise ``Interrupted`` on SIGINT inside the block. Does nothing in a process that ignores SIGINT.

    Yields:
        A function that returns whether SIGINT was received. It is needed because an interrupted import of a compiled
        module can raise another error: NumPy and pybind11 raise ImportError.
    """
    received = False

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        nonlocal received
        received = True
        raise Interrupted

    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield lambda: False
        return
    with handle_signals(interrupt, signal.SIGINT):
        yield lambda: received
