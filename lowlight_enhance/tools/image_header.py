"""Read size and full scale of an image file from its header, before it is decoded.

OpenCV allocates the memory that a header declares, and does not scale samples of 10 or 12 bits to 16.
"""

from __future__ import annotations

import io
import re
import struct
import warnings

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_JPEG_FRAME = re.compile(rb"\xff[\xc0-\xc2]..\x08(....)", re.DOTALL)
_JPEG_SCAN, _JPEG_END = b"\xff\xda", b"\xff\xd9"

_PNM_BINARY = (b"P5", b"P6")
_PNM_TEXT = (b"P2", b"P3")
_PNM_HEADER = re.compile(rb"P[2356](?:\s|#[^\n]*\n)+(\d+)(?:\s|#[^\n]*\n)+(\d+)(?:\s|#[^\n]*\n)+(\d+)\s")

_JP2_SIZE_MARKER = b"\xff\x4f\xff\x51"
_JP2_DEPTH_AT = 4 + 38
"""Offset of the first component's depth from the start of the codestream."""

TOO_LARGE = (1 << 31, 1 << 31)
"""Stands for a size that Pillow rejects as a decompression bomb."""


def declared_size(content: bytes) -> tuple[int, int] | None:
    """Return the (height, width) that the header declares; None if it is not known.

    Pillow reads the header of every format. Without Pillow only PNG and JPEG headers are read, because a few bytes of
    these formats can declare gigabytes.
    """
    try:
        from PIL import Image
    except ImportError:
        return _png_or_jpeg_size(content)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(content)) as image:
                return image.height, image.width
    except Image.DecompressionBombError:
        return _png_or_jpeg_size(content) or TOO_LARGE
    except Exception:  # a format that Pillow does not know, or a damaged header: OpenCV decides
        return _png_or_jpeg_size(content)


def _png_or_jpeg_size(content: bytes) -> tuple[int, int] | None:
    if content.startswith(_PNG_SIGNATURE) and len(content) >= 24:
        width, height = struct.unpack_from(">II", content, 16)
        return height, width
    if content.startswith(b"\xff\xd8") and (frame := _JPEG_FRAME.search(content)):
        height, width = struct.unpack(">HH", frame[1])
        return height, width
    return None


def is_cut_short(content: bytes) -> bool:
    """Return whether a JPEG file ends before its image does; OpenCV fills the rest with grey."""
    if not content.startswith(b"\xff\xd8\xff"):
        return False
    return content.rfind(_JPEG_END) < content.find(_JPEG_SCAN)


def sample_maximum(content: bytes, bits: int) -> int:
    """Return the value of full scale of the samples that OpenCV decodes from a file.

    Args:
        content: the whole file.
        bits: bits of the decoded array, 8 or 16.

    Returns:
        ``2**bits - 1``, or less for PNM, AVIF and JPEG 2000 files of another depth, whose samples OpenCV returns
        unscaled.
    """
    full = (1 << bits) - 1
    if header := _PNM_HEADER.match(content):
        maximum = int(header[3])
        scaled_by_opencv = content[:2] in _PNM_TEXT and bits == 8
        return maximum if 0 < maximum < full and not scaled_by_opencv else full
    depth = _avif_depth(content) or _jp2_depth(content)
    return min(full, (1 << depth) - 1) if depth else full


def _avif_depth(content: bytes) -> int | None:
    """Return the bits of a sample, from the AV1 configuration (AV1-ISOBMFF, section 2.3)."""
    if content[4:8] != b"ftyp":
        return None
    at = content.find(b"av1C")
    if at < 0 or at + 7 > len(content):
        return None
    flags = content[at + 6]
    if not flags & 0x40:
        return 8
    return 12 if flags & 0x20 else 10


def _jp2_depth(content: bytes) -> int | None:
    """Return the bits of a sample of the first component, from the SIZ marker (ISO/IEC 15444-1, A.5.1)."""
    at = content.find(_JP2_SIZE_MARKER)
    is_jp2 = at == 0 or content[4:8] == b"jP  "
    if not is_jp2 or at < 0 or at + _JP2_DEPTH_AT >= len(content):
        return None
    return (content[at + _JP2_DEPTH_AT] & 0x7F) + 1
