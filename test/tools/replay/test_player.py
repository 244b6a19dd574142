"""`lowlight replay`: a bag comes out of a live graph as it was recorded."""

from __future__ import annotations

import signal
import struct
import subprocess
import sys
import time

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")
pytest.importorskip("rosbags", reason="makes and reads the bags")

import bag_maker
import rclpy
from bag_maker import FIRST_NS, IMAGE, NS_PER_S, PERIOD_NS, SECRET, STRING, BagMessage, string, write_bag
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import serialize_message
from rosgraph_msgs.msg import Clock
from std_msgs.msg import Header, String

from lowlight_enhance import cli
from lowlight_enhance.core.errors import ConfigError
from lowlight_enhance.tools.bags.recording import Bag
from lowlight_enhance.tools.replay.player import Playback, quality
from lowlight_enhance.tools.replay.restamp import Restamp

DEADLINE_S = 40.0
RELIABLE = QoSProfile(depth=100)


class Listener:
    """Keeps what it hears on each topic, serialized, with the time of its receipt."""

    def __init__(self, *topics):
        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        self.node = rclpy.create_node("listener", context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.heard = {}
        for topic, kind, *profile in topics:
            messages = self.heard.setdefault(topic, [])
            self.node.create_subscription(
                kind, topic, lambda msg, to=messages: to.append((time.time_ns(), msg)), *(profile or [RELIABLE])
            )

    def until(self, condition):
        deadline = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < deadline, {topic: len(messages) for topic, messages in self.heard.items()}
            self.executor.spin_once(timeout_sec=0.02)

    def messages(self, topic):
        return [message for _, message in self.heard[topic]]

    def close(self):
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.try_shutdown(context=self.context)


@pytest.fixture
def listen():
    opened = []

    def start(*topics):
        opened.append(Listener(*topics))
        return opened[-1]

    yield start
    for listener in opened:
        listener.close()


@pytest.fixture
def play():
    started = []

    def start(*arguments):
        command = [sys.executable, "-m", "lowlight_enhance.cli", "replay", *map(str, arguments)]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            process.terminate()
        process.communicate()


def recording(path):
    """Ten images a second, of a kind that everybody knows, one latched text, and one of a type that nobody has."""
    sent = [BagMessage("/image_raw", FIRST_NS + n * NS_PER_S // 10, IMAGE, image_at(n)) for n in range(10)]
    sent.append(BagMessage("/map", FIRST_NS, STRING, string("once")))
    sent += [BagMessage("/secret", FIRST_NS, SECRET, b"\x00\x01\x00\x00abc")]
    reliable = bag_maker.SENSOR_QOS._replace(reliability=bag_maker.LATCHED_QOS.reliability)
    return write_bag(path / "in", sent, qos={"/map": bag_maker.LATCHED_QOS, "/image_raw": reliable})


def image_at(number):
    return bag_maker.image(FIRST_NS + number * NS_PER_S // 10, number)


def numbers(listener):
    """Which images of the recording were heard."""
    return [(stamp_of(message) - FIRST_NS) * 10 // NS_PER_S for message in listener.messages("/image_raw")]


def stamp_of(message):
    return message.header.stamp.sec * NS_PER_S + message.header.stamp.nanosec


def test_a_bag_comes_out_as_it_was_recorded(tmp_path, listen, play):
    from sensor_msgs.msg import Image

    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    listener = listen(("/image_raw", Image), ("/map", String, latched), ("/clock", Clock))
    process = play(recording(tmp_path), "--clock", 50, "--rate", 2)
    listener.until(lambda: process.poll() is not None)
    said = process.communicate()
    assert process.returncode == 0, said
    assert "/secret is not played: its type secret_msgs/msg/Thing cannot be had: no package secret_msgs" in said[1]
    listener.until(lambda: listener.heard["/map"] and numbers(listener)[-1:] == [9])

    heard = numbers(listener)
    assert heard == list(range(heard[0], 10)), "who is found late misses the first, and no other"
    for number, message in zip(heard, listener.messages("/image_raw"), strict=True):
        assert message.data.tobytes() == bag_maker.pixels(number).tobytes()
    assert listener.messages("/map") == [String(data="once")]
    clock = [message.clock.sec * NS_PER_S + message.clock.nanosec for message in listener.messages("/clock")]
    assert clock == sorted(clock)
    assert FIRST_NS <= clock[0] < clock[-1] < FIRST_NS + NS_PER_S


def test_a_loop_with_stamps_of_the_present_until_it_is_told_to_end(tmp_path, listen, play):
    from sensor_msgs.msg import Image

    listener = listen(("/image_raw", Image))
    process = play(recording(tmp_path), "--loop", "--now", "--rate", 10, "--topics", "/image_raw")
    listener.until(lambda: len(listener.heard["/image_raw"]) > 25)
    process.send_signal(signal.SIGTERM)
    assert process.wait(DEADLINE_S) == 143
    shown = [image.data.tobytes() for image in listener.messages("/image_raw")]
    start = shown.index(bag_maker.pixels(0).tobytes())
    assert shown[start : start + 10] == [bag_maker.pixels(number).tobytes() for number in range(10)]
    ages_ns = [received_ns - stamp_of(message) for received_ns, message in listener.heard["/image_raw"]]
    assert -0.1 * NS_PER_S < min(ages_ns) <= sorted(ages_ns)[len(ages_ns) // 2] < 1.0 * NS_PER_S
    assert process.communicate()[1] == ""


def test_what_cannot_be_played_is_one_line_and_exit_2(tmp_path, capsys):
    bag = recording(tmp_path)
    assert cli.main(["replay", str(bag), "--topics", "/imag_raw"]) == 2
    assert "no topic /imag_raw; did you mean /image_raw?" in capsys.readouterr().err
    assert cli.main(["replay", str(bag), "--topics", "/secret"]) == 2
    assert "nothing in" in capsys.readouterr().err
    assert cli.main(["replay", str(tmp_path / "none")]) == 2
    assert "does not exist" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"rate": 0.0}, "--rate 0"),
        ({"rate": float("nan")}, "--rate nan"),
        ({"start_offset_s": -1.0}, "--start-offset -1"),
        ({"delay_s": float("inf")}, "--delay inf"),
        ({"clock_hz": 50.0, "restamps": True}, "choose one"),
    ],
)
def test_a_playback_that_cannot_be(values, words):
    with pytest.raises(ConfigError, match=words):
        Playback(**values)


class Pretended:
    """A node whose publishers only keep what they are given."""

    def __init__(self):
        self.published = []

    def create_publisher(self, kind, topic, profile):
        node = self

        class Publisher:
            def publish(self, message):
                node.published.append((topic, message))

            def wait_for_all_acked(self, _timeout):
                return True

        return Publisher()


def test_what_was_latched_before_the_start_is_sent_at_once(tmp_path):
    from lowlight_enhance.tools.replay.player import Player

    node = Pretended()
    with Bag(recording(tmp_path)) as bag:
        player = Player(node, bag, Playback(rate=0.5, start_offset_s=0.75, delay_s=0.0))
        began_s = time.monotonic()
        player.play()
        assert time.monotonic() - began_s > 0.3, "0.15 s of the bag at half the speed"
    assert [topic for topic, _ in node.published] == ["/map", "/image_raw", "/image_raw"]
    assert [raw for _, raw in node.published[1:]] == [
        BagMessage("", 0, IMAGE, image_at(number)).raw for number in (8, 9)
    ]


@pytest.mark.parametrize(
    ("qos", "reliability", "durability", "depth"),
    [
        (bag_maker.SENSOR_QOS, ReliabilityPolicy.BEST_EFFORT, DurabilityPolicy.VOLATILE, 10),
        (bag_maker.LATCHED_QOS, ReliabilityPolicy.RELIABLE, DurabilityPolicy.TRANSIENT_LOCAL, 40),
        (bag_maker.SENSOR_QOS._replace(depth=50), ReliabilityPolicy.BEST_EFFORT, DurabilityPolicy.VOLATILE, 50),
    ],
)
def test_quality_of_service_is_what_was_offered(qos, reliability, durability, depth, tmp_path):
    sent = [BagMessage("/map", FIRST_NS + number, STRING, string("x")) for number in range(40)]
    with Bag(write_bag(tmp_path / "in", sent, qos={"/map": qos})) as bag:
        profile = quality(bag.connections)
    assert (profile.reliability, profile.durability, profile.depth) == (reliability, durability, depth)


# Stamps


def later(ns):
    return ns + 5 * NS_PER_S


def test_the_stamp_in_front_is_changed_and_nothing_else():
    from sensor_msgs.msg import Image

    raw = BagMessage("", 0, IMAGE, bag_maker.image(PERIOD_NS, 1)).raw
    changed = Restamp(Image)(raw, later)
    assert changed == BagMessage("", 0, IMAGE, bag_maker.image(later(PERIOD_NS), 1)).raw
    big_endian = b"\x00\x00\x00\x00" + struct.pack(">iI", 7, 8) + b"rest"
    assert Restamp(Image)(big_endian, later) == b"\x00\x00\x00\x00" + struct.pack(">iI", 12, 8) + b"rest"


def test_no_stamp_stays_none_and_damaged_messages_stay_as_they_are():
    from sensor_msgs.msg import Image

    for raw in (BagMessage("", 0, IMAGE, bag_maker.image(0, 1)).raw, b"", b"\x00\x01\x00\x00short"):
        assert Restamp(Image)(raw, later) == raw


class Transforms:
    """Stands in for a type such as tf2_msgs/TFMessage, whose headers lie inside."""

    @staticmethod
    def get_fields_and_field_types():
        return {"transforms": "sequence<diagnostic_msgs/DiagnosticArray>"}


def test_headers_inside_are_looked_for():
    diagnostic_msgs = pytest.importorskip("diagnostic_msgs.msg")
    assert Restamp(Transforms)._has_headers
    assert not Restamp(String)._has_headers
    assert not Restamp(diagnostic_msgs.DiagnosticStatus)._has_headers


def test_stamps_inside_are_changed(monkeypatch):
    """The one type of the installed packages with a header that is not in front."""
    kind = pytest.importorskip("sensor_msgs.msg").PointCloud2
    restamp = Restamp(kind)
    restamp._begins_with_header = False
    message = kind(header=Header(frame_id="lidar"))
    message.header.stamp.sec = 3
    changed = restamp(serialize_message(message), later)
    message.header.stamp.sec = 8
    assert changed == serialize_message(message)
