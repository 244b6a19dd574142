"""Work on a thread of its own beside the caller's: reading ahead, and writing behind."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from types import TracebackType
from typing import Any, TypeVar

T = TypeVar("T")

DEPTH = 4
"""Items that are read, and calls that are not yet done, at once: enough that neither side waits for a hiccup."""


def ahead(items: Iterator[T]) -> Generator[T, None, None]:
    """The same items in the same order, with their errors, read while the caller is busy with those before."""
    pool, gate = ThreadPoolExecutor(1), _Gate()
    end: Any = object()
    try:
        waiting = deque(pool.submit(gate, next, items, end) for _ in range(DEPTH))
        while (item := waiting.popleft().result()) is not end:
            waiting.append(pool.submit(gate, next, items, end))
            yield item
    finally:
        pool.shutdown(cancel_futures=True)
        gate.close()


class _Gate:
    """Calls pass until it is closed, which waits for the one that runs.

    An executor alone does not: an interrupt amid the start of its thread leaves a thread that it knows nothing of.
    """

    def __init__(self) -> None:
        self._lock, self._is_open = Lock(), True

    def __call__(self, function: Callable[..., Any], *arguments: Any) -> Any:
        with self._lock:
            return function(*arguments) if self._is_open else None

    def close(self) -> None:
        with self._lock:
            self._is_open = False


class Behind:
    """Calls that are done one after the other while the caller goes on; a context manager that waits for the last.

    The first error ends them: it is raised by one of the next calls, or at the end.
    """

    def __init__(self) -> None:
        self._pool, self._gate = ThreadPoolExecutor(1), _Gate()
        self._waiting: deque[Future[Any]] = deque()

    def __call__(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Have ``function`` called; waits while too many calls are not yet done."""
        if len(self._waiting) >= DEPTH:
            self._waiting.popleft().result()
        self._waiting.append(self._pool.submit(self._gate, function, *arguments))

    def __enter__(self) -> Behind:
        """Begin."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for all calls; after an error of the caller, only for the one that runs."""
        try:
            while kind is None and self._waiting:
                self._waiting.popleft().result()
        finally:
            self._pool.shutdown(cancel_futures=True)
            self._gate.close()
