"""The node without peers."""

import ctypes

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")

import rclpy
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from ros_graph import PeerNode, capture_metadata, dark_image, dotted

from lowlight_enhance.core import malloc
from lowlight_enhance.core.errors import ConfigError
from lowlight_enhance.ros.message_types import message_class
from lowlight_enhance.ros.node import EnhanceNode


@pytest.fixture
def make_node():
    context = rclpy.Context()
    rclpy.init(context=context)
    nodes = []

    def make(**values):
        overrides = [
            Parameter(name, value=value) for name, value in {"malloc_tuning": False, **dotted(values)}.items()
        ]
        nodes.append(EnhanceNode(context=context, parameter_overrides=overrides))
        return nodes[-1]

    yield make
    for node in nodes:
        node.destroy_node()
    rclpy.try_shutdown(context=context)


def test_message_class_by_name():
    from sensor_msgs.msg import Image

    assert message_class("sensor_msgs/msg/Image") is Image
    with pytest.raises(ConfigError, match="ros-<distribution>-no-such-msgs"):
        message_class("no_such_msgs/msg/Metadata")
    with pytest.raises(ConfigError, match="sensor_msgs/msg/NoSuch"):
        message_class("sensor_msgs/msg/NoSuch")


def test_an_exception_in_a_callback_is_counted_and_logged(make_node, tiny_model, capfd):
    node = make_node(model=str(tiny_model))
    node.start()
    node.handler.pipeline.enhancer = lambda rgb, capture: 1 / 0
    on_image = node.diagnostics.guarded(node.handler._on_image)
    on_image(dark_image(1))
    on_image(dark_image(2))
    assert "ZeroDivisionError" in node.diagnostics.health.report(1).values["last_error"]
    logged = capfd.readouterr().err
    assert logged.count("Traceback") == 1


def test_waiting_metadata_is_read_before_the_image(make_node, tiny_model):
    """Nothing is spun, as in a node that is slower than its camera, so only the image callback can read it."""
    node = make_node(model=str(tiny_model), metadata__type="diagnostic_msgs/msg/DiagnosticArray")
    node.start()
    peer = PeerNode(node.context)
    for number in range(1, 13):
        peer.metadata_publisher.publish(capture_metadata(dark_image(number)))
    try:
        peer.spin_until(
            lambda: "metadata.exact" in node.diagnostics.health.report(1).values,
            lambda: node.handler._on_image(dark_image(12)),
        )
    finally:
        peer.close()


def test_an_internal_error_in_configure_is_logged_and_leaves_it_unconfigured(
    make_node, tiny_model, monkeypatch, capfd
):
    node = make_node(model=str(tiny_model))
    with monkeypatch.context() as patch:
        patch.setattr("lowlight_enhance.ros.frame_handler.Pipeline", lambda *_: 1 / 0)
        assert node.trigger_configure() == TransitionCallbackReturn.ERROR
    assert "ZeroDivisionError" in capfd.readouterr().err
    assert node.status().level == b"\x02"
    assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS


def test_an_error_in_activate_leaves_nothing_subscribed(make_node, tiny_model, monkeypatch):
    node = make_node(model=str(tiny_model), lazy=False)
    node.trigger_configure()
    before = len(list(node.subscriptions))
    with monkeypatch.context() as patch:
        patch.setattr("lowlight_enhance.ros.subscriptions.Subscriptions._subscribe_image", lambda _: 1 / 0)
        assert node.trigger_activate() == TransitionCallbackReturn.ERROR
    assert len(list(node.subscriptions)) == before
    assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
    assert node.trigger_activate() == TransitionCallbackReturn.SUCCESS


def test_start_leaves_a_node_with_a_bad_model_unconfigured(make_node, tmp_path):
    node = make_node(model=str(tmp_path / "none.onnx"))
    node.start()
    assert list(node.subscriptions) == list(make_node().subscriptions) == []


def test_a_value_out_of_range_is_rejected_at_start(make_node):
    with pytest.raises(ConfigError, match="'max_pixels'"):
        make_node(max_pixels=0)


def test_a_misspelt_parameter_is_a_warning(make_node, capfd):
    make_node(defualt_iso=100.0)
    assert "did you mean 'metadata.default_iso'" in capfd.readouterr().err


def test_read_only_and_invalid_parameters_are_rejected(make_node):
    node = make_node()
    assert not node.set_parameters([Parameter("autostart", value=False)])[0].successful
    assert node.set_parameters([Parameter("threads", value=1)])[0].successful
    assert not node.set_parameters([Parameter("threads", value=1000)])[0].successful
    assert not node.set_parameters([Parameter("image_reliability", value="maybe")])[0].successful


def test_malloc_tuning_can_be_switched_off(monkeypatch):
    calls = []

    class Libc:
        @staticmethod
        def mallopt(option, value):
            calls.append((option, value))
            return 1

    monkeypatch.setattr(ctypes, "CDLL", lambda _: Libc)
    monkeypatch.setattr(malloc.platform, "libc_ver", lambda: ("glibc", "2.36"))
    monkeypatch.setenv(malloc.ENV_VARIABLE, "0")
    assert not malloc.reuse_image_buffers()
    assert calls == []
    monkeypatch.delenv(malloc.ENV_VARIABLE)
    assert malloc.reuse_image_buffers()
    assert calls == [(-3, 32 << 20), (-1, 512 << 20), (-2, 64 << 20), (-8, 1)]
    monkeypatch.setattr(malloc.platform, "libc_ver", lambda: ("", ""))
    assert not malloc.reuse_image_buffers()
