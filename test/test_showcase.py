"""`make pictures`: strips of frames, the same on every run, small enough for a README."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("skimage", reason="the photographs are scikit-image's")

import showcase

from lowlight_enhance.core.metadata.capture import CaptureMetadata

STRIP = showcase.STRIPS[0]


def brighter(rgb: np.ndarray, capture: CaptureMetadata) -> np.ndarray:
    """Replace the network: return eight times the brightness, with a mark if the capture is that of the strip."""
    enhanced = cv2.convertScaleAbs(rgb, alpha=8.0)
    if capture == STRIP.capture:
        enhanced[150:200, 230:260] = (0, 0, 255)
    return enhanced


def test_a_strip_shows_photograph_dark_frame_and_both_enhancements() -> None:
    drawn = showcase.drawn(STRIP, brighter)
    assert drawn.shape == (4 * 240, 4 * 320, 3)
    panels = [[drawn[y : y + 240, x : x + 320] for x in range(0, 1280, 320)] for y in range(0, 960, 240)]
    for whole in (panels[0], panels[2]):
        means = [float(panel[40:].mean()) for panel in whole]
        assert means[1] < 0.5 * min(means[0], means[2], means[3])
    for panel in (panels[1][2], panels[1][3]):
        assert panel[0, 0, 2] > 240, "the network gets the capture"
        assert panel[0, 0, :2].max() < 10
    reference = showcase.window(showcase.load_photo("coffee"), 0.5)
    assert np.array_equal(panels[1][0], reference[150:390, 230:550]), "parts are shown pixel by pixel"


def test_every_run_draws_the_same() -> None:
    assert np.array_equal(showcase.drawn(STRIP, brighter), showcase.drawn(STRIP, brighter))


def test_files_are_small_and_read_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnx", reason="the onnx package writes the tests' models")
    from tiny_model import write_tiny_model

    model = write_tiny_model(tmp_path / "tiny.onnx")
    assert showcase.main([str(tmp_path), "--model", str(model)]) == 0
    output = capsys.readouterr().out
    for strip in showcase.STRIPS:
        assert (tmp_path / strip.name).stat().st_size <= showcase.MOST_BYTES
        assert cv2.imread(str(tmp_path / strip.name)).shape == (960, 1280, 3)
        assert strip.name in output
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [*(strip.name for strip in showcase.STRIPS), "tiny.onnx"]
    )


def test_a_missing_folder_is_one_line_and_exit_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert showcase.main([str(tmp_path / "nowhere")]) == 2
    assert capsys.readouterr().err.startswith("showcase: the folder ")
    assert showcase.main([str(tmp_path), "--model", str(tmp_path / "no.onnx")]) == 2
    assert list(tmp_path.iterdir()) == []


def test_pictures_that_stay_too_large_are_rejected(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (2000, 2000, 3), dtype=np.uint8)
    with pytest.raises(showcase.ConfigError, match="stays larger than"):
        showcase.write_jpeg(noise, tmp_path / "noise.jpg")
    assert list(tmp_path.iterdir()) == []
