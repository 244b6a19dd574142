"""BagWriter: the writer of rosbags, extended to copy topics of another bag with all their properties."""

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
    """A new bag. The context manager closes it, or leaves it unfinished after an error."""

    STORAGE_PLUGINS: Mapping[StoragePlugin, Any] = {
        StoragePlugin.SQLITE3: SqliteWriter,
        StoragePlugin.MCAP: ExtendedMcapWriter,
    }

    def __init__(self, path: Path, version: Literal[8, 9], storage: Storage, compression: Compression) -> None:
        """Prepare the bag; ``open`` or the context manager creates it.

        Args:
            path: folder of the bag. It must not exist.
            version: version of ``metadata.yaml``.
            storage: file format.
            compression: what is compressed with zstd; "storage" is for mcap only.
        """
        super().__init__(path, version=version, storage_plugin=_PLUGINS[storage])
        self.set_compression(_MODES[compression], CompressionFormat.ZSTD)

    def add_copy_of(self, source: Connection) -> Connection:
        """Create a topic with the type, definition, hash and QoS that it has in another bag."""
        for connection in self.connections:
            if (connection.topic, connection.msgtype, connection.ext) == (source.topic, source.msgtype, source.ext):
                return connection
        return self._add_connection(source._replace(digest=source.digest or ""))

    def add_topic(
        self, topic: str, type_name: str, definition: tuple[str, str] | None, qos: Sequence[Qos]
    ) -> Connection:
        """Create a topic.

        Args:
            topic: name.
            type_name: message type.
            definition: definition of the type and its hash; None: the bag holds no definitions.
            qos: QoS profiles of the publishers.
        """
        text, digest = definition or ("", "")
        kind = MessageDefinitionFormat.MSG if text else MessageDefinitionFormat.NONE
        ext = ConnectionExtRosbag2("cdr", list(qos))
        return self._add_connection(
            Connection(0, topic, type_name, MessageDefinition(kind, text), digest, 0, ext, None)
        )

    def add_mcap_content(
        self, records: Sequence[McapRecord], schemas: Mapping[str, ForeignSchema]
    ) -> Sequence[McapRecord]:
        """Write attachments and metadata records, and let topics have schemas that are not in a ROS 2 language.

        Returns:
            The records that the storage cannot hold.

        Raises:
            DataError: the disk is full, or another error of the file system.
        """
        if not isinstance(self.storage, ExtendedMcapWriter):
            return records
        self.storage.foreign_schemas = schemas
        try:
            self.storage.add_extra_records(records)
        except OSError as error:
            raise self._cannot_write(error) from error
        return ()

    def write_message(self, connection: Connection, stamp_ns: int, raw: bytes | memoryview) -> None:
        """Write a message.

        Raises:
            DataError: the disk is full, or another error of the file system.
        """
        try:
            self.write(connection, stamp_ns, raw)
        except Exception as error:  # sqlite3, file system and zstd each have their own errors
            raise self._cannot_write(error) from error

    def close(self) -> None:
        """Finish the bag.

        Raises:
            DataError: the disk is full, or another error of the file system.
        """
        try:
            super().close()
        except Exception as error:  # as above
            raise self._cannot_write(error) from error

    def _cannot_write(self, error: Exception) -> DataError:
        return DataError(f"cannot write {self.path.name} ({error}); free some space or choose another target")

    def _add_connection(self, template: Connection) -> Connection:
        if self.storage is None:
            raise WriterError("Bag was not opened.")
        connection = template._replace(id=len(self.connections) + 1, msgcount=0, owner=self)
        if connection.msgtype not in self.added_types:
            self.storage.add_msgtype(connection)
            self.added_types.add(connection.msgtype)
        self.storage.add_connection(connection, self._serialized_qos(connection))
        self.connections.append(connection)
        self.counts[connection.id] = 0
        return connection

    def _serialized_qos(self, connection: Connection) -> str:
        """Return QoS profiles in the notation of this metadata version."""
        qos = getattr(connection.ext, "offered_qos_profiles", [])
        if self.version == 8:
            return dump_qos_v8(qos)
        stream = StringIO()
        yaml = YAML(typ="safe")
        yaml.default_flow_style = False
        yaml.dump(dump_qos_v9(qos), stream)
        return stream.getvalue().strip()
