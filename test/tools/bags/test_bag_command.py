"""`lowlight bag` as a command: options, several bags and workers, interrupts, and files that remain after errors."""

from __future__ import annotations

import dataclasses
import fcntl
import os
import pty
import re
import signal
import sqlite3
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

pytest.importorskip("rosbags", reason="makes and reads the bags")

import bag_maker
from bag_maker import DRIVER_RECORDINGS, FIRST_NS, IMAGE, BagMessage, write_bag
from rosbags.rosbag2 import Writer

from lowlight_enhance import cli
from lowlight_enhance.commands import bags as bag_commands
from lowlight_enhance.commands.arguments import METADATA_PARAMETERS, PIPELINE_PARAMETERS
from lowlight_enhance.core.errors import DataError, LowlightError
from lowlight_enhance.core.metadata.readers import MetadataSettings
from lowlight_enhance.core.pipeline import PipelineConfig
from lowlight_enhance.tools.bags import jobs as bag_jobs
from lowlight_enhance.tools.bags import scheduler
from lowlight_enhance.tools.bags.settings import BagReport, BagSettings

DEADLINE_S = 300.0


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that doubles every pixel."""
    pytest.importorskip("onnx", reason="the onnx package writes the tests' models")
    from tiny_model import write_tiny_model

    return write_tiny_model(tmp_path_factory.mktemp("model") / "tiny.onnx")


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bag(tmp_path_factory.mktemp("bags") / "night", DRIVER_RECORDINGS["realsense"]().sent)


@pytest.fixture(scope="module")
def long_night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bag long enough to be interrupted."""
    image = bag_maker.image(FIRST_NS, 0)
    sent = [BagMessage("/image_raw", FIRST_NS + number, IMAGE, image) for number in range(20_000)]
    return write_bag(tmp_path_factory.mktemp("bags") / "long_night", sent)


class Outcomes(dict[str, "BagReport | LowlightError"]):
    """Result of each bag, by its name."""

    def __call__(self, job: bag_jobs.Job, outcome: BagReport | LowlightError) -> None:
        self[job.source.name] = outcome


def settings_of(*options: str) -> BagSettings:
    return bag_commands._settings(cli.build_parser().parse_args(["bag", "in", "out", *options]))


# Options


def test_every_setting_of_the_pipeline_is_an_option() -> None:
    of_metadata = {entry.name for entry in dataclasses.fields(MetadataSettings)}
    of_stream = {entry.name for entry in dataclasses.fields(PipelineConfig)}
    assert {field for field, _ in METADATA_PARAMETERS.values()} == of_metadata
    assert {field for field, _ in PIPELINE_PARAMETERS.values()} == of_stream - {"fallback", "metadata"}
    for field, kind in METADATA_PARAMETERS.values():
        assert isinstance(getattr(MetadataSettings(), field), kind)


def test_options_are_named_as_the_nodes_parameters() -> None:
    parameters = pytest.importorskip("lowlight_enhance.ros.parameters")
    assert set(METADATA_PARAMETERS | PIPELINE_PARAMETERS) <= set(parameters.SPECS)


def test_without_options_the_settings_are_the_defaults() -> None:
    assert settings_of() == BagSettings()


def test_options_reach_the_settings() -> None:
    options = "--strength 0.5 --temporal-time-constant 0 --max-pixels 9 --output-encoding mono8"
    options += " --metadata-sync-tolerance 0.1 --metadata-unity-gain 16 --metadata-gain-kind db"
    options += " --no-metadata-ignore-under-auto-exposure"
    options += " --iso 1600 --exposure 1/50 --topic /a --topic /b --metadata /a=/m --metadata none --exclude /c"
    options += " --camera-info /i --metadata-type x_msgs/msg/Y --replace --threads 2 --working-size 0 --format png"
    options += " --jpeg-quality 70 --storage mcap --compression storage --provider A --provider B --runtime openvino"
    settings = settings_of(*options.split())
    stream, metadata, topics = settings.stream, settings.stream.metadata, settings.topics
    assert (stream.strength, stream.smoothing_s, stream.max_pixels, stream.output_encoding) == (0.5, 0.0, 9, "mono8")
    assert (stream.metadata_tolerance_s, stream.fallback.iso, stream.fallback.exposure_s) == (0.1, 1600.0, 0.02)
    assert (metadata.gain_unity, metadata.gain_kind, metadata.stale_under_auto_exposure) == (16.0, "db", False)
    assert (topics.images, topics.metadata, topics.camera_info) == (("/a", "/b"), ("/a=/m", "none"), ("/i",))
    assert (topics.metadata_type, topics.exclude, topics.replace) == ("x_msgs/msg/Y", ("/c",), True)
    assert (settings.threads, settings.working_size, settings.runtime) == (2, 0, "openvino")
    assert (topics.format, settings.jpeg_quality, settings.providers) == ("png", 70, ("A", "B"))
    assert (settings.storage, settings.compression) == ("mcap", "storage")


