"""Changes while the node runs: parameters, the model, enabling and disabling, lifecycle transitions."""

import gc
import weakref
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")
pytest.importorskip("diagnostic_msgs", reason="needs ROS 2 (diagnostic_msgs)")

from ros_graph import camera_info, dark_image, pixels
from sensor_msgs.msg import CompressedImage
from std_srvs.srv import SetBool


@pytest.fixture
def graph(start_graph):
    return start_graph()


def gain_of(graph, number=7):
    """Return the factor by which the node multiplies the pixels of a frame."""
    sent = dark_image(number)
    return pixels(graph.process(sent)).mean() / pixels(sent).mean()


def enable(graph, on):
    return graph.peer.call(SetBool, "lowlight_enhance/enable", SetBool.Request(data=on))


def values(graph):
    return {pair.key: pair.value for pair in graph.node.status().values}


# Enhancement on and off


def test_disabled_it_publishes_frames_unchanged(graph):
    sent = dark_image(1)
    sent.step = 3 * 64 + 5  # padding and all
    sent.data.frombytes(bytes(48 * 5))
    graph.peer.info_publisher.publish(camera_info(sent))
    assert enable(graph, False).success
    passed = graph.process(sent)
    assert passed == sent
    graph.peer.spin_until(lambda: graph.peer.infos)
    assert graph.peer.infos[-1].header == sent.header
    assert values(graph)["enabled"] == "false"
    assert "unchanged" in graph.node.status().message
    assert enable(graph, True).success
    assert gain_of(graph) == pytest.approx(2.0, abs=0.02)


def test_it_stays_disabled_after_cleanup_and_configure(graph):
    enable(graph, False)
    graph.node.trigger_deactivate()
    graph.node.trigger_cleanup()
    graph.node.start()
    assert gain_of(graph) == 1.0


# Parameters


def test_strength_and_bypass_change_between_frames(graph):
    assert gain_of(graph) == pytest.approx(2.0, abs=0.02)
    graph.set_parameters(strength=0.5, temporal__time_constant=0.0)
    assert gain_of(graph) == pytest.approx(1.5, abs=0.02)
    graph.set_parameters(strength=0)  # a whole number serves as one
    assert gain_of(graph) == 1.0
    assert all(result.successful for result in graph.set_parameters(strength=1.0, bypass__threshold=30.0))
    sent = dark_image(8)  # its mean luma is about 50
    assert graph.process(sent) == sent
    assert values(graph)["bypassed"] != "0"
    graph.set_parameters(bypass__threshold=0.0)
    assert gain_of(graph, 9) == pytest.approx(2.0, abs=0.02)


def test_encoding_and_working_size_change_between_frames(graph):
    assert graph.process(dark_image(1)).encoding == "bgr8"
    results = graph.set_parameters(output__encoding="mono8", working_size=32)
    assert [result.successful for result in results] == [True, True]
    assert graph.process(dark_image(2)).encoding == "mono8"
    assert values(graph)["working_size"] == "32"
    graph.set_parameters(working_size=-1)
    graph.process(dark_image(3))
    assert values(graph)["working_size"] == str(graph.node.handler.model.enhancer.working_size) != "32"


def test_metadata_type_and_settings_change_while_active(graph):
    from ros_graph import capture_metadata

    sent = dark_image(5)
    graph.process(sent)
    assert values(graph)["metadata.none"] == "1"
    assert all(r.successful for r in graph.set_parameters(metadata__type="diagnostic_msgs/msg/DiagnosticArray"))
    graph.peer.spin_until(
        lambda: "metadata.exact" in values(graph),
        repeating=lambda: (
            graph.peer.metadata_publisher.publish(capture_metadata(sent)),
            graph.peer.image_publisher.publish(sent),
        ),
    )
    graph.set_parameters(metadata__type="")
    graph.process(sent)
    graph.peer.spin_until(lambda: graph.peer.metadata_publisher.get_subscription_count() == 0)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("strength", 1.5, "strength"),
        ("strength", "all", "'all' is not a number"),
        ("working_size", -2, "working_size"),
        ("output.encoding", "bgr16", "'same', 'bgr8', 'rgb8', 'mono8'"),
        ("metadata.type", "no_such_msgs/msg/Metadata", "metadata"),
        ("runtime", "caffe", "'onnxruntime', 'openvino'"),
        ("output.compressed_format", "jpeg", "deactivate and clean up first"),
        ("malloc_tuning", True, "read-only"),
    ],
)
def test_an_invalid_change_is_rejected_with_a_reason(graph, name, value, reason):
    before = graph.node.get_parameter(name).value
    [result] = graph.set_parameters(**{name: value})
    assert not result.successful
    assert reason in result.reason
    assert graph.node.get_parameter(name).value == before
    assert gain_of(graph) == pytest.approx(2.0, abs=0.02)


