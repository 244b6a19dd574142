"""Changes of the model while the node runs."""

import threading

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")
pytest.importorskip("diagnostic_msgs", reason="needs ROS 2 (diagnostic_msgs)")

from rclpy.lifecycle import TransitionCallbackReturn
from ros_graph import dark_image, pixels
from tiny_model import write_tiny_model

from lowlight_enhance.core.enhancement.enhancer import Enhancer
from lowlight_enhance.core.errors import ModelError


@pytest.fixture
def graph(start_graph):
    return start_graph()


def gain_of(graph, number=7):
    """Return the factor by which the node multiplies the pixels of a frame."""
    sent = dark_image(number)
    return pixels(graph.process(sent)).mean() / pixels(sent).mean()


def values(graph):
    return {pair.key: pair.value for pair in graph.node.status().values}


@pytest.fixture
def brighter(tmp_path):
    return write_tiny_model(tmp_path / "brighter.onnx", gain=2.5)


@pytest.mark.parametrize(
    "value", ["~no_such_user/x.onnx", "x" * 256 + ".onnx", "/proc/kmsg", "/dev/zero", "a\0b.onnx"]
)
def test_a_model_path_that_cannot_be_read_is_rejected(graph, value):
    before = graph.node.get_parameter("model").value
    [result] = graph.set_parameters(model=value)
    graph.peer.spin_until(lambda: values(graph)["model_error"] != "")
    assert not result.successful or graph.node.get_parameter("model").value == before
    assert gain_of(graph) == pytest.approx(2.0, abs=0.02)


def test_a_network_that_returns_nan_is_not_accepted(graph, tmp_path):
    path = write_tiny_model(tmp_path / "nan.onnx", gain=float("nan"))
    assert graph.set_parameters(model=str(path))[0].successful
    graph.peer.spin_until(lambda: "not finite" in values(graph)["model_error"])
    assert gain_of(graph) == pytest.approx(2.0, abs=0.02)


def test_frames_for_which_the_network_returns_nan_are_counted_and_not_published(graph, monkeypatch):
    gain_of(graph)
    session = graph.node.handler.model.enhancer._session
    monkeypatch.setattr(session, "run", lambda tensor: np.full((1, 6, *tensor.shape[2:]), np.nan, np.float32))
    graph.peer.images.clear()
    graph.peer.spin_until(
        lambda: int(values(graph).get("errors.ModelError", 0)) > 1,
        repeating=lambda: graph.peer.image_publisher.publish(dark_image(5)),
    )
    assert not any(image.header.stamp.sec == 5 for image in graph.peer.images)
    assert "not finite" in values(graph)["last_error"]
    monkeypatch.undo()
    assert gain_of(graph) == pytest.approx(2.0, abs=0.02)


def test_a_model_is_replaced_while_frames_are_published(graph, brighter):
    peer, number = graph.peer, iter(range(1, 10_000))
    peer.spin_until(lambda: peer.images, repeating=lambda: peer.image_publisher.publish(dark_image(next(number))))
    old = graph.node.handler.model.enhancer
    assert graph.set_parameters(model=str(brighter))[0].successful
    peer.spin_until(
        lambda: values(graph)["model"] == "brighter",
        repeating=lambda: peer.image_publisher.publish(dark_image(next(number))),
    )
    assert gain_of(graph) == pytest.approx(2.5, abs=0.02)
    with pytest.raises(ModelError, match="closed"):
        old.warm_up()
    assert {image.encoding for image in peer.images} == {"bgr8"}


def test_the_old_model_is_used_while_another_is_loading(graph, brighter, monkeypatch):
    begun, may_end = threading.Event(), threading.Event()
    warm_up = Enhancer.warm_up

    def slow(enhancer):
        begun.set()
        assert may_end.wait(180.0)
        warm_up(enhancer)

    monkeypatch.setattr(Enhancer, "warm_up", slow)
    graph.set_parameters(model=str(brighter))
    graph.peer.spin_until(begun.is_set)
    assert gain_of(graph) == pytest.approx(2.0, abs=0.02)
    assert values(graph)["model_loading"] == "true"
    may_end.set()
    graph.peer.spin_until(lambda: values(graph)["model_loading"] == "false")
    assert gain_of(graph) == pytest.approx(2.5, abs=0.02)


