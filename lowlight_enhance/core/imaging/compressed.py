"""Picture files in CompressedImage messages: JPEG and PNG to RGB arrays and back.

The file defines its type and channel order; the message's ``format`` does not, because senders write it in many ways.
Size and type are read from the header before OpenCV decodes the file. Files of other types never reach OpenCV, which
would try all its decoders.
"""

from __future__ import annotations

import contextlib

import cv2
import numpy as np
from numpy.typing import NDArray

from lowlight_enhance.core.errors import ConfigError, ImageError
from lowlight_enhance.core.imaging.encodings import LAYOUTS, MIN_BAYER_SIDE, convert_color
from lowlight_enhance.core.imaging.jpeg_damage import Pixels, has_all_restart_markers, has_missing_blocks
from lowlight_enhance.core.imaging.picture_header import (
    JPEG_START,
    PNG_START,
    PictureHeader,
    jpeg_header,
    png_header,
)
from lowlight_enhance.core.inference.model_input import Rgb
from lowlight_enhance.core.stderr_filter import without_stderr_lines

FILE_FORMATS = ("jpeg", "png")
"""Formats that are read and written."""

JPEG_QUALITY = 90
"""Default quality of written files, 1 to 100."""

PNG_COMPRESSION = 1
"""Compression level of written files, 0 to 9. Higher levels take far more time and save few bytes."""

_LIBJPEG_WARNINGS = (b"Corrupt JPEG data", b"Premature end of JPEG file")


class _JpegWarnings:
    """Keeps the warnings of libjpeg about damaged files from filling stderr.

    libjpeg writes one line per damaged file, 30 a second for a bad camera cable. The only way to stop it from Python
    is to redirect file descriptor 2, which concerns the whole process. So nothing is redirected until the first
    damaged file.
    """

    is_hidden = False

    @classmethod
    def context(cls) -> contextlib.AbstractContextManager[None]:
        return without_stderr_lines(*_LIBJPEG_WARNINGS) if cls.is_hidden else contextlib.nullcontext()


def closest_encoding(picture_format: str) -> str:
    """Return rgb8, bgr8 or mono8, whichever is closest to the encoding that ``format`` names before its ';'.

    For example rgb8 for 'rgb8; jpeg compressed bgr8'; bgr8 if there is no ';' or the encoding is unknown.
    """
    encoding, semicolon, _ = picture_format.partition(";")
    layout = LAYOUTS.get(encoding.strip()) if semicolon else None
    return "bgr8" if layout is None else layout.closest_output


def decode(content: NDArray[np.uint8], picture_format: str, max_pixels: int) -> Rgb:
    """Decode a JPEG or PNG file. The orientation in EXIF is ignored, because camera_info does not include it.

    Args:
        content: (N,) the file.
        picture_format: ``format`` of the message. A grey file of a Bayer encoding holds a Bayer image unless the
            format says 'compressed mono8'. The channel order in the format is ignored: the decoder knows that of the
            file, and many senders write rgb8 for a regular file.
        max_pixels: larger pictures are rejected before memory is allocated for them.

    Returns:
        (H, W, 3) R, G, B; uint16 for a 16-bit PNG, else uint8.

    Raises:
        ImageError: the file is neither JPEG nor PNG, damaged, too large, or a depth image of image_transport.
    """
    if "compressedDepth" in picture_format:
        raise ImageError(
            f"compressed image of format {picture_format[:60]!r}: a depth image; subscribe to the camera's colour or "
            "grey image"
        )
    start = content[: len(PNG_START)].tobytes()
    if start.startswith(JPEG_START):
        return _decode_jpeg(content, picture_format, max_pixels)
    if start == PNG_START:
        header = png_header(content, max_pixels)
        if header is None:
            raise _damaged(content, picture_format)
        return _to_rgb(_decode_with_opencv(content, header, picture_format), picture_format)
    raise ImageError(
        f"compressed image of format {picture_format[:60]!r}: neither JPEG nor PNG ({content.size} bytes, from "
        f"{start.hex(' ') or 'none'} on); set the camera driver to one of these"
    )


