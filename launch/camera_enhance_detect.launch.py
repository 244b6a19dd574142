"""A camera driver, the enhancement node and a detector that looks at the enhanced images.

With a USB camera and yolo_ros:

    ros2 launch lowlight_enhance camera_enhance_detect.launch.py

With a RealSense, its exposure metadata, and reliable transport of large images between the processes:

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
    "namespace": ("camera", "namespace of all three"),
    "camera_package": ("v4l2_camera", "package of the camera driver; empty: the driver runs already"),
    "camera_executable": ("v4l2_camera_node", "executable of the camera driver"),
    "camera_name": ("camera_driver", "name of the driver's node"),
    "camera_params_file": ("", "parameters of the driver (YAML)"),
    "camera_driver": ("", "v4l2_camera, usb_cam, ...: read exposure and gain from the driver's parameters"),
    "image_topic": ("image_raw", "the driver's images"),
    "image_transport": ("", "raw or compressed; empty: as the params file says"),
    "camera_info_topic": ("", "the driver's calibration; empty: camera_info beside the image topic"),
    "metadata_topic": ("metadata", "the driver's capture metadata"),
    "metadata_type": ("", "its ROS type; empty: as the params file says"),
    "output_topic": ("image_enhanced", "enhanced images"),
    "params_file": (os.path.join(SHARE, "config", "enhance.yaml"), "parameters of the node"),  # noqa: PTH118
    "model": ("", "ONNX model file; empty: as the params file says, else the one shipped"),
    "fastdds_profile": ("", "Fast DDS profile for all three: a path, or 'true' for the one shipped; empty: none"),
    "detector_package": ("yolo_ros", "package of the detector; empty: none is started"),
    "detector_executable": ("yolo_node", "executable of the detector"),
    "detector_name": ("yolo_node", "name of the detector's node"),
    "detector_params_file": ("", "parameters of the detector (YAML)"),
    "detector_image_topic": ("image_raw", "the name by which the detector subscribes its images"),
}

PASSED_ON = (
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
        launch_arguments=[*((name, values[name]) for name in PASSED_ON), ("camera_node", camera_node)],
    )
    # First, because the driver and the detector must start with the Fast DDS profile that it sets.
    actions = [enhance]
    if values["camera_package"]:
        actions.append(other_node("camera", values, []))
    if values["detector_package"]:
        actions.append(other_node("detector", values, [(values["detector_image_topic"], values["output_topic"])]))
    return actions


def other_node(role, values, remappings):
    params_file = values[f"{role}_params_file"]
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
