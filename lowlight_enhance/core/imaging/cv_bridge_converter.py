"""Conversion of image messages by cv_bridge, if it is installed and works.

ROS users expect cv_bridge, so it converts where it can. It cannot be the only converter: offline commands run without
ROS, a cv_bridge that was built for another NumPy or OpenCV fails at import or conversion, and its releases differ for
row padding, big-endian data and YUV (``messages._convert_if_cv_bridge_supports`` lists the cases). Both paths give the
same pixels; a test compares them.
"""

from __future__ import annotations

import functools
from types import SimpleNamespace
from typing import Any

import numpy as np

from lowlight_enhance.core.inference.model_input import Rgb


def convert_with_cv_bridge(msg: Any, height: int, width: int, itemsize: int) -> Rgb | None:
    """Convert an image message to RGB.

    Args:
        msg: a little-endian message without row padding; releases of cv_bridge differ for other messages.
        height: rows.
        width: columns.
        itemsize: bytes per value, of the message and of the result.

    Returns:
        (H, W, 3) R, G, B, contiguous; None if cv_bridge is not installed or fails.
    """
    bridge = working_cv_bridge()
    return None if bridge is None else _convert(bridge, msg, height, width, itemsize)


@functools.cache
def working_cv_bridge() -> Any | None:
    """Return a CvBridge that converts a small test image correctly, or None."""
    try:
        from cv_bridge import CvBridge  # type: ignore[import-not-found,unused-ignore]

        bridge = CvBridge()
    except Exception:  # not installed, or built for other versions of NumPy or OpenCV
        return None
    bgr = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)
    probe = SimpleNamespace(height=2, width=3, encoding="bgr8", is_bigendian=0, step=9, data=bgr.tobytes())
    rgb = _convert(bridge, probe, 2, 3, 1)
    return bridge if rgb is not None and np.array_equal(rgb, bgr[:, :, ::-1]) else None


def _convert(bridge: Any, msg: Any, height: int, width: int, itemsize: int) -> Rgb | None:
    try:
        rgb = bridge.imgmsg_to_cv2(msg, f"rgb{8 * itemsize}")
    except Exception:  # a cv_bridge built for other versions of NumPy or OpenCV can raise any exception
        return None
    if not isinstance(rgb, np.ndarray) or rgb.shape != (height, width, 3) or rgb.dtype != np.dtype(f"u{itemsize}"):
        return None
    return np.ascontiguousarray(rgb)
