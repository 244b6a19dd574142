"""StampedBuffer: the newest values of one stream, found by stamp.

message_filters is not used: its TimeSynchronizer waits for a match, while a frame here needs the nearest or last value
at once, and offline commands run without ROS.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import Generic, TypeVar

from lowlight_enhance.core.errors import ConfigError

T = TypeVar("T")


class StampedBuffer(Generic[T]):
    """The ``capacity`` newest values by stamp, in nanoseconds.

    Values may arrive out of order by up to ``reorder_ns``. A stamp that is older than that is a jump in time (a bag
    that restarts, a simulation that is reset), and all newer values are dropped.
    """

    def __init__(self, capacity: int = 64, reorder_ns: int = 1_000_000_000) -> None:
        if capacity < 1 or reorder_ns < 0:
            raise ConfigError(
                f"StampedBuffer: capacity {capacity} and reorder_ns {reorder_ns}: the first must be 1 or more, "
                "the second 0 or more"
            )
        self._capacity = capacity
        self._reorder_ns = reorder_ns
        self._stamps_ns: list[int] = []
        self._values: list[T] = []

    def add(self, stamp_ns: int, value: T) -> None:
        """Store ``value``. It replaces a value of the same stamp; in a full buffer the oldest value is dropped."""
        at = bisect_left(self._stamps_ns, stamp_ns)
        if self._stamps_ns and stamp_ns < self._stamps_ns[-1] - self._reorder_ns:
            del self._stamps_ns[at:], self._values[at:]
        if at < len(self._stamps_ns) and self._stamps_ns[at] == stamp_ns:
            self._values[at] = value
            return
        self._stamps_ns.insert(at, stamp_ns)
        self._values.insert(at, value)
        if len(self._stamps_ns) > self._capacity:
            del self._stamps_ns[0], self._values[0]

    def nearest(self, stamp_ns: int, tolerance_ns: int) -> tuple[int, T] | None:
        """Return stamp and value closest to ``stamp_ns``, at most ``tolerance_ns`` away; of two, the earlier."""
        at = bisect_left(self._stamps_ns, stamp_ns)
        around = range(max(at - 1, 0), min(at + 1, len(self._stamps_ns)))
        best = min(around, key=lambda i: abs(self._stamps_ns[i] - stamp_ns), default=None)
        if best is None or abs(self._stamps_ns[best] - stamp_ns) > tolerance_ns:
            return None
        return self._stamps_ns[best], self._values[best]

    def latest(self, stamp_ns: int | None = None) -> tuple[int, T] | None:
        """Return the newest stamp and its value, or None.

        Args:
            stamp_ns: the newest up to this stamp is returned, or the first after it if there is none; None: the
                newest of all.
        """
        if not self._stamps_ns:
            return None
        at = -1 if stamp_ns is None else max(bisect_right(self._stamps_ns, stamp_ns) - 1, 0)
        return self._stamps_ns[at], self._values[at]
