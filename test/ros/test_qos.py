"""QoS: reliability, overrides and warnings; and the lazy image subscription."""

import time
from types import SimpleNamespace

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")
pytest.importorskip("diagnostic_msgs", reason="needs ROS 2 (diagnostic_msgs)")

from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from ros_graph import BEST_EFFORT, dark_image
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Float32

from lowlight_enhance.core.errors import ConfigError
from lowlight_enhance.ros import qos, qos_diagnostics, topic_names
from lowlight_enhance.ros.qos import QosOverrides, agreed_reliability

RELIABLE, UNRELIABLE = ReliabilityPolicy.RELIABLE, ReliabilityPolicy.BEST_EFFORT
ENDS = topic_names.endpoints("/{}".format)
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


def subscriptions(graph):
    """Return the topics that the node under test subscribes to."""
    return {subscription.topic_name for subscription in graph.node.subscriptions}


def shoot(graph):
    """Publish an image that was taken now: only such an image has a latency."""
    image = dark_image(1)
    image.header.stamp = graph.peer.node.get_clock().now().to_msg()
    graph.peer.image_publisher.publish(image)


def unsubscribe_outputs(graph):
    """Destroy the peer's subscriptions of the outputs."""
    for subscription in tuple(graph.peer.node.subscriptions):
        if "enhanced" in subscription.topic_name:
            graph.peer.node.destroy_subscription(subscription)


@pytest.mark.parametrize(
    ("offered", "current", "agreed"),
    [
        ([RELIABLE], UNRELIABLE, RELIABLE),
        ([RELIABLE, RELIABLE], UNRELIABLE, RELIABLE),
        ([RELIABLE, UNRELIABLE], RELIABLE, UNRELIABLE),
        ([ReliabilityPolicy.UNKNOWN], RELIABLE, UNRELIABLE),
        ([], RELIABLE, RELIABLE),
        ([], UNRELIABLE, UNRELIABLE),
    ],
)
def test_agreed_reliability(offered, current, agreed):
    assert agreed_reliability(offered, current) == agreed


# Lazy


@pytest.mark.parametrize(
    ("message_type", "topic"),
    [
        (Image, "image_enhanced"),
        (CameraInfo, "enhanced/camera_info"),
        (CompressedImage, "image_enhanced/compressed"),
        (Float32, "lowlight_enhance/latency"),
    ],
)
def test_images_are_subscribed_to_only_while_an_output_has_subscribers(start_graph, message_type, topic):
    graph = start_graph(output__compressed_format="jpeg")
    node = graph.peer.node
    unsubscribe_outputs(graph)
    graph.peer.spin_until(lambda: subscriptions(graph) == {"/camera_info"})
    graph.peer.spin_until(
        lambda: graph.node.status().message == "idle: no output topic has subscribers, so images are not subscribed to"
    )
    received = []
    subscription = node.create_subscription(message_type, topic, received.append, 1)
    graph.peer.spin_until(lambda: "/image_raw" in subscriptions(graph))
    if message_type is not CameraInfo:
        graph.peer.spin_until(lambda: received, repeating=lambda: shoot(graph))
    node.destroy_subscription(subscription)
    graph.peer.spin_until(lambda: "/image_raw" not in subscriptions(graph))
    graph.peer.spin_until(lambda: graph.peer.image_publisher.get_subscription_count() == 0)


def test_without_matched_events_the_timer_notices_subscribers(start_graph, monkeypatch):
    """Humble has no such events."""

    class Events:
        def __init__(self, *, incompatible_qos=None, use_default_callbacks=True):
            pass

        def create_event_handlers(self, *_):
            return []

    monkeypatch.setattr("lowlight_enhance.ros.publishers.PublisherEventCallbacks", Events)
    graph = start_graph()
    unsubscribe_outputs(graph)
    graph.peer.spin_until(lambda: "/image_raw" not in subscriptions(graph))
    graph.peer.node.create_subscription(Image, "image_enhanced", graph.peer.images.append, 1)
    graph.process(dark_image(1))


@pytest.mark.parametrize(
    ("unsupported", "used"), [("", "il"), ("m", "il"), ("i", "l"), ("l", "i"), ("il", "")], ids=repr
)
def test_only_unsupported_events_are_left_out(unsupported, used):
    """``m`` is unknown to rclpy, the other events to the middleware."""

    def create(event_callbacks):
        if event_callbacks.keys() & set(unsupported):
            raise qos.UnsupportedEventTypeError
        return event_callbacks

    def kind(i=None, l=None):  # noqa: E741
        return {name: callback for name, callback in (("i", i), ("l", l)) if callback}

    assert qos.with_events(create, kind, i=print, l=print, m=print).keys() == set(used)


