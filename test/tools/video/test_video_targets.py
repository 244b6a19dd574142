"""Sources and targets that are rejected, and what --force replaces."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("av", reason="makes and reads the videos")

import av
from disk import largest_file
from video_maker import (
    changed,
    frames_of,
    run,
    write_pictures,
    write_video,
)

from lowlight_enhance import cli
from lowlight_enhance.core.errors import ConfigError, DataError, ImageError, LowlightError
from lowlight_enhance.tools.video.enhance import VideoSettings
from lowlight_enhance.tools.video.sources import open_source, source_files
from lowlight_enhance.tools.video.writers import check_video_target


@pytest.mark.parametrize(
    ("source", "how", "kind", "message"),
    [
        ("no.mp4", {}, DataError, "no.mp4 does not exist"),
        ("empty", {}, DataError, "no images in"),
        ("text.mp4", {}, DataError, r"cannot read .*text\.mp4 as a video"),
        ("sound.mka", {}, DataError, "has no video in it"),
        ("photo.png", {}, ConfigError, "single image: use 'lowlight image'"),
        ("night.mp4", {"rate": Fraction(5)}, ConfigError, "--fps applies to images, cameras and raw video streams"),
        ("night.mp4", {"size": (64, 48)}, ConfigError, "--size applies to cameras"),
        ("n_%04d.png", {}, DataError, "no files like"),
    ],
)
def test_unusable_sources_are_rejected(
    source: str, how: dict[str, Any], kind: type[LowlightError], message: str, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "photo.png").touch()
    write_video(tmp_path / "night.mp4")
    with av.open(str(tmp_path / "sound.mka"), "w") as container:
        tone = container.add_stream("aac", rate=48_000)
        tone.layout = "mono"
        part = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        part.sample_rate = 48_000
        container.mux([*tone.encode(part), *tone.encode(None)])
    with pytest.raises(kind, match=message):
        open_source(str(tmp_path / source), **how)


@pytest.mark.parametrize(
    ("target", "codec", "force", "message"),
    [
        ("out.xyz", None, False, "video files end in one of"),
        ("in.mp4", None, True, "is the source itself"),
        ("night", None, True, "is the source itself"),
        ("there.mp4", None, False, "exists; .* --force"),
        ("there", None, False, "exists; .* --force"),
        ("mixed", None, True, "holds more than images"),
        ("folder.mp4", None, True, "is a folder"),
        ("out.mp4", "no_such_codec", False, "no encoder no_such_codec"),
        ("out.mp4", "aac", False, "no encoder aac"),
        ("out", "libx264", False, "--codec applies to video files"),
    ],
)
def test_unusable_targets_are_rejected(
    target: str, codec: str | None, force: bool, message: str, tmp_path: Path
) -> None:
    (tmp_path / "in.mp4").touch()
    (tmp_path / "there.mp4").touch()
    (tmp_path / "folder.mp4").mkdir()
    for name in ("night", "there", "mixed"):
        write_pictures(tmp_path / name, ["a.png"])
    (tmp_path / "mixed" / "thesis.txt").touch()
    source = tmp_path / ("night" if target == "night" else "in.mp4")
    with pytest.raises(LowlightError, match=message):
        check_video_target(source_files(str(source)), tmp_path / target, codec, force)


@pytest.mark.parametrize("source", ["night/%02d.png", "night", "links", "night/01.mkv"])
def test_a_folder_that_holds_a_source_is_never_replaced(source: str, tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "night", ["01.png", "02.png"])
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "01.png").symlink_to(folder / "01.png")
    if source.endswith(".mkv"):
        write_video(tmp_path / source)
    before = {path: path.read_bytes() for path in folder.iterdir()}
    for target in (folder, tmp_path / "x" / ".." / "night"):
        with pytest.raises(DataError, match="so that the original is kept"):
            check_video_target(source_files(str(tmp_path / source)), target, None, force=True)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_numbered_pictures_of_the_source_are_not_replaced(tmp_path: Path, tiny_model: Path) -> None:
    folder = write_pictures(tmp_path / "night", ["01.png"])
    before = (folder / "01.png").read_bytes()
    command = ["video", str(folder / "%02d.png"), str(folder), "--force", "--model", str(tiny_model)]
    assert cli.main(command) == 2
    assert (folder / "01.png").read_bytes() == before


def test_force_replaces_files_and_folders_of_images(tmp_path: Path, settings: VideoSettings) -> None:
    folder = write_pictures(tmp_path / "night", ["0.png"])
    write_pictures(tmp_path / "out", ["old.png"])
    (tmp_path / "out.mp4").touch()
    (tmp_path / "empty").mkdir()
    for name in ("out", "out.mp4"):
        assert run(folder, tmp_path / name, changed(settings, force=True)).frames == 1
    assert run(folder, tmp_path / "empty", settings).frames == 1
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["0.png"]
    assert len(frames_of(tmp_path / "out.mp4")) == 1


def test_a_source_without_readable_frames_leaves_nothing(tmp_path: Path, settings: VideoSettings) -> None:
    (tmp_path / "night").mkdir()
    (tmp_path / "night" / "a.png").write_bytes(b"damaged")
    for target in ("out", "out.mp4"):
        with pytest.raises(DataError, match=r"has no readable frame .*cannot decode"):
            run(tmp_path / "night", tmp_path / target, settings)
    assert [path.name for path in tmp_path.iterdir()] == ["night"]


def test_a_failing_encoder_leaves_nothing(tmp_path: Path, settings: VideoSettings) -> None:
    source = write_video(tmp_path / "night.mp4")
    with pytest.raises(DataError, match=r"cannot write .*out\.mp4"):
        run(source, tmp_path / "out.mp4", changed(settings, codec="gif"))
    assert [path.name for path in tmp_path.iterdir()] == ["night.mp4"]


def test_a_pipe_is_rejected_as_source(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(DataError, match="not a regular file"):
        open_source(str(tmp_path / "pipe.mp4"))


def test_names_that_ffmpeg_would_take_for_urls(
    tmp_path: Path, settings: VideoSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / "night.mp4", range(0, 120, 40))
    for name in ("12:30.mp4", "file:x.mp4", "http:x%20.mp4", "-x#?.mp4"):
        Path("night.mp4").rename(name)
        assert run(name, Path(f"out {name}"), settings).frames == 3
        assert len(list(Path.cwd().glob("out *"))) == 1
        Path(f"out {name}").unlink()
        Path(name).rename("night.mp4")


def test_larger_frames_than_allowed_are_rejected(tmp_path: Path) -> None:
    source = write_video(tmp_path / "night.mp4", [0])
    with pytest.raises(ImageError, match="of 64x48"):
        open_source(str(source), max_pixels=64 * 48 - 1)
    folder = write_pictures(tmp_path / "images", ["0.png"])
    with open_source(str(folder), max_pixels=64 * 48 - 1) as images:
        assert list(images.frames()) == []
        assert images.skipped == 1


@pytest.mark.parametrize("target", ["out", "out.mp4"])
def test_a_full_disk_is_one_error_and_leaves_nothing(target: str, tmp_path: Path, settings: VideoSettings) -> None:
    source = write_video(tmp_path / "night.mkv", range(0, 4000, 40), codec="ffv1", layout="bgr0")
    with largest_file(300), pytest.raises(DataError, match=r"cannot write .*out"):
        run(source, tmp_path / target, settings)
    assert [path.name for path in tmp_path.iterdir()] == ["night.mkv"]


@pytest.mark.parametrize("target", ["y" * 300, "y" * 300 + ".mp4", "missing/out.mp4", "missing/out"])
def test_a_target_that_cannot_be_created_is_named_before_the_work(target: str, tmp_path: Path) -> None:
    with pytest.raises(DataError):
        check_video_target([], tmp_path / target, None, force=False)
