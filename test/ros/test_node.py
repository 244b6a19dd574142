"""The node as a process of its own, over the middleware."""

from importlib.util import find_spec
from signal import SIGINT, SIGTERM

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")
pytest.importorskip("diagnostic_msgs", reason="needs ROS 2 (diagnostic_msgs)")

from rclpy.qos import ReliabilityPolicy
from rclpy.utilities import get_rmw_implementation_identifier
from ros_graph import (
    ACTIVATE,
    BEST_EFFORT,
    CLEANUP,
    CONFIGURE,
    DEACTIVATE,
    NodeProcess,
    PeerNode,
    camera_info,
    capture_metadata,
    corrupt_image,
    dark_image,
    pixels,
)
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image

DIAGNOSTIC_ARRAY = "diagnostic_msgs/msg/DiagnosticArray"


@pytest.fixture
def peer():
    peer = PeerNode()
    yield peer
    peer.close()


@pytest.fixture
def start(tmp_path):
    """Start the node with parameters; it is ended after the test."""
    running = []

    def start_node(**parameters):
        running.append(NodeProcess(tmp_path / f"node{len(running)}.log", **parameters))
        return running[-1]

    yield start_node
    for process in running:
        process.__exit__()


def test_it_continues_after_a_corrupt_frame(peer, start, tiny_model):
    node = start(model=tiny_model, strength=1.0, metadata__type=DIAGNOSTIC_ARRAY)
    peer.wait_for_node(metadata=True)
    first, bad, second = dark_image(1), corrupt_image(2), dark_image(3)
    peer.metadata_publisher.publish(capture_metadata(first))
    peer.info_publisher.publish(camera_info(first))
    peer.spin_until(lambda: peer.statuses)
    peer.image_publisher.publish(first)
    peer.spin_until(lambda: len(peer.images) == 1 and len(peer.infos) == 1)
    peer.image_publisher.publish(bad)
    peer.spin_until(lambda: peer.status_values().get("errors.ImageError") == "1")
    peer.image_publisher.publish(second)
    peer.spin_until(lambda: len(peer.images) == 2 and len(peer.infos) == 2)

    for sent, image, info in zip((first, second), peer.images, peer.infos, strict=True):
        assert image.header == sent.header
        assert info.header == sent.header
        assert (image.height, image.width, image.encoding, image.step) == (48, 64, "bgr8", 192)
        np.testing.assert_allclose(pixels(image), 2.0 * pixels(sent), atol=1)
        assert (info.width, info.height) == (64, 48)
        np.testing.assert_array_equal(info.k, camera_info(sent).k)
    peer.spin_until(lambda: peer.status_values().get("enhanced") == "2")
    values, status = peer.status_values(), peer.statuses[-1]
    assert values["metadata.exact"] == "1"
    assert values["received"] == "3"
    assert (values["model"], values["provider"], len(values["model_sha256"])) == ("tiny", "CPUExecutionProvider", 12)
    assert (status.name, status.hardware_id) == ("/lowlight_enhance: enhancement", "camera_optical")
    assert status.level == b"\x01"
    assert node.log.count("[WARN]") == 1
    assert "Traceback" not in node.log


def test_output_at_the_models_size_has_a_rescaled_camera_info(peer, start, tiny_model):
    start(model=tiny_model, working_size=24, output__resolution="model", output__encoding="rgb8")
    peer.wait_for_node()
    sent = dark_image(1)
    peer.info_publisher.publish(camera_info(sent))

    peer.spin_until(lambda: peer.images and peer.infos, repeating=lambda: peer.image_publisher.publish(sent))
    image, info = peer.images[0], peer.infos[0]
    assert (image.height, image.width, image.encoding) == (24, 32, "rgb8")
    assert (info.height, info.width, info.k[0], info.k[2]) == (24, 32, 30.0, 16.0)
    assert image.header == info.header == sent.header


@pytest.mark.parametrize("kind", ["missing", "foreign"])
def test_a_bad_model_prevents_configure_until_it_is_fixed(peer, start, tiny_model, tmp_path, kind):
    path = tmp_path / "other.onnx"
    if kind == "foreign":
        path.write_bytes(b"not a network")
    node = start(model=path)
    peer.spin_until(lambda: peer.statuses and peer.statuses[-1].level == b"\x02")
    assert peer.state() == "unconfigured"
    assert str(path) in peer.statuses[-1].message
    assert node.log.count(str(path)) == 1
    assert "Traceback" not in node.log
    assert ("lowlight export" in node.log) or ("export it again" in node.log)

    assert peer.set_string("model", str(tiny_model)).successful
    assert peer.change_state(CONFIGURE)
    assert peer.change_state(ACTIVATE)
    peer.wait_for_node()
    peer.spin_until(lambda: peer.images, repeating=lambda: peer.image_publisher.publish(dark_image(1)))
    assert node.stop() == 0


def test_metadata_of_a_package_that_is_not_installed_is_rejected(peer, start, tiny_model):
    if find_spec("flir_camera_msgs") is not None:
        pytest.skip("flir_camera_msgs is installed")
    node = start(model=tiny_model, metadata__type="flir_camera_msgs/msg/ImageMetaData")
    peer.spin_until(lambda: peer.statuses and peer.statuses[-1].level == b"\x02")
    assert peer.state() == "unconfigured"
    assert "ros-<distribution>-flir-camera-msgs" in node.log
    assert "Traceback" not in node.log


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("threads", "-1", "threads"),
        ("image_reliability", "sometimes", "'auto', 'reliable', 'best_effort'"),
        ("metadata.default_iso", "dark", "'dark' is not a number"),
        ("metadata.type", "std_msgs/msg/String", "'metadata.type'"),
    ],
)
def test_a_wrong_parameter_ends_the_process_with_one_message(start, name, value, message):
    node = start(**{name: value})
    assert node.process.wait(180) == 2
    assert message in node.log
    assert "Traceback" not in node.log


