"""Manifests: column names are matched regardless of case and spaces."""

from __future__ import annotations

from pathlib import Path

import pytest

from lowlight_enhance.core.errors import DataError
from lowlight_enhance.training.data.manifest import read_frames, read_pairs, read_photos


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("d.png", "b.png"):
        (tmp_path / name).write_bytes(b"")
    return tmp_path


@pytest.mark.parametrize(
    "header", ["dark,bright,ISO,Exposure_s,Split,Scene", "Dark, Bright, Iso, EXPOSURE_S, SPLIT, scene"]
)
def test_columns_are_found_in_any_case(header: str, folder: Path) -> None:
    (folder / "pairs.csv").write_text(f"{header}\nd.png,b.png,800,0.04,val,roof\n")
    (pair,) = read_pairs(folder / "pairs.csv")
    assert (pair.capture.iso, pair.capture.exposure_s, pair.split, pair.scene) == (800.0, 0.04, "val", "roof")
    (frame,) = read_frames(folder / "pairs.csv")
    assert frame.capture == pair.capture


def test_columns_of_photographs_are_found_in_any_case(folder: Path) -> None:
    (folder / "photos.csv").write_text("File,SPLIT\nb.png,val\n")
    assert read_photos(folder / "photos.csv") == [(folder / "b.png", "val")]
    (frame,) = read_frames(folder / "photos.csv")
    assert frame.path == folder / "b.png"


@pytest.mark.parametrize(
    ("header", "named"),
    [
        ("dark,bright,iso,ISO", "'iso', 'ISO'"),
        ("dark,bright,split, Split", "'split', ' Split'"),
        ("dark,noisy,bright,iso", "'dark', 'noisy'"),
    ],
)
def test_columns_of_the_same_meaning_are_an_error(header: str, named: str, folder: Path) -> None:
    (folder / "pairs.csv").write_text(f"{header}\nd.png,b.png,1,2\n")
    with pytest.raises(DataError, match=f"the columns {named} mean the same"):
        read_pairs(folder / "pairs.csv")
