"""`lowlight dataset`: files are compared with the hashes in manifests."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from lowlight_enhance import cli
from lowlight_enhance.core.errors import DataError
from lowlight_enhance.training.data.manifest import read_pairs, read_photos, scene_split
from lowlight_enhance.training.data.verification import check_manifests, make_manifest


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    for name in "abcd":
        (folder / f"{name}.png").write_bytes(name.encode())
    (tmp_path / "index.csv").write_text("file,split\na.png,train\nb.png,test\n")
    (tmp_path / "pairs_index.csv").write_text("Noisy,Clean,ISO,scene\nc.png,d.png,800,hall\n")
    make_manifest(tmp_path / "index.csv", tmp_path / "photos.csv", folder)
    make_manifest(tmp_path / "pairs_index.csv", tmp_path / "pairs.csv", folder)
    return folder


def digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def test_a_manifest_keeps_the_columns_and_adds_splits_and_hashes(root: Path, tmp_path: Path) -> None:
    assert (tmp_path / "photos.csv").read_text() == (
        f"file,split,sha256\na.png,train,{digest('a')}\nb.png,test,{digest('b')}\n"
    )
    header, row = (tmp_path / "pairs.csv").read_text().splitlines()
    assert header == "noisy,clean,iso,scene,split,dark_sha256,bright_sha256"
    assert row == f"c.png,d.png,800,hall,{scene_split('hall')},{digest('c')},{digest('d')}"
    assert read_photos(tmp_path / "photos.csv", root)[1] == (root / "b.png", "test")
    assert read_pairs(tmp_path / "pairs.csv", root)[0].capture.iso == 800.0


def test_files_as_listed_pass(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifests = [str(tmp_path / "photos.csv"), str(tmp_path / "pairs.csv")]
    assert cli.main(["dataset", "check", *manifests, "--data-root", str(root)]) == 0
    assert capsys.readouterr().out == "4 files are as listed\n"


def test_missing_and_changed_files_are_reported_in_one_line_each(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / "a.png").unlink()
    (root / "d.png").write_bytes(b"other")
    manifests = [str(tmp_path / "photos.csv"), str(tmp_path / "pairs.csv")]
    assert cli.main(["dataset", "check", *manifests, "--data-root", str(root)]) == 1
    shown = capsys.readouterr()
    assert shown.out.splitlines() == [
        f"missing: {root / 'a.png'}",
        f"changed: {root / 'd.png'} has the SHA-256 {digest('other')}, not {digest('d')}",
    ]
    assert shown.err == "lowlight: 2 problems in 4 files\n"


def test_a_row_that_is_listed_twice_is_reported(root: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "photos.csv"
    manifest.write_text(manifest.read_text() + f"a.png,train,{digest('a')}\n")
    (problem,) = check_manifests([manifest], root).problems
    assert problem == f"duplicate: a.png ({manifest}, line 4, also line 2)"


def test_content_under_two_names_is_reported_with_the_splits(root: Path, tmp_path: Path) -> None:
    (root / "copy.png").write_bytes(b"a")
    manifest = tmp_path / "photos.csv"
    manifest.write_text(manifest.read_text() + f"copy.png,val,{digest('a')}\n")
    assert check_manifests([manifest], root).problems == (
        "duplicate: a.png (train) and copy.png (val) have the same content",
    )


def test_a_picture_in_two_splits_of_two_manifests_is_reported(root: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.csv"
    other.write_text(f"file,split,sha256\na.png,test,{digest('a')}\n")
    assert check_manifests([other], root).problems == ()
    (problem,) = check_manifests([tmp_path / "photos.csv", other], root).problems
    assert problem == "duplicate: a.png (train) and a.png (test) are one file"


def test_a_reference_that_several_dark_pictures_share_is_no_duplicate(root: Path, tmp_path: Path) -> None:
    (tmp_path / "index.csv").write_text("dark,bright,split\na.png,d.png,train\nb.png,d.png,train\n")
    make_manifest(tmp_path / "index.csv", tmp_path / "two.csv", root)
    assert check_manifests([tmp_path / "two.csv"], root).problems == ()


def test_rows_without_a_hash_are_reported_and_manifests_without_any_rejected(root: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "photos.csv"
    manifest.write_text(manifest.read_text() + "c.png,train,\n")
    assert check_manifests([manifest], root).problems == (f"no hash: c.png ({manifest}, line 4)",)
    with pytest.raises(DataError, match=r"index\.csv has no column sha256.*lowlight dataset make"):
        check_manifests([tmp_path / "index.csv"], root)
    (tmp_path / "empty.csv").write_text("file,sha256\n")
    with pytest.raises(DataError, match=r"empty\.csv lists no pictures"):
        check_manifests([tmp_path / "empty.csv"], root)


def test_hashes_may_be_in_capitals(root: Path, tmp_path: Path) -> None:
    (tmp_path / "photos.csv").write_text(f"File,Split,SHA256\na.png,train,{digest('a').upper()}\n")
    assert check_manifests([tmp_path / "photos.csv"], root).problems == ()


@pytest.mark.parametrize("action", ["check", "make"])
def test_a_manifest_that_does_not_exist_is_a_user_error(
    action: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = [str(tmp_path / "target.csv")] if action == "make" else []
    assert cli.main(["dataset", action, str(tmp_path / "none.csv"), *target]) == 2
    assert capsys.readouterr().err.startswith(f"lowlight: cannot read the manifest {tmp_path / 'none.csv'}")


def test_a_manifest_is_not_written_where_a_file_is_missing(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / "a.png").unlink()
    arguments = [str(tmp_path / "index.csv"), str(tmp_path / "new.csv"), "--data-root", str(root)]
    assert cli.main(["dataset", "make", *arguments]) == 2
    assert "a.png" in capsys.readouterr().err
    assert not (tmp_path / "new.csv").exists()


def test_the_manifests_in_the_repository_hold_hashes_and_no_picture_in_two_splits() -> None:
    """Without the pictures, every file is missing, and nothing else is wrong."""
    folder = Path(__file__).parents[3] / "config/train/manifests"
    checked = check_manifests(sorted(folder.glob("*.csv")), folder / "no such folder")
    assert len(checked.problems) == checked.files
    assert {problem.partition(":")[0] for problem in checked.problems} == {"missing"}
