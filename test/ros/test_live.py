"""What can be changed in flight: parameters, the model, enhancement on and off, and how a node comes back from it."""

import gc
import threading
import weakref
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")
pytest.importorskip("diagnostic_msgs", reason="needs ROS 2 (diagnostic_msgs)")

from rclpy.lifecycle import TransitionCallbackReturn
from robot import camera_info, dark_image, pixels
from sensor_msgs.msg import CompressedImage
from std_srvs.srv import SetBool
from tiny_model import write_tiny_model

from lowlight_enhance.core.enhancement.enhancer import Enhancer
from lowlight_enhance.core.errors import ModelError

WHEN_IT_CONFIGURES = {"compressed_output": "jpeg"}
AT_ITS_START = {"autostart": False, "malloc_tuning": True}


@pytest.fixture
def cell(fly):
    return fly()


def gain_of(cell, number=7):
    """What a frame is multiplied by on its way through."""
    sent = dark_image(number)
    return pixels(cell.frame(sent)).mean() / pixels(sent).mean()


def enable(cell, on):
    return cell.robot.call(SetBool, "lowlight_enhance/enable", SetBool.Request(data=on))


def values(cell):
    return {pair.key: pair.value for pair in cell.node.status().values}


# Enhancement on and off


def test_switched_off_it_passes_frames_through_untouched(cell):
    sent = dark_image(1)
    sent.step = 3 * 64 + 5  # padding and all
    sent.data.frombytes(bytes(48 * 5))
    cell.robot.info_publisher.publish(camera_info(sent))
    assert enable(cell, False).success
    passed = cell.frame(sent)
    assert passed == sent
    cell.robot.until(lambda: cell.robot.infos)
    assert cell.robot.infos[-1].header == sent.header
    assert values(cell)["enabled"] == "false"
    assert "untouched" in cell.node.status().message
    assert enable(cell, True).success
    assert gain_of(cell) == pytest.approx(2.0, abs=0.02)


def test_switched_off_it_stays_off_over_a_new_configuration(cell):
    enable(cell, False)
    cell.node.trigger_deactivate()
    cell.node.trigger_cleanup()
    cell.node.start()
    assert gain_of(cell) == 1.0


# Parameters


def test_strength_and_bypass_change_between_frames(cell):
    assert gain_of(cell) == pytest.approx(2.0, abs=0.02)
    cell.set(strength=0.5, smoothing_s=0.0)
    assert gain_of(cell) == pytest.approx(1.5, abs=0.02)
    cell.set(strength=0)  # a whole number serves as one
    assert gain_of(cell) == 1.0
    assert all(result.successful for result in cell.set(strength=1.0, bypass_above=30.0))
    sent = dark_image(8)  # its mean luma is about 50
    assert cell.frame(sent) == sent
    assert values(cell)["bypassed"] != "0"
    cell.set(bypass_above=0.0)
    assert gain_of(cell, 9) == pytest.approx(2.0, abs=0.02)


def test_encoding_and_working_size_change_between_frames(cell):
    assert cell.frame(dark_image(1)).encoding == "bgr8"
    results = cell.set(output_encoding="mono8", working_size=32)
    assert [result.successful for result in results] == [True, True]
    assert cell.frame(dark_image(2)).encoding == "mono8"
    assert values(cell)["working_size"] == "32"
    cell.set(working_size=-1)
    cell.frame(dark_image(3))
    assert values(cell)["working_size"] == str(cell.node.flight.model.enhancer.working_size) != "32"


def test_metadata_type_and_its_settings_change_in_flight(cell):
    from robot import capture_metadata

    sent = dark_image(5)
    cell.frame(sent)
    assert values(cell)["metadata.none"] == "1"
    assert all(r.successful for r in cell.set(metadata_type="diagnostic_msgs/msg/DiagnosticArray"))
    cell.robot.until(
        lambda: "metadata.exact" in values(cell),
        doing=lambda: (
            cell.robot.metadata_publisher.publish(capture_metadata(sent)),
            cell.robot.image_publisher.publish(sent),
        ),
    )
    cell.set(metadata_type="")
    cell.frame(sent)
    cell.robot.until(lambda: cell.robot.metadata_publisher.get_subscription_count() == 0)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("strength", 1.5, "strength"),
        ("strength", "all", "'all' is no number"),
        ("working_size", -2, "working_size"),
        ("output_encoding", "bgr16", "'same', 'bgr8', 'rgb8', 'mono8'"),
        ("metadata_type", "no_such_msgs/msg/Metadata", "metadata"),
        ("runtime", "caffe", "'onnxruntime', 'openvino'"),
        ("compressed_output", "jpeg", "deactivate and clean up first"),
        ("malloc_tuning", True, "read-only"),
    ],
)
def test_a_change_that_cannot_be_is_refused_with_the_reason(cell, name, value, reason):
    before = cell.node.get_parameter(name).value
    [result] = cell.set(**{name: value})
    assert not result.successful
    assert reason in result.reason
    assert cell.node.get_parameter(name).value == before
    assert gain_of(cell) == pytest.approx(2.0, abs=0.02)


