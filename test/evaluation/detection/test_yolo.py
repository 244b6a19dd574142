"""ONNX detectors: every layout gives the boxes that were put in; what is not understood is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx")

from onnx import TensorProto
from tiny_detector import nms, v5, v8, write_detector

from lowlight_enhance.core.errors import ConfigError, ModelError
from lowlight_enhance.evaluation.detection.yolo import FLOOR, Yolo, YoloOptions, letterbox, recognised

NAMES = "{0: 'person', 1: 'bicycle', 2: 'car'}"
BOXES = [(20.0, 24.0, 10.0, 16.0, 0.9, 1.0), (48.0, 40.0, 8.0, 8.0, 0.6, 2.0)]
PICTURE = np.zeros((96, 128, 3), np.uint8)
"""Fits a 64x64 input at half its size, below 8 rows of grey."""

EXPECTED = np.array([[30.0, 16.0, 50.0, 48.0], [88.0, 56.0, 104.0, 72.0]])
"""``BOXES`` as corners on ``PICTURE``: twice (x, y - 8)."""


def padded(boxes: list[tuple[float, ...]], count: int) -> list[tuple[float, ...]]:
    return boxes + [(1.0, 1.0, 1.0, 1.0, 0.0, 0.0)] * (count - len(boxes))


OUTPUTS = {
    "v5": v5(padded(BOXES, 3 * 84), 3),
    "v8": v8(padded(BOXES, 84), 3),
    "nms": nms(BOXES, 30),
}
"""A 64x64 input has 8x8 + 4x4 + 2x2 = 84 places."""


@pytest.mark.parametrize("layout", OUTPUTS)
@pytest.mark.parametrize("names", [NAMES, None])
def test_every_layout_is_recognised_and_gives_its_boxes(layout: str, names: str | None, tmp_path: Path) -> None:
    detector = Yolo(write_detector(tmp_path / "a.onnx", OUTPUTS[layout], names))
    found = detector(PICTURE)
    assert detector.layout == layout
    assert found.corners == pytest.approx(EXPECTED)
    assert found.scores == pytest.approx([0.9, 0.6])
    assert found.classes == (("bicycle", "car") if names else ("1", "2"))


def test_objectness_counts(tmp_path: Path) -> None:
    output = v5(padded(BOXES, 3 * 84), 3, objectness=0.5)
    found = Yolo(write_detector(tmp_path / "a.onnx", output, NAMES))(PICTURE)
    assert found.scores == pytest.approx([0.45, 0.3])


def test_one_class_of_v5_is_not_taken_for_suppressed_boxes(tmp_path: Path) -> None:
    output = v5(padded([(*BOXES[0][:5], 0.0)], 3 * 84), 1)
    assert output.shape[2] == 6
    detector = Yolo(write_detector(tmp_path / "a.onnx", output, "['person']"))
    assert detector.layout == "v5"
    assert detector(PICTURE).classes == ("person",)


def test_half_precision_and_an_input_of_any_size(tmp_path: Path) -> None:
    path = write_detector(
        tmp_path / "a.onnx", OUTPUTS["v8"], NAMES, ("h", "w"), element=TensorProto.FLOAT16, batch="n"
    )
    found = Yolo(path, YoloOptions(size=64))(PICTURE)
    assert found.corners == pytest.approx(EXPECTED, abs=0.1)


def test_boxes_over_each_other_are_suppressed_within_their_class(tmp_path: Path) -> None:
    x, y, width, height, score, number = BOXES[0]
    boxes = [BOXES[0], (x + 1, y, width, height, score - 0.1, number), (x + 1, y, width, height, 0.3, 2.0)]
    path = write_detector(tmp_path / "a.onnx", v8(padded(boxes, 84), 3), NAMES)
    assert Yolo(path)(PICTURE).classes == ("bicycle", "car")
    assert len(Yolo(path, YoloOptions(suppress=0.95))(PICTURE)) == 3


def test_boxes_end_at_the_picture_and_unsure_ones_are_left_out(tmp_path: Path) -> None:
    boxes = [(0.0, 8.0, 40.0, 40.0, 0.5, 0.0), (30.0, 30.0, 5.0, 5.0, FLOOR / 2, 0.0)]
    found = Yolo(write_detector(tmp_path / "a.onnx", v8(padded(boxes, 84), 3), NAMES))(PICTURE)
    assert found.corners.tolist() == [[0.0, 0.0, 40.0, 40.0]]


def test_values_that_are_no_numbers_are_left_out(tmp_path: Path) -> None:
    output = nms(BOXES, 30)
    output[0, 0, 2], output[0, 1, 5] = np.nan, np.inf
    found = Yolo(write_detector(tmp_path / "a.onnx", output, NAMES))(PICTURE)
    assert found.classes == ("-1",)


def test_letterbox_centres_on_grey() -> None:
    fitted, scale, left, top = letterbox(np.full((50, 100, 3), 200, np.uint8), 64, 80)
    assert (scale, left, top) == (0.8, 0, 12)
    assert (fitted[:12] == 114).all()
    assert (fitted[12:52] == 200).all()
    assert (fitted[52:] == 114).all()


def test_shapes_of_common_exports() -> None:
    def of(*shape: int, classes: int = 0) -> str:
        return recognised((1, *shape), classes, (640, 640), Path("a.onnx"))

    assert [of(25200, 85), of(25200, 85, classes=80), of(25200, 6), of(25200, 7)] == ["v5"] * 4
    assert [of(84, 8400), of(84, 8400, classes=80), of(5, 8400), of(6, 8400, classes=2)] == ["v8"] * 4
    assert [of(300, 6), of(300, 6, classes=80), of(300, 6, classes=1)] == ["nms"] * 3


@pytest.mark.parametrize(("shape", "classes"), [((300, 84), 80), ((84, 8400), 20), ((4, 8400), 0)])
def test_a_shape_that_fits_nothing_is_said(shape: tuple[int, int], classes: int) -> None:
    with pytest.raises(ModelError, match="--layout"):
        recognised((1, *shape), classes, (640, 640), Path("a.onnx"))


def test_a_layout_may_be_given(tmp_path: Path) -> None:
    path = write_detector(tmp_path / "a.onnx", v8(BOXES, 3))  # (1, 7, 2): looks like v5 with two classes
    assert Yolo(path, YoloOptions("v8"))(PICTURE).corners == pytest.approx(EXPECTED)
    with pytest.raises(ModelError, match="not of layout nms"):
        Yolo(path, YoloOptions("nms"))


def test_classes_may_be_given_and_must_fit(tmp_path: Path) -> None:
    path = write_detector(tmp_path / "a.onnx", OUTPUTS["v8"], NAMES)
    assert Yolo(path, YoloOptions(classes=("a", "b", "c")))(PICTURE).classes == ("b", "c")
    with pytest.raises(ModelError, match="--classes"):
        Yolo(path, YoloOptions(classes=("a", "b")))


def test_files_that_are_no_detector_are_refused(tmp_path: Path) -> None:
    picture = write_detector(tmp_path / "a.onnx", np.zeros((1, 3, 64, 64)))
    with pytest.raises(ModelError, match="boxes are expected"):
        Yolo(picture)
    with pytest.raises(ModelError, match="one picture"):
        Yolo(write_detector(tmp_path / "b.onnx", OUTPUTS["v8"], batch=4))
    with pytest.raises(ModelError, match="lists no classes"):
        Yolo(write_detector(tmp_path / "c.onnx", OUTPUTS["v8"], "__import__('os')"))
    with pytest.raises(ConfigError, match="--detector-size"):
        Yolo(write_detector(tmp_path / "d.onnx", OUTPUTS["v8"], NAMES), YoloOptions(size=320))


def test_a_file_with_foreign_operators_is_not_opened(tmp_path: Path) -> None:
    path = write_detector(tmp_path / "a.onnx", OUTPUTS["v8"], domain="TRT")
    with pytest.raises(ModelError, match=r"domain 'TRT'.*export the detector anew"):
        Yolo(path)
