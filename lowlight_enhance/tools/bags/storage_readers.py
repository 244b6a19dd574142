"""Readers for the files of a recording, which extend those of rosbags.

rosbags opens SQLite files as ``immutable``. SQLite then ignores the write-ahead log and the rollback journal that a
killed recorder leaves behind, and reads ``#``, ``?`` and ``%`` in a path as parts of a URI. rosbags also rejects MCAP
files in which any schema is neither ``ros2msg`` nor ``ros2idl``, and ignores attachments and metadata records.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import urllib.parse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import apsw
from rosbags.rosbag2 import Reader
from rosbags.rosbag2.reader import DirectoryReader
from rosbags.rosbag2.storage_mcap import McapReader, Schema, read_bytes, read_sized, write_record, write_schema
from rosbags.rosbag2.storage_sqlite3 import Sqlite3Reader

from lowlight_enhance.core.errors import DataError
from lowlight_enhance.core.files import translate_os_errors
from lowlight_enhance.core.scratch import tempfile_default, temporary_folder

OP_SCHEMA, OP_ATTACHMENT, OP_METADATA = 0x03, 0x09, 0x0C
"""Types of MCAP records: https://mcap.dev/spec."""

ROSBAG2_RECORD = "rosbag2"
"""Name of the metadata record that holds the content of ``metadata.yaml``. Every writer creates its own."""

_ROS_ENCODINGS = ("ros2msg", "ros2idl", "omgidl", "")
_RECOVERY_SUFFIXES = ("-wal", "-journal")


@dataclass(frozen=True, slots=True)
class McapRecord:
    """A record of an MCAP file that is not a message: an attachment or a metadata record.

    Attributes:
        opcode: ``OP_ATTACHMENT`` or ``OP_METADATA``.
        content: the record without its opcode and length.
    """

    opcode: int
    content: bytes

    @property
    def name(self) -> str:
        """Name of the attachment or of the metadata record."""
        start = 16 if self.opcode == OP_ATTACHMENT else 0
        return read_bytes(BytesIO(self.content[start:])).decode(errors="replace")

    def __str__(self) -> str:
        kind = "attachment" if self.opcode == OP_ATTACHMENT else "metadata record"
        return f"{kind} {self.name}"


@dataclass(frozen=True, slots=True)
class ForeignSchema:
    """A schema that is not in a ROS 2 language, such as ``protobuf`` or ``jsonschema``."""

    encoding: str
    data: bytes


class _SqliteReader(Sqlite3Reader):
    """Reads any file name, and databases that a killed recorder did not close."""

    def __init__(self, path: Any) -> None:
        super().__init__(path)
        self._source = Path(os.path.realpath(path))
        self._resources = contextlib.ExitStack()

    def open(self) -> None:
        with contextlib.ExitStack() as resources:
            database = self._source
            if recovery_files(database):
                database = resources.enter_context(_recovered_copy(database))
            self.path = _uri_path(database)
            super().open()
            self._resources = resources.pop_all()

    def close(self) -> None:
        with self._resources:
            super().close()


class _McapReader(McapReader):
    """Reads files in which some topics are not in a ROS 2 encoding; their messages are bytes without a definition."""

    def __init__(self, path: Any) -> None:
        super().__init__(path)
        self.foreign_schemas: dict[str, ForeignSchema] = {}

    def read_index(self) -> None:
        """Read the summary section, in which foreign schemas are replaced by empty ones."""
        assert self.bio is not None
        file, start = self.bio, self.data_end
        file.seek(start)
        self.bio, self.data_end = BytesIO(self._without_foreign_schemas(file.read())), 0
        try:
            super().read_index()
        finally:
            self.bio, self.data_end = file, start

    def meta_scan(self) -> None:
        """Read the whole file, which has no summary.

        Raises:
            DataError: the file has foreign schemas.
        """
        try:
            super().meta_scan()
        except (KeyError, UnicodeDecodeError) as error:
            raise DataError(
                f"{self.path} has no index, and topics that are not in a ROS 2 encoding ({error}); "
                "'mcap recover' writes a copy with an index"
            ) from error

    def extra_records(self) -> list[McapRecord]:
        """Return the attachments and metadata records, in the order of the file, without the record of rosbag2."""
        assert self.bio is not None
        position = self.bio.tell()
        try:
            self.bio.seek(self.data_start)
            return list(_extra_records(self.bio, self.data_end))
        finally:
            self.bio.seek(position)

    def _without_foreign_schemas(self, summary: bytes) -> bytes:
        source, result = BytesIO(summary), BytesIO()
        while opcode := source.read(1):
            if opcode[0] in (0x02, 0x0E):  # rosbags stops at the footer and at the summary offsets
                result.write(opcode + source.read())
                break
            record = read_sized(source)
            schema = BytesIO(record)
            if opcode[0] == OP_SCHEMA:
                number, name = int.from_bytes(schema.read(2), "little"), read_bytes(schema).decode()
                encoding, data = read_bytes(schema).decode(), read_bytes(schema)
                if encoding not in _ROS_ENCODINGS:
                    self.foreign_schemas[name] = ForeignSchema(encoding, data)
                    write_schema(result, Schema(number, name, "", ""))
                    continue
            schema.seek(0, os.SEEK_END)
            write_record(result, opcode[0], schema)
        return result.getvalue()


