"""A recorded bag played through the enhancement node, on the bag's own clock; ends with the bag.

ros2 launch lowlight_enhance replay.launch.py bag:=night_flight image_topic:=/camera/image_raw
"""

import importlib.util
import os
import sys

from ament_index_python.packages import get_package_share_directory
from launch import LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    IncludeLaunchDescription,
    OpaqueFunction,
    Shutdown,
)
from launch.launch_description_sources import PythonLaunchDescriptionSource

SHARE = get_package_share_directory("lowlight_enhance")

ARGUMENTS = {
    "bag": (None, "the bag to play"),
    "rate": ("1.0", "speed; below 1.0 where the computer cannot enhance every frame in time"),
    "loop": ("false", "play it again and again"),
    "player": ("auto", "ros2bag, lowlight (lowlight replay), or auto: ros2bag where it is installed"),
    "delay": ("5.0", "seconds for the node to load its model before the first message"),
    "namespace": ("", "namespace of the node"),
    "image_topic": ("image_raw", "the bag's dark images"),
    "image_transport": ("", "raw or compressed; empty: as the params file says"),
    "camera_info_topic": ("", "the bag's calibration; empty: camera_info beside the image topic"),
    "metadata_topic": ("metadata", "the bag's capture metadata"),
    "metadata_type": ("", "its ROS type; empty: as the params file says"),
    "output_topic": ("image_enhanced", "enhanced images"),
    "params_file": (os.path.join(SHARE, "config", "enhance.yaml"), "parameters of the node"),  # noqa: PTH118
    "model": ("", "ONNX model file; empty: as the params file says, else the one shipped"),
    "fastdds_profile": ("", "Fast DDS profile for both: a path, or 'true' for the one shipped; empty: none"),
}

OF_THE_BAG = ("bag", "rate", "loop", "delay", "player")

CLOCK_HZ = "100"


def player(choice):
    if choice == "auto":
        return "lowlight" if importlib.util.find_spec("ros2bag") is None else "ros2bag"
    if choice not in ("ros2bag", "lowlight"):
        raise ValueError(f"player:={choice}: choose ros2bag, lowlight or auto")
    return choice


def describe(context):
    values = dict(context.launch_configurations)
    passed_on = [(name, values[name]) for name in ARGUMENTS if name not in OF_THE_BAG]
    enhance = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(os.path.join(SHARE, "launch", "enhance.launch.py")),  # noqa: PTH118
        launch_arguments=[*passed_on, ("use_sim_time", "true")],
    )
    command = [sys.executable, "-m", "lowlight_enhance.cli", "replay", values["bag"]]
    if player(values["player"]) == "ros2bag":
        command = ["ros2", "bag", "play", values["bag"], "--disable-keyboard-controls"]
    command += ["--clock", CLOCK_HZ, "--rate", values["rate"], "--delay", values["delay"]]
    if values["loop"].lower() == "true":
        command.append("--loop")
    return [enhance, ExecuteProcess(cmd=command, output="screen", on_exit=Shutdown(reason="the bag has ended"))]


def generate_launch_description():
    arguments = [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, (default, description) in ARGUMENTS.items()
    ]
    return LaunchDescription([*arguments, OpaqueFunction(function=describe)])
