"""`lowlight evaluate --bag`: measurements of a recording, and the files."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rosbags", reason="makes and reads the bags")
pytest.importorskip("skimage", reason="of the extra 'report'")
pytest.importorskip("onnx", reason="the onnx package writes the tests' models")

import bag_maker
from bag_maker import DRIVER_RECORDINGS, FIRST_NS, IMAGE, PERIOD_NS, BagMessage, write_bag
from tiny_model import write_tiny_model

from lowlight_enhance.cli import main
from lowlight_enhance.core.enhancement.enhancer import Enhancer
from lowlight_enhance.core.errors import ConfigError, DataError
from lowlight_enhance.core.inference.model_input import ModelInput
from lowlight_enhance.core.metadata.capture import CaptureMetadata
from lowlight_enhance.core.pipeline import PipelineConfig
from lowlight_enhance.evaluation.bags import BagEvaluationConfig, evaluate_bag, find_evaluated_cameras, total_frames
from lowlight_enhance.evaluation.camera_evaluation import SAMPLES
from lowlight_enhance.evaluation.report.content import Section

REFERENCE, ENHANCED = "/reference/image", "/mine/image_bright"


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that doubles every pixel."""
    folder = tmp_path_factory.mktemp("model")
    return write_tiny_model(folder / "tiny.onnx", model_input=ModelInput(working_size=0))


@pytest.fixture(scope="module")
def doubling(tiny_model: Path) -> Iterator[Enhancer]:
    enhancer = Enhancer(tiny_model, threads=1)
    yield enhancer
    enhancer.close()


def doubled(number: int, topic: str, received_ns: int, **size: int) -> BagMessage:
    """Return the output of the tiny model for a frame, on another topic."""
    message = bag_maker.image(FIRST_NS + number * PERIOD_NS, number, **size)
    message.data = message.data * 2
    return BagMessage(topic, received_ns, IMAGE, message)


def evaluated(path: Path, enhance: Any, **config: Any) -> list[Section]:
    return evaluate_bag(
        path, enhance, BagEvaluationConfig(**{"stream": PipelineConfig(strength=1.0), **config}), lambda frames: None
    )


@pytest.mark.parametrize("style", DRIVER_RECORDINGS)
def test_each_frame_is_measured_with_its_own_metadata(style: str, tmp_path: Path, doubling: Enhancer) -> None:
    made = DRIVER_RECORDINGS[style](frames=5)
    (section,) = evaluated(write_bag(tmp_path / "night", made.sent), doubling)
    assert section.title == made.image
    assert [(f.iso, f.exposure_s) for f in section.frames] == [pytest.approx(capture) for capture in made.captures]
    assert {f.match for f in section.frames} == {"exact"}
    assert [f.time_s for f in section.frames] == pytest.approx([n * PERIOD_NS / 1e9 for n in range(5)])
    for frame in section.frames:
        assert frame.output.mean_luma == pytest.approx(2 * frame.input.mean_luma, rel=0.02)
        assert frame.output_metrics is None
        assert set(frame.latency_ms) == {"decode", "network", "upsample", "temporal", "total"}
        stages = [taken for stage, taken in frame.latency_ms.items() if stage != "total"]
        assert sum(stages) == pytest.approx(frame.latency_ms["total"])
    assert len(section.samples) == len(made.captures)


def test_flicker_measures_the_change_between_frames(tmp_path: Path, doubling: Enhancer) -> None:
    """Three equal frames, then a different one."""
    sent = []
    for number, seed in enumerate((1, 1, 1, 2)):
        ns = FIRST_NS + number * PERIOD_NS
        sent.append(BagMessage("/image_raw", ns, IMAGE, bag_maker.image(ns, seed)))
    (section,) = evaluated(write_bag(tmp_path / "night", sent), doubling)
    flicker = [frame.flicker for frame in section.frames]
    assert flicker[0] is None
    assert flicker[1:3] == pytest.approx([0.0, 0.0], abs=1e-6)
    assert flicker[3] is not None
    assert flicker[3] > 1.0
    assert section.frames[3].flicker_input == pytest.approx(flicker[3], rel=0.1)


