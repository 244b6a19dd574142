import csv
import json
import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from tiny_model import write_tiny_model

from lowlight_enhance.cli import main
from lowlight_enhance.core.errors import DataError
from lowlight_enhance.core.inference.model_input import ModelInput
from lowlight_enhance.core.metadata.capture import UNKNOWN, CaptureMetadata
from lowlight_enhance.training import evaluate as ev
from lowlight_enhance.training.data.pictures import LoadedPair

GREY = np.full((32, 32, 3), 128, np.uint8)


def frame(scene: str, dark: int, iso: float | None = None, exposure_s: float | None = None) -> ev.Frame:
    capture = CaptureMetadata(iso, exposure_s)
    picture = np.full((32, 32, 3), dark, np.uint8)
    return ev.Frame(f"{scene}_{dark}", scene, capture, lambda: LoadedPair(picture, GREY, capture))


def unchanged(rgb: Any, _: CaptureMetadata) -> Any:
    return rgb


def test_scores_of_known_pictures() -> None:
    same = ev.measure(GREY, GREY)
    assert (same.psnr, same.l1) == (100.0, 0.0)
    assert same.ssim == pytest.approx(1.0)
    shifted = ev.measure(GREY + 51, GREY)
    assert shifted.l1 == pytest.approx(0.2)
    assert shifted.psnr == pytest.approx(-20 * math.log10(0.2), abs=1e-3)


def test_every_scene_counts_once() -> None:
    rows = ev.evaluate([frame("a", 100), frame("a", 100), frame("b", 28)], unchanged)
    near, far = rows[0].after.l1, rows[2].after.l1
    assert ev.over_scenes(rows).l1 == pytest.approx((near + far) / 2)
    assert ev.summary(rows)["output_over_frames"]["l1"] == pytest.approx((2 * near + far) / 3)


def test_the_darkest_fifth_is_by_the_input() -> None:
    rows = ev.evaluate([frame(str(dark), dark) for dark in (90, 10, 70, 50, 30)], unchanged)
    assert [row.dark_mean for row in ev.darkest_fifth(rows)] == [10.0]
    assert ev.summary(rows)["output_of_darkest_fifth"]["l1"] == pytest.approx(118 / 255)
    assert [row.dark_mean for row in ev.darkest_fifth(rows[:1])] == [90.0]


def test_bins_are_by_iso_and_exposure_and_name_the_unknown() -> None:
    rows = ev.evaluate([frame("a", 9, 400.0, 0.01), frame("b", 9, 401.0, 1.0), frame("c", 9)], unchanged)
    assert {k: len(v) for k, v in ev.by_bin(rows, ev.iso_of, ev.ISO_BINS).items()} == {
        "0 to 400": 1,
        "400 to 1600": 1,
        "unknown": 1,
    }
    assert set(ev.by_bin(rows, ev.exposure_of, ev.EXPOSURE_BINS_S)) == {"0.004 to 0.033333", "0.25 to 2", "unknown"}


def test_the_metadata_test_tells_true_from_withheld_and_shuffled() -> None:
    told: list[CaptureMetadata] = []

    def remember(rgb: Any, capture: CaptureMetadata) -> Any:
        told.append(capture)
        return rgb + (10 if capture.iso == 5000.0 + rgb[0, 0, 0] else 0)

    frames = [frame(str(i), i, 5000.0 + i) for i in range(5)]
    rows = ev.evaluate(frames, remember, metadata_test=True)
    assert [told[3 * i] for i in range(5)] == [f.capture for f in frames]
    assert all(told[3 * i + 1] == UNKNOWN for i in range(5))
    shuffled = [told[3 * i + 2] for i in range(5)]
    assert set(shuffled) <= {f.capture for f in frames}
    assert all(mine != f.capture for mine, f in zip(shuffled, frames, strict=True))
    groups = ev.summary(rows)["metadata"]
    assert list(groups) == ["3200 to 12800", "all"]
    scores = groups["3200 to 12800"]
    assert scores["true"]["psnr"] > scores["withheld"]["psnr"] == scores["shuffled"]["psnr"]


