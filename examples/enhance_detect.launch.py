r"""Starts a camera driver, the enhancement node, and the example detector with drawn boxes.

    ros2 launch $(ros2 pkg prefix --share lowlight_enhance)/examples/enhance_detect.launch.py \
        detector_model:=/data/yolox_nano.onnx

Topics with the default namespace: /camera/image_raw, /camera/image_enhanced, /camera/detections, and
/camera/detections/image with the boxes. With an empty camera_package:= no driver is started, for a camera that already
runs.
"""

import os
import sys

from ament_index_python.packages import get_package_share_directory
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, ExecuteProcess, IncludeLaunchDescription, OpaqueFunction
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch_ros.actions import Node

SHARE = get_package_share_directory("lowlight_enhance")

ARGUMENTS = {
    "namespace": ("camera", "namespace of the nodes"),
    "camera_package": ("v4l2_camera", "package of the camera driver; empty: do not start a driver"),
    "camera_executable": ("v4l2_camera_node", "executable of the camera driver"),
    "image_topic": ("image_raw", "images of the driver"),
    "output_topic": ("image_enhanced", "enhanced images"),
    "fastdds_profile": ("", "Fast DDS profile for large images: a path, or true for the included one; empty: none"),
    "detector_model": (None, "ONNX file of the detector (required)"),
    "detector_classes": ("", "class names, separated by commas; empty: those of the file"),
    "confidence": ("0.25", "lowest score of a published box"),
}


def describe(context):
    values = dict(context.launch_configurations)
    names = ("namespace", "image_topic", "output_topic", "fastdds_profile")
    enhance = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(os.path.join(SHARE, "launch", "enhance.launch.py")),  # noqa: PTH118
        launch_arguments=[(name, values[name]) for name in names],
    )
    # The include comes first: it sets the Fast DDS profile, which the other nodes need too.
    return [enhance, *camera(values), detector(values)]


def camera(values):
    if not values["camera_package"]:
        return []
    node = Node(
        package=values["camera_package"],
        executable=values["camera_executable"],
        name="camera_driver",
        namespace=values["namespace"],
        parameters=[],
        remappings=[],
        output="screen",
    )
    return [node]


def detector(values):
    script = os.path.join(SHARE, "examples", "detector_node.py")  # noqa: PTH118
    parameters = {
        "model": values["detector_model"],
        "classes": values["detector_classes"],
        "confidence": float(values["confidence"]),
    }
    # Quoted, because ROS 2 reads the values of -p as YAML: 0 or a,b would not be texts.
    parameter_arguments = [part for name, value in parameters.items() for part in ("-p", f"{name}:={quoted(value)}")]
    remaps = ["-r", f"__ns:=/{values['namespace'].strip('/')}", "-r", f"image:={values['output_topic']}"]
    return ExecuteProcess(cmd=[sys.executable, script, "--ros-args", *remaps, *parameter_arguments], output="screen")


def quoted(value):
    return str(value) if isinstance(value, float) else "'" + value.replace("'", "''") + "'"


def generate_launch_description():
    arguments = [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, (default, description) in ARGUMENTS.items()
    ]
    return LaunchDescription([*arguments, OpaqueFunction(function=describe)])
