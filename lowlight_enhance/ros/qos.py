"""QoS of the node's topics: defaults, the user's overrides, and the events that this version of rclpy supports."""

from __future__ import annotations

import contextlib
import difflib
import inspect
import itertools
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
"""Policies that can be overridden (the same as in rclcpp by default) and the type of their values."""

_OVERRIDE = re.compile(r"qos_overrides\.[^.]+\.(publisher|subscription)(_[^.]+)?\.(?P<policy>[^.]+)")

_COMMON = ("/parameter_events", "/rosout", "/clock")
"""Topics of every node. A parameter file for all nodes may override their QoS, so they are not reported as unknown."""


def agreed_reliability(offered: Sequence[ReliabilityPolicy], current: ReliabilityPolicy) -> ReliabilityPolicy:
    """Return RELIABLE if every publisher offers it, else BEST_EFFORT; ``current`` if there is no publisher.

    BEST_EFFORT matches every publisher. But with the default buffers of Fast DDS it loses most images: 7 of 150 frames
    of 640x480 arrived.
    """
    if not offered:
        return current
    reliable = all(policy == ReliabilityPolicy.RELIABLE for policy in offered)
    return ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT


def keep_last(depth: int, reliability: ReliabilityPolicy) -> QoSProfile:
    """Return a QoS profile that keeps the newest ``depth`` messages, volatile."""
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST, depth=depth, reliability=reliability, durability=DurabilityPolicy.VOLATILE
    )


def is_incompatible(node: Node, topic: str, role: str) -> bool:
    """Return whether the QoS of the node's publisher or subscription on ``topic`` is incompatible with a peer's.

    Args:
        node: the node.
        topic: resolved name.
        role: the node's role on the topic: ``publisher`` or ``subscription``.
    """

    def is_own(endpoint: TopicEndpointInfo) -> bool:
        return (endpoint.node_name, endpoint.node_namespace) == (node.get_name(), node.get_namespace())

    publishers = node.get_publishers_info_by_topic(topic)
    subscriptions = node.get_subscriptions_info_by_topic(topic)
    if role == "publisher":
        publishers = [endpoint for endpoint in publishers if is_own(endpoint)]
    else:
        subscriptions = [endpoint for endpoint in subscriptions if is_own(endpoint)]
    return any(
        qos_check_compatible(publisher.qos_profile, subscription.qos_profile)[0] == QoSCompatibility.ERROR
        for publisher in publishers
        for subscription in subscriptions
    )


class QosOverrides:
    """The ``qos_overrides.<topic>.<publisher|subscription>.<policy>`` parameters that the node was started with."""

    def __init__(self, startup_values: Mapping[str, Any], endpoints: Iterable[tuple[str, str]]) -> None:
        """Check the overrides of the node's own topics, so that creating an endpoint cannot fail later.

        Args:
            startup_values: value by name of every parameter that the node was started with.
            endpoints: resolved name and role of each publisher and subscription of the node.

        Raises:
            ConfigError: an override of one of the node's topics names a policy that cannot be overridden, or has an
                invalid value.
        """
        self._overrides = {name: value for name, value in startup_values.items() if name.startswith("qos_overrides.")}
        self._known = [f"qos_overrides.{topic}.{role}" for topic, role in endpoints]
        for name, value in self._overrides.items():
            if self._is_own(name):
                _check(name, value)

    def options(self, topic: str, role: str, node_policies: Iterable[str] = ()) -> QoSOverridingOptions:
        """Return the overriding options of a publisher or subscription.

        Args:
            topic: resolved name.
            role: ``publisher`` or ``subscription``.
            node_policies: policies that the node sets itself if the user does not override them.
        """
        kinds = [
            kind
            for policy, (kind, _) in _POLICIES.items()
            if policy not in node_policies or _name(topic, role, policy) in self._overrides
        ]
        return QoSOverridingOptions(kinds)

    def reliability(self, topic: str) -> ReliabilityPolicy | None:
        """Return the reliability that the user chose for the subscription of ``topic``, or None."""
        value = self._overrides.get(_name(topic, "subscription", "reliability"))
        return None if value is None else ReliabilityPolicy[value.upper()]

    def warnings(self) -> list[str]:
        """Return a warning for each override of a topic that the node does not have."""
        found = []
        for name in sorted(self._overrides):
            if not self._is_own(name) and _topic(name) not in _COMMON:
                close = difflib.get_close_matches(name.rpartition(".")[0], self._known, 1)
                hint = f"; did you mean '{close[0]}'?" if close else ""
                found.append(
                    f"parameter '{name}' has no effect: this node has no such publisher or subscription{hint}"
                )
        return found

    def _is_own(self, name: str) -> bool:
        """Return whether the override names an endpoint of the node, or is malformed but names one of its topics."""
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
            f"parameter '{name}': use qos_overrides.<topic>.<publisher or subscription>.<{', '.join(_POLICIES)}>"
        )
    values = _POLICIES[found["policy"]][1]
    if values is None:
        if type(value) is not int or value < 1:
            raise ConfigError(f"parameter '{name}': {value!r} is not a depth; use an integer from 1")
        return
    choices = [choice for choice in values.short_keys() if choice != "unknown"]
    if value not in choices:
        raise ConfigError(f"parameter '{name}': {value!r} is not one of {', '.join(map(repr, choices))}")


def with_events(create: Callable[..., Entity], kind: Callable[..., Any], **callbacks: Callable[[Any], None]) -> Entity:
    """Create a publisher or subscription with the event callbacks that rclpy and the middleware support.

    Args:
        create: called with ``event_callbacks``.
        kind: PublisherEventCallbacks or SubscriptionEventCallbacks.
        callbacks: event callbacks by name; Humble has no ``matched``.
    """
    parameters = inspect.signature(kind).parameters
    known = [name for name in callbacks if name in parameters]
    # The error does not say which event is unsupported.
    for names in (known, *itertools.combinations(known, max(len(known) - 1, 0))):
        with contextlib.suppress(UnsupportedEventTypeError):
            return create(event_callbacks=kind(**{name: callbacks[name] for name in names}))
    return create(event_callbacks=kind())
