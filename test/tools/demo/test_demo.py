"""`lowlight demo`: frames, scores, failures, and one run with real processes."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from tiny_model import write_tiny_model

from lowlight_enhance.core.errors import ConfigError, DataError, ModelError
from lowlight_enhance.evaluation.metrics import psnr_db, ssim
from lowlight_enhance.tools.demo import demo, pictures, score
from lowlight_enhance.tools.demo.scene import SHOTS, DemoClip, load_photo
from lowlight_enhance.tools.harness.harness import StreamLog


@pytest.fixture
def photographs() -> None:
    pytest.importorskip("skimage")


# Frames


@pytest.mark.usefixtures("photographs")
@pytest.mark.parametrize("clip", [DemoClip(30, 15.0), DemoClip(10, 1.0), DemoClip(7, 0.9)])
def test_shots_follow_each_other_and_are_equally_long(clip: DemoClip) -> None:
    shots_of_frames = [SHOTS.index(clip.shot(index)) for index in range(len(clip))]
    assert shots_of_frames == sorted(shots_of_frames)
    counts = np.bincount(shots_of_frames, minlength=len(SHOTS))
    assert counts.min() >= 1
    assert counts.max() - counts.min() <= 1


@pytest.mark.usefixtures("photographs")
def test_the_camera_pans_over_the_photograph() -> None:
    clip = DemoClip(10, 4.0)
    for index in range(len(clip)):
        assert clip.reference(index).shape == (480, 640, 3)
    first, later = clip.reference(0), clip.reference(9)
    photo = load_photo(SHOTS[0].photo)
    np.testing.assert_array_equal(first, photo[:480, :640])
    assert np.mean(first != later) > 0.5


@pytest.mark.usefixtures("photographs")
def test_a_dark_frame_is_dark_and_reproducible_and_has_its_own_noise() -> None:
    clip = DemoClip(60, 100.0)
    dark = clip.dark(0)
    np.testing.assert_array_equal(dark, DemoClip(60, 100.0).dark(0))
    assert dark.mean() < 0.5 * clip.reference(0).mean()
    np.testing.assert_array_equal(clip.reference(0), clip.reference(1))  # so slow a pan has not moved yet
    assert np.mean(clip.dark(1) != dark) > 0.3


def test_a_missing_scikit_image_is_reported_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "skimage", None)
    monkeypatch.setitem(sys.modules, "skimage.data", None)
    load_photo.cache_clear()
    with pytest.raises(ConfigError, match=r"pip install 'lowlight_enhance\[demo\]'"):
        load_photo("coffee")


# Result


def result(**changes: object) -> score.DemoResult:
    values = {
        "rate_hz": 30,
        "sent": 100,
        "enhanced": 95,
        "received": 90,
        "latencies_ms": tuple(float(number) for number in range(1, 102)),
        "matches": {"exact": 93, "nearest": 0, "last": 2},
        "dark_score": score.Score(10.0, 0.25),
        "alone_score": score.Score(15.0, 0.5),
        "enhanced_score": score.Score(20.0, 0.75),
        "scored": 30,
    }
    return score.DemoResult(**{**values, **changes})  # type: ignore[arg-type]


def test_the_report_contains_every_figure() -> None:
    text = result().report()
    assert "sent 100, enhanced 95, received 90" in text
    assert "exact 93, last 2" in text
    assert "nearest" not in text
    assert "median 51.0 ms, 99th percentile 100.0 ms" in text
    assert "PSNR 10.00 dB, SSIM 0.250" in text
    assert "PSNR 15.00 dB, SSIM 0.500" in text
    assert "PSNR 20.00 dB, SSIM 0.750" in text
    assert "enhanced unknown" in result(enhanced=None).report()


@pytest.mark.parametrize(
    ("changes", "sentences"),
    [
        ({}, []),
        ({"received": 89}, ["only 89 % of the frames arrived, at least 90 % are required"]),
        ({"enhanced_score": score.Score(10.0, 0.9)}, ["the PSNR did not rise: 10.00 dB before, 10.00 dB after"]),
        ({"enhanced_score": score.Score(float("nan"), 0.9)}, ["the PSNR did not rise: 10.00 dB before, nan dB after"]),
    ],
)
def test_failures_of_a_run(changes: dict[str, object], sentences: list[str]) -> None:
    assert result(**changes).failures() == sentences


def score_frame(image: np.ndarray, reference: np.ndarray) -> score.Score:
    return score.Score(psnr_db(image, reference), ssim(image, reference))


def test_the_mean_score() -> None:
    mean = score.mean_score([score.Score(10.0, 0.2), score.Score(20.0, 0.4)])
    assert (mean.psnr_db, mean.ssim) == pytest.approx((15.0, 0.3))


def test_scored_frames_are_spread_evenly() -> None:
    assert score.evenly_spaced(list(range(0, 50, 10)), 10) == [0, 10, 20, 30, 40]
    chosen = score.evenly_spaced(list(range(101)), 5)
    assert chosen == [0, 25, 50, 75, 100]


@pytest.mark.parametrize("kept", [range(0, 400, 3), range(0, 400, 50)])
def test_the_picture_shows_the_middle_of_each_shot(kept: range) -> None:
    clip = DemoClip(100, 4.0)
    shown = score.middle_frames(clip, list(kept))
    assert [clip.shot(index) for index in shown] == list(SHOTS)
    for index, middle in zip(shown, (50, 150, 250, 350), strict=True):
        assert abs(index - middle) <= kept.step / 2


# The run, without processes


@pytest.mark.parametrize(
    ("capacity_hz", "latency_ms", "rate_hz", "warnings"),
    [
        (60, 5, 30, 0),
        (29, 5, 30, 0),
        (28, 5, 20, 1),
        (17, 5, 15, 2),
        (3, 5, 10, 4),
        (60, 33, 30, 0),
        (60, 34, 20, 1),
        (60, 51, 15, 2),
    ],
)
def test_the_rate_is_the_highest_that_comes_through_in_time(
    capacity_hz: int, latency_ms: int, rate_hz: int, warnings: int
) -> None:
    printed: list[str] = []

    class Harness:
        log = StreamLog()

        def request(self, *_: object, **__: object) -> None:
            pass

        def stream(self, rate_hz: int, count: int) -> int:
            arrived = min(capacity_hz, rate_hz)
            self.log.record({"type": "answer", "sent": [[stamp, stamp] for stamp in range(count)]})
            self.log.received = {stamp: stamp + latency_ms * 1_000_000 for stamp in range(arrived)}
            return arrived

    assert demo.calibrate_rate(Harness(), printed.append) == rate_hz  # type: ignore[arg-type]
    assert sum("too fast for this machine" in line for line in printed) == warnings
    assert printed[-1] == f"the camera runs at {rate_hz} Hz"


@pytest.mark.parametrize("changes", [{"seconds": 0.0}, {"seconds": math.nan}, {"seconds": 1e6}, {"rate_hz": 0}])
def test_values_out_of_range_are_rejected(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="give"):
        demo.DemoSettings(**changes)


@pytest.mark.usefixtures("photographs")
def test_a_folder_that_cannot_be_written_is_reported_before_any_process_starts(tmp_path: Path) -> None:
    pytest.importorskip("rclpy")
    (tmp_path / "file").touch()
    settings = demo.DemoSettings(tmp_path / "file" / "out", model=write_tiny_model(tmp_path / "tiny.onnx"))
    with pytest.raises(DataError, match="file is a file; choose another folder"):
        demo.check_requirements(settings)


@pytest.mark.usefixtures("photographs")
def test_a_missing_model_is_reported_before_any_process_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("rclpy")
    monkeypatch.setattr(demo, "NodeHarness", None)
    with pytest.raises(ModelError, match=r"none\.onnx"):
        demo.run_demo(demo.DemoSettings(tmp_path, 1.0, tmp_path / "none.onnx"), score_frame)


# Pictures


@pytest.mark.usefixtures("photographs")
def test_picture_and_video_are_complete(tmp_path: Path) -> None:
    clip = DemoClip(10, 1.0)
    enhanced = {index: tmp_path / f"{index}.npy" for index in (1, 4, 7)}
    for path in enhanced.values():
        np.save(path, np.full((480, 640, 3), (200, 100, 50), np.uint8))
    out = tmp_path / "out"
    out.mkdir()
    alone = tmp_path / "alone.npy"
    np.save(alone, np.full((480, 640, 3), (90, 60, 30), np.uint8))
    panels = [pictures.clip_panels(clip, index, alone, path) for index, path in enhanced.items()]
    pictures.write_picture(panels, out / "demo.png")
    pictures.write_video((row[:3] for row in panels), 10.0, out / "demo.mp4")
    assert {path.name for path in out.iterdir()} == {"demo.png", "demo.mp4"}
    picture = cv2.imread(str(out / "demo.png"))
    assert picture is not None
    assert picture.shape == (3 * 480, 4 * 640, 3)
    np.testing.assert_array_equal(picture[300, 900], (30, 60, 90))
    np.testing.assert_array_equal(picture[300, 1540], (50, 100, 200))
    np.testing.assert_array_equal(picture[300, 3 * 640 + 220], clip.reference(1)[300, 220, ::-1])
    video = cv2.VideoCapture(str(out / "demo.mp4"))
    assert video.get(cv2.CAP_PROP_FPS) == 10.0
    frames = [video.read()[0] for _ in range(4)]
    assert frames == [True, True, True, False]


# Real processes


@pytest.mark.usefixtures("photographs")
def test_one_second_with_real_processes(tmp_path: Path) -> None:
    pytest.importorskip("rclpy")
    model = write_tiny_model(tmp_path / "brighter.onnx", gain=3.0)
    outcome = demo.run_demo(demo.DemoSettings(tmp_path / "out", 1.0, model, rate_hz=10), score_frame)
    assert outcome.sent == 10
    assert 5 <= outcome.received <= 10  # all of them, unless the machine is very busy
    assert outcome.enhanced is not None
    assert outcome.received <= outcome.enhanced <= 10
    assert outcome.matches["exact"] >= 5
    assert len(outcome.latencies_ms) == outcome.received
    assert min(outcome.latencies_ms) > 0.0
    assert outcome.alone_score.psnr_db > outcome.dark_score.psnr_db + 3.0
    assert outcome.enhanced_score.psnr_db > outcome.dark_score.psnr_db + 3.0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"demo.png", "demo.mp4"}
