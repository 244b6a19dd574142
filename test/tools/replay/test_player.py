"""`lowlight replay`: a bag is published as it was recorded, after subscribers were found."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")
pytest.importorskip("rosbags", reason="makes and reads the bags")

import bag_maker
import rclpy
from bag_maker import FIRST_NS, IMAGE, NS_PER_S, PERIOD_NS, SECRET, STRING, BagMessage, string, write_bag
from rclpy.exceptions import InvalidTopicNameException
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import serialize_message
from rosgraph_msgs.msg import Clock
from std_msgs.msg import Header, String

import lowlight_enhance
from lowlight_enhance import cli
from lowlight_enhance.core.errors import ConfigError
from lowlight_enhance.tools.bags.recording import Bag
from lowlight_enhance.tools.replay.player import SETTLE_S, BagPlayer, ReplaySettings, publisher_qos
from lowlight_enhance.tools.replay.restamp import HeaderRestamper

DEADLINE_S = 180.0
RELIABLE = QoSProfile(depth=100)


class Listener:
    """Stores the messages of each topic with their time of receipt."""

    def __init__(self, *topics):
        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        self.node = rclpy.create_node("listener", context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.received = {}
        for topic, kind, *profile in topics:
            messages = self.received.setdefault(topic, [])
            self.node.create_subscription(
                kind, topic, lambda msg, to=messages: to.append((time.time_ns(), msg)), *(profile or [RELIABLE])
            )

    def spin_until(self, condition):
        deadline = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < deadline, {topic: len(messages) for topic, messages in self.received.items()}
            self.executor.spin_once(timeout_sec=0.02)

    def messages(self, topic):
        return [message for _, message in self.received[topic]]

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
    """Start `lowlight replay` as a process."""
    started = []

    def start(*arguments, python_path=None, **environment):
        command = [sys.executable, "-m", "lowlight_enhance.cli", "replay", *map(str, arguments)]
        paths = [str(python_path)] if python_path else []
        paths += filter(None, [str(Path(lowlight_enhance.__file__).parents[1]), os.environ.get("PYTHONPATH")])
        values = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), **environment}
        if "HOME" in environment:
            values.pop("ROS_LOG_DIR", None)
        started.append(
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=values)
        )
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            process.terminate()
            process.communicate()


def recording(path):
    """Ten images in a second, one latched text, and one message of a type that is not installed."""
    sent = [BagMessage("/image_raw", FIRST_NS + n * NS_PER_S // 10, IMAGE, image_at(n)) for n in range(10)]
    sent.append(BagMessage("/map", FIRST_NS, STRING, string("once")))
    sent += [BagMessage("/secret", FIRST_NS, SECRET, b"\x00\x01\x00\x00abc")]
    reliable = bag_maker.SENSOR_QOS._replace(reliability=bag_maker.LATCHED_QOS.reliability)
    return write_bag(path / "in", sent, qos={"/map": bag_maker.LATCHED_QOS, "/image_raw": reliable})


def image_at(number):
    return bag_maker.image(FIRST_NS + number * NS_PER_S // 10, number)


def numbers(listener):
    """Indices of the received images of the recording."""
    return [(stamp_of(message) - FIRST_NS) * 10 // NS_PER_S for message in listener.messages("/image_raw")]


def stamp_of(message):
    return message.header.stamp.sec * NS_PER_S + message.header.stamp.nanosec


def test_a_bag_is_published_as_it_was_recorded(tmp_path, listen, play):
    from sensor_msgs.msg import Image

    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    listener = listen(("/image_raw", Image), ("/map", String, latched), ("/clock", Clock))
    process = play(recording(tmp_path), "--clock", 50, "--rate", 0.5, "--wait", DEADLINE_S)
    listener.spin_until(lambda: process.poll() is not None)
    output = process.communicate()
    assert process.returncode == 0, output
    assert "/secret is not played: its type secret_msgs/msg/Thing cannot be imported: no package" in output[1]
    assert "no subscriber" not in output[1]
    listener.spin_until(lambda: listener.received["/map"] and numbers(listener)[-1:] == [9])

    received = numbers(listener)
    assert received == list(range(received[0], 10)), "a subscriber may come late, but then it receives every image"
    for number, message in zip(received, listener.messages("/image_raw"), strict=True):
        assert message.data.tobytes() == bag_maker.pixels(number).tobytes()
    assert listener.messages("/map") == [String(data="once")]
    clock = [message.clock.sec * NS_PER_S + message.clock.nanosec for message in listener.messages("/clock")]
    assert clock == sorted(clock)
    assert FIRST_NS <= clock[0] < clock[-1] < FIRST_NS + NS_PER_S


def test_it_waits_for_a_subscriber_that_starts_late(tmp_path, listen, play):
    from sensor_msgs.msg import Image

    process = play(recording(tmp_path), "--topics", "/image_raw", "--rate", 0.5, "--wait", DEADLINE_S)
    assert process.stdout.readline() == f"waiting up to {DEADLINE_S:g} s for subscribers\n"
    listener = listen(("/image_raw", Image))
    listener.spin_until(lambda: process.poll() is not None)
    assert process.returncode == 0
    listener.spin_until(lambda: numbers(listener)[-1:] == [9])
    assert "no subscriber" not in process.communicate()[1]


def test_missing_subscribers_are_reported(tmp_path, capsys):
    assert cli.main(["replay", str(recording(tmp_path)), "--rate", "100", "--wait", "0.1"]) == 0
    streams = capsys.readouterr()
    assert "no subscriber to any played topic within 0.1 s (--wait); playing anyway" in streams.err
    assert "no topic had a subscriber until the end" in streams.err
    assert "playing 2 topics, 0.9 s" in streams.out


def test_a_loop_with_present_stamps_until_sigterm(tmp_path, listen, play):
    from sensor_msgs.msg import Image

    listener = listen(("/image_raw", Image))
    process = play(recording(tmp_path), "--loop", "--now", "--rate", 10, "--topics", "/image_raw")
    listener.spin_until(lambda: len(listener.received["/image_raw"]) > 25)
    process.send_signal(signal.SIGTERM)
    assert process.wait(DEADLINE_S) == 143
    shown = [image.data.tobytes() for image in listener.messages("/image_raw")]
    start = shown.index(bag_maker.pixels(0).tobytes())
    assert shown[start : start + 10] == [bag_maker.pixels(number).tobytes() for number in range(10)]
    ages_ns = [received_ns - stamp_of(message) for received_ns, message in listener.received["/image_raw"]]
    assert min(ages_ns) > -NS_PER_S
    assert max(ages_ns) < DEADLINE_S * NS_PER_S, "the recording is years old"
    assert process.communicate()[1] == ""


def test_ctrl_c_ends_it_with_status_0_as_ros2_bag_play(tmp_path, play):
    process = play(recording(tmp_path), "--loop", "--wait", 0, "--topics", "/image_raw")
    assert process.stdout.readline() == "playing 1 topics, 0.9 s\n"
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=DEADLINE_S)[1] == ""
    assert process.returncode == 0


@pytest.mark.parametrize("module", ["rclpy", "rosbags", "numpy", "sensor_msgs"])
def test_ctrl_c_during_the_imports_gives_no_traceback(module, tmp_path, play):
    (tmp_path / "sitecustomize.py").write_text(INTERRUPTING_IMPORT.format(module=module))
    process = play(recording(tmp_path), "--wait", 0, python_path=tmp_path)
    assert process.communicate(timeout=DEADLINE_S)[1] == ""
    assert process.returncode == 0


INTERRUPTING_IMPORT = """
import os, signal, sys

