"""Starts the enhancement node and a player for a recorded bag, with the clock of the bag. Ends when the bag ends.

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
    "bag": (None, "folder or file of the bag"),
    "rate": ("1.0", "playback speed; below 1.0 if the computer cannot enhance every frame in time"),
    "loop": ("false", "true: repeat the bag until the launch is stopped"),
    "player": ("auto", "ros2bag, lowlight (lowlight replay), or auto: ros2bag if it is installed"),
    "delay": ("5.0", "seconds to wait before the first message, in which the node loads its model"),
    "namespace": ("", "namespace of the node"),
    "image_topic": ("image_raw", "dark images in the bag"),
    "image_transport": ("", "raw or compressed; empty: as in params_file"),
    "camera_info_topic": ("", "calibration in the bag; empty: camera_info next to the image topic"),
    "metadata_topic": ("metadata", "capture metadata in the bag"),
    "metadata_type": ("", "ROS type of metadata_topic; empty: as in params_file"),
    "output_topic": ("image_enhanced", "enhanced images"),
    "params_file": (os.path.join(SHARE, "config", "enhance.yaml"), "parameters of the node"),  # noqa: PTH118
    "model": ("", "ONNX model file or name of an included model; empty: as in params_file"),
    "fastdds_profile": ("", "Fast DDS profile for node and player: a path, or true for the included one; empty: none"),
}

CHOICES = {"loop": ["true", "True", "false", "False"], "player": ["auto", "ros2bag", "lowlight"]}
"""The values of arguments that do not take any text."""

PLAYER_ARGUMENTS = ("bag", "rate", "loop", "delay", "player")
"""Arguments that enhance.launch.py does not have."""

CLOCK_HZ = "100"


def chosen_player(choice):
    if choice == "auto":
        return "lowlight" if importlib.util.find_spec("ros2bag") is None else "ros2bag"
    return choice


def describe(context):
    values = dict(context.launch_configurations)
    # Checked before the node starts, because the log of the node would hide the message of the player.
    if not os.path.exists(values["bag"]):  # noqa: PTH110
        raise FileNotFoundError(f"bag:={values['bag']}: there is no such bag")
    passed_on = [(name, values[name]) for name in ARGUMENTS if name not in PLAYER_ARGUMENTS]
    enhance = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(os.path.join(SHARE, "launch", "enhance.launch.py")),  # noqa: PTH118
        launch_arguments=[*passed_on, ("use_sim_time", "true")],
    )
    command = [sys.executable, "-m", "lowlight_enhance.cli", "replay", values["bag"]]
    if chosen_player(values["player"]) == "ros2bag":
        command = ["ros2", "bag", "play", values["bag"], "--disable-keyboard-controls"]
    command += ["--clock", CLOCK_HZ, "--rate", values["rate"], "--delay", values["delay"]]
    if values["loop"].lower() == "true":
        command.append("--loop")
    return [enhance, ExecuteProcess(cmd=command, output="screen", on_exit=Shutdown(reason="the player has ended"))]


def generate_launch_description():
    arguments = [
        DeclareLaunchArgument(name, default_value=default, description=description, choices=CHOICES.get(name))
        for name, (default, description) in ARGUMENTS.items()
    ]
    return LaunchDescription([*arguments, OpaqueFunction(function=describe)])
