"""Quality of service of the node's topics: its defaults, the user's overrides, and events as this rclpy knows them."""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from rclpy.node import Node
from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    QoSCompatibility,
    QoSPolicyKind,
    QoSProfile,
    ReliabilityPolicy,
    qos_check_compatible,
)
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.topic_endpoint_info import TopicEndpointInfo

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

_OVERRIDE = re.compile(r"qos_overrides\.[^.]+\.(publisher|subscription)(_[^.]+)?\.(?P<policy>[^.]+)")

_COMMON = ("/parameter_events", "/rosout", "/clock")
"""Topics that every node has; what a parameter file for all nodes says of them is none of this node's business."""


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


def is_incompatible(node: Node, topic: str, role: str) -> bool:
    """Whether quality of service keeps the node's own end of ``topic`` apart from somebody else's.

    Args:
        node: whose end.
        topic: its full name.
        role: of that end, ``publisher`` or ``subscription``.
    """

    def is_own(end: TopicEndpointInfo) -> bool:
        return (end.node_name, end.node_namespace) == (node.get_name(), node.get_namespace())

    publishers = node.get_publishers_info_by_topic(topic)
    subscriptions = node.get_subscriptions_info_by_topic(topic)
    if role == "publisher":
        publishers = [end for end in publishers if is_own(end)]
    else:
        subscriptions = [end for end in subscriptions if is_own(end)]
    return any(
        qos_check_compatible(publisher.qos_profile, subscription.qos_profile)[0] == QoSCompatibility.ERROR
        for publisher in publishers
        for subscription in subscriptions
    )


class Overrides:
    """The ``qos_overrides.<topic>.<publisher|subscription>.<policy>`` parameters that a node was started with.

    A file of parameters for several nodes names other nodes' topics too, which have no effect here.
    """

    def __init__(self, given: Mapping[str, Any], ends: Iterable[tuple[str, str]]) -> None:
        """Check those of the node's own topics, so that nothing fails later, in flight.

        Args:
            given: value by name of every parameter that the node was started with.
            ends: full name and role of each topic that may be named.

        Raises:
            ConfigError: for a topic of the node, a policy that cannot be overridden, or a value that it does not have.
        """
        self._given = {name: value for name, value in given.items() if name.startswith("qos_overrides.")}
        self._known = [f"qos_overrides.{topic}.{role}" for topic, role in ends]
        for name, value in self._given.items():
            if self._is_ours(name):
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

    def without_effect(self) -> list[str]:
        """A sentence on each override that names no topic of the node, and none that every node has."""
        sentences = []
        for name in sorted(self._given):
            if not self._is_ours(name) and _topic(name) not in _COMMON:
                close = difflib.get_close_matches(name.rpartition(".")[0], self._known, 1)
                hint = f"; did you mean '{close[0]}'?" if close else ""
                sentences.append(
                    f"parameter '{name}' has no effect: this node has no such publisher or subscription{hint}"
                )
        return sentences

    def _is_ours(self, name: str) -> bool:
        """Whether an end of the node is named, or one of its topics without saying which end."""
        found = _OVERRIDE.fullmatch(name)
        if found is None:
            return any(_topic(known) == _topic(name) for known in self._known)
        return name.rpartition(".")[0] in self._known


def _name(topic: str, role: str, policy: str) -> str:
    return f"qos_overrides.{topic}.{role}.{policy}"


def _topic(name: str) -> str:
    return name.split(".")[1]


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
