"""Messages by the name of their type, and messages that wait."""

from __future__ import annotations

import importlib
import re
from typing import Any

from rclpy.subscription import Subscription

from lowlight_enhance.core.errors import ConfigError

_TYPE_NAME = re.compile(r"[a-z][a-z0-9_]*/msg/[A-Z][A-Za-z0-9]*")

METADATA_DEPTH = 32
"""Metadata and camera_info kept while a frame is in work: more than a second's worth at 30 Hz."""


def message_class(type_name: str, parameter: str = "metadata_type") -> type:
    """The Python class of a ROS message type, e.g. ``realsense2_camera_msgs/msg/Metadata``.

    Raises:
        ConfigError: no such name, or its package is not installed; names ``parameter`` and the Debian package.
    """
    if not _TYPE_NAME.fullmatch(type_name):  # before anything is imported by it
        raise ConfigError(f"parameter '{parameter}': '{type_name}' is no message type such as sensor_msgs/msg/Image")
    package, _, name = type_name.partition("/msg/")
    try:
        found = getattr(importlib.import_module(f"{package}.msg"), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"parameter '{parameter}': {type_name} cannot be imported ({error}); install its package (apt: "
            f"ros-<distribution>-{package.replace('_', '-')}) and source it before starting, or set it to ''"
        ) from error
    return found  # type: ignore[no-any-return]


def take_waiting(subscription: Subscription[Any]) -> None:
    """Hand every message that waits on ``subscription`` to its callback, now.

    The executor takes one message a subscription and round, so the metadata of a camera that is faster than this node
    would fall ever further behind its images, of which only the newest waits.
    """
    with subscription.handle:
        for _ in range(METADATA_DEPTH):
            taken = subscription.handle.take_message(subscription.msg_type, subscription.raw)
            if taken is None:
                return
            subscription.callback(taken[0])
