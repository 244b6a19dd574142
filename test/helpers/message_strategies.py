"""Hypothesis strategies for messages on a camera's topics: valid and damaged images, metadata and calibrations."""

from __future__ import annotations

import json
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import cv2
import message_kinds
import numpy as np
from hypothesis import strategies as st
from image_cases import (
    BAYER_ENCODINGS,
    ENCODINGS,
    YUV_ENCODINGS,
    any_message,
    compressed_message,
    random_rgb,
)

CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
DIAGNOSTICS = "diagnostic_msgs/msg/DiagnosticArray"
FRAME_ID = "camera_optical"
S = 1_000_000_000

LONGEST_SIDE = 40
LEAST_BAYER_SIDE = 3
USUAL_SIZE = (24, 32)
"""(height, width) of one image in four, and of some calibrations."""

COMPRESSED = [
    (".jpg", 8, 3, "jpeg"),
    (".jpg", 8, 3, "rgb8; jpeg compressed bgr8"),
    (".jpg", 8, 1, "mono8; jpeg compressed mono8"),
    (".png", 8, 3, "png"),
    (".png", 8, 3, "bgr8; png compressed bgr8"),
    (".png", 8, 1, "mono8; png compressed mono8"),
    (".png", 16, 1, "mono16; png compressed mono16"),
    (".png", 16, 3, ""),
]
"""Suffix, bits, channels and ``format`` of compressed images."""


@dataclass(frozen=True)
class GeneratedMessage:
    """A message on one of the camera's topics.

    Attributes:
        message: the message object.
        type_name: ROS type; empty for an image.
        size: (height, width) that the header of an image gives; None for damaged files and for other messages.
        is_good: an image that must be enhanced.
    """

    message: Any
    type_name: str = ""
    size: tuple[int, int] | None = None
    is_good: bool = False


