"""Exposure and gain from the parameters of a camera node, over the middleware."""

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
    """Nodes of one process, spun by one executor."""

    def __init__(self):
        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.nodes = []

    def node(self, name, namespace="", spun=True, **options):
        node = rclpy.create_node(name, namespace=namespace, context=self.context, **options)
        self.nodes.append(node)
        if spun:
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


def follow(graph, camera="camera", source=None, **settings):
    """Return a client, and the list of the captures that it reports."""
    reported = []
    node = graph.node("watcher", namespace="/peer")
    source = source or parameter_source("usb_cam")
    settings = MetadataSettings(**settings)
    return CameraParameterClient(node, camera, source, settings, reported.append, PERIOD_S), reported


def set_(node, **values):
    results = node.set_parameters([Parameter(name, value=value) for name, value in values.items()])
    assert all(result.successful for result in results)


def test_it_reports_the_values_and_changes_of_that_node_only(graph):
    camera = graph.camera(namespace="/peer")
    other = graph.camera(namespace="/other")
    client, reported = follow(graph)
    assert client.camera == "/peer/camera"
    assert client.problem
    graph.spin_until(lambda: reported)
    assert reported[0] == BRIGHT
    assert client.problem == ""

    set_(other, exposure=10)
    set_(camera, gain=8)
    graph.spin_until(lambda: client.capture.iso == 800.0)
    assert client.capture.exposure_s == pytest.approx(0.033)

    set_(camera, autoexposure=True)
    graph.spin_until(lambda: reported[-1] == UNKNOWN)
    assert "automatic exposure is on" in client.problem
    set_(camera, autoexposure=False, exposure=100)
    graph.spin_until(lambda: reported[-1] == CaptureMetadata(800.0, pytest.approx(0.01)))
    assert not any(capture.exposure_s == pytest.approx(0.001) for capture in reported)


def test_a_missing_parameter_is_named_and_a_new_one_used(graph):
    camera = graph.camera(exposure=330, autoexposure=False)
    client, reported = follow(graph, "/camera")
    graph.spin_until(lambda: reported)
    assert reported[0] == CaptureMetadata(None, pytest.approx(0.033))
    assert client.problem == "it has no parameter gain"
    camera.declare_parameter("gain", 2)
    graph.spin_until(lambda: client.capture.iso == 200.0)
    assert client.problem == ""


def test_the_event_of_a_deleted_parameter_makes_it_unknown(graph):
    camera = graph.camera()
    client, reported = follow(graph, "/camera")
    graph.spin_until(lambda: reported)
    publisher = camera.create_publisher(ParameterEvent, "/parameter_events", qos_profile_parameter_events)
    graph.spin_until(publisher.get_subscription_count)
    publisher.publish(ParameterEvent(node="/other", deleted_parameters=[ParameterMessage(name="exposure")]))
    publisher.publish(ParameterEvent(node="/camera", deleted_parameters=[ParameterMessage(name="gain")]))
    graph.spin_until(lambda: client.capture.iso is None)
    assert client.capture == CaptureMetadata(None, pytest.approx(0.033))


def test_a_change_without_an_event_is_found_by_a_new_request(graph, monkeypatch):
    """rclpy deletes a parameter without an event."""
    monkeypatch.setattr("lowlight_enhance.ros.camera_parameter_client.REFRESH_PERIOD_S", 0.1)
    camera = graph.camera()
    client, reported = follow(graph, "/camera")
    graph.spin_until(lambda: reported)
    camera.undeclare_parameter("gain")
    graph.spin_until(lambda: client.capture == CaptureMetadata(None, pytest.approx(0.033)))


def test_it_repeats_the_capture_while_the_node_runs(graph):
    camera = graph.camera()
    client, reported = follow(graph, "/camera")
    graph.spin_until(lambda: len(reported) >= 4)
    assert set(map(str, reported)) == {str(reported[0])}
    graph.remove(camera)
    graph.spin_until(lambda: client.capture == UNKNOWN)
    assert reported[-1] == UNKNOWN
    assert client.problem