def encode(pixels: NDArray[np.uint8], file_format: str, quality: int = JPEG_QUALITY) -> NDArray[np.uint8]:
    """Encode a picture.

    Args:
        pixels: (H, W, 3) in the order B, G, R, or (H, W) grey.
        file_format: one of ``FILE_FORMATS``.
        quality: JPEG quality, 1 to 100; not used for PNG.

    Returns:
        (N,) the file.

    Raises:
        ConfigError: another format or quality.
        ImageError: the picture is larger than the format allows.
    """
    if file_format not in FILE_FORMATS:
        raise ConfigError(f"cannot compress an image to '{file_format}'; use one of {', '.join(FILE_FORMATS)}")
    if not 1 <= quality <= 100:
        raise ConfigError(f"JPEG quality {quality}: must be from 1 to 100")
    is_jpeg = file_format == "jpeg"
    options = [cv2.IMWRITE_JPEG_QUALITY, quality] if is_jpeg else [cv2.IMWRITE_PNG_COMPRESSION, PNG_COMPRESSION]
    try:
        written, content = cv2.imencode(f".{file_format}", pixels, options)
    except cv2.error:
        written = False
    if not written:
        height, width = pixels.shape[:2]
        raise ImageError(f"image of {width}x{height} cannot be written as {file_format}; use the raw image")
    return content


def _decode_jpeg(content: NDArray[np.uint8], picture_format: str, max_pixels: int) -> Rgb:
    file = content.tobytes()
    header = jpeg_header(file, max_pixels)
    if header is None:
        raise _damaged(content, picture_format)
    if not has_all_restart_markers(file, header):
        raise _incomplete(content, picture_format)
    with _JpegWarnings.context():
        stored = _decode_with_opencv(content, header, picture_format)

    def decode_again(changed: bytes) -> Pixels | None:
        with without_stderr_lines(*_LIBJPEG_WARNINGS):  # libjpeg warns about the additional data
            return cv2.imdecode(np.frombuffer(changed, np.uint8), _flags(header.is_grey))  # type: ignore[return-value]

    if has_missing_blocks(file, header, stored, decode_again):
        _JpegWarnings.is_hidden = True
        raise _incomplete(content, picture_format)
    return _to_rgb(stored, picture_format)


def _decode_with_opencv(content: NDArray[np.uint8], header: PictureHeader, picture_format: str) -> Pixels:
    """Return (H, W) grey or (H, W, 3) B, G, R pixels of the size and type in the header."""
    try:
        stored = cv2.imdecode(content, _flags(header.is_grey))
    except cv2.error as error:
        raise _damaged(content, picture_format) from error
    shape = (header.height, header.width) if header.is_grey else (header.height, header.width, 3)
    if stored is None or stored.shape != shape or stored.dtype != header.dtype:
        raise _damaged(content, picture_format)
    return stored  # type: ignore[return-value]


def _flags(is_grey: bool) -> int:
    kind = cv2.IMREAD_GRAYSCALE if is_grey else cv2.IMREAD_COLOR
    return kind | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION


def _to_rgb(stored: Pixels, picture_format: str) -> Rgb:
    """Return the RGB of (H, W, 3) B, G, R pixels or of an (H, W) grey or Bayer image."""
    if stored.ndim == 3:
        return convert_color(stored, cv2.COLOR_BGR2RGB)
    encoding, _, stored_as = picture_format.partition(";")
    encoding, stored_encoding = encoding.strip(), stored_as.partition("compressed")[2].strip()
    layout = LAYOUTS.get(encoding) if encoding.startswith("bayer_") and stored_encoding in ("", encoding) else None
    if layout is None or layout.to_rgb_code is None:
        return convert_color(stored, cv2.COLOR_GRAY2RGB)
    height, width = stored.shape
    if min(height, width) < MIN_BAYER_SIDE:
        raise ImageError(f"compressed image {width}x{height} {encoding}: too small to demosaic")
    return convert_color(stored, layout.to_rgb_code)


def _incomplete(content: NDArray[np.uint8], picture_format: str) -> ImageError:
    return ImageError(
        f"compressed image of {content.size} bytes and format {picture_format[:60]!r}: damaged, a part of the JPEG "
        "data is missing; check the camera's cable, its driver and the network"
    )


def _damaged(content: NDArray[np.uint8], picture_format: str) -> ImageError:
    return ImageError(
        f"compressed image of {content.size} bytes and format {picture_format[:60]!r}: cut off or damaged, or of a "
        "kind that OpenCV does not read; check the camera driver and the network"
    )
