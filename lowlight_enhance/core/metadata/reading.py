"""Reading: ISO and exposure time from one metadata message, of which one may be invalid."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lowlight_enhance.core.errors import MetadataError
from lowlight_enhance.core.metadata import message_values
from lowlight_enhance.core.metadata.capture import CaptureMetadata

Value = float | MetadataError | None
"""A value, the error of reading it, or None if the driver does not give it."""


@dataclass(frozen=True, slots=True)
class Reading:
    """Content of one message about this camera.

    Attributes:
        stamp_ns: stamp of the header, above 0. Drivers with per-frame metadata use the stamp of the image. None if the
            message has no stamp or a stamp of zero; it is then valid from the time of receipt.
        capture: ISO and exposure time, each None if the message does not give it. A message that gives neither
            replaces earlier messages.
        problem: error of the one value that is invalid while the other is valid; "" if there is none.
    """

    stamp_ns: int | None
    capture: CaptureMetadata
    problem: str = ""


def value_or_error(read: Callable[..., float | None], *args: Any, **options: Any) -> Value:
    """Return the result of ``read``, or its MetadataError, so that the other value can still be used."""
    try:
        return read(*args, **options)
    except MetadataError as error:
        return error


def make_reading(stamped: Any, iso: Value, exposure_s: Value) -> Reading:
    """Return the reading of a message.

    Args:
        stamped: its stamp or header; None if it has none.
        iso: its ISO.
        exposure_s: its exposure time in seconds.

    Raises:
        MetadataError: a value is invalid and the other is not known, or the stamp is invalid.
    """
    errors = [value for value in (exposure_s, iso) if isinstance(value, MetadataError)]
    capture = CaptureMetadata(
        None if isinstance(iso, MetadataError) else iso,
        None if isinstance(exposure_s, MetadataError) else exposure_s,
    )
    if errors and capture.is_unknown:
        raise errors[0]
    stamp_ns = None if stamped is None else message_values.stamp(stamped)
    return Reading(stamp_ns, capture, str(errors[0]) if errors else "")
