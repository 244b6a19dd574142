"""An image that waits a few milliseconds for the capture metadata that its driver sends after it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.clock import Clock, ClockType  # type: ignore[attr-defined]
from rclpy.node import Node


class Waiting:
    """Holds the newest image, at most for a given time, without blocking the executor.

    A newer image takes the place of one that is held but not its deadline, so that images which come faster than the
    wait lasts are still served.
    """

    def __init__(self, node: Node, serve: Callable[[Any], None]) -> None:
        """``serve`` is called with the image when its time is up."""
        self._node, self._serve = node, serve
        self._clock = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer: Any | None = None
        self._wait_s = 0.0
        self._held: Any | None = None

    @property
    def held(self) -> Any | None:
        """The image that waits."""
        return self._held

    def hold(self, msg: Any, wait_s: float) -> Any | None:
        """Keep ``msg`` until it is taken, or for what is left of ``wait_s`` seconds since the first one held.

        Returns:
            The image whose place it takes.
        """
        older, self._held = self._held, msg
        if older is not None:
            return older
        if self._timer is None or wait_s != self._wait_s:
            self._discard_timer()
            self._timer, self._wait_s = self._node.create_timer(wait_s, self._on_time, clock=self._clock), wait_s
        else:
            self._timer.reset()
        return None

    def take(self) -> Any | None:
        """The image that waits, which no longer does."""
        held, self._held = self._held, None
        if self._timer is not None:
            self._timer.cancel()
        return held

    def close(self) -> None:
        """Forget image and timer."""
        self._held = None
        self._discard_timer()

    def _on_time(self) -> None:
        held = self.take()
        if held is not None:
            self._serve(held)

    def _discard_timer(self) -> None:
        if self._timer is not None:
            self._node.destroy_timer(self._timer)
            self._timer = None
