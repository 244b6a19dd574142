"""Writers for the files of a new recording, which extend those of rosbags.

rosbags writes message definitions that the source does not have, cannot write SQLite files whose path contains ``#``,
``?`` or ``%``, and writes neither attachments nor metadata records nor schemas of other encodings into MCAP files.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from pathlib import Path

from rosbags.interfaces import Connection, MessageDefinitionFormat
from rosbags.rosbag2 import CompressionMode
from rosbags.rosbag2.storage_mcap import (
    McapWriter,
    Schema,
    read_sized,
    write_record,
    write_schema,
    write_string,
    write_uint16,
    write_uint32,
    write_uint64,
)
from rosbags.rosbag2.storage_sqlite3 import Sqlite3Writer

from lowlight_enhance.tools.bags.storage_readers import (
    OP_ATTACHMENT,
    OP_METADATA,
    OP_SCHEMA,
    ForeignSchema,
    McapRecord,
)

OP_FOOTER, OP_ATTACHMENT_INDEX, OP_STATISTICS, OP_METADATA_INDEX, OP_SUMMARY_OFFSET = 0x02, 0x0A, 0x0B, 0x0D, 0x0E

_FOOTER_BYTES = 9 + 20 + 8
"""Opcode and length, three fields, and the magic number behind the footer."""

_ATTACHMENT_COUNT_OFFSET, _METADATA_COUNT_OFFSET = 14, 18
"""Positions in a statistics record."""


class SqliteWriter(Sqlite3Writer):
    """Writes from any thread. A bag is complete or deleted, so it needs no journal."""

    def __init__(self, path: Path, compression: CompressionMode) -> None:
        # Not super().__init__: it opens the path as part of a URI, and creates a file of another name.
        del compression
        self.path = path / f"{path.name}.db3"
        self.conn = sqlite3.connect(self.path, check_same_thread=False)
        self.conn.executescript(self.SQLITE_SCHEMA)
        self.cursor = self.conn.cursor()
        self.conn.execute("PRAGMA journal_mode = OFF")
        self.conn.execute("PRAGMA synchronous = OFF")

    def add_msgtype(self, connection: Connection) -> None:
        """Write the definition of a type, if the source has one."""
        if connection.msgdef.format != MessageDefinitionFormat.NONE:
            super().add_msgtype(connection)


class ExtendedMcapWriter(McapWriter):
    """Also writes attachments, metadata records, empty schemas and schemas of other encodings.

    rosbags writes the whole summary section in ``close``. Where it is not complete, it is read back and replaced.
    """

    def __init__(self, path: Path, compression: CompressionMode) -> None:
        super().__init__(path, compression)
        self.foreign_schemas: Mapping[str, ForeignSchema] = {}
        self._extra: list[tuple[McapRecord, int]] = []
        self._foreign_records: dict[int, BytesIO] = {}

    def add_extra_records(self, records: Sequence[McapRecord]) -> None:
        """Write attachments and metadata records at the current position of the file."""
        for record in records:
            self._extra.append((record, self.bio.tell()))
            write_record(self.bio, record.opcode, _at_end(record.content))

    def add_msgtype(self, connection: Connection) -> None:
        """Write the schema of a type. Where the source has no definition, it is empty, as the format demands."""
        if connection.msgdef.format != MessageDefinitionFormat.NONE:
            super().add_msgtype(connection)
            return
        schema = Schema(len(self.schemas) + 1, connection.msgtype, "", "")
        self.schemas.append(schema)
        foreign = self.foreign_schemas.get(connection.msgtype)
        if foreign is None:
            write_schema(self.chunk.bio, schema)
            return
        self._foreign_records[schema.id] = _foreign_record(schema, foreign)
        write_record(self.chunk.bio, OP_SCHEMA, self._foreign_records[schema.id])

    def close(self, version: int, metadata: str) -> None:
        """Finish the file."""
        super().close(version, metadata)
        if self._extra or self._foreign_records:
            self._replace_summary()

    def _replace_summary(self) -> None:
        with self.path.open("r+b") as file:
            file.seek(-_FOOTER_BYTES, 2)
            end = file.tell()
            footer = file.read()
            start = int.from_bytes(footer[9:17], "little")
            file.seek(start)
            records = self._completed(_records(file.read(end - start)))
            file.seek(start)
            offsets = BytesIO()
            for opcode in dict.fromkeys(opcode for opcode, _ in records):
                group_start = file.tell()
                for _, content in (record for record in records if record[0] == opcode):
                    write_record(file, opcode, _at_end(content))
                _write_summary_offset(offsets, opcode, group_start, file.tell())
            new_footer = BytesIO()
            write_uint64(new_footer, start)
            write_uint64(new_footer, file.tell())
            write_uint32(new_footer, 0)  # no checksum
            file.write(offsets.getvalue())
            write_record(file, OP_FOOTER, new_footer)
            file.write(footer[-8:])
            file.truncate()

    def _completed(self, records: Iterator[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
        """Return the records of the summary section with corrected schemas and statistics, and index records added."""
        result: list[tuple[int, bytes]] = []
        for opcode, content in records:
            if opcode == OP_SCHEMA:
                foreign = self._foreign_records.get(int.from_bytes(content[:2], "little"))
                result.append((opcode, content if foreign is None else foreign.getvalue()))
            elif opcode == OP_STATISTICS:
                result.append((opcode, self._statistics(content)))
            elif opcode != OP_SUMMARY_OFFSET:
                result.append((opcode, content))
        return [*result, *(_index_record(record, offset) for record, offset in self._extra)]

    def _statistics(self, content: bytes) -> bytes:
        counts = bytearray(content)
        for at, opcode in ((_ATTACHMENT_COUNT_OFFSET, OP_ATTACHMENT), (_METADATA_COUNT_OFFSET, OP_METADATA)):
            count = int.from_bytes(counts[at : at + 4], "little")
            count += sum(record.opcode == opcode for record, _ in self._extra)
            counts[at : at + 4] = count.to_bytes(4, "little")
        return bytes(counts)


def _records(section: bytes) -> Iterator[tuple[int, bytes]]:
    source = BytesIO(section)
    while opcode := source.read(1):
        yield opcode[0], read_sized(source)


def _index_record(record: McapRecord, offset: int) -> tuple[int, bytes]:
    """Return the opcode and content of the index record of an attachment or metadata record."""
    index = BytesIO()
    write_uint64(index, offset)
    write_uint64(index, 9 + len(record.content))
    if record.opcode == OP_METADATA:
        write_string(index, record.name)
        return OP_METADATA_INDEX, index.getvalue()
    source = BytesIO(record.content)
    times = source.read(16)
    name = source.read(int.from_bytes(source.read(4), "little"))
    media_type = source.read(int.from_bytes(source.read(4), "little"))
    index.write(times + source.read(8))  # times of logging and creation, size of the data
    for text in (name, media_type):
        write_uint32(index, len(text))
        index.write(text)
    return OP_ATTACHMENT_INDEX, index.getvalue()


def _foreign_record(schema: Schema, foreign: ForeignSchema) -> BytesIO:
    record = BytesIO()
    write_uint16(record, schema.id)
    write_string(record, schema.name)
    write_string(record, foreign.encoding)
    write_uint32(record, len(foreign.data))
    record.write(foreign.data)
    return record


def _write_summary_offset(target: BytesIO, opcode: int, start: int, end: int) -> None:
    record = BytesIO(bytes([opcode]))
    record.seek(1)
    write_uint64(record, start)
    write_uint64(record, end - start)
    write_record(target, OP_SUMMARY_OFFSET, record)


def _at_end(content: bytes) -> BytesIO:
    """Return a stream positioned at its end: ``write_record`` uses the position as the length of the record."""
    stream = BytesIO(content)
    stream.seek(len(content))
    return stream
