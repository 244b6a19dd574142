"""Output files and folders are either complete or unchanged."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from disk import largest_file

from lowlight_enhance.core.errors import DataError
from lowlight_enhance.core.files import (
    atomic_file,
    atomic_folder,
    check_output_file,
    check_output_folder,
    make_folder,
    write_bytes,
    write_text,
)
from lowlight_enhance.core.scratch import PREFIX, remove_leftovers, scratch_folder

# Files


def test_the_file_appears_when_the_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "out.png"
    with atomic_file(target) as temporary:
        temporary.write_text("whole")
        assert temporary.name == "out.png"
        assert not target.exists()
    assert target.read_text() == "whole"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, DataError])
def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path: Path, error: type[BaseException]) -> None:
    target = tmp_path / "out.png"
    target.write_text("old")
    with pytest.raises(error):
        write_half(target, error())
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_permissions_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "out.txt", "whole")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "out.txt").stat().st_mode) == 0o640


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere does not exist; create it"):
        write_bytes(tmp_path / "nowhere" / "a.png", b"")


def test_a_folder_is_rejected_as_target(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is a folder"):
        write_bytes(tmp_path, b"")


@pytest.mark.parametrize("write", [write_bytes, lambda target, _: write_folder(target)])
def test_a_name_that_is_too_long_is_named(tmp_path: Path, write: Callable[[Path, bytes], None]) -> None:
    with pytest.raises(DataError, match=r"cannot write .*; choose a shorter name"):
        write(tmp_path / ("x" * 300), b"")
    assert list(tmp_path.iterdir()) == []


def test_an_unwritable_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.mkdtemp", refuse)
    with pytest.raises(DataError, match=r"cannot write .*a\.png: Permission denied; change the permissions"):
        write_bytes(tmp_path / "a.png", b"")


def test_a_full_disk_is_one_error_and_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "out.png"
    target.write_text("old")
    with largest_file(1000), pytest.raises(DataError, match=r"cannot write .*out\.png: File too large"):
        write_bytes(target, bytes(100_000))
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_an_error_at_fsync_or_close_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    target = tmp_path / "out.png"
    target.write_text("old")
    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(DataError, match="No space left on device; free some space"):
        write_bytes(target, b"new")
    assert target.read_text() == "old"


def test_a_file_that_cannot_be_read_inside_the_block_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot write .*out: .*missing\.txt: No such file"):
        copy_missing(tmp_path / "missing.txt", tmp_path / "out")


def test_a_link_stays_and_its_file_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "real.txt").write_text("old")
    (tmp_path / "link.txt").symlink_to(tmp_path / "disk" / "real.txt")
    write_text(tmp_path / "link.txt", "new")
    assert (tmp_path / "link.txt").is_symlink()
    assert (tmp_path / "disk" / "real.txt").read_text() == "new"


# Devices and pipes


def test_a_device_is_written_to(tmp_path: Path) -> None:
    before = os.lstat(os.devnull)
    write_text(Path(os.devnull), "lost")
    (tmp_path / "out.json").symlink_to(os.devnull)
    write_text(tmp_path / "out.json", "lost")
    after = os.lstat(os.devnull)
    assert (after.st_ino, after.st_mode) == (before.st_ino, before.st_mode)
    assert (tmp_path / "out.json").is_symlink()


def test_a_full_device_is_an_error() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    with pytest.raises(DataError, match="cannot write /dev/full: No space left"):
        write_text(Path("/dev/full"), "lost")


def test_a_pipe_is_written_to(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    received: list[str] = []
    reader = threading.Thread(target=lambda: received.append((tmp_path / "pipe").read_text()), daemon=True)
    reader.start()
    write_text(tmp_path / "pipe", "through")
    reader.join()
    assert received == ["through"]
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_a_redirected_standard_output_is_written_to(tmp_path: Path) -> None:
    if not Path("/dev/stdout").exists():
        pytest.skip("this system has no /dev/stdout")
    script = (
        "from pathlib import Path; from lowlight_enhance.core.files import write_text; print('1', flush=True); "
        "write_text(Path('/dev/stdout'), '2'); print('3')"
    )
    with (tmp_path / "out.txt").open("a") as out:
        subprocess.run([sys.executable, "-c", script], check=True, stdout=out)
    assert (tmp_path / "out.txt").read_text() == "1\n23\n"
    assert Path("/dev/stdout").is_symlink()


def test_a_socket_is_rejected_as_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # paths of sockets are limited to 108 characters
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
        with pytest.raises(DataError, match="is a socket"):
            write_bytes(Path("socket"), b"")
        with pytest.raises(DataError, match="is a socket"):
            check_output_file(Path("socket"))


# Folders


def test_a_folder_appears_when_the_block_ends_and_replaces_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "bag"
    for content in ("first", "second"):
        with atomic_folder(target) as folder:
            assert folder.name == "bag"
            folder.mkdir()
            (folder / content).touch()
    assert [path.name for path in target.iterdir()] == ["second"]
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, DataError])
def test_an_error_leaves_the_old_folder_and_nothing_else(tmp_path: Path, error: type[BaseException]) -> None:
    target = tmp_path / "bag"
    (target / "old").mkdir(parents=True)
    with pytest.raises(error):
        write_half_folder(target, error())
    assert [path.name for path in target.iterdir()] == ["old"]
    assert list(tmp_path.iterdir()) == [target]


def test_a_missing_result_keeps_the_old_folder(tmp_path: Path) -> None:
    target = tmp_path / "bag"
    (target / "old").mkdir(parents=True)
    with pytest.raises(DataError, match="cannot write"), atomic_folder(target):
        pass
    assert [path.name for path in target.iterdir()] == ["old"]
    assert list(tmp_path.iterdir()) == [target]


def test_a_file_is_not_replaced_by_a_folder(tmp_path: Path) -> None:
    (tmp_path / "bag").write_text("old")
    with pytest.raises(DataError, match="is a file"):
        write_folder(tmp_path / "bag")
    assert (tmp_path / "bag").read_text() == "old"


def test_a_mount_point_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "is_mount", lambda path: path.name == "volume")
    (tmp_path / "volume").mkdir()
    with pytest.raises(DataError, match="mount point, which cannot be replaced; choose a new folder in it"):
        write_folder(tmp_path / "volume")


def test_a_link_to_a_folder_stays(tmp_path: Path) -> None:
    (tmp_path / "disk" / "real").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "disk" / "real")
    write_folder(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert [path.name for path in (tmp_path / "disk" / "real").iterdir()] == ["new"]


@pytest.mark.parametrize("name", ["file", "file/below", "x" * 300])
def test_make_folder_names_the_obstacle(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot create the folder"):
        make_folder(tmp_path / name)


def test_make_folder_creates_parent_folders(tmp_path: Path) -> None:
    for _ in range(2):
        make_folder(tmp_path / "a" / "b")
        assert (tmp_path / "a" / "b").is_dir()


# Leftovers of killed processes

KILLED = """
import os, signal, sys
from pathlib import Path
from lowlight_enhance.core.files import atomic_file, atomic_folder
with atomic_file(Path(sys.argv[1]) / "out.bin") as file, atomic_folder(Path(sys.argv[1]) / "bag") as folder:
    file.write_bytes(bytes(1000))
    folder.mkdir()
    if sys.argv[2] == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    print("ready", flush=True)
    sys.stdin.read()
