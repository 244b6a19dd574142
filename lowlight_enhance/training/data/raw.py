"""One raw file of a camera, developed to the picture that a camera topic would carry.

Every file goes the same fixed way, so that a dark frame stays, beside its well-exposed partner, as dark as the sensor
saw it:

- Scale: the sensor's black level becomes 0 and its white level full scale. LibRaw's automatic brightening is off, and
  so is its habit of calling the brightest value of a picture white.
- White balance: the gains that the camera stored with this very frame. A dark frame keeps its own, poor as they may
  be: a camera in the dark knows no better ones either.
- Colour and tone: sRGB with its own curve (IEC 61966-2-1). No denoising and no sharpening.
- Orientation: as the sensor is read out, so that the two frames of a pair always fit.

LibRaw cuts values below the black level to 0 before it interpolates colours, so a nearly black frame is, with its
noise, a little brighter than the light it got.
"""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path
from typing import Literal, cast

import cv2
import numpy as np
import rawpy
from PIL import Image

from lowlight_enhance.core.errors import DataError, ImageError
from lowlight_enhance.core.files import atomic_file
from lowlight_enhance.core.inference.model_input import Rgb
from lowlight_enhance.core.metadata.capture import CaptureMetadata

Bits = Literal[8, 16]

SRGB_CURVE = (2.4, 12.92)
"""Power and slope at black, as LibRaw wants them."""

EXIF_IFD, EXPOSURE_TIME = 0x8769, 0x829A
SENSITIVITY, ISO_SPEED = 0x8827, 0x8833
SENSITIVITY_LIMIT = 65535
"""PhotographicSensitivity has 16 bits; this value sends the reader to ISOSpeed."""

PNG_HEADER_SIZE, PNG_DEPTH_AT, PNG_END = 33, 24, b"\0\0\0\0IEND\xaeB`\x82"


def develop(source: Path, bits: Bits = 8) -> tuple[Rgb, CaptureMetadata]:
    """(H, W, 3) sRGB of a raw file, uint8 or uint16, and what the camera noted about the exposure.

    Raises:
        ImageError: no such file, no raw file that LibRaw knows, or a damaged one.
    """
    if not source.is_file():
        raise ImageError(f"{source} does not exist; download it again")
    try:
        with rawpy.imread(str(source)) as raw:
            capture = _capture(raw)
            developed = raw.postprocess(
                use_camera_wb=True,
                no_auto_bright=True,
                adjust_maximum_thr=0.0,
                gamma=SRGB_CURVE,
                output_color=rawpy.ColorSpace.sRGB,
                output_bps=16,
                user_flip=0,
            )
    except rawpy.LibRawError as error:
        reason = error.args[0].decode() if error.args and isinstance(error.args[0], bytes) else str(error)
        raise ImageError(f"cannot develop {source}: {reason}; it is damaged or no raw file: replace it") from error
    wide = cast(Rgb, developed)
    if bits == 16:
        return wide, capture
    return ((wide.astype(np.uint32) + 128) // 257).astype(np.uint8), capture  # LibRaw's own 8 bits are rounded down


def _capture(raw: rawpy.RawPy) -> CaptureMetadata:
    """ISO and exposure time, to the six digits that LibRaw's single precision holds."""
    try:
        noted = raw.other
    except (ValueError, OverflowError, OSError):  # rawpy also makes a date of what the file says, which may be none
        return CaptureMetadata()
    return CaptureMetadata.of(float(f"{noted.iso_speed:.6g}"), float(f"{noted.shutter_speed:.6g}"))


def develop_file(source: Path, target: Path, bits: Bits = 8) -> CaptureMetadata:
    """Develop ``source`` and write the PNG ``target``, whole or not at all, with ISO and exposure time as its EXIF.

    Raises:
        ImageError: as ``develop``.
        DataError: ``target`` cannot be written.
    """
    rgb, capture = develop(source, bits)
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
    """What ``develop_file`` noted in ``target``; None where that is no whole PNG of ``bits`` bits."""
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
    return CaptureMetadata.of(tags.get(ISO_SPEED) if iso == SENSITIVITY_LIMIT else iso, tags.get(EXPOSURE_TIME))