def test_the_last_requested_model_is_used(graph, brighter, tmp_path):
    for gain in (1.5, 1.75):
        graph.set_parameters(model=str(write_tiny_model(tmp_path / f"{gain}.onnx", gain=gain)))
        graph.node.handler.update()
    graph.set_parameters(model=str(brighter))
    graph.peer.spin_until(lambda: values(graph)["model"] == "brighter")
    assert values(graph)["model_loading"] == "false"
    assert gain_of(graph) == pytest.approx(2.5, abs=0.02)


def test_a_file_that_is_not_a_model_is_rejected_at_once(graph, tmp_path):
    path = tmp_path / "bad.onnx"
    path.write_bytes(b"not a network")
    [result] = graph.set_parameters(model=str(path))
    assert not result.successful
    assert str(path) in result.reason
    assert str(path) in values(graph)["model_error"]
    assert gain_of(graph) == pytest.approx(2.0, abs=0.02)
    assert graph.node.status().level == b"\x01"


def test_a_model_that_fails_to_open_leaves_the_old_one_and_its_parameters(graph, tmp_path):
    """The file is valid ONNX, so only the attempt to open it shows the error."""
    before = graph.node.get_parameter("model").value
    path = write_tiny_model(tmp_path / "odd.onnx", metadata={})
    assert graph.set_parameters(model=str(path))[0].successful
    graph.peer.spin_until(lambda: values(graph)["model_error"] != "")
    assert graph.node.get_parameter("model").value == before
    assert gain_of(graph) == pytest.approx(2.0, abs=0.02)
    assert values(graph)["model"] == "tiny"


def test_threads_and_output_resolution_load_the_model_again(graph):
    old = graph.node.handler.model.enhancer
    graph.set_parameters(threads=1, output__resolution="model", working_size=24)
    graph.peer.spin_until(
        lambda: graph.node.handler.model.enhancer is not old and not graph.node.handler.model.is_loading
    )
    graph.peer.spin_until(lambda: graph.process(dark_image(3)).height == 24)


def test_a_model_set_while_inactive_is_used_after_activation(graph, brighter):
    graph.node.trigger_deactivate()
    assert graph.set_parameters(model=str(brighter))[0].successful
    graph.node.trigger_activate()
    assert gain_of(graph) == pytest.approx(2.5, abs=0.02)


def test_a_file_replaced_while_inactive_is_used_after_activation(graph, tiny_model):
    graph.node.trigger_deactivate()
    write_tiny_model(tiny_model, gain=2.5)
    assert graph.set_parameters(model=str(tiny_model))[0].successful
    graph.node.trigger_activate()
    assert gain_of(graph) == pytest.approx(2.5, abs=0.02)


def test_a_model_still_loading_at_deactivation_is_used_after_activation(graph, tiny_model, tmp_path, monkeypatch):
    warm_up, may_end = Enhancer.warm_up, threading.Event()
    monkeypatch.setattr("lowlight_enhance.ros.model_loader.STOP_WAIT_S", 0.05)
    monkeypatch.setattr(Enhancer, "warm_up", lambda enhancer: (may_end.wait(180.0), warm_up(enhancer)))
    other = write_tiny_model(tmp_path / "other.onnx", gain=1.5)
    write_tiny_model(tiny_model, gain=2.5)
    for path in (other, tiny_model):
        assert graph.set_parameters(model=str(path))[0].successful
        graph.node.handler.update()
    assert values(graph)["model_loading"] == "true"
    graph.node.trigger_deactivate()
    monkeypatch.setattr(Enhancer, "warm_up", warm_up)  # the earlier loads still wait
    graph.node.trigger_activate()
    may_end.set()
    assert gain_of(graph) == pytest.approx(2.5, abs=0.02)
    assert values(graph)["model_loading"] == "false"


def test_an_accepted_model_is_used_even_if_its_file_changes(graph, brighter):
    graph.node.trigger_deactivate()
    assert graph.set_parameters(model=str(brighter))[0].successful
    brighter.write_bytes(b"not a network")
    graph.node.trigger_activate()
    assert gain_of(graph) == pytest.approx(2.5, abs=0.02)


def test_a_model_that_prevents_activation_can_be_replaced(graph, tmp_path):
    before = graph.node.get_parameter("model").value
    graph.node.trigger_deactivate()
    graph.set_parameters(model=str(write_tiny_model(tmp_path / "odd.onnx", metadata={})))
    assert graph.node.trigger_activate() == TransitionCallbackReturn.FAILURE
    assert graph.set_parameters(model=before)[0].successful
    assert graph.node.trigger_activate() == TransitionCallbackReturn.SUCCESS
    assert gain_of(graph) == pytest.approx(2.0, abs=0.02)
