"""Signal handlers that last for one block of code."""

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

    CPython ends a process with status -2 if a ``KeyboardInterrupt`` of exactly that type has passed through ``exec``,
    which dataclasses use, even if it was caught afterwards. A subclass avoids that.
    """


@contextlib.contextmanager
def handle_signals(handler: Handler, *numbers: signal.Signals) -> Iterator[None]:
    """Call ``handler`` for these signals inside the block, then restore the handlers that were installed before.

    Python allows only the main thread to install handlers. In any other thread this does nothing.
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
    """Turn SIGTERM into ``SystemExit(143)`` inside the block, so that temporary files and child processes go away.

    The default action ends the process at once and runs no ``finally``. Forked children inherit the handler, but keep
    the default action: the worker loop of ``concurrent.futures`` would catch the exception and go on.
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
            # A library that catches and raises again on the way may have replaced the status.
            raise (SystemExit(code) if received else error) from None


@contextlib.contextmanager
def raise_on_sigint() -> Iterator[Callable[[], bool]]:
    """Raise ``Interrupted`` on SIGINT inside the block. A process that ignores SIGINT goes on ignoring it.

    Yields:
        A function that tells whether SIGINT was received. An interrupted import of a compiled module may raise another
        error in its place: NumPy and pybind11 raise ImportError.
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