def test_another_frames_capture_is_a_different_one_and_unknown_ones_are_left_out() -> None:
    told: list[CaptureMetadata] = []

    def remember(rgb: Any, capture: CaptureMetadata) -> Any:
        told.append(capture)
        return rgb

    frames = [frame("a", 9, 800.0, 0.1) for _ in range(6)]
    frames += [frame("b", 30), frame("c", 40, None, 0.5), frame("d", 50, 100.0, 0.1)]
    rows = ev.evaluate(frames, remember, metadata_test=True)
    assert len(told) == 3 * 8 + 1, "there is nothing to withhold of the unknown one"
    assert set(told[2:18:3]) <= {CaptureMetadata(None, 0.5), CaptureMetadata(100.0, 0.1)}
    assert [row.frame.scene for row in rows if row.withheld is None] == ["b"]
    groups = ev.tested(rows)
    assert {label: len(inside) for label, inside in groups.items()} == {
        "0 to 400": 1,
        "400 to 1600": 6,
        "unknown": 1,
        "all": 8,
    }
    printed = ev.describe("model", rows)
    for label in ("ISO 400 to 1600, true", "ISO unknown, shuffled", "ISO all, withheld"):
        assert label in printed


@pytest.mark.parametrize("known", [0, 5])
def test_a_metadata_test_of_equal_captures_is_refused_before_any_work(known: int) -> None:
    def never(rgb: Any, _: CaptureMetadata) -> Any:
        raise AssertionError("it was to be refused at the start")

    frames = [frame(str(i), i, 800.0 if i < known else None) for i in range(5)]
    with pytest.raises(DataError, match=rf"of these 5, {known} tell .*--iso 200 800 6400"):
        ev.evaluate(frames, never, metadata_test=True)


def test_results_are_written_whole(tmp_path: Path) -> None:
    rows = ev.evaluate([frame("a", 9, 400.0, 0.01), frame("b", 30)], unchanged)
    ev.write(rows, tmp_path / "out")
    with (tmp_path / "out" / "frames.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [line["scene"] for line in lines] == ["a", "b"]
    assert float(lines[1]["after_psnr"]) == pytest.approx(rows[1].after.psnr)
    assert lines[0]["withheld_psnr"] == ""
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["output"]["hue_deg"] is None
    assert summary["frames"] == 2


def test_nothing_to_evaluate_is_said() -> None:
    with pytest.raises(DataError, match="no frames"):
        ev.evaluate([], unchanged)


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


def test_darkened_frames_are_dark_told_in_turn_and_repeatable(photos: Path) -> None:
    first, again = (ev.darkened_frames(photos / "photos.csv", 3, [800, 6400]) for _ in range(2))
    assert [f.capture.iso for f in first] == [800, 6400]
    assert np.array_equal(first[1].load().dark, again[1].load().dark)
    assert first[0].load().dark.mean() < 0.6 * first[0].load().bright.mean()


def test_an_unknown_sensor_names_the_known_ones(photos: Path) -> None:
    with pytest.raises(DataError, match="SonyA7S2, CanonEOS5D4"):
        ev.darkened_frames(photos / "photos.csv", 3, [800], sensor="Phone")


def test_the_command_scores_a_model_on_pairs(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = write_tiny_model(photos / "tiny.onnx", gain=4.0, model_input=ModelInput(working_size=0))
    arguments = ["evaluate", str(model), "--data", str(photos / "pairs.csv"), "--out", str(photos / "out")]
    assert main(arguments) == 0
    assert "2 frames of 2 scenes" in capsys.readouterr().out
    summary = json.loads((photos / "out" / "summary.json").read_text())
    assert summary["output"]["psnr"] > 30.0 > summary["input"]["psnr"]
    assert set(summary["by_iso"]) == {"400 to 1600", "unknown"}


@pytest.mark.parametrize("source", ["pairs", "photos"])
def test_the_command_ends_in_a_report(source: str, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
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
    assert text.count(">reference</") == 0, "its tag appears when it is chosen"
    for told in (
        "Usual faults",
        "What the metadata are worth",
        "Least alike",
        "Latency",
        "0.png" if source == "photos" else "0_dark.png",
    ):
        assert told in text


def test_the_command_wants_one_source(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = write_tiny_model(photos / "tiny.onnx")
    assert main(["evaluate", str(model)]) == 2
    assert "--pairs and --photos" in capsys.readouterr().err
