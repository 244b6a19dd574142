"""Image messages without ROS, as input of the pipeline."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np

from lowlight_enhance.core.inference.model_input import Rgb
from lowlight_enhance.core.pipeline import NS_PER_S


def image_message(rgb: Rgb, stamp_ns: int) -> SimpleNamespace:
    """Return an object with the attributes of sensor_msgs/Image.

    Args:
        rgb: (H, W, 3) uint8 or uint16, R, G, B. If it is contiguous, the data of the message are a view of it.
        stamp_ns: stamp in nanoseconds.
    """
    pixels = np.ascontiguousarray(rgb)
    return SimpleNamespace(
        header=SimpleNamespace(
            stamp=SimpleNamespace(sec=stamp_ns // NS_PER_S, nanosec=stamp_ns % NS_PER_S), frame_id="camera"
        ),
        height=pixels.shape[0],
        width=pixels.shape[1],
        encoding="rgb8" if pixels.dtype == np.uint8 else "rgb16",
        is_bigendian=sys.byteorder == "big",
        step=pixels.strides[0],
        data=pixels.reshape(-1).view(np.uint8),
    )
