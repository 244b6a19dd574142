"""Image messages in every encoding, built with NumPy alone."""

from __future__ import annotations

import array
from typing import Any

import message_kinds
import numpy as np

ORDERS = {"rgb": [0, 1, 2], "bgr": [2, 1, 0], "rgba": [0, 1, 2, 3], "bgra": [2, 1, 0, 3], "mono": [0]}
GENERIC = {"8UC1": "mono8", "8UC3": "bgr8", "16UC1": "mono16", "16UC3": "bgr16"}

NAMED_COLOUR_ENCODINGS = [f"{order}{bits}" for order in ORDERS for bits in (8, 16)]
COLOUR_ENCODINGS = [*NAMED_COLOUR_ENCODINGS, *GENERIC]
BAYER_ENCODINGS = [f"bayer_{order}{bits}" for order in ("rggb", "bggr", "gbrg", "grbg") for bits in (8, 16)]
UYVY_ENCODINGS, YUYV_ENCODINGS = ["uyvy", "yuv422"], ["yuyv", "yuv422_yuy2"]
YUV_ENCODINGS = [*UYVY_ENCODINGS, *YUYV_ENCODINGS, "nv12", "nv21", "nv24"]
ENCODINGS = [*COLOUR_ENCODINGS, *BAYER_ENCODINGS, *YUV_ENCODINGS]


def random_rgb(height: int, width: int, bits: int = 8, seed: int = 0) -> np.ndarray:
    dtype = np.dtype(f"u{bits // 8}")
    return np.random.default_rng(seed).integers(0, 1 << bits, (height, width, 3), dtype)


def bits_of(encoding: str) -> int:
    return 16 if GENERIC.get(encoding, encoding).endswith("16") else 8


def stored(rgb: np.ndarray, encoding: str) -> np.ndarray:
    """Return pixels as the encoding stores them, (H, W, channels); for mono and Bayer only the visible samples."""
    bits = bits_of(encoding)
    order = GENERIC.get(encoding, encoding)[: -len(str(bits))]
    if order.startswith("bayer_"):
        pattern = ["rgb".index(letter) for letter in order[-4:]]
        raw = np.empty((*rgb.shape[:2], 1), rgb.dtype)
        for at, channel in enumerate(pattern):
            raw[at // 2 :: 2, at % 2 :: 2, 0] = rgb[at // 2 :: 2, at % 2 :: 2, channel]
        return raw
    alpha = np.full_like(rgb[:, :, :1], 77)
    return np.concatenate([rgb, alpha], axis=2)[:, :, ORDERS[order]]


def decoded(rgb: np.ndarray, encoding: str) -> np.ndarray:
    """Return ``rgb`` after encoding and decoding with a colour encoding."""
    is_grey = GENERIC.get(encoding, encoding).startswith("mono")
    return np.repeat(rgb[:, :, :1], 3, axis=2) if is_grey else rgb


def rows_of(values: np.ndarray) -> np.ndarray:
    """Return (rows, bytes of a row) of an array of whole rows."""
    return np.frombuffer(values.tobytes(), np.uint8).reshape(values.shape[0], -1)


def padded(rows: np.ndarray, padding: int) -> np.ndarray:
    """Return the rows with ``padding`` bytes of noise after each."""
    noise = np.random.default_rng(1).integers(0, 256, (rows.shape[0], padding), np.uint8)
    return np.hstack([rows, noise])


def image_message(
    pixels: np.ndarray,
    encoding: str,
    kind: str = "plain",
    is_bigendian: int = 0,
    padding: int = 0,
    extra: int = 0,
    header: Any = None,
) -> Any:
    """Return a message of (H, W, channels) pixels with ``padding`` bytes of noise per row and ``extra`` at the end."""
    rows = rows_of(pixels.astype(pixels.dtype.newbyteorder(">" if is_bigendian else "<")))
    data = np.concatenate([padded(rows, padding).reshape(-1), np.full(extra, 99, np.uint8)])
    step = rows.shape[1] + padding
    return message_of_data(data, encoding, *pixels.shape[:2], step, kind, is_bigendian, header)


def message_of_data(
    data: np.ndarray,
    encoding: str,
    height: int,
    width: int,
    step: int,
    kind: str = "plain",
    is_bigendian: int = 0,
    header: Any = None,
) -> Any:
    return message_kinds.message(
        kind,
        "sensor_msgs/msg/Image",
        header=header or message_kinds.header(kind, 12_000_000_034, "camera"),
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=is_bigendian,
        step=step,
        data=array.array("B", data.tobytes()) if kind == "rclpy" else data,
    )


def yuv_message(yuv: np.ndarray, encoding: str, kind: str = "plain", padding: int = 0) -> Any:
    """Return a message of (H, W, 3) Y, U, V. Pixels that share U and V use those of the first of them."""
    height, width = yuv.shape[:2]
    luma, chroma = yuv[:, :, 0], yuv[:, :, 1:]
    if encoding in (*UYVY_ENCODINGS, *YUYV_ENCODINGS):
        shared = np.empty((height, width), np.uint8)
        shared[:, ::2], shared[:, 1::2] = chroma[:, ::2, 0], chroma[:, ::2, 1]
        pair = [shared, luma] if encoding in UYVY_ENCODINGS else [luma, shared]
        return image_message(np.stack(pair, axis=2), encoding, kind, padding=padding)
    if encoding == "nv24":
        chroma_rows = padded(rows_of(chroma), 2 * padding)
    else:
        chroma_rows = padded(rows_of(chroma[::2, ::2, :: -1 if encoding == "nv21" else 1]), padding)
    data = np.concatenate([padded(luma, padding).reshape(-1), chroma_rows.reshape(-1)])
    return message_of_data(data, encoding, height, width, width + padding, kind)


def empty_message(kind: str) -> Any:
    if kind == "rclpy":
        return message_kinds.message(kind, "sensor_msgs/msg/Image")
    return image_message(np.zeros((1, 0, 3), np.uint8), "rgb8", kind)


def compressed_message(content: bytes, picture_format: str, kind: str = "plain", header: Any = None) -> Any:
    return message_kinds.message(
        kind,
        "sensor_msgs/msg/CompressedImage",
        header=header or message_kinds.header(kind, 12_000_000_034, "camera"),
        format=picture_format,
        data=array.array("B", content) if kind == "rclpy" else np.frombuffer(content, np.uint8),
    )


def broken(**fields: Any) -> Any:
    """Return a bgr8 message of 6x4 pixels that is valid except for ``fields``."""
    message = image_message(stored(random_rgb(4, 6), "bgr8"), "bgr8")
    for name, value in fields.items():
        setattr(message, name, value)
    return message


def any_message(encoding: str, size: tuple[int, int], seed: int = 0, kind: str = "plain", padding: int = 0) -> Any:
    """Return a valid message of random pixels in any encoding."""
    rgb = random_rgb(*size, bits_of(encoding), seed)
    if encoding in YUV_ENCODINGS:
        return yuv_message(rgb, encoding, kind, padding)
    return image_message(stored(rgb, encoding), encoding, kind, padding=padding)
