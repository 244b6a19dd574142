"""Read rosbag2 recordings with rosbags. Messages stay serialized until ``MessageTypes.deserialize``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import apsw
from rosbags.interfaces import Connection, MessageDefinitionFormat
from rosbags.rosbag2 import ReaderError
from rosbags.typesys import Stores, TypesysError, get_types_from_idl, get_types_from_msg, get_typestore

from lowlight_enhance.core.errors import DataError, LowlightError
from lowlight_enhance.tools.bags.storage_readers import ForeignSchema, McapRecord, StorageReader

Storage = Literal["sqlite3", "mcap"]
Compression = Literal["none", "file", "message", "storage"]
"""What is compressed: nothing, whole files, each message, or the chunks of an MCAP file."""

KNOWN_DEFINITIONS = {
    "realsense2_camera_msgs/msg/Metadata": "std_msgs/Header header\nstring json_data\n",
    "orbbec_camera_msgs/msg/Metadata": "std_msgs/Header header\nstring json_data\n",
    "flir_camera_msgs/msg/ImageMetaData": (
        "std_msgs/Header header\nuint64 camera_time\nint16 brightness\nuint32 exposure_time\n"
        "uint32 max_exposure_time\nfloat32 gain\n"
    ),
    "camera_aravis2_msgs/msg/CameraDiagnostics": "std_msgs/Header header\ndiagnostic_msgs/KeyValue[] data\n",
}
"""Definitions of metadata types. Bags that Humble and older record as sqlite3 hold no definitions."""

_IDL_SEPARATOR = "=" * 80 + "\n"
_HIDE_UNKNOWN_ENCODINGS = """
    CREATE TEMP VIEW message_definitions AS
    SELECT * FROM main.message_definitions WHERE encoding IN ('ros2msg', 'ros2idl')
"""


class Bag:
    """One recording: a folder with ``metadata.yaml``, or a single ``.mcap`` or ``.db3`` file. A context manager.

    Attributes:
        path: folder or file.
        version: notation of QoS profiles in its metadata: 9 by name, 8 and older by number.
    """

    def __init__(self, path: Path) -> None:
        """Check that the path may be a bag. Nothing is read yet.

        Raises:
            DataError: the path does not exist, or has an unsupported format.
        """
        self.path = path
        self.version: Literal[8, 9] = _version(path)
        self._reader = _reader(path)

    def __enter__(self) -> Bag:
        """Open the bag.

        Raises:
            DataError: the bag is damaged, incomplete, or in an unsupported format.
        """
        try:
            _open(self._reader)
        except Exception as error:  # rosbags passes on the errors of all its libraries
            raise _damaged(self.path, error) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the bag."""
        self._reader.close()

    @property
    def connections(self) -> list[Connection]:
        """The topics. A topic with several publishers may occur more than once."""
        return self._reader.connections

    def connections_of(self, topic: str) -> list[Connection]:
        """Return the connections of one topic; empty if the bag does not have it."""
        return [connection for connection in self.connections if connection.topic == topic]

    @property
    def storage(self) -> Storage:
        """Format of its files."""
        files = [self.path] if self.path.is_file() else [part.path for part in self._reader.files]
        return "mcap" if any(Path(file).suffix == ".mcap" for file in files) else "sqlite3"

    @property
    def compression(self) -> Compression:
        """What is compressed."""
        mode = self._reader.compression_mode
        if mode:
            return "file" if mode == "file" else "message"
        chunks = [chunk for part in self._reader.files for chunk in getattr(part, "chunks", ())]
        return "storage" if any(chunk.compression for chunk in chunks) else "none"

    @property
    def custom_data(self) -> dict[str, str]:
        """The custom data in its metadata."""
        return dict(self._reader.storage.metadata.custom or {})

    @property
    def start_ns(self) -> int:
        """Receive time of the first message."""
        return self._reader.start_time

    @property
    def duration_ns(self) -> int:
        """Time between the first and the last message."""
        return self._reader.duration

    def messages(
        self, connections: Sequence[Connection] | None = None, start_ns: int | None = None
    ) -> Iterator[tuple[Connection, int, bytes]]:
        """Yield connection, receive time in nanoseconds and serialized message, in the order of the files.

        Args:
            connections: connections to read; None: all.
            start_ns: messages received earlier are skipped.

        Raises:
            DataError: the bag is damaged at this position.
        """
        if connections is not None and not connections:
            return
        try:
            yield from self._reader.messages(connections or (), start_ns)
        except Exception as error:  # see __enter__
            raise _damaged(self.path, error) from error

    def extra_records(self) -> list[McapRecord]:
        """Attachments and metadata records of MCAP files, without those that rosbag2 writes itself.

        Raises:
            DataError: the bag is damaged.
        """
        try:
            return [
                record
                for file in self._reader.files
                if hasattr(file, "extra_records")
                for record in file.extra_records()
            ]
        except Exception as error:  # see __enter__
            raise _damaged(self.path, error) from error

    @property
    def foreign_schemas(self) -> dict[str, ForeignSchema]:
        """Schemas of MCAP files that are not in a ROS 2 language, by type name."""
        return {k: v for file in self._reader.files for k, v in getattr(file, "foreign_schemas", {}).items()}


