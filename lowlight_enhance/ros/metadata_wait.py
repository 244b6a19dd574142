"""MetadataWait: hold an image until its capture metadata arrives, which some drivers publish milliseconds later."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.clock import Clock, ClockType  # type: ignore[attr-defined]
from rclpy.node import Node


class MetadataWait:
    """Holds the newest image for at most a given time, without blocking the executor.

    A newer image replaces the held one but keeps its deadline. Otherwise no image would be processed if the next one
    always arrived before the wait ended.
    """

    def __init__(self, node: Node, on_timeout: Callable[[Any], None]) -> None:
        """``on_timeout`` is called with the held image when the wait ends without metadata."""
        self._node, self._on_timeout = node, on_timeout
        self._clock = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer: Any | None = None
        self._wait_s = 0.0
        self._image: Any | None = None

    @property
    def image(self) -> Any | None:
        """The held image, or None."""
        return self._image

    def hold(self, image: Any, wait_s: float) -> Any | None:
        """Hold ``image`` until it is taken, or until ``wait_s`` seconds after the first held image arrived.

        Returns:
            The image that it replaces, or None.
        """
        replaced, self._image = self._image, image
        if replaced is not None:
            return replaced
        if self._timer is None or wait_s != self._wait_s:
            self._destroy_timer()
            self._timer, self._wait_s = self._node.create_timer(wait_s, self._on_timer, clock=self._clock), wait_s
        else:
            self._timer.reset()
        return None

    def take(self) -> Any | None:
        """Return the held image, which is no longer held."""
        image, self._image = self._image, None
        if self._timer is not None:
            self._timer.cancel()
        return image

    def close(self) -> None:
        """Drop the image and the timer."""
        self._image = None
        self._destroy_timer()

    def _on_timer(self) -> None:
        image = self.take()
        if image is not None:
            self._on_timeout(image)

    def _destroy_timer(self) -> None:
        if self._timer is not None:
            self._node.destroy_timer(self._timer)
            self._timer = None
