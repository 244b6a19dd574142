"""`lowlight replay`: publish a recorded bag where ``ros2 bag play`` is not installed.

rosbags reads the bag and rclpy publishes the serialized messages.
"""

from __future__ import annotations

import difflib
import itertools
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rclpy
from rclpy.duration import Duration
from rclpy.exceptions import NameValidationException
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from rosbags.interfaces import Connection
from rosgraph_msgs.msg import Clock

from lowlight_enhance.core.errors import ConfigError
from lowlight_enhance.ros.initialization import environment_errors, initialize
from lowlight_enhance.ros.message_types import installed_class
from lowlight_enhance.tools.bags.recording import Bag
from lowlight_enhance.tools.replay.restamp import NS_PER_S, HeaderRestamper

MIN_DEPTH, MAX_DEPTH = 10, 1000
"""Limits of a publisher's history depth. Within them, a latched topic keeps as many messages as the bag has."""

ACKNOWLEDGE_TIMEOUT_S = 2.0
"""Time limit for subscribers to receive the last messages."""

SETTLE_S = 0.5
"""Playing starts when the number of topics with subscribers has not changed for this long.

A subscriber discovers the publishers one after the other, and each of them slightly later than the publisher
discovers the subscriber.
"""

POLL_S = 0.02

BagMessage = tuple[Connection, int, bytes]
"""Connection, time of receipt in ns, and serialized message, as ``Bag`` yields them."""


@dataclass(frozen=True, slots=True)
class ReplaySettings:
    """Options of the replay.

    Attributes:
        rate: speed; 2 is twice as fast as recorded.
        loop: repeat until interrupted.
        clock_hz: rate of /clock, which carries the bag's time; 0: not published.
        topics: topics to publish; empty: all.
        start_offset_s: seconds of the bag to skip. Latched messages among them are published at once.
        delay_s: pause before the first message.
        wait_s: longest wait for a first subscriber, after the pause.
        restamp: replace header stamps by the current time.

    Raises:
        ConfigError: a value is out of range, or options exclude each other.
    """

    rate: float = 1.0
    loop: bool = False
    clock_hz: float = 0.0
    topics: tuple[str, ...] = ()
    start_offset_s: float = 0.0
    delay_s: float = 0.0
    wait_s: float = 10.0
    restamp: bool = False

    def __post_init__(self) -> None:
        if not (0.0 < self.rate < float("inf")):
            raise ConfigError(f"--rate {self.rate:g}: give a number above 0")
        for name in ("clock_hz", "start_offset_s", "delay_s", "wait_s"):
            value = getattr(self, name)
            if not (0.0 <= value < float("inf")):
                option = name.rpartition("_")[0].replace("_", "-")
                raise ConfigError(f"--{option} {value:g}: give a number of 0 or more")
        if self.restamp and self.clock_hz:
            raise ConfigError("--now uses the current time and --clock the time of the bag: choose one of them")


def replay_bag(path: Path, settings: ReplaySettings) -> None:
    """Publish a bag from a node of its own.

    Raises:
        ConfigError: no topic of the bag can be published, or ROS 2 does not start.
        DataError: there is no bag, or it is damaged.
    """
    context = rclpy.Context()
    with Bag(path) as bag:
        # rclpy must not install its signal handlers: Python's handlers end the replay with an exception.
        initialize(context=context, signal_handler_options=SignalHandlerOptions.NO)
        try:
            with environment_errors():
                node = rclpy.create_node("lowlight_replay", context=context)
            try:
                player = BagPlayer(node, bag, settings)
                for topic, reason in player.skipped.items():
                    print(f"{topic} is not played: {reason}", file=sys.stderr)
                player.play()
            finally:
                node.destroy_node()
        finally:
            rclpy.try_shutdown(context=context)