def test_a_restarted_camera_is_requested_again(graph):
    client, reported = follow(graph, "/camera")
    for gain in (2, 5):
        camera = graph.camera(**{**MANUAL, "gain": gain})
        graph.spin_until(lambda gain=gain: client.capture.iso == 100.0 * gain)
        graph.remove(camera)
        graph.spin_until(lambda: client.capture == UNKNOWN)
    assert next(capture.iso for capture in reported if not capture.is_unknown) == 200.0


def test_an_implausible_value_is_unknown_until_it_is_fixed(graph):
    camera = graph.camera()
    client, reported = follow(graph, "/camera", parameter_source("usb_cam", exposure_unit_s=1e-4))
    graph.spin_until(lambda: reported)
    camera.undeclare_parameter("exposure")
    camera.declare_parameter("exposure", [1, 2, 3])
    graph.spin_until(lambda: "exposure is 'a list'" in client.problem)
    assert reported[-1] == UNKNOWN
    camera.undeclare_parameter("exposure")
    camera.declare_parameter("exposure", 200)
    graph.spin_until(lambda: client.capture == CaptureMetadata(400.0, pytest.approx(0.02)))


def test_new_settings_are_used_at_once(graph):
    graph.camera()
    client, reported = follow(graph, "/camera")
    graph.spin_until(lambda: reported)
    client.settings = MetadataSettings(gain_unity=4.0)
    graph.spin_until(lambda: reported[-1].iso == 100.0)


def test_a_node_that_does_not_answer_blocks_nothing_and_is_requested_again(graph, monkeypatch):
    monkeypatch.setattr("lowlight_enhance.ros.camera_parameter_client.ANSWER_TIMEOUT_S", 0.2)
    silent = graph.node("camera", start_parameter_services=False, spun=False)
    requested_names = []

    def answer(request, response):
        requested_names.append(request.names[0])
        value = {"exposure": 330, "gain": 4}.get(request.names[0])
        type_ = ParameterType.PARAMETER_INTEGER if value else ParameterType.PARAMETER_NOT_SET
        response.values = [ParameterValue(type=type_, integer_value=value or 0)]
        return response

    silent.create_service(GetParameters, "/camera/get_parameters", answer)
    client, reported = follow(graph, "/camera")
    ticks = []
    client._node.create_timer(0.01, lambda: ticks.append(time.monotonic()))
    requests = []
    send_requests = client._send_requests
    monkeypatch.setattr(client, "_send_requests", lambda: (requests.append(1), send_requests()))
    graph.spin_until(lambda: len(requests) >= 3 and len(ticks) > 10)
    assert not reported
    assert not requested_names
    assert len(client._pending) == 3

    graph.executor.add_node(silent)
    graph.spin_until(lambda: reported)
    assert reported[0] == BRIGHT


def test_nothing_is_reported_after_close(graph):
    camera = graph.camera()
    client, reported = follow(graph, "/camera")
    graph.spin_until(lambda: reported)
    client.close()
    reported.clear()
    reported_to_second = []
    second = graph.node("second")
    CameraParameterClient(
        second, "camera", parameter_source("usb_cam"), MetadataSettings(), reported_to_second.append, PERIOD_S
    )
    graph.spin_until(lambda: reported_to_second)
    set_(camera, gain=16)
    graph.spin_until(lambda: reported_to_second[-1].iso == 1600.0)
    assert not reported


@pytest.mark.parametrize("name", ["", "/", "my camera", "cam//era", "/9camera"])
def test_an_invalid_node_name_is_rejected(graph, name):
    with pytest.raises(ConfigError, match="camera node"):
        follow(graph, name)


def test_values_are_read_by_their_type():
    assert python_value(ParameterValue()) is None
    assert python_value(ParameterValue(type=ParameterType.PARAMETER_BOOL, bool_value=True)) is True
    assert python_value(ParameterValue(type=ParameterType.PARAMETER_INTEGER, integer_value=-7)) == -7
    assert python_value(ParameterValue(type=ParameterType.PARAMETER_DOUBLE, double_value=0.5)) == 0.5
    assert python_value(ParameterValue(type=ParameterType.PARAMETER_STRING, string_value="true")) == "true"
    assert python_value(ParameterValue(type=ParameterType.PARAMETER_INTEGER_ARRAY)) == "a list"
    assert python_value(ParameterValue(type=99)) == "a list"