def test_any_exception_in_a_parameter_change_rejects_it(graph, monkeypatch, capfd):
    monkeypatch.setattr(graph.node, "_check_names", lambda _: 1 / 0)
    [result] = graph.set_parameters(strength=0.5)
    assert not result.successful
    assert "ZeroDivisionError" in result.reason
    assert "Traceback" in capfd.readouterr().err
    assert gain_of(graph) == pytest.approx(2.0, abs=0.02)


def test_the_hardware_id_is_bounded(graph):
    sent = dark_image(4)
    sent.header.frame_id = "x" * 1_000_000
    graph.process(sent)
    assert graph.node.status().hardware_id == "x" * 255


def test_the_texts_of_the_diagnostics_are_bounded(graph):
    [result] = graph.set_parameters(model="x" * 1_000_000)
    assert not result.successful
    status = graph.node.status()
    assert values(graph)["model_error"].startswith("model 'xxx")
    assert max(len(text) for text in [status.message, *values(graph).values()]) == 2000


# Phases


def test_inactive_it_has_no_session_and_activates_with_the_same_model(graph, tiny_model):
    assert gain_of(graph) == pytest.approx(2.0, abs=0.02)
    graph.node.trigger_deactivate()
    assert values(graph)["provider"] == "none: not active"
    assert graph.node.status().message == "inactive: images are not subscribed to"
    tiny_model.write_bytes(tiny_model.read_bytes()[:100])  # the content in memory is still good
    graph.node.trigger_activate()
    assert gain_of(graph) == pytest.approx(2.0, abs=0.02)


def test_inactive_the_network_has_no_threads(start_graph):
    def threads():
        return len(list(Path("/proc/self/task").iterdir()))

    graph = start_graph(threads=4, start=False)
    before = threads()
    graph.node.start()
    assert threads() >= before + 3
    graph.node.trigger_deactivate()
    assert threads() <= before + 1
    graph.node.trigger_activate()
    assert threads() >= before + 3


def test_cleanup_frees_the_handler_the_model_and_the_endpoints(graph):
    graph.process(dark_image(1))
    left = [weakref.ref(graph.node.handler), weakref.ref(graph.node.handler.model.enhancer)]
    publishers = len(list(graph.node.publishers))
    graph.node.trigger_deactivate()
    graph.node.trigger_cleanup()

    def is_left():
        gc.collect()
        return [reference for reference in left if reference() is not None]

    graph.peer.spin_until(lambda: not is_left())  # the executor lets go of what it waited for in its next round
    assert len(list(graph.node.publishers)) == publishers - 3
    assert list(graph.node.subscriptions) == []


def test_parameters_read_at_configure_can_be_set_after_cleanup(graph):
    graph.node.trigger_deactivate()
    graph.node.trigger_cleanup()
    assert graph.set_parameters(output__compressed_format="png")[0].successful
    graph.node.start()
    received = []
    graph.peer.node.create_subscription(CompressedImage, "image_enhanced/compressed", received.append, 1)
    sent = dark_image(3)
    graph.peer.spin_until(lambda: received, repeating=lambda: graph.peer.image_publisher.publish(sent))
    assert received[0].header == sent.header
    assert "png" in received[0].format


def test_compressed_images_in_and_out(start_graph):
    from lowlight_enhance.core.imaging.messages import decode, fill_compressed

    graph = start_graph(image_transport="compressed", output__compressed_format="png")
    peer, received = graph.peer, []
    peer.node.create_subscription(CompressedImage, "image_enhanced/compressed", received.append, 1)
    camera = peer.node.create_publisher(CompressedImage, "image_raw/compressed", 1)
    dark, sent = dark_image(3), CompressedImage()
    fill_compressed(sent, np.ascontiguousarray(pixels(dark)[:, :, ::-1]), "bgr8", dark.header, format="png")
    peer.spin_until(lambda: received and peer.images, repeating=lambda: camera.publish(sent))
    expected = np.clip(2.0 * pixels(dark), 0, 255)
    np.testing.assert_allclose(pixels(peer.images[0]), expected, atol=1)
    np.testing.assert_allclose(decode(received[0], "same", 10**6)[0][:, :, ::-1], expected, atol=1)
    assert peer.images[0].header == received[0].header == sent.header

    enable(graph, False)
    peer.images.clear()
    received.clear()
    peer.spin_until(lambda: received and peer.images, repeating=lambda: camera.publish(sent))
    assert received[-1] == sent
    np.testing.assert_array_equal(pixels(peer.images[-1]), pixels(dark))


def test_a_frame_that_jpeg_cannot_hold_is_published_raw_with_its_camera_info(start_graph):
    graph = start_graph(output__compressed_format="jpeg")
    peer, compressed = graph.peer, []
    peer.node.create_subscription(CompressedImage, "image_enhanced/compressed", compressed.append, 1)
    peer.spin_until(lambda: graph.node.handler.publishers.subscribers == 3)
    sent = dark_image(3, height=1, width=65501)

    def shoot():
        peer.info_publisher.publish(camera_info(sent))
        peer.image_publisher.publish(sent)

    peer.spin_until(lambda: peer.images and peer.infos, repeating=shoot)
    assert (peer.images[0].width, peer.infos[0].width, compressed) == (65501, 65501, [])
