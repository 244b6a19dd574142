"""cv_bridge, where it is installed and works."""

from __future__ import annotations

import functools
from types import SimpleNamespace
from typing import Any

import numpy as np

from lowlight_enhance.core.inference.model_input import Rgb


def convert_with_cv_bridge(msg: Any, height: int, width: int, itemsize: int) -> Rgb | None:
    """What cv_bridge makes of an image message; None without cv_bridge, or where it fails.

    Args:
        msg: little-endian, without row padding: releases differ about the rest.
        height: rows.
        width: columns.
        itemsize: bytes of one value, of the message and of the result.
    """
    bridge = working_cv_bridge()
    return None if bridge is None else _converted(bridge, msg, height, width, itemsize)


def _converted(bridge: Any, msg: Any, height: int, width: int, itemsize: int) -> Rgb | None:
    try:
        rgb = bridge.imgmsg_to_cv2(msg, f"rgb{8 * itemsize}")
    except Exception:  # whatever a binary built for other versions of NumPy or OpenCV raises, we can do without it
        return None
    if not isinstance(rgb, np.ndarray) or rgb.shape != (height, width, 3) or rgb.dtype != np.dtype(f"u{itemsize}"):
        return None
    return np.ascontiguousarray(rgb)


@functools.cache
def working_cv_bridge() -> Any | None:
    """A CvBridge that converts a small image rightly, or None."""
    try:
        from cv_bridge import CvBridge  # type: ignore[import-not-found,unused-ignore]

        bridge = CvBridge()
    except Exception:  # not installed, or built for other versions of NumPy or OpenCV
        return None
    bgr = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)
    probe = SimpleNamespace(height=2, width=3, encoding="bgr8", is_bigendian=0, step=9, data=bgr.tobytes())
    rgb = _converted(bridge, probe, 2, 3, 1)
    return bridge if rgb is not None and np.array_equal(rgb, bgr[:, :, ::-1]) else None
