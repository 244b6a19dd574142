"""The encodings of image messages: how each lays out its pixels, and what an enhanced image is written as.

YUV is BT.601 with limited range (Y 16..235, U and V 16..240), as cv_bridge and image_transport take it to be: messages
do not say which matrix and range the camera used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2

from lowlight_enhance.core.errors import ConfigError, ImageError

OUTPUT_ENCODINGS = ("same", "bgr8", "rgb8", "mono8")
"""What an enhanced image may be written as; ``same`` keeps the input's channel order and count."""

FROM_RGB_CODES: dict[str, int | None] = {"rgb8": None, "bgr8": cv2.COLOR_RGB2BGR, "mono8": cv2.COLOR_RGB2GRAY}
"""OpenCV's conversion to each encoding that is written; None: none is needed."""


@dataclass(frozen=True, slots=True)
class Planes:
    """Where the colour stands.

    Attributes:
        total_half_planes: size of all planes in halves of the first plane; 2 if there is only one plane.
        multiple: height and width are whole multiples of these.
    """

    total_half_planes: int = 2
    multiple: tuple[int, int] = (1, 1)


PACKED = Planes()
PACKED_422 = Planes(multiple=(1, 2))
"""Two neighbours share U and V, which stand between their Y."""
SEMIPLANAR_420 = Planes(total_half_planes=3, multiple=(2, 2))
"""After the Y plane U and V in turn, for two by two pixels, in rows of the same step."""
SEMIPLANAR_444 = Planes(total_half_planes=6)
"""After the Y plane U and V in turn, for every pixel, in rows of twice the step."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How an encoding lays out its pixels.

    Attributes:
        channels: values of one pixel in the first plane.
        itemsize: bytes of one value.
        to_rgb: OpenCV's conversion code; None where there is none, or none is needed.
        closest_output: the 8-bit encoding without alpha that is closest.
        planes: where the colour stands.
        min_side: smallest height and width.
    """

    channels: int
    itemsize: int
    to_rgb: int | None
    closest_output: str
    planes: Planes = PACKED
    min_side: int = 1

    @property
    def pixel_bytes(self) -> int:
        """Bytes of one pixel in the first plane."""
        return self.channels * self.itemsize


MIN_BAYER_SIDE = 3
"""A smaller mosaic does not show every colour in reach of each pixel: OpenCV would return black."""

_ORDERS: dict[str, tuple[int, int | None, str]] = {
    "rgb": (3, None, "rgb8"),
    "bgr": (3, cv2.COLOR_BGR2RGB, "bgr8"),
    "rgba": (4, cv2.COLOR_RGBA2RGB, "rgb8"),
    "bgra": (4, cv2.COLOR_BGRA2RGB, "bgr8"),
    "mono": (1, cv2.COLOR_GRAY2RGB, "mono8"),
}

# OpenCV before 4.6 names a mosaic by its second row and column alone: RGGB is "BG" there.
_MOSAICS = {
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

_NAMED = {
    **{
        f"{order}{8 * size}": Layout(n, size, code, same)
        for order, (n, code, same) in _ORDERS.items()
        for size in (1, 2)
    },
    **{
        f"{order}{8 * size}": Layout(1, size, code, "bgr8", min_side=MIN_BAYER_SIDE)
        for order, code in _MOSAICS.items()
        for size in (1, 2)
    },
}

# Names without a meaning of the channels: grey and B, G, R, as cv_bridge's users write and read them.
_GENERIC = {"8UC1": _NAMED["mono8"], "8UC3": _NAMED["bgr8"], "16UC1": _NAMED["mono16"], "16UC3": _NAMED["bgr16"]}

LAYOUTS: dict[str, Layout] = {**_NAMED, **_YUV, **_GENERIC}

SUPPORTED_ENCODINGS = tuple(LAYOUTS)

CV_BRIDGE_ENCODINGS = frozenset(_NAMED)
"""Those of which every cv_bridge makes RGB as we do; it takes generic names for RGB already, and knows few of YUV."""


def layout_of(encoding: Any) -> Layout:
    """How ``encoding`` lays out its pixels.

    Raises:
        ImageError: not one of ``SUPPORTED_ENCODINGS``.
    """
    layout = LAYOUTS.get(encoding) if isinstance(encoding, str) else None
    if layout is None:
        raise ImageError(
            f"image message: encoding {str(encoding)[:40]!r} is not supported; set the camera driver to one of "
            f"{', '.join(SUPPORTED_ENCODINGS)}"
        )
    return layout


def output_encoding(input_encoding: str, choice: str) -> str:
    """Encoding of the enhanced image for an input of ``input_encoding``.

    Args:
        input_encoding: one of ``SUPPORTED_ENCODINGS``.
        choice: one of ``OUTPUT_ENCODINGS``; ``same``: the input's order and count of channels at 8 bit without alpha,
            and bgr8 for Bayer and YUV.

    Raises:
        ConfigError: another choice.
        ImageError: another input encoding.
    """
    check_output_encoding(choice)
    same = layout_of(input_encoding).closest_output
    return same if choice == "same" else choice


def check_output_encoding(choice: str) -> None:
    """Refuse an output encoding that is not one of ``OUTPUT_ENCODINGS``.

    Raises:
        ConfigError: it is not.
    """
    if choice not in OUTPUT_ENCODINGS:
        raise ConfigError(f"output_encoding '{choice}': must be one of {', '.join(OUTPUT_ENCODINGS)}")


def check_image_size(what: str, height: int, width: int, max_pixels: int | None) -> None:
    """Refuse an image that is empty or too large, before memory is taken for it.

    Args:
        what: names the image and its size, for the message.
        height: rows.
        width: columns.
        max_pixels: None: any number.

    Raises:
        ImageError: zero size, or more than ``max_pixels`` pixels.
    """
    if height < 1 or width < 1:
        raise ImageError(f"{what}: zero size; check the camera driver")
    if max_pixels is not None and height * width > max_pixels:
        raise ImageError(
            f"{what}: more than max_pixels ({max_pixels}); raise that parameter if the camera is that large"
        )
