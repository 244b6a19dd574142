"""`lowlight evaluate --detector`: from files to tables."""

from __future__ import annotations

import csv
import hashlib
import json
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


# The command


def test_pairs_and_sequences_end_in_tables(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder, "--detector", "orb", "--data", folder / "pairs.csv", "--sequence", folder / "recording") == 0
    assert "orb, against the reference: 3 frames of 3 scenes" in capsys.readouterr().out
    found = tables(folder)
    assert set(found) == {("orb", "against the reference"), ("orb", "unknown motion")}
    aligned, recorded = found.values()
    inliers = aligned["columns"].index("inliers")
    assert aligned["rows"]["enhanced alone"][inliers] > 20 + aligned["rows"]["dark"][inliers]
    assert list(aligned["rows"]) == ["dark", "blur", "gamma", "clahe", "enhanced alone", "enhanced stream"]
    assert (recorded["frames"], recorded["scenes"]) == (2, 1)
    rows = list(csv.DictReader((folder / "out" / "frames.csv").open()))
    assert len(rows) == 6 * (3 + 2)


def test_photographs_become_clips_with_known_motion(folder: Path) -> None:
    options = ("--photos", folder / "photos.csv", "--clip-frames", "3", "--limit", "2", "--baseline", "clahe")
    assert run(folder, "--detector", "sift", *options) == 0
    found = tables(folder)
    assert found["sift", "against the reference"]["frames"] == 2
    moving = found["sift", "known motion"]
    assert moving["frames"] == 2
    assert list(moving["rows"]) == ["dark", "clahe", "enhanced alone", "enhanced stream", "well lit"]


def test_files_of_manifests_are_relative_to_the_data_root(folder: Path) -> None:
    manifests = folder / "manifests"
    manifests.mkdir()
    for name in ("pairs.csv", "photos.csv"):
        (folder / name).rename(manifests / name)
    sources = ("--pairs", manifests / "pairs.csv", "--photos", manifests / "photos.csv", "--clip-frames", "1")
    assert run(folder, "--detector", "orb", *sources, "--data-root", folder, "--baseline", "clahe") == 0
    assert {table["frames"] for table in tables(folder).values()} == {3}


