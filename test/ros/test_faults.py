"""What goes wrong around a node in flight. Every test ends with frames that flow."""

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
from robot import Robot, camera_info, capture_metadata, dark_image, pixels
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image

DIAGNOSTIC_ARRAY = "diagnostic_msgs/msg/DiagnosticArray"
HERE = Path(__file__).parent


def values(cell):
    return {pair.key: pair.value for pair in cell.node.status().values}


def count(cell, name):
    return int(values(cell).get(name, 0))


def send(cell, image):
    """Publish one image and wait until the node has dealt with it."""
    health = cell.node.reporter.health
    before = health._totals["received"]
    cell.robot.image_publisher.publish(image)
    cell.robot.until(lambda: health._totals["received"] > before)


def frames_flow(cell):
    """The last word of every test."""
    sent = dark_image(9_000)
    np.testing.assert_allclose(pixels(cell.frame(sent)), np.minimum(2.0 * pixels(sent), 255.0), atol=1)


# The camera


def test_a_camera_that_is_killed_and_another_that_takes_its_place(fly):
    cell = fly()
    robot = cell.robot
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent)}

    def stamps_from_a_camera():
        robot.images.clear()
        camera = subprocess.Popen([sys.executable, HERE / "camera_process.py"], env=environment)
        try:
            robot.until(lambda: len(robot.images) > 5)
        finally:
            camera.kill()
            camera.wait()
        return [image.header.stamp.sec for image in robot.images]

    first, second = stamps_from_a_camera(), stamps_from_a_camera()
    assert first[0] <= second[-1]
    frames_flow(cell)


def test_size_and_encoding_change_from_frame_to_frame(fly):
    cell = fly()
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
        cell.robot.info_publisher.publish(camera_info(sent))
        image = cell.frame(sent)
        assert (image.height, image.width, image.header) == (height, width, sent.header)
        assert image.encoding == {"bgra8": "bgr8", "bayer_rggb8": "bgr8"}.get(encoding, encoding)
    assert count(cell, "failed") == 0
    frames_flow(cell)


def test_one_message_in_ten_is_corrupt(fly):
    cell = fly(metadata_type=DIAGNOSTIC_ARRAY)
    cell.frame(dark_image(1))
    received = count(cell, "enhanced")
    chance = random.Random(0)
    bad = 0
    for number in range(2, 102):
        image = dark_image(number)
        if number % 10 == 0:
            bad += 1
            spoil(image, chance)
            metadata = capture_metadata(image)
            metadata.status[0].values[0].value = chance.choice(["", "nan", "-1", "1e999", "x" * 100_000])
            cell.robot.metadata_publisher.publish(metadata)
        send(cell, image)
    assert count(cell, "enhanced") - received == 100 - bad
    assert count(cell, "decode_errors") == bad
    frames_flow(cell)


def spoil(image, chance):
    """Make one of the things wrong that wires and drivers get wrong."""
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


def test_stamps_jump_back_as_when_a_bag_starts_over(fly):
    cell = fly(metadata_type=DIAGNOSTIC_ARRAY, use_sim_time=True)
    robot = cell.robot
    clock_publisher = robot.node.create_publisher(Clock, "/clock", 10)
    robot.until(lambda: clock_publisher.get_subscription_count() and robot.metadata_publisher.get_subscription_count())
    robot.until(robot.image_publisher.get_subscription_count)
    for _ in range(2):
        exact = count(cell, "metadata.exact")
        for number in range(100, 110):
            image, clock = dark_image(number), Clock()
            clock.clock.sec, clock.clock.nanosec = number, 250_000_000
            clock_publisher.publish(clock)
            robot.metadata_publisher.publish(capture_metadata(image))
            send(cell, image)
        robot.until(
            lambda before=exact: count(cell, "metadata.exact") > before,
            doing=lambda: robot.image_publisher.publish(dark_image(109)),
        )
    assert count(cell, "failed") == 0
    frames_flow(cell)


