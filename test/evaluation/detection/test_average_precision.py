"""Detection metrics: worked out by hand, compared with pycocotools, and under resampling."""

from __future__ import annotations

import contextlib
import io
import math
from typing import Any

import numpy as np
import pytest

from lowlight_enhance.evaluation.detection.average_precision import DetectionResults, bootstrap_differences
from lowlight_enhance.evaluation.detection.boxes import NO_BOXES, Boxes, make_boxes, overlaps

SQUARE, FAR = [0.0, 0.0, 10.0, 10.0], [50.0, 50.0, 60.0, 60.0]


def metrics(found: list[Boxes], truth: list[Boxes], **options: Any) -> dict[str, float]:
    return DetectionResults(found, truth, 0.25).metrics(**options)


def test_overlap_is_intersection_over_union() -> None:
    a = np.array([SQUARE])
    b = np.array([SQUARE, [5.0, 0.0, 15.0, 10.0], FAR, [3.0, 3.0, 3.0, 3.0]])
    assert overlaps(a, b)[0] == pytest.approx([1.0, 1 / 3, 0.0, 0.0])


def test_mean_precision_worked_out_by_hand() -> None:
    truth = [make_boxes([SQUARE], [1], ["person"])] * 2
    found = [
        make_boxes([SQUARE, FAR], [0.9, 0.8], ["person", "person"]),
        make_boxes([SQUARE, SQUARE], [0.7, 0.99], ["person", "cat"]),
    ]
    # Recall 0.5 at precision 1, then recall 1 at precision 2/3: 51 of COCO's 101 points at 1, 50 at 2/3.
    expected = (51 + 50 * 2 / 3) / 101
    values = metrics(found, truth)
    assert (values["mAP50"], values["mAP"]) == (pytest.approx(expected), pytest.approx(expected))
    assert values["recall"] == 1.0
    assert values["false boxes"] == pytest.approx(1.0)  # the far person and the cat, on two images


def test_mean_precision_falls_with_the_overlap_and_is_a_mean_over_classes() -> None:
    truth = [make_boxes([SQUARE, FAR], [1, 1], ["person", "dog"])]
    loose = [make_boxes([[0.0, 0.0, 10.0, 7.2]], [0.9], ["person"])]  # IoU 0.72: true at 5 of the 10 thresholds
    values = metrics(loose, truth)
    assert (values["mAP50"], values["mAP"]) == (pytest.approx(0.5), pytest.approx(0.25))
    assert metrics([NO_BOXES], truth)["mAP50"] == 0.0


def test_each_label_is_found_once_and_by_its_class() -> None:
    truth = [make_boxes([SQUARE, FAR], [1, 1], ["person", "dog"])]
    twice = [make_boxes([SQUARE, SQUARE], [0.9, 0.8], ["person", "person"])]
    assert (metrics(twice, truth)["recall"], metrics(twice, truth)["false boxes"]) == (0.5, 1.0)
    wrong = [make_boxes([FAR], [0.9], ["person"])]
    assert (metrics(wrong, truth)["recall"], metrics(wrong, truth)["false boxes"]) == (0.0, 1.0)


def test_recall_and_false_boxes_count_boxes_of_the_confidence_alone() -> None:
    truth = [make_boxes([SQUARE], [1], ["person"])]
    values = metrics([make_boxes([SQUARE, FAR], [0.2, 0.1], ["person", "person"])], truth)
    assert (values["recall"], values["false boxes"]) == (0.0, 0.0)
    assert values["mAP50"] == 1.0


def test_recall_by_object_size() -> None:
    sizes = {"small": 20.0, "medium": 50.0, "large": 120.0}
    corners = [[0.0, 0.0, side, side] for side in sizes.values()]
    truth = [make_boxes([box], [1], ["person"]) for box in corners]
    found = [NO_BOXES, *truth[1:]]
    values = metrics(found, truth)
    assert [values[f"recall {name}"] for name in sizes] == [0.0, 1.0, 1.0]
    assert math.isnan(metrics(found[:1], truth[:1])["recall large"])


def test_crowds_count_neither_as_true_nor_as_false() -> None:
    one = make_boxes([SQUARE, FAR], [1, 1], ["person", "person"])
    truth = [Boxes(one.corners, one.scores, one.classes, np.array([False, True]))]
    found = [make_boxes([FAR, [52.0, 52.0, 58.0, 58.0], SQUARE], [0.99, 0.95, 0.9], ["person"] * 3)]
    values = metrics(found, truth)
    assert (values["mAP50"], values["recall"], values["false boxes"]) == (1.0, 1.0, 0.0)


def test_without_labels_there_is_no_mean_precision() -> None:
    values = metrics([make_boxes([SQUARE], [1], ["cat"])], [NO_BOXES])
    assert math.isnan(values["mAP50"])
    assert math.isnan(values["recall"])
    assert values["false boxes"] == 1.0


