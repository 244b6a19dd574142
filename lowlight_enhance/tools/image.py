"""One picture file: read it with what its EXIF says of the exposure, enhance it, write it whole or not at all."""

from __future__ import annotations

import io
import logging
import math
import warnings
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from lowlight_enhance.core.enhancement.enhancer import open_enhancer
from lowlight_enhance.core.errors import ConfigError, DataError, ImageError
from lowlight_enhance.core.files import atomic_file
from lowlight_enhance.core.inference.model_input import Rgb
from lowlight_enhance.core.inference.sessions import Runtime
from lowlight_enhance.core.metadata.capture import EXPOSURE_LIMITS_S, ISO_LIMITS, UNKNOWN, CaptureMetadata, plausible

logger = logging.getLogger(__name__)

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
"""Formats in which the result can be written."""

EXIF_IFD, EXPOSURE_TIME, SHUTTER_SPEED = 0x8769, 0x829A, 0x9201
ISO_TAGS = (0x8827, 0x8832, 0x8833)
"""PhotographicSensitivity, then RecommendedExposureIndex and ISOSpeed, which hold values above 65534."""

ISO_BEYOND_16_BITS = 65535.0


def enhance_file(
    source: Path,
    target: Path,
    iso: float | None = None,
    exposure_s: float | None = None,
    model: Path | None = None,
    working_size: int | None = None,
    threads: int | None = None,
    runtime: Runtime = "onnxruntime",
) -> CaptureMetadata:
    """Write the enhanced ``source`` as ``target``.

    Args:
        source: any picture that OpenCV reads, 8 or 16 bits, colour or grey; alpha is dropped.
        target: new file with one of ``SUFFIXES``; an existing one is replaced.
        iso: ISO of the exposure; None takes it from EXIF, where it stands there.
        exposure_s: exposure time in seconds; None likewise.
        model: ONNX file; None for the one that is shipped.
        working_size: as in ``Enhancer``.
        threads: as in ``Enhancer``.
        runtime: as in ``Enhancer``.

    Returns:
        The capture metadata that was used.

    Raises:
        ConfigError: an implausible ISO or exposure time, a target of no known format, or a runtime that is not
            installed.
        ImageError: the source is not a readable picture.
        DataError: the target's folder is missing or cannot be written.
        ModelError: no usable model.
    """
    given = given_capture(iso, exposure_s)
    check_target(source, target)
    content = read_bytes(source)
    rgb = decode(content, source)
    capture = given
    if given.iso is None or given.exposure_s is None:
        found = exif_capture(content)
        capture = CaptureMetadata(given.iso or found.iso, given.exposure_s or found.exposure_s)
    enhancer = open_enhancer(runtime, model, threads=threads, working_size=working_size)
    write_rgb(enhancer(rgb, capture), target)
    return capture


def given_capture(iso: float | None, exposure_s: float | None) -> CaptureMetadata:
    """The user's values; unlike a camera's, implausible ones are an error.

    Raises:
        ConfigError: a value out of range.
    """
    for flag, value, limits, unit in (
        ("--iso", iso, ISO_LIMITS, ""),
        ("--exposure", exposure_s, EXPOSURE_LIMITS_S, " seconds"),
    ):
        if value is not None and plausible(value, limits) is None:
            raise ConfigError(
                f"{flag} {value:g} is not plausible: give a number between {limits[0]:g} and {limits[1]:g}{unit}, "
                "or leave it out"
            )
    return CaptureMetadata.of(iso, exposure_s)


def check_target(source: Path, target: Path) -> None:
    """Refuse a target before any work is done for it.

    Raises:
        ConfigError: no known format, or the source itself.
        DataError: no such folder.
    """
    if target.suffix.lower() not in SUFFIXES:
        raise ConfigError(f"cannot write {target}: the name must end in one of {', '.join(SUFFIXES)}")
    if not target.parent.is_dir():
        raise DataError(f"the folder {target.parent} does not exist; create it, or name another target")
    if target.exists() and source.exists() and target.samefile(source):
        raise ConfigError(f"{target} is the source itself; name another target, so that the original stays")


def read_bytes(source: Path) -> bytes:
    """The file's content.

    Raises:
        ImageError: it cannot be read, or is empty.
    """
    try:
        content = source.read_bytes()
    except OSError as error:
        raise ImageError(f"cannot read {source}: {error.strerror}; check the path") from error
    if not content:
        raise ImageError(f"{source} is empty; give a picture file")
    return content


def decode(content: bytes, source: Path) -> Rgb:
    """(H, W, 3) uint8 or uint16, turned upright as EXIF asks.

    Raises:
        ImageError: not a picture of 8 or 16 bits.
    """
    try:
        bgr = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
    except cv2.error as error:
        raise ImageError(f"cannot decode {source}: {error.err}; convert it to PNG or JPEG") from error
    if bgr is None:
        raise ImageError(
            f"cannot decode {source}: not a picture that OpenCV reads, or cut short; convert it to PNG or JPEG"
        )
    if bgr.dtype not in (np.uint8, np.uint16):
        raise ImageError(f"{source} holds {bgr.dtype} values; convert it to 8 or 16 bits")
    return cast(Rgb, np.ascontiguousarray(bgr[:, :, ::-1]))


def exif_capture(content: bytes) -> CaptureMetadata:
    """ISO and exposure time out of EXIF; unknown, and a line in the log, where Pillow is not installed."""
    try:
        from PIL import Image
    except ImportError:
        logger.warning(
            "EXIF is not read, so ISO and exposure time count as unknown: install Pillow "
            "(pip install 'lowlight_enhance[offline]'), or give --iso and --exposure"
        )
        return UNKNOWN
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(content)) as picture:
                tags: dict[int, Any] = dict(picture.getexif().get_ifd(EXIF_IFD))
    except Exception as error:  # a damaged EXIF block must not cost the picture; Pillow raises many kinds for it
        logger.warning("EXIF cannot be read (%s): ISO and exposure time count as unknown", error)
        return UNKNOWN
    sensitivities = [value for tag in ISO_TAGS if (value := _number(tags.get(tag))) is not None]
    iso = next((value for value in sensitivities if value != ISO_BEYOND_16_BITS), None)
    exposure_s, shutter_apex = _number(tags.get(EXPOSURE_TIME)), _number(tags.get(SHUTTER_SPEED))
    if exposure_s is None and shutter_apex is not None and abs(shutter_apex) < 64.0:
        exposure_s = 2.0**-shutter_apex
    return CaptureMetadata.of(iso, exposure_s)


def _number(value: Any) -> float | None:
    """An EXIF number, or the first of several; None where it is none."""
    if isinstance(value, tuple):
        value = value[0] if value else None
    try:
        number = float(value)
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def write_rgb(rgb: NDArray[np.uint8], target: Path) -> None:
    """Write (H, W, 3) uint8 as ``target``, under a temporary name first.

    Raises:
        DataError: it cannot be written.
    """
    with atomic_file(target) as temporary:
        try:
            written = cv2.imwrite(str(temporary), np.ascontiguousarray(rgb[:, :, ::-1]))
        except cv2.error as error:
            raise DataError(f"cannot write {target}: {error.err}; choose another format") from error
        if not written:
            raise DataError(f"cannot write {target}: no space, or too large for its format; choose another")