sides = st.integers(1, LONGEST_SIDE)
sizes = st.one_of(
    st.just(USUAL_SIZE), st.tuples(st.just(1), sides), st.tuples(sides, st.just(1)), st.tuples(sides, sides)
)
usual_stamps_ns = st.integers(1, 5).map(lambda frame: 1000 * S + frame * S // 30)
stamps_ns = st.one_of(usual_stamps_ns, usual_stamps_ns, usual_stamps_ns, st.integers(0, 2**31 * S - 1))
"""Mostly stamps of a camera at 30 Hz, in any order."""


@st.composite
def pictures(draw: st.DrawFn, kind: str = "plain") -> GeneratedMessage:
    """Return an Image or, one time in four, a CompressedImage. One in four is damaged."""
    is_damaged = draw(st.integers(0, 3)) == 0
    make = _compressed if draw(st.integers(0, 3)) == 0 else _raw
    sent = make(draw, kind, is_damaged)
    sent.message.header = message_kinds.header(kind, draw(stamps_ns), draw(st.sampled_from(["", FRAME_ID])))
    return sent


def _raw(draw: st.DrawFn, kind: str, is_damaged: bool) -> GeneratedMessage:
    encoding, (height, width) = draw(st.sampled_from(ENCODINGS)), draw(sizes)
    if encoding in YUV_ENCODINGS and encoding != "nv24":
        width += width % 2
        height += height % 2 if encoding.startswith("nv") else 0
    message = any_message(encoding, (height, width), draw(st.integers(0, 99)), kind, draw(st.integers(0, 9)))
    message.is_bigendian = draw(st.integers(0, 1))
    if is_damaged:
        damage = draw(st.sampled_from(["cut", "step", "height", "width", "encoding"]))
        if damage == "cut":
            message.data = message.data[: draw(st.integers(0, len(message.data) - 1))]
        elif damage == "encoding":
            message.encoding = draw(st.sampled_from([*ENCODINGS, "", "jpeg2000", "bayer_rggb8 "]))
        else:
            setattr(message, damage, draw(st.integers(0, 3 * LONGEST_SIDE) | st.just(2**32 - 1)))
    is_seen = encoding not in BAYER_ENCODINGS or min(height, width) >= LEAST_BAYER_SIDE
    is_good = is_seen and not is_damaged
    return GeneratedMessage(message, size=(message.height, message.width), is_good=is_good)


def _compressed(draw: st.DrawFn, kind: str, is_damaged: bool) -> GeneratedMessage:
    (suffix, bits, channels, picture_format), size = draw(st.sampled_from(COMPRESSED)), draw(sizes)
    pixels = random_rgb(*size, bits, draw(st.integers(0, 99)))[:, :, :channels]
    content = cv2.imencode(suffix, np.ascontiguousarray(pixels))[1].tobytes()
    if is_damaged:
        start, end = sorted(draw(st.tuples(*[st.integers(0, len(content))] * 2)))
        content = content[:start] + draw(st.binary(max_size=4)) + content[end:]
    message = compressed_message(content, picture_format, kind)
    return GeneratedMessage(message, size=None if is_damaged else size, is_good=not is_damaged)


numbers = st.sampled_from([4, 8, 100, 5000, 30_000, 0, -1, -9999, 2**31, 1e300])
texts = numbers.map(str) | st.sampled_from(["", "nan", "inf", "n/a", "8.0"])


@st.composite
def diagnostics(draw: st.DrawFn, kind: str = "plain") -> GeneratedMessage:
    """Metadata of camera_ros, with values that may be invalid."""
    level = draw(st.sampled_from([0, 0, 0, 1, 2]))
    pairs = draw(st.lists(st.tuples(st.sampled_from(["ExposureTime", "AnalogueGain", "DigitalGain", "Lux"]), texts)))
    values = [message_kinds.message(kind, "diagnostic_msgs/msg/KeyValue", key=k, value=v) for k, v in pairs]
    status = message_kinds.message(
        kind,
        "diagnostic_msgs/msg/DiagnosticStatus",
        level=bytes([level]) if kind == "rclpy" else level,
        name="",
        message="",
        hardware_id="",
        values=values,
    )
    header = message_kinds.header(kind, draw(stamps_ns), FRAME_ID)
    message = message_kinds.message(kind, DIAGNOSTICS, header=header, status=[status])
    return GeneratedMessage(message, DIAGNOSTICS)


@st.composite
def metadata(draw: st.DrawFn) -> GeneratedMessage:
    """Return a message of some driver."""
    header = message_kinds.header("plain", draw(stamps_ns), FRAME_ID)
    values = {"actual_exposure": draw(numbers), "gain_level": draw(numbers), "auto_exposure": draw(st.integers(0, 1))}
    fields = {
        "realsense2_camera_msgs/msg/Metadata": {"json_data": draw(st.just(json.dumps(values)) | texts)},
        "flir_camera_msgs/msg/ImageMetaData": {"exposure_time": draw(numbers), "gain": draw(numbers)},
        "pylon_ros2_camera_interfaces/msg/CurrentParams": {
            "exposure": draw(numbers),
            "gain": draw(numbers),
            "success": draw(st.booleans()),
        },
    }
    type_name = draw(st.sampled_from(sorted(fields)))
    return GeneratedMessage(SimpleNamespace(header=header, **fields[type_name]), type_name)


@st.composite
def calibrations(draw: st.DrawFn) -> GeneratedMessage:
    """Return a camera_info of some size, with binning."""
    height, width = draw(sizes)
    binning = draw(st.integers(0, 2))
    message = SimpleNamespace(
        header=message_kinds.header("plain", 7, FRAME_ID),
        height=height * max(binning, 1),
        width=width * max(binning, 1),
        k=[100.0, 0.0, width / 2, 0.0, 100.0, height / 2, 0.0, 0.0, 1.0],
        p=[100.0, 0.0, width / 2, 0.0, 0.0, 100.0, height / 2, 0.0, 0.0, 0.0, 1.0, 0.0],
        binning_x=binning,
        binning_y=binning,
        roi=SimpleNamespace(x_offset=0, y_offset=0, height=0, width=0, do_rectify=False),
    )
    return GeneratedMessage(message, CAMERA_INFO)
