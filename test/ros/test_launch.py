"""The launch files, run against stand-ins for launch and launch_ros that only record, and against the real ones."""

import importlib.util
import sys
import types
from dataclasses import fields
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "launch").glob("*.launch.py"))


class Recorded:
    """Keeps how it was constructed."""

    def __init__(self, *args, **kwargs):
        self.args, self.kwargs = args, kwargs


MODULES = {
    "launch": ("LaunchDescription",),
    "launch.actions": (
        "DeclareLaunchArgument",
        "ExecuteProcess",
        "IncludeLaunchDescription",
        "OpaqueFunction",
        "SetEnvironmentVariable",
        "Shutdown",
    ),
    "launch.launch_description_sources": ("PythonLaunchDescriptionSource",),
    "launch_ros": (),
    "launch_ros.actions": ("Node",),
    "launch_ros.parameter_descriptions": ("ParameterValue",),
}


@pytest.fixture
def stand_ins(monkeypatch):
    for name, classes in MODULES.items():
        module = types.ModuleType(name)
        for class_name in classes:
            setattr(module, class_name, type(class_name, (Recorded,), {}))
        monkeypatch.setitem(sys.modules, name, module)
    packages = types.ModuleType("ament_index_python.packages")
    packages.get_package_share_directory = lambda name: str(ROOT) if name == "lowlight_enhance" else 1 / 0
    monkeypatch.setitem(sys.modules, "ament_index_python", types.ModuleType("ament_index_python"))
    monkeypatch.setitem(sys.modules, "ament_index_python.packages", packages)