class MessageTypes:
    """Converts messages between bytes and objects. It knows the types of ROS 2 and those that ``register`` adds."""

    def __init__(self) -> None:
        self._store = get_typestore(Stores.ROS2_JAZZY)

    def register(self, connection: Connection) -> None:
        """Add the message type of a topic, unless it is known.

        Raises:
            DataError: the bag has no definition of the type, or an unreadable one.
        """
        name, definition = connection.msgtype, connection.msgdef
        if name in self._store.types:
            return
        text = definition.data or KNOWN_DEFINITIONS.get(name, "")
        if not text:
            raise DataError(
                f"the bag does not define {name} of {connection.topic}: convert it to mcap where that type is "
                "installed (ros2 bag convert), or leave the topic out with --metadata none"
            )
        try:
            if definition.format == MessageDefinitionFormat.IDL:
                parts = text.split(_IDL_SEPARATOR)[1:] if text.startswith(_IDL_SEPARATOR) else [f"\n{text}"]
                types = {k: v for part in parts for k, v in get_types_from_idl(part.partition("\n")[2]).items()}
            else:
                types = get_types_from_msg(text, name)
            self._store.register({key: value for key, value in types.items() if key not in self._store.types})
        except TypesysError as error:
            raise DataError(
                f"the bag's definition of {name} cannot be read ({error}); choose another topic"
            ) from error

    def deserialize(self, raw: bytes, type_name: str) -> Any:
        """Return the message as an object with its fields as attributes.

        Raises:
            DataError: the bytes are not a message of this type.
        """
        try:
            return self._store.deserialize_cdr(raw, type_name)
        except Exception as error:  # the generated code raises many types for damaged bytes
            raise DataError(f"{len(raw)} bytes are not a {type_name} ({type(error).__name__}: {error})") from error

    def serialize(self, message: Any, type_name: str) -> memoryview:
        """Return the serialized message."""
        return self._store.serialize_cdr(message, type_name)

    def message_class(self, type_name: str) -> Any:
        """Return the class of a message type."""
        return self._store.types[type_name]

    def definition(self, type_name: str) -> tuple[str, str]:
        """Return the definition of a type, including the types it contains, and its hash (RIHS01)."""
        return self._store.generate_msgdef(type_name, ros_version=2)[0], self._store.hash_rihs01(type_name)


def _reader(path: Path) -> StorageReader:
    if path.suffix == ".bag":
        raise DataError(f"{path} is a bag of ROS 1; convert it first: rosbags-convert --src {path} --dst {path.stem}")
    try:
        return StorageReader(path)
    except FileNotFoundError:
        why = "it does not exist; give the folder of a recording, or its .mcap or .db3 file"
        if path.is_dir():
            why = "no metadata.yaml in it; ros2 bag reindex creates one, or give its .mcap or .db3 file"
        raise DataError(f"{path} is not a bag: {why}") from None
    except ReaderError as error:
        raise DataError(f"{path} is not a bag ({error}); give its folder, or an .mcap or .db3 file") from error


def _open(reader: StorageReader) -> None:
    """Open the bag. Definitions in an encoding that rosbags does not know, such as 'unknown', are ignored."""
    try:
        reader.open()
    except KeyError:
        hide_unknown = lambda connection: connection.execute(_HIDE_UNKNOWN_ENCODINGS)  # noqa: E731
        apsw.connection_hooks.append(hide_unknown)
        try:
            reader.open()
        finally:
            apsw.connection_hooks.remove(hide_unknown)


def _version(path: Path) -> Literal[8, 9]:
    try:
        found = re.search(r"^  version:\s*(\d+)", (path / "metadata.yaml").read_text(encoding="utf-8"), re.MULTILINE)
    except (OSError, UnicodeDecodeError):
        return 8
    return 9 if found and int(found[1]) >= 9 else 8


def _damaged(path: Path, error: Exception) -> LowlightError:
    if isinstance(error, LowlightError):
        return error
    if "Serialization format" in str(error):  # rosbags and rosbag2 read such topics from single files only
        return DataError(f"{path} has topics that are not in CDR, the encoding of ROS 2 messages; give its .mcap file")
    return DataError(
        f"{path} cannot be read ({type(error).__name__}: {error}): it is incomplete, damaged or of an unsupported "
        "version; ros2 bag reindex or mcap recover may repair it"
    )
