"""Quality of service: what is agreed, overridden and complained of, and no images while nobody listens."""

import time
from types import SimpleNamespace

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")
pytest.importorskip("diagnostic_msgs", reason="needs ROS 2 (diagnostic_msgs)")

from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from robot import BEST_EFFORT, dark_image
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Float32

from lowlight_enhance.core.errors import ConfigError
from lowlight_enhance.ros import qos, qos_diagnostics, topic_names
from lowlight_enhance.ros.qos import Overrides, agreed_reliability

RELIABLE, UNRELIABLE = ReliabilityPolicy.RELIABLE, ReliabilityPolicy.BEST_EFFORT
ENDS = topic_names.ends("/{}".format)
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


def subscriptions(cell):
    """Topics that the node under test subscribes to."""
    return {subscription.topic_name for subscription in cell.node.subscriptions}


def stop_listening(cell):
    """To any output of the node under test."""
    for subscription in tuple(cell.robot.node.subscriptions):
        if "enhanced" in subscription.topic_name:
            cell.robot.node.destroy_subscription(subscription)


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
    [(Image, "image_enhanced"), (CameraInfo, "enhanced/camera_info"), (CompressedImage, "image_enhanced/compressed")],
)
def test_images_are_taken_only_while_an_output_is_listened_to(fly, message_type, topic):
    cell = fly(compressed_output="jpeg")
    node = cell.robot.node
    stop_listening(cell)
    cell.robot.until(lambda: subscriptions(cell) == {"/camera_info"})
    cell.robot.until(lambda: cell.node.status().message == "idle: nobody listens, so no image is taken")
    received = []
    listener = node.create_subscription(message_type, topic, received.append, 1)
    cell.robot.until(lambda: "/image_raw" in subscriptions(cell))
    if message_type is not CameraInfo:
        cell.robot.until(lambda: received, doing=lambda: cell.robot.image_publisher.publish(dark_image(1)))
    node.destroy_subscription(listener)
    cell.robot.until(lambda: "/image_raw" not in subscriptions(cell))
    cell.robot.until(lambda: cell.robot.image_publisher.get_subscription_count() == 0)


def test_without_events_of_the_middleware_the_timer_notices_listeners(fly, monkeypatch):
    """As with Humble, whose publishers are not told of their subscribers."""

    class Events:
        def __init__(self, *, incompatible_qos=None, use_default_callbacks=True):
            pass

        def create_event_handlers(self, *_):
            return []

    monkeypatch.setattr("lowlight_enhance.ros.publishers.PublisherEventCallbacks", Events)
    cell = fly()
    stop_listening(cell)
    cell.robot.until(lambda: "/image_raw" not in subscriptions(cell))
    cell.robot.node.create_subscription(Image, "image_enhanced", cell.robot.images.append, 1)
    cell.frame(dark_image(1))


def test_a_middleware_without_such_events_will_do(monkeypatch):
    def create(event_callbacks):
        if event_callbacks:
            raise qos.UnsupportedEventTypeError
        return "publisher"

    assert qos.with_events(create, lambda matched=None: matched, matched=print) == "publisher"


def test_images_that_nobody_wanted_are_not_counted_as_skipped(fly):
    cell = fly()
    cell.frame(dark_image(1))
    stop_listening(cell)
    cell.robot.until(lambda: subscriptions(cell) == {"/camera_info"})
    for number in range(2, 8):
        cell.robot.image_publisher.publish(dark_image(number))
    cell.robot.node.create_subscription(Image, "image_enhanced", cell.robot.images.append, 1)
    cell.frame(dark_image(9))
    assert cell.node.reporter.skipped == 0


def test_laziness_can_be_switched_off_in_flight(fly):
    cell = fly()
    stop_listening(cell)
    cell.robot.until(lambda: subscriptions(cell) == {"/camera_info"})
    assert cell.set(lazy=False)[0].successful
    cell.robot.until(lambda: "/image_raw" in subscriptions(cell))


# Overrides


def test_the_users_quality_of_service_is_taken(fly):
    prefix = "qos_overrides./image_raw.subscription"
    cell = fly(
        **{
            "qos_overrides./image_enhanced.publisher.depth": 4,
            "qos_overrides./image_enhanced.publisher.reliability": "best_effort",
            f"{prefix}.reliability": "best_effort",
            f"{prefix}.depth": 3,
        }
    )
    robot = cell.robot
    [offered] = [p.qos_profile for p in robot.node.get_publishers_info_by_topic("image_enhanced")]
    assert offered.reliability == UNRELIABLE
    assert cell.node.get_parameter("qos_overrides./image_enhanced.publisher.depth").value == 4
    robot.node.create_subscription(Image, "image_enhanced", robot.images.append, BEST_EFFORT)
    robot.until(lambda: robot.input_reliability() == UNRELIABLE)  # though its publisher is reliable
    assert cell.node.get_parameter(f"{prefix}.depth").value == 3
    cell.frame(dark_image(1))


def test_by_default_only_the_newest_image_waits(fly):
    cell = fly()
    cell.frame(dark_image(1))
    for name in ("image_enhanced.publisher", "image_raw.subscription"):
        assert cell.node.get_parameter(f"qos_overrides./{name}.depth").value == 1


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("/image_raw.subscription.reliability", "sometimes", "'reliable', 'best_effort'"),
        ("/image_raw.subscription.depth", 0, "whole number from 1"),
        ("/image_raw.subscription.depth", "1", "whole number from 1"),
        ("/image_raw.subscription.durability", "volatile", "history, depth, reliability"),
        ("/image_raw.depth", 1, "publisher or subscription"),
    ],
)
def test_an_override_that_cannot_be_is_refused_by_name(name, value, said):
    with pytest.raises(ConfigError, match=f"(?s)qos_overrides.{name}.*{said}"):
        Overrides({f"qos_overrides.{name}": value}, ENDS)


