"""Develop camera raw files (DNG, NEF, CR2, ...) to the image that a camera would publish.

Most raw files are TIFF files whose first page is a small preview, already brightened by the camera. A TIFF reader
takes that preview for the image, so raw files are recognised by their content and developed with LibRaw.

All files are developed with the same fixed settings, so that a dark frame stays as dark as the sensor saw it:

- Scale: the sensor's black level becomes 0 and its white level full scale. LibRaw's automatic brightening is off.
- White balance: the gains that the camera stored with this frame, however poor they are in the dark.
- Colour and tone: sRGB with its own curve (IEC 61966-2-1). No denoising and no sharpening.

LibRaw clips values below the black level to 0 before it interpolates colours. A nearly black frame with noise is
therefore a little brighter than the light that reached it.
"""

from __future__ import annotations

import contextlib
import io
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

import numpy as np

from lowlight_enhance.core.errors import ImageError
from lowlight_enhance.core.imaging.encodings import check_image_size
from lowlight_enhance.core.inference.model_input import Rgb
from lowlight_enhance.core.metadata.capture import CaptureMetadata

if TYPE_CHECKING:
    import rawpy

Bits = Literal[8, 16]

RAW_SUFFIXES = tuple(
    f".{name}"
    for name in (
        *("3fr", "arw", "cr2", "cr3", "crw", "dng", "erf", "fff", "iiq", "kdc", "mef", "mos", "mrw", "nef", "nrw"),
        *("orf", "pef", "raf", "raw", "rw2", "rwl", "sr2", "srf", "srw", "x3f"),
    )
)

SRGB_CURVE = (2.4, 12.92)
"""Power and slope at black, in LibRaw's form."""

_CR2_START = b"II*\0\x10\0\0\0CR"
"""Start of a CR2 file, whose directories do not mark sensor data."""

_SUBFILE_TYPE, _PHOTOMETRIC, _SUB_DIRECTORIES, _DNG_VERSION = 254, 262, 330, 50706
_SENSOR_DATA = (32803, 34892)
"""Values of PhotometricInterpretation: colour filter array and LinearRaw."""

_MAX_DIRECTORIES = 64
"""Largest number of directories to read of a TIFF file; raw files have up to about ten."""


def is_camera_raw(content: bytes, suffix: str = "") -> bool:
    """Return whether a file holds a camera's sensor data.

    Args:
        content: the whole file.
        suffix: suffix of the file name, with the dot.
    """
    if suffix.lower() in RAW_SUFFIXES or content.startswith(_CR2_START):
        return True
    return any(
        _DNG_VERSION in directory or directory.get(_PHOTOMETRIC) in _SENSOR_DATA
        for directory in _tiff_directories(content)
    )


def is_preview_first(content: bytes) -> bool:
    """Return whether the first page of a TIFF file is a reduced version of another page."""
    first = next(_tiff_directories(content), {})
    return bool(first.get(_SUBFILE_TYPE, 0) & 1)


def develop_raw(
    source: Path, bits: Bits = 8, upright: bool = False, content: bytes | None = None, max_pixels: int | None = None
) -> tuple[Rgb, CaptureMetadata]:
    """Develop a raw file.

    Args:
        source: the file.
        bits: bits per sample of the result.
        upright: rotate the image by the orientation of the camera. False keeps the orientation of the sensor, so that
            both frames of a training pair always match.
        content: content of ``source``, if it was read already.
        max_pixels: larger images are rejected; None: any size.

    Returns:
        (H, W, 3) R, G, B in sRGB, uint8 or uint16, and the exposure that the camera recorded.

    Raises:
        ImageError: the file does not exist, LibRaw cannot read it, it is too large, or rawpy is not installed.
    """
    if content is None and not source.is_file():
        raise ImageError(f"{source} does not exist; check the path")
    with _opened(source, content) as raw:
        import rawpy

        check_image_size(
            f"{source} of {raw.sizes.width}x{raw.sizes.height}", raw.sizes.height, raw.sizes.width, max_pixels
        )
        capture = _capture(raw)
        developed = raw.postprocess(
            use_camera_wb=True,
            no_auto_bright=True,
            adjust_maximum_thr=0.0,
            gamma=SRGB_CURVE,
            output_color=rawpy.ColorSpace.sRGB,
            output_bps=16,
            user_flip=None if upright else 0,
        )
    wide = cast(Rgb, developed)
    if bits == 16:
        return wide, capture
    return ((wide.astype(np.uint32) + 128) // 257).astype(np.uint8), capture  # LibRaw's own 8 bits are truncated


@contextlib.contextmanager
def _opened(source: Path, content: bytes | None) -> Iterator[rawpy.RawPy]:
    """Open a raw file. Errors of LibRaw, also those inside the block, become ``ImageError``."""
    try:
        import rawpy
    except ImportError as error:
        raise ImageError(
            f"{source} is a camera raw file: install rawpy (pip install rawpy), or convert it to a 16-bit TIFF file"
        ) from error
    try:
        with rawpy.imread(str(source) if content is None else io.BytesIO(content)) as raw:
            yield raw
    except rawpy.LibRawError as error:
        reason = error.args[0].decode() if error.args and isinstance(error.args[0], bytes) else str(error)
        raise ImageError(f"cannot develop {source}: {reason}; it is damaged or no raw file: replace it") from error


def _capture(raw: rawpy.RawPy) -> CaptureMetadata:
    """Return ISO and exposure time, to the six digits that LibRaw's single precision holds."""
    try:
        recorded = raw.other
    except (ValueError, OverflowError, OSError):  # rawpy also converts the date, which may be invalid
        return CaptureMetadata()
    return CaptureMetadata.sanitized(float(f"{recorded.iso_speed:.6g}"), float(f"{recorded.shutter_speed:.6g}"))


def _tiff_directories(content: bytes) -> Iterator[dict[int, int]]:
    """Yield the directories of a TIFF file: first value of every tag that holds 16- or 32-bit integers or bytes."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(content[:4])
    if order is None:
        return
    pending, visited = [_integer(content, order, 4)], set[int]()
    while pending and len(visited) < _MAX_DIRECTORIES:
        at = pending.pop(0)
        if at == 0 or at in visited or at + 2 > len(content):
            continue
        visited.add(at)
        (count,) = struct.unpack_from(order + "H", content, at)
        directory = {}
        for entry in range(at + 2, min(at + 2 + 12 * count, len(content) - 11), 12):
            tag, kind, values = struct.unpack_from(order + "HHI", content, entry)
            if tag == _SUB_DIRECTORIES:
                pending += _offsets(content, order, entry, values)
            elif kind in (1, 3, 4):
                code = {1: "B", 3: "H", 4: "I"}[kind]
                directory[tag] = struct.unpack_from(order + code, content, entry + 8)[0]
        pending.append(_integer(content, order, at + 2 + 12 * count))
        yield directory


def _offsets(content: bytes, order: str, entry: int, count: int) -> list[int]:
    """Return the offsets of sub-directories: a single one is stored in the entry itself, several elsewhere."""
    first = _integer(content, order, entry + 8)
    return [first] if count == 1 else [_integer(content, order, first + 4 * i) for i in range(min(count, 16))]


def _integer(content: bytes, order: str, at: int) -> int:
    """Return the 32-bit integer at an offset; 0 past the end."""
    return int(struct.unpack_from(order + "I", content, at)[0]) if 0 <= at <= len(content) - 4 else 0
