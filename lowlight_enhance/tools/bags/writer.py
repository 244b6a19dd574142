"""BagWriter: rosbags' writer, which also takes over topics from another bag just as they stand there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any, Literal

from rosbags.interfaces import Connection, ConnectionExtRosbag2, MessageDefinition, MessageDefinitionFormat, Qos
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer, WriterError
from rosbags.rosbag2.metadata import dump_qos_v8, dump_qos_v9
from ruamel.yaml import YAML

from lowlight_enhance.core.errors import DataError
from lowlight_enhance.tools.bags.recording import Compression, Storage
from lowlight_enhance.tools.bags.storage_readers import ForeignSchema, McapRecord
from lowlight_enhance.tools.bags.storage_writers import ExtendedMcapWriter, SqliteWriter

_PLUGINS = {"sqlite3": StoragePlugin.SQLITE3, "mcap": StoragePlugin.MCAP}
_MODES = {
    "none": CompressionMode.NONE,
    "file": CompressionMode.FILE,
    "message": CompressionMode.MESSAGE,
    "storage": CompressionMode.STORAGE,
}


class BagWriter(Writer):
    """A new bag; a context manager that closes it, or leaves it unfinished on an error."""

    STORAGE_PLUGINS: Mapping[StoragePlugin, Any] = {
        StoragePlugin.SQLITE3: SqliteWriter,
        StoragePlugin.MCAP: ExtendedMcapWriter,
    }

    def __init__(self, path: Path, version: Literal[8, 9], storage: Storage, compression: Compression) -> None:
        """Prepare it.

        Args:
            path: folder that does not exist yet.
            version: of its metadata.
            storage: what its files are.
            compression: what is compressed, by zstd; "storage" is for mcap alone.
        """
        super().__init__(path, version=version, storage_plugin=_PLUGINS[storage])
        self.set_compression(_MODES[compression], CompressionFormat.ZSTD)

    def adopt(self, source: Connection) -> Connection:
        """Announce a topic as another bag does: its type, definition, hash and quality of service."""
        for connection in self.connections:
            if (connection.topic, connection.msgtype, connection.ext) == (source.topic, source.msgtype, source.ext):
                return connection
        return self._announce(source._replace(digest=source.digest or ""))

    def announce(
        self, topic: str, type_name: str, definition: tuple[str, str] | None, qos: Sequence[Qos]
    ) -> Connection:
        """Announce a new topic.

        Args:
            topic: its name.
            type_name: type of its messages.
            definition: text and hash of that; None: the bag holds no definitions.
            qos: of its publishers.
        """
        text, digest = definition or ("", "")
        kind = MessageDefinitionFormat.MSG if text else MessageDefinitionFormat.NONE
        ext = ConnectionExtRosbag2("cdr", list(qos))
        return self._announce(Connection(0, topic, type_name, MessageDefinition(kind, text), digest, 0, ext, None))

    def add_mcap_content(
        self, records: Sequence[McapRecord], schemas: Mapping[str, ForeignSchema]
    ) -> Sequence[McapRecord]:
        """Write attachments and metadata records, and let topics have schemas that are not in a ROS 2 language.

        Returns:
            The records that the storage cannot hold.

        Raises:
            DataError: no space is left, or another error of the file system.
        """
        if not isinstance(self.storage, ExtendedMcapWriter):
            return records
        self.storage.foreign_schemas = schemas
        try:
            self.storage.add_extra_records(records)
        except OSError as error:
            raise self._cannot_write(error) from error
        return ()

    def put(self, connection: Connection, stamp_ns: int, raw: bytes | memoryview) -> None:
        """Write a message.

        Raises:
            DataError: no space is left, or the like.
        """
        try:
            self.write(connection, stamp_ns, raw)
        except Exception as error:  # of the storage below: sqlite3, files, zstd
            raise self._cannot_write(error) from error

    def close(self) -> None:
        """Complete it.

        Raises:
            DataError: no space is left, or the like.
        """
        try:
            super().close()
        except Exception as error:  # as above
            raise self._cannot_write(error) from error

    def _cannot_write(self, error: Exception) -> DataError:
        return DataError(f"cannot write {self.path.name} ({error}); free some space or name another target")

    def _announce(self, wanted: Connection) -> Connection:
        if self.storage is None:
            raise WriterError("Bag was not opened.")
        connection = wanted._replace(id=len(self.connections) + 1, msgcount=0, owner=self)
        if connection.msgtype not in self.added_types:
            self.storage.add_msgtype(connection)
            self.added_types.add(connection.msgtype)
        self.storage.add_connection(connection, self._written(connection))
        self.connections.append(connection)
        self.counts[connection.id] = 0
        return connection

    def _written(self, connection: Connection) -> str:
        """Quality of service as this version writes it."""
        qos = getattr(connection.ext, "offered_qos_profiles", [])
        if self.version == 8:
            return dump_qos_v8(qos)
        stream = StringIO()
        yaml = YAML(typ="safe")
        yaml.default_flow_style = False
        yaml.dump(dump_qos_v9(qos), stream)
        return stream.getvalue().strip()