def test_the_number_of_frames_can_be_limited(tmp_path: Path, doubling: Enhancer) -> None:
    path = write_bag(tmp_path / "night", DRIVER_RECORDINGS["realsense"](frames=20).sent)
    progress: list[int] = []
    config = BagEvaluationConfig(every=3, max_frames=5)
    (section,) = evaluate_bag(path, doubling, config, progress.append)
    assert [round((f.time_s or 0) * 30) for f in section.frames] == [0, 3, 6, 9, 12]
    assert sum(progress) == total_frames(find_evaluated_cameras(path, config), config) == 5
    assert "one frame in 3" in " ".join(section.notes)
    (section,) = evaluated(path, doubling)
    assert SAMPLES <= len(section.samples) <= SAMPLES + 1


def test_references_are_found_by_stamp_anywhere_in_the_bag(tmp_path: Path, doubling: Enhancer) -> None:
    made = DRIVER_RECORDINGS["realsense"](frames=4)
    late_references = [doubled(n, REFERENCE, FIRST_NS + (100 - n) * PERIOD_NS) for n in range(3)]
    path = write_bag(tmp_path / "night", made.sent + late_references)
    (section,) = evaluated(path, doubling, reference_topic=REFERENCE)
    assert section.title == made.image
    for frame in section.frames[:3]:
        assert frame.input_metrics is not None
        assert frame.output_metrics is not None
        assert frame.output_metrics.psnr_db > 40.0 > frame.input_metrics.psnr_db
        assert frame.output_metrics.ssim > 0.99
    assert section.frames[3].output_metrics is None
    assert "frames without a reference of their stamp: 1" in section.notes
    assert [sample.reference is not None for sample in section.samples] == [True, True, True, False]


@pytest.mark.parametrize("storage", ["sqlite3", "mcap"])
def test_already_enhanced_frames_need_no_model(storage: str, tmp_path: Path) -> None:
    made = DRIVER_RECORDINGS["realsense"](frames=3)
    enhanced = [doubled(n, ENHANCED, FIRST_NS + n * PERIOD_NS + 2500) for n in range(2)]
    path = write_bag(tmp_path / "night", made.sent + enhanced, storage=storage)
    (section,) = evaluated(path, None, enhanced_topic=ENHANCED)
    assert [f.output.mean_luma / f.input.mean_luma for f in section.frames] == pytest.approx([2.0, 2.0])
    assert [dict(f.latency_ms) for f in section.frames] == [{}, {}]
    assert [f.iso for f in section.frames] == [1600.0, 1600.0]
    assert "frames skipped without an enhanced image of their stamp: 1" in section.notes


def test_references_of_another_size_are_an_error(tmp_path: Path, doubling: Enhancer) -> None:
    sent = [*DRIVER_RECORDINGS["realsense"]().sent, doubled(0, REFERENCE, FIRST_NS, height=12, width=16)]
    path = write_bag(tmp_path / "night", sent)
    with pytest.raises(DataError, match="32x24 and its reference 16x12"):
        evaluated(path, doubling, reference_topic=REFERENCE)


def test_damaged_frames_are_counted_and_left_out(tmp_path: Path, doubling: Enhancer) -> None:
    sent = [
        *DRIVER_RECORDINGS["realsense"]().sent,
        BagMessage("/camera/camera/color/image_raw", FIRST_NS + 2500, IMAGE, b"\0\1\0\0x"),
    ]
    (section,) = evaluated(write_bag(tmp_path / "night", sent), doubling)
    assert len(section.frames) == 4
    assert any("damaged frames skipped: 1" in note for note in section.notes)


def test_a_bag_without_a_readable_frame_is_an_error(tmp_path: Path, doubling: Enhancer) -> None:
    path = write_bag(tmp_path / "night", [BagMessage("/image_raw", FIRST_NS, IMAGE, b"\0\1\0\0x")])
    with pytest.raises(DataError, match="no frame that can be evaluated"):
        evaluated(path, doubling, images=("/image_raw",))


def test_each_camera_has_its_section(tmp_path: Path, doubling: Enhancer) -> None:
    left, right = DRIVER_RECORDINGS["realsense"](namespace="/left"), DRIVER_RECORDINGS["flir"](namespace="/right")
    path = write_bag(tmp_path / "night", [*left.sent, *right.sent, doubled(0, REFERENCE, FIRST_NS)])
    sections = evaluated(path, doubling)
    assert {section.title for section in sections} >= {left.image, right.image}
    with pytest.raises(ConfigError, match="--topic"):
        evaluated(path, doubling, reference_topic=REFERENCE)
    (section,) = evaluated(path, doubling, reference_topic=REFERENCE, images=(left.image,))
    assert section.title == left.image


