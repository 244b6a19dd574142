"""ONNX detectors: every layout returns the boxes that the file contains; other files are rejected with a reason."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx")

from onnx import TensorProto
from tiny_detector import Box, nms, rtdetr, v5, v8, write_detector, yolox

from lowlight_enhance.core.errors import ConfigError, ModelError
from lowlight_enhance.evaluation.detection.layouts import INPUT_FORMATS, InputFormat, recognise_layout
from lowlight_enhance.evaluation.detection.onnx_detector import MIN_SCORE, DetectorOptions, OnnxDetector, fit_image

NAMES = "{0: 'person', 1: 'bicycle', 2: 'car'}"
BOXES: list[Box] = [(20.0, 24.0, 10.0, 16.0, 0.9, 1.0), (48.0, 40.0, 8.0, 8.0, 0.6, 2.0)]
IMAGE = np.zeros((96, 128, 3), np.uint8)
"""Fits a 64x64 input at half its size, with 8 rows of padding above and below."""

CENTRED = np.array([[30.0, 16.0, 50.0, 48.0], [88.0, 56.0, 104.0, 72.0]])
"""Corners of ``BOXES`` on ``IMAGE`` where it is centred in the input: twice (x, y - 8)."""

IN_CORNER = CENTRED + np.array([0.0, 16.0, 0.0, 16.0])
"""The same where the image is in the upper left corner."""

STRETCHED = np.array([[30.0, 24.0, 50.0, 48.0], [88.0, 54.0, 104.0, 66.0]])
"""The same where the image is stretched: (2 x, 1.5 y)."""


def padded(boxes: list[Box], count: int) -> list[Box]:
    return boxes + [(1.0, 1.0, 1.0, 1.0, 0.0, 0.0)] * (count - len(boxes))


OUTPUTS = {
    "v5": (v5(padded(BOXES, 3 * 84), 3), CENTRED),
    "v8": (v8(padded(BOXES, 84), 3), CENTRED),
    "nms": (nms(BOXES, 30), CENTRED),
    "yolox": (yolox(BOXES, 3), IN_CORNER),
    "yolox_decoded": (yolox(BOXES, 3, decoded=True), IN_CORNER),
    "rtdetr": (rtdetr(BOXES, 3), STRETCHED),
}
"""Outputs by layout. A 64x64 input has 8x8 + 4x4 + 2x2 = 84 cells."""


@pytest.mark.parametrize("layout", OUTPUTS)
@pytest.mark.parametrize("names", [NAMES, None])
def test_every_layout_is_recognised_and_returns_its_boxes(layout: str, names: str | None, tmp_path: Path) -> None:
    output, expected = OUTPUTS[layout]
    detector = OnnxDetector(write_detector(tmp_path / "a.onnx", output, names))
    found = detector(IMAGE).with_score(0.01)
    assert detector.layout == layout
    assert found.corners == pytest.approx(expected, abs=1e-3)
    assert found.scores == pytest.approx([0.9, 0.6], abs=1e-5)
    assert found.classes == (("bicycle", "car") if names else ("1", "2"))


def test_the_order_of_the_outputs_of_rtdetr_does_not_matter(tmp_path: Path) -> None:
    detector = OnnxDetector(write_detector(tmp_path / "a.onnx", rtdetr(BOXES, 3)[::-1], NAMES))
    assert detector(IMAGE).with_score(0.01).corners == pytest.approx(STRETCHED, abs=1e-3)


def test_rtdetr_with_four_classes_is_not_confused_with_its_boxes(tmp_path: Path) -> None:
    for number, outputs in enumerate((rtdetr(BOXES, 4), rtdetr(BOXES, 4)[::-1])):
        detector = OnnxDetector(write_detector(tmp_path / f"{number}.onnx", outputs))
        assert detector(IMAGE).with_score(0.01).corners == pytest.approx(STRETCHED, abs=1e-3)


def test_yolox_receives_bgr_from_0_to_255_and_the_others_rgb_from_0_to_1() -> None:
    for layout, how in INPUT_FORMATS.items():
        is_yolox = layout.startswith("yolox")
        assert (how.is_bgr, how.scale) == ((True, 255.0) if is_yolox else (False, 1.0))


def test_an_image_becomes_the_tensor_that_its_layout_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fed: list[np.ndarray] = []
    image = np.zeros((64, 64, 3), np.uint8)
    image[..., 0] = 255

    class Recorder:
        def run(self, _names: None, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
            fed.append(inputs["images"].copy())
            return [OUTPUTS["yolox"][0].astype(np.float32)]

    detector = OnnxDetector(write_detector(tmp_path / "a.onnx", OUTPUTS["yolox"][0], NAMES))
    monkeypatch.setattr(detector, "_session", Recorder())
    detector(image)
    assert fed[0][0].mean((1, 2)).tolist() == [0.0, 0.0, 255.0]
    detector.layout = "v5"
    detector(image)
    assert fed[1][0].mean((1, 2)).tolist() == [1.0, 0.0, 0.0]


def test_objectness_multiplies_the_score(tmp_path: Path) -> None:
    output = v5(padded(BOXES, 3 * 84), 3, objectness=0.5)
    found = OnnxDetector(write_detector(tmp_path / "a.onnx", output, NAMES))(IMAGE)
    assert found.scores == pytest.approx([0.45, 0.3])


def test_v5_with_one_class_is_not_recognised_as_nms(tmp_path: Path) -> None:
    output = v5(padded([(*BOXES[0][:5], 0.0)], 3 * 84), 1)
    assert output.shape[2] == 6
    detector = OnnxDetector(write_detector(tmp_path / "a.onnx", output, "['person']"))
    assert detector.layout == "v5"
    assert detector(IMAGE).classes == ("person",)


def test_half_precision_and_a_dynamic_input_size(tmp_path: Path) -> None:
    path = write_detector(
        tmp_path / "a.onnx", OUTPUTS["v8"][0], NAMES, ("h", "w"), element=TensorProto.FLOAT16, batch="n"
    )
    found = OnnxDetector(path, DetectorOptions(size=64))(IMAGE)
    assert found.corners == pytest.approx(CENTRED, abs=0.1)


def test_overlapping_boxes_are_suppressed_within_their_class(tmp_path: Path) -> None:
    x, y, width, height, score, number = BOXES[0]
    boxes = [BOXES[0], (x + 1, y, width, height, score - 0.1, number), (x + 1, y, width, height, 0.3, 2.0)]
    path = write_detector(tmp_path / "a.onnx", v8(padded(boxes, 84), 3), NAMES)
    assert OnnxDetector(path)(IMAGE).classes == ("bicycle", "car")
    assert len(OnnxDetector(path, DetectorOptions(iou=0.95))(IMAGE)) == 3


def test_boxes_are_clipped_to_the_image_and_low_scores_are_left_out(tmp_path: Path) -> None:
    boxes = [(0.0, 8.0, 40.0, 40.0, 0.5, 0.0), (30.0, 30.0, 5.0, 5.0, MIN_SCORE / 2, 0.0)]
    found = OnnxDetector(write_detector(tmp_path / "a.onnx", v8(padded(boxes, 84), 3), NAMES))(IMAGE)
    assert found.corners.tolist() == [[0.0, 0.0, 40.0, 40.0]]


def test_boxes_that_are_not_finite_are_left_out(tmp_path: Path) -> None:
    output = nms(BOXES, 30)
    output[0, 0, 2], output[0, 1, 5] = np.nan, np.inf
    found = OnnxDetector(write_detector(tmp_path / "a.onnx", output, NAMES))(IMAGE)
    assert found.classes == ("-1",)


def test_placement_of_the_image_in_the_input() -> None:
    image = np.full((50, 100, 3), 200, np.uint8)
    fitted, scale, offset = fit_image(image, (64, 80), InputFormat("centre"))
    assert (scale, offset) == ((0.8, 0.8), (0, 12))
    assert (fitted[:12] == 114).all()
    assert (fitted[12:52] == 200).all()
    assert (fitted[52:] == 114).all()
    fitted, scale, offset = fit_image(image, (64, 80), InputFormat("corner"))
    assert (scale, offset) == ((0.8, 0.8), (0, 0))
    assert (fitted[:40] == 200).all()
    assert (fitted[40:] == 114).all()
    fitted, scale, offset = fit_image(image, (64, 80), InputFormat("stretch"))
    assert (scale, offset) == ((0.8, 1.28), (0, 0))
    assert (fitted == 200).all()


def test_shapes_of_common_exports() -> None:
    def recognised(*shape: int, classes: int = 0) -> str:
        return recognise_layout([np.zeros((1, *shape), np.float32)], classes, (640, 640), Path("a.onnx"))

    assert [recognised(25200, 85), recognised(25200, 85, classes=80), recognised(25200, 6)] == ["v5"] * 3
    assert [recognised(84, 8400), recognised(84, 8400, classes=80), recognised(5, 8400)] == ["v8"] * 3
    assert [recognised(300, 6), recognised(300, 6, classes=80), recognised(300, 6, classes=1)] == ["nms"] * 3
    assert [recognised(8400, 85), recognised(8400, 85, classes=80), recognised(8400, 6, classes=1)] == ["yolox"] * 3


@pytest.mark.parametrize(
    ("shapes", "classes"),
    [
        ([(1, 300, 84)], 80),
        ([(1, 84, 8400)], 20),
        ([(1, 4, 8400)], 0),
        ([(1, 255, 80, 80), (1, 255, 40, 40), (1, 255, 20, 20)], 80),
        ([(1, 300, 4), (1, 200, 80)], 80),
        ([(1, 1000)], 0),
        ([(8, 84, 8400)], 80),
    ],
)
def test_outputs_of_no_layout_are_rejected(shapes: list[tuple[int, ...]], classes: int) -> None:
    outputs = [np.zeros(shape, np.float32) for shape in shapes]
    with pytest.raises(ModelError, match=r"supported are one output|--layout"):
        recognise_layout(outputs, classes, (640, 640), Path("a.onnx"))


def test_the_layout_option_takes_precedence(tmp_path: Path) -> None:
    path = write_detector(tmp_path / "a.onnx", v8(BOXES, 3))  # (1, 7, 2) also fits v5 with two classes
    assert OnnxDetector(path, DetectorOptions("v8"))(IMAGE).corners == pytest.approx(CENTRED)
    for layout in ("nms", "rtdetr"):
        with pytest.raises(ModelError, match=f"not layout {layout}"):
            OnnxDetector(path, DetectorOptions(layout))
    path = write_detector(tmp_path / "b.onnx", v5(BOXES, 3))
    with pytest.raises(ModelError, match="cells"):
        OnnxDetector(path, DetectorOptions("yolox"))(IMAGE)


def test_class_names_may_be_given_and_must_fit(tmp_path: Path) -> None:
    path = write_detector(tmp_path / "a.onnx", OUTPUTS["v8"][0], NAMES)
    assert OnnxDetector(path, DetectorOptions(classes=("a", "b", "c")))(IMAGE).classes == ("b", "c")
    with pytest.raises(ModelError, match="--classes"):
        OnnxDetector(path, DetectorOptions(classes=("a", "b")))


def test_files_that_are_no_detectors_are_rejected(tmp_path: Path) -> None:
    image = write_detector(tmp_path / "a.onnx", np.zeros((1, 3, 64, 64)))
    with pytest.raises(ModelError, match="supported are one output"):
        OnnxDetector(image)
    with pytest.raises(ModelError, match="one image"):
        OnnxDetector(write_detector(tmp_path / "b.onnx", OUTPUTS["v8"][0], batch=4))
    with pytest.raises(ModelError, match="lists no classes"):
        OnnxDetector(write_detector(tmp_path / "c.onnx", OUTPUTS["v8"][0], "__import__('os')"))
    with pytest.raises(ConfigError, match="--detector-size"):
        OnnxDetector(write_detector(tmp_path / "d.onnx", OUTPUTS["v8"][0], NAMES), DetectorOptions(size=320))


def test_a_file_with_operators_of_other_domains_is_rejected(tmp_path: Path) -> None:
    path = write_detector(tmp_path / "a.onnx", OUTPUTS["v8"][0], domain="TRT")
    with pytest.raises(ModelError, match=r"domain 'TRT'.*export the detector again"):
        OnnxDetector(path)


def write_with_branch(path: Path, domain: str = "") -> Path:
    """Write a v8 detector behind an If whose branches return the same boxes, as exports of PyTorch contain them."""
    import onnx
    from onnx import helper, numpy_helper

    values = numpy_helper.from_array(OUTPUTS["v8"][0].astype(np.float32), "values")
    shape = list(OUTPUTS["v8"][0].shape)

    def branch(name: str) -> onnx.GraphProto:
        output = helper.make_tensor_value_info(f"{name}_out", TensorProto.FLOAT, shape)
        node = helper.make_node("Add", ["values", "zero"], [f"{name}_out"], domain=domain)
        return helper.make_graph([node], name, [], [output])

    nodes = [
        helper.make_node("ReduceMean", ["images"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "nothing"], ["zero"]),
        helper.make_node("Greater", ["mean", "nothing"], ["bright"]),
        helper.make_node("If", ["bright"], ["output0"], then_branch=branch("then"), else_branch=branch("else")),
    ]
    image = helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 64, 64])
    output = helper.make_tensor_value_info("output0", TensorProto.FLOAT, shape)
    constants = [values, numpy_helper.from_array(np.array(0.0, np.float32), "nothing")]
    graph = helper.make_graph(nodes, "branch", [image], [output], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(path))
    return path


def test_a_detector_may_contain_branches_and_they_are_checked_too(tmp_path: Path) -> None:
    found = OnnxDetector(write_with_branch(tmp_path / "a.onnx"), DetectorOptions(classes=("a", "b", "c")))(IMAGE)
    assert found.corners == pytest.approx(CENTRED)
    with pytest.raises(ModelError, match="domain 'TRT'"):
        OnnxDetector(write_with_branch(tmp_path / "b.onnx", domain="TRT"))
