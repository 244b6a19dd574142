"""Image messages (sensor_msgs/msg/Image and CompressedImage) to RGB arrays and back, with cv_bridge or without it.

Messages are read by attribute: rclpy's and recorded ones serve alike. Colour conversion and demosaicing (bilinear) are
OpenCV's either way, so the pixels are the same with cv_bridge as without.
"""

from __future__ import annotations

import array
import operator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lowlight_enhance.core.errors import ConfigError, ImageError
from lowlight_enhance.core.imaging import compressed
from lowlight_enhance.core.imaging.cv_bridge_converter import convert_with_cv_bridge
from lowlight_enhance.core.imaging.encodings import (
    CV_BRIDGE_ENCODINGS,
    FROM_RGB_CODES,
    OUTPUT_ENCODINGS,
    PACKED,
    SEMIPLANAR_444,
    SUPPORTED_ENCODINGS,
    Layout,
    check_image_size,
    check_output_encoding,
    layout_of,
    output_encoding,
)
from lowlight_enhance.core.inference.model_input import Rgb, check_rgb

__all__ = [
    "OUTPUT_ENCODINGS",
    "SUPPORTED_ENCODINGS",
    "decode",
    "fill_compressed",
    "fill_message",
    "output_encoding",
    "rgb_from_message",
    "stamp_ns",
]

# R, G, B of (Y, U, V, 1) by BT.601 with limited range: Y 16..235, U and V 16..240 around 128.
_Y, _VR, _UG, _VG, _UB = 255 / 219, 1.402 * 255 / 224, -0.344136 * 255 / 224, -0.714136 * 255 / 224, 1.772 * 255 / 224
_BT601 = np.array(
    [
        [_Y, 0.0, _VR, -16 * _Y - 128 * _VR],
        [_Y, _UG, _VG, -16 * _Y - 128 * (_UG + _VG)],
        [_Y, _UB, 0.0, -16 * _Y - 128 * _UB],
    ]
)
_BLACK = np.uint8(16)


@dataclass(frozen=True, slots=True)
class _Frame:
    """The fields of a message, checked: ``data`` holds all that ``height`` rows of ``step`` bytes imply."""

    layout: Layout
    height: int
    width: int
    step: int
    is_bigendian: bool
    data: NDArray[np.uint8]


def decode(msg: Any, choice: str, max_pixels: int) -> tuple[Rgb, str]:
    """The picture of an Image or a CompressedImage message, and the encoding to write the enhanced one in.

    Args:
        msg: sensor_msgs/Image by attribute; with an attribute ``format``, sensor_msgs/CompressedImage.
        choice: one of ``OUTPUT_ENCODINGS``.
        max_pixels: a larger image is refused before memory is taken for it.

    Returns:
        The pixels as ``rgb_from_message`` gives them, uint16 for a PNG of 16 bits; and rgb8, bgr8 or mono8: for
        ``same`` what ``output_encoding`` says of the encoding left of the ';' in ``format``, bgr8 where none stands
        there.

    Raises:
        ConfigError: another choice.
        ImageError: a message that is not the picture that it claims to be, or of a kind that is not read.
    """
    check_output_encoding(choice)
    if not hasattr(msg, "format"):
        rgb = rgb_from_message(msg, max_pixels)
        return rgb, output_encoding(msg.encoding, choice)
    content, picture_format = _compressed_fields(msg)
    rgb = compressed.decode(content, picture_format, max_pixels)
    return rgb, compressed.closest_encoding(picture_format) if choice == "same" else choice