def test_unknown_topics_are_an_error(tmp_path: Path, doubling: Enhancer) -> None:
    path = write_bag(tmp_path / "night", DRIVER_RECORDINGS["realsense"]().sent)
    with pytest.raises(ConfigError, match="no images on /nowhere; choose one of /camera/camera/color/image_raw"):
        evaluated(path, doubling, reference_topic="/nowhere")
    with pytest.raises(ConfigError, match="1 or more"):
        BagEvaluationConfig(every=0)


def test_bypassed_frames_are_marked(tmp_path: Path, doubling: Enhancer) -> None:
    path = write_bag(tmp_path / "night", DRIVER_RECORDINGS["realsense"]().sent)
    stream = PipelineConfig(bypass_above=1.0, fallback=CaptureMetadata(100.0, None))
    (section,) = evaluated(path, doubling, stream=stream)
    assert all(frame.bypassed for frame in section.frames)
    assert section.frames[0].output == section.frames[0].input


# The command


def test_the_command_needs_neither_torch_nor_ros_and_is_repeatable(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("jinja2", reason="of the extra 'report'")
    pytest.importorskip("plotly", reason="of the extra 'report'")
    pytest.importorskip("markdown_it", reason="of the extra 'report'")
    for name in ("torch", "rclpy", "torchmetrics", "lowlight_enhance.training.evaluate"):
        monkeypatch.setitem(sys.modules, name, None)
    made = DRIVER_RECORDINGS["realsense"]()
    references = [doubled(n, REFERENCE, FIRST_NS + n * PERIOD_NS) for n in range(4)]
    path = write_bag(tmp_path / "night", made.sent + references)
    arguments = ["evaluate", str(tiny_model), "--bag", str(path), "--reference-topic", REFERENCE, "--threads", "1"]
    for folder in ("first", "second"):
        assert main([*arguments, "--out", str(tmp_path / folder)]) == 0
    printed = capsys.readouterr().out
    assert f"{made.image}: 4 frames" in printed
    assert str(tmp_path / "first" / "report.html") in printed
    assert {entry.name for entry in (tmp_path / "first").iterdir()} == {"report.html", "frames.csv", "summary.json"}
    rows = [rows_of(tmp_path / folder / "frames.csv") for folder in ("first", "second")]
    assert rows[0] == rows[1]
    assert [row["iso"] for row in rows[0]] == ["1600.0"] * 4
    assert rows[0][0]["name"] == f"{FIRST_NS // 10**9}.{FIRST_NS % 10**9:09d}"
    (summary,) = json.loads((tmp_path / "first" / "summary.json").read_text())
    assert summary["output"]["PSNR dB"] > summary["input"]["PSNR dB"]
    assert made.image in (tmp_path / "first" / "report.html").read_text(encoding="utf-8")


def rows_of(file: Path) -> list[dict[str, str]]:
    """Rows without the timings."""
    with file.open(newline="") as lines:
        return [{k: v for k, v in row.items() if not k.endswith("_ms")} for row in csv.DictReader(lines)]


def test_without_the_extra_the_message_says_what_to_install(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_bag(tmp_path / "night", DRIVER_RECORDINGS["realsense"]().sent)
    for name in [
        name for name in sys.modules if name.startswith(("jinja2", "lowlight_enhance.evaluation.report.page"))
    ]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "jinja2", None)
    import lowlight_enhance.evaluation.report as package

    monkeypatch.delattr(package, "page", raising=False)
    assert main(["evaluate", str(tiny_model), "--bag", str(path)]) == 2
    assert "pip install 'lowlight_enhance[report]'" in capsys.readouterr().err


def test_several_sources_are_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "--bag", str(tmp_path), "--pairs", str(tmp_path / "pairs.csv")]) == 2
    assert "one of --bag, --pairs and --photos" in capsys.readouterr().err


def test_frames_may_change_their_size(tmp_path: Path, doubling: Enhancer) -> None:
    sent = []
    for number, size in enumerate(({}, {"height": 48, "width": 64}, {})):
        ns = FIRST_NS + number * PERIOD_NS
        sent.append(BagMessage("/image_raw", ns, IMAGE, bag_maker.image(ns, number, **size)))
    (section,) = evaluated(write_bag(tmp_path / "night", sent), doubling)
    assert [frame.flicker for frame in section.frames] == [None, None, None]
    assert np.array_equal([s.input.shape[0] for s in section.samples], [24, 48, 24])
