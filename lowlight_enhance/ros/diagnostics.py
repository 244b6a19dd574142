"""Counters of frames, and warnings for the user in the log and on /diagnostics.

diagnostic_updater is not used: it would have to be optional (there is no wheel of it), so the node would have two code
paths for one message a second, and its Updater publishes by its own timer and parameters.
"""

from __future__ import annotations

import functools
import traceback
from collections.abc import Callable
from typing import Any

from rclpy.node import Node

from lowlight_enhance.core.errors import LowlightError
from lowlight_enhance.core.health import Health

THROTTLE_S = 5.0
"""A repeated error about frames is logged at most once in this many seconds."""


class Diagnostics:
    """Counters and warnings of one node. ``on_configure`` resets them.

    Attributes:
        health: counters of frames and errors.
        skipped: images that a newer one replaced, while another was being processed or while they waited for metadata.
        dropped_metadata: metadata and camera_info messages that were dropped for lack of time.
        warnings: current warnings by subject.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self.reset()

    def reset(self) -> None:
        """Set all counters to zero and remove all warnings."""
        self.health, self.skipped, self.dropped_metadata = Health(), 0, 0
        self.warnings: dict[str, str] = {}
        self._logged: set[str] = set()

    def add_skipped(self, count: int) -> None:
        """Count ``count`` images that a newer one replaced."""
        self.skipped += count

    def add_dropped_metadata(self, count: int) -> None:
        """Count ``count`` metadata or camera_info messages that were dropped for lack of time."""
        self.dropped_metadata += count

    def set_warning(self, subject: str, text: str) -> None:
        """Show ``text`` on /diagnostics, and log it unless it has been logged since ``clear_warning``."""
        self.warnings[subject] = text
        if subject not in self._logged:
            self._logged.add(subject)
            self._node.get_logger().warning(text)

    def clear_warning(self, subject: str) -> None:
        """Remove the warning; it is logged again if it comes back."""
        self.hide_warning(subject)
        self._logged.discard(subject)

    def hide_warning(self, subject: str) -> None:
        """Remove the warning from /diagnostics; it is not logged again if it comes back."""
        self.warnings.pop(subject, None)

    def guarded(self, callback: Callable[..., None]) -> Callable[..., None]:
        """Return ``callback`` with its exceptions logged. An exception that reached the executor would end the node.

        A ``LowlightError`` is logged as a warning; the pipeline has counted it. Anything else is a bug: it is counted
        and logged with its traceback.
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
                self.health.record_failed(error)
                self._node.get_logger().error(
                    f"internal error:\n{traceback.format_exc()}", throttle_duration_sec=THROTTLE_S
                )

        return run
