"""Starts the enhancement node on the topics of one camera.

    ros2 launch lowlight_enhance enhance.launch.py namespace:=camera image_topic:=color/image_raw

Launch arguments are global: if a launch file that includes this one has an argument named ``model``, this launch file
receives it too. To avoid that, include this file in a group with its own scope:

    GroupAction(
        [IncludeLaunchDescription(..., launch_arguments=[("image_topic", "color/image_raw")])],
        scoped=True,
        forwarding=False,
    )
"""

import os

from ament_index_python.packages import get_package_share_directory
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

SHARE = get_package_share_directory("lowlight_enhance")

ARGUMENTS = {
    "namespace": ("", "namespace of the node and of every relative topic"),
    "node_name": ("lowlight_enhance", "name of the node"),
    "image_topic": ("image_raw", "dark images (sensor_msgs/msg/Image)"),
    "camera_info_topic": ("", "calibration; empty: camera_info next to the image topic"),
    "metadata_topic": ("metadata", "capture metadata of the camera driver"),
    "metadata_type": (
        "",
        "ROS type of metadata_topic, e.g. realsense2_camera_msgs/msg/Metadata; empty: as in params_file",
    ),
    "output_topic": ("image_enhanced", "enhanced images"),
    "output_camera_info_topic": ("enhanced/camera_info", "calibration of the enhanced images"),
    "image_transport": ("", "raw, or compressed for sensor_msgs/msg/CompressedImage; empty: as in params_file"),
    "compressed_format": ("", "jpeg or png: also publish compressed images; empty: as in params_file"),
    "camera_node": ("", "camera node whose parameters give exposure and gain; empty: as in params_file"),
    "camera_driver": ("", "driver of camera_node, e.g. v4l2_camera; empty: as in params_file"),
    "params_file": (os.path.join(SHARE, "config", "enhance.yaml"), "parameters of the node (YAML)"),  # noqa: PTH118
    "model": ("", "ONNX model file or name of an included model; empty: as in params_file"),
    "runtime": ("", "onnxruntime or openvino; empty: as in params_file"),
    "working_size": ("", "shorter side in pixels of what the network processes; empty: as in params_file"),
    "profile": ("", "viewing or detection; empty: as in params_file"),
    "strength": ("", "strength of the enhancement, 0 to 1; empty: as in params_file"),
    "use_sim_time": ("false", "true: take the time from /clock"),
    "fastdds_profile": ("", "Fast DDS profile for large images: a path, or true for the included one; empty: none"),
}

CHOICES = {"use_sim_time": ["true", "True", "false", "False"]}
"""The values of arguments that do not take any text."""

PARAMETERS = {
    "model": ("model", str),
    "runtime": ("runtime", str),
    "working_size": ("working_size", int),
    "profile": ("profile", str),
    "strength": ("strength", float),
    "image_transport": ("image_transport", str),
    "compressed_format": ("output.compressed_format", str),
    "metadata_type": ("metadata.type", str),
    "camera_node": ("camera.node", str),
    "camera_driver": ("camera.driver", str),
}
"""Arguments that set a parameter of the node if they are not empty: name and type of the parameter."""


def camera_info_next_to(image_topic):
    """Return the topic on which image_transport expects the camera_info of ``image_topic``."""
    folder, slash, _ = image_topic.rpartition("/")
    return f"{folder}{slash}camera_info"


def existing_file(argument, path):
    """Return ``path``, the value of ``argument``, or raise an error; launch itself only warns of a missing file."""
    if not os.path.isfile(path):  # noqa: PTH113
        raise FileNotFoundError(f"{argument}:={path}: there is no such file")
    return path


def check_value(argument, value, value_type):
    """Raise an error that names the argument, because the error of launch does not."""
    try:
        value_type(value)
    except ValueError:
        raise ValueError(f"{argument}:={value}: not {'an integer' if value_type is int else 'a number'}") from None


def describe(context):
    values = context.launch_configurations
    parameters = {"use_sim_time": True} if values["use_sim_time"].lower() == "true" else {}
    for argument, (name, value_type) in PARAMETERS.items():
        if values[argument]:
            check_value(argument, values[argument], value_type)
            parameters[name] = ParameterValue(LaunchConfiguration(argument), value_type=value_type)
    node = Node(
        package="lowlight_enhance",
        executable="enhance_node",
        name=values["node_name"],
        namespace=values["namespace"],
        parameters=[existing_file("params_file", values["params_file"]), *([parameters] if parameters else [])],
        remappings=[
            ("image_raw", values["image_topic"]),
            ("camera_info", values["camera_info_topic"] or camera_info_next_to(values["image_topic"])),
            ("metadata", values["metadata_topic"]),
            ("image_enhanced", values["output_topic"]),
            ("enhanced/camera_info", values["output_camera_info_topic"]),
        ],
        output="screen",
    )
    return [*fast_dds_profile(values["fastdds_profile"]), node]


def fast_dds_profile(profile):
    """Return the actions that load a Fast DDS profile in every process that is started after them.

    Fast DDS 3, used from Kilted on, renamed the environment variable.
    """
    if not profile or profile.lower() == "false":
        return []
    path = os.path.join(SHARE, "config", "fastdds.xml") if profile.lower() == "true" else profile  # noqa: PTH118
    is_old = os.environ.get("ROS_DISTRO") in ("humble", "iron", "jazzy")
    variable = f"{'FASTRTPS' if is_old else 'FASTDDS'}_DEFAULT_PROFILES_FILE"
    return [SetEnvironmentVariable(variable, existing_file("fastdds_profile", path))]


def generate_launch_description():
    arguments = [
        DeclareLaunchArgument(name, default_value=default, description=description, choices=CHOICES.get(name))
        for name, (default, description) in ARGUMENTS.items()
    ]
    return LaunchDescription([*arguments, OpaqueFunction(function=describe)])
