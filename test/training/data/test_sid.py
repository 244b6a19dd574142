"""Preparation of a See-in-the-Dark folder in miniature: index, warnings, resuming, and what a broken file does."""

from __future__ import annotations

import contextlib
import csv
import functools
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from dng import flat_mosaic, write_dng
from synthetic_sid import SCENES, Scene, write_sid

from lowlight_enhance import cli
from lowlight_enhance.core.errors import DataError
from lowlight_enhance.core.metadata.capture import CaptureMetadata
from lowlight_enhance.training.data import sid
from lowlight_enhance.training.data.manifest import read_pairs
from lowlight_enhance.training.data.pictures import load_pairs

RAWS = 10
SHARED_LONG = "Sony/long/00001_00_10s.ARW"
SHORT = "Sony/short/00001_00_0.04s.ARW"


@pytest.fixture
def raws(tmp_path: Path) -> Path:
    folder = tmp_path / "sid"
    write_sid(folder)
    return folder


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def prepare(raws: Path, out: Path, bits: sid.Bits = 8) -> sid.Prepared:
    return sid.prepare(raws, out, ("sony",), bits, jobs=1)


def rows(index: Path) -> list[dict[str, str]]:
    with index.open(newline="") as file:
        return list(csv.DictReader(file))


def versions(out: Path) -> dict[str, int]:
    """When each PNG was written; one that is renamed meanwhile is left out."""
    written = {}
    listed = [Path(folder) / name for folder, _, names in os.walk(out) for name in names]  # a folder may vanish
    for path in sorted(path for path in listed if path.suffix == ".png"):
        with contextlib.suppress(FileNotFoundError):
            written[str(path.relative_to(out))] = path.stat().st_mtime_ns
    return written


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 300.0
    while not condition():
        assert time.monotonic() < deadline, f"not within the deadline: {what}"
        time.sleep(0.01)


def test_the_index_lists_every_pair_as_its_list_does(raws: Path, out: Path) -> None:
    prepared = prepare(raws, out)
    assert (prepared.pairs, prepared.developed, prepared.kept, prepared.broken) == ({out / "sony.csv": 6}, RAWS, 0, {})
    listed = rows(out / "sony.csv")
    assert tuple(listed[0]) == sid.COLUMNS
    assert [(row["scene"], row["iso"], row["exposure_s"], row["split"]) for row in listed] == [
        ("sony_00001", "200", "0.04", "train"),
        ("sony_00001", "200", "0.1", "train"),
        ("sony_00002", "1600", "0.1", "train"),
        ("sony_20005", "200", "0.1", "val"),
        ("sony_20005", "200", "0.1", "val"),
        ("sony_10003", "640", "0.033", "test"),
    ]
    assert listed[0]["dark"] == "Sony/short/00001_00_0.04s.png"
    assert {row["bright"] for row in listed[:2]} == {"Sony/long/00001_00_10s.png"}
    assert len(versions(out)) == RAWS


def test_training_reads_the_index_and_the_dark_frame_is_dark(raws: Path, out: Path) -> None:
    prepare(raws, out)
    pairs = read_pairs(out / "sony.csv")
    assert pairs[0].capture == CaptureMetadata(200.0, 0.04)
    loaded = load_pairs(pairs[:1])[0]
    assert loaded.bright[0, 0] == pytest.approx(255 * np.array([0.735, 0.798, 0.854]), abs=1.0)
    assert loaded.dark[0, 0] == pytest.approx(255 * 12.92 * np.array([0.5, 0.6, 0.7]) * 0.04 / 10.0, abs=1.0)


def test_both_cameras_have_an_index_each(raws: Path, out: Path) -> None:
    write_sid(raws, SCENES[:1], "Fuji", "RAF", "F7.1")
    prepared = sid.prepare(raws, out, sid.CAMERAS, jobs=2)
    assert prepared.pairs == {out / "sony.csv": 6, out / "fuji.csv": 2}
    assert [row["scene"] for row in rows(out / "fuji.csv")] == ["fuji_00001"] * 2
    assert {pair.dark.parent for pair in read_pairs(out / "fuji.csv")} == {out / "Fuji/short"}


def test_lists_may_stand_beside_the_photographs(raws: Path, out: Path) -> None:
    for path in raws.glob("Sony_*_list.txt"):
        path.rename(raws / "Sony" / path.name)
    assert prepare(raws, out).pairs == {out / "sony.csv": 6}


def test_what_is_finished_is_not_made_again(raws: Path, out: Path) -> None:
    prepare(raws, out)
    first, index = versions(out), (out / "sony.csv").read_text()
    again = prepare(raws, out)
    assert (again.developed, again.kept) == (0, RAWS)
    assert versions(out) == first
    assert (out / "sony.csv").read_text() == index


