"""What a node says of its frames: complaints in the log, each as often as it helps, and counts for diagnostics."""

from __future__ import annotations

import functools
import traceback
from collections.abc import Callable
from typing import Any

from rclpy.node import Node

from lowlight_enhance.core.errors import LowlightError
from lowlight_enhance.core.health import Health

THROTTLE_S = 5.0
"""A repeated complaint about frames is logged at most this often, in seconds."""


class Reporter:
    """Log and counts of one node.

    Attributes:
        health: counts of the present flight.
        skipped: images that were sent while another was in work, and so were never taken.
        advice: what somebody should change, by what it is about.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self.reset()

    def reset(self) -> None:
        """Begin a flight."""
        self.health, self.skipped = Health(), 0
        self.advice: dict[str, str] = {}
        self._logged: set[str] = set()

    def skip(self, count: int) -> None:
        """``count`` images were never taken."""
        self.skipped += count

    def advise(self, about: str, sentence: str) -> None:
        """Keep ``sentence`` for diagnostics, and log it; no more than once until ``settled``."""
        self.advice[about] = sentence
        if about not in self._logged:
            self._logged.add(about)
            self._node.get_logger().warning(sentence)

    def settled(self, about: str) -> None:
        """The matter is out of the world, as far as one can tell; it may be complained of again."""
        self.faded(about)
        self._logged.discard(about)

    def faded(self, about: str) -> None:
        """The matter rests: diagnostics are silent until it comes up again, the log even then."""
        self.advice.pop(about, None)

    def guard(self, callback: Callable[..., None]) -> Callable[..., None]:
        """``callback``, with nothing escaping from it: the executor would stop the node.

        A frame that cannot be enhanced is counted by the stream, and logged here; anything else is a bug, counted and
        logged with its traceback.
        """

        @functools.wraps(callback)
        def run(*args: Any) -> None:
            try:
                callback(*args)
            except LowlightError as error:
                self._node.get_logger().warning(str(error), throttle_duration_sec=THROTTLE_S)
            except Exception as error:
                if not self._node.context.ok():
                    return
                self.health.failed(error)
                self._node.get_logger().error(
                    f"internal error:\n{traceback.format_exc()}", throttle_duration_sec=THROTTLE_S
                )

        return run
