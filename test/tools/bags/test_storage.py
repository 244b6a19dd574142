"""Files that rosbags alone reads wrongly, rejects or loses parts of."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
from io import BytesIO
from pathlib import Path

import pytest

pytest.importorskip("rosbags", reason="writes and reads the bags")

import bag_maker
from bag_enhancement import enhance_in_process
from bag_maker import DRIVER_RECORDINGS, write_bag
from rosbags.rosbag2.storage_mcap import (
    Channel,
    McapReader,
    Schema,
    read_sized,
    write_channel,
    write_record,
    write_schema,
    write_string,
    write_uint16,
    write_uint32,
    write_uint64,
)

from lowlight_enhance.core.errors import DataError
from lowlight_enhance.tools.bags.recording import Bag
from lowlight_enhance.tools.bags.storage_readers import OP_ATTACHMENT, OP_METADATA, McapRecord

MAGIC = b"\x89MCAP0\r\n"
PROTOBUF_SCHEMA = b"\x0a\x05\xff\xfe\x00"
"""Not UTF-8, as most binary descriptors."""


def read_all(path: Path) -> list[tuple[str, int, bytes]]:
    with Bag(path) as bag:
        return [(connection.topic, stamp, bytes(raw)) for connection, stamp, raw in bag.messages()]


def snapshot(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()}


# SQLite


@pytest.mark.parametrize("as_folder", [False, True])
@pytest.mark.parametrize("mode", ["WAL", "DELETE"])
def test_messages_that_a_killed_recorder_did_not_write_back(mode: str, as_folder: bool, tmp_path: Path) -> None:
    folder = write_bag(tmp_path / "in", DRIVER_RECORDINGS["realsense"](8).sent)
    expected = read_all(folder)
    database = folder / "in.db3"
    script = (
        "import os, sqlite3, sys\n"
        "db = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "db.execute(f'PRAGMA journal_mode = {sys.argv[2]}').fetchall()\n"
        "db.execute('PRAGMA cache_size = 1')\n"
        "rows = db.execute('SELECT * FROM messages ORDER BY id').fetchall()\n"
        "db.execute('BEGIN')\n"
        "db.execute('DELETE FROM messages' if sys.argv[2] == 'DELETE' else 'DELETE FROM messages WHERE id > 4')\n"
        "if sys.argv[2] == 'WAL':\n"
        "    db.execute('COMMIT')\n"
        "    db.execute('PRAGMA wal_checkpoint(TRUNCATE)').fetchall()\n"
        "    db.execute('PRAGMA wal_autocheckpoint = 0').fetchall()\n"
        "    db.executemany('INSERT INTO messages VALUES (?, ?, ?, ?)', rows[4:])\n"
        "os.kill(os.getpid(), 9)\n"
    )
    process = subprocess.run([sys.executable, "-c", script, str(database), mode], check=False)
    assert process.returncode == -signal.SIGKILL
    leftover = folder / ("in.db3-wal" if mode == "WAL" else "in.db3-journal")
    assert leftover.stat().st_size > 0
    before = snapshot(folder)
    source = folder if as_folder else database
    assert read_all(source) == expected
    assert enhance_in_process(source, tmp_path / "out").copied == len(expected)
    assert snapshot(folder) == before, "the source is read, not repaired"


@pytest.mark.parametrize("name", ["run#3", "really?", "100%25", "a b&c=d", "ünï"])
def test_any_path_is_read_and_written(name: str, tmp_path: Path) -> None:
    folder = tmp_path / name
    folder.mkdir()
    source = write_bag(tmp_path / "in", DRIVER_RECORDINGS["flir"]().sent).rename(folder / "in")
    for path in (source, source / "in.db3"):
        target = folder / f"out {path.name}"
        assert enhance_in_process(path, target).cameras[0].enhanced == 4
        assert (target / f"{target.name}.db3").is_file()
    assert {path.name for path in tmp_path.iterdir()} == {name}


# MCAP


def rewrite_mcap(
    file: Path, extra: list[McapRecord], schemas: dict[str, tuple[str, bytes]], has_summary: bool = True
) -> None:
    """Add records behind the header, and replace the schemas of some types, outside chunks and in the summary."""
    content = file.read_bytes()
    start = int.from_bytes(content[-28:-20], "little")
    source, summary = BytesIO(content[start:-37]), BytesIO()
    while opcode := source.read(1):
        record = read_sized(source)
        if opcode[0] == 0x03:
            number = int.from_bytes(record[:2], "little")
            name = record[6 : 6 + int.from_bytes(record[2:6], "little")].decode()
            if name in schemas:
                encoding, data = schemas[name]
                body = BytesIO()
                write_uint16(body, number)
                write_string(body, name)
                write_string(body, encoding)
                write_uint32(body, len(data))
                body.write(data)
                write_record(summary, 0x03, body)
                continue
        if opcode[0] != 0x0E:
            summary.write(opcode + len(record).to_bytes(8, "little") + record)
    added = BytesIO()
    for item in extra:
        added.write(bytes([item.opcode]) + len(item.content).to_bytes(8, "little") + item.content)
    footer = BytesIO()
    write_uint64(footer, start + len(added.getvalue()) if has_summary else 0)
    write_uint64(footer, 0)
    write_uint32(footer, 0)
    end = BytesIO()
    write_record(end, 0x02, footer)
    # The extra records stand behind the data, so that the offsets in the chunk index stay valid.
    tail = summary.getvalue() if has_summary else b""
    file.write_bytes(content[:start] + added.getvalue() + tail + end.getvalue() + MAGIC)


def attachment(name: str, data: bytes) -> McapRecord:
    body = BytesIO()
    write_uint64(body, 7)
    write_uint64(body, 8)
    write_string(body, name)
    write_string(body, "text/yaml")
    write_uint64(body, len(data))
    body.write(data)
    write_uint32(body, 0)
    return McapRecord(OP_ATTACHMENT, body.getvalue())


def metadata_record(name: str) -> McapRecord:
    pairs, body = BytesIO(), BytesIO()
    write_string(pairs, "serial")
    write_string(pairs, "42")
    write_string(body, name)
    write_uint32(body, len(pairs.getvalue()))
    body.write(pairs.getvalue())
    return McapRecord(OP_METADATA, body.getvalue())


def summary_records(file: Path) -> list[tuple[int, bytes]]:
    content = file.read_bytes()
    source = BytesIO(content[int.from_bytes(content[-28:-20], "little") : -37])
    found = []
    while opcode := source.read(1):
        found.append((opcode[0], read_sized(source)))
    return found


@pytest.mark.parametrize("compression", ["none", "storage"])
def test_attachments_and_metadata_records_are_copied_with_their_index(compression: str, tmp_path: Path) -> None:
    source = write_bag(tmp_path / "in", DRIVER_RECORDINGS["realsense"]().sent, "mcap", compression)
    extra = [attachment("calib.yaml", b"k: 1\n"), metadata_record("robot"), attachment("empty", b"")]
    rewrite_mcap(source / "in.mcap", extra, {})
    messages = read_all(source)
    report = enhance_in_process(source, tmp_path / "out")
    assert report.warnings == []
    with Bag(tmp_path / "out") as bag:
        assert bag.extra_records() == extra
    copy = tmp_path / "out" / "out.mcap"
    assert [message for message in read_all(copy) if "enhanced" not in message[0]] == messages
    content, indexed = copy.read_bytes(), []
    for opcode, record in summary_records(copy):
        if opcode in (0x0A, 0x0D):
            offset, length = (int.from_bytes(record[at : at + 8], "little") for at in (0, 8))
            assert content[offset] == {0x0A: OP_ATTACHMENT, 0x0D: OP_METADATA}[opcode]
            body = content[offset + 9 : offset + length]
            assert len(body) == int.from_bytes(content[offset + 1 : offset + 9], "little")
            indexed.append(McapRecord(content[offset], body))
    assert {record.name for record in indexed} == {"calib.yaml", "empty", "robot", "rosbag2"}
    reader = McapReader(copy)
    reader.open()
    assert reader.statistics is not None
    assert (reader.statistics.attachement_count, reader.statistics.metadata_count) == (2, 2)
    reader.close()
    offsets = [record for opcode, record in summary_records_and_offsets(copy) if opcode == 0x0E]
    for record in offsets:
        start = int.from_bytes(record[1:9], "little")
        assert content[start] == record[0], "each group of the summary begins where its offset says"


def summary_records_and_offsets(file: Path) -> list[tuple[int, bytes]]:
    content = file.read_bytes()
    start = int.from_bytes(content[-20:-12], "little")
    source, found = BytesIO(content[start:-37]), []
    while opcode := source.read(1):
        found.append((opcode[0], read_sized(source)))
    assert found
    return found


def test_attachments_that_sqlite3_cannot_store_are_named(tmp_path: Path) -> None:
    source = write_bag(tmp_path / "in", DRIVER_RECORDINGS["realsense"]().sent, "mcap")
    rewrite_mcap(source / "in.mcap", [attachment("calib.yaml", b"k: 1\n"), metadata_record("robot")], {})
    report = enhance_in_process(source, tmp_path / "out", storage="sqlite3")
    assert [warning.partition(" is not copied")[0] for warning in report.warnings] == [
        "attachment calib.yaml",
        "metadata record robot",
    ]


@pytest.mark.parametrize(("encoding", "data"), [("protobuf", PROTOBUF_SCHEMA), ("jsonschema", b'{"type":"object"}')])
def test_topics_of_other_encodings_are_copied_with_their_schema(encoding: str, data: bytes, tmp_path: Path) -> None:
    sent = [*DRIVER_RECORDINGS["realsense"]().sent]
    sent += [bag_maker.BagMessage("/log", bag_maker.FIRST_NS + n, bag_maker.SECRET, b"\x08\x01") for n in range(3)]
    folder = write_bag(tmp_path / "in", sent, "mcap")
    source = folder / "in.mcap"
    rewrite_mcap(source, [], {bag_maker.SECRET: (encoding, data)})
    report = enhance_in_process(source, tmp_path / "out")
    assert (report.cameras[0].enhanced, report.copied) == (4, len(sent))
    copy = tmp_path / "out" / "out.mcap"
    assert [m for m in read_all(copy) if m[0] == "/log"] == [m for m in read_all(source) if m[0] == "/log"]
    schemas = [record for opcode, record in summary_records(copy) if opcode == 0x03]
    expected = BytesIO()
    for text in (bag_maker.SECRET.encode(), encoding.encode(), data):
        write_uint32(expected, len(text))
        expected.write(text)
    assert [record[2:] for record in schemas].count(expected.getvalue()) == 1


def test_a_folder_with_other_encodings_names_the_remedy(tmp_path: Path) -> None:
    folder = write_bag(tmp_path / "in", DRIVER_RECORDINGS["realsense"]().sent, "mcap")
    metadata = folder / "metadata.yaml"
    metadata.write_text(metadata.read_text().replace("serialization_format: cdr", "serialization_format: json", 1))
    with pytest.raises(DataError, match=r"not in CDR.*give its \.mcap file"), Bag(folder):
        pass


def test_other_encodings_without_an_index_are_a_clear_error(tmp_path: Path) -> None:
    source = tmp_path / "in.mcap"
    body, header, schema = BytesIO(), BytesIO(), BytesIO()
    write_string(header, "ros2")
    write_string(header, "")
    write_record(body, 0x01, header)
    log = Schema(1, "Log", "protobuf", "x")
    write_schema(schema, log)
    write_channel(schema, Channel(1, "Log", "/log", "protobuf", b""), [log])
    footer = BytesIO()
    write_uint64(footer, 0)
    write_uint64(footer, 0)
    write_uint32(footer, 0)
    write_record(schema, 0x02, footer)
    source.write_bytes(MAGIC + body.getvalue() + schema.getvalue() + MAGIC)
    with pytest.raises(DataError, match="'mcap recover' writes a copy with an index"), Bag(source):
        pass


# Leftovers


def kill_while_reading(source: Path, temporary: Path) -> None:
    script = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from lowlight_enhance.tools.bags.recording import Bag\n"
        "with Bag(Path(sys.argv[1])):\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    environment = {**os.environ, "TMPDIR": str(temporary)}
    process = subprocess.run([sys.executable, "-c", script, str(source)], env=environment, check=False)
    assert process.returncode == -signal.SIGKILL
    assert list(temporary.iterdir()), "the test needs a leftover"


@pytest.mark.parametrize("kind", ["compressed by file", "not closed by the recorder"])
def test_the_next_run_removes_unpacked_files_of_a_killed_one(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compression = "file" if kind == "compressed by file" else "none"
    source = write_bag(tmp_path / "in", DRIVER_RECORDINGS["flir"]().sent, "sqlite3", compression)
    if compression == "none":
        database = sqlite3.connect(source / "in.db3")
        database.execute("PRAGMA journal_mode = WAL").fetchall()
        database.execute("DELETE FROM messages WHERE id = 1")
        database.commit()
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    kill_while_reading(source, temporary)
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    with Bag(source):
        assert len(list(temporary.iterdir())) == 1
    assert list(temporary.iterdir()) == []
    assert tempfile.tempdir == str(temporary)