def test_metadata_stops(fly):
    cell = fly(metadata_type=DIAGNOSTIC_ARRAY, metadata_max_age_s=2.5, default_iso=800.0)
    robot = cell.robot
    robot.until(robot.metadata_publisher.get_subscription_count)
    first = dark_image(1)

    def shoot():
        robot.metadata_publisher.publish(capture_metadata(first))
        robot.image_publisher.publish(first)

    robot.until(lambda: count(cell, "metadata.exact"), doing=shoot)
    send(cell, dark_image(3))
    assert count(cell, "metadata.last") == 1
    send(cell, dark_image(5))
    assert values(cell)["metadata_source"] == "fallback"
    frames_flow(cell)


# The model's file


def test_the_model_file_is_replaced_by_a_truncated_one(fly, tiny_model):
    cell = fly()
    whole = tiny_model.read_bytes()
    frames_flow(cell)
    tiny_model.write_bytes(whole[: len(whole) // 2])
    frames_flow(cell)
    [result] = cell.set(model=str(tiny_model))
    assert not result.successful
    assert str(tiny_model) in result.reason
    frames_flow(cell)
    cell.node.trigger_deactivate()
    cell.node.trigger_activate()
    frames_flow(cell)
    tiny_model.write_bytes(whole)
    assert cell.set(model=str(tiny_model))[0].successful
    assert values(cell)["model_refused"] == ""


# The consumer


@pytest.mark.parametrize("history", [HistoryPolicy.KEEP_LAST, HistoryPolicy.KEEP_ALL])
def test_a_consumer_that_does_not_read_holds_nobody_up(fly, history):
    cell = fly()
    idle = Robot()
    idle.node.create_subscription(Image, "image_enhanced", idle.images.append, QoSProfile(depth=1, history=history))
    try:
        numbers = iter(range(1, 1000))
        idle.until(lambda: idle.images, lambda: cell.frame(dark_image(next(numbers))))  # now the two are matched
        for last in itertools.islice(numbers, 50):
            cell.frame(dark_image(last))
        assert float(values(cell)["processing_p99_ms"]) < 1000.0
        idle.until(lambda: any(image.header.stamp.sec == last for image in idle.images))
    finally:
        idle.close()
    frames_flow(cell)


def test_a_node_slower_than_its_camera_enhances_the_newest_frame(fly):
    cell = fly()
    robot = cell.robot
    cell.frame(dark_image(1))
    fast = cell.node.flight._stream.enhance
    newest, behind, done = [0], [], threading.Event()

    def slow(rgb, capture):
        time.sleep(0.05)
        return fast(rgb, capture)

    def shoot():
        """A hundred frames a second, numbered by their stamps."""
        while not done.is_set():
            newest[0] += 1
            robot.image_publisher.publish(dark_image(newest[0]))
            done.wait(0.01)

    cell.node.flight._stream.enhance = slow
    robot.images.clear()
    robot.node.create_subscription(
        Image, "image_enhanced", lambda image: behind.append(newest[0] - image.header.stamp.sec), 1
    )
    camera = threading.Thread(target=shoot)
    camera.start()
    try:
        robot.until(lambda: len(robot.images) > 10)
    finally:
        done.set()
        camera.join()
    numbers = [image.header.stamp.sec for image in robot.images]
    assert numbers == sorted(set(numbers))
    assert np.diff(numbers).min() >= 2  # it left frames out
    assert np.median(behind) <= 2.0 * np.median(np.diff(numbers))  # and so did not fall behind
    assert count(cell, "skipped") > 0
    cell.node.flight._stream.enhance = fast
    frames_flow(cell)


# Two cameras


def test_two_cameras_in_two_namespaces(fly):
    left, right = fly(namespace="/left"), fly(namespace="/right", output_encoding="mono8")
    for number, (cell, encoding) in enumerate([(left, "bgr8"), (right, "mono8")] * 2, start=1):
        image = cell.frame(dark_image(number))
        assert (image.encoding, image.header.stamp.sec) == (encoding, number)
    assert left.node.status().name == "/left/lowlight_enhance: enhancement"
    assert right.node.status().name == "/right/lowlight_enhance: enhancement"
    assert left.set(strength=0.5)[0].successful
    assert right.node.get_parameter("strength").value == 1.0
    left.node.trigger_shutdown()
    assert right.frame(dark_image(7)).encoding == "mono8"
    right.set(output_encoding="bgr8")
    frames_flow(right)
