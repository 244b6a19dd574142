"""Metadata that arrives after its image: the image waits for it without blocking anything else."""

import time

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")
pytest.importorskip("diagnostic_msgs", reason="needs ROS 2 (diagnostic_msgs)")

from ros_graph import capture_metadata, dark_image

LONG_S = 0.5


@pytest.fixture
def graph(start_graph):
    """Return a node that waits for metadata, with all topics connected."""
    graph = start_graph(metadata__type="diagnostic_msgs/msg/DiagnosticArray", metadata__max_wait=LONG_S)
    peer = graph.peer
    peer.spin_until(lambda: peer.metadata_publisher.get_subscription_count() and peer.input_reliability())
    peer.spin_until(lambda: received(graph), repeating=lambda: peer.image_publisher.publish(dark_image(1)))
    peer.spin_until(lambda: peer.images and graph.node.handler._wait.image is None)
    peer.images.clear()
    return graph


def received(graph):
    return graph.node.handler._wait.image is not None


def values(graph):
    return {pair.key: pair.value for pair in graph.node.status().values}


def test_an_image_is_processed_as_soon_as_its_metadata_arrives(graph):
    peer, waits_s = graph.peer, []
    for number in range(5, 10):
        sent = dark_image(number)
        peer.images.clear()
        peer.image_publisher.publish(sent)
        peer.spin_until(lambda: received(graph))
        assert not peer.images
        began_s = time.monotonic()
        peer.metadata_publisher.publish(capture_metadata(sent))
        peer.spin_until(lambda: peer.images)
        waits_s.append(time.monotonic() - began_s)
    assert sorted(waits_s)[2] < 0.8 * LONG_S
    assert values(graph)["metadata.exact"] == "5"
    assert values(graph)["skipped"] == "0"


def test_other_metadata_does_not_end_the_wait(graph):
    graph.peer.image_publisher.publish(dark_image(5))
    graph.peer.spin_until(lambda: received(graph))
    graph.peer.metadata_publisher.publish(capture_metadata(dark_image(4)))
    graph.peer.spin_until(lambda: graph.node.handler.pipeline.has_metadata_for(4_000_000_345))
    assert received(graph)
    graph.peer.spin_until(lambda: graph.peer.images)
    assert values(graph)["metadata_source"] == "last"


def test_an_image_whose_metadata_never_arrives_is_processed_without_it(graph):
    began_s = time.monotonic()
    graph.peer.image_publisher.publish(dark_image(5))
    graph.peer.spin_until(lambda: graph.peer.images)
    assert time.monotonic() - began_s >= 0.9 * LONG_S


def test_an_image_does_not_wait_for_metadata_that_has_arrived(graph):
    sent = dark_image(5)
    graph.peer.metadata_publisher.publish(capture_metadata(sent))
    graph.peer.spin_until(
        lambda: graph.node.handler.pipeline.has_metadata_for(5_000_000_345),
        repeating=graph.node.handler.subscriptions.deliver_pending,
    )
    graph.node.handler._on_image(sent)
    assert not received(graph)
    graph.peer.spin_until(lambda: graph.peer.images)


def test_a_newer_image_replaces_the_waiting_one_and_keeps_its_deadline(graph):
    """Otherwise images that arrive faster than the wait would restart it for ever."""
    number = iter(range(5, 10_000))
    began_s = time.monotonic()
    peer = graph.peer
    peer.spin_until(
        lambda: len(peer.images) >= 2, repeating=lambda: peer.image_publisher.publish(dark_image(next(number)))
    )
    stamps = [image.header.stamp.sec for image in peer.images]
    assert stamps[0] > 5
    assert stamps == sorted(stamps)
    assert int(values(graph)["skipped"]) >= stamps[0] - 5
    assert values(graph)["dropped"] == "0"
    assert time.monotonic() - began_s < 20 * LONG_S


def test_nothing_waits_after_deactivation(graph):
    graph.peer.image_publisher.publish(dark_image(5))
    graph.peer.spin_until(lambda: received(graph))
    timers = len(list(graph.node.timers))
    graph.node.trigger_deactivate()
    assert len(list(graph.node.timers)) == timers - 1
    graph.node.trigger_activate()
    assert not received(graph)
    graph.set_parameters(metadata__max_wait=0.0)
    assert graph.process(dark_image(6)).header.stamp.sec == 6