def rgb_from_message(msg: Any, max_pixels: int | None = None) -> Rgb:
    """The picture of an Image message.

    Args:
        msg: any object with ``height``, ``width``, ``encoding``, ``is_bigendian``, ``step`` (bytes of a row, padding
            included; of the Y plane's row in nv12, nv21 and nv24) and ``data`` (``array.array``, ``bytes``, NumPy
            array or another contiguous buffer).
        max_pixels: a larger image is refused; None: any size.

    Returns:
        (H, W, 3) R, G, B, contiguous; uint16 for 16-bit encodings, else uint8. Where the message holds just that
        (rgb8, or rgb16 in this machine's byte order, without padding), a read-only view of its data; else independent
        of the message.

    Raises:
        ImageError: an encoding that is not in ``SUPPORTED_ENCODINGS``, zero size, a size that the encoding does not
            allow, a step below a row's bytes, a buffer shorter than the image, or fields that are no image's.
    """
    frame = _checked(msg, max_pixels)
    if frame.layout.planes is SEMIPLANAR_444:
        return _rgb_of_yuv444(frame)
    to_rgb = frame.layout.to_rgb
    if to_rgb is None:
        rgb = np.ascontiguousarray(_pixels(frame))
        rgb.flags.writeable = False
        return rgb  # type: ignore[return-value]
    through_bridge = _through_cv_bridge(msg, frame)
    if through_bridge is not None:
        return through_bridge
    return cv2.cvtColor(_pixels(frame), to_rgb)  # type: ignore[return-value]


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
    pixels = _written(rgb, encoding)
    msg.header = header
    msg.height, msg.width = pixels.shape[:2]
    msg.encoding = encoding
    msg.is_bigendian = 0
    msg.step = pixels.nbytes // pixels.shape[0]
    _set_data(msg, pixels)


def fill_compressed(
    msg: Any,
    rgb: Rgb,
    encoding: str,
    header: Any,
    format: str = "jpeg",  # noqa: A002 (the message's own name for it)
    quality: int = compressed.JPEG_QUALITY,
) -> None:
    """Write a picture into a CompressedImage message, as image_transport does.

    Args:
        msg: a fresh message; see ``fill_message``.
        rgb: (H, W, 3) uint8.
        encoding: what a subscriber's image_transport makes of it: ``rgb8``, ``bgr8`` or ``mono8``.
        header: taken over as it is.
        format: one of ``compressed.FILE_FORMATS``.
        quality: of JPEG, 1 to 100; PNG is without loss.

    Raises:
        ConfigError: another encoding, format or quality.
        ImageError: ``rgb`` is not such an array, or larger than the format allows.
    """
    stored = "mono8" if encoding == "mono8" else "bgr8"
    pixels = _written(rgb, stored if encoding in FROM_RGB_CODES else encoding)
    content = compressed.encode(pixels, format, quality)
    msg.header = header
    msg.format = f"{encoding}; {format} compressed {stored}"
    _set_data(msg, content)


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


def _written(rgb: Rgb, encoding: str) -> NDArray[np.uint8]:
    """Contiguous (H, W, 3) or (H, W) in the order of ``encoding``."""
    if encoding not in FROM_RGB_CODES:
        raise ConfigError(f"cannot write an image as '{encoding}'; use one of {', '.join(FROM_RGB_CODES)}")
    check_rgb(rgb)
    if rgb.dtype != np.uint8:
        raise ImageError(f"image of type {rgb.dtype}: messages are written from uint8; scale it to 8 bit first")
    from_rgb = FROM_RGB_CODES[encoding]
    return np.ascontiguousarray(rgb if from_rgb is None else cv2.cvtColor(rgb, from_rgb), np.uint8)


def _set_data(msg: Any, content: NDArray[np.uint8]) -> None:
    if not isinstance(msg.data, array.array):
        msg.data = content.reshape(-1)
        return
    if msg.data:
        msg.data = array.array("B")
    msg.data.frombytes(content.data)


def _compressed_fields(msg: Any) -> tuple[NDArray[np.uint8], str]:
    try:
        content = np.frombuffer(msg.data, np.uint8)
    except (AttributeError, TypeError, ValueError, BufferError) as error:
        raise _unreadable(msg, error) from error
    if not isinstance(msg.format, str):
        raise _unreadable(msg, TypeError("its format is not a text"))
    return content, msg.format


def _unreadable(msg: Any, error: Exception) -> ImageError:
    return ImageError(
        f"{type(msg).__name__} cannot be read as an image message ({error}); check the image topic's type"
    )


