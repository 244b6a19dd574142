"""A reader of the protobuf wire format (protobuf.dev/programming-guides/encoding), for checks of ONNX files.

Fields are returned by their position, so that weights are not copied. The number of fields and the length of texts are
limited. The package protobuf is not used: it would be a further dependency of the robot, it copies all weights, and
its limits are those of the parsed message (100 levels, 2 GiB).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_FIXED_LENGTHS = {FIXED64: 8, FIXED32: 4}

MAX_VARINT_BYTES = 10
MAX_NUMBER = 2**29 - 1
"""Largest valid field number."""

MAX_FIELDS = 250_000
"""Limit on the fields of one file; the included models have fewer than 10,000."""


class ProtobufError(ValueError):
    """The content is not a protobuf message, or exceeds a limit."""


class Field(NamedTuple):
    """One field of a message.

    Attributes:
        number: field number.
        wire_type: ``VARINT``, ``FIXED64``, ``BYTES`` or ``FIXED32``.
        value: value of a varint; 0 for other types.
        start: offset of the first byte of the value.
        end: offset after the last byte of the value.
    """

    number: int
    wire_type: int
    value: int
    start: int
    end: int


class ProtobufReader:
    """Reader of one file, which counts the fields that it reads."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self._fields = 0

    def fields(self, start: int, end: int) -> Iterator[Field]:
        """Yield the fields of the message between two offsets.

        Raises:
            ProtobufError: the message is cut off or invalid, or the file has too many fields.
        """
        at = start
        while at < end:
            self._fields += 1
            if self._fields > MAX_FIELDS:
                raise ProtobufError(f"more than {MAX_FIELDS} fields")
            key, value_start = self._varint(at, end)
            number, wire_type, value = key >> 3, key & 7, 0
            if not 0 < number <= MAX_NUMBER or wire_type not in (VARINT, BYTES, *_FIXED_LENGTHS):
                raise ProtobufError(f"byte {at} does not start a protobuf field")
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

    def text(self, field: Field, max_bytes: int) -> str:
        """Return the text of a field.

        Args:
            field: a field of type ``BYTES``.
            max_bytes: largest size.

        Raises:
            ProtobufError: the text is longer, or not UTF-8.
        """
        if field.end - field.start > max_bytes:
            raise ProtobufError(
                f"a text of {field.end - field.start} bytes at byte {field.start}: allowed are {max_bytes}"
            )
        try:
            return self.content[field.start : field.end].decode()
        except UnicodeDecodeError as error:
            raise ProtobufError(f"the text at byte {field.start} is not UTF-8") from error

    def _varint(self, at: int, end: int) -> tuple[int, int]:
        """Return the varint at ``at`` and the offset after it."""
        value = 0
        for number, byte in enumerate(self.content[at : min(end, at + MAX_VARINT_BYTES)]):
            value |= (byte & 0x7F) << (7 * number)
            if byte < 0x80:
                return value, at + number + 1
        raise ProtobufError(f"the number at byte {at} has no end: cut short")
