"""Faults around a running node. Every test ends with a check that frames are still enhanced."""

import itertools
import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")
pytest.importorskip("diagnostic_msgs", reason="needs ROS 2 (diagnostic_msgs)")

from rclpy.qos import HistoryPolicy, QoSProfile
from ros_graph import PeerNode, camera_info, capture_metadata, dark_image, pixels
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image

DIAGNOSTIC_ARRAY = "diagnostic_msgs/msg/DiagnosticArray"
HERE = Path(__file__).parent


def values(graph):
    return {pair.key: pair.value for pair in graph.node.status().values}


def count(graph, name):
    return int(values(graph).get(name, 0))


def send(graph, image):
    """Publish one image and wait until the node has received it."""
    health = graph.node.diagnostics.health
    before = health._totals["received"]
    graph.peer.image_publisher.publish(image)
    graph.peer.spin_until(lambda: health._totals["received"] > before)


def assert_frames_are_enhanced(graph):
    """Check that an image is enhanced and published."""
    sent = dark_image(9_000)
    np.testing.assert_allclose(pixels(graph.process(sent)), np.minimum(2.0 * pixels(sent), 255.0), atol=1)


# The camera


def test_a_camera_is_killed_and_another_one_replaces_it(start_graph):
    graph = start_graph()
    peer = graph.peer
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent / "helpers")}

    def stamps_from_a_camera():
        peer.images.clear()
        camera = subprocess.Popen([sys.executable, HERE / "camera_process.py"], env=environment)
        try:
            peer.spin_until(lambda: len(peer.images) > 5)
        finally:
            camera.kill()
            camera.wait()
        return [image.header.stamp.sec for image in peer.images]

    first, second = stamps_from_a_camera(), stamps_from_a_camera()
    assert first[0] <= second[-1]
    assert_frames_are_enhanced(graph)


def test_size_and_encoding_change_from_frame_to_frame(start_graph):
    graph = start_graph()
    rng = np.random.default_rng(0)
    for number, (height, width, encoding, channels) in enumerate(
        [
            (48, 64, "bgr8", 3),
            (24, 32, "rgb8", 3),
            (48, 64, "mono8", 1),
            (31, 47, "bgra8", 4),
            (48, 64, "bayer_rggb8", 1),
        ]
    ):
        sent = dark_image(number + 1, height, width)
        sent.encoding, sent.step = encoding, width * channels
        sent.data = rng.integers(0, 100, height * sent.step, np.uint8).tobytes()
        graph.peer.info_publisher.publish(camera_info(sent))
        image = graph.process(sent)
        assert (image.height, image.width, image.header) == (height, width, sent.header)
        assert image.encoding == {"bgra8": "bgr8", "bayer_rggb8": "bgr8"}.get(encoding, encoding)
    assert count(graph, "failed") == 0
    assert_frames_are_enhanced(graph)


def test_one_message_in_ten_is_corrupt(start_graph):
    graph = start_graph(metadata__type=DIAGNOSTIC_ARRAY)
    graph.process(dark_image(1))
    received = count(graph, "enhanced")
    chance = random.Random(0)
    bad = 0
    for number in range(2, 102):
        image = dark_image(number)
        if number % 10 == 0:
            bad += 1
            spoil(image, chance)
            metadata = capture_metadata(image)
            metadata.status[0].values[0].value = chance.choice(["", "nan", "-1", "1e999", "x" * 100_000])
            graph.peer.metadata_publisher.publish(metadata)
        send(graph, image)
    assert count(graph, "enhanced") - received == 100 - bad
    assert count(graph, "decode_errors") == bad
    assert_frames_are_enhanced(graph)


def spoil(image, chance):
    """Introduce one of the errors that drivers and connections make."""
    kind = chance.randrange(5)
    if kind == 0:
        image.data = image.data[: chance.randrange(len(image.data))]
    elif kind == 1:
        image.height = 2**32 - 1
    elif kind == 2:
        image.encoding = "".join(chance.choices("bgr8\0é ", k=5))
    elif kind == 3:
        image.step = chance.randrange(image.step)
    else:
        image.width = image.height = 0


# Time and metadata


def test_stamps_jump_back_as_in_a_looped_bag(start_graph):
    graph = start_graph(metadata__type=DIAGNOSTIC_ARRAY, use_sim_time=True)
    peer = graph.peer
    clock_publisher = peer.node.create_publisher(Clock, "/clock", 10)
    peer.spin_until(
        lambda: clock_publisher.get_subscription_count() and peer.metadata_publisher.get_subscription_count()
    )
    peer.spin_until(peer.image_publisher.get_subscription_count)
    for _ in range(2):
        exact = count(graph, "metadata.exact")
        for number in range(100, 110):
            image, clock = dark_image(number), Clock()
            clock.clock.sec, clock.clock.nanosec = number, 250_000_000
            clock_publisher.publish(clock)
            peer.metadata_publisher.publish(capture_metadata(image))
            send(graph, image)
        peer.spin_until(
            lambda before=exact: count(graph, "metadata.exact") > before,
            repeating=lambda: peer.image_publisher.publish(dark_image(109)),
        )
    assert count(graph, "failed") == 0
    assert_frames_are_enhanced(graph)


