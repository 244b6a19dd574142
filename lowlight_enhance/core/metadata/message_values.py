"""Numbers, fields and JSON from metadata messages. Invalid content raises MetadataError."""

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
"""Longer JSON texts are rejected before they are parsed; those of drivers have about 600 characters."""

MAX_JSON_BRACKETS = 256
"""Texts with more objects and lists are rejected before they are parsed, which limits their depth; those of drivers
have one."""

MAX_STAMP_NS = 2**63
"""ROS stores times as 64-bit nanoseconds."""

SHOWN_CHARACTERS = 40
"""Characters of an invalid value in an error message."""


def exposure_s(value: Any, name: str, unit_s: float) -> float | None:
    """Return the exposure time in seconds of ``value`` units of ``unit_s`` seconds.

    None if the driver does not give it: absent, 0 or less (some drivers write -1 for "invalid"), or not finite.

    Raises:
        MetadataError: ``value`` is not a number, or the exposure time is implausible.
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
    """Return the ISO of a gain.

    None if the driver does not give it: absent, not finite, or 0 unless ``allow_zero``. 0 dB can be a gain or an
    empty field.

    Raises:
        MetadataError: ``value`` is not a number, or the ISO is implausible.
    """
    gain = number(value, name)
    if gain is None or not math.isfinite(gain) or (gain == 0.0 and not allow_zero):
        return None
    return in_limits(iso_from_gain(gain, kind, base_iso, gain_unity), ISO_LIMITS, name, value)


def with_digital_gain(iso: float, value: Any, name: str) -> float:
    """Return ``iso`` times a digital gain factor, which is 1 if it is absent or 0.

    Raises:
        MetadataError: ``value`` is not a number, or the ISO is implausible.
    """
    return in_limits(iso * (finite(value, name) or 1.0), ISO_LIMITS, name, value)


def finite(value: Any, name: str) -> float | None:
    """Return a finite number (or the number in a text); None if it is absent or blank.

    Raises:
        MetadataError: ``value`` is anything else.
    """
    found = number(value, name)
    if found is not None and not math.isfinite(found):
        raise _no_number(value, name)
    return found


def number(value: Any, name: str) -> float | None:
    """Return a number, NaN and infinities included (or the number in a text); None if it is absent or blank.

    Raises:
        MetadataError: ``value`` is anything else.
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
    """Return ``found`` if it is within ``limits``.

    Args:
        found: the converted value.
        limits: smallest and largest plausible value.
        name: name of the value in the message.
        value: the value in the message, for the error message.

    Raises:
        MetadataError: ``found`` is outside ``limits``.
    """
    if plausible(found, limits) is None:
        raise MetadataError(
            f"metadata message: {name} {short(value)} converts to {found:g}, outside {limits[0]:g}..{limits[1]:g}; "
            "check the settings of its unit, of the base ISO and of the gain at unity against the driver's units"
        )
    return found


def to_number(value: Any) -> float | None:
    """Return ``value`` (a number, or a number in a text) as a float; None for anything else, booleans included."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, str, np.number)):
        return None
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def is_set(value: Any) -> bool:
    """Return whether a flag (a boolean or integer) is set."""
    return isinstance(value, (bool, int, np.bool_, np.integer)) and bool(value)


def field(msg: Any, name: str) -> Any:
    """Return a field of a message.

    Raises:
        MetadataError: the message has no such field.
    """
    try:
        return getattr(msg, name)
    except AttributeError as error:
        raise MetadataError(
            f"metadata message {type(msg).__name__} has no field '{name}'; the metadata type must be the topic's"
        ) from error


def items(msg: Any, name: str) -> list[Any]:
    """Return the items of a list field.

    Raises:
        MetadataError: the message has no such field, or it is not a list.
    """
    try:
        return list(field(msg, name))
    except TypeError as error:
        raise MetadataError(f"metadata message: {name} is not a list; check the metadata type") from error


def key_values(msg: Any, name: str) -> dict[str, Any]:
    """Return the values by key of a field that is a list of diagnostic_msgs/msg/KeyValue.

    Raises:
        MetadataError: the field is missing or is not such a list.
    """
    return {str(field(pair, "key")): field(pair, "value") for pair in items(msg, name)}


def json_object(msg: Any, name: str) -> dict[str, Any]:
    """Return the JSON object in a text field.

    Raises:
        MetadataError: the field is not a text or not a JSON object, is longer than ``MAX_JSON_CHARACTERS``, or has
            more than ``MAX_JSON_BRACKETS`` objects and lists.
    """
    text = field(msg, name)
    if not isinstance(text, str):
        raise MetadataError(f"metadata message: {name} is {type(text).__name__}, not text; check the metadata type")
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
        raise MetadataError(f"metadata message: {name} is not JSON ({cut(str(error), 120)}); {hint}") from error
    if not isinstance(values, dict):
        raise MetadataError(
            f"metadata message: {name} is a JSON {type(values).__name__}, not an object of keys and values; {hint}"
        )
    return values


def stamp(stamped: Any) -> int | None:
    """Return the nanoseconds of a stamp or header; None for 0, which means unset.

    Raises:
        MetadataError: ``stamped`` has no stamp, or the stamp is outside the range of ROS times.
    """
    try:
        found_ns = stamp_ns(stamped)
    except ImageError as error:
        raise MetadataError(f"metadata message: {error}") from error
    if not 0 <= found_ns < MAX_STAMP_NS:
        raise MetadataError(
            f"metadata message: a stamp of {short(found_ns)} ns is out of range; check the driver's clock"
        )
    return found_ns or None


def diagnostic_level(status: Any, otherwise: int) -> int:
    """Return the level of a DiagnosticStatus of rclpy (one byte) or rosbags (an integer); else ``otherwise``."""
    level = field(status, "level")
    try:
        return level[0] if isinstance(level, bytes) else operator.index(level)
    except (TypeError, IndexError):
        return otherwise


def short(value: Any) -> str:
    """Return ``value`` as text for an error message, cut if it is long."""
    try:
        return cut(reprlib.repr(value), SHOWN_CHARACTERS)
    except ValueError:  # Python limits the digits of an integer in a text (sys.set_int_max_str_digits)
        return type(value).__name__


def cut(text: str, characters: int) -> str:
    """Return ``text``, or its beginning with "..." if it is longer than ``characters``."""
    return text if len(text) <= characters else text[: characters - 3] + "..."
