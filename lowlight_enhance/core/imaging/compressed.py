"""The picture files in CompressedImage messages: JPEG and PNG to RGB arrays and back.

A file itself says what it is and which channel is which; senders write the message's ``format`` in many ways. It is
measured by its own header before it is decoded, so that one of a few bytes cannot claim gigabytes; what does not start
like one of the two never reaches OpenCV, which would try its other decoders.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from lowlight_enhance.core.errors import ConfigError, ImageError
from lowlight_enhance.core.imaging.encodings import LAYOUTS, MIN_BAYER_SIDE, check_image_size
from lowlight_enhance.core.inference.model_input import Rgb

FILE_FORMATS = ("jpeg", "png")
"""What is read, and written."""

JPEG_QUALITY = 90
"""Of written files, 1 to 100."""

PNG_LEVEL = 1
"""Effort of written files, 0 to 9: the next levels cost far more time than they save bytes."""

_JPEG_START, _PNG_START = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"

_JPEG_MARKER = re.compile(rb"\xff[^\x00\xff]", re.DOTALL)
_START_OF_SCAN, _END_OF_IMAGE = b"\xff\xda", b"\xff\xd9"
_WITHOUT_LENGTH = frozenset((0x01, *range(0xD0, 0xD8)))
_FRAMES_READ = frozenset((0xC0, 0xC1, 0xC2))
"""Baseline, extended and progressive with Huffman codes; OpenCV reads no others, or not everywhere."""
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xCC}
_OUT_OF_PLACE = frozenset((0xD8, 0xD9, 0xDA))

MAX_JPEG_SEGMENTS = 256
"""Before the picture; cameras write about ten."""

MAX_JPEG_SCANS = 32
"""Each costs a pass over the picture; progressive files have about ten."""

MAX_JPEG_PIXELS_PER_BYTE = 2048
"""A block of 64 values takes a bit at least, and one component has a value for every fourth pixel at least."""

MAX_PNG_RATIO = 1032
"""Deflate cannot shrink further."""

_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""By colour type: grey, RGB, palette, grey and alpha, RGB and alpha."""
_PNG_GREY = frozenset((0, 4))
_PNG_ANIMATION = frozenset((b"acTL", b"fcTL", b"fdAT"))

_PNG_CHUNK, _PNG_CHECKSUM_BYTES = struct.Struct(">I4s"), 4

MAX_PNG_CHUNKS = 20_000
"""Writers make chunks of 8 KiB and more."""


@dataclass(frozen=True, slots=True)
class _Header:
    """What a file says of itself."""

    height: int
    width: int
    is_grey: bool
    dtype: type[np.uint8] | type[np.uint16]


def closest_encoding(picture_format: str) -> str:
    """The 8-bit encoding closest to the one left of the ';' in a ``format`` such as 'rgb8; jpeg compressed bgr8'.

    bgr8 where none stands there, or one that is not known.
    """
    encoding, semicolon, _ = picture_format.partition(";")
    layout = LAYOUTS.get(encoding.strip()) if semicolon else None
    return "bgr8" if layout is None else layout.closest_output


