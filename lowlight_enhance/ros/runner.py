"""Start, spin and shut down the node in this process."""

from __future__ import annotations

import os
import signal
import sys

import rclpy
from rclpy.exceptions import ParameterException
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor

from lowlight_enhance.core.errors import LowlightError
from lowlight_enhance.ros.initialization import environment_errors, initialize
from lowlight_enhance.ros.model_load import is_any_load_running
from lowlight_enhance.ros.node import EnhanceNode

EXIT_USER_ERROR = 2


def run_node(args: list[str] | None = None) -> int:
    """Run the node until SIGINT or SIGTERM.

    Returns:
        Exit status: 0 after a signal, 2 for an error that the user can fix, which is printed in one line.
    """
    try:
        status = _run(args)
    except KeyboardInterrupt:  # a second one, before the handlers of _shut_down were installed
        status = 0
    for number in (signal.SIGINT, signal.SIGTERM):
        # At exit the interpreter restores the default action of other handlers, but not of SIG_IGN: a signal that
        # arrives during the rest of the exit would change the exit status.
        signal.signal(number, signal.SIG_IGN)
    if is_any_load_running():
        # A normal exit destroys the libraries that the load thread still runs in, which can crash or hang.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    return status


def _run(args: list[str] | None) -> int:
    try:
        initialize(args=args)
    except LowlightError as error:
        print(f"enhance_node: {error}", file=sys.stderr)
        return EXIT_USER_ERROR
    node: EnhanceNode | None = None
    try:
        executor = SingleThreadedExecutor()
        with environment_errors():
            node = EnhanceNode()
        if node.startup_params.autostart:
            node.start()
        rclpy.spin(node, executor)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except (LowlightError, ParameterException) as error:
        rclpy.logging.get_logger("lowlight_enhance").fatal(str(error))
        return EXIT_USER_ERROR
    except Exception:
        if rclpy.ok():
            raise
    finally:
        _shut_down(node)
    return 0


def _shut_down(node: EnhanceNode | None) -> None:
    """Destroy the node and shut down rclpy. Further signals are ignored, because every step has a time limit."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    if node is not None:
        node.destroy_node()
    rclpy.try_shutdown()