@pytest.mark.parametrize(
    ("name", "value", "is_told"),
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
def test_an_override_for_another_node_is_let_pass(name, value, is_told):
    assert len(Overrides({f"qos_overrides.{name}": value}, ENDS).without_effect()) == is_told


def test_a_parameter_file_of_all_nodes_does_not_keep_this_one_from_starting(fly, capfd):
    cell = fly(
        **{
            "qos_overrides./parameter_events.publisher.durability": "volatile",
            "qos_overrides./tf_static.publisher.durability": "transient_local",
        }
    )
    cell.frame(dark_image(1))
    told = [line for line in capfd.readouterr().err.splitlines() if "has no effect" in line]
    assert ["tf_static" in line for line in told] == [True]


def test_an_override_of_no_topic_of_ours_is_told(fly, capfd):
    fly(**{"qos_overrides./image_row.subscription.depth": 2})
    assert "did you mean 'qos_overrides./image_raw.subscription'" in capfd.readouterr().err


# Complaints


def test_images_that_do_not_arrive_are_explained_once(fly, capfd):
    cell = fly(image_reliability="reliable")
    robot = cell.robot
    robot.node.destroy_publisher(robot.image_publisher)
    cameras = [robot.node.create_publisher(Image, "image_raw", BEST_EFFORT)]
    robot.until(lambda: "image_reliability to 'auto'" in cell.node.status().message)
    cameras.append(robot.node.create_publisher(Image, "image_raw", BEST_EFFORT))
    robot.until(lambda: robot.node.count_publishers("image_raw") == 2)
    robot.until(lambda: len(robot.statuses) > 1)
    assert capfd.readouterr().err.count("image_reliability to 'auto'") == 1
    assert robot.statuses[-1].level >= b"\x01"

    robot.image_publisher = cameras[0]
    cell.set(image_reliability="auto")
    cell.frame(dark_image(1))
    assert "image_reliability" not in cell.node.status().message


def test_a_subscriber_that_asks_for_too_much_is_told(fly, capfd):
    cell = fly()
    subscription = cell.robot.node.create_subscription(Image, "image_enhanced", print, LATCHED)
    cell.robot.until(lambda: "durability volatile" in cell.node.status().message)
    seen = len(cell.robot.statuses)
    cell.robot.until(lambda: len(cell.robot.statuses) > seen + 1)
    assert "durability volatile" in cell.robot.statuses[-1].message
    assert capfd.readouterr().err.count("durability volatile") == 1
    cell.robot.node.destroy_subscription(subscription)
    cell.robot.until(lambda: "durability volatile" not in cell.node.status().message)


def test_a_publisher_that_offers_too_little_is_forgotten_when_it_goes(fly):
    cell = fly(image_reliability="reliable")
    camera = cell.robot.node.create_publisher(Image, "image_raw", BEST_EFFORT)
    cell.robot.until(lambda: "image_reliability to 'auto'" in cell.node.status().message)
    cell.frame(dark_image(1))  # of the other one, which is reliable
    assert "image_reliability to 'auto'" in cell.node.status().message
    cell.robot.node.destroy_publisher(camera)
    cell.robot.until(lambda: "image_reliability" not in cell.node.status().message)


def test_lost_images_are_forgotten_when_no_more_are_lost(fly, capfd, monkeypatch):
    cell = fly()
    cell.frame(dark_image(1))
    flight = cell.node.flight

    def lose(count):
        flight._on_lost(SimpleNamespace(total_count=count, total_count_change=1))

    lose(1)
    flight._complaints.look("", time.monotonic() + qos_diagnostics.LOST_S - 1.0)
    assert "has lost 1 images" in cell.node.status().message
    flight._complaints.look("", time.monotonic() + qos_diagnostics.LOST_S)
    assert "has lost" not in cell.node.status().message
    lose(2)
    assert "has lost 2 images" in cell.node.status().message
    assert cell.node.status().level == b"\x01"
    monkeypatch.setattr(qos_diagnostics, "LOST_S", 0.0)
    cell.robot.until(lambda: "has lost" not in cell.node.status().message)
    assert capfd.readouterr().err.count("has lost") == 1


# Latency


def test_latency_of_each_frame_can_be_listened_to(fly):
    cell = fly()
    received = []
    cell.robot.node.create_subscription(Float32, "lowlight_enhance/latency", received.append, 10)

    def shoot():
        image = dark_image(1)
        image.header.stamp = cell.node.get_clock().now().to_msg()
        cell.robot.image_publisher.publish(image)

    cell.robot.until(lambda: received, doing=shoot)
    assert 0.0 < received[0].data < 10_000.0


def test_topics_are_those_that_the_readme_names(fly):
    cell = fly(compressed_output="jpeg", metadata_type="diagnostic_msgs/msg/DiagnosticArray")
    resolve = cell.node.resolve_topic_name
    ends = set(topic_names.ends(resolve))
    assert {resolve(name) for name in topic_names.INPUTS} == {topic for topic, role in ends if role == "subscription"}
    published = {topic for topic, role in ends if role == "publisher"} | {"/diagnostics"}
    assert {resolve(name) for name in topic_names.OUTPUTS} == published
    cell.frame(dark_image(1))
    opened = {publisher.topic_name for publisher in cell.node.publishers} - {"/rosout", "/parameter_events"}
    assert opened == published
    assert subscriptions(cell) <= {topic for topic, _ in ends}