def test_what_is_missing_or_cut_short_is_made_again_and_nothing_else(raws: Path, out: Path) -> None:
    prepare(raws, out)
    first = versions(out)
    gone, cut = sorted(out.rglob("*.png"))[2:4]
    gone.unlink()
    cut.write_bytes(cut.read_bytes()[:-20])
    (gone.parent / ".writing-killed").mkdir()
    (gone.parent / ".writing-killed" / ".lock").touch()
    (gone.parent / ".writing-killed" / gone.name).write_bytes(b"half")
    assert prepare(raws, out).developed == 2
    second = versions(out)
    assert set(second) == set(first)
    assert {name for name in first if first[name] != second[name]} == {str(p.relative_to(out)) for p in (gone, cut)}
    assert cv2.imread(str(cut)) is not None


def test_another_depth_replaces_what_is_there(raws: Path, out: Path) -> None:
    prepare(raws, out)
    assert prepare(raws, out, 16).developed == RAWS
    picture = cv2.imread(str(out / "Sony/short/00001_00_0.04s.png"), cv2.IMREAD_UNCHANGED)
    assert picture is not None
    assert picture.dtype == np.uint16
    assert prepare(raws, out, 16).kept == RAWS


def test_without_its_raw_file_a_finished_png_keeps_its_values(raws: Path, out: Path) -> None:
    write_dng(raws / SHORT, flat_mosaic((0.1, 0.1, 0.1)), 250, 0.04)
    prepare(raws, out)
    (raws / SHORT).unlink()
    prepared = prepare(raws, out)
    assert prepared.broken == {}
    assert rows(out / "sony.csv")[0]["iso"] == "250"


