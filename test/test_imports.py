"""Each package can be imported without the libraries that it must not need, such as torch on the robot."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

SCRIPT = """
import importlib, pkgutil, sys

blocked, names = sys.argv[1].split(","), sys.argv[2:]

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in blocked:
            raise ModuleNotFoundError(f"{name} is blocked", name=name)

sys.meta_path.insert(0, Blocker())
for name in names:
    module = importlib.import_module(name)
    for found in pkgutil.walk_packages(getattr(module, "__path__", []), name + "."):
        importlib.import_module(found.name)
        print(found.name)
"""

TRAINING_ONLY = "torch,torchmetrics,accelerate,tensorboard,onnx,onnxscript,rawpy,matplotlib"
ROS = "rclpy,rcl_interfaces,sensor_msgs,std_msgs,diagnostic_msgs,lifecycle_msgs,cv_bridge"
BAGS = "rosbags,apsw,tqdm"
OPTIONAL = "PIL,skimage,yaml,openvino,av,ray"


def imported(blocked: str, *names: str) -> list[str]:
    """Import everything below ``names`` with the modules ``blocked`` unavailable; returns the imported modules."""
    process = subprocess.run(
        [sys.executable, "-c", SCRIPT, blocked, *names], capture_output=True, text=True, timeout=300, check=False
    )
    assert process.returncode == 0, process.stderr
    return process.stdout.split()


def test_core_pictures_and_cli_need_neither_torch_nor_ros_nor_rosbags() -> None:
    modules = imported(
        ",".join((TRAINING_ONLY, ROS, BAGS, OPTIONAL)),
        "lowlight_enhance.core",
        "lowlight_enhance.tools.image",
        "lowlight_enhance.tools.benchmark.pipeline_benchmark",
        "lowlight_enhance.cli",
    )
    assert "lowlight_enhance.core.enhancement.enhancer" in modules


@pytest.mark.skipif(importlib.util.find_spec("rosbags") is None, reason="rosbags is not installed")
@pytest.mark.skipif(importlib.util.find_spec("plotly") is None, reason="the extra 'report' is not installed")
def test_file_tools_and_evaluation_need_neither_torch_nor_ros() -> None:
    modules = imported(
        ",".join((TRAINING_ONLY, ROS, OPTIONAL)),
        "lowlight_enhance.tools.bags",
        "lowlight_enhance.tools.video",
        "lowlight_enhance.evaluation",
    )
    assert {"lowlight_enhance.evaluation.bags", "lowlight_enhance.tools.bags.enhance"} <= set(modules)


@pytest.mark.skipif(importlib.util.find_spec("rclpy") is None, reason="rclpy is not installed")
def test_ros_needs_no_torch() -> None:
    assert "lowlight_enhance.ros.node" in imported(TRAINING_ONLY + ",openvino", "lowlight_enhance.ros")


def test_blocked_modules_cannot_be_imported() -> None:
    script = SCRIPT.replace("for name in names", "import yaml.nodes\nfor name in names")
    process = subprocess.run(
        [sys.executable, "-c", script, "yaml", "json"], capture_output=True, text=True, timeout=300, check=False
    )
    assert "yaml is blocked" in process.stderr


def test_the_command_line_starts_without_numpy() -> None:
    assert imported("numpy,cv2,onnxruntime," + TRAINING_ONLY + "," + ROS + "," + BAGS, "lowlight_enhance.cli") == []
