"""Message objects of every kind that the package accepts: rclpy messages, rosbags messages, and plain objects."""

from __future__ import annotations

import functools
from types import SimpleNamespace
from typing import Any

import pytest

KINDS = ("plain", "recorded", "rclpy")


def stamp(ns: int) -> dict[str, int]:
    return {"sec": ns // 1_000_000_000, "nanosec": ns % 1_000_000_000}


def header(kind: str, stamp_ns: int = 0, frame_id: str = "camera_optical") -> Any:
    time = message(kind, "builtin_interfaces/msg/Time", **stamp(stamp_ns))
    return message(kind, "std_msgs/msg/Header", stamp=time, frame_id=frame_id)


def message(kind: str, type_name: str, **fields: Any) -> Any:
    """Return a message of one kind. Skip the test if its package is not installed."""
    if kind == "plain":
        return SimpleNamespace(**fields)
    package, _, name = type_name.split("/")
    if kind == "rclpy":
        pytest.importorskip("rclpy")
        return getattr(pytest.importorskip(f"{package}.msg"), name)(**fields)
    return _recorded_types()[type_name](**fields)


@functools.cache
def _recorded_types() -> Any:
    typesys = pytest.importorskip("rosbags.typesys")
    return typesys.get_typestore(typesys.Stores.ROS2_HUMBLE).types
