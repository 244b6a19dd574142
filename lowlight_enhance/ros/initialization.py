"""Start rclpy and turn errors of the environment into one-line messages."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import rclpy

from lowlight_enhance.core.errors import ConfigError

MAX_DOMAIN_ID = 232
"""Fast DDS ends the process without an exception where the domain's UDP ports would exceed 65535."""


@contextlib.contextmanager
def environment_errors() -> Iterator[None]:
    """Turn rclpy's errors inside the block into a ConfigError. Use it around the creation of a context or a node.

    Raises:
        ConfigError: rclpy rejects an environment variable or a command-line argument, or cannot create its log folder.
    """
    try:
        yield
    except RuntimeError as error:
        if not type(error).__module__.startswith("rclpy"):  # RCLError and its relatives; rclpy does not export them
            raise
        reason = str(error).partition(", at /")[0].partition("\n")[0]
        raise ConfigError(
            f"ROS 2 does not start: {reason}; check the ROS arguments and ROS_DOMAIN_ID, ROS_LOG_DIR and HOME"
        ) from error


def initialize(**arguments: Any) -> None:
    """Call ``rclpy.init`` with the same arguments.

    Raises:
        ConfigError: as for ``environment_errors``.
    """
    domain_id = os.environ.get("ROS_DOMAIN_ID", "")
    if domain_id.isdecimal() and int(domain_id) > MAX_DOMAIN_ID:
        raise ConfigError(f"ROS_DOMAIN_ID={domain_id} is too large; use 0 to {MAX_DOMAIN_ID}")
    with environment_errors():
        rclpy.init(**arguments)
