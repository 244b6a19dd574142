"""CameraInfo messages (sensor_msgs/msg/CameraInfo): comparison with an image size, and rescaling.

``width`` and ``height`` of a CameraInfo are those of the full sensor. Its image is the region of interest of the
sensor (all of it if the region is zero), divided by the binning. Messages are read by attribute and never modified.

image_geometry is not used: it has no function to rescale a CameraInfo, and offline commands run without ROS.
"""

from __future__ import annotations

import copy
import operator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowlight_enhance.core.errors import CameraInfoError

_K_X, _K_Y = [0, 2], [4, 5]
"""Indices in the row-major 3x3 matrix K of the lengths in pixels along x (fx, cx) and y (fy, cy)."""

_P_X, _P_Y = [0, 2, 3], [5, 6]
"""Indices in the row-major 3x4 matrix P of the lengths in pixels along x (fx, cx, Tx) and y (fy, cy)."""


def image_size(info: Any) -> tuple[int, int]:
    """Return (width, height) in pixels of the image that ``info`` describes; (0, 0) for an uncalibrated camera.

    Raises:
        CameraInfoError: ``info`` is not a CameraInfo message.
    """
    roi = _field(info, "roi")
    width = _integer(roi, "width") or _integer(info, "width")
    height = _integer(roi, "height") or _integer(info, "height")
    return width // _binning(info, "x"), height // _binning(info, "y")


def matches(info: Any, width: int, height: int) -> bool:
    """Return whether ``info`` describes images of ``width`` x ``height``, or an uncalibrated camera (0x0).

    Raises:
        CameraInfoError: ``info`` is not a CameraInfo message.
    """
    return image_size(info) in ((width, height), (0, 0))


def check_matches(info: Any, width: int, height: int) -> None:
    """Check that ``info`` matches an image of ``width`` x ``height``.

    Raises:
        CameraInfoError: the sizes differ, or ``info`` is not a CameraInfo message.
    """
    if matches(info, width, height):
        return
    info_width, info_height = image_size(info)
    raise CameraInfoError(
        f"camera_info is for {info_width}x{info_height} images (after its region of interest and binning), the image "
        f"is {width}x{height}; check that both topics are of one camera, or calibrate it at this size"
    )


def rescaled(info: Any, width: int, height: int) -> Any:
    """Return a copy of ``info`` for its image resized to ``width`` x ``height`` pixels.

    As in image_proc's resize node, K, P, size and region of interest are scaled; distortion, R and binning are kept.
    If the size is the same or the camera is uncalibrated, all values are kept.

    Raises:
        CameraInfoError: ``info`` is not a CameraInfo message, or the size is below 1x1.
    """
    old_width, old_height = image_size(info)
    if width < 1 or height < 1:
        raise CameraInfoError(f"camera_info cannot be rescaled to {width}x{height}; the least is 1x1")
    out = copy.copy(info)
    if (old_width, old_height) in ((width, height), (0, 0)):
        return out
    if old_width < 1 or old_height < 1:
        raise CameraInfoError(f"camera_info is for {old_width}x{old_height} images; calibrate the camera again")
    scale_x, scale_y = width / old_width, height / old_height
    k, p = _numbers(info, "k", 9), _numbers(info, "p", 12)
    k[_K_X] *= scale_x
    k[_K_Y] *= scale_y
    p[_P_X] *= scale_x
    p[_P_Y] *= scale_y
    out.k, out.p = k, p
    out.roi = copy.copy(_field(info, "roi"))
    _resize_axis(out, info, ("width", "x_offset", "x"), width, scale_x)
    _resize_axis(out, info, ("height", "y_offset", "y"), height, scale_y)
    return out


def with_header(info: Any, header: Any) -> Any:
    """Return a copy of ``info`` with ``header``; the arrays are shared."""
    out = copy.copy(info)
    out.header = header
    return out


def _resize_axis(out: Any, info: Any, names: tuple[str, str, str], pixels: int, scale: float) -> None:
    """Set size and region of interest of one axis so that the image of ``out`` has exactly ``pixels`` pixels."""
    size, offset, axis = names
    extent = pixels * _binning(info, axis)
    if not _integer(info.roi, size):
        setattr(out, size, extent)
        return
    start = round(_integer(info.roi, offset) * scale)
    setattr(out.roi, offset, start)
    setattr(out.roi, size, extent)
    setattr(out, size, max(round(_integer(info, size) * scale), start + extent))


def _numbers(info: Any, name: str, length: int) -> NDArray[np.float64]:
    try:
        return np.array(_field(info, name), np.float64).reshape(length)
    except (TypeError, ValueError, OverflowError) as error:
        raise CameraInfoError(f"camera_info: {name} is not {length} numbers ({error}); check its publisher") from error


def _binning(info: Any, axis: str) -> int:
    """Return how many sensor pixels make one image pixel along an axis; 0 in the message means 1."""
    return max(_integer(info, f"binning_{axis}"), 1)


def _integer(msg: Any, name: str) -> int:
    try:
        return operator.index(_field(msg, name))
    except TypeError as error:
        raise CameraInfoError(f"camera_info: {name} is not an integer ({error}); check its publisher") from error


def _field(msg: Any, name: str) -> Any:
    try:
        return getattr(msg, name)
    except AttributeError as error:
        raise CameraInfoError(
            f"{type(msg).__name__} has no field '{name}' and is not a CameraInfo message; check the type of the "
            "camera_info topic"
        ) from error