class _DirectoryReader(DirectoryReader):
    STORAGE_PLUGINS: Mapping[str, Any] = {"mcap": _McapReader, "sqlite3": _SqliteReader}


class StorageReader(Reader):
    """``rosbags.rosbag2.Reader`` on the readers of this module."""

    STORAGE_PLUGINS: Mapping[str, Any] = {"dir": _DirectoryReader, ".mcap": _McapReader, ".db3": _SqliteReader}

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._resources = contextlib.ExitStack()

    def open(self) -> None:
        """Open the recording. Files that are compressed as a whole are unpacked into a scratch folder.

        rosbags unpacks into a ``TemporaryDirectory``, which a killed process leaves behind for good. The next run
        removes a scratch folder.
        """
        with contextlib.ExitStack() as resources:
            if _is_compressed_by_file(Path(str(self.path))):
                scratch = resources.enter_context(temporary_folder())
                with tempfile_default(scratch):
                    super().open()
            else:
                super().open()
            self._resources = resources.pop_all()

    def close(self) -> None:
        """Close the recording and remove unpacked files."""
        with self._resources:
            super().close()

    @property
    def files(self) -> list[Any]:
        """The open reader of each file."""
        return list(getattr(self.storage, "storages", [self.storage]))


def recovery_files(database: Path) -> list[Path]:
    """Return the files with changes that the last writer of ``database`` did not write back into it."""
    found = [database.with_name(database.name + suffix) for suffix in _RECOVERY_SUFFIXES]
    return [path for path in found if path.is_file() and path.stat().st_size > 0]


@contextlib.contextmanager
def _recovered_copy(database: Path) -> Iterator[Path]:
    """Copy of a database with its recovery files applied. SQLite can apply them only to a database that it may write.

    Raises:
        DataError: no space for the copy.
    """
    with temporary_folder() as scratch:
        copy = scratch / database.name
        with translate_os_errors(scratch.parent):
            for path in (database, *recovery_files(database)):
                shutil.copyfile(path, scratch / path.name)
        connection = apsw.Connection(str(copy))
        try:
            connection.execute("PRAGMA journal_mode = DELETE").fetchall()
            connection.execute("SELECT count(*) FROM sqlite_master").fetchall()
        finally:
            connection.close()
        yield copy


def _uri_path(path: Path) -> Path:
    """Return the path as a part of a URI. Two slashes at the start would make the first folder a host name."""
    return Path("/" + urllib.parse.quote(os.fsencode(path.absolute())).lstrip("/"))


def _is_compressed_by_file(path: Path) -> bool:
    try:
        text = (path / "metadata.yaml").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False
    return re.search(r"^\s*compression_mode:\s*['\"]?file\b", text, re.MULTILINE | re.IGNORECASE) is not None


def _extra_records(file: BinaryIO, end: int) -> Iterator[McapRecord]:
    while file.tell() < end and (opcode := file.read(1)):
        if opcode[0] not in (OP_ATTACHMENT, OP_METADATA):
            file.seek(int.from_bytes(file.read(8), "little"), os.SEEK_CUR)
            continue
        record = McapRecord(opcode[0], read_sized(file))
        if record.opcode == OP_ATTACHMENT or record.name != ROSBAG2_RECORD:
            yield record