def _checked(msg: Any, max_pixels: int | None) -> _Frame:
    try:
        encoding = msg.encoding
        height, width, step = operator.index(msg.height), operator.index(msg.width), operator.index(msg.step)
        is_bigendian = bool(operator.index(msg.is_bigendian))
        data = np.frombuffer(msg.data, np.uint8)
    except (AttributeError, TypeError, ValueError, BufferError) as error:
        raise _unreadable(msg, error) from error
    layout = layout_of(encoding)
    what = f"image message {width}x{height} {encoding}"
    check_image_size(what, height, width, max_pixels)
    _check_size(what, layout, height, width)
    row_bytes = width * layout.pixel_bytes
    if step < row_bytes:
        raise ImageError(
            f"{what}: step {step} is below the {row_bytes} bytes of a row; check the camera driver's encoding"
        )
    total_half_planes = layout.planes.total_half_planes
    if data.size < height * step * total_half_planes // 2:
        if total_half_planes == PACKED.total_half_planes or data.size != height * row_bytes * total_half_planes // 2:
            raise ImageError(
                f"{what}: data of {data.size} bytes is shorter than "
                f"{'' if total_half_planes == PACKED.total_half_planes else f'{total_half_planes / 2:g} x '}"
                f"height x step "
                f"({height * step * total_half_planes // 2}); the message was cut off or the camera driver is at fault"
            )
        step = row_bytes  # drivers that write the bytes of all planes over the height as step, without padding
    return _Frame(layout, height, width, step, is_bigendian, data)


def _check_size(what: str, layout: Layout, height: int, width: int) -> None:
    if min(height, width) < layout.min_side:
        raise ImageError(f"{what}: too small to demosaic; {layout.min_side}x{layout.min_side} is the least")
    rows, columns = layout.planes.multiple
    if height % rows or width % columns:
        raise ImageError(
            f"{what}: neighbours share their colour in this encoding, so the {'width' if rows == 1 else 'size'} must "
            "be even; set another size or encoding at the camera driver"
        )


def _pixels(frame: _Frame) -> Rgb:
    """(H, W) or (H, W, channels) in native byte order, sharing the message's memory where that is possible.

    H covers the rows of all planes.
    """
    layout = frame.layout
    dtype = np.dtype(f"{'>' if frame.is_bigendian else '<'}u{layout.itemsize}")
    shape: tuple[int, ...] = (frame.height * layout.planes.total_half_planes // 2, frame.width)
    strides: tuple[int, ...] = (frame.step, layout.pixel_bytes)
    if layout.channels > 1:
        shape, strides = (*shape, layout.channels), (*strides, layout.itemsize)
    stored: Rgb = np.ndarray(shape, dtype, frame.data, strides=strides)
    return np.require(stored, dtype.newbyteorder("="), ["ALIGNED"])


def _rgb_of_yuv444(frame: _Frame) -> NDArray[np.uint8]:
    """RGB of a Y plane and a plane of U and V in turn, which OpenCV does not convert."""
    height, width, step = frame.height, frame.width, frame.step
    y = np.ndarray((height, width), np.uint8, frame.data, strides=(step, 1))
    uv = np.ndarray((height, width, 2), np.uint8, frame.data, offset=height * step, strides=(2 * step, 2, 1))
    yuv = np.empty((height, width, 3), np.uint8)
    cv2.mixChannels([np.maximum(y, _BLACK), uv], [yuv], [0, 0, 1, 1, 2, 2])
    return cv2.transform(yuv, _BT601)  # type: ignore[return-value]


def _through_cv_bridge(msg: Any, frame: _Frame) -> Rgb | None:
    """What cv_bridge makes of it; None without cv_bridge, and in cases that some of its releases get wrong.

    Those are big-endian messages (ignored, or AttributeError with NumPy 2), padded rows (step ignored, or rounded
    to whole pixels: sheared pictures), and encodings that it does not know or takes for RGB already.
    """
    packed = frame.step == frame.width * frame.layout.pixel_bytes
    if frame.is_bigendian or not packed or msg.encoding not in CV_BRIDGE_ENCODINGS:
        return None
    return convert_with_cv_bridge(msg, frame.height, frame.width, frame.layout.itemsize)