def test_results_of_a_weights_file_name_its_hash(folder: Path) -> None:
    """The network runs in PyTorch; its file is hashed without being read as an ONNX file."""
    pytest.importorskip("torch")
    from tiny_checkpoints import write_student

    from lowlight_enhance.training.export.weights import write_weights
    from lowlight_enhance.training.networks import load_checkpoint

    model = folder / "net.safetensors"
    checkpoint = write_student(folder / "last.pt")
    write_weights(load_checkpoint(checkpoint), model)
    for path in (model, checkpoint):
        out = folder / f"out of {path.name}"
        options = ["--detector", "orb", "--pairs", folder / "pairs.csv", "--limit", "1", "--out", out]
        assert cli.main(["evaluate", str(path), "--split", "all", *map(str, options)]) == 0
        settings = json.loads((out / "summary.json").read_text())["settings"]
        assert settings["model"] == path.name
        assert settings["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()


def test_points_are_tracked_in_each_light(folder: Path) -> None:
    options = ("--photos", folder / "photos.csv", "--limit", "2", "--light", "1:100", "--light", "5:6400")
    assert run(folder, "--detector", "klt", *options) == 0
    content = json.loads((folder / "out" / "summary.json").read_text())["tables"]
    assert [table["condition"] for table in content] == ["1 stops, ISO 100", "5 stops, ISO 6400"]
    for table in content:
        assert table["frames"] == 2
        assert table["columns"][0] == "correct %"
    easy, hard = ({name: values[0] for name, values in table["rows"].items()} for table in content)
    assert easy["well lit"] > 90.0
    assert hard["dark"] < easy["dark"]


def test_without_labels_the_boxes_on_the_reference_are_true(folder: Path) -> None:
    boxes = [(20.0, 24.0, 10.0, 16.0, 0.9, 1.0), *[(1.0, 1.0, 1.0, 1.0, 0.0, 0.0)] * 83]
    detector = write_detector(folder / "yolo.onnx", v8(boxes, 3))
    assert run(folder, "--detector", detector, "--data", folder / "pairs.csv") == 0
    (table,) = tables(folder).values()
    assert table["detector"] == "yolo"
    assert list(table["rows"]) == ["dark", "blur", "gamma", "clahe", "enhanced alone", "enhanced stream"]
    for values in table["rows"].values():
        figures = dict(zip(table["columns"], values, strict=True))
        assert (figures["mAP50"], figures["recall"], figures["false boxes"]) == (1.0, 1.0, 0.0)


def test_classes_txt_of_the_labels_counts_before_the_names_of_the_detector(folder: Path) -> None:
    boxes = [(32.0, 32.0, 16.0, 16.0, 0.9, 1.0), *[(1.0, 1.0, 1.0, 1.0, 0.0, 0.0)] * 83]
    detector = write_detector(folder / "yolo.onnx", v8(boxes, 2), "['person', 'car']")
    (folder / "labels").mkdir()
    (folder / "labels" / "classes.txt").write_text("car\nperson\n")
    for number in range(3):
        (folder / "labels" / f"bright{number}.txt").write_text(f"0 0.5 0.5 {40 / 160} {40 / 120}\n")
    options = ("--data", folder / "pairs.csv", "--labels", folder / "labels")
    assert run(folder, "--detector", detector, *options) == 0
    (table,) = tables(folder).values()
    assert table["rows"]["dark"][table["columns"].index("mAP50")] == 1.0


def test_labels_give_mean_precision(folder: Path) -> None:
    boxes = [(32.0, 32.0, 16.0, 16.0, 0.9, 1.0), *[(1.0, 1.0, 1.0, 1.0, 0.0, 0.0)] * 83]
    detector = write_detector(folder / "yolo.onnx", v8(boxes, 3), "['person', 'dog', 'cat']")
    (folder / "labels").mkdir()
    # The box is 40 pixels wide and high on 160x120, around the middle. One of two labelled pictures has it.
    (folder / "labels" / "bright0.txt").write_text(f"1 0.5 0.5 {40 / 160} {40 / 120}\n")
    (folder / "labels" / "bright1.txt").write_text("1 0.1 0.1 0.1 0.1\n")
    options = ("--data", folder / "pairs.csv", "--labels", folder / "labels")
    assert run(folder, "--detector", detector, *options) == 0
    (table,) = tables(folder).values()
    figures = dict(zip(table["columns"], table["rows"]["well lit"], strict=True))
    assert (figures["recall"], figures["false boxes"]) == (0.5, 0.5)
    assert figures["recall medium"] == 1.0
    # Both boxes score the same; the right one stands first: recall 0.5 at precision 1, 51 of 101 points.
    assert figures["mAP50"] == pytest.approx(51 / 101)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--detector", "surf", "--data", "pairs.csv"], "choose one of orb, sift, klt, hog, face, text"),
        (["--detector", "orb"], "no frames"),
        (["--detector", "one/a.onnx", "--detector", "two/a.onnx", "--data", "pairs.csv"], "have the same name"),
        (["--detector", "hog", "--sequence", "recording"], "nothing could be measured"),
        (["--detector", "orb", "--photos", "photos.csv", "--sensor", "Kodak"], "not calibrated"),
        (["--detector", "orb", "--photos", "photos.csv", "--iso", "0"], "must be above 0, found 0"),
        (["--detector", "orb", "--photos", "photos.csv", "--stops", "nan"], "must be finite, found nan"),
        (["--detector", "orb", "--photos", "photos.csv", "--light", "3:-800"], "must be above 0, found -800"),
        (["--detector", "orb", "--photos", "photos.csv", "--light", "inf:800"], "must be finite, found inf"),
        (["--detector", "hog", "--data", "pairs.csv", "--labels", "none.json"], "cannot read the labels"),
        (["--detector", "broken.onnx", "--data", "pairs.csv"], "export the detector again"),
        (["--detector", "orb", "--data", "pairs.csv", "--within", "nan"], "above 0"),
        (["--detector", "broken.onnx", "--data", "pairs.csv", "--confidence", "2"], "from 0 to 1"),
        (["--detector", "orb", "--video", "none.mp4"], "does not exist"),
        (["--detector", "hog", "--data", "pairs.csv", "--report", "nowhere/report.html"], "nowhere"),
    ],
)
def test_user_errors_are_one_line(
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


def test_an_unwritable_folder_is_reported_before_the_work(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
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
    options = ["evaluate", str(folder / "model.onnx"), "--detector", "orb", "--split", "all"]
    process = subprocess.run(
        [sys.executable, "-c", script, *options, "--pairs", str(folder / "pairs.csv")],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    assert "orb, against the reference" in process.stdout


def test_a_bag_is_enhanced_as_by_the_node(folder: Path) -> None:
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
    options = ("--bag", folder / "bag", "--topic", "/camera/image_raw", "--reference-topic", "/camera/bright")
    assert run(folder, "--detector", "orb", *options) == 0
    found = tables(folder)
    assert {measure: table["frames"] for (_, measure), table in found.items()} == {
        "against the reference": 3,
        "unknown motion": 2,
    }
    inliers = found["orb", "against the reference"]["columns"].index("inliers")
    rows = found["orb", "against the reference"]["rows"]
    assert rows["enhanced stream"][inliers] > 20 + rows["dark"][inliers]
    assert "well lit" in found["orb", "unknown motion"]["rows"]


def test_results_of_an_enhanced_topic_name_the_topic(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bag_maker = pytest.importorskip("bag_maker", reason="rosbags is not installed")
    sent = []
    for topic, picture in (("/camera/image_raw", photograph() // 8), ("/camera/enhanced", photograph())):
        for number in range(2):
            stamp = bag_maker.FIRST_NS + number * bag_maker.PERIOD_NS
            message = bag_maker.image(stamp, 0, height=120, width=160)
            message.data = np.ascontiguousarray(picture).ravel()
            sent.append(bag_maker.BagMessage(topic, stamp, bag_maker.IMAGE, message))
    bag_maker.write_bag(folder / "bag", sorted(sent, key=lambda message: message.received_ns))
    options = ("--bag", folder / "bag", "--topic", "/camera/image_raw", "--enhanced-topic", "/camera/enhanced")
    assert run(folder, "--detector", "orb", *options) == 0
    assert capsys.readouterr().out.startswith(f"topic /camera/enhanced on {folder.name}/bag\n")
    settings = json.loads((folder / "out" / "summary.json").read_text())["settings"]
    assert (settings["model"], settings["sha256"]) == ("topic /camera/enhanced", "")


def test_the_report_contains_the_tables(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("plotly")
    pytest.importorskip("jinja2")
    target = folder / "page.html"
    assert run(folder, "--detector", "orb", "--data", folder / "pairs.csv", "--report", target) == 0
    text = target.read_text(encoding="utf-8")
    assert "orb, against the reference: 3 frames of 3 scenes" in text
    assert "0 frames" not in text
    assert ">Plots<" not in text
    assert capsys.readouterr().out.splitlines()[-1] == str(target)


def test_the_report_shows_frames_with_boxes(folder: Path) -> None:
    pytest.importorskip("plotly")
    pytest.importorskip("jinja2")
    boxes = [(20.0, 24.0, 10.0, 16.0, 0.9, 1.0), *[(1.0, 1.0, 1.0, 1.0, 0.0, 0.0)] * 83]
    detector = write_detector(folder / "yolo.onnx", v8(boxes, 3))
    target = folder / "page.html"
    options = ("--data", folder / "pairs.csv", "--report", target, "--baseline", "clahe")
    assert run(folder, "--detector", detector, *options) == 0
    text = target.read_text(encoding="utf-8")
    assert text.count('<figure class="picture">') == 3 * 4
    assert "yolo, dark0.png: enhanced stream" in text


def test_an_unwritable_report_is_reported_before_the_work(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--data", folder / "missing.csv", "--report", folder / "nowhere" / "report.html")
    assert run(folder, "--detector", "orb", *options) == 2
    assert "nowhere" in capsys.readouterr().err
