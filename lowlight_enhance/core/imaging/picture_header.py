"""Headers of JPEG and PNG files: size and type of the picture, read before OpenCV decodes the file.

OpenCV allocates what a header claims, so a file of a few bytes can claim gigabytes; and it has no function that reads
only the header. Pillow has one (0.02 ms at 640x480, here 0.04 ms), but it would be a further dependency of the robot:
package.xml names it for tests only. Pillow also does not limit scans, chunks and compression ratio before it decodes.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lowlight_enhance.core.imaging.encodings import check_image_size

JPEG_START, PNG_START = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"

_JPEG_MARKER = re.compile(rb"\xff[^\x00\xff]", re.DOTALL)
_START_OF_SCAN, _END_OF_IMAGE = b"\xff\xda", b"\xff\xd9"
_RESTART_INTERVAL = 0xDD
_MARKERS_WITHOUT_LENGTH = frozenset((0x01, *range(0xD0, 0xD8)))
_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xCC}
_SUPPORTED_FRAMES = frozenset((0xC0, 0xC1, 0xC2))
"""Baseline, extended sequential and progressive with Huffman codes. OpenCV does not read others on every platform."""
_SEQUENTIAL_FRAMES = frozenset((0xC0, 0xC1))
_ENDS_OF_HEADER = frozenset((0xD8, 0xD9, 0xDA))

MAX_JPEG_SEGMENTS = 256
"""Limit on segments before the scan; cameras write about ten."""

MAX_JPEG_SCANS = 32
"""Limit on scans, each of which costs a pass over the picture; progressive files have about ten."""

MAX_JPEG_PIXELS_PER_BYTE = 2048
"""A block of 64 values takes at least one bit, and a component has at least one value for four pixels."""

MAX_PNG_RATIO = 1032
"""Largest compression ratio of deflate."""

_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Channels by colour type: grey, RGB, palette, grey with alpha, RGB with alpha."""
_PNG_GREY = frozenset((0, 4))
_PNG_ANIMATION = frozenset((b"acTL", b"fcTL", b"fdAT"))
_PNG_CHUNK, _PNG_CHECKSUM_BYTES = struct.Struct(">I4s"), 4

MAX_PNG_CHUNKS = 20_000
"""Limit on chunks; encoders write chunks of 8 KiB and more."""


@dataclass(frozen=True, slots=True)
class PictureHeader:
    """Header of a file.

    Attributes:
        height: rows.
        width: columns.
        is_grey: the file has one channel, apart from alpha.
        dtype: type of a value.
        mcu_size: (height, width) in pixels of the blocks (minimum coded units) of a sequential JPEG file with one
            scan; (0, 0) for other files.
        restart_interval: number of blocks between two restart markers of a JPEG file; 0: the file has none.
    """

    height: int
    width: int
    is_grey: bool
    dtype: type[np.uint8] | type[np.uint16]
    mcu_size: tuple[int, int] = (0, 0)
    restart_interval: int = 0


def png_header(content: NDArray[np.uint8], max_pixels: int) -> PictureHeader | None:
    """Read the header of a PNG file.

    Args:
        content: (N,) the file, which starts with ``PNG_START``.
        max_pixels: larger pictures are rejected.

    Returns:
        The header; None if the file is damaged or animated.

    Raises:
        ImageError: the picture is empty or larger than ``max_pixels``.
    """
    try:
        length, name, width, height, depth, colour = struct.unpack_from(
            ">I4sIIBB", content[:26].tobytes(), len(PNG_START)
        )
    except struct.error:
        return None
    if (length, name) != (13, b"IHDR") or colour not in _PNG_CHANNELS:
        return None
    check_image_size(f"PNG of {width}x{height}", height, width, max_pixels)
    if height * width * depth * _PNG_CHANNELS[colour] // 8 > MAX_PNG_RATIO * content.size or not _chunks_fit(content):
        return None
    return PictureHeader(height, width, colour in _PNG_GREY, np.uint16 if depth == 16 else np.uint8)


def _chunks_fit(content: NDArray[np.uint8]) -> bool:
    """Return whether all chunks of a PNG file lie in the file. libpng allocates what a chunk claims, up to 4 GiB."""
    at = len(PNG_START)
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


def jpeg_header(content: bytes, max_pixels: int) -> PictureHeader | None:
    """Read the header of a JPEG file.

    Args:
        content: the file, which starts with ``JPEG_START``.
        max_pixels: larger pictures are rejected.

    Returns:
        The header; None if the file is cut off, damaged or of a type that OpenCV does not read.

    Raises:
        ImageError: the picture is empty or larger than ``max_pixels``.
    """
    restart_interval = 0
    header: PictureHeader | None = None
    for marker, at in _jpeg_segments(content):
        if marker == _RESTART_INTERVAL:
            restart_interval = int.from_bytes(content[at + 2 : at + 4], "big")
        elif marker in _FRAME_MARKERS:
            if header is None:
                header = _jpeg_frame(content, marker, at, max_pixels)
            if header is None:
                return None
    if header is None or not restart_interval:
        return header
    return PictureHeader(header.height, header.width, header.is_grey, header.dtype, header.mcu_size, restart_interval)


def _jpeg_segments(content: bytes) -> Iterator[tuple[int, int]]:
    """Yield the marker and the offset of the length field of each segment before the first scan.

    Bytes between segments are skipped as libjpeg skips them, so that both find the same frame header.
    """
    at = 2
    for _ in range(MAX_JPEG_SEGMENTS):
        found = _JPEG_MARKER.search(content, at)
        if found is None:
            return
        marker, at = content[found.end() - 1], found.end()
        if marker in _MARKERS_WITHOUT_LENGTH:
            continue
        length = int.from_bytes(content[at : at + 2], "big")
        if marker in _ENDS_OF_HEADER or length < 2:
            return
        yield marker, at
        at += length


def _jpeg_frame(content: bytes, marker: int, at: int, max_pixels: int) -> PictureHeader | None:
    if marker not in _SUPPORTED_FRAMES:
        return None
    try:
        _, depth, height, width, components = struct.unpack_from(">HBHHB", content, at)
    except struct.error:
        return None
    check_image_size(f"JPEG of {width}x{height}", height, width, max_pixels)
    scan = content.find(_START_OF_SCAN, at)
    has_end = scan >= 0 and content.rfind(_END_OF_IMAGE, scan) >= 0
    scans = content.count(_START_OF_SCAN, at)
    if not has_end or scans > MAX_JPEG_SCANS or depth != 8:
        return None
    if height * width > MAX_JPEG_PIXELS_PER_BYTE * len(content):
        return None
    is_single_scan = marker in _SEQUENTIAL_FRAMES and scans == 1
    mcu_size = _mcu_size(content[at + 8 : at + 8 + 3 * components]) if is_single_scan else (0, 0)
    return PictureHeader(height, width, components == 1, np.uint8, mcu_size)


def _mcu_size(components: bytes) -> tuple[int, int]:
    """Return (height, width) of a block, from the components of a frame header (ITU-T T.81, A.2.2 and B.2.2)."""
    if len(components) == 3:
        return 8, 8
    factors = components[1::3]
    return 8 * max((factor & 15 for factor in factors), default=0), 8 * max((f >> 4 for f in factors), default=0)
