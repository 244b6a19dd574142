"""How the process starts and ends: one line for the user's errors, and no traceback on a signal at any time."""

import os
import subprocess
import sys
import time
from pathlib import Path
from signal import SIGINT, SIGTERM

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")

NODE = (sys.executable, "-m", "lowlight_enhance.ros.main")
DEADLINE_S = 90.0

STUCK_WARM_UP = """
import sys, threading
from lowlight_enhance.core.enhancement.enhancer import Enhancer
warm_up = Enhancer.warm_up
def stuck(enhancer):
    if len(sys.argv) > 1 and enhancer.path.stem != sys.argv[1]:
        return warm_up(enhancer)
    print("stuck", flush=True)
    threading.Event().wait()
Enhancer.warm_up = stuck
from lowlight_enhance.ros.main import main
sys.exit(main(["--ros-args", *sys.argv[2:]]))
"""
"""The node, with a warm-up that never ends for the model named by the first argument, or for every model."""


def finished(command, **environment):
    return subprocess.run(
        command, capture_output=True, text=True, timeout=DEADLINE_S, check=False, env={**os.environ, **environment}
    )


def started(*command):
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def wait_for(process, text):
    """Read the output up to the line with ``text``."""
    for line in process.stdout:
        if text in line:
            return
    pytest.fail(f"ended without '{text}'")


def ended(process):
    """The rest of the output; the process must have ended with status 0 and without a traceback."""
    output, _ = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, output
    assert "Traceback" not in output
    return output


@pytest.mark.parametrize("name", ["providers", "threads", "model", "metadata.default_iso"])
def test_an_empty_list_in_a_parameter_file_is_one_line(tmp_path, name):
    path = tmp_path / "params.yaml"
    path.write_text(f"/**:\n  ros__parameters:\n    {name}: []\n")
    process = finished([*NODE, "--ros-args", "--params-file", str(path)])
    assert process.returncode == 2
    assert f"parameter '{name}': it has no value" in process.stderr
    assert "Traceback" not in process.stderr


@pytest.mark.parametrize(
    ("environment", "text"),
    [
        ({"HOME": "/proc/nowhere", "ROS_HOME": "", "ROS_LOG_DIR": ""}, "log directory"),
        ({"ROS_LOG_DIR": "/proc/nowhere"}, "log directory"),
        ({"ROS_DOMAIN_ID": "abc"}, "ROS_DOMAIN_ID"),
        ({"ROS_DOMAIN_ID": "233"}, "ROS_DOMAIN_ID"),
    ],
)
def test_a_bad_environment_is_one_line(environment, text):
    process = finished(NODE, **environment)
    assert process.returncode == 2
    lines = [line for line in process.stderr.splitlines() if line.startswith("enhance_node: ")]
    assert len(lines) == 1
    assert text in lines[0]
    assert "Traceback" not in process.stderr


@pytest.mark.parametrize("argument", ["use_sim_time:=abc", "qos_overrides./image_raw.subscription.depth:=-1"])
def test_a_parameter_that_rclpy_rejects_is_one_message(argument):
    process = finished([*NODE, "--ros-args", "-p", argument])
    assert process.returncode == 2
    assert argument.partition(":=")[0] in process.stderr
    assert "Traceback" not in process.stderr


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs /proc")
def test_an_interrupt_during_the_imports_ends_it_quietly():
    process = started(*NODE)
    maps, deadline = Path(f"/proc/{process.pid}/maps"), time.monotonic() + DEADLINE_S
    while "_multiarray_umath" not in maps.read_text():  # numpy, of which the node's own imports have just begun
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(SIGINT)
    ended(process)


@pytest.mark.parametrize("signals", [(SIGINT, SIGINT, SIGINT), (SIGTERM, SIGINT), (SIGINT, SIGTERM)])
def test_further_signals_while_it_ends_change_nothing(signals):
    process = started(*NODE)
    wait_for(process, "enhances /image_raw")
    for number in signals:
        if process.poll() is None:
            process.send_signal(number)
            time.sleep(0.02)
    ended(process)


@pytest.mark.parametrize("number", [SIGINT, SIGTERM])
def test_a_signal_ends_it_while_the_first_model_is_stuck(number):
    process = started(sys.executable, "-c", STUCK_WARM_UP)
    wait_for(process, "stuck")
    process.send_signal(number)
    ended(process)


def test_a_signal_ends_it_while_a_later_model_is_stuck(tiny_model, tmp_path):
    from ros_graph import PeerNode
    from tiny_model import write_tiny_model

    other = write_tiny_model(tmp_path / "other.onnx", gain=3.0)
    process = started(sys.executable, "-c", STUCK_WARM_UP, "other", "-p", f"model:={tiny_model}")
    wait_for(process, "enhances /image_raw")
    peer = PeerNode()
    try:
        assert peer.set_string("model", str(other)).successful
    finally:
        peer.close()
    wait_for(process, "stuck")
    process.send_signal(SIGTERM)
    ended(process)
