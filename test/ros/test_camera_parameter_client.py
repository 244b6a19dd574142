"""Parameters of a camera's node, watched over the middleware."""

import time

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")

import rclpy
from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.msg import ParameterEvent, ParameterType, ParameterValue
from rcl_interfaces.srv import GetParameters
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.qos import qos_profile_parameter_events

from lowlight_enhance.core.errors import ConfigError
from lowlight_enhance.core.metadata.capture import UNKNOWN, CaptureMetadata
from lowlight_enhance.core.metadata.driver_parameters import parameter_source
from lowlight_enhance.core.metadata.readers import MetadataSettings
from lowlight_enhance.ros.camera_parameter_client import CameraParameterClient, python_value

DEADLINE_S = 180.0
PERIOD_S = 0.05
MANUAL = {"exposure": 330, "gain": 4, "autoexposure": False}
BRIGHT = CaptureMetadata(400.0, pytest.approx(0.033))


class Graph:
    """Nodes of one process, served by one executor."""

    def __init__(self):
        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.nodes = []

    def node(self, name, namespace="", served=True, **options):
        node = rclpy.create_node(name, namespace=namespace, context=self.context, **options)
        self.nodes.append(node)
        if served:
            self.executor.add_node(node)
        return node

    def camera(self, name="camera", namespace="", **parameters):
        node = self.node(name, namespace)
        for key, value in (parameters or MANUAL).items():
            node.declare_parameter(key, value)
        return node

    def remove(self, node):
        self.nodes.remove(node)
        self.executor.remove_node(node)
        node.destroy_node()

    def spin_until(self, condition):
        deadline = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < deadline, "deadline passed"
            self.executor.spin_once(timeout_sec=0.02)

    def close(self):
        self.executor.shutdown()
        for node in self.nodes:
            node.destroy_node()
        rclpy.try_shutdown(context=self.context)


@pytest.fixture
def graph():
    graph = Graph()
    yield graph
    graph.close()


def watch(graph, camera="camera", source=None, **settings):
    """A watcher, and the list of what it tells."""
    told = []
    node = graph.node("watcher", namespace="/peer")
    source = source or parameter_source("usb_cam")
    settings = MetadataSettings(**settings)
    return CameraParameterClient(node, camera, source, settings, told.append, PERIOD_S), told


def set_(node, **values):
    results = node.set_parameters([Parameter(name, value=value) for name, value in values.items()])
    assert all(result.successful for result in results)


def test_first_values_then_changes_of_that_node_alone(graph):
    camera = graph.camera(namespace="/peer")
    other = graph.camera(namespace="/other")
    watched, told = watch(graph)
    assert watched.camera == "/peer/camera"
    assert watched.problem
    graph.spin_until(lambda: told)
    assert told[0] == BRIGHT
    assert watched.problem == ""

    set_(other, exposure=10)
    set_(camera, gain=8)
    graph.spin_until(lambda: watched.capture.iso == 800.0)
    assert watched.capture.exposure_s == pytest.approx(0.033)

    set_(camera, autoexposure=True)
    graph.spin_until(lambda: told[-1] == UNKNOWN)
    assert "automatic exposure is on" in watched.problem
    set_(camera, autoexposure=False, exposure=100)
    graph.spin_until(lambda: told[-1] == CaptureMetadata(800.0, pytest.approx(0.01)))
    assert not any(capture.exposure_s == pytest.approx(0.001) for capture in told)


def test_a_missing_parameter_is_named_and_a_new_one_used(graph):
    camera = graph.camera(exposure=330, autoexposure=False)
    watched, told = watch(graph, "/camera")
    graph.spin_until(lambda: told)
    assert told[0] == CaptureMetadata(None, pytest.approx(0.033))
    assert watched.problem == "it has no parameter gain"
    camera.declare_parameter("gain", 2)
    graph.spin_until(lambda: watched.capture.iso == 200.0)
    assert watched.problem == ""


def test_news_of_a_deleted_parameter_make_it_unknown(graph):
    camera = graph.camera()
    watched, told = watch(graph, "/camera")
    graph.spin_until(lambda: told)
    publisher = camera.create_publisher(ParameterEvent, "/parameter_events", qos_profile_parameter_events)
    graph.spin_until(publisher.get_subscription_count)
    publisher.publish(ParameterEvent(node="/other", deleted_parameters=[ParameterMessage(name="exposure")]))
    publisher.publish(ParameterEvent(node="/camera", deleted_parameters=[ParameterMessage(name="gain")]))
    graph.spin_until(lambda: watched.capture.iso is None)
    assert watched.capture == CaptureMetadata(None, pytest.approx(0.033))


def test_what_no_news_told_of_is_found_by_asking_anew(graph, monkeypatch):
    """rclpy's own nodes delete a parameter without an event."""
    monkeypatch.setattr("lowlight_enhance.ros.camera_parameter_client.REFRESH_S", 0.1)
    camera = graph.camera()
    watched, told = watch(graph, "/camera")
    graph.spin_until(lambda: told)
    camera.undeclare_parameter("gain")
    graph.spin_until(lambda: watched.capture == CaptureMetadata(None, pytest.approx(0.033)))