def test_images_published_while_unsubscribed_are_not_counted_as_skipped(start_graph):
    graph = start_graph()
    graph.process(dark_image(1))
    unsubscribe_outputs(graph)
    graph.peer.spin_until(lambda: subscriptions(graph) == {"/camera_info"})
    for number in range(2, 8):
        graph.peer.image_publisher.publish(dark_image(number))
    graph.peer.node.create_subscription(Image, "image_enhanced", graph.peer.images.append, 1)
    graph.process(dark_image(9))
    assert graph.node.diagnostics.skipped == 0


def test_lazy_can_be_disabled_while_active(start_graph):
    graph = start_graph()
    unsubscribe_outputs(graph)
    graph.peer.spin_until(lambda: subscriptions(graph) == {"/camera_info"})
    assert graph.set_parameters(lazy=False)[0].successful
    graph.peer.spin_until(lambda: "/image_raw" in subscriptions(graph))


# QosOverrides


def test_the_users_overrides_are_used(start_graph):
    prefix = "qos_overrides./image_raw.subscription"
    graph = start_graph(
        **{
            "qos_overrides./image_enhanced.publisher.depth": 4,
            "qos_overrides./image_enhanced.publisher.reliability": "best_effort",
            f"{prefix}.reliability": "best_effort",
            f"{prefix}.depth": 3,
        }
    )
    peer = graph.peer
    [offered] = [p.qos_profile for p in peer.node.get_publishers_info_by_topic("image_enhanced")]
    assert offered.reliability == UNRELIABLE
    assert graph.node.get_parameter("qos_overrides./image_enhanced.publisher.depth").value == 4
    peer.node.create_subscription(Image, "image_enhanced", peer.images.append, BEST_EFFORT)
    peer.spin_until(lambda: peer.input_reliability() == UNRELIABLE)  # though its publisher is reliable
    assert graph.node.get_parameter(f"{prefix}.depth").value == 3
    graph.process(dark_image(1))


def test_by_default_only_the_newest_image_is_queued(start_graph):
    graph = start_graph()
    graph.process(dark_image(1))
    for name in ("image_enhanced.publisher", "image_raw.subscription"):
        assert graph.node.get_parameter(f"qos_overrides./{name}.depth").value == 1


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("/image_raw.subscription.reliability", "sometimes", "'reliable', 'best_effort'"),
        ("/image_raw.subscription.depth", 0, "integer from 1"),
        ("/image_raw.subscription.depth", "1", "integer from 1"),
        ("/image_raw.subscription.durability", "volatile", "history, depth, reliability"),
        ("/image_raw.depth", 1, "publisher or subscription"),
    ],
)
def test_an_invalid_override_is_rejected_by_name(name, value, message):
    with pytest.raises(ConfigError, match=f"(?s)qos_overrides.{name}.*{message}"):
        QosOverrides({f"qos_overrides.{name}": value}, ENDS)


@pytest.mark.parametrize(
    ("name", "value", "is_reported"),
    [
        ("/parameter_events.publisher.durability", "volatile", False),
        ("/rosout.publisher.depth", 0, False),
        ("/clock.subscription.lifespan", 5, False),
        ("/tf_static.publisher.durability", "transient_local", True),
        ("/image_raw.publisher.durability", "transient_local", True),  # the camera's end
        ("/image_raw.subscription_left.durability", "volatile", True),
        ("/other.depth", "many", True),
    ],
)
def test_an_override_for_another_node_is_accepted(name, value, is_reported):
    assert len(QosOverrides({f"qos_overrides.{name}": value}, ENDS).warnings()) == is_reported


def test_overrides_in_a_parameter_file_for_all_nodes_are_accepted(start_graph, capfd):
    graph = start_graph(
        **{
            "qos_overrides./parameter_events.publisher.durability": "volatile",
            "qos_overrides./tf_static.publisher.durability": "transient_local",
        }
    )
    graph.process(dark_image(1))
    reported = [line for line in capfd.readouterr().err.splitlines() if "has no effect" in line]
    assert ["tf_static" in line for line in reported] == [True]


def test_an_override_of_an_unknown_topic_is_a_warning(start_graph, capfd):
    start_graph(**{"qos_overrides./image_row.subscription.depth": 2})
    assert "did you mean 'qos_overrides./image_raw.subscription'" in capfd.readouterr().err


# Warnings


