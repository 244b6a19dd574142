"""The shipped Fast DDS profile loads, and lets a best-effort subscriber receive what it loses without it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")
pytest.importorskip("sensor_msgs", reason="needs ROS 2 (sensor_msgs)")

from rclpy.utilities import get_rmw_implementation_identifier

PROFILE = Path(__file__).parents[2] / "config" / "fastdds.xml"
PROBE = Path(__file__).with_name("stream_probe.py")
FRAMES = 60


def received(variables):
    """Number of frames received of a best-effort 640x480 stream between two processes."""
    environment = {**os.environ, **variables}
    receiver = subprocess.Popen(
        [sys.executable, PROBE, "receive", str(FRAMES)], env=environment, stdout=subprocess.PIPE, text=True
    )
    try:
        subprocess.run([sys.executable, PROBE, "send", str(FRAMES)], env=environment, check=True, timeout=300)
        return int(receiver.communicate(timeout=300)[0].split()[-1])
    finally:
        receiver.kill()
        receiver.wait()


def test_profile_saves_a_best_effort_stream():
    if not get_rmw_implementation_identifier().startswith("rmw_fastrtps"):
        pytest.skip("the profile is for Fast DDS, another middleware is in use")
    newest = "FASTDDS" if os.environ.get("ROS_DISTRO") not in ("humble", "iron", "jazzy") else "FASTRTPS"
    with_profile = received({f"{newest}_DEFAULT_PROFILES_FILE": str(PROFILE)})
    without = received({})
    assert with_profile >= 0.9 * FRAMES
    assert with_profile > without
