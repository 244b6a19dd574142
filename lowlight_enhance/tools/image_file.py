"""Read image files into arrays, and write arrays as image files."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from lowlight_enhance.core.errors import DataError, ImageError
from lowlight_enhance.core.files import write_bytes
from lowlight_enhance.core.imaging.encodings import check_image_size
from lowlight_enhance.core.inference.model_input import Rgb
from lowlight_enhance.core.pipeline import PipelineConfig
from lowlight_enhance.tools.camera_raw import develop_raw, is_camera_raw, is_preview_first
from lowlight_enhance.tools.image_header import TOO_LARGE, declared_size, is_cut_short, sample_maximum

IMAGE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
"""Suffixes of the formats that can be written, and of the files that are read from folders."""

MAX_PIXELS = PipelineConfig().max_pixels
"""Largest number of pixels of an image, as in the node."""

MAX_FILE_BYTES = 1 << 30


def read_file(source: Path) -> bytes:
    """Return the content of an image file.

    Only regular files are read: reading a pipe may block forever, and ``/dev/zero`` never ends.

    Raises:
        ImageError: the file cannot be read, is empty or not a regular file, or exceeds ``MAX_FILE_BYTES``.
    """
    try:
        status = source.stat()
        if stat.S_ISREG(status.st_mode):
            if status.st_size > MAX_FILE_BYTES:
                raise ImageError(f"{source} has {status.st_size >> 20} MiB, more than an image file of any camera")
            # Files in /proc report a size of 0, and reading some of them blocks.
            content = source.read_bytes() if status.st_size else b""
        elif stat.S_ISDIR(status.st_mode):
            raise ImageError(f"cannot read {source}: it is a directory; give an image file")
        else:
            raise ImageError(f"cannot read {source}: it is a device or a pipe; save the image to a file first")
    except OSError as error:
        raise ImageError(f"cannot read {source}: {error.strerror}; check the path") from error
    if not content:
        raise ImageError(f"{source} is empty; give an image file")
    return content


def decode_image(content: bytes, source: Path, max_pixels: int = MAX_PIXELS) -> Rgb:
    """Decode an image file.

    Args:
        content: the whole file: any format that OpenCV reads, or a camera raw file if rawpy is installed.
        source: name of the file, for the format and for messages.
        max_pixels: larger images are rejected before memory is allocated for them.

    Returns:
        (H, W, 3) R, G, B, uint8 or uint16, rotated upright by EXIF. Alpha is dropped. Samples of 10 or 12 bits are
        scaled to 16.

    Raises:
        ImageError: the content is not an image of 8 to 16 bits, is damaged or too large, or only a preview.
        MemoryError: OpenCV cannot allocate the memory.
    """
    if is_camera_raw(content, source.suffix):
        return develop_raw(source, 16, upright=True, content=content, max_pixels=max_pixels)[0]
    if is_preview_first(content):
        raise ImageError(f"the first page of {source} is a preview; save the full image as a file of its own")
    if content.startswith(b"P7"):
        raise ImageError(f"{source} is a PAM file, whose channels OpenCV swaps; convert it to PNG or PPM")
    _check_size(content, source, max_pixels)
    if is_cut_short(content):
        raise ImageError(f"cannot decode {source}: the file is cut short; copy it again")
    try:
        bgr = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
    except cv2.error as error:
        _raise_if_out_of_memory(error)
        raise ImageError(f"cannot decode {source}: {error.err}; convert it to PNG or JPEG") from error
    if bgr is None:
        raise ImageError(
            f"cannot decode {source}: not an image that OpenCV reads, or cut short; convert it to PNG or JPEG"
        )
    if bgr.dtype not in (np.uint8, np.uint16):
        raise ImageError(f"{source} holds {bgr.dtype} values; convert it to 8 or 16 bits")
    check_image_size(f"{source} of {bgr.shape[1]}x{bgr.shape[0]}", bgr.shape[0], bgr.shape[1], max_pixels)
    rgb = cast(Rgb, np.ascontiguousarray(bgr[:, :, ::-1]))
    return _full_scale(rgb, sample_maximum(content, 8 * rgb.itemsize))


def _raise_if_out_of_memory(error: cv2.error) -> None:
    """Raise MemoryError: another file or format would not help."""
    if error.code == cv2.Error.StsNoMem:
        raise MemoryError(str(error)) from error


def _check_size(content: bytes, source: Path, max_pixels: int) -> None:
    size = declared_size(content)
    if size == TOO_LARGE:
        raise ImageError(f"{source} declares more pixels than any camera has; give another file")
    if size is not None:
        check_image_size(f"{source} of {size[1]}x{size[0]}", *size, max_pixels)


def _full_scale(rgb: Rgb, maximum: int) -> Rgb:
    """Scale samples from 0..``maximum`` to the whole range of their type."""
    full = np.iinfo(rgb.dtype).max
    if maximum >= full:
        return rgb
    table = np.minimum(np.arange(full + 1, dtype=np.uint64) * full + maximum // 2, full * maximum) // maximum
    return cast(Rgb, table.astype(rgb.dtype)[rgb])


def encode_image(rgb: NDArray[np.uint8], target: Path) -> bytes:
    """Encode an image and return the content of the file.

    Args:
        rgb: (H, W, 3) uint8, R, G, B.
        target: name of the file, whose suffix is the format.

    Raises:
        DataError: the image is too large for the format.
        MemoryError: OpenCV cannot allocate the memory.
    """
    try:
        is_encoded, content = cv2.imencode(target.suffix, np.ascontiguousarray(rgb[:, :, ::-1]))
    except cv2.error as error:
        _raise_if_out_of_memory(error)
        raise DataError(f"cannot write {target}: {error.err}; choose another format") from error
    if not is_encoded:
        raise DataError(
            f"cannot write {target}: {rgb.shape[1]}x{rgb.shape[0]} pixels are too many for its format; choose another"
        )
    return content.tobytes()


def write_image(rgb: NDArray[np.uint8], target: Path) -> None:
    """Write (H, W, 3) R, G, B to ``target``, whose suffix is the format. An existing file is replaced at the end.

    The file is encoded in memory, because ``cv2.imwrite`` does not report a full disk for several formats.

    Raises:
        DataError: the file cannot be written, or the image is too large for the format.
    """
    write_bytes(target, encode_image(rgb, target))