class BagPlayer:
    """Publishers of a bag's topics.

    Attributes:
        topics: topics that are published.
        skipped: topics that cannot be published, with the reason.
    """

    def __init__(self, node: Node, bag: Bag, settings: ReplaySettings) -> None:
        """Create the publishers.

        Raises:
            ConfigError: no topic can be published, or a selected topic is not in the bag.
        """
        self._node, self._bag, self._settings = node, bag, settings
        self.skipped: dict[str, str] = {}
        self._publishers: dict[str, Any] = {}
        self._restampers: dict[str, HeaderRestamper] = {}
        names = sorted({connection.topic for connection in bag.connections})
        for topic in settings.topics:
            if topic not in names:
                close = difflib.get_close_matches(topic, names, 1)
                hint = f"did you mean {close[0]}?" if close else f"it has {', '.join(names)}"
                raise ConfigError(f"the bag has no topic {topic}; {hint}")
        for topic in settings.topics or names:
            self._create_publisher(topic)
        if not self._publishers:
            reasons = "; ".join(f"{topic}: {reason}" for topic, reason in self.skipped.items())
            raise ConfigError(f"nothing in {bag.path} can be played ({reasons or 'it has no topics'})")
        self._clock = node.create_publisher(Clock, "/clock", 10) if settings.clock_hz else None
        self._next_tick_ns = 0

    def _create_publisher(self, topic: str) -> None:
        connections = self._bag.connections_of(topic)
        type_names = sorted({connection.msgtype for connection in connections})
        if len(type_names) > 1:
            self.skipped[topic] = f"it has messages of several types: {', '.join(type_names)}"
            return
        try:
            message_type = installed_class(type_names[0])
            self._publishers[topic] = self._node.create_publisher(message_type, topic, publisher_qos(connections))
        except ImportError as error:
            self.skipped[topic] = f"its type {type_names[0]} cannot be imported: {error}"
        except (NameValidationException, ValueError) as error:  # ROS 1 and other recorders allow more names
            self.skipped[topic] = f"ROS 2 does not allow its name ({_first_line(error)})"
        else:
            self._restampers[topic] = HeaderRestamper(message_type)

    @property
    def topics(self) -> list[str]:
        """Topics that are published."""
        return list(self._publishers)

    def play(self) -> None:
        """Wait for subscribers, then publish every message at its time. Return at the end, unless ``loop`` is set."""
        time.sleep(self._settings.delay_s)
        found = self._wait_for_subscribers()
        print(f"playing {len(self.topics)} topics, {self._bag.duration_ns / NS_PER_S:.1f} s", flush=True)
        while True:
            self._play_once()
            if not self._settings.loop:
                break
        for publisher in self._publishers.values():
            publisher.wait_for_all_acked(Duration(seconds=ACKNOWLEDGE_TIMEOUT_S))
        if not found and not self._subscribed_topics():
            print("no topic had a subscriber until the end: the messages were not received", file=sys.stderr)

    def _wait_for_subscribers(self) -> bool:
        """Wait until subscribers have been found; return False after ``wait_s`` without any."""
        if self._settings.wait_s == 0.0:
            return bool(self._subscribed_topics())
        print(f"waiting up to {self._settings.wait_s:g} s for subscribers", flush=True)
        start_s = changed_s = time.monotonic()
        subscribed = self._subscribed_topics()
        while not subscribed or time.monotonic() - changed_s < SETTLE_S:
            if not subscribed and time.monotonic() - start_s > self._settings.wait_s:
                print(
                    f"no subscriber to any played topic within {self._settings.wait_s:g} s (--wait); playing anyway",
                    file=sys.stderr,
                )
                return False
            time.sleep(POLL_S)
            previous, subscribed = subscribed, self._subscribed_topics()
            if subscribed != previous:
                changed_s = time.monotonic()
        return True

    def _subscribed_topics(self) -> set[str]:
        """Return the topics whose publisher has a subscriber with compatible quality of service."""
        return {topic for topic, publisher in self._publishers.items() if publisher.get_subscription_count()}

    def _play_once(self) -> None:
        bag, rate = self._bag, self._settings.rate
        connections = [connection for connection in bag.connections if connection.topic in self._publishers]
        start_ns = bag.start_ns + round(self._settings.start_offset_s * NS_PER_S)
        monotonic_start_ns, wall_start_ns = time.monotonic_ns(), time.time_ns()
        self._next_tick_ns = start_ns
        for connection, received_ns, raw in itertools.chain(
            self._latched_before(start_ns, connections), bag.messages(connections, start_ns)
        ):
            while (sleep_ns := self._time_to_sleep_ns(received_ns, start_ns, monotonic_start_ns)) > 0:
                time.sleep(sleep_ns / NS_PER_S)
            if self._settings.restamp:
                raw = self._restampers[connection.topic](raw, lambda ns: wall_start_ns + round((ns - start_ns) / rate))
            self._publishers[connection.topic].publish(raw)

    def _latched_before(self, start_ns: int, connections: Iterable[Connection]) -> Iterator[BagMessage]:
        """Yield the messages of latched topics that were received before the start."""
        latched = [c for c in connections if publisher_qos([c]).durability == DurabilityPolicy.TRANSIENT_LOCAL]
        if self._settings.start_offset_s and latched:
            yield from itertools.takewhile(lambda message: message[1] < start_ns, self._bag.messages(latched))

    def _time_to_sleep_ns(self, due_ns: int, start_ns: int, monotonic_start_ns: int) -> int:
        """Publish /clock if it is due. Return the time until the next /clock or the message of bag time ``due_ns``."""
        rate = self._settings.rate
        now_ns = start_ns + round((time.monotonic_ns() - monotonic_start_ns) * rate)
        if self._clock is None:
            return round((due_ns - now_ns) / rate)
        if now_ns >= self._next_tick_ns:
            message = Clock()
            message.clock.sec, message.clock.nanosec = divmod(now_ns, NS_PER_S)
            self._clock.publish(message)
            self._next_tick_ns = now_ns + round(rate / self._settings.clock_hz * NS_PER_S)
        return round((min(due_ns, self._next_tick_ns) - now_ns) / rate) if due_ns > now_ns else 0


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0].rstrip(":")


def publisher_qos(connections: Iterable[Connection]) -> QoSProfile:
    """Return the QoS profile for publishing one topic: the weakest that its recorded publishers offered.

    Args:
        connections: connections of that topic.
    """
    connections = list(connections)
    offers = [offer for connection in connections for offer in getattr(connection.ext, "offered_qos_profiles", ())]
    profile = QoSProfile(depth=max(MIN_DEPTH, *(min(offer.depth, MAX_DEPTH) for offer in offers), 0))
    if any(offer.reliability.name == "BEST_EFFORT" for offer in offers):
        profile.reliability = ReliabilityPolicy.BEST_EFFORT
    if offers and all(offer.durability.name == "TRANSIENT_LOCAL" for offer in offers):
        profile.durability = DurabilityPolicy.TRANSIENT_LOCAL
        profile.depth = max(profile.depth, min(sum(c.msgcount for c in connections), MAX_DEPTH))
    return profile
