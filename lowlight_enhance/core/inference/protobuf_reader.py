"""The protobuf wire format, read only as far as a file must be looked at before a library opens it.

Values are not copied: a field of bytes is told by its place in the content. Everything is bounded, and whatever is
wrong with the bytes is a ProtobufError.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_FIXED_LENGTHS = {FIXED64: 8, FIXED32: 4}

MAX_VARINT_BYTES = 10
MAX_NUMBER = 2**29 - 1
"""Largest number of a field that protobuf knows."""

MAX_FIELDS = 250_000
"""Fields of one file that are looked at; the shipped models have fewer than 10,000."""


class ProtobufError(ValueError):
    """Bytes that are no protobuf message, or more of them than is reasonable."""


class Field(NamedTuple):
    """One field of a message.

    Attributes:
        number: which field.
        wire_type: ``VARINT``, ``FIXED64``, ``BYTES`` or ``FIXED32``.
        value: of a varint; 0 for the others.
        start: offset of the value's first byte in the content.
        end: offset behind the last one.
    """

    number: int
    wire_type: int
    value: int
    start: int
    end: int


class ProtobufReader:
    """A file's content as protobuf; counts the fields that were read."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self._fields = 0

    def fields(self, start: int, end: int) -> Iterator[Field]:
        """Fields of the message that lies between two offsets.

        Raises:
            ProtobufError: cut short, no protobuf, or too many fields in this file.
        """
        at = start
        while at < end:
            self._fields += 1
            if self._fields > MAX_FIELDS:
                raise ProtobufError(f"more than {MAX_FIELDS} fields")
            key, value_start = self._varint(at, end)
            number, wire_type, value = key >> 3, key & 7, 0
            if not 0 < number <= MAX_NUMBER or wire_type not in (VARINT, BYTES, *_FIXED_LENGTHS):
                raise ProtobufError(f"byte {at} starts no field of a protobuf message")
            if wire_type == VARINT:
                value, at = self._varint(value_start, end)
            elif wire_type == BYTES:
                length, value_start = self._varint(value_start, end)
                at = value_start + length
            else:
                at = value_start + _FIXED_LENGTHS[wire_type]
            if at > end:
                raise ProtobufError(
                    f"the field at byte {value_start} ends {at - end} bytes behind its message: cut short"
                )
            yield Field(number, wire_type, value, value_start, at)

    def text(self, field: Field, longest: int) -> str:
        """The field as text.

        Args:
            field: of ``BYTES``.
            longest: bytes that are allowed.

        Raises:
            ProtobufError: longer than that, or no UTF-8.
        """
        if field.end - field.start > longest:
            raise ProtobufError(
                f"a text of {field.end - field.start} bytes at byte {field.start}: allowed are {longest}"
            )
        try:
            return self.content[field.start : field.end].decode()
        except UnicodeDecodeError as error:
            raise ProtobufError(f"the text at byte {field.start} is no UTF-8") from error

    def _varint(self, at: int, end: int) -> tuple[int, int]:
        """The number at ``at``, and the offset behind it."""
        value = 0
        for number, byte in enumerate(self.content[at : min(end, at + MAX_VARINT_BYTES)]):
            value |= (byte & 0x7F) << (7 * number)
            if byte < 0x80:
                return value, at + number + 1
        raise ProtobufError(f"the number at byte {at} has no end: cut short")
