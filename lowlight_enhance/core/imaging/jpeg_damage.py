"""Detection of JPEG files whose compressed data is incomplete.

libjpeg decodes such a file without an error: it fills missing blocks with grey (128) and writes "Corrupt JPEG data:
premature end of data segment" to stderr. Cut or overwritten bytes in the middle mostly have this effect, because the
decoder finds fewer blocks in them. OpenCV does not report the warning.

A libjpeg warning is not enough to reject a file: common webcams (Logitech C270, C310, C910) write a few superfluous
bytes before restart markers, and libjpeg warns about each frame although the picture is complete.

So there are two checks. Restart markers must be complete and in order. And if the last block before a restart marker
or the end is grey, the file is decoded again with additional data before each marker: a complete file gives the same
picture, because libjpeg skips data after the last block; an incomplete file gives another one.

Not detected: damage that keeps or increases the number of blocks (single bits, inserted data), and damage of
progressive files, which cameras do not write.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from lowlight_enhance.core.imaging.picture_header import PictureHeader

Pixels = NDArray[np.uint8] | NDArray[np.uint16]

GREY = 128
"""Value of missing blocks, in all channels."""

_START_OF_SCAN = b"\xff\xda"
_MARKER = re.compile(rb"\xff([^\x00\xff])", re.DOTALL)
_RESTART_MARKERS = range(0xD0, 0xD8)
_ADDITIONAL_DATA = bytes.fromhex("5ac317e4298b70d63f9512ae64db0871")
"""Arbitrary bytes without 0xFF, so that they contain no marker."""

MAX_REPETITIONS = 64
"""Repetitions of ``_ADDITIONAL_DATA`` before each marker. A block takes 30 bytes at 640x480 and quality 85."""

MAX_ADDITIONAL_BYTES = 4 * 1024 * 1024
"""Limit on all additional data, apart from one repetition for each marker."""


def has_all_restart_markers(content: bytes, header: PictureHeader) -> bool:
    """Return whether the scan of a JPEG file has the restart markers that its header announces, in order.

    Markers after the last one are allowed: some devices write them, and libjpeg skips them.

    Args:
        content: the file.
        header: its header.
    """
    if 0 in header.mcu_size or not header.restart_interval:
        return True
    rows, blocks_per_row = _blocks(header)
    expected = -(-rows * blocks_per_row // header.restart_interval) - 1
    found = (match[1][0] for match in _MARKER.finditer(content, _scan_start(content)))
    restarts = itertools.takewhile(_RESTART_MARKERS.__contains__, found)
    numbers = [marker - _RESTART_MARKERS.start for marker in itertools.islice(restarts, expected)]
    return numbers == [number % len(_RESTART_MARKERS) for number in range(expected)]


def has_missing_blocks(
    content: bytes, header: PictureHeader, decoded: Pixels, decode: Callable[[bytes], Pixels | None]
) -> bool:
    """Return whether libjpeg has filled missing blocks with grey.

    Args:
        content: the file.
        header: its header.
        decoded: (H, W) or (H, W, 3) the picture.
        decode: function that decodes a file as ``decoded`` was decoded.
    """
    if 0 in header.mcu_size or not _has_grey_end(header, decoded):
        return False
    scan = _scan_start(content)
    again = decode(content[:scan] + _with_additional_data(content[scan:]))
    return again is None or not np.array_equal(decoded, again)


def _with_additional_data(compressed: bytes) -> bytes:
    """Insert additional data before each marker.

    It must be longer than a block: the first missing block may be saturated to black or white with and without it.
    """
    markers = sum(1 for _ in _MARKER.finditer(compressed))
    repetitions = min(MAX_REPETITIONS, 1 + MAX_ADDITIONAL_BYTES // (len(_ADDITIONAL_DATA) * max(markers, 1)))
    return _MARKER.sub(repetitions * _ADDITIONAL_DATA + rb"\g<0>", compressed)


def _scan_start(content: bytes) -> int:
    """Return the offset of the compressed data. The scan of an EXIF thumbnail comes before that of the picture."""
    return content.rfind(_START_OF_SCAN) + len(_START_OF_SCAN)


def _blocks(header: PictureHeader) -> tuple[int, int]:
    """Return the number of rows of blocks, and of blocks per row."""
    mcu_height, mcu_width = header.mcu_size
    return -(-header.height // mcu_height), -(-header.width // mcu_width)


def _has_grey_end(header: PictureHeader, decoded: Pixels) -> bool:
    """Return whether the last block of the file or of a restart interval is grey at its centre.

    Only the centre is compared: at the edges, libjpeg interpolates colour between neighbouring blocks.
    """
    (mcu_height, mcu_width), (rows, blocks_per_row) = header.mcu_size, _blocks(header)
    blocks = rows * blocks_per_row
    interval = header.restart_interval or blocks
    last = np.minimum(np.arange(interval, blocks + interval, interval), blocks) - 1
    top, left = last // blocks_per_row * mcu_height, last % blocks_per_row * mcu_width
    y = (top + np.minimum(top + mcu_height, header.height)) // 2
    x = (left + np.minimum(left + mcu_width, header.width)) // 2
    block_rows = np.stack([np.maximum(y - 1, top), y], axis=1)[:, :, None]
    block_columns = np.stack([np.maximum(x - 1, left), x], axis=1)[:, None, :]
    is_grey = decoded[block_rows, block_columns] == GREY
    return bool(is_grey.reshape(len(last), -1).all(axis=1).any())
