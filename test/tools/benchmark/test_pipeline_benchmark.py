"""`lowlight bench`: every stage is timed on the path that the node takes, and the figures add up."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny_model import write_tiny_model

from lowlight_enhance.core.enhancement.enhancer import Enhancer
from lowlight_enhance.core.errors import ConfigError
from lowlight_enhance.core.imaging.messages import rgb_from_message
from lowlight_enhance.simulation.low_light import dark_frame
from lowlight_enhance.tools.benchmark import pipeline_benchmark


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> pipeline_benchmark.Bench:
    model = write_tiny_model(tmp_path_factory.mktemp("model") / "tiny.onnx")
    return pipeline_benchmark.run([(64, 48), (96, 32)], rounds=2, threads=1, model=model)


def test_every_stage_has_a_figure_for_every_size(result: pipeline_benchmark.Bench) -> None:
    assert [(size.width, size.height) for size in result.sizes] == [(64, 48), (96, 32)]
    for size in result.sizes:
        assert set(size.stages_ms) == set(pipeline_benchmark.STAGES)
        assert len(size.others_ms) == 3
        assert size.ways_ms.keys() == set(pipeline_benchmark.OTHER_WAYS)
        assert (
            min(
                *size.stages_ms.values(),
                *size.others_ms.values(),
                *size.ways_ms.values(),
                size.total_ms,
                size.bare_inference_ms,
            )
            > 0.0
        )
        assert size.ratio == size.total_ms / size.bare_inference_ms
        assert size.frames_per_s == 1000.0 / size.total_ms
    assert result.sizes[0].tensor == (1, 5, 64, 64)
    assert (result.model, result.threads, result.rounds) == ("tiny.onnx", 1, 2)


def test_the_table_shows_what_was_measured(result: pipeline_benchmark.Bench) -> None:
    lines = {line.rsplit(maxsplit=2)[0].strip(): line.split()[-2:] for line in result.table().splitlines()[2:]}
    for stage in pipeline_benchmark.STAGES:
        assert lines[stage] == [f"{size.stages_ms[stage]:.2f}" for size in result.sizes]
    assert lines["total"] == [f"{size.total_ms:.2f}" for size in result.sizes]
    assert lines["total / bare inference"] == [f"{size.ratio:.2f}" for size in result.sizes]
    assert lines["frames per second"] == [f"{size.frames_per_s:.1f}" for size in result.sizes]
    assert lines["network input"] == ["64x64", "96x32"]


def test_the_json_file_holds_the_same(result: pipeline_benchmark.Bench, tmp_path: Path) -> None:
    pipeline_benchmark.write_json(result, tmp_path / "bench.json")
    values = json.loads((tmp_path / "bench.json").read_text())
    assert values["sha256"] == result.sha256
    assert [size["total_ms"] for size in values["sizes"]] == [size.total_ms for size in result.sizes]
    assert [size["ratio"] for size in values["sizes"]] == [size.ratio for size in result.sizes]


def test_every_call_is_counted_once_a_round(tmp_path: Path) -> None:
    subject = pipeline_benchmark._Subject(Enhancer(write_tiny_model(tmp_path / "tiny.onnx"), threads=1), 64, 48)
    assert not subject.times_ns
    for slow in (True, False, False):
        subject.round(slow)
    slow_names = set(pipeline_benchmark.SLOW_OTHERS)
    assert {len(times) for name, times in subject.times_ns.items() if name not in slow_names} == {3}
    assert {len(subject.times_ns[name]) for name in slow_names} == {1}


def test_the_opencv_threads_are_given_back() -> None:
    before = cv2.getNumThreads()
    with pipeline_benchmark._opencv_threads(before + 1):
        assert cv2.getNumThreads() == before + 1
    assert cv2.getNumThreads() == before


def test_the_benchmark_frame_is_a_dark_message() -> None:
    frame = dark_frame(96, 64, pipeline_benchmark.CAPTURE)
    assert frame.shape == (64, 96, 3)
    assert frame.mean() < 64.0
    np.testing.assert_array_equal(rgb_from_message(pipeline_benchmark.image_message(frame)), frame[:, :, ::-1])


@pytest.mark.parametrize(
    ("sizes", "rounds", "threads"), [([], 1, 1), ([(64, 48)], 0, 1), ([(64, 48)], 1, 0), ([(64, 15)], 1, 1)]
)
def test_nothing_to_measure(sizes: list[tuple[int, int]], rounds: int, threads: int) -> None:
    with pytest.raises(ConfigError, match="give at least"):
        pipeline_benchmark.run(sizes, rounds, threads, Path("none.onnx"))


def test_another_runtime_is_measured_against_onnx_runtime(tmp_path: Path) -> None:
    pytest.importorskip("openvino", reason="OpenVINO is not installed (pip install openvino)")
    model = write_tiny_model(tmp_path / "tiny.onnx")
    result = pipeline_benchmark.run([(64, 48)], rounds=2, threads=1, model=model, runtime="openvino")
    (size,) = result.sizes
    assert size.onnxruntime_ms is not None
    assert size.speed_up == size.onnxruntime_ms / size.bare_inference_ms
    rows = dict(line.rsplit(maxsplit=1) for line in result.table().splitlines()[2:])
    assert rows["onnxruntime / this runtime"] == f"{size.speed_up:.2f}"
    assert result.providers == ("OpenVINO CPU",)
    assert result.runtime.startswith("openvino 2")


def test_onnx_runtime_is_not_measured_against_itself(result: pipeline_benchmark.Bench) -> None:
    assert [size.speed_up for size in result.sizes] == [None, None]
    assert "this runtime" not in result.table()
