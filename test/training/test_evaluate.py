"""Images and models of `lowlight evaluate`, and the command."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny_model import write_tiny_model

from lowlight_enhance.cli import main
from lowlight_enhance.core.errors import ConfigError
from lowlight_enhance.core.inference.model_input import ModelInput, Rgb
from lowlight_enhance.core.metadata.capture import UNKNOWN, CaptureMetadata
from lowlight_enhance.evaluation.image_statistics import image_statistics
from lowlight_enhance.evaluation.report.measured_enhance import MeasuredEnhance
from lowlight_enhance.evaluation.scoring import EvaluationImage, ImagePair, score_images
from lowlight_enhance.training.evaluate import darkened_images


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for number in range(3):
        coarse = rng.integers(60, 256, (6, 6, 3), dtype=np.uint8)
        cv2.imwrite(str(tmp_path / f"{number}.png"), cv2.resize(coarse, (64, 64)))
        cv2.imwrite(str(tmp_path / f"{number}_dark.png"), cv2.resize(coarse, (64, 64)) // 4)
    (tmp_path / "photos.csv").write_text("file,split\n0.png,val\n1.png,val\n2.png,train\n")
    (tmp_path / "pairs.csv").write_text(
        "scene,dark,bright,iso,exposure_s,split\na,0_dark.png,0.png,800,,val\nb,1_dark.png,1.png,,0.5,val\n"
        "c,2_dark.png,2.png,,,train\n"
    )
    return tmp_path


def test_darkened_images_are_dark_and_repeatable_with_iso_values_in_turn(photos: Path) -> None:
    first, again = (darkened_images(photos / "photos.csv", 3, [800, 6400]) for _ in range(2))
    assert [f.capture.iso for f in first] == [800, 6400]
    assert np.array_equal(first[1].load().dark, again[1].load().dark)
    assert first[0].load().dark.mean() < 0.6 * first[0].load().bright.mean()


def test_an_unknown_sensor_is_an_error_with_the_known_ones(photos: Path) -> None:
    with pytest.raises(ConfigError, match="SonyA7S2, CanonEOS5D4"):
        darkened_images(photos / "photos.csv", 3, [800], sensor="Phone")
    with pytest.raises(ConfigError, match="above 0"):
        darkened_images(photos / "photos.csv", 3, [800], full_well_electrons=0.0)


@pytest.mark.parametrize("iso", ["0", "-800", "nan"])
def test_an_iso_that_is_not_positive_is_found_before_the_work(
    iso: str, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = write_tiny_model(photos / "tiny.onnx")
    assert main(["evaluate", str(model), "--photos", str(photos / "photos.csv"), "--iso", "800", iso]) == 2
    shown = capsys.readouterr().err
    assert "the ISO of a simulated frame must be above 0" in shown
    assert shown.count("\n") == 1


@pytest.mark.parametrize("stops", [float("nan"), float("inf")])
def test_stops_must_be_finite(stops: float, photos: Path) -> None:
    with pytest.raises(ConfigError, match="under-exposure of a simulated frame must be finite"):
        darkened_images(photos / "photos.csv", stops, [800.0])


def test_a_small_sensor_is_noisier(photos: Path) -> None:
    def noise(electrons: float | None) -> float:
        (image, *_) = darkened_images(photos / "photos.csv", 4, [3200], full_well_electrons=electrons)
        return image_statistics(image.load().dark).noise_sigma

    assert noise(5000.0) > 1.5 * noise(None)


def test_the_command_scores_a_model_on_pairs(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = write_tiny_model(photos / "tiny.onnx", gain=4.0, model_input=ModelInput(working_size=0))
    arguments = ["evaluate", str(model), "--data", str(photos / "pairs.csv"), "--out", str(photos / "out")]
    assert main(arguments) == 0
    assert "2 frames of 2 scenes" in capsys.readouterr().out
    summary = json.loads((photos / "out" / "summary.json").read_text())
    assert summary["output"]["psnr"] > 30.0 > summary["input"]["psnr"]
    assert set(summary["by_iso"]) == {"400 to 1600", "unknown"}


@pytest.mark.parametrize("source", ["pairs", "photos"])
def test_the_command_writes_a_report(source: str, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("jinja2", reason="of the extra 'report'")
    pytest.importorskip("plotly", reason="of the extra 'report'")
    pytest.importorskip("markdown_it", reason="of the extra 'report'")
    model = write_tiny_model(photos / "tiny.onnx", gain=4.0, model_input=ModelInput(working_size=0))
    target = photos / "report.html"
    arguments = ["evaluate", str(model), f"--{source}", str(photos / f"{source}.csv"), "--iso", "200", "6400"]
    assert main([*arguments, "--metadata-test", "--report", str(target)]) == 0
    assert capsys.readouterr().out.endswith(f"{target}\n")
    text = target.read_text(encoding="utf-8")
    assert f"{photos.name}/{source}.csv" in text
    assert text.count('class="compare"') == 2
    assert text.count(">reference</") == 0, "its tag appears when the reference is chosen"
    for told in (
        "Artifacts",
        "Metadata test",
        "Lowest PSNR",
        "Latency",
        "0.png" if source == "photos" else "0_dark.png",
    ):
        assert told in text


def test_the_report_of_a_metadata_test_describes_each_image_by_its_first_call() -> None:
    """Images without known metadata are enhanced once in a metadata test, all others three times."""
    pytest.importorskip("jinja2", reason="of the extra 'report'")
    from lowlight_enhance.evaluation.report.score_section import score_section

    captures = [CaptureMetadata(800.0), UNKNOWN, CaptureMetadata(None, 0.5), UNKNOWN]

    def image(number: int) -> EvaluationImage:
        dark = np.full((32, 32, 3), 10 * (number + 1), np.uint8)
        pair = ImagePair(dark, 4 * dark, captures[number])
        return EvaluationImage(f"{number}", f"{number}", captures[number], lambda: pair)

    def enhance(rgb: Rgb, capture: CaptureMetadata) -> np.ndarray:
        return np.asarray(rgb * (2 if capture == captures[rgb[0, 0, 0] // 10 - 1] else 3), np.uint8)

    measured = MeasuredEnhance(enhance)
    scored = score_images([image(number) for number in range(4)], measured, metadata_test=True)
    frames = score_section("pairs", scored, measured).frames
    assert [frame.input.mean_luma for frame in frames] == pytest.approx([10.0, 20.0, 30.0, 40.0])
    assert [frame.output.mean_luma for frame in frames] == pytest.approx([20.0, 40.0, 60.0, 80.0])


def test_a_missing_source_is_an_error(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = write_tiny_model(photos / "tiny.onnx")
    assert main(["evaluate", str(model)]) == 2
    assert "--pairs and --photos" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--out", "--report"])
@pytest.mark.parametrize("source", ["--pairs", "--bag"])
def test_an_unwritable_target_is_reported_before_the_work(
    option: str, source: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("rosbags")
    (tmp_path / "file").write_text("")
    model, missing = write_tiny_model(tmp_path / "tiny.onnx"), tmp_path / "missing"
    arguments = ["evaluate", str(model), source, str(missing), option, str(tmp_path / "file" / "target")]
    assert main(arguments) == 2
    message = capsys.readouterr().err
    assert message.startswith("lowlight: ")
    assert message.count("\n") == 1
    assert str(tmp_path / "file") in message
    assert str(missing) not in message
