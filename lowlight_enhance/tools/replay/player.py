"""A recorded bag played into a live graph, on machines without ros2 bag: rosbags reads, rclpy publishes."""

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
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from rosbags.interfaces import Connection
from rosgraph_msgs.msg import Clock

from lowlight_enhance.core.errors import ConfigError
from lowlight_enhance.ros.messages import installed_class
from lowlight_enhance.tools.bags.recording import Bag
from lowlight_enhance.tools.replay.restamp import NS_PER_S, Restamp

LEAST_DEPTH, LARGEST_DEPTH = 10, 1000
"""Messages that a publisher keeps; of a latched topic as many as the bag has, within these."""

ACKNOWLEDGED_WITHIN_S = 2.0
"""Time that subscribers get for the last messages."""

Message = tuple[Connection, int, bytes]
"""As bags give them: whose it is, time of receipt, and content."""


@dataclass(frozen=True, slots=True)
class Playback:
    """How a bag is played.

    Attributes:
        rate: speed; 2 is twice as fast as recorded.
        loops: over and over, until interrupted.
        clock_hz: how often /clock tells the bag's time; 0: never.
        topics: which; empty: all.
        start_offset_s: seconds of the bag to leave out at its begin; of latched topics they are sent at once.
        delay_s: time before the first message, in which subscribers find the publishers.
        restamps: stamps become those of the present.

    Raises:
        ConfigError: values that are out of range, or do not go together.
    """

    rate: float = 1.0
    loops: bool = False
    clock_hz: float = 0.0
    topics: tuple[str, ...] = ()
    start_offset_s: float = 0.0
    delay_s: float = 1.0
    restamps: bool = False

    def __post_init__(self) -> None:
        if not (0.0 < self.rate < float("inf")):
            raise ConfigError(f"--rate {self.rate:g} is no speed; give a number above 0")
        for name in ("clock_hz", "start_offset_s", "delay_s"):
            value = getattr(self, name)
            if not (0.0 <= value < float("inf")):
                option = name.rpartition("_")[0].replace("_", "-")
                raise ConfigError(f"--{option} {value:g}: give a number of 0 or more")
        if self.restamps and self.clock_hz:
            raise ConfigError("--now gives messages the stamps of the present, --clock tells the bag's: choose one")


def run(path: Path, playback: Playback) -> None:
    """Play a bag, on a node of its own.

    Raises:
        ConfigError: no topic of the bag can be played.
        DataError: no bag, or a damaged one.
    """
    context = rclpy.Context()
    rclpy.init(context=context, signal_handler_options=SignalHandlerOptions.NO)
    try:
        with Bag(path) as bag:
            node = rclpy.create_node("lowlight_replay", context=context)
            try:
                player = Player(node, bag, playback)
                for topic, reason in player.skipped.items():
                    print(f"{topic} is not played: {reason}", file=sys.stderr)
                print(f"playing {len(player.topics)} topics, {bag.duration_ns / NS_PER_S:.1f} s", flush=True)
                player.play()
            finally:
                node.destroy_node()
    finally:
        rclpy.try_shutdown(context=context)


