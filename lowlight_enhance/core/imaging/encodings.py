"""Encodings of image messages: memory layout, conversion to RGB, and the encodings of enhanced images.

YUV is BT.601 with limited range (Y 16..235, U and V 16..240), as in cv_bridge and image_transport: messages do not say
which matrix and range the camera uses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lowlight_enhance.core.errors import ConfigError, ImageError

OUTPUT_ENCODINGS = ("same", "bgr8", "rgb8", "mono8")
"""Encodings of enhanced images; ``same`` keeps the channel order and channel count of the input."""

FROM_RGB_CODES: dict[str, int | None] = {"rgb8": None, "bgr8": cv2.COLOR_RGB2BGR, "mono8": cv2.COLOR_RGB2GRAY}
"""OpenCV's conversion code from RGB to each output encoding; None: no conversion."""


@dataclass(frozen=True, slots=True)
class Planes:
    """Planes of an encoding.

    Attributes:
        total_half_planes: size of all planes in halves of the first plane (height x step bytes); 2 if there is only
            one plane.
        size_multiple: height and width must be multiples of these.
    """

    total_half_planes: int = 2
    size_multiple: tuple[int, int] = (1, 1)


PACKED = Planes()
PACKED_422 = Planes(size_multiple=(1, 2))
"""One plane. Two neighbouring pixels share U and V, which are interleaved with Y."""
SEMIPLANAR_420 = Planes(total_half_planes=3, size_multiple=(2, 2))
"""The Y plane, then a plane of interleaved U and V for blocks of 2x2 pixels, with rows of the same step."""
SEMIPLANAR_444 = Planes(total_half_planes=6)
"""The Y plane, then a plane of interleaved U and V for every pixel, with rows of twice the step."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Memory layout of an encoding.

    Attributes:
        channels: values per pixel in the first plane.
        itemsize: bytes per value.
        to_rgb_code: OpenCV's conversion code to RGB; None if OpenCV has none or the encoding is RGB already.
        closest_output: the closest of rgb8, bgr8 and mono8.
        planes: planes of the encoding.
        min_side: smallest height and width.
    """

    channels: int
    itemsize: int
    to_rgb_code: int | None
    closest_output: str
    planes: Planes = PACKED
    min_side: int = 1

    @property
    def pixel_bytes(self) -> int:
        """Bytes per pixel in the first plane."""
        return self.channels * self.itemsize


MIN_BAYER_SIDE = 3
"""OpenCV's demosaicing returns black for smaller images."""

_CHANNEL_ORDERS: dict[str, tuple[int, int | None, str]] = {
    "rgb": (3, None, "rgb8"),
    "bgr": (3, cv2.COLOR_BGR2RGB, "bgr8"),
    "rgba": (4, cv2.COLOR_RGBA2RGB, "rgb8"),
    "bgra": (4, cv2.COLOR_BGRA2RGB, "bgr8"),
    "mono": (1, cv2.COLOR_GRAY2RGB, "mono8"),
}

# The names COLOR_BayerRGGB2RGB and so on exist from OpenCV 4.6. The older names give the pixels of the second row,
# from the second column: RGGB is "BG".
_BAYER_PATTERNS = {
    "bayer_rggb": cv2.COLOR_BayerBG2RGB,
    "bayer_bggr": cv2.COLOR_BayerRG2RGB,
    "bayer_gbrg": cv2.COLOR_BayerGR2RGB,
    "bayer_grbg": cv2.COLOR_BayerGB2RGB,
}

_YUV = {
    "uyvy": Layout(2, 1, cv2.COLOR_YUV2RGB_UYVY, "bgr8", PACKED_422),
    "yuv422": Layout(2, 1, cv2.COLOR_YUV2RGB_UYVY, "bgr8", PACKED_422),
    "yuyv": Layout(2, 1, cv2.COLOR_YUV2RGB_YUY2, "bgr8", PACKED_422),
    "yuv422_yuy2": Layout(2, 1, cv2.COLOR_YUV2RGB_YUY2, "bgr8", PACKED_422),
    "nv12": Layout(1, 1, cv2.COLOR_YUV2RGB_NV12, "bgr8", SEMIPLANAR_420),
    "nv21": Layout(1, 1, cv2.COLOR_YUV2RGB_NV21, "bgr8", SEMIPLANAR_420),
    "nv24": Layout(1, 1, None, "bgr8", SEMIPLANAR_444),
}

