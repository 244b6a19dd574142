"""Quality of service of the node's topics: its defaults, the user's overrides, and events as this rclpy knows them."""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSPolicyKind, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions

from lowlight_enhance.core.errors import ConfigError

try:
    from rclpy.event_handler import UnsupportedEventTypeError
except ImportError:  # Humble
    from rclpy.qos_event import UnsupportedEventTypeError

Entity = TypeVar("Entity")

_POLICIES: dict[str, tuple[QoSPolicyKind, type[HistoryPolicy] | type[ReliabilityPolicy] | None]] = {
    "history": (QoSPolicyKind.HISTORY, HistoryPolicy),
    "depth": (QoSPolicyKind.DEPTH, None),
    "reliability": (QoSPolicyKind.RELIABILITY, ReliabilityPolicy),
}
"""Policies that may be overridden, as in rclcpp, and the values of each."""

_OVERRIDE = re.compile(r"qos_overrides\.(?P<topic>[^.]+)\.(?P<role>publisher|subscription)\.(?P<policy>[^.]+)")


def agreed_reliability(offered: Sequence[ReliabilityPolicy], current: ReliabilityPolicy) -> ReliabilityPolicy:
    """RELIABLE where every publisher offers it, BEST_EFFORT where one does not, ``current`` where there is none.

    Best effort matches every publisher, but loses most frames of more than the transport's buffer.
    """
    if not offered:
        return current
    reliable = all(policy == ReliabilityPolicy.RELIABLE for policy in offered)
    return ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT


def newest(depth: int, reliability: ReliabilityPolicy) -> QoSProfile:
    """The quality of service of a sensor stream: only the newest ``depth`` messages, none from before."""
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST, depth=depth, reliability=reliability, durability=DurabilityPolicy.VOLATILE
    )


class Overrides:
    """The ``qos_overrides.<topic>.<publisher|subscription>.<policy>`` parameters that a node was started with."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        """Check them, so that nothing fails later, in flight.

        Args:
            given: value by name of every parameter that the node was started with.

        Raises:
            ConfigError: a policy that cannot be overridden, or a value that it does not have.
        """
        self._given = {name: value for name, value in given.items() if name.startswith("qos_overrides.")}
        for name, value in self._given.items():
            _check(name, value)

    def options(self, topic: str, role: str, chosen: Iterable[str] = ()) -> QoSOverridingOptions:
        """Overriding options of one end of ``topic``, a resolved name.

        Args:
            topic: its full name.
            role: ``publisher`` or ``subscription``.
            chosen: policies that the node chooses, unless the user has.
        """
        kinds = [
            kind
            for policy, (kind, _) in _POLICIES.items()
            if policy not in chosen or _name(topic, role, policy) in self._given
        ]
        return QoSOverridingOptions(kinds)

    def reliability(self, topic: str) -> ReliabilityPolicy | None:
        """What the user chose for the subscription of ``topic``; None where nothing."""
        value = self._given.get(_name(topic, "subscription", "reliability"))
        return None if value is None else ReliabilityPolicy[value.upper()]

    def without_effect(self, ends: Iterable[tuple[str, str]]) -> list[str]:
        """A sentence on each override of a topic that is none of ``ends`` (full name, role)."""
        known = [f"qos_overrides.{topic}.{role}" for topic, role in ends]
        sentences = []
        for name in sorted(self._given):
            prefix = name.rpartition(".")[0]
            if prefix not in known:
                close = difflib.get_close_matches(prefix, known, 1)
                hint = f"; did you mean '{close[0]}'?" if close else ""
                sentences.append(f"parameter '{name}' has no effect: it names no topic of this node{hint}")
        return sentences


def _name(topic: str, role: str, policy: str) -> str:
    return f"qos_overrides.{topic}.{role}.{policy}"


def _check(name: str, value: Any) -> None:
    found = _OVERRIDE.fullmatch(name)
    if found is None or found["policy"] not in _POLICIES:
        raise ConfigError(
            f"parameter '{name}': give qos_overrides.<topic>.<publisher or subscription>.<{', '.join(_POLICIES)}>"
        )
    values = _POLICIES[found["policy"]][1]
    if values is None:
        if type(value) is not int or value < 1:
            raise ConfigError(f"parameter '{name}': {value!r} is no depth; give a whole number from 1")
        return
    choices = [choice for choice in values.short_keys() if choice != "unknown"]
    if value not in choices:
        raise ConfigError(f"parameter '{name}': {value!r} is none of {', '.join(map(repr, choices))}")


def with_events(create: Callable[..., Entity], kind: Callable[..., Any], **callbacks: Callable[[Any], None]) -> Entity:
    """Create a publisher or subscription with event callbacks, as far as rclpy and the middleware have them.

    Args:
        create: takes ``event_callbacks``.
        kind: PublisherEventCallbacks or SubscriptionEventCallbacks.
        callbacks: by name; Humble has no ``matched``.
    """
    known = inspect.signature(kind).parameters
    events = kind(**{name: callback for name, callback in callbacks.items() if name in known})
    try:
        return create(event_callbacks=events)
    except UnsupportedEventTypeError:
        return create(event_callbacks=kind())
