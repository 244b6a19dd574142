"""`lowlight demo`: it scores the frames that it showed, and its verdict is right."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny_model import write_tiny_model

from lowlight_enhance.core.errors import ConfigError, DataError, ModelError
from lowlight_enhance.tools.demo import demo, pictures, score
from lowlight_enhance.tools.demo.scene import TAKES, Clip, load_photo


@pytest.fixture
def photographs() -> None:
    pytest.importorskip("skimage")


# Frames


@pytest.mark.usefixtures("photographs")
@pytest.mark.parametrize("clip", [Clip(30, 15.0), Clip(10, 1.0), Clip(7, 0.9)])
def test_every_take_has_its_turn_in_order(clip: Clip) -> None:
    turns = [TAKES.index(clip.take(index)) for index in range(len(clip))]
    assert turns == sorted(turns)
    counts = np.bincount(turns, minlength=len(TAKES))
    assert counts.min() >= 1
    assert counts.max() - counts.min() <= 1


@pytest.mark.usefixtures("photographs")
def test_the_camera_pans_over_the_photograph() -> None:
    clip = Clip(10, 4.0)
    for index in range(len(clip)):
        assert clip.reference(index).shape == (480, 640, 3)
    first, later = clip.reference(0), clip.reference(9)
    photo = load_photo(TAKES[0].photo)
    np.testing.assert_array_equal(first, photo[:480, :640])
    assert np.mean(first != later) > 0.5


@pytest.mark.usefixtures("photographs")
def test_a_dark_frame_is_dark_and_reproducible_and_its_noise_is_its_own() -> None:
    clip = Clip(60, 100.0)
    dark = clip.dark(0)
    np.testing.assert_array_equal(dark, Clip(60, 100.0).dark(0))
    assert dark.mean() < 0.5 * clip.reference(0).mean()
    np.testing.assert_array_equal(clip.reference(0), clip.reference(1))  # so slow a pan has not moved yet
    assert np.mean(clip.dark(1) != dark) > 0.3


def test_without_scikit_image_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "skimage", None)
    monkeypatch.setitem(sys.modules, "skimage.data", None)
    load_photo.cache_clear()
    with pytest.raises(ConfigError, match=r"pip install 'lowlight_enhance\[demo\]'"):
        load_photo("coffee")


# Verdict


def result(**changes: object) -> score.DemoResult:
    values = {
        "rate_hz": 30,
        "sent": 100,
        "enhanced": 95,
        "received": 90,
        "latencies_ms": tuple(float(number) for number in range(1, 102)),
        "matches": {"exact": 93, "nearest": 0, "last": 2},
        "before": score.Score(10.0, 0.25),
        "after": score.Score(20.0, 0.75),
        "scored": 30,
    }
    return score.DemoResult(**{**values, **changes})  # type: ignore[arg-type]


def test_the_report_holds_every_figure() -> None:
    text = result().report()
    assert "sent 100, enhanced 95, received 90" in text
    assert "exact 93, last 2" in text
    assert "nearest" not in text
    assert "median 51.0 ms, 99th percentile 100.0 ms" in text
    assert "PSNR 10.00 dB, SSIM 0.250" in text
    assert "PSNR 20.00 dB, SSIM 0.750" in text
    assert "enhanced unknown" in result(enhanced=None).report()


@pytest.mark.parametrize(
    ("changes", "sentences"),
    [
        ({}, []),
        ({"received": 89}, ["only 89 % of the frames arrived, and 90 % must."]),
        ({"after": score.Score(10.0, 0.9)}, ["the PSNR did not rise: 10.00 dB before, 10.00 dB after."]),
        ({"after": score.Score(float("nan"), 0.9)}, ["the PSNR did not rise: 10.00 dB before, nan dB after."]),
    ],
)
def test_what_must_not_be_is_said(changes: dict[str, object], sentences: list[str]) -> None:
    assert result(**changes).failures() == sentences


@pytest.mark.parametrize("arrived", [100, 10])
def test_the_exit_code_follows_the_verdict(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arrived: int
) -> None:
    monkeypatch.setattr(demo, "perform", lambda *_: result(received=arrived))
    assert demo.run() == (0 if arrived == 100 else 1)
    streams = capsys.readouterr()
    assert f"received {arrived}" in streams.out
    assert ("only 10 % of the frames arrived" in streams.err) == (arrived == 10)


def test_quality_of_known_errors() -> None:
    pytest.importorskip("skimage")
    rng = np.random.default_rng(3)
    reference = rng.integers(50, 200, (32, 32, 3), dtype=np.uint8)
    assert score.quality(reference + np.uint8(10), reference).psnr_db == pytest.approx(20.0 * np.log10(25.5))
    assert 0.9 < score.quality(reference + np.uint8(10), reference).ssim < 1.0
    mean = score.mean_score([score.Score(10.0, 0.2), score.Score(20.0, 0.4)])
    assert (mean.psnr_db, mean.ssim) == pytest.approx((15.0, 0.3))


def test_scored_frames_are_spread_evenly() -> None:
    assert score.spread(list(range(0, 50, 10)), 10) == [0, 10, 20, 30, 40]
    chosen = score.spread(list(range(101)), 5)
    assert chosen == [0, 25, 50, 75, 100]


@pytest.mark.parametrize("kept", [range(0, 400, 3), range(0, 400, 50)])
def test_the_picture_shows_the_middle_of_each_take(kept: range) -> None:
    clip = Clip(100, 4.0)
    shown = score.rows(clip, {index: Path(f"{index}.npy") for index in kept})
    assert [clip.take(index) for index in shown] == list(TAKES)
    for index, middle in zip(shown, (50, 150, 250, 350), strict=True):
        assert abs(index - middle) <= kept.step / 2


# The run, without processes


@pytest.mark.parametrize(
    ("capacity_hz", "latency_ms", "rate_hz", "complaints"),
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
    monkeypatch: pytest.MonkeyPatch, capacity_hz: int, latency_ms: int, rate_hz: int, complaints: int
) -> None:
    said: list[str] = []

    def send(_crew: object, log: demo.Log, rate_hz: int, count: int) -> int:
        arrived = min(capacity_hz, rate_hz)
        log.note({"sent": [[stamp, stamp] for stamp in range(count)]})
        log.received = {stamp: stamp + latency_ms * 1_000_000 for stamp in range(arrived)}
        return arrived

    monkeypatch.setattr(demo, "render", lambda *_: None)
    monkeypatch.setattr(demo, "send", send)
    assert demo.calibrate(None, demo.Log(), said.append) == rate_hz  # type: ignore[arg-type]
    assert sum("too fast for this machine" in line for line in said) == complaints
    assert said[-1] == f"the camera runs at {rate_hz} Hz"


@pytest.mark.usefixtures("photographs")
@pytest.mark.parametrize(("seconds", "rate_hz"), [(0.0, None), (float("nan"), None), (1e6, None), (15.0, 0)])
def test_values_that_cannot_work_are_refused(tmp_path: Path, seconds: float, rate_hz: int | None) -> None:
    with pytest.raises(ConfigError, match="give"):
        demo.check(tmp_path / "out", seconds, rate_hz)
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("photographs")
def test_an_impossible_folder_is_named(tmp_path: Path) -> None:
    pytest.importorskip("rclpy")
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="name another with --out"):
        demo.check(tmp_path / "file" / "out", 15.0, None)


@pytest.mark.usefixtures("photographs")
def test_a_missing_model_is_told_before_any_process_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rclpy")
    monkeypatch.setattr(demo, "Crew", None)
    with pytest.raises(ModelError, match=r"none\.onnx"):
        demo.perform(tmp_path, 1.0, tmp_path / "none.onnx")


# Pictures


@pytest.mark.usefixtures("photographs")
def test_picture_and_video_are_whole(tmp_path: Path) -> None:
    clip = Clip(10, 1.0)
    enhanced = {index: tmp_path / f"{index}.npy" for index in (1, 4, 7)}
    for path in enhanced.values():
        np.save(path, np.full((480, 640, 3), (200, 100, 50), np.uint8))
    out = tmp_path / "out"
    out.mkdir()
    pictures.write_picture(clip, enhanced, out / "demo.png")
    pictures.write_video(clip, enhanced, 10.0, out / "demo.mp4")
    assert {path.name for path in out.iterdir()} == {"demo.png", "demo.mp4"}
    picture = cv2.imread(str(out / "demo.png"))
    assert picture is not None
    assert picture.shape == (3 * 480, 3 * 640, 3)
    np.testing.assert_array_equal(picture[300, 900], (50, 100, 200))
    np.testing.assert_array_equal(picture[300, 1500], clip.reference(1)[300, 220, ::-1])
    video = cv2.VideoCapture(str(out / "demo.mp4"))
    assert video.get(cv2.CAP_PROP_FPS) == 10.0
    frames = [video.read()[0] for _ in range(4)]
    assert frames == [True, True, True, False]


# The real thing


@pytest.mark.usefixtures("photographs")
def test_a_second_of_the_real_demo(tmp_path: Path) -> None:
    pytest.importorskip("rclpy")
    model = write_tiny_model(tmp_path / "brighter.onnx", gain=3.0)
    outcome = demo.perform(tmp_path / "out", 1.0, model, None, 10, print)
    assert outcome.sent == 10
    assert 5 <= outcome.received <= 10  # all of them, unless the machine is very busy
    assert outcome.enhanced is not None
    assert outcome.received <= outcome.enhanced <= 10
    assert outcome.matches["exact"] >= 5
    assert len(outcome.latencies_ms) == outcome.received
    assert min(outcome.latencies_ms) > 0.0
    assert outcome.after.psnr_db > outcome.before.psnr_db + 3.0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"demo.png", "demo.mp4"}