@pytest.mark.parametrize("options", [["--strength", "2"], ["--iso", "-1"], ["--metadata-gain-kind", "apples"]])
def test_a_value_out_of_range_is_one_line_and_exit_2(
    options: list[str], night: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["bag", str(night), str(tmp_path / "out"), *options]) == 2
    assert re.fullmatch(r"lowlight: .+\n", capsys.readouterr().err)
    assert list(tmp_path.iterdir()) == []


# One bag


def test_command_enhances_and_reports_a_bag(
    night: Path, tmp_path: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["bag", str(night), str(tmp_path / "out"), "--model", str(tiny_model), "--threads", "1"]) == 0
    printed = capsys.readouterr()
    assert (
        "/camera/camera/color/image_raw -> /camera/camera/color/image_enhanced (4 images; camera_info " in printed.out
    )
    assert "4 frames enhanced in" in printed.out
    assert "(metadata: exact 4)" in printed.out
    assert printed.err == "", "no progress bar where nobody looks"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert len(bag_maker.objects(tmp_path / "out", "/camera/camera/color/image_enhanced")) == 4


def test_damaged_frames_are_reported_and_exit_1(
    tmp_path: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recorded = DRIVER_RECORDINGS["flir"]()
    next(message for message in recorded.sent if message.type_name == IMAGE).content = b"damaged"
    source = write_bag(tmp_path / "in", recorded.sent)
    assert cli.main(["bag", str(source), str(tmp_path / "out"), "--model", str(tiny_model)]) == 1
    assert "1 damaged frames skipped; last error: 7 bytes are not a sensor_msgs/msg/Image" in capsys.readouterr().out
    assert (tmp_path / "out").is_dir()


def test_an_error_leaves_no_files(night: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bag", str(night), str(tmp_path / "out"), "--model", str(tmp_path / "no.onnx")]) == 2
    assert "lowlight: " in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("method", ["write", "close"])
def test_a_full_disk_leaves_no_files(
    method: str, night: Path, tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(Writer, method, refuse)
    seen = Outcomes()
    jobs = bag_jobs.plan_jobs([night], tmp_path / "out", force=False)
    scheduler.run_jobs(jobs, BagSettings(model=tiny_model, threads=1), 1, lambda _: None, seen)
    assert "cannot write out (database or disk is full)" in str(seen["night"])
    assert list(tmp_path.iterdir()) == []


# Targets


def test_force_replaces_only_bags(tmp_path: Path) -> None:
    sources = [Path("in")]
    (tmp_path / "bag").mkdir()
    (tmp_path / "bag" / "metadata.yaml").touch()
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "holiday.jpg").touch()
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "bag")
    for name in ("bag", "photos", "file", "link"):
        with pytest.raises(DataError, match="replace it with --force"):
            bag_jobs.plan_jobs(sources, tmp_path / name, force=False)
    for name in ("photos", "file", "link"):
        with pytest.raises(DataError, match="is not a bag, so --force does not replace it"):
            bag_jobs.plan_jobs(sources, tmp_path / name, force=True)
    assert bag_jobs.plan_jobs(sources, tmp_path / "bag", force=True) == [bag_jobs.Job(Path("in"), tmp_path / "bag")]


def test_the_old_bag_stays_until_the_new_one_is_complete(night: Path, tmp_path: Path, tiny_model: Path) -> None:
    target = write_bag(tmp_path / "out", DRIVER_RECORDINGS["flir"]().sent)
    before = bag_maker.messages(target)

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    jobs = bag_jobs.plan_jobs([night], target, force=True)
    settings = BagSettings(model=tiny_model, threads=1)
    with pytest.raises(KeyboardInterrupt):
        scheduler.run_jobs(jobs, settings, 1, interrupt, lambda *_: None)
    bag_maker._read.cache_clear()
    assert bag_maker.messages(target) == before
    scheduler.run_jobs(jobs, settings, 1, lambda _: None, lambda *_: None)
    bag_maker._read.cache_clear()
    assert "/camera/camera/color/image_enhanced" in bag_maker.connections(target)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_invalid_targets(tmp_path: Path) -> None:
    for name in ("a", "b/a", "c"):
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
    with pytest.raises(DataError, match="create it"):
        bag_jobs.plan_jobs([tmp_path / "a", tmp_path / "c"], tmp_path / "new", force=False)
    with pytest.raises(DataError, match="two bags would be written as"):
        bag_jobs.plan_jobs([tmp_path / "a", tmp_path / "b/a"], tmp_path / "c", force=False)
    with pytest.raises(DataError, match="lies in the recorded bag"):
        bag_jobs.plan_jobs([tmp_path / "a"], tmp_path / "a" / "new", force=False)


# Several bags


def test_two_workers_write_the_same_bags_as_one_and_an_error_stops_no_other_bag(
    night: Path, tmp_path: Path, tiny_model: Path
) -> None:
    flir = write_bag(tmp_path / "flir", DRIVER_RECORDINGS["flir"]().sent)
    broken = write_bag(tmp_path / "broken", DRIVER_RECORDINGS["camera_ros"](40).sent, "mcap")
    file = next(broken.glob("*.mcap"))
    file.write_bytes(file.read_bytes()[:5000])
    settings = BagSettings(model=tiny_model, threads=1)
    frames: list[int] = []
    for workers in (1, 2):
        folder, seen = tmp_path / str(workers), Outcomes()
        folder.mkdir()
        jobs = bag_jobs.plan_jobs([broken, night, flir], folder, force=False)
        scheduler.run_jobs(jobs, settings, workers, frames.append, seen)
        assert {path.name for path in folder.iterdir()} == {"night", "flir"}
        assert isinstance(seen["broken"], DataError)
        reports = [report for report in seen.values() if isinstance(report, BagReport)]
        assert [report.cameras[0].enhanced for report in reports] == [4, 4]
    assert sum(frames) == 16
    for name in ("night", "flir"):
        assert bag_maker.messages(tmp_path / "1" / name) == bag_maker.messages(tmp_path / "2" / name)


def start(*arguments: object, stderr: int = subprocess.PIPE) -> subprocess.Popen[str]:
    script = (
        "import signal, sys\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background jobs ignore\n"
        "if __name__ == '__main__':\n"
        "    from lowlight_enhance import cli\n"
        "    sys.exit(cli.main(sys.argv[1:]))\n"
    )
    command = [sys.executable, "-c", script, "bag", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True, start_new_session=True)


def wait_until_output_grows(folder: Path, process: subprocess.Popen[str], bags: int = 1) -> None:
    """Wait until this many new bags contain data."""
    deadline = time.monotonic() + DEADLINE_S
    while len([path for path in folder.glob(".writing-*/*/*.db3") if path.stat().st_size > 20_000]) < bags:
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_command_leaves_no_files(
    number: signal.Signals, code: int, long_night: Path, tmp_path: Path, tiny_model: Path
) -> None:
    process = start(long_night, tmp_path / "out", "--model", tiny_model, "--threads", "1")
    wait_until_output_grows(tmp_path, process)
    process.send_signal(number)
    _, printed = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, printed) == (code, "")
    assert list(tmp_path.iterdir()) == []


