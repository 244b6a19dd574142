"""Image messages (sensor_msgs/msg/Image) to RGB arrays and back."""

from __future__ import annotations

from typing import Any

from lowlight_enhance.core.model_input import Rgb

OUTPUT_ENCODINGS = ("same", "bgr8", "rgb8", "mono8")


def rgb_from_message(msg: Any) -> Rgb:
    """The picture as (H, W, 3) RGB."""
    raise NotImplementedError


def output_encoding(input_encoding: str, choice: str) -> str:
    """Encoding of the enhanced image."""
    raise NotImplementedError


def fill_message(msg: Any, rgb: Rgb, encoding: str, header: Any) -> None:
    """Write (H, W, 3) uint8 ``rgb`` into a message."""
    raise NotImplementedError


def stamp_ns(header_or_stamp: Any) -> int:
    """Nanoseconds of a header's stamp, or of a stamp."""
    stamp = getattr(header_or_stamp, "stamp", header_or_stamp)
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)
