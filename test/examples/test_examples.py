"""The example detector node, its launch file, and the layouts for Foxglove and rqt."""

from __future__ import annotations

import ast
import importlib.util
import json
import subprocess
import sys
import time
import types
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
DEADLINE_S = 180.0


def load(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.name.partition(".")[0], path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def detector_file(tmp_path: Path) -> Path:
    """A detector whose only box is 20 pixels wide and high around the middle of a 64x64 image."""
    pytest.importorskip("onnx")
    from tiny_detector import v8, write_detector

    boxes = [(32.0, 32.0, 20.0, 20.0, 0.9, 1.0), *[(1.0, 1.0, 1.0, 1.0, 0.0, 0.0)] * 83]
    return write_detector(tmp_path / "yolo.onnx", v8(boxes, 2), "['person', 'car']")


@pytest.fixture
def example() -> Any:
    pytest.importorskip("rclpy")
    return load(EXAMPLES / "detector_node.py")


def header() -> Any:
    from std_msgs.msg import Header

    message = Header(frame_id="camera")
    message.stamp.sec, message.stamp.nanosec = 3, 4
    return message


def boxes() -> Any:
    from lowlight_enhance.evaluation.detection.boxes import make_boxes

    return make_boxes([[10, 20, 30, 60]], [0.75], ["car"])


def test_boxes_as_json(example: Any) -> None:
    content = json.loads(example.to_json(header(), boxes()).data)
    assert content == {
        "header": {"stamp": {"sec": 3, "nanosec": 4}, "frame_id": "camera"},
        "detections": [{"class_id": "car", "score": 0.75, "center": [20.0, 40.0], "size": [20.0, 40.0]}],
    }
    assert json.loads(example.to_json(header()).data)["detections"] == []


@pytest.mark.parametrize("has_position", [True, False])
def test_boxes_as_vision_msgs(example: Any, has_position: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The centre of a box is a Pose2D with ``position`` since vision_msgs 4, and has ``x`` and ``y`` before."""

    def detection(header: Any) -> Any:
        centre = SimpleNamespace(position=SimpleNamespace()) if has_position else SimpleNamespace()
        return SimpleNamespace(header=header, results=[], bbox=SimpleNamespace(center=centre))

    monkeypatch.setattr(example, "Detection2D", detection, raising=False)
    monkeypatch.setattr(
        example, "Detection2DArray", lambda header: SimpleNamespace(header=header, detections=[]), raising=False
    )
    monkeypatch.setattr(
        example,
        "ObjectHypothesisWithPose",
        lambda: SimpleNamespace(hypothesis=SimpleNamespace()),
        raising=False,
    )
    array = example.to_detection_array(header(), boxes())
    (found,) = array.detections
    centre = found.bbox.center.position if has_position else found.bbox.center
    assert (centre.x, centre.y, found.bbox.size_x, found.bbox.size_y) == (20.0, 40.0, 20.0, 40.0)
    assert (found.results[0].hypothesis.class_id, found.results[0].hypothesis.score) == ("car", 0.75)
    assert array.header == found.header == header()


@pytest.fixture
def peer() -> Iterator[Any]:
    rclpy = pytest.importorskip("rclpy")
    from rclpy.executors import SingleThreadedExecutor

    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node("peer", context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    yield SimpleNamespace(node=node, spin=lambda: executor.spin_once(timeout_sec=0.1))
    executor.shutdown()
    node.destroy_node()
    rclpy.shutdown(context=context)


def test_an_image_becomes_detections_and_an_image_with_boxes(detector_file: Path, peer: Any) -> None:
    from sensor_msgs.msg import Image
    from std_msgs.msg import String

    if importlib.util.find_spec("vision_msgs") is not None:
        pytest.skip("vision_msgs is installed: the node does not publish JSON")
    received: dict[str, Any] = {}
    peer.node.create_subscription(String, "/example/detections", lambda m: received.update(text=m), 1)
    peer.node.create_subscription(Image, "/example/detections/image", lambda m: received.update(image=m), 1)
    publisher = peer.node.create_publisher(Image, "/example/image_enhanced", 1)
    image = Image(header=header(), height=64, width=64, encoding="bgr8", step=192)
    image.data.frombytes(np.full((64, 64, 3), 90, np.uint8).tobytes())
    arguments = ["-r", "__ns:=/example", "-r", "image:=image_enhanced", "-p", f"model:={detector_file}"]
    command = [sys.executable, str(EXAMPLES / "detector_node.py"), "--ros-args", *arguments]
    process = subprocess.Popen(command)
    try:
        deadline = time.monotonic() + DEADLINE_S
        while len(received) < 2 and time.monotonic() < deadline and process.poll() is None:
            publisher.publish(image)
            peer.spin()
    finally:
        process.terminate()
        process.wait(DEADLINE_S)
    content = json.loads(received["text"].data)
    assert content["header"] == {"stamp": {"sec": 3, "nanosec": 4}, "frame_id": "camera"}
    (found,) = content["detections"]
    assert (found["class_id"], found["center"], found["size"]) == ("car", [32.0, 32.0], [20.0, 20.0])
    drawn = np.frombuffer(received["image"].data, np.uint8).reshape(64, 64, 3)
    assert received["image"].encoding == "rgb8"
    assert tuple(drawn[32, 22]) == (60, 220, 60)
    assert tuple(drawn[32, 32]) == (90, 90, 90)


def test_a_file_that_is_no_detector_is_one_line(tmp_path: Path) -> None:
    pytest.importorskip("rclpy")
    arguments = ["--ros-args", "-p", f"model:={tmp_path / 'none.onnx'}"]
    command = [sys.executable, str(EXAMPLES / "detector_node.py"), *arguments]
    process = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert process.returncode == 2
    assert "none.onnx" in process.stderr
    assert "Traceback" not in process.stderr


class Recorded:
    """Keeps how it was constructed."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.args, self.kwargs = args, kwargs


@pytest.fixture
def launch_file(monkeypatch: pytest.MonkeyPatch) -> Any:
    names = {
        "launch": ["LaunchDescription"],
        "launch.actions": ["DeclareLaunchArgument", "ExecuteProcess", "IncludeLaunchDescription", "OpaqueFunction"],
        "launch.launch_description_sources": ["PythonLaunchDescriptionSource"],
        "launch_ros": [],
        "launch_ros.actions": ["Node"],
        "ament_index_python": [],
        "ament_index_python.packages": [],
    }
    for name, classes in names.items():
        module = types.ModuleType(name)
        for entry in classes:
            setattr(module, entry, type(entry, (Recorded,), {}))
        monkeypatch.setitem(sys.modules, name, module)
    packages = sys.modules["ament_index_python.packages"]
    packages.get_package_share_directory = lambda _: str(ROOT)  # type: ignore[attr-defined]
    return load(EXAMPLES / "enhance_detect.launch.py")


def launched(launch_file: Any, **arguments: str) -> list[Any]:
    *declared, opaque = launch_file.generate_launch_description().args[0]
    defaults = {action.args[0]: action.kwargs["default_value"] for action in declared}
    assert arguments.keys() <= defaults.keys()
    context = SimpleNamespace(launch_configurations={**defaults, **arguments})
    started: list[Any] = opaque.kwargs["function"](context)
    return started


def test_the_launch_file_connects_camera_node_and_detector(launch_file: Any) -> None:
    include, camera, detector = launched(launch_file, detector_model="/data/a.onnx", namespace="front")
    launch_arguments = dict(include.kwargs["launch_arguments"])
    enhance = (ROOT / "launch" / "enhance.launch.py").read_text(encoding="utf-8")
    assert all(f'"{name}"' in enhance for name in launch_arguments)
    assert (camera.kwargs["package"], camera.kwargs["namespace"]) == ("v4l2_camera", "front")
    command = detector.kwargs["cmd"]
    assert Path(command[1]).is_file()
    assert "__ns:=/front" in command
    assert f"image:={launch_arguments['output_topic']}" in command
    assert "model:='/data/a.onnx'" in command
    assert "confidence:=0.25" in command
    (include, detector) = launched(launch_file, detector_model="a.onnx", camera_package="")
    assert type(detector).__name__ == "ExecuteProcess"


def test_parameters_of_the_launch_file_are_those_of_the_node(launch_file: Any, example: Any) -> None:
    command = launched(launch_file, detector_model="a.onnx")[-1].kwargs["cmd"]
    names = {text.partition(":=")[0] for flag, text in pairwise(command) if flag == "-p"}
    assert names == {"model", "classes", "confidence"}
    assert names <= example.PARAMETERS.keys()


TOPICS = {"/camera/image_raw", "/camera/image_enhanced"}


def test_the_foxglove_layout_shows_every_panel_once() -> None:
    layout = json.loads((EXAMPLES / "foxglove_layout.json").read_text())

    def panels(part: Any) -> list[str]:
        return [part] if isinstance(part, str) else [*panels(part["first"]), *panels(part["second"])]

    assert sorted(panels(layout["layout"])) == sorted(layout["configById"])
    images = {c["imageMode"]["imageTopic"] for n, c in layout["configById"].items() if n.startswith("Image!")}
    assert images >= TOPICS
    (plot,) = [c for n, c in layout["configById"].items() if n.startswith("Plot!")]
    assert plot["paths"][0]["value"] == "/camera/lowlight_enhance/latency.data"


def test_the_rqt_perspective_configures_every_plugin_that_it_starts() -> None:
    manager = json.loads((EXAMPLES / "lowlight_enhance.perspective").read_text())["groups"]["pluginmanager"]
    running = ast.literal_eval(manager["keys"]["running-plugins"]["repr"])
    names = {f"plugin__{name.replace('/', '__')}__{serial}" for name, serials in running.items() for serial in serials}
    assert names == set(manager["groups"])
    settings = [plugin["groups"]["plugin"]["keys"] for plugin in manager["groups"].values()]
    values = [{key: ast.literal_eval(value["repr"]) for key, value in keys.items()} for keys in settings]
    assert {entry["topic"] for entry in values if "topic" in entry} == TOPICS
    assert ["/camera/lowlight_enhance/latency/data"] in [entry.get("topics") for entry in values]