def test_metadata_stops(start_graph):
    graph = start_graph(metadata__type=DIAGNOSTIC_ARRAY, metadata__max_age=2.5, metadata__default_iso=800.0)
    peer = graph.peer
    peer.spin_until(peer.metadata_publisher.get_subscription_count)
    first = dark_image(1)

    def shoot():
        peer.metadata_publisher.publish(capture_metadata(first))
        peer.image_publisher.publish(first)

    peer.spin_until(lambda: count(graph, "metadata.exact"), repeating=shoot)
    send(graph, dark_image(3))
    assert count(graph, "metadata.last") == 1
    send(graph, dark_image(5))
    assert values(graph)["metadata_source"] == "fallback"
    assert_frames_are_enhanced(graph)


# The model's file


def test_the_model_file_is_replaced_by_a_truncated_one(start_graph, tiny_model):
    graph = start_graph()
    whole = tiny_model.read_bytes()
    assert_frames_are_enhanced(graph)
    tiny_model.write_bytes(whole[: len(whole) // 2])
    assert_frames_are_enhanced(graph)
    [result] = graph.set_parameters(model=str(tiny_model))
    assert not result.successful
    assert str(tiny_model) in result.reason
    assert_frames_are_enhanced(graph)
    graph.node.trigger_deactivate()
    graph.node.trigger_activate()
    assert_frames_are_enhanced(graph)
    tiny_model.write_bytes(whole)
    assert graph.set_parameters(model=str(tiny_model))[0].successful
    assert values(graph)["model_error"] == ""


# The consumer


@pytest.mark.parametrize("history", [HistoryPolicy.KEEP_LAST, HistoryPolicy.KEEP_ALL])
def test_a_subscriber_that_does_not_read_does_not_block_others(start_graph, history):
    graph = start_graph()
    idle = PeerNode()
    idle.node.create_subscription(Image, "image_enhanced", idle.images.append, QoSProfile(depth=1, history=history))
    try:
        numbers = iter(range(1, 1000))
        idle.spin_until(
            lambda: idle.images, lambda: graph.process(dark_image(next(numbers)))
        )  # now the two are matched
        for last in itertools.islice(numbers, 50):
            graph.process(dark_image(last))
        assert float(values(graph)["processing_p99_ms"]) < 1000.0
        idle.spin_until(lambda: any(image.header.stamp.sec == last for image in idle.images))
    finally:
        idle.close()
    assert_frames_are_enhanced(graph)


def test_a_node_slower_than_its_camera_enhances_the_newest_frame(start_graph):
    graph = start_graph()
    peer = graph.peer
    graph.process(dark_image(1))
    fast = graph.node.handler.pipeline.enhancer
    newest, behind, done = [0], [], threading.Event()

    def slow(rgb, capture):
        """Take as long as the camera takes for five more frames."""
        last = newest[0] + 5
        while newest[0] < last and not done.is_set():
            time.sleep(0.01)
        return fast(rgb, capture)

    def shoot():
        """Publish up to a hundred frames a second, numbered by their stamps."""
        while not done.is_set():
            newest[0] += 1
            peer.image_publisher.publish(dark_image(newest[0]))
            done.wait(0.01)

    graph.node.handler.pipeline.enhancer = slow
    peer.images.clear()
    peer.node.create_subscription(
        Image, "image_enhanced", lambda image: behind.append(newest[0] - image.header.stamp.sec), 1
    )
    camera = threading.Thread(target=shoot)
    camera.start()
    try:
        peer.spin_until(lambda: len(peer.images) > 10)
    finally:
        done.set()
        camera.join()
    numbers = [image.header.stamp.sec for image in peer.images]
    assert numbers == sorted(set(numbers))
    assert np.diff(numbers).min() >= 2  # it left frames out
    assert np.median(behind) <= 2.0 * np.median(np.diff(numbers))  # and so did not fall behind
    assert count(graph, "skipped") > 0
    graph.node.handler.pipeline.enhancer = fast
    assert_frames_are_enhanced(graph)


# Two cameras


def test_two_cameras_in_two_namespaces(start_graph):
    left, right = start_graph(namespace="/left"), start_graph(namespace="/right", output__encoding="mono8")
    for number, (graph, encoding) in enumerate([(left, "bgr8"), (right, "mono8")] * 2, start=1):
        image = graph.process(dark_image(number))
        assert (image.encoding, image.header.stamp.sec) == (encoding, number)
    assert left.node.status().name == "/left/lowlight_enhance: enhancement"
    assert right.node.status().name == "/right/lowlight_enhance: enhancement"
    assert left.set_parameters(strength=0.5)[0].successful
    assert right.node.get_parameter("strength").value == 1.0
    left.node.trigger_shutdown()
    assert right.process(dark_image(7)).encoding == "mono8"
    right.set_parameters(output__encoding="bgr8")
    assert_frames_are_enhanced(right)