def test_a_broken_and_a_missing_raw_are_named_and_their_pairs_left_out(
    raws: Path, out: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (raws / SHORT).write_bytes((raws / SHORT).read_bytes()[:900])
    (raws / "Sony/long/20005_00_10s.ARW").unlink()
    prepared = prepare(raws, out)
    assert set(prepared.broken) == {SHORT, "Sony/long/20005_00_10s.ARW"}
    assert "damaged" in prepared.broken[SHORT]
    assert "does not exist" in prepared.broken["Sony/long/20005_00_10s.ARW"]
    assert all(name in caplog.text for name in prepared.broken)
    assert prepared.pairs == {out / "sony.csv": 3}
    assert len(read_pairs(out / "sony.csv")) == 3
    write_sid(raws)
    assert prepare(raws, out).developed == 2
    assert len(read_pairs(out / "sony.csv")) == 6


def test_exif_that_contradicts_the_list_is_named_and_believed(
    raws: Path, out: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_dng(raws / SHORT, flat_mosaic((0.1, 0.1, 0.1)), 400, 0.1)
    prepare(raws, out)
    warnings = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert warnings == [
        f"{SHORT}: ISO is 400 in EXIF and 200 in the list; EXIF is used",
        f"{SHORT}: exposure time in seconds is 0.1 in EXIF and 0.04 in the list; EXIF is used",
    ]
    assert (rows(out / "sony.csv")[0]["iso"], rows(out / "sony.csv")[0]["exposure_s"]) == ("400", "0.1")


def test_rounding_in_a_name_is_no_contradiction_and_no_exif_leaves_the_list(
    raws: Path, out: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_dng(raws / "Sony/short/10003_00_0.033s.ARW", flat_mosaic((0.1, 0.1, 0.1)), 640, 1 / 30)
    write_dng(raws / SHORT, flat_mosaic((0.1, 0.1, 0.1)), None, None)
    prepare(raws, out)
    assert caplog.text == ""
    listed = {row["dark"]: row for row in rows(out / "sony.csv")}
    assert listed["Sony/short/10003_00_0.033s.png"]["exposure_s"] == "0.0333333"
    assert listed["Sony/short/00001_00_0.04s.png"]["iso"] == "200"
    assert listed["Sony/short/00001_00_0.04s.png"]["exposure_s"] == "0.04"


@pytest.mark.parametrize(
    "line",
    [
        "./Sony/short/00009_00_0.1s.ARW ./Sony/long/00009_00_10s.ARW ISO200",
        "./Sony/short/00009_00.ARW ./Sony/long/00009_00_10s.ARW ISO200 F8",
        "./../short/00009_00_0.1s.ARW ./Sony/long/00009_00_10s.ARW ISO200 F8",
        "/Sony/short/00009_00_0.1s.ARW ./Sony/long/00009_00_10s.ARW ISO200 F8",
        "<html>",
    ],
)
def test_a_line_of_another_kind_is_named(raws: Path, out: Path, line: str) -> None:
    with (raws / "Sony_val_list.txt").open("a") as file:
        file.write(f"\n{line}\n")
    with pytest.raises(DataError, match=r"Sony_val_list\.txt, line 4: expected"):
        prepare(raws, out)
    assert not out.exists()


def test_a_folder_without_lists_or_photographs_is_named(raws: Path, out: Path) -> None:
    with pytest.raises(DataError, match=r"no Fuji_train_list\.txt.*--camera"):
        sid.prepare(raws, out, sid.CAMERAS, jobs=1)
    (raws / "Fuji_val_list.txt").write_text((raws / "Sony_val_list.txt").read_text().replace("Sony", "Fuji"))
    with pytest.raises(DataError, match=r"no folder Fuji.*--camera"):
        sid.prepare(raws, out, sid.CAMERAS, jobs=1)


def test_an_output_that_is_no_folder_is_named(raws: Path, out: Path) -> None:
    out.write_text("a file")
    with pytest.raises(DataError, match="cannot create the folder"):
        prepare(raws, out)


def test_the_command_reports_and_returns_1_where_something_was_left_out(
    raws: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["prepare-sid", str(raws), "--out", str(out), "--camera", "sony", "--jobs", "1"]
    (raws / SHARED_LONG).write_bytes(b"")
    assert cli.main(command) == 1
    printed = capsys.readouterr()
    assert f"{out / 'sony.csv'}: 4 pairs\n9 raw files developed, 0 were there already\n" == printed.out
    assert f"1 left out:\n  {SHARED_LONG}\n" in printed.err
    write_sid(raws)
    assert cli.main(command) == 0
    assert "1 raw files developed, 9 were there already" in capsys.readouterr().out


def test_the_command_prepares_the_cameras_that_are_there(
    raws: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["prepare-sid", str(raws), "--out", str(out), "--jobs", "1"]
    (raws / "Fuji_train_list.txt").write_text("")  # the lists of both are published together
    assert cli.main(command) == 0
    assert f"{out / 'sony.csv'}: 6 pairs\n{RAWS} raw files developed" in capsys.readouterr().out
    assert not (out / "fuji.csv").exists()
    assert cli.main([*command, "--camera", "both"]) == 2
    assert "has no folder Fuji" in capsys.readouterr().err
    (raws / "Sony").rename(raws / "elsewhere")
    assert cli.main(command) == 2
    assert "has neither a folder Sony nor Fuji" in capsys.readouterr().err


@pytest.fixture
def run(tmp_path: Path, out: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that prepares thirty pairs in ``many`` and is amid them."""
    light = np.random.default_rng(0).uniform(0.2, 0.8, (600, 900, 3))
    write_sid(tmp_path / "many", [Scene("00001", "train", tuple(0.01 * n for n in range(1, 31)), light=light)])
    arguments = ["prepare-sid", str(tmp_path / "many"), "--out", str(out), "--camera", "sony", "--jobs", "1"]
    script = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell may ignore it
    script += f"from lowlight_enhance import cli; sys.exit(cli.main({arguments}))"
    with subprocess.Popen([sys.executable, "-c", script]) as process:
        wait_until(lambda: len(finished(out)) > 2 or process.poll() is not None, "three PNG files")
        yield process
        process.kill()


def test_a_killed_run_ends_whole_and_is_taken_up_where_it_was(
    run: subprocess.Popen[bytes], tmp_path: Path, out: Path
) -> None:
    workers = Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()
    run.kill()
    assert run.wait() == -signal.SIGKILL, "it was to be killed amid its work"
    wait_until(lambda: not any(running(int(worker)) for worker in workers), "the end of its processes")
    kept = finished(out)
    assert 2 < len(kept) < 31
    assert all(cv2.imread(str(out / name)) is not None for name in kept)
    prepared = prepare(tmp_path / "many", out)
    assert (prepared.kept, prepared.developed) == (len(kept), 31 - len(kept))
    assert prepared.pairs == {out / "sony.csv": 30}
    assert kept.items() <= finished(out).items()
    assert list(out.rglob(".writing-*")) == []


def test_an_interrupted_run_finishes_what_it_is_at_however_often_it_is_told(
    run: subprocess.Popen[bytes], out: Path
) -> None:
    deadline = time.monotonic() + 300.0
    while run.poll() is None and time.monotonic() < deadline:
        run.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            run.wait(0.02)
    assert run.poll() in (cli.EXIT_INTERRUPTED, -signal.SIGINT)  # the latter: told once more amid its own end
    assert 2 < len(finished(out)) < 31
    assert list(out.rglob(".writing-*")) == []


def finished(out: Path) -> dict[str, int]:
    return {name: at for name, at in versions(out).items() if ".writing-" not in name}


def running(process: int) -> bool:
    try:
        os.kill(process, 0)
        return "\nState:\tZ" not in Path(f"/proc/{process}/status").read_text()
    except (ProcessLookupError, FileNotFoundError):
        return False


def test_a_process_that_dies_is_told_with_what_it_was_at(
    raws: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sid, "_prepare_process", functools.partial(os._exit, 1))
    with pytest.raises(DataError, match=rf"died while it developed one of {SHORT}: memory .* run again"):
        prepare(raws, out)
    assert not (out / "sony.csv").exists()
