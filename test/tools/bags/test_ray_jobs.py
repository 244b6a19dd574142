"""`lowlight bag --ray`: a Ray cluster writes the same bags as one process, also after workers are lost."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rosbags", reason="makes and reads the bags")
pytest.importorskip("ray", reason="runs the bags")

import bag_maker
import ray
from bag_maker import DRIVER_RECORDINGS, FIRST_NS, IMAGE, BagMessage, write_bag

from lowlight_enhance import cli
from lowlight_enhance.core.errors import ConfigError, DataError, LowlightError
from lowlight_enhance.tools.bags import jobs as bag_jobs
from lowlight_enhance.tools.bags import ray_jobs, scheduler
from lowlight_enhance.tools.bags.settings import BagReport, BagSettings

DEADLINE_S = 300.0
REALSENSE = "/camera/camera/color/image_enhanced"


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> BagSettings:
    pytest.importorskip("onnx", reason="the onnx package writes the tests' models")
    from tiny_model import write_tiny_model

    return BagSettings(model=write_tiny_model(tmp_path_factory.mktemp("model") / "tiny.onnx"), threads=1)


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """Two workers on this machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_AUTH_MODE", "disabled")
        ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
        yield
        ray.shutdown()


@pytest.fixture(scope="module")
def bags(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("bags")
    return [write_bag(folder / style, DRIVER_RECORDINGS[style]().sent) for style in ("realsense", "flir")]


@pytest.fixture(scope="module")
def local(bags: list[Path], settings: BagSettings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same bags enhanced by one process."""
    folder = tmp_path_factory.mktemp("local")
    scheduler.run_jobs(bag_jobs.plan_jobs(bags, folder, force=False), settings, 1, lambda _: None, lambda *_: None)
    return folder


class Outcomes(dict[str, "BagReport | LowlightError"]):
    """Result of each bag, by its name."""

    def __call__(self, job: bag_jobs.Job, outcome: BagReport | LowlightError) -> None:
        self[job.source.name] = outcome


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def killing(marker: Path, always: bool = False) -> Callable[..., BagReport]:
    """Return a task function that kills its worker in the middle of a bag, once or always."""

    def enhance(source: Path, folder: Path, settings: BagSettings, tell: Callable[[int], object]) -> BagReport:
        from lowlight_enhance.tools.bags.enhance import enhance_bag

        def telling(frames: int) -> None:
            tell(frames)
            if always or not marker.exists():
                marker.touch()
                os.kill(os.getpid(), signal.SIGKILL)

        return enhance_bag(source, folder, settings, telling)

    return enhance


def run(bags: list[Path], folder: Path, settings: BagSettings, **how: Any) -> tuple[Outcomes, int]:
    """Results of the bags, and the number of reported frames."""
    seen, frames = Outcomes(), list[int]()
    jobs = bag_jobs.plan_jobs(bags, folder, force=False)
    ray_jobs.run_ray_jobs(jobs, settings, frames.append, seen, **how)
    return seen, sum(frames)


@pytest.mark.usefixtures("cluster")
def test_ray_workers_write_the_same_bytes_and_an_error_stops_no_other_bag(
    bags: list[Path], local: Path, settings: BagSettings, tmp_path: Path
) -> None:
    folder, tries = tmp_path / "out", tmp_path / "tries"
    folder.mkdir()
    broken = write_bag(tmp_path / "broken", DRIVER_RECORDINGS["camera_ros"](40).sent, "mcap")
    file = next(broken.glob("*.mcap"))
    file.write_bytes(file.read_bytes()[:5000])

    def counted(source: Path, *rest: Any) -> BagReport:
        from lowlight_enhance.tools.bags.enhance import enhance_bag

        with tries.open("a") as lines:
            lines.write(source.name + "\n")
        return enhance_bag(source, *rest)

    seen, frames = run([*bags, broken], folder, settings, enhance=counted)
    assert contents(folder) == contents(local)
    assert frames == 8
    assert isinstance(seen.pop("broken"), DataError)
    assert [report.cameras[0].enhanced for report in seen.values() if isinstance(report, BagReport)] == [4, 4]
    assert sorted(tries.read_text().split()) == ["broken", "flir", "realsense"], "a user's error is not tried again"


@pytest.mark.usefixtures("cluster")
def test_the_task_of_a_lost_worker_is_repeated_with_the_same_result(
    bags: list[Path], local: Path, settings: BagSettings, tmp_path: Path
) -> None:
    folder, marker = tmp_path / "out", tmp_path / "killed"
    folder.mkdir()
    seen, frames = run(bags, folder, settings, enhance=killing(marker))
    assert marker.exists()
    assert all(isinstance(outcome, BagReport) for outcome in seen.values()), seen
    assert contents(folder) == contents(local)
    assert frames == 8, "no frame counts twice"
    assert sorted(path.name for path in folder.iterdir()) == ["flir", "realsense"]


@pytest.mark.usefixtures("cluster")
def test_a_bag_that_kills_every_worker_is_reported(
    bags: list[Path], settings: BagSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_jobs, "RETRIES", 0)
    seen, _ = run(bags[:1], tmp_path / "out", settings, enhance=killing(tmp_path / "killed", always=True))
    assert re.search("realsense: 1 workers were lost", str(seen["realsense"]))
    assert [path.name for path in tmp_path.iterdir()] == ["killed"]


@pytest.mark.usefixtures("cluster")
def test_an_interrupt_cancels_tasks_and_leaves_no_files(settings: BagSettings, tmp_path: Path) -> None:
    image = bag_maker.image(FIRST_NS, 0)
    long = write_bag(tmp_path / "long", [BagMessage("/image_raw", FIRST_NS + n, IMAGE, image) for n in range(20_000)])

    def interrupt(frames: int) -> None:
        assert frames > 0
        raise KeyboardInterrupt

    jobs = bag_jobs.plan_jobs([long], tmp_path / "out", force=False)
    with pytest.raises(KeyboardInterrupt):
        ray_jobs.run_ray_jobs(jobs, settings, interrupt, lambda *_: None)
    assert [path.name for path in tmp_path.iterdir()] == ["long"]
    deadline = time.monotonic() + DEADLINE_S
    while ray.available_resources().get("CPU") != 2.0:
        assert time.monotonic() < deadline, "the task goes on"
        time.sleep(0.05)


@pytest.mark.usefixtures("cluster")
def test_the_command(
    bags: list[Path], local: Path, settings: BagSettings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--ray", "local", "--model", str(settings.model)]
    assert cli.main(["bag", *map(str, bags), str(tmp_path), *options]) == 0
    output = capsys.readouterr()
    assert output.out.count("4 frames enhanced in") == 2
    assert output.err == ""
    assert contents(tmp_path) == contents(local)


@pytest.mark.usefixtures("cluster")
def test_a_folder_of_bags(
    bags: list[Path], local: Path, settings: BagSettings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--ray", "local", "--model", str(settings.model)]
    assert cli.main(["bag", str(bags[0].parent), str(tmp_path), *options]) == 0
    assert contents(tmp_path) == contents(local)


def test_workers_and_ray_exclude_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bag", "in", "out", "--ray", "auto", "--workers", "2"]) == 2
    assert "--workers is for processes of this machine" in capsys.readouterr().err


def test_a_missing_cluster_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> None:
        raise ConnectionError("Could not find any running Ray instance.\nMore.")

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", refuse)
    with (
        pytest.raises(ConfigError, match=r"no Ray cluster at auto \(Could not find any running Ray instance\.\)"),
        ray_jobs.ray_cluster("auto", 1),
    ):
        pass


def test_without_ray_the_extra_is_named(
    bags: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert cli.main(["bag", str(bags[0]), str(tmp_path / "out"), "--ray", "local"]) == 2
    assert "pip install 'lowlight_enhance[ray]'" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