def test_the_next_run_removes_the_output_of_a_killed_one(
    night: Path, long_night: Path, tmp_path: Path, tiny_model: Path
) -> None:
    process = start(long_night, tmp_path / "killed", "--model", tiny_model, "--threads", "1")
    wait_until_output_grows(tmp_path, process)
    process.kill()
    process.communicate(timeout=DEADLINE_S)
    assert [path.name.startswith(".writing-") for path in tmp_path.iterdir()] == [True]
    assert cli.main(["bag", str(night), str(tmp_path / "out"), "--model", str(tiny_model), "--threads", "1"]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_interrupted_workers_leave_no_files(long_night: Path, tmp_path: Path, tiny_model: Path) -> None:
    second = tmp_path / "second.db3"
    second.symlink_to(long_night / "long_night.db3")
    folder = tmp_path / "enhanced"
    folder.mkdir()
    process = start(long_night, second, folder, "--model", tiny_model, "--workers", 2)
    wait_until_output_grows(folder, process, bags=2)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does, to the workers as well
    _, printed = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, printed) == (130, "")
    assert list(folder.iterdir()) == []


def test_a_terminal_shows_progress_with_rate_and_remaining_time(night: Path, tmp_path: Path, tiny_model: Path) -> None:
    reading_end, writing_end = pty.openpty()
    fcntl.ioctl(reading_end, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    process = start(night, tmp_path / "out", "--model", tiny_model, stderr=writing_end)
    process.communicate(timeout=DEADLINE_S)
    os.close(writing_end)
    printed = os.read(reading_end, 100_000).decode()
    os.close(reading_end)
    assert process.returncode == 0
    assert re.search(r"4/4 \[\d\d:\d\d<\d\d:\d\d, .*frame", printed)


# Folders of bags


def test_a_folder_is_searched_for_bags(tmp_path: Path) -> None:
    for name in ("in/day0/a", "in/day1/a", "in/.writing-x/b", "in/out/old"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "metadata.yaml").touch()
    (tmp_path / "in" / "notes").mkdir()
    source, target = tmp_path / "in", tmp_path / "in" / "out"
    jobs = bag_jobs.plan_jobs([source], target, force=False)
    assert [(str(job.source.relative_to(source)), str(job.target.relative_to(target))) for job in jobs] == [
        ("day0/a", "day0/a"),
        ("day1/a", "day1/a"),
    ]
    with pytest.raises(DataError, match="create it"):
        bag_jobs.plan_jobs([source], tmp_path / "new", force=False)
    with pytest.raises(DataError, match="two bags would be written as"):
        bag_jobs.plan_jobs([source, tmp_path / "in"], target, force=False)


def test_parent_folders_are_created_and_removed_after_an_error(night: Path, tmp_path: Path, tiny_model: Path) -> None:
    job = bag_jobs.Job(night, tmp_path / "2026" / "day" / "night")
    seen = Outcomes()
    for settings in (BagSettings(model=tmp_path / "no.onnx"), BagSettings(model=tiny_model, threads=1)):
        assert list(tmp_path.iterdir()) == []
        scheduler.run_jobs([job], settings, 1, lambda _: None, seen)
    assert isinstance(seen["night"], BagReport)
    assert [path.name for path in job.target.parent.iterdir()] == ["night"]
