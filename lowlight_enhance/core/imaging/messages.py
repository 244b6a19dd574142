"""Conversion between image messages (sensor_msgs/msg/Image and CompressedImage) and RGB arrays.

Messages are read by attribute, so rclpy messages and recorded ones both work. OpenCV converts colour and demosaics
(bilinear) with and without cv_bridge, so both give the same pixels.
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
    convert_color,
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

# Coefficients of (Y, U, V) in R, G and B: ITU-R BT.601 with limited range (Y 16..235, U and V 16..240 around 128).
_Y, _VR, _UG, _VG, _UB = 255 / 219, 1.402 * 255 / 224, -0.344136 * 255 / 224, -0.714136 * 255 / 224, 1.772 * 255 / 224
_BT601 = np.array(
    [
        [_Y, 0.0, _VR, -16 * _Y - 128 * _VR],
        [_Y, _UG, _VG, -16 * _Y - 128 * (_UG + _VG)],
        [_Y, _UB, 0.0, -16 * _Y - 128 * _UB],
    ]
)
"""(3, 4) matrix from (Y, U, V, 1) to (R, G, B)."""
_BLACK_Y = np.uint8(16)


@dataclass(frozen=True, slots=True)
class _RawImage:
    """Validated fields of an Image message. ``data`` holds all ``height`` rows of ``step`` bytes, and all planes."""

    layout: Layout
    height: int
    width: int
    step: int
    is_bigendian: bool
    data: NDArray[np.uint8]


def decode(msg: Any, requested_encoding: str, max_pixels: int) -> tuple[Rgb, str]:
    """Return the pixels of an image message, and the encoding of the enhanced image.

    Args:
        msg: sensor_msgs/Image by attribute; a message with an attribute ``format`` is a sensor_msgs/CompressedImage.
        requested_encoding: one of ``OUTPUT_ENCODINGS``. For ``same``, a compressed image gets the encoding closest to
            the one before the ';' of its ``format``, or bgr8 if there is none.
        max_pixels: larger images are rejected before memory is allocated for them.

    Returns:
        (H, W, 3) R, G, B as from ``rgb_from_message``, uint16 for a 16-bit PNG; and rgb8, bgr8 or mono8.

    Raises:
        ConfigError: ``requested_encoding`` is not one of ``OUTPUT_ENCODINGS``.
        ImageError: the message is invalid, damaged or of an unsupported type.
    """
    check_output_encoding(requested_encoding)
    if not hasattr(msg, "format"):
        rgb = rgb_from_message(msg, max_pixels)
        return rgb, output_encoding(msg.encoding, requested_encoding)
    content, picture_format = _compressed_fields(msg)
    rgb = compressed.decode(content, picture_format, max_pixels)
    is_same = requested_encoding == "same"
    return rgb, compressed.closest_encoding(picture_format) if is_same else requested_encoding


def rgb_from_message(msg: Any, max_pixels: int | None = None) -> Rgb:
    """Return the pixels of an Image message.

    Args:
        msg: any object with ``height``, ``width``, ``encoding``, ``is_bigendian``, ``step`` (bytes per row with
            padding; for nv12, nv21 and nv24 per row of the Y plane) and ``data`` (``array.array``, ``bytes``, NumPy
            array or another contiguous buffer).
        max_pixels: larger images are rejected; None for no limit.

    Returns:
        (H, W, 3) R, G, B, contiguous; uint16 for 16-bit encodings, else uint8. If the message holds exactly these
        bytes (rgb8, or rgb16 in the byte order of this machine, without padding), a read-only view of them; else a
        copy.

    Raises:
        ImageError: the encoding is not in ``SUPPORTED_ENCODINGS``, the size is zero or not allowed for the encoding,
            ``step`` is smaller than a row, ``data`` is shorter than the image, or a field has the wrong type.
    """
    image = _validate(msg, max_pixels)
    if image.layout.planes is SEMIPLANAR_444:
        return _yuv444_to_rgb(image)
    code = image.layout.to_rgb_code
    if code is None:
        rgb = np.ascontiguousarray(_pixels(image))
        rgb.flags.writeable = False
        return rgb  # type: ignore[return-value]
    converted = _convert_if_cv_bridge_supports(msg, image)
    return convert_color(_pixels(image), code) if converted is None else converted


def fill_message(msg: Any, rgb: Rgb, encoding: str, header: Any) -> None:
    """Write an image into an Image message, without row padding.

    Args:
        msg: a new message. The ``data`` of an rclpy message is filled in place with ``array.frombytes``: assigning an
            array or bytes takes 30 to 900 ms in some ROS 2 releases (rosidl checks each element). Other messages get
            a flat NumPy array.
        rgb: (H, W, 3) uint8.
        encoding: ``rgb8``, ``bgr8`` or ``mono8`` (ITU-R BT.601 luma).
        header: header of the message; not copied.

    Raises:
        ConfigError: another encoding.
        ImageError: ``rgb`` has another shape or type.
    """
    pixels = _convert_to(encoding, rgb)
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
    format: str = "jpeg",  # noqa: A002 (name of the message's field)
    quality: int = compressed.JPEG_QUALITY,
) -> None:
    """Write an image into a CompressedImage message, with ``format`` as image_transport writes it.

    Args:
        msg: a new message; see ``fill_message``.
        rgb: (H, W, 3) uint8.
        encoding: encoding that a subscriber's image_transport decodes to: ``rgb8``, ``bgr8`` or ``mono8``.
        header: header of the message; not copied.
        format: one of ``compressed.FILE_FORMATS``.
        quality: JPEG quality, 1 to 100; not used for PNG, which is lossless.

    Raises:
        ConfigError: another encoding, format or quality.
        ImageError: ``rgb`` has another shape or type, or is larger than the format allows.
    """
    stored = "mono8" if encoding == "mono8" else "bgr8"
    pixels = _convert_to(stored if encoding in FROM_RGB_CODES else encoding, rgb)
    content = compressed.encode(pixels, format, quality)
    msg.header = header
    msg.format = f"{encoding}; {format} compressed {stored}"
    _set_data(msg, content)


def stamp_ns(stamped: Any) -> int:
    """Return the nanoseconds of a stamp, of a header, or of a message with a header.

    Raises:
        ImageError: ``stamped`` has no stamp.
    """
    header = getattr(stamped, "header", stamped)
    stamp = getattr(header, "stamp", header)
    try:
        return operator.index(stamp.sec) * 1_000_000_000 + operator.index(stamp.nanosec)
    except (AttributeError, TypeError) as error:
        raise ImageError(f"{type(stamped).__name__} has no stamp (sec, nanosec); check the topic's type") from error


def _convert_to(encoding: str, rgb: Rgb) -> NDArray[np.uint8]:
    """Return contiguous (H, W, 3) or (H, W) pixels in the channel order of ``encoding``."""
    if encoding not in FROM_RGB_CODES:
        raise ConfigError(f"cannot write an image as '{encoding}'; use one of {', '.join(FROM_RGB_CODES)}")
    check_rgb(rgb)
    if rgb.dtype != np.uint8:
        raise ImageError(f"image of type {rgb.dtype}: messages are written from uint8; scale it to 8 bit first")
    code = FROM_RGB_CODES[encoding]
    return np.ascontiguousarray(rgb if code is None else convert_color(rgb, code), np.uint8)


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
        raise _invalid(msg, error) from error
    if not isinstance(msg.format, str):
        raise _invalid(msg, TypeError("its format is not a text"))
    return content, msg.format


def _invalid(msg: Any, error: Exception) -> ImageError:
    return ImageError(
        f"{type(msg).__name__} cannot be read as an image message ({error}); check the image topic's type"
    )


def _validate(msg: Any, max_pixels: int | None) -> _RawImage:
    try:
        encoding = msg.encoding
        height, width, step = operator.index(msg.height), operator.index(msg.width), operator.index(msg.step)
        is_bigendian = bool(operator.index(msg.is_bigendian))
        data = np.frombuffer(msg.data, np.uint8)
    except (AttributeError, TypeError, ValueError, BufferError) as error:
        raise _invalid(msg, error) from error
    layout = layout_of(encoding)
    what = f"image message {width}x{height} {encoding}"
    check_image_size(what, height, width, max_pixels)
    _check_size_for_layout(what, layout, height, width)
    step = _checked_step(what, layout, height, width, step, data.size)
    return _RawImage(layout, height, width, step, is_bigendian, data)


def _checked_step(what: str, layout: Layout, height: int, width: int, step: int, data_bytes: int) -> int:
    """Return the bytes per row of the first plane.

    Raises:
        ImageError: the step is smaller than a row, or the data is shorter than the image.
    """
    row_bytes = width * layout.pixel_bytes
    if step < row_bytes:
        raise ImageError(
            f"{what}: step {step} is below the {row_bytes} bytes of a row; check the camera driver's encoding"
        )
    half_planes = layout.planes.total_half_planes
    needed_bytes = height * step * half_planes // 2
    if data_bytes >= needed_bytes:
        return step
    is_packed = half_planes == PACKED.total_half_planes
    if not is_packed and data_bytes == height * row_bytes * half_planes // 2:
        # Some drivers write the size of all planes divided by the height as step. Their rows have no padding.
        return row_bytes
    planes = "" if is_packed else f"{half_planes / 2:g} x "
    raise ImageError(
        f"{what}: data of {data_bytes} bytes is shorter than {planes}height x step ({needed_bytes}); the message was "
        "cut off or the camera driver is at fault"
    )


def _check_size_for_layout(what: str, layout: Layout, height: int, width: int) -> None:
    if min(height, width) < layout.min_side:
        raise ImageError(f"{what}: too small to demosaic; {layout.min_side}x{layout.min_side} is the least")
    rows, columns = layout.planes.size_multiple
    if height % rows or width % columns:
        raise ImageError(
            f"{what}: neighbouring pixels share their colour in this encoding, so the "
            f"{'width' if rows == 1 else 'size'} must be even; set another size or encoding at the camera driver"
        )


def _pixels(image: _RawImage) -> Rgb:
    """Return (H, W) or (H, W, channels) in native byte order, as a view of the message's data if possible.

    H includes the rows of all planes.
    """
    layout = image.layout
    dtype = np.dtype(f"{'>' if image.is_bigendian else '<'}u{layout.itemsize}")
    shape: tuple[int, ...] = (image.height * layout.planes.total_half_planes // 2, image.width)
    strides: tuple[int, ...] = (image.step, layout.pixel_bytes)
    if layout.channels > 1:
        shape, strides = (*shape, layout.channels), (*strides, layout.itemsize)
    stored: Rgb = np.ndarray(shape, dtype, image.data, strides=strides)
    return np.require(stored, dtype.newbyteorder("="), ["ALIGNED"])


def _yuv444_to_rgb(image: _RawImage) -> NDArray[np.uint8]:
    """Return the RGB of nv24, for which OpenCV has no conversion code."""
    height, width, step = image.height, image.width, image.step
    y = np.ndarray((height, width), np.uint8, image.data, strides=(step, 1))
    uv = np.ndarray((height, width, 2), np.uint8, image.data, offset=height * step, strides=(2 * step, 2, 1))
    yuv = np.empty((height, width, 3), np.uint8)
    cv2.mixChannels([np.maximum(y, _BLACK_Y), uv], [yuv], [0, 0, 1, 1, 2, 2])
    return cv2.transform(yuv, _BT601)  # type: ignore[return-value]


def _convert_if_cv_bridge_supports(msg: Any, image: _RawImage) -> Rgb | None:
    """Return the RGB from cv_bridge; None without cv_bridge, and for messages that some releases convert wrongly.

    Those are big-endian messages (byte order ignored, or AttributeError with NumPy 2), messages with row padding
    (step ignored, or rounded to whole pixels, which shears the image), and encodings outside ``CV_BRIDGE_ENCODINGS``.
    """
    has_padding = image.step != image.width * image.layout.pixel_bytes
    if image.is_bigendian or has_padding or msg.encoding not in CV_BRIDGE_ENCODINGS:
        return None
    return convert_with_cv_bridge(msg, image.height, image.width, image.layout.itemsize)
