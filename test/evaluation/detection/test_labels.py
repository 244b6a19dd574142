"""Labels in COCO's and YOLO's formats, and files that must not be misread."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from lowlight_enhance.core.errors import DataError
from lowlight_enhance.evaluation.detection.labels import check_labels, read_labels
from lowlight_enhance.evaluation.detection.opencv_detectors import Faces, People


def coco(path: Path, **changes: object) -> Path:
    content = {
        "images": [{"id": 7, "file_name": "val/a.jpg"}, {"id": 8, "file_name": "b.jpg"}],
        "categories": [{"id": 1, "name": "person"}, {"id": 18, "name": "dog"}],
        "annotations": [
            {"image_id": 7, "category_id": 18, "bbox": [10, 20, 30, 40]},
            {"image_id": 7, "category_id": 1, "bbox": [0, 0, 5, 5], "iscrowd": 1},
        ],
    }
    path.write_text(json.dumps(content | changes))
    return path


def test_labels_of_coco(tmp_path: Path) -> None:
    labels = read_labels(coco(tmp_path / "labels.json"))
    found = labels.find([Path("dark/a.jpg")], 100, 100)
    assert found is not None
    assert found.classes == ("dog", "person")
    assert found.corners.tolist() == [[10, 20, 40, 60], [0, 0, 5, 5]]
    assert found.where(~found.is_crowd).classes == ("dog",)
    empty = labels.find([Path("nowhere.jpg"), Path("b.jpg")], 100, 100)
    assert empty is not None
    assert len(empty) == 0
    assert labels.find([Path("c.jpg")], 100, 100) is None


def test_labels_without_a_class_of_the_detector_are_an_error(tmp_path: Path) -> None:
    labels = read_labels(coco(tmp_path / "labels.json"))
    check_labels(labels, [People()])
    with pytest.raises(DataError, match=r"dog, person, and face knows face.*--classes"):
        check_labels(labels, [Faces()])


@pytest.mark.parametrize(
    "changes",
    [
        {"annotations": [{"image_id": 9, "category_id": 1, "bbox": [0, 0, 1, 1]}]},
        {"annotations": [{"image_id": 7, "category_id": 1, "bbox": [0, 0, 1]}]},
        {"annotations": [{"image_id": 7, "category_id": 1, "bbox": [0, 0, float("nan"), 1]}]},
        {"images": 3},
        {"categories": [[]]},
    ],
)
def test_damaged_labels_are_errors(changes: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="COCO's format"):
        read_labels(coco(tmp_path / "labels.json", **changes))


def test_labels_of_yolo(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("0 0.5 0.5 0.2 0.4\n\n1 0.1 0.1 0.3 0.1 0.3 0.6\n7 0.5 0.5 1 1\n")
    (tmp_path / "classes.txt").write_text("person\ndog\n")
    found = read_labels(tmp_path).find([Path("a.png")], 100, 200)
    assert found is not None
    assert found.classes == ("person", "dog", "7")
    assert found.corners == pytest.approx(np.array([[40, 60, 60, 140], [10, 20, 30, 120], [0, 0, 100, 200]]))
    named = read_labels(tmp_path, ["car", "bus"]).find([Path("a.png")], 100, 200)
    assert named is not None
    assert named.classes[:2] == ("car", "bus")


@pytest.mark.parametrize("text", ["0 0.5 0.5 0.2", "person 0.5 0.5 0.2 0.2", "0 0.5 nan 0.2 0.2", "0"])
def test_damaged_lines_are_errors(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(text)
    with pytest.raises(DataError, match=r"a\.txt, line 1 is no label"):
        read_labels(tmp_path).find([Path("a.png")], 10, 10)


def yolo(folder: Path, line: str, **options: object) -> np.ndarray:
    folder.mkdir(exist_ok=True)
    (folder / "a.txt").write_text(line + "\n")
    found = read_labels(folder, **options).find([Path("a.png")], 100, 100)  # type: ignore[arg-type]
    assert found is not None
    return found.corners


def test_classes_txt_takes_precedence_over_the_classes_of_the_detector(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    (tmp_path / "classes.txt").write_text("car\nperson\n")
    detector_classes = ("person", "car")
    found = read_labels(tmp_path, fallback=detector_classes).find([Path("a.png")], 10, 10)
    assert found is not None
    assert found.classes == ("car",)
    found = read_labels(tmp_path, ["truck"], detector_classes).find([Path("a.png")], 10, 10)
    assert found is not None
    assert found.classes == ("truck",), "--classes comes first"
    (tmp_path / "classes.txt").unlink()
    found = read_labels(tmp_path, fallback=detector_classes).find([Path("a.png")], 10, 10)
    assert found is not None
    assert found.classes == ("person",)


@pytest.mark.parametrize("text", ["names: [car, person]\n", "names:\n  0: car\n  1: person\n"])
def test_class_names_of_data_yaml(text: str, tmp_path: Path) -> None:
    pytest.importorskip("yaml")
    folder = tmp_path / "labels" / "val"
    folder.mkdir(parents=True)
    (tmp_path / "data.yaml").write_text(text)
    (folder / "a.txt").write_text("1 0.5 0.5 0.2 0.2\n")
    found = read_labels(folder, fallback=("x", "y")).find([Path("a.png")], 10, 10)
    assert found is not None
    assert found.classes == ("person",)


KEYPOINTS = "0.45 0.45 2 0.55 0.5 1 0 0 0 0.5 0.6 2"


@pytest.mark.parametrize("points", [KEYPOINTS, " ".join(KEYPOINTS.split()[:9])])
def test_lines_with_keypoints_and_visibility_are_boxes(points: str, tmp_path: Path) -> None:
    corners = yolo(tmp_path / "labels", f"0 0.5 0.5 0.2 0.4 {points}", format="pose")
    assert corners == pytest.approx(np.array([[40.0, 30.0, 60.0, 70.0]]))


def test_an_odd_number_of_keypoint_values_needs_no_option(tmp_path: Path) -> None:
    line = f"0 0.5 0.5 0.2 0.4 {' '.join(KEYPOINTS.split()[:9])}"
    assert yolo(tmp_path / "labels", line) == pytest.approx(np.array([[40.0, 30.0, 60.0, 70.0]]))


@pytest.mark.parametrize("points", [KEYPOINTS, "0.45 0.45 0.55 0.5 0 0"])
def test_a_line_that_is_a_polygon_or_a_pose_is_not_guessed(points: str, tmp_path: Path) -> None:
    line = f"0 0.5 0.5 0.2 0.4 {points}"
    with pytest.raises(DataError, match=r"a\.txt, line 1.*--label-format polygon or pose"):
        yolo(tmp_path / "labels", line)
    assert yolo(tmp_path / "labels", line, format="pose") == pytest.approx(np.array([[40.0, 30.0, 60.0, 70.0]]))
    if points != KEYPOINTS:
        polygon = yolo(tmp_path / "labels", line, format="polygon")
        assert polygon == pytest.approx(np.array([[0.0, 0.0, 55.0, 50.0]]))


@pytest.mark.parametrize("line", ["0 50 50 20 40", "0 10 20 30 40 50 60", "0 0.7 0.7 0.9 0.9"])
def test_boxes_in_pixels_or_as_corners_are_not_misread(line: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not pixels or corners"):
        yolo(tmp_path / "labels", line)


def test_one_label_file_is_not_used_for_two_images_of_one_name(tmp_path: Path) -> None:
    (tmp_path / "0001.txt").write_text("0 0.5 0.5 0.2 0.4\n")
    labels = read_labels(tmp_path)
    assert labels.find([Path("data/cam1/0001.png")], 10, 10) is not None
    assert labels.find([Path("data/cam1/0001.png")], 10, 10) is not None, "the same image again"
    with pytest.raises(DataError, match=r"both data/cam1/0001\.png and data/cam2/0001\.png"):
        labels.find([Path("data/cam2/0001.png")], 10, 10)


def test_labels_in_folders_named_like_those_of_the_images(tmp_path: Path) -> None:
    for number, name in enumerate(("cam1", "cam2")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "0001.txt").write_text(f"{number} 0.5 0.5 0.2 0.4\n")
    labels = read_labels(tmp_path)
    found = [labels.find([Path(f"/data/{name}/0001.png")], 10, 10) for name in ("cam1", "cam2")]
    assert [boxes.classes for boxes in found if boxes is not None] == [("0",), ("1",)]


def test_coco_images_of_one_name_are_told_apart_by_their_folder(tmp_path: Path) -> None:
    path = coco(
        tmp_path / "labels.json",
        images=[{"id": 7, "file_name": "cam1/0001.jpg"}, {"id": 8, "file_name": "cam2/0001.jpg"}],
    )
    labels = read_labels(path)
    first, second = (labels.find([Path(f"/data/{name}/0001.jpg")], 10, 10) for name in ("cam1", "cam2"))
    assert first is not None
    assert second is not None
    assert (len(first), len(second)) == (2, 0)
    with pytest.raises(DataError, match=r"several images of the name 0001\.jpg"):
        labels.find([Path("/data/0001.jpg")], 10, 10)