class Interrupter:
    def find_spec(self, name, path=None, target=None):
        if name == "{module}" and "lowlight_enhance.tools" in sys.modules:
            os.kill(os.getpid(), signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs of a shell start with SIGINT ignored
sys.meta_path.insert(0, Interrupter())
"""


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("HOME", "/proc/nowhere", "Failed to create log directory"),
        ("ROS_LOG_DIR", "/proc/nowhere", "Failed to create log directory"),
        ("ROS_DOMAIN_ID", "abc", "ROS_DOMAIN_ID is not an integral number"),
        ("ROS_DOMAIN_ID", "500", "ROS_DOMAIN_ID=500 is too large"),
    ],
)
def test_a_bad_environment_is_one_line_and_exit_2(variable, value, message, tmp_path, play):
    process = play(recording(tmp_path), "--wait", 0, **{variable: value})
    output = process.communicate(timeout=DEADLINE_S)[1]
    assert process.returncode == 2
    assert output.startswith("lowlight: ")
    assert message in output
    assert output.count("\n") == 1


def test_errors_of_the_bag_are_one_line_and_exit_2(tmp_path, capsys):
    bag = recording(tmp_path)
    assert cli.main(["replay", str(bag), "--topics", "/imag_raw"]) == 2
    assert "no topic /imag_raw; did you mean /image_raw?" in capsys.readouterr().err
    assert cli.main(["replay", str(bag), "--topics", "/secret"]) == 2
    assert "nothing in" in capsys.readouterr().err
    assert cli.main(["replay", str(tmp_path / "none")]) == 2
    assert "does not exist" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rate": 0.0}, "--rate 0"),
        ({"rate": float("nan")}, "--rate nan"),
        ({"start_offset_s": -1.0}, "--start-offset -1"),
        ({"delay_s": float("inf")}, "--delay inf"),
        ({"wait_s": -1.0}, "--wait -1"),
        ({"clock_hz": 50.0, "restamp": True}, "choose one"),
    ],
)
def test_values_out_of_range_are_rejected(values, message):
    with pytest.raises(ConfigError, match=message):
        ReplaySettings(**values)


class FakeNode:
    """A node whose publishers store their messages and have ``subscribers()`` subscribers."""

    def __init__(self, subscribers=lambda: 1):
        self.published = []
        self.subscribers = subscribers

    def create_publisher(self, kind, topic, profile):
        if "?" in topic:
            raise InvalidTopicNameException(topic, "topic name must not contain '?'", 1)
        node = self

        class Publisher:
            def publish(self, message):
                node.published.append((topic, message))

            def wait_for_all_acked(self, _timeout):
                return True

            def get_subscription_count(self):
                return node.subscribers()

        return Publisher()


def test_latched_messages_before_the_start_are_published_at_once(tmp_path):
    node = FakeNode()
    with Bag(recording(tmp_path)) as bag:
        player = BagPlayer(node, bag, ReplaySettings(rate=0.5, start_offset_s=0.75, wait_s=0.0))
        start_s = time.monotonic()
        player.play()
        assert time.monotonic() - start_s > 0.3, "0.15 s of the bag at half the speed"
    assert [topic for topic, _ in node.published] == ["/map", "/image_raw", "/image_raw"]
    assert [raw for _, raw in node.published[1:]] == [BagMessage("", 0, IMAGE, image_at(n)).raw for n in (8, 9)]


def test_topics_with_names_that_ros_2_does_not_allow_are_skipped(tmp_path):
    sent = [BagMessage(topic, FIRST_NS, STRING, string("x")) for topic in ("/option/Auto Exposure?", "/good")]
    with Bag(write_bag(tmp_path / "in", sent)) as bag:
        player = BagPlayer(FakeNode(), bag, ReplaySettings())
    assert player.topics == ["/good"]
    assert "ROS 2 does not allow its name" in player.skipped["/option/Auto Exposure?"]


def test_the_wait_ends_when_no_more_topics_find_subscribers(tmp_path):
    counts = iter([0, 0, 0, 1])
    with Bag(recording(tmp_path)) as bag:
        player = BagPlayer(FakeNode(lambda: next(counts, 1)), bag, ReplaySettings(rate=100.0, wait_s=1000.0))
        start_s = time.monotonic()
        assert player._wait_for_subscribers()
        assert time.monotonic() - start_s >= SETTLE_S


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
        profile = publisher_qos(bag.connections)
    assert (profile.reliability, profile.durability, profile.depth) == (reliability, durability, depth)


# Stamps


def later(ns):
    return ns + 5 * NS_PER_S


def test_only_the_first_stamp_is_changed():
    from sensor_msgs.msg import Image

    raw = BagMessage("", 0, IMAGE, bag_maker.image(PERIOD_NS, 1)).raw
    changed = HeaderRestamper(Image)(raw, later)
    assert changed == BagMessage("", 0, IMAGE, bag_maker.image(later(PERIOD_NS), 1)).raw
    big_endian = b"\x00\x00\x00\x00" + struct.pack(">iI", 7, 8) + b"rest"
    assert HeaderRestamper(Image)(big_endian, later) == b"\x00\x00\x00\x00" + struct.pack(">iI", 12, 8) + b"rest"


def test_zero_stamps_and_damaged_messages_are_not_changed():
    from sensor_msgs.msg import Image

    for raw in (BagMessage("", 0, IMAGE, bag_maker.image(0, 1)).raw, b"", b"\x00\x01\x00\x00short"):
        assert HeaderRestamper(Image)(raw, later) == raw


class Transforms:
    """Replaces a type such as tf2_msgs/TFMessage, whose headers are in nested messages."""

    @staticmethod
    def get_fields_and_field_types():
        return {"transforms": "sequence<diagnostic_msgs/DiagnosticArray>"}


def test_headers_at_any_depth_are_found():
    diagnostic_msgs = pytest.importorskip("diagnostic_msgs.msg")
    assert HeaderRestamper(Transforms)._has_headers
    assert not HeaderRestamper(String)._has_headers
    assert not HeaderRestamper(diagnostic_msgs.DiagnosticStatus)._has_headers


def test_stamps_at_any_depth_are_changed(monkeypatch):
    """Treats a type that begins with a header as if it did not: no other is among the installed packages."""
    kind = pytest.importorskip("sensor_msgs.msg").PointCloud2
    restamp = HeaderRestamper(kind)
    restamp._begins_with_header = False
    message = kind(header=Header(frame_id="lidar"))
    message.header.stamp.sec = 3
    changed = restamp(serialize_message(message), later)
    message.header.stamp.sec = 8
    assert changed == serialize_message(message)
