"""`lowlight bench`: every stage is timed, and the figures are consistent."""

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
from lowlight_enhance.tools.benchmark.pipeline_benchmark import PipelineBenchmarkSettings, benchmark_pipeline
from lowlight_enhance.tools.benchmark.pipeline_report import PipelineBenchmark

STAGES = ["decode", "encode", "inference", "tone preservation", "temporal smoothing", "upsample", "fill message"]


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> PipelineBenchmark:
    model = write_tiny_model(tmp_path_factory.mktemp("model") / "tiny.onnx")
    return benchmark_pipeline(PipelineBenchmarkSettings([(64, 48), (96, 32)], rounds=2, threads=1, model=model))


def test_every_size_has_a_figure_for_every_stage(result: PipelineBenchmark) -> None:
    assert [(size.width, size.height) for size in result.sizes] == [(64, 48), (96, 32)]
    for size in result.sizes:
        assert list(size.stages_ms) == STAGES
        assert len(size.opencv_ms) == 3
        assert size.upsampling_ms.keys() == set(pipeline_benchmark.OTHER_UPSAMPLING)
        assert (
            min(
                *size.stages_ms.values(),
                *size.opencv_ms.values(),
                *size.upsampling_ms.values(),
                size.total_ms,
                size.inference_ms,
            )
            > 0.0
        )
        assert size.ratio == size.total_ms / size.inference_ms
        assert size.frames_per_s == 1000.0 / size.total_ms
    assert result.sizes[0].tensor == (1, 5, 64, 64)
    assert (result.model, result.threads, result.rounds) == ("tiny.onnx", 1, 2)


def test_the_table_shows_what_was_measured(result: PipelineBenchmark) -> None:
    lines = {line.rsplit(maxsplit=2)[0].strip(): line.split()[-2:] for line in result.table().splitlines()[2:]}
    for stage in STAGES:
        assert lines[stage] == [f"{size.stages_ms[stage]:.2f}" for size in result.sizes]
    assert lines["total"] == [f"{size.total_ms:.2f}" for size in result.sizes]
    assert lines["total / inference"] == [f"{size.ratio:.2f}" for size in result.sizes]
    assert lines["frames per second"] == [f"{size.frames_per_s:.1f}" for size in result.sizes]
    assert lines["network input"] == ["64x64", "96x32"]


def test_json_has_the_values_of_the_table(result: PipelineBenchmark) -> None:
    values = json.loads(result.to_json())
    assert values["sha256"] == result.sha256
    assert [size["total_ms"] for size in values["sizes"]] == [size.total_ms for size in result.sizes]
    assert [size["ratio"] for size in values["sizes"]] == [size.ratio for size in result.sizes]


def test_every_call_is_timed_once_per_round(tmp_path: Path) -> None:
    enhancer = Enhancer(write_tiny_model(tmp_path / "tiny.onnx"), threads=1)
    size = pipeline_benchmark._SizeBenchmark(enhancer, 64, 48)
    assert not size.stages.times_ns, "the warm-up is not counted"
    for slow in (True, False, False):
        size.run_round(slow)
    for timer in (size.stages, size.whole, size.upsampling):
        assert {len(times) for times in timer.times_ns.values()} == {3}
    slow_methods = set(pipeline_benchmark.SLOW_OPENCV_METHODS)
    assert {name: len(times) for name, times in size.opencv.times_ns.items()} == {
        name: 1 if name in slow_methods else 3
        for name in pipeline_benchmark.OPENCV_METHODS | dict.fromkeys(slow_methods)
    }


def test_the_number_of_opencv_threads_is_restored() -> None:
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
def test_values_out_of_range_are_rejected(sizes: list[tuple[int, int]], rounds: int, threads: int) -> None:
    with pytest.raises(ConfigError, match="give at least"):
        PipelineBenchmarkSettings(sizes, rounds, threads)


def test_another_runtime_is_compared_with_onnx_runtime(tmp_path: Path) -> None:
    pytest.importorskip("openvino", reason="OpenVINO is not installed (pip install openvino)")
    model = write_tiny_model(tmp_path / "tiny.onnx")
    result = benchmark_pipeline(PipelineBenchmarkSettings([(64, 48)], 2, threads=1, model=model, runtime="openvino"))
    (size,) = result.sizes
    assert size.onnxruntime_ms is not None
    assert size.speed_up == size.onnxruntime_ms / size.inference_ms
    rows = dict(line.rsplit(maxsplit=1) for line in result.table().splitlines()[2:])
    assert rows["onnxruntime / this runtime"] == f"{size.speed_up:.2f}"
    assert result.providers == ("OpenVINO CPU",)
    assert result.runtime.startswith("openvino 2")


def test_onnx_runtime_is_not_compared_with_itself(result: PipelineBenchmark) -> None:
    assert [size.speed_up for size in result.sizes] == [None, None]
    assert "this runtime" not in result.table()
