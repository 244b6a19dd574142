"""Messages by the name of their type, and messages that wait."""

from __future__ import annotations

import importlib
import importlib.util
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rclpy.callback_groups import CallbackGroup
from rclpy.subscription import Subscription

from lowlight_enhance.core.errors import ConfigError

_TYPE_NAME = re.compile(r"[a-z][a-z0-9_]*/msg/[A-Z][A-Za-z0-9]*")

METADATA_DEPTH = 32
"""Metadata and camera_info kept while a frame is in work: more than a second's worth at 30 Hz."""


def message_class(type_name: str, parameter: str = "metadata.type") -> type:
    """The Python class of a ROS message type, e.g. ``realsense2_camera_msgs/msg/Metadata``.

    Raises:
        ConfigError: no such name, or its package is not installed; names ``parameter`` and the Debian package.
    """
    if not _TYPE_NAME.fullmatch(type_name):
        raise ConfigError(f"parameter '{parameter}': '{type_name}' is no message type such as sensor_msgs/msg/Image")
    try:
        return installed_class(type_name)
    except ImportError as error:
        package = type_name.partition("/")[0]
        raise ConfigError(
            f"parameter '{parameter}': {type_name} cannot be imported ({error}); install its package (apt: "
            f"ros-<distribution>-{package.replace('_', '-')}) and source it before starting, or set it to ''"
        ) from error


def installed_class(type_name: str) -> type:
    """The same for a name from anywhere: nothing is imported but ``.msg`` of a package that has it.

    Raises:
        ImportError: no such name, or its package is not installed.
    """
    if not _TYPE_NAME.fullmatch(type_name):  # before anything is imported by it
        raise ImportError(f"{type_name} is no message type")
    package, _, name = type_name.partition("/msg/")
    try:
        spec = importlib.util.find_spec(package)
    except ValueError as error:
        raise ImportError(f"package {package}: {error}") from error
    folders = [] if spec is None else list(spec.submodule_search_locations or ())
    if not any((Path(folder) / "msg" / "__init__.py").is_file() for folder in folders):
        raise ImportError(f"no package {package} with messages is installed")
    try:
        found: type = getattr(importlib.import_module(f"{package}.msg"), name)
    except (AttributeError, ValueError) as error:
        raise ImportError(str(error)) from error
    return found


class WhileWanted(CallbackGroup):
    """Messages wake the executor only while they are wanted; at other times they wait to be taken.

    Waking for each costs rclpy about as much as taking a small image. Events are heard at all times.
    """

    def __init__(self, group: CallbackGroup, wanted: Callable[[], bool]) -> None:
        """``group`` says what may run at the same time, ``wanted`` whether messages are."""
        super().__init__()
        self._group, self._wanted = group, wanted

    def add_entity(self, entity: Any) -> None:
        """Add a subscription, or an event of one."""
        super().add_entity(entity)
        self._group.add_entity(entity)

    def can_execute(self, entity: Any) -> bool:
        """Whether it may run now."""
        return (self._wanted() or not isinstance(entity, Subscription)) and bool(self._group.can_execute(entity))

    def beginning_execution(self, entity: Any) -> bool:
        """Ask to run."""
        return bool(self._group.beginning_execution(entity))

    def ending_execution(self, entity: Any) -> None:
        """Tell that it has run."""
        self._group.ending_execution(entity)


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
            subscription.callback(taken[0])  # type: ignore[call-arg]
