"""The enhancement node on one camera's topics.

ros2 launch lowlight_enhance enhance.launch.py namespace:=camera image_topic:=color/image_raw
"""

import os

from ament_index_python.packages import get_package_share_directory
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

SHARE = get_package_share_directory("lowlight_enhance")

ARGUMENTS = {
    "namespace": ("", "namespace of the node and of every relative topic"),
    "node_name": ("lowlight_enhance", "name of the node"),
    "image_topic": ("image_raw", "dark images (sensor_msgs/Image)"),
    "camera_info_topic": ("", "calibration; empty: camera_info beside the image topic"),
    "metadata_topic": ("metadata", "capture metadata of the camera driver"),
    "metadata_type": ("", "its ROS type, e.g. realsense2_camera_msgs/msg/Metadata; empty: as the params file says"),
    "output_topic": ("image_enhanced", "enhanced images"),
    "output_camera_info_topic": ("enhanced/camera_info", "calibration of the enhanced images"),
    "image_transport": ("", "raw, or compressed for sensor_msgs/CompressedImage; empty: as the params file says"),
    "compressed_output": ("", "jpeg or png: publish a compressed image too; empty: as the params file says"),
    "camera_node": ("", "node whose parameters tell exposure and gain; empty: as the params file says"),
    "camera_driver": ("", "its driver, e.g. v4l2_camera; empty: as the params file says"),
    "params_file": (os.path.join(SHARE, "config", "enhance.yaml"), "parameters of the node (YAML)"),  # noqa: PTH118
    "model": ("", "ONNX model file; empty: as the params file says, else the one shipped"),
    "runtime": ("", "onnxruntime or openvino; empty: as the params file says"),
    "working_size": ("", "shorter side of what the network sees; empty: as the params file says"),
    "strength": ("", "of the enhancement, 0 to 1; empty: as the params file says"),
    "use_sim_time": ("false", "take the time from /clock"),
    "fastdds_profile": ("", "Fast DDS profile for large images: a path, or 'true' for the one shipped; empty: none"),
}

PARAMETERS = {
    "model": str,
    "runtime": str,
    "working_size": int,
    "strength": float,
    "image_transport": str,
    "compressed_output": str,
    "metadata_type": str,
    "camera_node": str,
    "camera_driver": str,
}
"""Arguments that are parameters of the node, where they are not empty."""


def sibling_camera_info(image_topic):
    """The topic where image_transport looks for the camera_info of ``image_topic``."""
    folder, slash, _ = image_topic.rpartition("/")
    return f"{folder}{slash}camera_info"


def describe(context):
    values = context.launch_configurations
    parameters = {"use_sim_time": True} if values["use_sim_time"].lower() == "true" else {}
    for name, value_type in PARAMETERS.items():
        if values[name]:
            parameters[name] = ParameterValue(values[name], value_type=value_type)
    node = Node(
        package="lowlight_enhance",
        executable="enhance_node",
        name=values["node_name"],
        namespace=values["namespace"],
        parameters=[values["params_file"], *([parameters] if parameters else [])],
        remappings=[
            ("image_raw", values["image_topic"]),
            ("camera_info", values["camera_info_topic"] or sibling_camera_info(values["image_topic"])),
            ("metadata", values["metadata_topic"]),
            ("image_enhanced", values["output_topic"]),
            ("enhanced/camera_info", values["output_camera_info_topic"]),
        ],
        output="screen",
    )
    return [*fast_dds(values["fastdds_profile"]), node]


def fast_dds(profile):
    """Load a Fast DDS profile in every process that is started after this.

    Fast DDS 3, with Kilted, renamed the variable.
    """
    if not profile or profile.lower() == "false":
        return []
    path = os.path.join(SHARE, "config", "fastdds.xml") if profile.lower() == "true" else profile  # noqa: PTH118
    old = os.environ.get("ROS_DISTRO") in ("humble", "iron", "jazzy")
    return [SetEnvironmentVariable(f"{'FASTRTPS' if old else 'FASTDDS'}_DEFAULT_PROFILES_FILE", path)]


def generate_launch_description():
    arguments = [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, (default, description) in ARGUMENTS.items()
    ]
    return LaunchDescription([*arguments, OpaqueFunction(function=describe)])