def test_it_is_told_again_while_the_node_is_there_and_no_longer(graph):
    camera = graph.camera()
    watched, told = watch(graph, "/camera")
    graph.spin_until(lambda: len(told) >= 4)
    assert set(map(str, told)) == {str(told[0])}
    graph.remove(camera)
    graph.spin_until(lambda: watched.capture == UNKNOWN)
    assert told[-1] == UNKNOWN
    assert watched.problem


def test_a_camera_that_returns_is_asked_again(graph):
    watched, told = watch(graph, "/camera")
    for gain in (2, 5):
        camera = graph.camera(**{**MANUAL, "gain": gain})
        graph.spin_until(lambda gain=gain: watched.capture.iso == 100.0 * gain)
        graph.remove(camera)
        graph.spin_until(lambda: watched.capture == UNKNOWN)
    assert next(capture.iso for capture in told if not capture.is_unknown) == 200.0


def test_a_value_that_no_camera_has_is_unknown_until_it_is_mended(graph):
    camera = graph.camera()
    watched, told = watch(graph, "/camera", parameter_source("usb_cam", exposure_unit_s=1e-4))
    graph.spin_until(lambda: told)
    camera.undeclare_parameter("exposure")
    camera.declare_parameter("exposure", [1, 2, 3])
    graph.spin_until(lambda: "exposure is 'a list'" in watched.problem)
    assert told[-1] == UNKNOWN
    camera.undeclare_parameter("exposure")
    camera.declare_parameter("exposure", 200)
    graph.spin_until(lambda: watched.capture == CaptureMetadata(400.0, pytest.approx(0.02)))


def test_new_settings_hold_at_once(graph):
    graph.camera()
    watched, told = watch(graph, "/camera")
    graph.spin_until(lambda: told)
    watched.settings = MetadataSettings(gain_unity=4.0)
    graph.spin_until(lambda: told[-1].iso == 100.0)


def test_a_node_that_does_not_answer_holds_nobody_up_and_is_asked_again(graph, monkeypatch):
    monkeypatch.setattr("lowlight_enhance.ros.camera_parameter_client.ANSWER_S", 0.2)
    silent = graph.node("camera", start_parameter_services=False, served=False)
    asked = []

    def answer(request, response):
        asked.append(request.names[0])
        value = {"exposure": 330, "gain": 4}.get(request.names[0])
        type_ = ParameterType.PARAMETER_INTEGER if value else ParameterType.PARAMETER_NOT_SET
        response.values = [ParameterValue(type=type_, integer_value=value or 0)]
        return response

    silent.create_service(GetParameters, "/camera/get_parameters", answer)
    watched, told = watch(graph, "/camera")
    ticks = []
    watched._node.create_timer(0.01, lambda: ticks.append(time.monotonic()))
    questions = []
    ask = watched._send_requests
    monkeypatch.setattr(watched, "_send_requests", lambda: (questions.append(1), ask()))
    graph.spin_until(lambda: len(questions) >= 3)
    assert len(ticks) > 10
    assert not told
    assert not asked
    assert len(watched._pending) == 3

    graph.executor.add_node(silent)
    graph.spin_until(lambda: told)
    assert told[0] == BRIGHT


def test_nothing_is_told_after_close(graph):
    camera = graph.camera()
    watched, told = watch(graph, "/camera")
    graph.spin_until(lambda: told)
    watched.close()
    told.clear()
    heard = []
    second = graph.node("second")
    CameraParameterClient(second, "camera", parameter_source("usb_cam"), MetadataSettings(), heard.append, PERIOD_S)
    graph.spin_until(lambda: heard)
    set_(camera, gain=16)
    graph.spin_until(lambda: heard[-1].iso == 1600.0)
    assert not told


@pytest.mark.parametrize("name", ["", "/", "my camera", "cam//era", "/9camera"])
def test_what_can_be_no_nodes_name_is_refused(graph, name):
    with pytest.raises(ConfigError, match="camera node"):
        watch(graph, name)


def test_values_are_read_by_their_type():
    assert python_value(ParameterValue()) is None
    assert python_value(ParameterValue(type=ParameterType.PARAMETER_BOOL, bool_value=True)) is True
    assert python_value(ParameterValue(type=ParameterType.PARAMETER_INTEGER, integer_value=-7)) == -7
    assert python_value(ParameterValue(type=ParameterType.PARAMETER_DOUBLE, double_value=0.5)) == 0.5
    assert python_value(ParameterValue(type=ParameterType.PARAMETER_STRING, string_value="true")) == "true"
    assert python_value(ParameterValue(type=ParameterType.PARAMETER_INTEGER_ARRAY)) == "a list"
    assert python_value(ParameterValue(type=99)) == "a list"
