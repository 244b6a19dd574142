"""ISO and exposure time from the EXIF block of an image file."""

from __future__ import annotations

import io
import logging
import math
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

from lowlight_enhance.core.metadata.capture import (
    EXPOSURE_LIMITS_S,
    ISO_LIMITS,
    UNKNOWN,
    CaptureMetadata,
    plausible,
)

logger = logging.getLogger(__name__)

EXIF_IFD = 0x8769
EXPOSURE_TIME, SHUTTER_SPEED = 0x829A, 0x9201
"""Seconds, and the APEX value ``-log2(seconds)``."""

ISO_TAGS = (0x8827, 0x8832, 0x8833)
"""PhotographicSensitivity, then RecommendedExposureIndex and ISOSpeed, which hold values above 65534."""

ISO_BEYOND_16_BITS = 65535.0
"""Value of PhotographicSensitivity if the actual value is stored in another tag."""

MAX_APEX = 64.0


def exif_capture(content: bytes) -> CaptureMetadata:
    """Return ISO and exposure time of an image file.

    Cameras write 0 into tags that they do not use, and some programs write the tags into the main directory instead of
    the EXIF directory. Therefore the first plausible value is used.

    Args:
        content: the whole file.

    Returns:
        The recorded values; unknown if there is no EXIF, if it is damaged, or if Pillow is not installed. The last two
        are logged.
    """
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
            with Image.open(io.BytesIO(content)) as image:
                exif = image.getexif()
                directories: list[dict[int, Any]] = [dict(exif.get_ifd(EXIF_IFD)), dict(exif)]
    except Exception as error:  # Pillow raises many types for a damaged block; the image is still usable
        logger.warning("EXIF cannot be read (%s): ISO and exposure time count as unknown", error)
        return UNKNOWN
    iso = _first_plausible(_values(directories, ISO_TAGS), ISO_LIMITS, ISO_BEYOND_16_BITS)
    exposure_s = _first_plausible(_values(directories, (EXPOSURE_TIME,)), EXPOSURE_LIMITS_S)
    if exposure_s is None:
        apex = (value for value in _values(directories, (SHUTTER_SPEED,)) if abs(value) < MAX_APEX)
        exposure_s = _first_plausible((2.0**-value for value in apex), EXPOSURE_LIMITS_S)
    return CaptureMetadata.sanitized(iso, exposure_s)


def _values(directories: list[dict[int, Any]], tags: tuple[int, ...]) -> Iterator[float]:
    """Yield all finite numbers of these tags, tag by tag."""
    for tag in tags:
        for directory in directories:
            value = directory.get(tag)
            for item in value if isinstance(value, tuple) else (value,):
                try:
                    number = float(item)
                except (TypeError, ValueError, ZeroDivisionError, OverflowError):
                    continue
                if math.isfinite(number):
                    yield number


def _first_plausible(
    values: Iterable[float], limits: tuple[float, float], placeholder: float | None = None
) -> float | None:
    return next((value for value in values if value != placeholder and plausible(value, limits) is not None), None)
