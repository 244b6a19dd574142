"""The launch files, run with stand-ins for launch and launch_ros that record arguments, and with the real ones."""

import importlib.util
import re
import sys
import types
from pathlib import Path

import pytest
from launch_stand_ins import MODULES

ROOT = Path(__file__).parents[2]
NAMES = sorted(path.name.removesuffix(".launch.py") for path in (ROOT / "launch").glob("*.launch.py"))


VALUES = {
    "working_size": "128",
    "profile": "detection",
    "strength": "0.7",
    "use_sim_time": "true",
    "fastdds_profile": "true",
    "model": "tiny",
    "runtime": "openvino",
    "image_transport": "compressed",
    "compressed_format": "png",
    "metadata_type": "diagnostic_msgs/msg/DiagnosticArray",
    "camera_node": "camera",
    "camera_driver": "usb_cam",
    "rate": "0.5",
    "loop": "true",
    "delay": "1.0",
    "player": "lowlight",
}
"""A value for each argument that does not take any text."""


def values_for(name, tmp_path):
    """A value for every argument of a launch file."""
    params_file, bag = tmp_path / "params.yaml", tmp_path / "night"
    params_file.write_text("/**:\n  ros__parameters: {}\n")
    bag.mkdir(exist_ok=True)
    files = {argument: str(params_file) for argument in load(name).ARGUMENTS if argument.endswith("params_file")}
    texts = dict.fromkeys(load(name).ARGUMENTS, "text")
    return {a: v for a, v in {**texts, **VALUES, **files, "bag": str(bag)}.items() if a in texts}


@pytest.fixture
def stand_ins(monkeypatch):
    for name, classes in MODULES.items():
        module = types.ModuleType(name)
        for entry in classes:
            setattr(module, entry.__name__, entry)
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
    """What the file starts with these arguments, as (class name, positional, keyword arguments)."""
    *declared, opaque = load(name).generate_launch_description().args[0]
    defaults = {action.args[0]: action.kwargs["default_value"] for action in declared}
    assert arguments.keys() <= defaults.keys()
    configurations = {**defaults, **arguments}
    assert None not in configurations.values()
    for action in declared:  # as launch does
        argument, choices = action.args[0], action.kwargs.get("choices")
        if choices is not None and configurations[argument] not in choices:
            raise RuntimeError(f'Argument "{argument}" provided value "{configurations[argument]}" is not valid')
    context = types.SimpleNamespace(launch_configurations=configurations)
    return [(type(a).__name__, a.args, a.kwargs) for a in opaque.kwargs["function"](context)]


@pytest.mark.parametrize("name", NAMES)
def test_each_argument_is_described(stand_ins, name):
    *declared, _ = load(name).generate_launch_description().args[0]
    names = [action.args[0] for action in declared]
    assert len(names) == len(set(names)) > 5
    assert all(action.kwargs["description"] for action in declared)


@pytest.mark.parametrize("name", NAMES)
def test_each_argument_takes_a_value(stand_ins, tmp_path, name):
    assert launched(name, **values_for(name, tmp_path))


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


def test_enhance_passes_its_arguments_on(stand_ins, tmp_path):
    parameter_file = tmp_path / "parameter_file.yaml"
    parameter_file.touch()
    arguments = {"model": "7", "strength": "0.7", "working_size": "128"}
    [(_, _, node)] = launched(
        "enhance",
        namespace="drone",
        image_topic="/camera/color/image_raw",
        metadata_topic="/camera/color/metadata",
        output_topic="night/image",
        params_file=str(parameter_file),
        use_sim_time="true",
        **arguments,
    )
    remappings = dict(node["remappings"])
    assert remappings["camera_info"] == "/camera/color/camera_info"
    assert remappings["metadata"] == "/camera/color/metadata"
    assert remappings["image_enhanced"] == "night/image"
    path, parameters = node["parameters"]
    assert path == str(parameter_file)
    assert parameters.pop("use_sim_time") is True
    values = {name: value.evaluated(arguments) for name, value in parameters.items()}
    assert values == {"model": "7", "strength": 0.7, "working_size": 128}