_COLOUR_AND_BAYER = {
    **{
        f"{order}{8 * size}": Layout(channels, size, code, output)
        for order, (channels, code, output) in _CHANNEL_ORDERS.items()
        for size in (1, 2)
    },
    **{
        f"{pattern}{8 * size}": Layout(1, size, code, "bgr8", min_side=MIN_BAYER_SIDE)
        for pattern, code in _BAYER_PATTERNS.items()
        for size in (1, 2)
    },
}

# Generic names do not give a channel order. OpenCV's convention is BGR.
_GENERIC = {
    "8UC1": _COLOUR_AND_BAYER["mono8"],
    "8UC3": _COLOUR_AND_BAYER["bgr8"],
    "16UC1": _COLOUR_AND_BAYER["mono16"],
    "16UC3": _COLOUR_AND_BAYER["bgr16"],
}

LAYOUTS: dict[str, Layout] = {**_COLOUR_AND_BAYER, **_YUV, **_GENERIC}

SUPPORTED_ENCODINGS = tuple(LAYOUTS)

CV_BRIDGE_ENCODINGS = frozenset(_COLOUR_AND_BAYER)
"""Encodings that every release of cv_bridge converts to the same RGB as this package. cv_bridge does not swap the
channels of generic encodings, and supports only some YUV encodings."""


def convert_color(pixels: NDArray[np.uint8] | NDArray[np.uint16], code: int) -> NDArray[np.uint8]:
    """Return ``cv2.cvtColor(pixels, code)``, also for images of 1x1.

    OpenCV 4.5.4, which Ubuntu 22.04 has, fails to swap red and blue of 1x1 images ("_step >= minstep"). Other sizes
    and conversions work.
    """
    if pixels.shape[:2] == (1, 1):
        return cv2.cvtColor(np.repeat(pixels, 2, axis=1), code)[:, :1]  # type: ignore[return-value]
    return cv2.cvtColor(pixels, code)  # type: ignore[return-value]


def layout_of(encoding: Any) -> Layout:
    """Return the memory layout of ``encoding``.

    Raises:
        ImageError: ``encoding`` is not one of ``SUPPORTED_ENCODINGS``.
    """
    layout = LAYOUTS.get(encoding) if isinstance(encoding, str) else None
    if layout is None:
        raise ImageError(
            f"image message: encoding {str(encoding)[:40]!r} is not supported; set the camera driver to one of "
            f"{', '.join(SUPPORTED_ENCODINGS)}"
        )
    return layout


def output_encoding(input_encoding: str, requested: str) -> str:
    """Return the encoding of the enhanced image for an input of ``input_encoding``.

    Args:
        input_encoding: one of ``SUPPORTED_ENCODINGS``.
        requested: one of ``OUTPUT_ENCODINGS``. ``same`` is the channel order and channel count of the input at 8 bit
            without alpha, and bgr8 for Bayer and YUV.

    Raises:
        ConfigError: ``requested`` is not one of ``OUTPUT_ENCODINGS``.
        ImageError: ``input_encoding`` is not one of ``SUPPORTED_ENCODINGS``.
    """
    check_output_encoding(requested)
    closest = layout_of(input_encoding).closest_output
    return closest if requested == "same" else requested


def check_output_encoding(requested: str) -> None:
    """Check that ``requested`` is one of ``OUTPUT_ENCODINGS``.

    Raises:
        ConfigError: it is not.
    """
    if requested not in OUTPUT_ENCODINGS:
        raise ConfigError(f"output_encoding '{requested}': must be one of {', '.join(OUTPUT_ENCODINGS)}")


def check_image_size(what: str, height: int, width: int, max_pixels: int | None) -> None:
    """Check the size of an image before memory is allocated for it.

    Args:
        what: image and size, for the error message.
        height: rows.
        width: columns.
        max_pixels: largest number of pixels; None for no limit.

    Raises:
        ImageError: the image is empty or has more than ``max_pixels`` pixels.
    """
    if height < 1 or width < 1:
        raise ImageError(f"{what}: zero size; check the camera driver")
    if max_pixels is not None and height * width > max_pixels:
        raise ImageError(
            f"{what}: more than max_pixels ({max_pixels}); raise that parameter if the camera is that large"
        )
