"""Targets that would replace a source are rejected."""

from __future__ import annotations

from pathlib import Path

import pytest

from lowlight_enhance.core.errors import DataError
from lowlight_enhance.core.paths import check_sources_not_overwritten


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """A file in a folder."""
    folder = tmp_path / "rec"
    folder.mkdir()
    (folder / "a.mcap").write_text("original")
    return folder / "a.mcap"


def test_the_source_is_rejected_as_target(recording: Path) -> None:
    with pytest.raises(DataError, match="is the source itself"):
        check_sources_not_overwritten([recording], [recording.parent / ".." / "rec" / "a.mcap"])


def test_a_folder_that_contains_the_source_is_rejected(recording: Path, tmp_path: Path) -> None:
    for target in (recording.parent, tmp_path):
        with pytest.raises(DataError, match="which would be replaced"):
            check_sources_not_overwritten([recording], [target])


def test_links_are_followed_on_both_sides(recording: Path, tmp_path: Path) -> None:
    (tmp_path / "link.mcap").symlink_to(recording)
    (tmp_path / "folder").symlink_to(recording.parent)
    for source, target in (
        (tmp_path / "link.mcap", recording.parent),
        (recording, tmp_path / "link.mcap"),
        (tmp_path / "folder" / "a.mcap", recording.parent),
        (recording, tmp_path / "folder"),
    ):
        with pytest.raises(DataError):
            check_sources_not_overwritten([source], [target])


def test_another_name_of_the_source_is_rejected(recording: Path, tmp_path: Path) -> None:
    (tmp_path / "second.mcap").hardlink_to(recording)
    with pytest.raises(DataError, match="is the source itself"):
        check_sources_not_overwritten([recording], [tmp_path / "second.mcap"])


def test_every_source_is_compared_with_every_target(recording: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.mcap lies in .*rec"):
        check_sources_not_overwritten([tmp_path / "b", recording], [tmp_path / "out", recording.parent])


def test_a_source_that_does_not_exist_is_compared_by_name(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        check_sources_not_overwritten([tmp_path / "out" / "x"], [tmp_path / "out"])


def test_other_targets_are_accepted(recording: Path, tmp_path: Path) -> None:
    check_sources_not_overwritten([recording], [tmp_path / "out", recording.parent / "b.mcap", tmp_path / "re"])
    check_sources_not_overwritten([recording], [tmp_path / ("y" * 300)])
