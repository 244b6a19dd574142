"""Subscriptions to serialized messages, whose size is checked before rclpy converts them to Python objects.

rclpy spends about 14 us on each entry of a DiagnosticArray, so a message of a few megabytes would stop all frames for
seconds. Anyone who may publish on the topic can send one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from rclpy.callback_groups import CallbackGroup
from rclpy.serialization import deserialize_message
from rclpy.subscription import Subscription

from lowlight_enhance.core.errors import MetadataError

QUEUE_DEPTH = 32
"""Metadata and camera_info messages that are kept while a frame is processed: those of more than a second at 30 Hz."""

MAX_MESSAGE_BYTES = 64 * 1024
"""Larger metadata, camera_info and parameter events are dropped."""

MAX_PARSE_S = 0.02
"""Time limit for the pending messages of one subscription before each frame; older ones are dropped."""


def deserialized(data: bytes, message_type: type, topic: str) -> Any:
    """Return the message.

    Raises:
        MetadataError: the message is larger than ``MAX_MESSAGE_BYTES``, or damaged.
    """
    if len(data) > MAX_MESSAGE_BYTES:
        raise MetadataError(f"message of {len(data)} bytes on {topic} is dropped: the limit is {MAX_MESSAGE_BYTES}")
    try:
        return deserialize_message(data, message_type)
    except Exception as error:  # rclpy raises RMWError or RuntimeError, depending on the distribution
        raise MetadataError(
            f"message on {topic} cannot be deserialized: {str(error).partition(', at ')[0]}"
        ) from error


def take_all(
    subscription: Subscription[Any], parse: Callable[[bytes], Any | None], on_dropped: Callable[[int], None]
) -> list[Any]:
    """Take all pending messages of ``subscription`` and return them parsed, oldest first.

    The executor takes one message per subscription and round. If the camera is faster than this node, its metadata
    would fall behind its images, of which only the newest is kept.

    Args:
        subscription: one that was created with ``raw=True``.
        parse: returns a message, or None for one that is rejected. Newer messages are parsed first.
        on_dropped: called with the number of messages that are dropped because ``MAX_PARSE_S`` is over.
    """
    pending: list[bytes] = []
    limit = max(QUEUE_DEPTH, subscription.qos_profile.depth)  # qos_overrides may ask for a longer queue
    with subscription.handle:
        while len(pending) < limit:
            taken = subscription.handle.take_message(subscription.msg_type, True)
            if taken is None:
                break
            pending.append(taken[0])
    deadline = time.monotonic() + MAX_PARSE_S
    messages = []
    # The newest first: if the time is over, the oldest messages are the ones to drop.
    while pending:
        if time.monotonic() > deadline:
            on_dropped(len(pending))
            break
        messages.append(parse(pending.pop()))
    return [message for message in reversed(messages) if message is not None]


class OnDemandGroup(CallbackGroup):
    """A callback group whose subscriptions wake the executor only while ``is_needed()`` returns True.

    At other times their messages stay in the queue, for ``take_all``. Waking the executor costs rclpy about as much as
    taking a small image. Event callbacks run at all times.
    """

    def __init__(self, group: CallbackGroup, is_needed: Callable[[], bool]) -> None:
        """``group`` decides which callbacks may run at the same time."""
        super().__init__()
        self._group, self._is_needed = group, is_needed

    def add_entity(self, entity: Any) -> None:
        """Add a subscription, or an event of one."""
        super().add_entity(entity)
        self._group.add_entity(entity)

    def can_execute(self, entity: Any) -> bool:
        """Return whether the callback may run now."""
        needed = self._is_needed() or not isinstance(entity, Subscription)
        return needed and bool(self._group.can_execute(entity))

    def beginning_execution(self, entity: Any) -> bool:
        """Ask the group whether the callback may begin."""
        return bool(self._group.beginning_execution(entity))

    def ending_execution(self, entity: Any) -> None:
        """Tell the group that the callback has ended."""
        self._group.ending_execution(entity)
