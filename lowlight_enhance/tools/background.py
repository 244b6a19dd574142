"""Prefetching and write-behind: read input and write output in one thread each, while another thread enhances."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from types import TracebackType
from typing import Any, TypeVar

T = TypeVar("T")

QUEUE_LENGTH = 4
"""Prefetched items, and pending calls: enough to cover short stalls of a disk, few enough to fit in memory."""


def prefetch(items: Iterator[T]) -> Generator[T, None, None]:
    """Yield the same items in the same order, with their errors, while a thread reads the next ones."""
    pool, gate = ThreadPoolExecutor(1), _Gate()
    end: Any = object()
    try:
        pending = deque(pool.submit(gate, next, items, end) for _ in range(QUEUE_LENGTH))
        while (item := pending.popleft().result()) is not end:
            pending.append(pool.submit(gate, next, items, end))
            yield item
    finally:
        pool.shutdown(cancel_futures=True)
        gate.close()


class _Gate:
    """Executes calls until it is closed, then ignores them. Closing waits for the running call.

    ``ThreadPoolExecutor.shutdown`` alone is not enough: an interrupt while it starts its thread leaves a thread that
    the executor does not know.
    """

    def __init__(self) -> None:
        self._lock, self._is_open = Lock(), True

    def __call__(self, function: Callable[..., Any], *arguments: Any) -> Any:
        with self._lock:
            return function(*arguments) if self._is_open else None

    def close(self) -> None:
        with self._lock:
            self._is_open = False


class WriteBehind:
    """Runs calls one after the other in a thread. Leaving the context waits for the last one.

    After an error no further call runs. The error is raised by one of the next calls, or on leaving the context.
    """

    def __init__(self) -> None:
        self._pool, self._gate = ThreadPoolExecutor(1), _Gate()
        self._pending: deque[Future[Any]] = deque()

    def __call__(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Queue a call. Blocks while the queue is full."""
        if len(self._pending) >= QUEUE_LENGTH:
            self._pending.popleft().result()
        self._pending.append(self._pool.submit(self._gate, function, *arguments))

    def __enter__(self) -> WriteBehind:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for all calls, or after an error of the caller only for the running one."""
        try:
            while kind is None and self._pending:
                self._pending.popleft().result()
        finally:
            self._pool.shutdown(cancel_futures=True)
            self._gate.close()
