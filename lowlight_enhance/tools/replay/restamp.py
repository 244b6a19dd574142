"""Replace the header stamps in serialized messages."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from typing import Any

from rclpy.serialization import deserialize_message, serialize_message

from lowlight_enhance.ros.message_types import installed_class

NS_PER_S = 1_000_000_000
HEADER = "std_msgs/Header"

_STAMP_START, _STAMP_END = 4, 12
"""Bytes of the stamp in a message that begins with a header. The four bytes before it give the byte order."""

_MESSAGE_TYPE = re.compile(r"(\w+)/(\w+)")

NewStamp = Callable[[int], int]
"""Function from the old to the new stamp, in nanoseconds."""


class HeaderRestamper:
    """Replaces the stamps in the headers of one message type. A stamp of zero means "none" and is kept."""

    def __init__(self, message_type: type) -> None:
        self._message_type = message_type
        fields = list(_field_types(message_type).values())
        self._begins_with_header = fields[:1] == [HEADER]
        self._has_headers = HEADER in fields or any(_contains_header(name, set()) for name in fields)

    def __call__(self, raw: bytes, new_stamp: NewStamp) -> bytes:
        """Return the serialized message with new stamps.

        If the message begins with a header, only that stamp is replaced, without deserializing the message. A damaged
        message is returned as it is.
        """
        if self._begins_with_header:
            return _replace_first_stamp(raw, new_stamp)
        if not self._has_headers:
            return raw
        try:
            message: Any = deserialize_message(raw, self._message_type)
        except Exception:  # rclpy raises several types for a damaged message
            return raw
        _replace_stamps(message, new_stamp)
        return bytes(serialize_message(message))


def _replace_first_stamp(raw: bytes, new_stamp: NewStamp) -> bytes:
    if len(raw) < _STAMP_END:
        return raw
    stamp = struct.Struct("<iI" if raw[1] & 1 else ">iI")
    seconds, nanoseconds = stamp.unpack_from(raw, _STAMP_START)
    if not seconds and not nanoseconds:
        return raw
    changed = bytearray(raw)
    stamp.pack_into(changed, _STAMP_START, *divmod(new_stamp(seconds * NS_PER_S + nanoseconds), NS_PER_S))
    return bytes(changed)


def _replace_stamps(message: Any, new_stamp: NewStamp) -> None:
    for name, type_name in _field_types(type(message)).items():
        value = getattr(message, name)
        if type_name == HEADER:
            stamp = value.stamp
            if stamp.sec or stamp.nanosec:
                stamp.sec, stamp.nanosec = divmod(new_stamp(stamp.sec * NS_PER_S + stamp.nanosec), NS_PER_S)
        elif _MESSAGE_TYPE.search(type_name):
            for part in value if isinstance(value, (list, tuple)) else [value]:
                _replace_stamps(part, new_stamp)


def _contains_header(type_name: str, visited: set[str]) -> bool:
    """Return whether a field of this type, e.g. ``sequence<tf2_msgs/TFMessage>``, contains a header at any depth."""
    found = _MESSAGE_TYPE.search(type_name)
    if found is None or found[0] in visited:
        return False
    visited.add(found[0])
    if found[0] == HEADER:
        return True
    message_type = installed_class(f"{found[1]}/msg/{found[2]}")
    return any(_contains_header(inner, visited) for inner in _field_types(message_type).values())


def _field_types(message_type: Any) -> dict[str, str]:
    """Return the type name of each field."""
    types: dict[str, str] = message_type.get_fields_and_field_types()
    return types
