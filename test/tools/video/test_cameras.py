"""Cameras, with a stand-in for ``cv2.VideoCapture``."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("av", reason="makes and reads the videos")

from video_maker import (
    TIMES_MS,
    assert_doubled,
    picture,
    run,
    times_ms,
)

from lowlight_enhance.core.errors import DataError
from lowlight_enhance.tools.video import camera_source
from lowlight_enhance.tools.video.camera_source import CameraSource
from lowlight_enhance.tools.video.enhance import VideoSettings, enhance_video
from lowlight_enhance.tools.video.sources import open_source


class FakeCamera:
    """Replaces ``cv2.VideoCapture``."""

    clock_ms: Sequence[float] = (0.0,) * 6
    is_there = True
    asked: dict[int, float] = {}  # noqa: RUF012 (each test has a class of its own)

    def __init__(self, camera: int | str) -> None:
        self.shown = -1
        self.camera = camera

    def isOpened(self) -> bool:  # noqa: N802 (OpenCV's name)
        return self.is_there

    def set(self, setting: int, value: float) -> bool:
        self.asked[setting] = value
        return True

    def get(self, setting: int) -> float:
        return 30.0 if setting == cv2.CAP_PROP_FPS else self.clock_ms[self.shown]

    def read(self) -> tuple[bool, np.ndarray | None]:
        self.shown += 1
        return (True, picture(self.shown)[:, :, ::-1]) if self.shown < len(self.clock_ms) else (False, None)

    def release(self) -> None:
        pass


@pytest.fixture
def camera(monkeypatch: pytest.MonkeyPatch) -> type[FakeCamera]:
    kind = type("Camera", (FakeCamera,), {"asked": {}})
    monkeypatch.setattr(camera_source.cv2, "VideoCapture", kind)
    return kind


def test_a_camera_is_timed_by_its_clock_and_recorded_until_stop(
    camera: type[FakeCamera], tmp_path: Path, settings: VideoSettings
) -> None:
    camera.clock_ms = tuple(5000.0 + time_ms for time_ms in [*TIMES_MS, 2000, 3000, 4000])
    done = itertools.count(1)
    with open_source("0", rate=Fraction(30), size=(64, 48)) as source:

        def stop_at_six(_: int) -> None:
            if next(done) == 6:
                source.stop()

        report = enhance_video(source, tmp_path / "out.mp4", settings, stop_at_six)
    assert 6 <= report.frames <= len(camera.clock_ms), "what was read before it stopped is kept"
    assert times_ms(tmp_path / "out.mp4")[:6] == TIMES_MS
    assert_doubled(tmp_path / "out.mp4", range(report.frames))
    wishes = {cv2.CAP_PROP_FPS: 30.0, cv2.CAP_PROP_FRAME_WIDTH: 64, cv2.CAP_PROP_FRAME_HEIGHT: 48}
    assert camera.asked == wishes


def test_a_camera_without_a_clock_is_timed_on_arrival(
    camera: type[FakeCamera], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, settings: VideoSettings
) -> None:
    ours = iter([50.0, 50.04, 50.04, 50.2, 50.3, 50.4, 50.5])
    monkeypatch.setattr(camera_source.time, "monotonic", lambda: next(ours))
    with open_source("/dev/video0") as source:
        assert isinstance(source, CameraSource)
        assert source._camera.camera == 0
        times = [float(frame.pts * source.time_base) for frame in source.frames()]
    assert times == pytest.approx([0.0, 0.04, 0.04, 0.2, 0.3, 0.4], abs=1e-4)
    assert sorted(set(times)) == times, "each is later than the one before"


def test_frames_before_a_camera_is_unplugged_are_kept(
    camera: type[FakeCamera], tmp_path: Path, settings: VideoSettings
) -> None:
    report = run("0", tmp_path / "out.mp4", settings)
    assert (report.frames, report.last_error) == (6, "camera 0 delivers no more images")
    assert_doubled(tmp_path / "out.mp4", range(6))


def test_a_missing_camera_is_rejected(camera: type[FakeCamera]) -> None:
    camera.is_there = False
    with pytest.raises(DataError, match="camera 3 delivers no image"):
        open_source("3")
    camera.is_there, camera.clock_ms = True, ()
    with pytest.raises(DataError, match="camera 3 delivers no image"):
        open_source("3")


def test_a_device_that_is_no_camera_is_rejected() -> None:
    with pytest.raises(DataError, match="is a device, but no camera"):
        open_source("/dev/null")