def test_names_of_parameters_and_topics_are_the_nodes(stand_ins, tmp_path):
    from lowlight_enhance.ros import topic_names
    from lowlight_enhance.ros.parameters import SPECS

    arguments = values_for("enhance", tmp_path)
    *_, (_, _, node) = launched("enhance", **arguments)
    parameters = node["parameters"][1]
    parameters.pop("use_sim_time")
    assert len(parameters) == len(load("enhance").PARAMETERS)
    for name, value in parameters.items():
        assert SPECS[name].validated(value.evaluated(arguments)) == value.evaluated(arguments)
    assert {topic for topic, _ in node["remappings"]} <= {*topic_names.INPUTS, *topic_names.OUTPUTS}


def test_a_value_of_the_wrong_type_is_an_error_that_names_the_argument(stand_ins):
    with pytest.raises(ValueError, match="strength:=abc: not a number"):
        launched("enhance", strength="abc")
    with pytest.raises(ValueError, match=r"working_size:=1\.5: not an integer"):
        launched("enhance", working_size="1.5")


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("enhance", {"params_file": "no.yaml"}),
        ("enhance", {"fastdds_profile": "no.xml"}),
        ("camera_enhance_detect", {"camera_params_file": "no.yaml"}),
        ("camera_enhance_detect", {"detector_params_file": "no.yaml"}),
        ("replay", {"bag": "no_such_bag"}),
    ],
)
def test_a_missing_file_is_an_error_that_names_the_argument(stand_ins, name, arguments):
    ((argument, value),) = arguments.items()
    with pytest.raises(FileNotFoundError, match=f"{argument}:={value}"):
        launched(name, **arguments)


@pytest.mark.parametrize(
    ("distribution", "variable"),
    [("humble", "FASTRTPS_DEFAULT_PROFILES_FILE"), ("kilted", "FASTDDS_DEFAULT_PROFILES_FILE")],
)
def test_fast_dds_profile_is_set_before_the_node_starts(stand_ins, monkeypatch, tmp_path, distribution, variable):
    monkeypatch.setenv("ROS_DISTRO", distribution)
    (kind, args, _), (last, _, _) = launched("enhance", fastdds_profile="true")
    assert (kind, args, last) == ("SetEnvironmentVariable", (variable, str(ROOT / "config" / "fastdds.xml")), "Node")
    profile = tmp_path / "profile.xml"
    profile.touch()
    assert launched("enhance", fastdds_profile=str(profile))[0][1] == (variable, str(profile))


def test_camera_enhance_detect_connects_the_three(stand_ins):
    include, camera, detector = launched("camera_enhance_detect", namespace="cam", output_topic="night")
    assert include[0] == "IncludeLaunchDescription"
    arguments = dict(include[2]["launch_arguments"])
    assert arguments.keys() <= load("enhance").ARGUMENTS.keys()
    assert (arguments["namespace"], arguments["output_topic"]) == ("cam", "night")
    assert Path(include[1][0].args[0]).is_file()
    assert (camera[2]["package"], camera[2]["namespace"], camera[2]["parameters"]) == ("v4l2_camera", "cam", [])
    assert (detector[2]["package"], detector[2]["remappings"]) == ("yolo_ros", [("image_raw", "night")])


def test_exposure_and_gain_may_come_from_the_drivers_parameters(stand_ins):
    include, _, _ = launched("camera_enhance_detect", camera_driver="v4l2_camera", camera_name="cam0")
    arguments = dict(include[2]["launch_arguments"])
    assert (arguments["camera_driver"], arguments["camera_node"]) == ("v4l2_camera", "cam0")
    include, _, _ = launched("camera_enhance_detect")
    assert dict(include[2]["launch_arguments"])["camera_node"] == ""


def test_camera_and_detector_can_be_left_out(stand_ins):
    started = launched("camera_enhance_detect", camera_package="", detector_package="")
    assert [kind for kind, _, _ in started] == ["IncludeLaunchDescription"]


