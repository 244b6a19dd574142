"""`lowlight video` as a command: options, output, exit status, interrupts, and the files that remain."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from lowlight_enhance import cli
from lowlight_enhance.commands import video as video_commands
from lowlight_enhance.tools.video.enhance import VideoSettings, expected_frames
from lowlight_enhance.tools.video.image_sequence import ImageSequenceSource

pytest.importorskip("av", reason="makes and reads the videos")

import av

DEADLINE_S = 300.0
FRAMES = 4


def write_pictures(folder: Path, frames: int = FRAMES) -> Path:
    folder.mkdir()
    for number in range(frames):
        assert cv2.imwrite(str(folder / f"{number}.png"), np.full((48, 64, 3), 10 + number % 50, np.uint8))
    return folder


def settings_of(*options: str) -> VideoSettings:
    return video_commands._settings(cli.build_parser().parse_args(["video", "in", "out", *options]))


def count(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


# Options


def test_without_options_the_settings_are_the_defaults() -> None:
    assert settings_of() == VideoSettings()


def test_options_reach_the_settings() -> None:
    options = "--strength 0.5 --temporal-time-constant 0 --bypass-threshold 90 --bypass-hysteresis 3"
    options += (
        " --max-pixels 9 --iso 800 --exposure 1/50 --side-by-side --max-frames 7 --seconds 1/2 --codec libx265 --force"
    )
    options += " --threads 2"
    options += " --working-size 0 --runtime openvino --provider A --output-resolution model"
    settings = settings_of(*options.split())
    pipeline = settings.pipeline
    assert (pipeline.strength, pipeline.smoothing_s, pipeline.bypass_above, pipeline.bypass_hysteresis) == (
        0.5,
        0.0,
        90.0,
        3.0,
    )
    assert (pipeline.max_pixels, pipeline.fallback.iso, pipeline.fallback.exposure_s) == (9, 800.0, 0.02)
    assert (settings.side_by_side, settings.max_frames, settings.max_seconds) == (True, 7, 0.5)
    assert (settings.codec, settings.force, settings.threads, settings.working_size) == ("libx265", True, 2, 0)
    assert (settings.runtime, settings.providers, settings.output_resolution) == ("openvino", ("A",), "model")


@pytest.mark.parametrize("options", [["--fps", "0"], ["--fps", "x"], ["--size", "64"], ["--max-frames", "0"]])
def test_bad_options_exit_with_2(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["video", "in", "out", *options])
    assert caught.value.code == 2


@pytest.mark.parametrize("options", [["--strength", "2"], ["--iso", "-1"], ["--seconds", "0"]])
def test_a_value_out_of_range_is_one_line_and_exit_2(
    options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["video", str(write_pictures(tmp_path / "in")), str(tmp_path / "out"), *options]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


@pytest.mark.parametrize(("limits", "expected"), [({}, 50), ({"max_frames": 9}, 9), ({"max_seconds": 0.5}, 5)])
def test_the_progress_bar_expects_the_number_of_frames(limits: dict[str, int], expected: int) -> None:
    source = ImageSequenceSource("in", [Path("a.png")] * 50, VideoSettings().pipeline.fallback, Fraction(10))
    assert expected_frames(source, VideoSettings(**limits)) == expected


# Output and exit status


def test_the_report_is_printed(tmp_path: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "out.mp4"
    command = ["video", str(write_pictures(tmp_path / "in")), str(target), "--model", str(tiny_model), "--fps", "5"]
    assert cli.main(command) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith(f"{target}: {FRAMES} frames enhanced in ")
    assert printed.err == "", "no progress bar without a terminal"
    assert count(target) == FRAMES
    assert cli.main(command) == 2
    assert "exists; choose another target" in capsys.readouterr().err


def test_a_damaged_image_is_exit_1(tmp_path: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_pictures(tmp_path / "in")
    (folder / "2.png").write_bytes(b"damaged")
    assert cli.main(["video", str(folder), str(tmp_path / "out"), "--model", str(tiny_model)]) == 1
    assert "1 damaged frames skipped" in capsys.readouterr().out


def test_without_pyav_a_video_names_the_extra_and_images_work(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    folder, model = str(write_pictures(tmp_path / "in")), ["--model", str(tiny_model)]
    assert cli.main(["video", folder, str(tmp_path / "out.mp4"), *model]) == 2
    assert "pip install 'lowlight_enhance[offline]'" in capsys.readouterr().err
    assert cli.main(["video", folder, str(tmp_path / "out"), *model]) == 0


# Interrupts

SCRIPT = """
import signal, sys, time
import cv2, numpy as np

signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background jobs ignore

class Camera:
    shown = 0
    def __init__(self, camera): pass
    def isOpened(self): return True
    def set(self, setting, value): return True
    def get(self, setting): return 30.0 if setting == cv2.CAP_PROP_FPS else 1000.0 + 20.0 * Camera.shown
    def read(self):
        Camera.shown += 1
        time.sleep(0.02)
        if Camera.shown == 10:
            print("rolling", flush=True)
        return True, np.full((48, 64, 3), Camera.shown % 200, np.uint8)
    def release(self): pass

cv2.VideoCapture = Camera
from lowlight_enhance import cli
sys.exit(cli.main(["video", *sys.argv[1:]]))
"""


def start(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SCRIPT, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_a_recording_and_keeps_it(number: signal.Signals, tmp_path: Path, tiny_model: Path) -> None:
    process = start(0, tmp_path / "out.mp4", "--model", tiny_model, "--threads", 1)
    assert process.stdout is not None
    assert process.stdout.readline() == "rolling\n"
    process.send_signal(number)
    out, err = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, err
    assert err == "recording camera 0 at 30 Hz; Ctrl-C ends it\n"
    recorded = count(tmp_path / "out.mp4")
    assert f"out.mp4: {recorded} frames enhanced" in out
    assert recorded >= 5
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]


@pytest.fixture(scope="module")
def long_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Long enough to interrupt its enhancement."""
    path = tmp_path_factory.mktemp("videos") / "in.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=30)
        stream.width, stream.height = 64, 48
        for _ in range(10_000):
            container.mux(stream.encode(av.VideoFrame(64, 48, "yuv420p")))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(("target", "number", "code"), [("out.mkv", signal.SIGINT, 130), ("out", signal.SIGTERM, 143)])
def test_an_interrupted_file_leaves_nothing(
    target: str, number: signal.Signals, code: int, tmp_path: Path, tiny_model: Path, long_video: Path
) -> None:
    process = start(long_video, tmp_path / target, "--model", tiny_model, "--threads", 1)
    deadline = time.monotonic() + DEADLINE_S
    while not list(tmp_path.glob(".writing-*")):
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.send_signal(number)
    _, printed = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, printed) == (code, "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("target", ["out.mkv", "out"])
def test_the_next_run_removes_what_a_killed_one_left(
    target: str, tmp_path: Path, tiny_model: Path, long_video: Path
) -> None:
    process = start(long_video, tmp_path / target, "--model", tiny_model, "--threads", 1)
    deadline = time.monotonic() + DEADLINE_S
    while not list(tmp_path.glob(f".writing-*/{target}")):
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.kill()
    process.communicate()
    assert list(tmp_path.glob(".writing-*"))
    command = ["video", str(long_video), str(tmp_path / target), "--model", str(tiny_model), "--max-frames", "2"]
    assert cli.main(command) == 0
    assert [path.name for path in tmp_path.iterdir()] == [target]
