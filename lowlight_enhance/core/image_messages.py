"""Image messages (sensor_msgs/msg/Image) to RGB arrays and back, with cv_bridge or without it.

Messages are read by attribute: rclpy's and recorded ones serve alike. Colour conversion and demosaicing (bilinear) are
OpenCV's either way, so the pixels are the same with cv_bridge as without.
"""

from __future__ import annotations

import array
import functools
import operator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lowlight_enhance.core.errors import ConfigError, ImageError
from lowlight_enhance.core.model_input import Rgb, check_rgb

OUTPUT_ENCODINGS = ("same", "bgr8", "rgb8", "mono8")
"""What an enhanced image may be written as; ``same`` keeps the input's channel order and count."""

MIN_BAYER_SIDE = 3
"""A smaller mosaic does not show every colour in reach of each pixel: OpenCV would return black."""


@dataclass(frozen=True, slots=True)
class _Layout:
    """How an encoding lays out its pixels.

    Attributes:
        channels: values of one pixel.
        itemsize: bytes of one value.
        to_rgb: OpenCV's conversion code; None where the order is R, G, B already.
        same: the 8-bit encoding without alpha that is closest.
    """

    channels: int
    itemsize: int
    to_rgb: int | None
    same: str

    @property
    def pixel_bytes(self) -> int:
        return self.channels * self.itemsize


# OpenCV before 4.6 names a mosaic by its second row and column alone: RGGB is "BG" there.
_CHANNEL_ORDERS: dict[str, tuple[int, int | None, str]] = {
    "rgb": (3, None, "rgb8"),
    "bgr": (3, cv2.COLOR_BGR2RGB, "bgr8"),
    "rgba": (4, cv2.COLOR_RGBA2RGB, "rgb8"),
    "bgra": (4, cv2.COLOR_BGRA2RGB, "bgr8"),
    "mono": (1, cv2.COLOR_GRAY2RGB, "mono8"),
    "bayer_rggb": (1, cv2.COLOR_BayerBG2RGB, "bgr8"),
    "bayer_bggr": (1, cv2.COLOR_BayerRG2RGB, "bgr8"),
    "bayer_gbrg": (1, cv2.COLOR_BayerGR2RGB, "bgr8"),
    "bayer_grbg": (1, cv2.COLOR_BayerGB2RGB, "bgr8"),
}