def decode(content: NDArray[np.uint8], picture_format: str, max_pixels: int) -> Rgb:
    """The picture in a JPEG or PNG file; EXIF's orientation is left alone, since camera_info does not know of it.

    Args:
        content: (N,) the file.
        picture_format: of the message. Grey files of a Bayer encoding hold the mosaic, unless it says 'compressed
            mono8'. The order of channels that it names is not heeded: files have their own, and many senders write
            rgb8 beside a regular file.
        max_pixels: a larger picture is refused before memory is taken for it.

    Returns:
        (H, W, 3) R, G, B; uint16 for a PNG of 16 bits, else uint8.

    Raises:
        ImageError: no such file, a damaged one, a depth image of image_transport, or too large a one.
    """
    if "compressedDepth" in picture_format:
        raise ImageError(
            f"compressed image of format {picture_format[:60]!r}: a depth image; subscribe to the camera's colour or "
            "grey image"
        )
    header = _read_header(content, picture_format, max_pixels)
    kind = cv2.IMREAD_GRAYSCALE if header.is_grey else cv2.IMREAD_COLOR
    try:
        stored = cv2.imdecode(content, kind | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        raise _damaged(content, picture_format) from error
    shape = (header.height, header.width) if header.is_grey else (header.height, header.width, 3)
    if stored is None or stored.shape != shape or stored.dtype != header.dtype:
        raise _damaged(content, picture_format)
    return cv2.cvtColor(stored, _to_rgb(header, picture_format))  # type: ignore[return-value]


def encode(pixels: NDArray[np.uint8], file_format: str, quality: int = JPEG_QUALITY) -> NDArray[np.uint8]:
    """A file of a picture.

    Args:
        pixels: (H, W, 3) in the order B, G, R, or (H, W) grey.
        file_format: one of ``FILE_FORMATS``.
        quality: of JPEG, 1 to 100.

    Returns:
        (N,) its bytes.

    Raises:
        ConfigError: another format or quality.
        ImageError: larger than the format allows.
    """
    if file_format not in FILE_FORMATS:
        raise ConfigError(f"cannot compress an image to '{file_format}'; use one of {', '.join(FILE_FORMATS)}")
    if not 1 <= quality <= 100:
        raise ConfigError(f"JPEG quality {quality}: must be from 1 to 100")
    options = (
        [cv2.IMWRITE_JPEG_QUALITY, quality] if file_format == "jpeg" else [cv2.IMWRITE_PNG_COMPRESSION, PNG_LEVEL]
    )
    try:
        written, content = cv2.imencode(f".{file_format}", pixels, options)
    except cv2.error:
        written = False
    if not written:
        height, width = pixels.shape[:2]
        raise ImageError(f"image of {width}x{height} cannot be written as {file_format}; use the raw image")
    return content


def _to_rgb(header: _Header, picture_format: str) -> int:
    """OpenCV's conversion code for what ``imdecode`` gives."""
    if not header.is_grey:
        return cv2.COLOR_BGR2RGB
    encoding, _, stored = picture_format.partition(";")
    encoding, stored_encoding = encoding.strip(), stored.partition("compressed")[2].strip()
    layout = LAYOUTS.get(encoding) if encoding.startswith("bayer_") and stored_encoding in ("", encoding) else None
    if layout is None or layout.to_rgb is None:
        return cv2.COLOR_GRAY2RGB
    if min(header.height, header.width) < MIN_BAYER_SIDE:
        raise ImageError(f"compressed image {header.width}x{header.height} {encoding}: too small to demosaic")
    return layout.to_rgb


def _damaged(content: NDArray[np.uint8], picture_format: str) -> ImageError:
    return ImageError(
        f"compressed image of {content.size} bytes and format {picture_format[:60]!r}: cut off or damaged, or of a "
        "kind that OpenCV does not read; check the camera driver and the network"
    )


def _read_header(content: NDArray[np.uint8], picture_format: str, max_pixels: int) -> _Header:
    start = content[: len(_PNG_START)].tobytes()
    if start.startswith(_JPEG_START):
        header = _jpeg_header(content.tobytes(), max_pixels)
    elif start == _PNG_START:
        header = _png_header(content, max_pixels)
    else:
        raise ImageError(
            f"compressed image of format {picture_format[:60]!r}: neither JPEG nor PNG ({content.size} bytes, from "
            f"{start.hex(' ') or 'none'} on); set the camera driver to one of these"
        )
    if header is None:
        raise _damaged(content, picture_format)
    return header


def _png_header(content: NDArray[np.uint8], max_pixels: int) -> _Header | None:
    """None: not one."""
    try:
        length, name, width, height, depth, colour = struct.unpack_from(
            ">I4sIIBB", content[:26].tobytes(), len(_PNG_START)
        )
    except struct.error:
        return None
    if (length, name) != (13, b"IHDR") or colour not in _PNG_CHANNELS:
        return None
    check_image_size(f"PNG of {width}x{height}", height, width, max_pixels)
    if height * width * depth * _PNG_CHANNELS[colour] // 8 > MAX_PNG_RATIO * content.size or not _chunks_fit(content):
        return None
    return _Header(height, width, colour in _PNG_GREY, np.uint16 if depth == 16 else np.uint8)


def _chunks_fit(content: NDArray[np.uint8]) -> bool:
    """Whether no chunk of a PNG claims more bytes than follow: OpenCV would take memory for them, up to 4 GiB."""
    at = len(_PNG_START)
    for _ in range(MAX_PNG_CHUNKS):
        if at + _PNG_CHUNK.size > content.size:
            return False
        length, name = _PNG_CHUNK.unpack_from(content.data, at)
        at += _PNG_CHUNK.size + length + _PNG_CHECKSUM_BYTES
        if at > content.size or name in _PNG_ANIMATION:
            return False
        if name == b"IEND":
            return True
    return False


def _jpeg_header(content: bytes, max_pixels: int) -> _Header | None:
    """None: not one that can be decoded. Segments are walked as libjpeg does, so that no other size can be meant."""
    at = 2
    for _ in range(MAX_JPEG_SEGMENTS):
        marker = _JPEG_MARKER.search(content, at)
        if marker is None:
            return None
        kind, at = content[marker.end() - 1], marker.end()
        if kind in _WITHOUT_LENGTH:
            continue
        if kind in _FRAMES:
            return _jpeg_frame(content, at, max_pixels) if kind in _FRAMES_READ else None
        length = int.from_bytes(content[at : at + 2], "big")
        if kind in _OUT_OF_PLACE or length < 2:
            return None
        at += length
    return None


def _jpeg_frame(content: bytes, at: int, max_pixels: int) -> _Header | None:
    try:
        _, depth, height, width, components = struct.unpack_from(">HBHHB", content, at)
    except struct.error:
        return None
    check_image_size(f"JPEG of {width}x{height}", height, width, max_pixels)
    scan = content.find(_START_OF_SCAN, at)
    is_whole = scan >= 0 and content.rfind(_END_OF_IMAGE, scan) >= 0
    if not is_whole or content.count(_START_OF_SCAN, at) > MAX_JPEG_SCANS or depth != 8:
        return None
    if height * width > MAX_JPEG_PIXELS_PER_BYTE * len(content):
        return None
    return _Header(height, width, components == 1, np.uint8)