# Model


@pytest.fixture
def brighter(tmp_path):
    return write_tiny_model(tmp_path / "brighter.onnx", gain=2.5)


def test_a_model_is_swapped_while_frames_flow(cell, brighter):
    robot, number = cell.robot, iter(range(1, 10_000))
    robot.until(lambda: robot.images, doing=lambda: robot.image_publisher.publish(dark_image(next(number))))
    old = cell.node.flight.model.enhancer
    assert cell.set(model=str(brighter))[0].successful
    robot.until(
        lambda: values(cell)["model"] == "brighter",
        doing=lambda: robot.image_publisher.publish(dark_image(next(number))),
    )
    assert gain_of(cell) == pytest.approx(2.5, abs=0.02)
    with pytest.raises(ModelError, match="closed"):
        old.warm_up()
    assert {image.encoding for image in robot.images} == {"bgr8"}


def test_the_old_model_flies_while_another_is_loading(cell, brighter, monkeypatch):
    begun, may_end = threading.Event(), threading.Event()
    warm_up = Enhancer.warm_up

    def slow(enhancer):
        begun.set()
        assert may_end.wait(30.0)
        warm_up(enhancer)

    monkeypatch.setattr(Enhancer, "warm_up", slow)
    cell.set(model=str(brighter))
    cell.robot.until(begun.is_set)
    assert gain_of(cell) == pytest.approx(2.0, abs=0.02)
    assert values(cell)["model_loading"] == "true"
    may_end.set()
    cell.robot.until(lambda: values(cell)["model_loading"] == "false")
    assert gain_of(cell) == pytest.approx(2.5, abs=0.02)


def test_of_several_models_the_last_one_flies(cell, brighter, tmp_path):
    for gain in (1.5, 1.75):
        cell.set(model=str(write_tiny_model(tmp_path / f"{gain}.onnx", gain=gain)))
        cell.node.flight.update()
    cell.set(model=str(brighter))
    cell.robot.until(lambda: values(cell)["model"] == "brighter")
    assert values(cell)["model_loading"] == "false"
    assert gain_of(cell) == pytest.approx(2.5, abs=0.02)


def test_a_model_that_is_no_model_is_refused_at_once(cell, tmp_path):
    path = tmp_path / "bad.onnx"
    path.write_bytes(b"not a network")
    [result] = cell.set(model=str(path))
    assert not result.successful
    assert str(path) in result.reason
    assert str(path) in values(cell)["model_refused"]
    assert gain_of(cell) == pytest.approx(2.0, abs=0.02)
    assert cell.node.status().level == b"\x01"


def test_a_model_that_turns_out_not_to_run_leaves_the_old_one_and_its_parameters(cell, tmp_path):
    """It is an ONNX file in order, so that only the attempt to open it tells."""
    before = cell.node.get_parameter("model").value
    path = write_tiny_model(tmp_path / "odd.onnx", metadata={})
    assert cell.set(model=str(path))[0].successful
    cell.robot.until(lambda: values(cell)["model_refused"] != "")
    assert cell.node.get_parameter("model").value == before
    assert gain_of(cell) == pytest.approx(2.0, abs=0.02)
    assert values(cell)["model"] == "tiny"


def test_threads_and_size_of_the_output_load_the_model_anew(cell):
    old = cell.node.flight.model.enhancer
    cell.set(threads=1, output_resolution="model", working_size=24)
    cell.robot.until(lambda: cell.node.flight.model.enhancer is not old and not cell.node.flight.model.is_loading)
    cell.robot.until(lambda: cell.frame(dark_image(3)).height == 24)


# Phases


def test_inactive_it_has_no_session_and_comes_back_with_the_same_model(cell, tiny_model):
    assert gain_of(cell) == pytest.approx(2.0, abs=0.02)
    cell.node.trigger_deactivate()
    assert values(cell)["provider"] == "none: not active"
    assert cell.node.status().message == "inactive: no image is taken"
    tiny_model.write_bytes(tiny_model.read_bytes()[:100])  # the file is gone bad, what was read from it is not
    cell.node.trigger_activate()
    assert gain_of(cell) == pytest.approx(2.0, abs=0.02)


def test_inactive_it_has_no_threads_of_the_network(fly):
    def threads():
        return len(list(Path("/proc/self/task").iterdir()))

    cell = fly(threads=4, start=False)
    before = threads()
    cell.node.start()
    assert threads() >= before + 3
    cell.node.trigger_deactivate()
    assert threads() <= before + 1
    cell.node.trigger_activate()
    assert threads() >= before + 3