_LAYOUTS = {
    f"{order}{bits}": _Layout(channels, bits // 8, to_rgb, same)
    for order, (channels, to_rgb, same) in _CHANNEL_ORDERS.items()
    for bits in (8, 16)
}

SUPPORTED_ENCODINGS = tuple(_LAYOUTS)

_FROM_RGB = {"rgb8": None, "bgr8": cv2.COLOR_RGB2BGR, "mono8": cv2.COLOR_RGB2GRAY}


@dataclass(frozen=True, slots=True)
class _Frame:
    """The fields of a message, checked: ``data`` holds at least ``height`` rows of ``step`` bytes."""

    layout: _Layout
    height: int
    width: int
    step: int
    is_bigendian: bool
    data: NDArray[np.uint8]


def rgb_from_message(msg: Any) -> Rgb:
    """The picture of an Image message.

    Args:
        msg: any object with ``height``, ``width``, ``encoding``, ``is_bigendian``, ``step`` (bytes of a row, padding
            included) and ``data`` (``array.array``, ``bytes``, NumPy array or another contiguous buffer).

    Returns:
        (H, W, 3) R, G, B, contiguous and independent of the message; uint16 for 16-bit encodings, else uint8.

    Raises:
        ImageError: an encoding that is not in ``SUPPORTED_ENCODINGS``, zero size, a step below a row's bytes, a buffer
            shorter than height x step, or fields that are no image's.
    """
    frame = _checked(msg)
    to_rgb = frame.layout.to_rgb
    if to_rgb is None:
        return np.copy(_pixels(frame), order="C")  # type: ignore[return-value]
    through_bridge = _through_cv_bridge(msg, frame)
    if through_bridge is not None:
        return through_bridge
    return cv2.cvtColor(_pixels(frame), to_rgb)  # type: ignore[return-value]


def output_encoding(input_encoding: str, choice: str) -> str:
    """Encoding of the enhanced image for an input of ``input_encoding``.

    Args:
        input_encoding: one of ``SUPPORTED_ENCODINGS``.
        choice: one of ``OUTPUT_ENCODINGS``; ``same``: the input's order and count of channels at 8 bit without alpha,
            and bgr8 for Bayer.

    Raises:
        ConfigError: another choice.
        ImageError: another input encoding.
    """
    if choice not in OUTPUT_ENCODINGS:
        raise ConfigError(f"output_encoding '{choice}': must be one of {', '.join(OUTPUT_ENCODINGS)}")
    same = _layout(input_encoding).same
    return same if choice == "same" else choice


def fill_message(msg: Any, rgb: Rgb, encoding: str, header: Any) -> None:
    """Write a picture into an Image message, without row padding.

    Args:
        msg: a fresh message. rclpy's ``data`` is filled in place, which is the only way that is fast in every ROS 2
            release; other messages get a flat NumPy array.
        rgb: (H, W, 3) uint8.
        encoding: ``rgb8``, ``bgr8`` or ``mono8`` (ITU-R BT.601 luma).
        header: taken over as it is.

    Raises:
        ConfigError: another encoding.
        ImageError: ``rgb`` is not such an array.
    """
    if encoding not in _FROM_RGB:
        raise ConfigError(f"cannot write an image as '{encoding}'; use one of {', '.join(_FROM_RGB)}")
    check_rgb(rgb)
    if rgb.dtype != np.uint8:
        raise ImageError(f"image of type {rgb.dtype}: messages are written from uint8; scale it to 8 bit first")
    from_rgb = _FROM_RGB[encoding]
    pixels = np.ascontiguousarray(rgb if from_rgb is None else cv2.cvtColor(rgb, from_rgb), np.uint8)
    msg.header = header
    msg.height, msg.width = pixels.shape[:2]
    msg.encoding = encoding
    msg.is_bigendian = 0
    msg.step = pixels.nbytes // pixels.shape[0]
    if not isinstance(msg.data, array.array):
        msg.data = pixels.reshape(-1)
        return
    if msg.data:
        msg.data = array.array("B")
    msg.data.frombytes(pixels.data)


def stamp_ns(stamped: Any) -> int:
    """Nanoseconds of a stamp, of a header, or of a message that has one.

    Raises:
        ImageError: it holds no stamp.
    """
    header = getattr(stamped, "header", stamped)
    stamp = getattr(header, "stamp", header)
    try:
        return operator.index(stamp.sec) * 1_000_000_000 + operator.index(stamp.nanosec)
    except (AttributeError, TypeError) as error:
        raise ImageError(f"{type(stamped).__name__} has no stamp (sec, nanosec); check the topic's type") from error


def _layout(encoding: Any) -> _Layout:
    layout = _LAYOUTS.get(encoding) if isinstance(encoding, str) else None
    if layout is None:
        raise ImageError(
            f"image message: encoding {str(encoding)[:40]!r} is not supported; set the camera driver to one of "
            f"{', '.join(SUPPORTED_ENCODINGS)}"
        )
    return layout


def _checked(msg: Any) -> _Frame:
    try:
        encoding = msg.encoding
        height, width, step = operator.index(msg.height), operator.index(msg.width), operator.index(msg.step)
        is_bigendian = bool(operator.index(msg.is_bigendian))
        data = np.frombuffer(msg.data, np.uint8)
    except (AttributeError, TypeError, ValueError, BufferError) as error:
        raise ImageError(
            f"{type(msg).__name__} cannot be read as an image message ({error}); check the image topic's type"
        ) from error
    layout = _layout(encoding)
    what = f"image message {width}x{height} {encoding}"
    if height < 1 or width < 1:
        raise ImageError(f"{what}: zero size; check the camera driver")
    if step < width * layout.pixel_bytes:
        raise ImageError(
            f"{what}: step {step} is below the {width * layout.pixel_bytes} bytes of a row; check the camera driver's "
            "encoding"
        )
    if data.size < height * step:
        raise ImageError(
            f"{what}: data of {data.size} bytes is shorter than height x step ({height * step}); the message was cut "
            "off or the camera driver is at fault"
        )
    if encoding.startswith("bayer") and min(height, width) < MIN_BAYER_SIDE:
        raise ImageError(f"{what}: too small to demosaic; {MIN_BAYER_SIDE}x{MIN_BAYER_SIDE} is the least")
    return _Frame(layout, height, width, step, is_bigendian, data)


def _pixels(frame: _Frame) -> Rgb:
    """(H, W) or (H, W, channels) in native byte order, sharing the message's memory where that is possible."""
    layout = frame.layout
    dtype = np.dtype(f"{'>' if frame.is_bigendian else '<'}u{layout.itemsize}")
    shape: tuple[int, ...] = (frame.height, frame.width)
    strides: tuple[int, ...] = (frame.step, layout.pixel_bytes)
    if layout.channels > 1:
        shape, strides = (*shape, layout.channels), (*strides, layout.itemsize)
    stored: Rgb = np.ndarray(shape, dtype, frame.data, strides=strides)
    return np.require(stored, dtype.newbyteorder("="), ["ALIGNED"])


def _through_cv_bridge(msg: Any, frame: _Frame) -> Rgb | None:
    """What cv_bridge makes of it; None without cv_bridge, and in cases that some of its releases get wrong.

    Those are big-endian messages (ignored, or AttributeError with NumPy 2) and padded rows (step ignored, or rounded
    to whole pixels: sheared pictures).
    """
    if frame.is_bigendian or frame.step != frame.width * frame.layout.pixel_bytes:
        return None
    bridge = _cv_bridge()
    return None if bridge is None else _bridged(bridge, msg, frame.height, frame.width, frame.layout.itemsize)


def _bridged(bridge: Any, msg: Any, height: int, width: int, itemsize: int) -> Rgb | None:
    try:
        rgb = bridge.imgmsg_to_cv2(msg, f"rgb{8 * itemsize}")
    except Exception:  # whatever a binary built for other versions of NumPy or OpenCV raises, we can do without it
        return None
    if not isinstance(rgb, np.ndarray) or rgb.shape != (height, width, 3) or rgb.dtype != np.dtype(f"u{itemsize}"):
        return None
    return np.ascontiguousarray(rgb)


@functools.cache
def _cv_bridge() -> Any | None:
    """A CvBridge that converts a small image rightly, or None."""
    try:
        from cv_bridge import CvBridge  # type: ignore[import-not-found,unused-ignore]

        bridge = CvBridge()
    except Exception:  # not installed, or built for other versions of NumPy or OpenCV
        return None
    bgr = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)
    probe = SimpleNamespace(height=2, width=3, encoding="bgr8", is_bigendian=0, step=9, data=bgr.tobytes())
    rgb = _bridged(bridge, probe, 2, 3, 1)
    return bridge if rgb is not None and np.array_equal(rgb, bgr[:, :, ::-1]) else None
