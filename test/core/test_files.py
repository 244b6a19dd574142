"""A file is there whole, or as it was before."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from lowlight_enhance.core.errors import DataError
from lowlight_enhance.core.files import check_output_file, check_output_folder, replacing, replacing_folder


def test_the_file_appears_when_the_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "out.png"
    with replacing(target) as temporary:
        temporary.write_text("whole")
        assert temporary.suffix == ".png"
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


def test_others_may_read_it_as_the_umask_allows(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with replacing(tmp_path / "out.txt") as temporary:
            temporary.write_text("whole")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "out.txt").stat().st_mode) == 0o640


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(DataError, match=r"nowhere does not exist; create it"),
        replacing(tmp_path / "nowhere" / "a.png"),
    ):
        pass


def test_a_folder_is_no_target(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is a folder"), replacing(tmp_path):
        pass


def test_an_unwritable_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.mkstemp", refuse)
    with (
        pytest.raises(DataError, match=r"cannot write into the folder .* \(Permission denied\)"),
        replacing(tmp_path / "a.png"),
    ):
        pass


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No space left"):
        write_half(tmp_path / "out.png", OSError(28, "No space left on device"))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_appears_when_the_block_ends_and_replaces_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "bag"
    for content in ("first", "second"):
        with replacing_folder(target) as folder:
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


def test_a_folder_that_was_not_made_leaves_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "bag"
    (target / "old").mkdir(parents=True)
    with pytest.raises(DataError, match="cannot write"), replacing_folder(target):
        pass
    assert [path.name for path in target.iterdir()] == ["old"]
    assert list(tmp_path.iterdir()) == [target]


def write_half_folder(target: Path, error: BaseException) -> None:
    with replacing_folder(target) as folder:
        folder.mkdir()
        (folder / "half").touch()
        raise error


def write_half(target: Path, error: BaseException) -> None:
    with replacing(target) as temporary:
        temporary.write_text("half")
        raise error


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


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="uses Linux's /proc, in which nobody can create files")
def test_a_read_only_file_system_is_found() -> None:
    with pytest.raises(DataError):
        check_output_folder(Path("/proc/nowhere/out"))
    with pytest.raises(DataError):
        check_output_file(Path("/proc/x.json"))