def test_after_cleanup_nothing_of_the_flight_is_left(cell):
    cell.frame(dark_image(1))
    left = [weakref.ref(cell.node.flight), weakref.ref(cell.node.flight.model.enhancer)]
    publishers = len(list(cell.node.publishers))
    cell.node.trigger_deactivate()
    cell.node.trigger_cleanup()

    def is_left():
        gc.collect()
        return [reference for reference in left if reference() is not None]

    cell.robot.until(lambda: not is_left())  # the executor lets go of what it waited for in its next round
    assert len(list(cell.node.publishers)) == publishers - 3
    assert list(cell.node.subscriptions) == []


def test_a_model_chosen_while_inactive_flies_from_activation_on(cell, brighter):
    cell.node.trigger_deactivate()
    assert cell.set(model=str(brighter))[0].successful
    cell.node.trigger_activate()
    assert gain_of(cell) == pytest.approx(2.5, abs=0.02)


def test_a_file_that_was_replaced_while_inactive_flies_from_activation_on(cell, tiny_model):
    cell.node.trigger_deactivate()
    write_tiny_model(tiny_model, gain=2.5)
    assert cell.set(model=str(tiny_model))[0].successful
    cell.node.trigger_activate()
    assert gain_of(cell) == pytest.approx(2.5, abs=0.02)


def test_a_model_that_was_still_loading_at_deactivation_flies_from_activation_on(cell, tiny_model, tmp_path):
    other = write_tiny_model(tmp_path / "other.onnx", gain=1.5)
    write_tiny_model(tiny_model, gain=2.5)
    for path in (other, tiny_model):
        assert cell.set(model=str(path))[0].successful
        cell.node.flight.update()
    assert values(cell)["model_loading"] == "true"
    cell.node.trigger_deactivate()
    cell.node.trigger_activate()
    assert gain_of(cell) == pytest.approx(2.5, abs=0.02)
    assert values(cell)["model_loading"] == "false"


def test_what_was_accepted_flies_whatever_becomes_of_its_file(cell, brighter):
    cell.node.trigger_deactivate()
    assert cell.set(model=str(brighter))[0].successful
    brighter.write_bytes(b"not a network")
    cell.node.trigger_activate()
    assert gain_of(cell) == pytest.approx(2.5, abs=0.02)


def test_a_model_that_refuses_activation_can_be_taken_back(cell, tmp_path):
    before = cell.node.get_parameter("model").value
    cell.node.trigger_deactivate()
    cell.set(model=str(write_tiny_model(tmp_path / "odd.onnx", metadata={})))
    assert cell.node.trigger_activate() == TransitionCallbackReturn.FAILURE
    assert cell.set(model=before)[0].successful
    assert cell.node.trigger_activate() == TransitionCallbackReturn.SUCCESS
    assert gain_of(cell) == pytest.approx(2.0, abs=0.02)


def test_what_is_read_at_configuration_can_be_set_after_cleanup(cell):
    cell.node.trigger_deactivate()
    cell.node.trigger_cleanup()
    assert cell.set(compressed_output="png")[0].successful
    cell.node.start()
    received = []
    cell.robot.node.create_subscription(CompressedImage, "image_enhanced/compressed", received.append, 1)
    sent = dark_image(3)
    cell.robot.until(lambda: received, doing=lambda: cell.robot.image_publisher.publish(sent))
    assert received[0].header == sent.header
    assert "png" in received[0].format


def test_compressed_images_in_and_out(fly):
    from lowlight_enhance.core.imaging.messages import decode, fill_compressed

    cell = fly(image_transport="compressed", compressed_output="png")
    robot, received = cell.robot, []
    robot.node.create_subscription(CompressedImage, "image_enhanced/compressed", received.append, 1)
    camera = robot.node.create_publisher(CompressedImage, "image_raw/compressed", 1)
    dark, sent = dark_image(3), CompressedImage()
    fill_compressed(sent, np.ascontiguousarray(pixels(dark)[:, :, ::-1]), "bgr8", dark.header, format="png")
    robot.until(lambda: received and robot.images, doing=lambda: camera.publish(sent))
    expected = np.clip(2.0 * pixels(dark), 0, 255)
    np.testing.assert_allclose(pixels(robot.images[0]), expected, atol=1)
    np.testing.assert_allclose(decode(received[0], "same", 10**6)[0][:, :, ::-1], expected, atol=1)
    assert robot.images[0].header == received[0].header == sent.header

    enable(cell, False)
    robot.images.clear()
    received.clear()
    robot.until(lambda: received and robot.images, doing=lambda: camera.publish(sent))
    assert received[-1] == sent
    np.testing.assert_array_equal(pixels(robot.images[-1]), pixels(dark))
