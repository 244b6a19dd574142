"""Boxes: overlap, right ones, mean precision by hand, labels of both formats, OpenCV's detectors."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from lowlight_enhance.core.errors import DataError
from lowlight_enhance.evaluation.detection.boxes import NO_BOXES, Boxes, boxes, correct, overlaps
from lowlight_enhance.evaluation.detection.keypoints import Keypoints
from lowlight_enhance.evaluation.detection.labels import check_labels, read_labels
from lowlight_enhance.evaluation.detection.mean_precision import mean_precision
from lowlight_enhance.evaluation.detection.opencv import Faces, People, cascade_file, searched

SQUARE, FAR = [0.0, 0.0, 10.0, 10.0], [50.0, 50.0, 60.0, 60.0]


def test_overlap_is_the_common_part_of_the_union() -> None:
    a = np.array([SQUARE])
    b = np.array([SQUARE, [5.0, 0.0, 15.0, 10.0], FAR, [3.0, 3.0, 3.0, 3.0]])
    assert overlaps(a, b)[0] == pytest.approx([1.0, 1 / 3, 0.0, 0.0])


def test_each_truth_is_found_once_and_by_its_class() -> None:
    truth = boxes([SQUARE, FAR], [1, 1], ["person", "dog"])
    assert correct(boxes([SQUARE, SQUARE], [0.9, 0.8], ["person", "person"]), truth) == 1
    assert correct(boxes([FAR], [0.9], ["person"]), truth) == 0
    assert correct(boxes([FAR, [1.0, 0.0, 11.0, 10.0]], [0.5, 0.4], ["dog", "person"]), truth) == 2
    assert correct(NO_BOXES, truth) == correct(truth, NO_BOXES) == 0


def test_mean_precision_is_the_one_worked_out_by_hand() -> None:
    pytest.importorskip("pycocotools")
    truth = {"a": boxes([SQUARE], [1], ["person"]), "b": boxes([SQUARE], [1], ["person"])}
    found = {
        "a": boxes([SQUARE, FAR], [0.9, 0.8], ["person", "person"]),
        "b": boxes([SQUARE, SQUARE], [0.7, 0.99], ["person", "cat"]),
    }
    # Recall 0.5 at precision 1, then recall 1 at precision 2/3: 51 of COCO's 101 points at 1, 50 at 2/3.
    expected = (51 + 50 * 2 / 3) / 101
    figures = mean_precision(found, truth)
    assert figures.ap50 == pytest.approx(expected)
    assert figures.ap == pytest.approx(expected)


def test_mean_precision_falls_with_the_fit_of_boxes_and_is_a_mean_over_classes() -> None:
    pytest.importorskip("pycocotools")
    truth = {"a": boxes([SQUARE, FAR], [1, 1], ["person", "dog"])}
    loose = {"a": boxes([[0.0, 0.0, 10.0, 7.2]], [0.9], ["person"])}  # 0.72: right at 5 of the 10 thresholds
    figures = mean_precision(loose, truth)
    assert (figures.ap50, figures.ap) == (pytest.approx(0.5), pytest.approx(0.25))
    assert mean_precision({}, truth).ap50 == 0.0


def test_crowds_are_neither_right_nor_wrong() -> None:
    pytest.importorskip("pycocotools")
    one = boxes([SQUARE, FAR], [1, 1], ["person", "person"])
    truth = {"a": Boxes(one.corners, one.scores, one.classes, np.array([False, True]))}
    found = {"a": boxes([FAR, SQUARE], [0.99, 0.9], ["person", "person"])}
    assert mean_precision(found, truth).ap50 == pytest.approx(1.0)
    assert len(truth["a"].single()) == 1


def test_without_a_label_there_is_no_mean_precision() -> None:
    pytest.importorskip("pycocotools")
    assert np.isnan(mean_precision({"a": boxes([SQUARE], [1], ["cat"])}, {"a": NO_BOXES}).ap50)


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
    found = labels.of([Path("dark/a.jpg")], 100, 100)
    assert found is not None
    assert found.classes == ("dog", "person")
    assert found.corners.tolist() == [[10, 20, 40, 60], [0, 0, 5, 5]]
    assert found.single().classes == ("dog",)
    empty = labels.of([Path("nowhere.jpg"), Path("b.jpg")], 100, 100)
    assert empty is not None
    assert len(empty) == 0
    assert labels.of([Path("c.jpg")], 100, 100) is None


def test_labels_that_the_detector_does_not_know_are_said_first(tmp_path: Path) -> None:
    pytest.importorskip("pycocotools")
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
def test_damaged_labels_are_an_error(changes: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="COCO's format"):
        read_labels(coco(tmp_path / "labels.json", **changes))


def test_labels_of_yolo(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("0 0.5 0.5 0.2 0.4\n\n1 0.1 0.1 0.3 0.1 0.3 0.6\n7 0.5 0.5 1 1\n")
    (tmp_path / "classes.txt").write_text("person\ndog\n")
    found = read_labels(tmp_path).of([Path("a.png")], 100, 200)
    assert found is not None
    assert found.classes == ("person", "dog", "7")
    assert found.corners == pytest.approx(np.array([[40, 60, 60, 140], [10, 20, 30, 120], [0, 0, 100, 200]]))
    named = read_labels(tmp_path, ["car", "bus"]).of([Path("a.png")], 100, 200)
    assert named is not None
    assert named.classes[:2] == ("car", "bus")


@pytest.mark.parametrize("text", ["0 0.5 0.5 0.2", "person 0.5 0.5 0.2 0.2", "0 0.5 nan 0.2 0.2", "0"])
def test_damaged_lines_are_an_error(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(text)
    with pytest.raises(DataError, match=r"a\.txt holds no labels"):
        read_labels(tmp_path).of([Path("a.png")], 10, 10)


def test_pictures_are_searched_at_one_size() -> None:
    small, scale = searched(np.zeros((240, 320, 3), np.uint8))
    assert small.shape == (480, 640, 3)
    assert scale == pytest.approx(0.5)
    assert searched(np.zeros((960, 500, 3), np.uint8))[0].shape == (922, 480, 3)
    assert searched(np.zeros((2, 4000, 3), np.uint8))[0].shape == (2, 4096, 3)


@pytest.mark.parametrize("size", [(1, 1), (2, 900), (900, 2), (31, 40)])
def test_pictures_that_are_too_small_are_no_error(size: tuple[int, int]) -> None:
    picture = np.random.default_rng(0).integers(0, 255, (*size, 3), np.uint8)
    for detector in (People(), Faces()):
        assert len(detector(picture)) < 20
    for kind in ("orb", "sift"):
        assert len(Keypoints(kind).features(picture).points) == 0


def test_a_face_is_found_where_it_is_at_any_size() -> None:
    data = pytest.importorskip("skimage.data")
    astronaut = data.astronaut()
    truth = boxes([[174.0, 70.0, 274.0, 170.0]], [1.0], ["face"])
    detector = Faces()
    assert correct(detector(astronaut), truth) == 1
    half = cv2.resize(astronaut, (256, 256), interpolation=cv2.INTER_AREA)
    assert correct(detector(half), Boxes(truth.corners / 2.0, truth.scores, truth.classes)) == 1


def test_nothing_is_found_where_nothing_is() -> None:
    blank = np.full((240, 320, 3), 80, np.uint8)
    assert len(Faces()(blank)) == len(People()(blank)) == 0
    assert cascade_file().is_file()
