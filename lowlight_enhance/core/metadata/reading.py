"""What one metadata message says: two values, each of which counts though the other cannot be read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lowlight_enhance.core.errors import MetadataError
from lowlight_enhance.core.metadata import message_values
from lowlight_enhance.core.metadata.capture import CaptureMetadata

Value = float | MetadataError | None
"""A value that was read, why it could not be, or None where the driver does not tell."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What one message about this camera says.

    Attributes:
        stamp_ns: the header's stamp, above 0, which is that of the image with drivers that publish for each frame;
            None where the message has none or leaves it at zero: it then holds from the time of its receipt.
        capture: ISO and exposure time, each None where the message does not tell; a message that tells neither ends
            what the one before said.
        problem: what is wrong with the one value that could not be read beside the other; "" for nothing.
    """

    stamp_ns: int | None
    capture: CaptureMetadata
    problem: str = ""


def value_or_error(read: Callable[..., float | None], *args: Any, **options: Any) -> Value:
    """What ``read`` gives, or its error: the message's other value may still count."""
    try:
        return read(*args, **options)
    except MetadataError as error:
        return error


def make_reading(stamped: Any, iso: Value, exposure_s: Value) -> Reading:
    """What a message says that has a stamp (or header), or None for one that has none.

    Raises:
        MetadataError: it could be read for neither value, or its stamp could not be.
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
