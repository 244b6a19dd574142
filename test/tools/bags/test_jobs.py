"""Targets of `lowlight bag`: every bag is written to the right place, and no source is replaced."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("rosbags", reason="writes and reads the bags")

from bag_maker import DRIVER_RECORDINGS, write_bag

from lowlight_enhance import cli
from lowlight_enhance.core.errors import DataError
from lowlight_enhance.tools.bags.jobs import Job, plan_jobs


def write_recording(path: Path, storage: str = "mcap") -> Path:
    return write_bag(path, DRIVER_RECORDINGS["realsense"]().sent, storage)


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_one_file_of_a_bag_does_not_replace_the_bag(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recording = write_recording(tmp_path / "REC")
    before = snapshot(tmp_path)
    assert cli.main(["bag", str(recording / "REC.mcap"), str(recording), "--force"]) == 2
    assert "would be replaced; choose another target, so that the original is kept" in capsys.readouterr().err
    assert snapshot(tmp_path) == before


def test_no_source_is_replaced_under_any_of_its_names(tmp_path: Path) -> None:
    recording = write_recording(tmp_path / "REC")
    linked_file = tmp_path / "link.mcap"
    linked_file.symlink_to(recording / "REC.mcap")
    linked_folder = tmp_path / "linked"
    linked_folder.symlink_to(recording)
    bag_of_links = tmp_path / "of_links"
    bag_of_links.mkdir()
    for file in recording.iterdir():
        (bag_of_links / file.name).symlink_to(file)
    spelled = tmp_path / "other" / ".." / "REC"
    (tmp_path / "other").mkdir()
    for source in (recording, linked_file, linked_folder, linked_folder / "REC.mcap", bag_of_links):
        for target in (recording, spelled):
            with pytest.raises(DataError, match="so that the original is kept"):
                plan_jobs([source], target, force=True)


def test_a_folder_that_holds_a_linked_source_is_not_replaced(tmp_path: Path) -> None:
    recording, other = write_recording(tmp_path / "REC"), write_recording(tmp_path / "other")
    (other / "link.mcap").symlink_to(recording / "REC.mcap")
    with pytest.raises(DataError, match="so that the original is kept"):
        plan_jobs([other / "link.mcap"], other, force=True)


def test_no_job_replaces_the_source_of_another_job(tmp_path: Path) -> None:
    night = write_recording(tmp_path / "in" / "night")
    day = write_recording(tmp_path / "out" / "night")
    other = (day / "night.mcap").rename(day / "other.mcap")
    with pytest.raises(DataError, match="so that the original is kept"):
        plan_jobs([night, other], tmp_path / "out", force=True)
    with pytest.raises(DataError, match="so that the original is kept"):
        plan_jobs([tmp_path / "in"], tmp_path / "in", force=True)


def test_no_job_writes_into_the_source_of_another_job(tmp_path: Path) -> None:
    night, day = write_recording(tmp_path / "night"), write_recording(tmp_path / "day")
    with pytest.raises(DataError, match="lies in the recorded bag"):
        plan_jobs([night, day], day, force=True)


def test_the_model_is_not_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, target = write_recording(tmp_path / "in"), write_recording(tmp_path / "out")
    model = target / "model.onnx"
    model.write_bytes(b"weights")
    assert cli.main(["bag", str(source), str(target), "--force", "--model", str(model)]) == 2
    assert "model.onnx lies in" in capsys.readouterr().err
    assert model.read_bytes() == b"weights"


@pytest.mark.parametrize("name", ["n" * 300, "file/out", "/dev/null"])
def test_an_impossible_target_is_one_line_and_exit_2(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_recording(tmp_path / "in")
    (tmp_path / "file").touch()
    assert cli.main(["bag", str(source), str(tmp_path / name), "--force"]) == 2
    output = capsys.readouterr()
    assert output.err.startswith("lowlight: ")
    assert output.err.count("\n") == 1


def test_a_source_whose_name_is_too_long_is_named(tmp_path: Path) -> None:
    source = tmp_path / ("a" * 300)
    with pytest.raises(DataError, match=rf"^cannot read {source}: File name too long; choose a shorter name$"):
        plan_jobs([source], tmp_path / "out", force=False)


def test_another_bag_is_replaced_with_force(tmp_path: Path) -> None:
    source, target = write_recording(tmp_path / "in"), write_recording(tmp_path / "out")
    assert plan_jobs([source], target, force=True) == [Job(source, target)]
