"""Rosbag2 recordings, read with rosbags: messages stay the bytes that they are until somebody asks for an object."""

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
"""Fields of metadata types, for bags that hold no definitions (recorded by Humble or before as sqlite3)."""

_IDL_SEPARATOR = "=" * 80 + "\n"
_KNOWN_ENCODINGS = """
    CREATE TEMP VIEW message_definitions AS
    SELECT * FROM main.message_definitions WHERE encoding IN ('ros2msg', 'ros2idl')
"""


class Bag:
    """One recording: a folder with ``metadata.yaml``, or a single ``.mcap`` or ``.db3`` file. A context manager.

    Attributes:
        path: where it lies.
        version: of its metadata, which says how quality of service is written: 9 by name, 8 and before by number.
    """

    def __init__(self, path: Path) -> None:
        """Look at it; nothing is read yet.

        Raises:
            DataError: there is none, or of a kind that is not read.
        """
        self.path = path
        self.version: Literal[8, 9] = _version(path)
        self._reader = _reader(path)

    def __enter__(self) -> Bag:
        """Open it.

        Raises:
            DataError: damaged, unfinished, or written by something unknown.
        """
        try:
            _open(self._reader)
        except Exception as error:  # rosbags lets the errors of every library below it through
            raise _damaged(self.path, error) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self._reader.close()

    @property
    def connections(self) -> list[Connection]:
        """The topics; one of several publishers may stand there more than once."""
        return self._reader.connections

    def connections_of(self, topic: str) -> list[Connection]:
        """The connections of one topic; empty where the bag does not have it."""
        return [connection for connection in self.connections if connection.topic == topic]

    @property
    def storage(self) -> Storage:
        """What its files are."""
        files = [self.path] if self.path.is_file() else [part.path for part in self._reader.files]
        return "mcap" if any(Path(file).suffix == ".mcap" for file in files) else "sqlite3"

    @property
    def compression(self) -> Compression:
        """How it is compressed."""
        mode = self._reader.compression_mode
        if mode:
            return "file" if mode == "file" else "message"
        chunks = [chunk for part in self._reader.files for chunk in getattr(part, "chunks", ())]
        return "storage" if any(chunk.compression for chunk in chunks) else "none"

    @property
    def custom_data(self) -> dict[str, str]:
        """What its maker noted in its metadata."""
        return dict(self._reader.storage.metadata.custom or {})

    @property
    def start_ns(self) -> int:
        """Time of the first message's receipt."""
        return self._reader.start_time

    @property
    def duration_ns(self) -> int:
        """Time from the first message's receipt to the last one's."""
        return self._reader.duration

    def messages(
        self, connections: Sequence[Connection] | None = None, start_ns: int | None = None
    ) -> Iterator[tuple[Connection, int, bytes]]:
        """Connection, time of receipt in nanoseconds and serialized message, in the order of the files.

        Args:
            connections: whose; None: all.
            start_ns: leaves out what was received before.

        Raises:
            DataError: the bag is damaged from here on.
        """
        if connections is not None and not connections:
            return
        try:
            yield from self._reader.messages(connections or (), start_ns)
        except Exception as error:  # as above
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
        except Exception as error:  # as above
            raise _damaged(self.path, error) from error

    @property
    def foreign_schemas(self) -> dict[str, ForeignSchema]:
        """Schemas of MCAP files that are not in a ROS 2 language, by type name."""
        return {k: v for file in self._reader.files for k, v in getattr(file, "foreign_schemas", {}).items()}


class MessageTypes:
    """Recorded messages as objects and back: the types of ROS 2 itself, and those that are learnt from a bag."""

    def __init__(self) -> None:
        self._store = get_typestore(Stores.ROS2_JAZZY)

    def register(self, connection: Connection) -> None:
        """Learn the type of a topic, unless it is known.

        Raises:
            DataError: the bag does not define it, or not so that it can be read.
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
            raise DataError(f"the bag's definition of {name} cannot be read ({error}); name another topic") from error

    def deserialize(self, raw: bytes, type_name: str) -> Any:
        """The message, its fields as attributes.

        Raises:
            DataError: the bytes are no such message.
        """
        try:
            return self._store.deserialize_cdr(raw, type_name)
        except Exception as error:  # generated code, which meets damaged bytes with whatever fails first
            raise DataError(f"{len(raw)} bytes are no {type_name} ({type(error).__name__}: {error})") from error

    def serialize(self, message: Any, type_name: str) -> memoryview:
        """The message as it is stored."""
        return self._store.serialize_cdr(message, type_name)

    def message_class(self, type_name: str) -> Any:
        """The class of a type."""
        return self._store.types[type_name]

    def definition(self, type_name: str) -> tuple[str, str]:
        """Text of the definition of a type, with all that it is made of, and its hash (RIHS01)."""
        return self._store.generate_msgdef(type_name, ros_version=2)[0], self._store.hash_rihs01(type_name)


def _reader(path: Path) -> StorageReader:
    if path.suffix == ".bag":
        raise DataError(f"{path} is a bag of ROS 1; convert it first: rosbags-convert --src {path} --dst {path.stem}")
    try:
        return StorageReader(path)
    except FileNotFoundError:
        why = "it does not exist; give the folder of a recording, or its .mcap or .db3 file"
        if path.is_dir():
            why = "no metadata.yaml in it; ros2 bag reindex makes one, or give its .mcap or .db3 file"
        raise DataError(f"{path} is no bag: {why}") from None
    except ReaderError as error:
        raise DataError(f"{path} is no bag ({error}); give its folder, or an .mcap or .db3 file") from error


def _open(reader: StorageReader) -> None:
    """Open it; definitions of an encoding that rosbags does not know, as rosbag2's 'unknown', are passed over."""
    try:
        reader.open()
    except KeyError:
        pass_over = lambda connection: connection.execute(_KNOWN_ENCODINGS)  # noqa: E731
        apsw.connection_hooks.append(pass_over)
        try:
            reader.open()
        finally:
            apsw.connection_hooks.remove(pass_over)


def _version(path: Path) -> Literal[8, 9]:
    try:
        found = re.search(r"^  version:\s*(\d+)", (path / "metadata.yaml").read_text(encoding="utf-8"), re.MULTILINE)
    except (OSError, UnicodeDecodeError):
        return 8
    return 9 if found and int(found[1]) >= 9 else 8


def _damaged(path: Path, error: Exception) -> LowlightError:
    if isinstance(error, LowlightError):
        return error
    return DataError(
        f"{path} cannot be read on ({type(error).__name__}: {error}): unfinished or damaged, or of a newer kind than "
        "rosbags knows; ros2 bag reindex or mcap recover may mend it"
    )
