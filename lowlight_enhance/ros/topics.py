"""What the node needs to know of topics: message types by name, and quality of service."""

from __future__ import annotations

import importlib
from collections.abc import Sequence

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription

from lowlight_enhance.core.errors import ConfigError

METADATA_DEPTH = 32
"""Metadata and camera_info kept while a frame is in work: more than a second's worth at 30 Hz."""


def agreed_reliability(offered: Sequence[ReliabilityPolicy], current: ReliabilityPolicy) -> ReliabilityPolicy:
    """RELIABLE where every publisher offers it, BEST_EFFORT where one does not, ``current`` where there is none.

    Best effort matches every publisher, but loses most frames of more than the transport's buffer.
    """
    if not offered:
        return current
    reliable = all(policy == ReliabilityPolicy.RELIABLE for policy in offered)
    return ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT


def message_class(type_name: str) -> type:
    """The Python class of a ROS message type, e.g. ``realsense2_camera_msgs/msg/Metadata``.

    Raises:
        ConfigError: its package is not installed; names the Debian package that brings it.
    """
    package, _, name = type_name.partition("/msg/")
    try:
        found = getattr(importlib.import_module(f"{package}.msg"), name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"parameter 'metadata_type': {type_name} cannot be imported ({error}); install its package (apt: "
            f"ros-<distribution>-{package.replace('_', '-')}) and source it before starting, or set it to ''"
        ) from error
    return found  # type: ignore[no-any-return]


def take_waiting(subscription: Subscription) -> None:
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


def sensor_qos(depth: int, reliability: ReliabilityPolicy) -> QoSProfile:
    """The quality of service of a sensor stream: only the newest ``depth`` messages, none from before."""
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST, depth=depth, reliability=reliability, durability=DurabilityPolicy.VOLATILE
    )
