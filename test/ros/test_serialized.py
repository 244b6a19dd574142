"""Metadata whose cost is bounded before it is deserialized."""

import contextlib

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")
pytest.importorskip("diagnostic_msgs", reason="needs ROS 2 (diagnostic_msgs)")

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.qos import QoSProfile
from rclpy.serialization import serialize_message
from ros_graph import capture_metadata, dark_image

from lowlight_enhance.core.errors import MetadataError
from lowlight_enhance.ros import serialized
from lowlight_enhance.ros.serialized import MAX_MESSAGE_BYTES, deserialized, take_all

DIAGNOSTIC_ARRAY = "diagnostic_msgs/msg/DiagnosticArray"


class Waiting:
    """Replaces a subscription with pending messages."""

    msg_type = None

    def __init__(self, messages, depth=serialized.QUEUE_DEPTH):
        self.messages, self.qos_profile = list(messages), QoSProfile(depth=depth)
        self.handle = self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def take_message(self, _type, raw):
        assert raw
        return (self.messages.pop(0), {}) if self.messages else None


def large_array(entries=100_000):
    pairs = [KeyValue(key="k", value="v")] * entries
    return DiagnosticArray(status=[DiagnosticStatus(values=pairs)])


def test_messages_are_deserialized():
    sent = capture_metadata(dark_image(3))
    assert deserialized(serialize_message(sent), DiagnosticArray, "/metadata") == sent


def test_a_message_above_the_limit_is_not_deserialized(monkeypatch):
    monkeypatch.setattr(serialized, "deserialize_message", lambda *_: pytest.fail("deserialized"))
    with pytest.raises(MetadataError, match=f"65537 bytes on /metadata is dropped: the limit is {MAX_MESSAGE_BYTES}"):
        deserialized(bytes(MAX_MESSAGE_BYTES + 1), DiagnosticArray, "/metadata")


@pytest.mark.parametrize("cut", [0, 3, 4, 20, -1])
def test_a_damaged_message_is_an_error(cut):
    data = serialize_message(capture_metadata(dark_image(3)))[:cut]
    with contextlib.suppress(MetadataError):
        assert isinstance(deserialized(data, DiagnosticArray, "/metadata"), DiagnosticArray)


def test_waiting_messages_come_oldest_first():
    dropped = []
    assert take_all(Waiting([b"1", b"2", b"bad", b"3"]), {b"1": 1, b"2": 2, b"3": 3}.get, dropped.append) == [1, 2, 3]
    assert not dropped


def test_older_messages_are_dropped_when_the_time_is_over(monkeypatch):
    now, dropped = [0.0], []
    monkeypatch.setattr(serialized.time, "monotonic", lambda: now[0])

    def parse(data):
        now[0] += 0.6 * serialized.MAX_PARSE_S
        return data

    assert take_all(Waiting([b"1", b"2", b"3", b"4"]), parse, dropped.append) == [b"3", b"4"]
    assert dropped == [2]


@pytest.mark.parametrize(("depth", "taken"), [(1, serialized.QUEUE_DEPTH), (60, 60)])
def test_no_more_than_the_queue_is_taken_in_a_round(depth, taken):
    waiting = Waiting([b"x"] * 100, depth)
    assert len(take_all(waiting, bytes, lambda _: None)) == taken


def test_a_flood_of_large_metadata_is_counted_and_frames_are_published(start_graph, monkeypatch):
    sizes, deserialize_message = [], serialized.deserialize_message
    monkeypatch.setattr(
        serialized,
        "deserialize_message",
        lambda data, kind: (sizes.append(len(data)), deserialize_message(data, kind))[1],
    )
    graph = start_graph(metadata__type=DIAGNOSTIC_ARRAY)
    peer = graph.peer
    peer.spin_until(peer.metadata_publisher.get_subscription_count)
    flood = serialize_message(large_array())
    for number in range(32):
        peer.metadata_publisher.publish(flood)
        if number % 8 == 7:
            graph.process(dark_image(number))
    sent = dark_image(100)

    def shoot():
        peer.metadata_publisher.publish(capture_metadata(sent))
        peer.image_publisher.publish(sent)

    def values():
        return {pair.key: pair.value for pair in graph.node.status().values}

    peer.spin_until(lambda: "metadata.exact" in values(), repeating=shoot)
    assert int(values()["errors.MetadataError"]) >= 1
    assert "bytes on /metadata is dropped" in values()["last_error"]
    assert sizes
    assert max(sizes) <= MAX_MESSAGE_BYTES


def test_a_large_parameter_event_is_ignored(start_graph, monkeypatch, capfd):
    graph = start_graph(camera__node="/camera", camera__driver="usb_cam")
    monkeypatch.setattr(serialized, "deserialize_message", lambda *_: pytest.fail("deserialized"))
    graph.node.handler.camera._on_event(bytes(MAX_MESSAGE_BYTES + 1))
    assert "bytes on /parameter_events is dropped" in capfd.readouterr().err
