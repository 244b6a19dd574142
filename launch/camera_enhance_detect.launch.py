"""Starts a camera driver, the enhancement node and a detector that subscribes to the enhanced images.

With a USB camera and yolo_ros:

    ros2 launch lowlight_enhance camera_enhance_detect.launch.py

With a RealSense, its exposure metadata, and a Fast DDS profile for large images in all three processes:

    ros2 launch lowlight_enhance camera_enhance_detect.launch.py fastdds_profile:=true namespace:=camera \
        camera_package:=realsense2_camera camera_executable:=realsense2_camera_node camera_name:=camera \
        image_topic:=camera/color/image_raw metadata_topic:=camera/color/metadata \
        metadata_type:=realsense2_camera_msgs/msg/Metadata
"""

import os

from ament_index_python.packages import get_package_share_directory
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch_ros.actions import Node

SHARE = get_package_share_directory("lowlight_enhance")

ARGUMENTS = {
    "namespace": ("camera", "namespace of the three nodes"),
    "camera_package": ("v4l2_camera", "package of the camera driver; empty: do not start a driver"),
    "camera_executable": ("v4l2_camera_node", "executable of the camera driver"),
    "camera_name": ("camera_driver", "name of the driver's node"),
    "camera_params_file": ("", "parameters of the driver (YAML); empty: none"),
    "camera_driver": (
        "",
        "v4l2_camera, usb_cam, ...: read exposure and gain from the parameters of the driver's node; empty: do not",
    ),
    "image_topic": ("image_raw", "images of the driver"),
    "image_transport": ("", "raw or compressed; empty: as in params_file"),
    "camera_info_topic": ("", "calibration of the driver; empty: camera_info next to the image topic"),
    "metadata_topic": ("metadata", "ISO and exposure time from the driver"),
    "metadata_type": ("", "ROS type of metadata_topic; empty: as in params_file"),
    "output_topic": ("image_enhanced", "enhanced images"),
    "params_file": (os.path.join(SHARE, "config", "enhance.yaml"), "parameters of the node"),  # noqa: PTH118
    "model": ("", "ONNX model file or name of an included model; empty: as in params_file"),
    "fastdds_profile": ("", "Fast DDS profile for the three nodes: a path, or true for the included one; empty: none"),
    "detector_package": ("yolo_ros", "package of the detector; empty: do not start a detector"),
    "detector_executable": ("yolo_node", "executable of the detector"),
    "detector_name": ("yolo_node", "name of the detector's node"),
    "detector_params_file": ("", "parameters of the detector (YAML); empty: none"),
    "detector_image_topic": ("image_raw", "name of the image topic that the detector subscribes to, before remapping"),
}

ENHANCE_ARGUMENTS = (
    "namespace",
    "camera_driver",
    "image_topic",
    "image_transport",
    "camera_info_topic",
    "metadata_topic",
    "metadata_type",
    "output_topic",
    "params_file",
    "model",
    "fastdds_profile",
)


def describe(context):
    values = dict(context.launch_configurations)
    camera_node = values["camera_name"] if values["camera_driver"] else ""
    enhance = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(os.path.join(SHARE, "launch", "enhance.launch.py")),  # noqa: PTH118
        launch_arguments=[*((name, values[name]) for name in ENHANCE_ARGUMENTS), ("camera_node", camera_node)],
    )
    # The include comes first: it sets the Fast DDS profile, which the driver and the detector need too.
    actions = [enhance]
    if values["camera_package"]:
        actions.append(other_node("camera", values, []))
    if values["detector_package"]:
        actions.append(other_node("detector", values, [(values["detector_image_topic"], values["output_topic"])]))
    return actions


def other_node(role, values, remappings):
    params_file = values[f"{role}_params_file"]
    if params_file and not os.path.isfile(params_file):  # noqa: PTH113
        raise FileNotFoundError(f"{role}_params_file:={params_file}: there is no such file")
    return Node(
        package=values[f"{role}_package"],
        executable=values[f"{role}_executable"],
        name=values[f"{role}_name"],
        namespace=values["namespace"],
        parameters=[params_file] if params_file else [],
        remappings=remappings,
        output="screen",
    )


def generate_launch_description():
    arguments = [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, (default, description) in ARGUMENTS.items()
    ]
    return LaunchDescription([*arguments, OpaqueFunction(function=describe)])