def test_an_incompatible_publisher_is_reported_once(start_graph, capfd):
    graph = start_graph(image_reliability="reliable")
    peer = graph.peer
    peer.node.destroy_publisher(peer.image_publisher)
    cameras = [peer.node.create_publisher(Image, "image_raw", BEST_EFFORT)]
    peer.spin_until(lambda: "image_reliability to 'auto'" in graph.node.status().message)
    cameras.append(peer.node.create_publisher(Image, "image_raw", BEST_EFFORT))
    peer.spin_until(lambda: peer.node.count_publishers("image_raw") == 2)
    peer.spin_until(lambda: len(peer.statuses) > 1)
    assert capfd.readouterr().err.count("image_reliability to 'auto'") == 1
    assert peer.statuses[-1].level >= b"\x01"

    peer.image_publisher = cameras[0]
    graph.set_parameters(image_reliability="auto")
    graph.process(dark_image(1))
    assert "image_reliability" not in graph.node.status().message


def test_an_incompatible_subscriber_is_reported_once(start_graph, capfd):
    graph = start_graph()
    subscription = graph.peer.node.create_subscription(Image, "image_enhanced", print, LATCHED)
    graph.peer.spin_until(lambda: "durability must be volatile" in graph.node.status().message)
    status_count = len(graph.peer.statuses)
    graph.peer.spin_until(lambda: len(graph.peer.statuses) > status_count + 1)
    assert "durability must be volatile" in graph.peer.statuses[-1].message
    assert capfd.readouterr().err.count("durability must be volatile") == 1
    graph.peer.node.destroy_subscription(subscription)
    graph.peer.spin_until(lambda: "durability must be volatile" not in graph.node.status().message)


def test_the_warning_of_an_incompatible_publisher_ends_with_it(start_graph):
    graph = start_graph(image_reliability="reliable")
    camera = graph.peer.node.create_publisher(Image, "image_raw", BEST_EFFORT)
    graph.peer.spin_until(lambda: "image_reliability to 'auto'" in graph.node.status().message)
    graph.process(dark_image(1))  # of the other one, which is reliable
    assert "image_reliability to 'auto'" in graph.node.status().message
    graph.peer.node.destroy_publisher(camera)
    graph.peer.spin_until(lambda: "image_reliability" not in graph.node.status().message)


def test_the_warning_of_lost_images_ends_when_no_more_are_lost(start_graph, capfd, monkeypatch):
    graph = start_graph()
    graph.process(dark_image(1))
    handler = graph.node.handler

    def lose(count):
        handler._on_lost(SimpleNamespace(total_count=count, total_count_change=1))

    lose(1)
    handler._qos.update("", time.monotonic() + qos_diagnostics.LOSS_WARNING_S - 1.0)
    assert "has lost 1 images" in graph.node.status().message
    handler._qos.update("", time.monotonic() + qos_diagnostics.LOSS_WARNING_S)
    assert "has lost" not in graph.node.status().message
    lose(2)
    assert "has lost 2 images" in graph.node.status().message
    assert graph.node.status().level == b"\x01"
    monkeypatch.setattr(qos_diagnostics, "LOSS_WARNING_S", 0.0)
    graph.peer.spin_until(lambda: "has lost" not in graph.node.status().message)
    assert capfd.readouterr().err.count("has lost") == 1


# Latency


def test_the_latency_of_each_frame_is_published(start_graph):
    graph = start_graph()
    received = []
    graph.peer.node.create_subscription(Float32, "lowlight_enhance/latency", received.append, 10)

    def shoot():
        image = dark_image(1)
        image.header.stamp = graph.node.get_clock().now().to_msg()
        graph.peer.image_publisher.publish(image)

    graph.peer.spin_until(lambda: received, repeating=shoot)
    assert 0.0 < received[0].data < 10_000.0


def test_topics_are_those_of_topic_names(start_graph):
    graph = start_graph(output__compressed_format="jpeg", metadata__type="diagnostic_msgs/msg/DiagnosticArray")
    resolve = graph.node.resolve_topic_name
    ends = set(topic_names.endpoints(resolve))
    assert {resolve(name) for name in topic_names.INPUTS} == {topic for topic, role in ends if role == "subscription"}
    published = {topic for topic, role in ends if role == "publisher"} | {"/diagnostics"}
    assert {resolve(name) for name in topic_names.OUTPUTS} == published
    graph.process(dark_image(1))
    opened = {publisher.topic_name for publisher in graph.node.publishers} - {"/rosout", "/parameter_events"}
    assert opened == published
    assert subscriptions(graph) <= {topic for topic, _ in ends}
