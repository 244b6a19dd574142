"""Metadata that its driver sends after the image: waiting for it, without keeping anything else waiting."""

import time

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")
pytest.importorskip("diagnostic_msgs", reason="needs ROS 2 (diagnostic_msgs)")

from robot import capture_metadata, dark_image

LONG_S = 0.5


@pytest.fixture
def cell(fly):
    """A node that waits, whose topics are connected."""
    cell = fly(metadata_type="diagnostic_msgs/msg/DiagnosticArray", metadata_wait_s=LONG_S)
    robot = cell.robot
    robot.until(lambda: robot.metadata_publisher.get_subscription_count() and robot.input_reliability())
    robot.until(lambda: received(cell), doing=lambda: robot.image_publisher.publish(dark_image(1)))
    robot.until(lambda: robot.images and cell.node.flight._waiting.held is None)
    robot.images.clear()
    return cell


def received(cell):
    return cell.node.flight._waiting.held is not None


def values(cell):
    return {pair.key: pair.value for pair in cell.node.status().values}


def test_an_image_is_served_as_soon_as_its_metadata_comes(cell):
    robot, waits_s = cell.robot, []
    for number in range(5, 10):
        sent = dark_image(number)
        robot.images.clear()
        robot.image_publisher.publish(sent)
        robot.until(lambda: received(cell))
        assert not robot.images
        began_s = time.monotonic()
        robot.metadata_publisher.publish(capture_metadata(sent))
        robot.until(lambda: robot.images)
        waits_s.append(time.monotonic() - began_s)
    assert sorted(waits_s)[2] < 0.2 * LONG_S
    assert values(cell)["metadata.exact"] == "5"
    assert values(cell)["dropped"] == "0"


def test_other_metadata_does_not_end_the_wait(cell):
    cell.robot.image_publisher.publish(dark_image(5))
    cell.robot.until(lambda: received(cell))
    cell.robot.metadata_publisher.publish(capture_metadata(dark_image(4)))
    cell.robot.until(lambda: cell.node.flight._stream.has_metadata_for(4_000_000_345))
    assert received(cell)
    cell.robot.until(lambda: cell.robot.images)
    assert values(cell)["metadata_source"] == "last"


def test_an_image_whose_metadata_never_comes_is_served_without(cell):
    began_s = time.monotonic()
    cell.robot.image_publisher.publish(dark_image(5))
    cell.robot.until(lambda: cell.robot.images)
    assert time.monotonic() - began_s >= 0.9 * LONG_S


def test_metadata_that_is_there_already_costs_no_wait(cell):
    sent = dark_image(5)
    cell.robot.metadata_publisher.publish(capture_metadata(sent))
    cell.robot.until(
        lambda: cell.node.flight._stream.has_metadata_for(5_000_000_345), doing=cell.node.flight._inputs.take_waiting
    )
    cell.node.flight._on_image(sent)
    assert not received(cell)
    cell.robot.until(lambda: cell.robot.images)


def test_the_newest_image_wins_and_none_is_kept_waiting_twice(cell):
    """Images that come faster than the wait lasts would otherwise begin it anew for ever."""
    number = iter(range(5, 10_000))
    began_s = time.monotonic()
    robot = cell.robot
    robot.until(lambda: len(robot.images) >= 2, doing=lambda: robot.image_publisher.publish(dark_image(next(number))))
    stamps = [image.header.stamp.sec for image in robot.images]
    assert stamps[0] > 5
    assert stamps == sorted(stamps)
    assert int(values(cell)["dropped"]) >= stamps[0] - 5
    assert time.monotonic() - began_s < 20 * LONG_S


def test_nothing_waits_any_more_after_deactivation(cell):
    cell.robot.image_publisher.publish(dark_image(5))
    cell.robot.until(lambda: received(cell))
    timers = len(list(cell.node.timers))
    cell.node.trigger_deactivate()
    assert len(list(cell.node.timers)) == timers - 1
    cell.node.trigger_activate()
    assert not received(cell)
    cell.set(metadata_wait_s=0.0)
    assert cell.frame(dark_image(6)).header.stamp.sec == 6