@pytest.mark.parametrize("signal", [SIGINT, SIGTERM])
def test_signals_end_it_cleanly_while_frames_are_published(peer, start, tiny_model, signal):
    node = start(model=tiny_model)
    peer.wait_for_node()
    peer.spin_until(lambda: len(peer.images) > 2, repeating=lambda: peer.image_publisher.publish(dark_image(1)))
    peer.image_publisher.publish(dark_image(2))
    assert node.stop(signal) == 0
    assert "Traceback" not in node.log
    assert "[ERROR]" not in node.log


def test_lifecycle(peer, start, tiny_model):
    node = start(model=tiny_model, autostart=False, metadata__default_iso=3200)
    assert peer.state() == "unconfigured"
    assert peer.change_state(CONFIGURE)
    assert peer.change_state(ACTIVATE)
    peer.wait_for_node()
    peer.spin_until(lambda: peer.images, repeating=lambda: peer.image_publisher.publish(dark_image(1)))
    peer.spin_until(lambda: int(peer.status_values().get("metadata.fallback", 0)) > 0)

    rejected = peer.set_string("output.compressed_format", "jpeg")
    assert not rejected.successful
    assert "clean up first" in rejected.reason

    assert peer.change_state(DEACTIVATE)
    peer.spin_until(lambda: peer.image_publisher.get_subscription_count() == 0)
    peer.spin_until(lambda: peer.statuses[-1].message == "inactive: images are not subscribed to")
    assert peer.change_state(ACTIVATE)
    peer.wait_for_node()
    peer.images.clear()
    peer.spin_until(lambda: peer.images, repeating=lambda: peer.image_publisher.publish(dark_image(2)))

    assert peer.change_state(DEACTIVATE)
    assert peer.change_state(CLEANUP)
    assert peer.state() == "unconfigured"
    peer.spin_until(lambda: peer.node.count_publishers("image_enhanced") == 0)
    assert node.stop() == 0
    assert "Traceback" not in node.log


def test_the_subscription_has_the_reliability_that_publishers_offer(peer, start, tiny_model):
    start(model=tiny_model)
    peer.wait_for_node()
    second_camera = peer.node.create_publisher(Image, "image_raw", BEST_EFFORT)
    peer.spin_until(lambda: peer.input_reliability() == ReliabilityPolicy.BEST_EFFORT)
    peer.spin_until(lambda: peer.images, repeating=lambda: second_camera.publish(dark_image(1)))
    peer.node.destroy_publisher(second_camera)
    peer.spin_until(lambda: peer.input_reliability() == ReliabilityPolicy.RELIABLE)


def test_an_incompatible_best_effort_camera_is_reported(peer, start, tiny_model):
    peer.node.destroy_publisher(peer.image_publisher)
    peer.image_publisher = peer.node.create_publisher(Image, "image_raw", BEST_EFFORT)
    node = start(model=tiny_model, image_reliability="reliable")
    peer.spin_until(lambda: "image_reliability to 'auto'" in node.log)


def test_images_lost_by_the_middleware_are_reported(peer, start, tiny_model):
    if not get_rmw_implementation_identifier().startswith("rmw_fastrtps"):
        pytest.skip("the loss is that of Fast DDS with its default shared memory")
    node = start(model=tiny_model, image_reliability="best_effort")
    peer.spin_until(lambda: peer.image_publisher.get_subscription_count())
    large = dark_image(1, height=480, width=640)
    peer.spin_until(lambda: "config/fastdds.xml" in node.log, repeating=lambda: peer.image_publisher.publish(large))
    peer.spin_until(lambda: int(peer.status_values().get("dropped", 0)) > 0)


def test_latency_uses_the_simulated_clock(peer, start, tiny_model):
    start(model=tiny_model, use_sim_time=True)
    clock_publisher = peer.node.create_publisher(Clock, "/clock", 10)
    peer.wait_for_node()
    peer.spin_until(lambda: clock_publisher.get_subscription_count() == 1)
    image, clock = dark_image(100), Clock()
    clock.clock.sec, clock.clock.nanosec = 100, 250_000_345

    def play():
        clock_publisher.publish(clock)
        peer.image_publisher.publish(image)

    peer.spin_until(lambda: peer.status_values().get("latency_median_ms") == "250.00", repeating=play)


def test_metadata_of_another_type_is_reported_and_can_be_set_while_active(peer, start, tiny_model):
    """The middleware does not connect endpoints of different types, and does not report it."""
    node = start(model=tiny_model, metadata__type="sensor_msgs/msg/Temperature", metadata__exposure_field="variance")
    peer.spin_until(lambda: "carries diagnostic_msgs/msg/DiagnosticArray: set the parameter metadata.type" in node.log)
    assert peer.set_string("metadata.exposure_field", "").successful is False
    assert peer.set_string("metadata.type", DIAGNOSTIC_ARRAY).successful
    assert peer.set_string("metadata.exposure_field", "").successful
    peer.wait_for_node(metadata=True)
    sent = dark_image(3)

    def shoot():
        peer.metadata_publisher.publish(capture_metadata(sent))
        peer.image_publisher.publish(sent)

    peer.spin_until(lambda: "metadata.exact" in peer.status_values(), repeating=shoot)
    assert peer.status_values()["warnings"] == ""
    assert "[ERROR]" not in node.log
