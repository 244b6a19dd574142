"""Numbers, fields and JSON out of metadata messages; whatever is wrong with them is a MetadataError."""

from __future__ import annotations

import json
import math
import operator
import reprlib
from typing import Any

import numpy as np

from lowlight_enhance.core.errors import ImageError, MetadataError
from lowlight_enhance.core.imaging.messages import stamp_ns
from lowlight_enhance.core.metadata.capture import EXPOSURE_LIMITS_S, ISO_LIMITS, GainKind, iso_from_gain, plausible

MAX_JSON_CHARACTERS = 64 * 1024
"""Longer metadata texts are refused unread; a driver's own has about one hundredth of that."""

MAX_JSON_BRACKETS = 256
"""Texts with more objects and lists are refused unread, which bounds their depth; a driver's own has one."""

MAX_STAMP_NS = 2**63
"""Stamps are 64-bit in ROS."""

SHOWN_CHARACTERS = 40
"""Of a strange value, in an error."""


def exposure_s(value: Any, name: str, unit_s: float) -> float | None:
    """Exposure time in seconds of ``value`` units of ``unit_s`` seconds.

    None where the driver does not tell: absent, 0 or less (some write -1 for "invalid"), or not finite.

    Raises:
        MetadataError: no number, or no exposure time that a camera could have.
    """
    exposure = number(value, name)
    if exposure is None or exposure <= 0.0 or not math.isfinite(exposure):
        return None
    return in_limits(exposure * unit_s, EXPOSURE_LIMITS_S, name, value)


def iso(
    value: Any,
    name: str,
    kind: GainKind,
    base_iso: float,
    gain_unity: float = 1.0,
    *,
    allow_zero: bool = False,
) -> float | None:
    """ISO of a gain.

    None where the driver does not tell: absent, not finite, or 0 unless ``allow_zero``, as 0 dB may be a gain or an
    empty field.

    Raises:
        MetadataError: no number, or no ISO that a camera could have.
    """
    gain = number(value, name)
    if gain is None or not math.isfinite(gain) or (gain == 0.0 and not allow_zero):
        return None
    return in_limits(iso_from_gain(gain, kind, base_iso, gain_unity), ISO_LIMITS, name, value)


def with_digital_gain(iso: float, value: Any, name: str) -> float:
    """``iso`` times a digital gain factor, which is 1 where it is absent or 0.

    Raises:
        MetadataError: no number, or no ISO that a camera could have comes of it.
    """
    return in_limits(iso * (finite(value, name) or 1.0), ISO_LIMITS, name, value)


def finite(value: Any, name: str) -> float | None:
    """A finite number (or text that spells one); None where the driver left it out or blank.

    Raises:
        MetadataError: it is anything else.
    """
    found = number(value, name)
    if found is not None and not math.isfinite(found):
        raise _no_number(value, name)
    return found


def number(value: Any, name: str) -> float | None:
    """A number, NaN and infinities included (or text that spells one); None where the driver left it out or blank.

    Raises:
        MetadataError: it is anything else.
    """
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    found = to_number(value)
    if found is None:
        raise _no_number(value, name)
    return found


def _no_number(value: Any, name: str) -> MetadataError:
    return MetadataError(
        f"metadata message: {name} is {short(value)}, not a finite number; check the driver and the key"
    )


def in_limits(found: float, limits: tuple[float, float], name: str, value: Any) -> float:
    """``found`` where it lies within ``limits``.

    Raises:
        MetadataError: it does not; names ``value``, of which it was made.
    """
    if plausible(found, limits) is None:
        raise MetadataError(
            f"metadata message: {name} {short(value)} comes to {found:g}, outside {limits[0]:g}..{limits[1]:g}; "
            "check the settings of its unit, base_iso and gain_unity against the driver's units"
        )
    return found


def to_number(value: Any) -> float | None:
    """``value`` (a number, or text that spells one) as a float; None for anything else, booleans included."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, str, np.number)):
        return None
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def is_set(value: Any) -> bool:
    """Whether a flag (boolean, or a number) is set."""
    return isinstance(value, (bool, int, np.bool_, np.integer)) and bool(value)


def field(msg: Any, name: str) -> Any:
    """A field of a message.

    Raises:
        MetadataError: it has no such field.
    """
    try:
        return getattr(msg, name)
    except AttributeError as error:
        raise MetadataError(
            f"metadata message {type(msg).__name__} has no field '{name}'; metadata_type must be the topic's type"
        ) from error


def items(msg: Any, name: str) -> list[Any]:
    """The items of a field that is a list.

    Raises:
        MetadataError: there is no such field, or it is no list.
    """
    try:
        return list(field(msg, name))
    except TypeError as error:
        raise MetadataError(f"metadata message: {name} is not a list; check metadata_type") from error


def key_values(msg: Any, name: str) -> dict[str, Any]:
    """The values by key of a field that is a list of diagnostic_msgs/msg/KeyValue.

    Raises:
        MetadataError: it is not.
    """
    return {str(field(pair, "key")): field(pair, "value") for pair in items(msg, name)}


def json_object(msg: Any, name: str) -> dict[str, Any]:
    """The object in a field of JSON text.

    Raises:
        MetadataError: it is no text, not JSON, no object, longer than ``MAX_JSON_CHARACTERS``, or has more than
            ``MAX_JSON_BRACKETS`` objects and lists.
    """
    text = field(msg, name)
    if not isinstance(text, str):
        raise MetadataError(f"metadata message: {name} is {type(text).__name__}, not text; check metadata_type")
    hint = "check that the metadata topic is the camera driver's"
    for found, unit, limit in (
        (len(text), "characters", MAX_JSON_CHARACTERS),
        (text.count("{") + text.count("["), "objects and lists", MAX_JSON_BRACKETS),
    ):
        if found > limit:
            raise MetadataError(f"metadata message: {name} of {found} {unit} is over the limit of {limit}; {hint}")
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise MetadataError(f"metadata message: {name} is no JSON text ({cut(str(error), 120)}); {hint}") from error
    if not isinstance(values, dict):
        raise MetadataError(
            f"metadata message: {name} is a JSON {type(values).__name__}, not an object of keys and values; {hint}"
        )
    return values


def stamp(stamped: Any) -> int | None:
    """Nanoseconds of a stamp or header; None for 0, which is how drivers leave it unset.

    Raises:
        MetadataError: it is neither, or no time that ROS could mean.
    """
    try:
        found_ns = stamp_ns(stamped)
    except ImageError as error:
        raise MetadataError(f"metadata message: {error}") from error
    if not 0 <= found_ns < MAX_STAMP_NS:
        raise MetadataError(f"metadata message: a stamp of {short(found_ns)} ns is no time; check the driver's clock")
    return found_ns or None


def diagnostic_level(status: Any, otherwise: int) -> int:
    """The level as rclpy (one byte) or rosbags (an integer) gives it; ``otherwise`` for what is neither."""
    level = field(status, "level")
    try:
        return level[0] if isinstance(level, bytes) else operator.index(level)
    except (TypeError, IndexError):
        return otherwise


def short(value: Any) -> str:
    """``value`` for an error message, cut where it is long."""
    try:
        return cut(reprlib.repr(value), SHOWN_CHARACTERS)
    except ValueError:  # an integer of more digits than Python cares to write
        return type(value).__name__


def cut(text: str, characters: int) -> str:
    """``text``, or the beginning of it in so many characters."""
    return text if len(text) <= characters else text[: characters - 3] + "..."
