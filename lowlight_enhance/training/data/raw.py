"""Develop raw files into PNG files that hold ISO and exposure time as EXIF."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from lowlight_enhance.core.errors import DataError
from lowlight_enhance.core.files import atomic_file
from lowlight_enhance.core.metadata.capture import CaptureMetadata
from lowlight_enhance.tools.camera_raw import Bits, develop_raw

EXIF_IFD, EXPOSURE_TIME = 0x8769, 0x829A
SENSITIVITY, ISO_SPEED = 0x8827, 0x8833
SENSITIVITY_LIMIT = 65535
"""PhotographicSensitivity has 16 bits. This value means that the ISO is in ISOSpeed."""

PNG_HEADER_SIZE, PNG_DEPTH_AT, PNG_END = 33, 24, b"\0\0\0\0IEND\xaeB`\x82"


def develop_file(source: Path, target: Path, bits: Bits = 8) -> CaptureMetadata:
    """Develop ``source`` into the PNG file ``target``, with ISO and exposure time as EXIF. It is written atomically.

    Raises:
        ImageError: as ``develop_raw``.
        DataError: ``target`` cannot be written.
    """
    rgb, capture = develop_raw(source, bits)
    encoded, png = cv2.imencode(".png", np.ascontiguousarray(rgb[:, :, ::-1]))
    if not encoded:
        raise DataError(f"cannot write {target}: OpenCV fails to encode {rgb.shape[1]}x{rgb.shape[0]} pixels as PNG")
    content = png.tobytes()
    with atomic_file(target) as temporary, temporary.open("wb") as file:
        file.write(content[:PNG_HEADER_SIZE])
        file.write(_exif_chunk(capture))
        file.write(content[PNG_HEADER_SIZE:])
    return capture


def _exif_chunk(capture: CaptureMetadata) -> bytes:
    exif = Image.Exif()
    tags = exif.get_ifd(EXIF_IFD)
    if capture.exposure_s is not None:
        tags[EXPOSURE_TIME] = capture.exposure_s
    if capture.iso is not None:
        tags[SENSITIVITY] = min(round(capture.iso), SENSITIVITY_LIMIT)
        if tags[SENSITIVITY] == SENSITIVITY_LIMIT:
            tags[ISO_SPEED] = round(capture.iso)
    chunk = b"eXIf" + exif.tobytes().removeprefix(b"Exif\0\0")
    return struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))


def developed_capture(target: Path, bits: Bits = 8) -> CaptureMetadata | None:
    """Return the capture that ``develop_file`` wrote; None if ``target`` is not a complete ``bits``-bit PNG file."""
    try:
        with target.open("rb") as file:
            header = file.read(PNG_HEADER_SIZE)
            file.seek(-len(PNG_END), os.SEEK_END)
            if header[PNG_DEPTH_AT] != bits or file.read() != PNG_END:
                return None
        with Image.open(target, formats=["PNG"]) as picture:
            tags = picture.getexif().get_ifd(EXIF_IFD)
    except (OSError, IndexError):
        return None
    iso = tags.get(SENSITIVITY)
    return CaptureMetadata.sanitized(tags.get(ISO_SPEED) if iso == SENSITIVITY_LIMIT else iso, tags.get(EXPOSURE_TIME))