def test_replay_runs_on_the_bags_clock_and_ends_with_it(stand_ins, tmp_path):
    arguments = {"bag": str(tmp_path), "player": "ros2bag", "image_topic": "/camera/image_raw"}
    include, player = launched("replay", **arguments, loop="true")
    enhance_arguments = dict(include[2]["launch_arguments"])
    assert enhance_arguments.keys() <= load("enhance").ARGUMENTS.keys()
    assert (enhance_arguments["use_sim_time"], enhance_arguments["image_topic"]) == ("true", "/camera/image_raw")
    command = player[2]["cmd"]
    assert command[:4] == ["ros2", "bag", "play", str(tmp_path)]
    assert {"--clock", "--rate", "--delay", "--loop"} <= set(command)
    assert type(player[2]["on_exit"]).__name__ == "Shutdown"
    assert "--loop" not in launched("replay", **arguments)[1][2]["cmd"]


def test_replay_without_ros2_bag_uses_our_own_player(stand_ins, tmp_path, monkeypatch):
    from lowlight_enhance.cli import build_parser

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    command = launched("replay", bag=str(tmp_path), rate="0.5", loop="true")[1][2]["cmd"]
    assert command[:3] == [sys.executable, "-m", "lowlight_enhance.cli"]
    options = build_parser().parse_args(command[3:])
    assert (options.command, str(options.bag), options.rate, options.loop, options.clock) == (
        *("replay", str(tmp_path), 0.5, True, 100.0),
    )


@pytest.mark.parametrize(
    ("name", "argument", "value"),
    [("enhance", "use_sim_time", "yes"), ("replay", "loop", "1"), ("replay", "player", "vlc")],
)
def test_a_value_that_is_no_choice_is_an_error(stand_ins, name, argument, value, tmp_path):
    values = {"bag": str(tmp_path)} if name == "replay" else {}
    with pytest.raises(RuntimeError, match=f'"{argument}" provided value "{value}"'):
        launched(name, **values, **{argument: value})


def test_the_launch_page_names_files_and_arguments_that_exist(stand_ins):
    text = (ROOT / "docs/launch.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(\w+)\.launch\.py` \|", text, re.MULTILINE)) == set(NAMES)
    commands = re.findall(r"^ros2 launch lowlight_enhance (\w+)\.launch\.py((?:.*\\\n)*.*)$", text, re.MULTILINE)
    assert commands
    for name, rest in commands:
        assert set(re.findall(r"(\w+):=", rest)) <= load(name).ARGUMENTS.keys()
    links = re.findall(r"\]\((\S+)\)", text)
    assert [link for link in links if not (ROOT / "docs" / link.partition("#")[0]).is_file()] == []
    assert "parameters.md" in links


@pytest.mark.parametrize("name", NAMES)
def test_real_launch_takes_a_value_for_every_argument(name, tmp_path):
    pytest.importorskip("launch_ros", reason="needs ROS 2 (launch, launch_ros)")
    ament = pytest.importorskip("ament_index_python.packages", reason="needs ROS 2 (ament_index_python)")
    try:
        ament.get_package_share_directory("lowlight_enhance")
    except ament.PackageNotFoundError:
        pytest.skip("lowlight_enhance is not in the ament index: source the workspace first")
    from launch import LaunchContext

    context = LaunchContext()
    context.launch_configurations.update(values_for(name, tmp_path))
    nodes = list(visited(load(name).generate_launch_description().entities, context))
    assert [node for node in nodes if node.node_package == "lowlight_enhance"]


def visited(entities, context):
    """Every node that the entities start, with its name and parameters evaluated; nothing is executed."""
    from launch.actions import ExecuteProcess
    from launch_ros.actions import Node

    for entity in entities:
        if isinstance(entity, Node):
            entity._perform_substitutions(context)
            yield entity
        elif not isinstance(entity, ExecuteProcess):
            yield from visited(entity.visit(context) or [], context)
