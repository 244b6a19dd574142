"""The executable ``enhance_node``.

The allocator must be configured before the first import that starts threads, as that of rclpy does. The imports take
seconds on a small board, so a signal that arrives during them ends the process without a traceback.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

from lowlight_enhance.core.malloc import use_single_arena
from lowlight_enhance.core.signals import handle_signals


def main(args: list[str] | None = None) -> int:
    """Run the node until SIGINT or SIGTERM.

    Returns:
        Exit status: 0 after a signal, 2 for an error that the user can fix. ``launch`` reports any other status than 0
        after Ctrl-C as a crash.
    """
    use_single_arena()
    with handle_signals(_exit_at_once, signal.SIGINT, signal.SIGTERM):
        from lowlight_enhance.ros import runner
    return runner.run_node(args)


def _exit_at_once(_number: int, _frame: FrameType | None) -> None:
    """End the process; nothing needs to be cleaned up yet.

    An exception would not do: an ``except`` block of an imported module could replace it by another one.
    """
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
