"""Other stamps in serialized messages."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from typing import Any

from rclpy.serialization import deserialize_message, serialize_message

from lowlight_enhance.ros.messages import installed_class

NS_PER_S = 1_000_000_000
HEADER = "std_msgs/Header"

_STAMP_AT, _STAMP_END = 4, 12
"""Where the stamp of a header stands that a message begins with: behind the four bytes that tell the byte order."""

_MESSAGE = re.compile(r"(\w+)/(\w+)")


class Restamp:
    """Gives the headers of messages of one type other stamps; a stamp of zero, which is none, stays."""

    def __init__(self, kind: type) -> None:
        """``kind``: a message class of rclpy."""
        self._kind = kind
        fields = list(_field_types(kind).values())
        self._begins_with_header = fields[:1] == [HEADER]
        self._has_headers = HEADER in fields or any(_has_header(name, set()) for name in fields)

    def __call__(self, raw: bytes, new: Callable[[int], int]) -> bytes:
        """The message with ``new(stamp)`` in place of each stamp, in nanoseconds.

        Of a message that begins with its header, only that is looked at.
        """
        if self._begins_with_header:
            return _patched(raw, new)
        if not self._has_headers:
            return raw
        try:
            message: Any = deserialize_message(raw, self._kind)
        except Exception:  # a damaged message is passed on as it is; rclpy says by no single kind that it is one
            return raw
        _restamp(message, new)
        return bytes(serialize_message(message))


def _patched(raw: bytes, new: Callable[[int], int]) -> bytes:
    if len(raw) < _STAMP_END:
        return raw
    stamp = struct.Struct("<iI" if raw[1] & 1 else ">iI")
    seconds, nanoseconds = stamp.unpack_from(raw, _STAMP_AT)
    if not seconds and not nanoseconds:
        return raw
    changed = bytearray(raw)
    stamp.pack_into(changed, _STAMP_AT, *divmod(new(seconds * NS_PER_S + nanoseconds), NS_PER_S))
    return bytes(changed)


def _restamp(message: Any, new: Callable[[int], int]) -> None:
    for name, kind in _field_types(type(message)).items():
        value = getattr(message, name)
        if kind == HEADER:
            stamp = value.stamp
            if stamp.sec or stamp.nanosec:
                stamp.sec, stamp.nanosec = divmod(new(stamp.sec * NS_PER_S + stamp.nanosec), NS_PER_S)
        elif _MESSAGE.search(kind):
            for part in value if isinstance(value, (list, tuple)) else [value]:
                _restamp(part, new)


def _has_header(type_text: str, seen: set[str]) -> bool:
    """Whether a field of this type, such as ``sequence<geometry_msgs/TransformStamped>``, holds a header somewhere."""
    found = _MESSAGE.search(type_text)
    if found is None or found[0] in seen:
        return False
    seen.add(found[0])
    if found[0] == HEADER:
        return True
    kind = installed_class(f"{found[1]}/msg/{found[2]}")
    return any(_has_header(inner, seen) for inner in _field_types(kind).values())


def _field_types(kind: Any) -> dict[str, str]:
    """Type by name of each field."""
    types: dict[str, str] = kind.get_fields_and_field_types()
    return types