def load(name):
    path = ROOT / "launch" / f"{name}.launch.py"
    spec = importlib.util.spec_from_file_location(f"launch_file_{name}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def launched(name, **arguments):
    """What the file starts, given its arguments, as (class name, positional, keyword arguments)."""
    *declared, opaque = load(name).generate_launch_description().args[0]
    defaults = {action.args[0]: action.kwargs["default_value"] for action in declared}
    assert arguments.keys() <= defaults.keys()
    configurations = {**defaults, **arguments}
    assert None not in configurations.values()
    context = types.SimpleNamespace(launch_configurations=configurations)
    return [(type(a).__name__, a.args, a.kwargs) for a in opaque.kwargs["function"](context)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_each_argument_is_described(stand_ins, path):
    *declared, _ = load(path.name.removesuffix(".launch.py")).generate_launch_description().args[0]
    names = [action.args[0] for action in declared]
    assert len(names) == len(set(names)) > 5
    assert all(action.kwargs["description"] for action in declared)


def test_enhance_by_default_takes_everything_from_the_params_file(stand_ins):
    [(kind, _, node)] = launched("enhance")
    assert kind == "Node"
    assert (node["package"], node["executable"], node["namespace"]) == ("lowlight_enhance", "enhance_node", "")
    assert node["parameters"] == [str(ROOT / "config" / "enhance.yaml")]
    assert Path(node["parameters"][0]).is_file()
    assert dict(node["remappings"]) == {
        "image_raw": "image_raw",
        "camera_info": "camera_info",
        "metadata": "metadata",
        "image_enhanced": "image_enhanced",
        "enhanced/camera_info": "enhanced/camera_info",
    }


def test_enhance_passes_its_arguments_on(stand_ins):
    [(_, _, node)] = launched(
        "enhance",
        namespace="drone",
        image_topic="/camera/color/image_raw",
        metadata_topic="/camera/color/metadata",
        metadata_type="realsense2_camera_msgs/msg/Metadata",
        output_topic="night/image",
        params_file="mine.yaml",
        model="7",
        use_sim_time="true",
    )
    remappings = dict(node["remappings"])
    assert remappings["camera_info"] == "/camera/color/camera_info"
    assert remappings["metadata"] == "/camera/color/metadata"
    assert remappings["image_enhanced"] == "night/image"
    path, parameters = node["parameters"]
    assert path == "mine.yaml"
    assert parameters["use_sim_time"] is True
    assert (parameters["model"].args, parameters["model"].kwargs) == (("7",), {"value_type": str})


def test_names_of_parameters_and_topics_are_the_nodes(stand_ins):
    from lowlight_enhance.ros import topic_names
    from lowlight_enhance.ros.parameters import NodeParams

    given = dict.fromkeys(load("enhance").PARAMETERS, "1")
    [(_, _, node)] = launched("enhance", **given, use_sim_time="true")
    parameters = {name: value.kwargs["value_type"] for name, value in node["parameters"][1].items() if name in given}
    assert parameters.keys() == given.keys()
    defaults = {entry.name: type(entry.default) for entry in fields(NodeParams)}
    assert {name: defaults[name] for name in given} == parameters
    assert {topic for topic, _ in node["remappings"]} <= {*topic_names.INPUTS, *topic_names.OUTPUTS}


@pytest.mark.parametrize(
    ("distribution", "variable"),
    [("humble", "FASTRTPS_DEFAULT_PROFILES_FILE"), ("kilted", "FASTDDS_DEFAULT_PROFILES_FILE")],
)
def test_fast_dds_profile_is_set_before_the_node_starts(stand_ins, monkeypatch, distribution, variable):
    monkeypatch.setenv("ROS_DISTRO", distribution)
    (kind, args, _), (last, _, _) = launched("enhance", fastdds_profile="true")
    assert (kind, args, last) == ("SetEnvironmentVariable", (variable, str(ROOT / "config" / "fastdds.xml")), "Node")
    assert launched("enhance", fastdds_profile="own.xml")[0][1] == (variable, "own.xml")


def test_camera_enhance_detect_connects_the_three(stand_ins):
    include, camera, detector = launched("camera_enhance_detect", namespace="cam", output_topic="night")
    assert include[0] == "IncludeLaunchDescription"
    given = dict(include[2]["launch_arguments"])
    assert given.keys() <= load("enhance").ARGUMENTS.keys()
    assert (given["namespace"], given["output_topic"]) == ("cam", "night")
    assert Path(include[1][0].args[0]).is_file()
    assert (camera[2]["package"], camera[2]["namespace"], camera[2]["parameters"]) == ("v4l2_camera", "cam", [])
    assert (detector[2]["package"], detector[2]["remappings"]) == ("yolo_ros", [("image_raw", "night")])


def test_exposure_and_gain_may_come_from_the_drivers_parameters(stand_ins):
    include, _, _ = launched("camera_enhance_detect", camera_driver="v4l2_camera", camera_name="cam0")
    given = dict(include[2]["launch_arguments"])
    assert (given["camera_driver"], given["camera_node"]) == ("v4l2_camera", "cam0")
    include, _, _ = launched("camera_enhance_detect")
    assert dict(include[2]["launch_arguments"])["camera_node"] == ""


def test_camera_and_detector_can_be_left_out(stand_ins):
    started = launched("camera_enhance_detect", camera_package="", detector_package="")
    assert [kind for kind, _, _ in started] == ["IncludeLaunchDescription"]


def test_replay_runs_on_the_bags_clock_and_ends_with_it(stand_ins):
    arguments = {"bag": "night", "player": "ros2bag", "image_topic": "/camera/image_raw"}
    include, player = launched("replay", **arguments, loop="true")
    given = dict(include[2]["launch_arguments"])
    assert given.keys() <= load("enhance").ARGUMENTS.keys()
    assert (given["use_sim_time"], given["image_topic"]) == ("true", "/camera/image_raw")
    command = player[2]["cmd"]
    assert command[:4] == ["ros2", "bag", "play", "night"]
    assert {"--clock", "--rate", "--delay", "--loop"} <= set(command)
    assert type(player[2]["on_exit"]).__name__ == "Shutdown"
    assert "--loop" not in launched("replay", **arguments)[1][2]["cmd"]


def test_replay_without_ros2_bag_uses_our_own_player(stand_ins, monkeypatch):
    from lowlight_enhance.cli import build_parser

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    command = launched("replay", bag="night", rate="0.5", loop="true")[1][2]["cmd"]
    assert command[:3] == [sys.executable, "-m", "lowlight_enhance.cli"]
    options = build_parser().parse_args(command[3:])
    assert (options.command, str(options.bag), options.rate, options.loop, options.clock) == (
        *("replay", "night", 0.5, True, 100.0),
    )
    with pytest.raises(ValueError, match="choose ros2bag, lowlight or auto"):
        launched("replay", bag="night", player="vlc")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_real_launch_understands_the_file(path):
    pytest.importorskip("launch_ros", reason="needs ROS 2 (launch, launch_ros)")
    ament = pytest.importorskip("ament_index_python.packages", reason="needs ROS 2 (ament_index_python)")
    try:
        ament.get_package_share_directory("lowlight_enhance")
    except ament.PackageNotFoundError:
        pytest.skip("lowlight_enhance is not in the ament index: source the workspace first")
    from launch import LaunchContext

    description = load(path.name.removesuffix(".launch.py")).generate_launch_description()
    context = LaunchContext()
    context.launch_configurations["bag"] = "night"
    for entity in description.entities:
        entity.visit(context)
