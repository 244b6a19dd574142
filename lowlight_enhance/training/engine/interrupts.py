"""Signals that make a training run save its state and end."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from types import FrameType

from accelerate import Accelerator

from lowlight_enhance.core.signals import handle_signals

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def ignore_stop_signals(_worker: int) -> None:
    """Ignore the stop signals in a data worker.

    A shell sends SIGINT to the whole process group. A worker that ended before its batches were used would end the
    run with an error, so only the parent process handles these signals.
    """
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


@contextlib.contextmanager
def catch_interrupts(accelerator: Accelerator) -> Iterator[Callable[[], bool]]:
    """Catch the stop signals inside the block.

    Yields:
        A function that returns whether any process has received one. A second signal ends a single process at once.
    """
    received: list[int] = []
    single = accelerator.num_processes == 1

    def receive(number: int, _frame: FrameType | None) -> None:
        if received and single:
            raise KeyboardInterrupt
        received.append(number)

    def interrupted() -> bool:
        if single:
            return bool(received)
        if received:
            accelerator.set_trigger()
        return bool(accelerator.check_trigger())

    with handle_signals(receive, *STOP_SIGNALS):
        yield interrupted
