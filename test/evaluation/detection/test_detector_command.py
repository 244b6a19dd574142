"""`lowlight evaluate --detector`: from files to tables; gains are those that were built in."""

from __future__ import annotations

import csv
import json
import math
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("onnx")

from tiny_detector import v8, write_detector
from tiny_model import write_tiny_model

from lowlight_enhance import cli
from lowlight_enhance.commands import detector as command
from lowlight_enhance.evaluation.baselines import BASELINES, TARGET_MEAN, auto_gamma, clahe, gamma
from lowlight_enhance.evaluation.detection import report
from lowlight_enhance.evaluation.detection.compare import ALIGNED, BOXES, Comparison, Entry


def photograph(seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    picture = np.full((120, 160, 3), 110, np.uint8)
    for _ in range(60):
        x, y, side = (int(rng.integers(0, limit)) for limit in (150, 110, 24))
        tone = tuple(int(value) for value in rng.integers(20, 240, 3))
        cv2.rectangle(picture, (x, y), (x + side + 5, y + side + 5), tone, -1)
    return picture


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Pairs, photographs and a recording; a model that multiplies by eight."""
    for number in range(3):
        bright = photograph(number)
        cv2.imwrite(str(tmp_path / f"bright{number}.png"), bright)
        cv2.imwrite(str(tmp_path / f"dark{number}.png"), bright // 8)
    rows = [f"dark{n}.png,bright{n}.png,800,0.02,scene{n}" for n in range(3)]
    (tmp_path / "pairs.csv").write_text("\n".join(["dark,bright,iso,exposure_s,scene", *rows]))
    (tmp_path / "photos.csv").write_text("file\n" + "\n".join(f"bright{n}.png" for n in range(3)))
    (tmp_path / "recording").mkdir()
    for number in range(3):
        moved = np.roll(photograph(), 2 * number, axis=1) // 8
        cv2.imwrite(str(tmp_path / "recording" / f"{number}.png"), moved)
    write_tiny_model(tmp_path / "model.onnx", gain=8.0)
    return tmp_path


def run(folder: Path, *arguments: object) -> int:
    model = str(folder / "model.onnx")
    return cli.main(["evaluate", model, "--split", "all", "--out", str(folder / "out"), *map(str, arguments)])


def tables(folder: Path) -> dict[tuple[str, str], dict]:
    content = json.loads((folder / "out" / "summary.json").read_text())
    return {(table["detector"], table["measure"]): table for table in content["tables"]}


# Baselines


def test_baselines_of_the_command_are_those_that_exist() -> None:
    assert tuple(BASELINES) == command.BASELINES


def test_baselines_brighten() -> None:
    dark = photograph() // 8
    for brighten in BASELINES.values():
        brighter = brighten(dark)
        assert brighter.shape == dark.shape
        assert brighter.dtype == np.uint8
        assert brighter.mean() > 1.3 * dark.mean()


def test_gamma_is_its_power() -> None:
    values = np.array([[[0, 55, 255]]], np.uint8)
    assert gamma(values).tolist() == [[[0, round(255 * (55 / 255) ** (1 / 2.2)), 255]]]


def test_auto_gamma_reaches_its_mean_and_never_darkens() -> None:
    assert auto_gamma(photograph() // 8).mean() == pytest.approx(TARGET_MEAN, abs=1.0)
    bright = np.full((8, 8, 3), 200, np.uint8)
    assert np.array_equal(auto_gamma(bright), bright)
    assert auto_gamma(np.zeros((8, 8, 3), np.uint8)).max() == 0


def test_clahe_raises_contrast_and_keeps_grey_grey() -> None:
    grey = np.repeat(cv2.cvtColor(photograph() // 8, cv2.COLOR_RGB2GRAY)[:, :, None], 3, 2)
    raised = clahe(grey).astype(int)
    assert raised.std() > 1.2 * grey.std()
    assert np.abs(raised - raised.mean(2, keepdims=True)).max() <= 2


# Tables


def entries(measure: str, counts: dict[str, dict[str, list[float]]], scenes: int) -> Comparison:
    """``counts`` by rendering: lists with a value a scene."""
    return Comparison(
        [
            Entry("x", measure, f"{n}", f"scene{n}", rendering, {name: values[n] for name, values in each.items()})
            for n in range(scenes)
            for rendering, each in counts.items()
        ]
    )


def keypoint_counts(inliers: list[float]) -> dict[str, list[float]]:
    ones = [1.0] * len(inliers)
    rest = dict.fromkeys(("keypoints", "matches", "repeated", "possible", "by_chance", "tracked"), ones)
    return {"pairs": ones, "inliers": inliers, **rest}


def test_gain_is_the_quotient_and_its_interval_holds_it() -> None:
    dark, ours = [10.0, 20.0, 30.0, 40.0], [30.0, 50.0, 40.0, 80.0]
    (table,) = report.tables(
        entries(ALIGNED, {"dark": keypoint_counts(dark), "enhanced": keypoint_counts(ours)}, scenes=4)
    )
    (gain,) = table.gains
    assert gain.factor == pytest.approx(2.0)
    assert 1.2 < gain.low < 2.0 < gain.high < 3.1
    assert table.rows["enhanced"][table.columns.index("inliers")] == pytest.approx(50.0)


def test_gain_over_nothing_is_said_and_no_json_breaks(tmp_path: Path) -> None:
    comparison = entries(ALIGNED, {"dark": keypoint_counts([0.0]), "enhanced": keypoint_counts([5.0])}, scenes=1)
    (table,) = report.tables(comparison)
    assert math.isinf(table.gains[0].factor)
    assert "over dark: from none" in str(table)
    neither = entries(ALIGNED, {"dark": keypoint_counts([0.0]), "enhanced": keypoint_counts([0.0])}, scenes=1)
    assert "over dark: none in either" in str(report.tables(neither)[0])
    report.write(comparison, {}, tmp_path)
    assert "NaN" not in (tmp_path / "summary.json").read_text()


def test_figures_of_boxes_are_of_all_frames_together() -> None:
    counts = {"frames": [1.0, 1.0], "found": [4.0, 0.0], "truth": [2.0, 6.0], "correct": [2.0, 0.0]}
    (table,) = report.tables(entries(BOXES, {"enhanced": counts}, scenes=2))
    assert table.rows["enhanced"] == pytest.approx((2.0, 0.5, 0.25, 1 / 3))


# The command


def test_pairs_photographs_and_recordings_end_in_tables(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder, "--detector", "orb", "--data", folder / "pairs.csv", "--sequence", folder / "recording") == 0
    assert "orb, against the reference: 3 frames of 3 scenes" in capsys.readouterr().out
    found = tables(folder)
    assert set(found) == {("orb", "against the reference"), ("orb", "unknown motion")}
    aligned, recorded = found.values()
    inliers = aligned["columns"].index("inliers")
    assert aligned["rows"]["enhanced"][inliers] > 20 + aligned["rows"]["dark"][inliers]
    assert list(aligned["rows"]) == ["dark", "gamma", "auto_gamma", "clahe", "enhanced"]
    assert (recorded["frames"], recorded["scenes"]) == (2, 1)
    rows = list(csv.DictReader((folder / "out" / "frames.csv").open()))
    assert len(rows) == 5 * (3 + 2)


def test_photographs_are_darkened_and_moved_over(folder: Path) -> None:
    how = ("--photos", folder / "photos.csv", "--views", "3", "--limit", "2", "--baseline", "clahe")
    assert run(folder, "--detector", "sift", *how) == 0
    found = tables(folder)
    assert found["sift", "against the reference"]["frames"] == 2
    moving = found["sift", "known motion"]
    assert moving["frames"] == 4
    assert list(moving["rows"]) == ["dark", "clahe", "enhanced", "reference"]


def test_what_is_found_on_the_reference_is_the_truth_without_labels(folder: Path) -> None:
    boxes = [(20.0, 24.0, 10.0, 16.0, 0.9, 1.0), *[(1.0, 1.0, 1.0, 1.0, 0.0, 0.0)] * 83]
    detector = write_detector(folder / "yolo.onnx", v8(boxes, 3))
    assert run(folder, "--detector", detector, "--data", folder / "pairs.csv") == 0
    (table,) = tables(folder).values()
    assert table["detector"] == "yolo"
    assert table["rows"] == {name: [1.0] * 4 for name in ("dark", "gamma", "auto_gamma", "clahe", "enhanced")}


def test_labels_give_mean_precision(folder: Path) -> None:
    pytest.importorskip("pycocotools")
    boxes = [(32.0, 32.0, 16.0, 16.0, 0.9, 1.0), *[(1.0, 1.0, 1.0, 1.0, 0.0, 0.0)] * 83]
    detector = write_detector(folder / "yolo.onnx", v8(boxes, 3), "['person', 'dog', 'cat']")
    (folder / "labels").mkdir()
    # The box is 40 pixels wide and high on 160x120, around the middle. One of two labelled pictures has it.
    (folder / "labels" / "bright0.txt").write_text(f"1 0.5 0.5 {40 / 160} {40 / 120}\n")
    (folder / "labels" / "bright1.txt").write_text("1 0.1 0.1 0.1 0.1\n")
    how = ("--data", folder / "pairs.csv", "--labels", folder / "labels")
    assert run(folder, "--detector", detector, *how) == 0
    (table,) = tables(folder).values()
    figures = dict(zip(table["columns"], table["rows"]["reference"], strict=True))
    assert figures["F1"] == pytest.approx(0.5)
    # Both boxes score the same; the right one stands first: recall 0.5 at precision 1, 51 of 101 points.
    assert figures["mAP50"] == pytest.approx(51 / 101)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--detector", "surf", "--data", "pairs.csv"], "choose orb, sift, hog or face"),
        (["--detector", "orb"], "no frames"),
        (["--detector", "one/a.onnx", "--detector", "two/a.onnx", "--data", "pairs.csv"], "bear one name"),
        (["--detector", "hog", "--sequence", "recording"], "nothing could be measured"),
        (["--detector", "orb", "--photos", "photos.csv", "--sensor", "Kodak"], "not calibrated"),
        (["--detector", "hog", "--data", "pairs.csv", "--labels", "none.json"], "cannot read the labels"),
        (["--detector", "broken.onnx", "--data", "pairs.csv"], "export the detector anew"),
        (["--detector", "orb", "--data", "pairs.csv", "--within", "nan"], "above 0"),
        (["--detector", "broken.onnx", "--data", "pairs.csv", "--confidence", "2"], "from 0 to 1"),
    ],
)
def test_mistakes_are_said(
    arguments: list[str],
    message: str,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(folder)
    (folder / "broken.onnx").write_bytes(b"\x08\x07nonsense")
    for name in ("one", "two"):
        (folder / name).mkdir()
        write_detector(folder / name / "a.onnx", np.zeros((1, 30, 6)))
    assert run(folder, *arguments) == 2
    assert message in capsys.readouterr().err
    assert not list((folder / "out").glob("*"))


def test_a_folder_that_cannot_be_is_said_before_the_work(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "out").write_text("a file")
    assert run(folder, "--detector", "orb", "--data", folder / "pairs.csv") == 2
    assert "cannot write into the folder" in capsys.readouterr().err


def test_detectors_need_neither_torch_nor_rosbags_nor_the_report(folder: Path) -> None:
    script = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "torchmetrics", "rosbags", "plotly", "jinja2", "pycocotools", "tqdm"):
            raise ModuleNotFoundError(f"{name} is blocked", name=name)
sys.meta_path.insert(0, Blocker())
from lowlight_enhance import cli
sys.exit(cli.main(sys.argv[1:]))
"""
    how = ["evaluate", str(folder / "model.onnx"), "--detector", "orb", "--split", "all"]
    process = subprocess.run(
        [sys.executable, "-c", script, *how, "--pairs", str(folder / "pairs.csv")],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    assert "orb, against the reference" in process.stdout


def test_a_recording_is_seen_as_the_node_sees_it(folder: Path) -> None:
    bag_maker = pytest.importorskip("bag_maker", reason="rosbags is not installed")
    sent = []
    for number in range(3):
        moved = np.roll(photograph(), 2 * number, axis=1)
        for topic, picture in (("/camera/image_raw", moved // 8), ("/camera/bright", moved)):
            stamp = bag_maker.FIRST_NS + number * bag_maker.PERIOD_NS
            message = bag_maker.image(stamp, 0, height=120, width=160)
            message.data = np.ascontiguousarray(picture).ravel()
            sent.append(bag_maker.BagMessage(topic, stamp, bag_maker.IMAGE, message))
    bag_maker.write_bag(folder / "bag", sent)
    how = ("--bag", folder / "bag", "--topic", "/camera/image_raw", "--reference-topic", "/camera/bright")
    assert run(folder, "--detector", "orb", *how) == 0
    found = tables(folder)
    assert {measure: table["frames"] for (_, measure), table in found.items()} == {
        "against the reference": 3,
        "unknown motion": 2,
    }
    inliers = found["orb", "against the reference"]["columns"].index("inliers")
    rows = found["orb", "against the reference"]["rows"]
    assert rows["enhanced"][inliers] > 20 + rows["dark"][inliers]
    assert "reference" in found["orb", "unknown motion"]["rows"]


def test_tables_stand_in_the_report(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("plotly")
    pytest.importorskip("jinja2")
    target = folder / "page.html"
    assert run(folder, "--detector", "orb", "--data", folder / "pairs.csv", "--report", target) == 0
    text = target.read_text(encoding="utf-8")
    assert "orb, against the reference: 3 frames of 3 scenes" in text
    assert "0 frames" not in text
    assert ">Plots<" not in text
    assert capsys.readouterr().out.splitlines()[-1] == str(target)
