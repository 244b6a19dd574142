"""Signals that ask a training run to save and end."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from types import FrameType

from accelerate import Accelerator

from lowlight_enhance.core.signals import handle_signals

STOPPING = (signal.SIGINT, signal.SIGTERM)


def leave_signals_to_the_parent(_worker: int) -> None:
    """A signal to all of them ends the workers before their batches are used, and the run with an error."""
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)


@contextlib.contextmanager
def interrupts(accelerator: Accelerator) -> Iterator[Callable[[], bool]]:
    """A function that tells whether any process was asked to stop. A single process ends at once when asked twice."""
    asked: list[int] = []
    alone = accelerator.num_processes == 1

    def ask(number: int, _frame: FrameType | None) -> None:
        if asked and alone:
            raise KeyboardInterrupt
        asked.append(number)

    def interrupted() -> bool:
        if alone:
            return bool(asked)
        if asked:
            accelerator.set_trigger()
        return bool(accelerator.check_trigger())

    with handle_signals(ask, *STOPPING):
        yield interrupted