"""


def scratch_folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.name.startswith(PREFIX))


def test_the_next_run_removes_leftovers_of_a_killed_process(tmp_path: Path) -> None:
    run = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), "kill"], check=False)
    assert run.returncode == -signal.SIGKILL
    assert len(scratch_folders(tmp_path)) == 2
    write_text(tmp_path / "another.txt", "whole")
    assert [path.name for path in tmp_path.iterdir()] == ["another.txt"]


def test_files_of_running_processes_are_kept(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path), "wait"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"ready\n"
        with scratch_folder(tmp_path):
            remove_leftovers(tmp_path)
            write_text(tmp_path / "another.txt", "whole")
            assert len(scratch_folders(tmp_path)) == 3
        other.communicate()
    assert other.returncode == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["another.txt", "bag", "out.bin"]


def test_a_folder_whose_replacement_was_cut_short_is_restored(tmp_path: Path) -> None:
    scratch = tmp_path / f"{PREFIX}killed"
    for folder in (scratch / ".replaced" / "bag", scratch / "bag"):
        folder.mkdir(parents=True)
    (scratch / ".lock").touch()
    (scratch / ".replaced" / "bag" / "old").touch()
    remove_leftovers(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["bag"]
    assert [path.name for path in (tmp_path / "bag").iterdir()] == ["old"]


def test_other_files_with_similar_names_are_kept(tmp_path: Path) -> None:
    (tmp_path / "precious" / "x").mkdir(parents=True)
    (tmp_path / "precious" / ".lock").touch()
    (tmp_path / f"{PREFIX}link").symlink_to(tmp_path / "precious")
    (tmp_path / f"{PREFIX}file").touch()
    (tmp_path / f"{PREFIX}unlocked").mkdir()
    before = sorted(tmp_path.rglob("*"))
    remove_leftovers(tmp_path)
    remove_leftovers(tmp_path / "nowhere")
    assert sorted(tmp_path.rglob("*")) == before


# Targets checked before the work


def test_a_folder_that_can_be_created_passes_and_is_not_created(tmp_path: Path) -> None:
    check_output_folder(tmp_path / "a" / "b")
    check_output_folder(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["file", "file/below", "x" * 300])
def test_a_folder_that_cannot_be_created_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot write into the folder"):
        check_output_folder(tmp_path / name)


def test_a_file_that_can_be_written_passes(tmp_path: Path) -> None:
    check_output_file(tmp_path / "new.json")
    check_output_file(Path(os.devnull))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", [".", "missing/x.json", "x" * 300])
def test_a_file_that_cannot_be_written_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError):
        check_output_file(tmp_path / name)


def test_a_full_disk_is_found_before_the_work(tmp_path: Path) -> None:
    with largest_file(1000):
        with pytest.raises(DataError, match="File too large"):
            check_output_file(tmp_path / "new.json")
        with pytest.raises(DataError, match="File too large"):
            check_output_folder(tmp_path / "new")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="uses Linux's /proc, in which nobody can create files")
def test_a_read_only_file_system_is_found() -> None:
    with pytest.raises(DataError):
        check_output_folder(Path("/proc/nowhere/out"))
    with pytest.raises(DataError):
        check_output_file(Path("/proc/x.json"))


def write_folder(target: Path) -> None:
    with atomic_folder(target) as folder:
        folder.mkdir()
        (folder / "new").touch()


def write_half_folder(target: Path, error: BaseException) -> None:
    with atomic_folder(target) as folder:
        folder.mkdir()
        (folder / "half").touch()
        raise error


def write_half(target: Path, error: BaseException) -> None:
    with atomic_file(target) as temporary:
        temporary.write_text("half")
        raise error


def copy_missing(source: Path, target: Path) -> None:
    with atomic_file(target) as temporary:
        temporary.write_bytes(source.read_bytes())