def random_images(seed: int, images: int = 12) -> tuple[list[Boxes], list[Boxes]]:
    """Labels, some of them crowds, and noisy detections of three classes with equal scores now and then."""
    rng = np.random.default_rng(seed)
    found, truth = [], []
    for _ in range(images):
        count = int(rng.integers(0, 6))
        start = rng.uniform(0, 80, (count, 2))
        corners = np.concatenate([start, start + rng.uniform(5, 120, (count, 2))], 1)
        names = [str(rng.choice(["a", "b", "c"])) for _ in range(count)]
        truth.append(Boxes(corners, np.ones(count), tuple(names), rng.random(count) < 0.2))
        repeats = np.repeat(np.arange(count), 3)
        moved = corners[repeats] + rng.normal(0, 4, (len(repeats), 4))
        moved[:, 2:] = np.maximum(moved[:, 2:], moved[:, :2] + 1)
        classes = [names[i] if rng.random() < 0.8 else "b" for i in repeats]
        found.append(Boxes(moved, rng.integers(1, 40, len(repeats)) / 40, tuple(classes)))
    return found, truth


def coco_mean_precision(found: list[Boxes], truth: list[Boxes]) -> tuple[float, float]:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    numbers = {"a": 1, "b": 2, "c": 3}
    sides = []
    with contextlib.redirect_stdout(io.StringIO()):
        for images in (truth, found):
            side, entries = COCO(), []
            for image, boxes in enumerate(images):
                for corners, score, name, crowd in zip(
                    boxes.corners, boxes.scores, boxes.classes, boxes.is_crowd, strict=True
                ):
                    left, top, right, bottom = map(float, corners)
                    box = [left, top, right - left, bottom - top]
                    entry = {"bbox": box, "area": box[2] * box[3], "score": float(score), "iscrowd": int(crowd)}
                    entries.append(
                        entry | {"id": len(entries) + 1, "image_id": image, "category_id": numbers[name], "ignore": 0}
                    )
            categories = [{"id": number, "name": name} for name, number in numbers.items()]
            side.dataset = {
                "images": [{"id": image} for image in range(len(images))],
                "categories": categories,
                "annotations": entries,
            }
            side.createIndex()
            sides.append(side)
        evaluation = COCOeval(*sides, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][..., 0, -1]
    known = [p[p > -1].mean() for p in (precision[0], precision)]
    return float(known[0]), float(known[1])


@pytest.mark.parametrize("seed", range(6))
def test_mean_precision_equals_that_of_pycocotools(seed: int) -> None:
    pytest.importorskip("pycocotools")
    found, truth = random_images(seed)
    values = metrics(found, truth)
    assert (values["mAP50"], values["mAP"]) == pytest.approx(coco_mean_precision(found, truth), abs=1e-6)


def test_a_weight_of_two_equals_an_image_that_appears_twice() -> None:
    found, truth = random_images(1)
    weights = np.ones(len(truth))
    weights[3], weights[5] = 2.0, 0.0
    chosen = [index for index, weight in enumerate(weights) for _ in range(int(weight))]
    # Equal scores are in another order, which mean precision may depend on: make all scores different.
    found = [Boxes(b.corners, b.scores + np.arange(len(b)) * 1e-4 + n * 1e-6, b.classes) for n, b in enumerate(found)]
    expected = metrics([found[i] for i in chosen], [truth[i] for i in chosen])
    weighted = metrics(found, truth, weights=weights)
    assert weighted["mAP50"] == pytest.approx(expected["mAP50"], abs=0.01)
    for name in ("recall", "recall small", "false boxes"):
        assert weighted[name] == pytest.approx(expected[name])


def test_intervals_of_differences() -> None:
    truth = [make_boxes([SQUARE], [1], ["person"]) for _ in range(30)]
    all_found = DetectionResults(truth, truth, 0.25)
    half_found = DetectionResults([t if n % 2 else NO_BOXES for n, t in enumerate(truth)], truth, 0.25)
    results = {"stream": all_found, "same": all_found, "dark": half_found}
    intervals = bootstrap_differences(results, range(30), "stream")
    assert (intervals["same"].value, intervals["same"].low, intervals["same"].high) == (0.0, 0.0, 0.0)
    assert not intervals["same"].is_certain
    assert intervals["dark"].value == pytest.approx(0.5, abs=0.02)
    assert 0.3 < intervals["dark"].low < 0.5 < intervals["dark"].high < 0.7
    assert intervals["dark"].is_certain
    alone = bootstrap_differences(results, [0] * 30, "stream")["dark"]
    assert math.isnan(alone.low), "one scene has no interval"
    assert str(alone) == f"{alone.value:+.3f}"