class Player:
    """Publishers of a bag's topics.

    Attributes:
        topics: that are played.
        skipped: those that cannot be, and why.
    """

    def __init__(self, node: Node, bag: Bag, playback: Playback) -> None:
        """Advertise.

        Raises:
            ConfigError: no topic of the bag can be played, or a chosen one is not in it.
        """
        self._bag, self._playback = bag, playback
        self.skipped: dict[str, str] = {}
        self._publishers: dict[str, Any] = {}
        self._restamps: dict[str, Restamp] = {}
        names = sorted({connection.topic for connection in bag.connections})
        for topic in playback.topics:
            if topic not in names:
                close = difflib.get_close_matches(topic, names, 1)
                hint = f"did you mean {close[0]}?" if close else f"it has {', '.join(names)}"
                raise ConfigError(f"the bag has no topic {topic}; {hint}")
        for topic in playback.topics or names:
            connections = bag.of_topic(topic)
            try:
                kind = installed_class(connections[0].msgtype)
            except ImportError as error:
                self.skipped[topic] = f"its type {connections[0].msgtype} cannot be had: {error}"
                continue
            self._publishers[topic] = node.create_publisher(kind, topic, quality(connections))
            self._restamps[topic] = Restamp(kind)
        if not self._publishers:
            reasons = "; ".join(f"{topic}: {reason}" for topic, reason in self.skipped.items())
            raise ConfigError(f"nothing in {bag.path} can be played ({reasons or 'it has no topics'})")
        self._clock = node.create_publisher(Clock, "/clock", 10) if playback.clock_hz else None
        self._next_tick_ns = 0

    @property
    def topics(self) -> list[str]:
        """Those that are played."""
        return list(self._publishers)

    def play(self) -> None:
        """Publish everything in its time; returns at the end of the bag, unless it loops."""
        time.sleep(self._playback.delay_s)
        while True:
            self._play_once()
            if not self._playback.loops:
                break
        for publisher in self._publishers.values():
            publisher.wait_for_all_acked(Duration(seconds=ACKNOWLEDGED_WITHIN_S))

    def _play_once(self) -> None:
        bag, rate = self._bag, self._playback.rate
        connections = [connection for connection in bag.connections if connection.topic in self._publishers]
        start_ns = bag.start_ns + round(self._playback.start_offset_s * NS_PER_S)
        began_ns, wall_ns = time.monotonic_ns(), time.time_ns()
        self._next_tick_ns = start_ns
        for connection, received_ns, raw in itertools.chain(
            self._latched_before(start_ns, connections), bag.messages(connections, start_ns)
        ):
            while (missing_ns := self._missing_ns(received_ns, start_ns, began_ns)) > 0:
                time.sleep(missing_ns / NS_PER_S)
            if self._playback.restamps:
                raw = self._restamps[connection.topic](raw, lambda ns: wall_ns + round((ns - start_ns) / rate))
            self._publishers[connection.topic].publish(raw)

    def _latched_before(
        self, start_ns: int, connections: Iterable[Connection]
    ) -> Iterator[tuple[Connection, int, bytes]]:
        """Messages of latched topics that were received before the start."""
        latched = [c for c in connections if quality([c]).durability == DurabilityPolicy.TRANSIENT_LOCAL]
        if self._playback.start_offset_s and latched:
            yield from itertools.takewhile(lambda message: message[1] < start_ns, self._bag.messages(latched))

    def _missing_ns(self, due_ns: int, start_ns: int, began_ns: int) -> int:
        """Time to sleep until a message of the bag's time ``due_ns`` is due, or the clock must be told."""
        rate = self._playback.rate
        now_ns = start_ns + round((time.monotonic_ns() - began_ns) * rate)
        if self._clock is None:
            return round((due_ns - now_ns) / rate)
        if now_ns >= self._next_tick_ns:
            message = Clock()
            message.clock.sec, message.clock.nanosec = divmod(now_ns, NS_PER_S)
            self._clock.publish(message)
            self._next_tick_ns = now_ns + round(rate / self._playback.clock_hz * NS_PER_S)
        return round((min(due_ns, self._next_tick_ns) - now_ns) / rate) if due_ns > now_ns else 0


def quality(connections: Iterable[Connection]) -> QoSProfile:
    """The quality of service to publish a topic with: what all that published it then offered.

    Args:
        connections: of that topic.
    """
    connections = list(connections)
    offers = [offer for connection in connections for offer in getattr(connection.ext, "offered_qos_profiles", ())]
    profile = QoSProfile(depth=max(LEAST_DEPTH, *(min(offer.depth, LARGEST_DEPTH) for offer in offers), 0))
    if any(offer.reliability.name == "BEST_EFFORT" for offer in offers):
        profile.reliability = ReliabilityPolicy.BEST_EFFORT
    if offers and all(offer.durability.name == "TRANSIENT_LOCAL" for offer in offers):
        profile.durability = DurabilityPolicy.TRANSIENT_LOCAL
        profile.depth = max(profile.depth, min(sum(c.msgcount for c in connections), LARGEST_DEPTH))
    return profile
