"""`lowlight bench --node`: figures of known rounds, limits, warnings, and one run with real processes."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_model import write_tiny_model

from lowlight_enhance.core.errors import ConfigError, ModelError
from lowlight_enhance.tools.benchmark import node_benchmark
from lowlight_enhance.tools.benchmark.node_report import Limit, NodeBenchmark, Round, SizeResult, summarize

QUIET = Round(
    sent=101,
    latencies_ms=tuple(float(number) for number in range(20, 121)),
    output_hz=29.9,
    processing_ms=25.0,
    age_ms=80.0,
    node_cpu_ms=34.0,
    reference_ms=(18.0, 20.0, 22.0),
    reference_cpu_ms=30.0,
    other_load=0.02,
)


def bench_of(*sizes: SizeResult) -> NodeBenchmark:
    return NodeBenchmark("m.onnx", "0" * 64, "onnxruntime 1", ("CPUExecutionProvider",), 0, 3, 5.0, "a machine", sizes)


def test_figures_of_one_round() -> None:
    found = summarize(640, 480, 30, [QUIET])
    assert found.received_percent == 100.0
    assert (found.median_ms, found.p99_ms, found.reference_ms) == pytest.approx((70.0, 119.0, 20.0))
    assert (found.median_ratio, found.p99_ratio, found.age_ratio) == pytest.approx((3.5, 5.95, 3.2))
    assert (found.node_cpu_ms, found.reference_cpu_ms, found.overhead_cpu_ms) == (34.0, 30.0, 4.0)
    assert found.output_hz == 29.9
    assert found.warning == ""


def test_one_bad_round_of_three_changes_no_median_but_its_lost_frames_count() -> None:
    bad = replace(QUIET, latencies_ms=(500.0,) * 50, output_hz=3.0, node_cpu_ms=90.0, processing_ms=200.0)
    found = summarize(640, 480, 30, [QUIET, bad, QUIET])
    alone = summarize(640, 480, 30, [QUIET])
    assert replace(found, received_percent=100.0) == alone
    assert found.received_percent == pytest.approx(100.0 * 252 / 303)


def test_ratios_are_taken_within_a_round_so_that_a_slow_machine_cancels_out() -> None:
    def slowed(factor: float) -> Round:
        latencies = tuple(factor * value for value in QUIET.latencies_ms)
        return replace(
            QUIET, latencies_ms=latencies, reference_ms=tuple(factor * value for value in QUIET.reference_ms)
        )

    found = summarize(640, 480, 30, [slowed(factor) for factor in (1.0, 1.0, 3.0, 9.0)])
    assert found.median_ratio == pytest.approx(3.5)
    assert found.median_ms == pytest.approx(140.0)


@pytest.mark.parametrize(
    ("limit", "value", "met"),
    [
        (Limit(99.0, at_least=True), 99.0, True),
        (Limit(99.0, at_least=True), 98.9, False),
        (Limit(1.6), 1.59, True),
        (Limit(1.6), 1.6, False),
        (Limit(1.6), math.nan, False),
        (Limit(18.0, at_least=True), math.nan, False),
    ],
)
def test_limits(limit: Limit, value: float, met: bool) -> None:
    assert limit.verdict(value) == ("met" if met else "NOT MET")


def test_the_table_shows_each_limit_and_verdict() -> None:
    table = bench_of(summarize(640, 480, 30, [QUIET]), summarize(1280, 720, 30, [QUIET])).table()
    vga, hd = table.split("\n\n")[1:]
    assert "100.0 %  at least 99 %   met" in vga
    assert "3.50  under 1.6       NOT MET" in vga
    assert "5.95  under 3         NOT MET" in vga
    assert "4.0 ms  under 5 ms      met" in vga
    assert "29.9  at least 18     met" in hd
    assert "3.20  under 2         NOT MET" in hd
    assert sum(line.lower().endswith(" met") for line in vga.splitlines()) == 4
    assert sum(line.lower().endswith(" met") for line in hd.splitlines()) == 2


@pytest.mark.parametrize(("width", "height", "rate_hz"), [(640, 480, 15), (320, 240, 30)])
def test_other_sizes_and_rates_have_no_limits(width: int, height: int, rate_hz: int) -> None:
    found = summarize(width, height, rate_hz, [QUIET])
    assert found.verdicts() == {}
    assert "met" not in found.table().lower()


def test_a_round_without_frames_meets_no_limit() -> None:
    silent = replace(QUIET, latencies_ms=(), output_hz=math.nan, node_cpu_ms=math.nan)
    found = summarize(640, 480, 30, [silent])
    assert set(found.verdicts().values()) == {"NOT MET"}
    assert "nan" in found.table()


def test_a_busy_machine_gives_a_warning() -> None:
    found = summarize(640, 480, 30, [QUIET, replace(QUIET, other_load=0.6), replace(QUIET, other_load=0.7)])
    assert found.warning == "other processes used 60 % of the machine"
    assert "NOT RELIABLE: other processes used 60 %" in found.table()


def test_an_uneven_machine_gives_a_warning() -> None:
    uneven = replace(QUIET, reference_ms=(30.0,))
    assert (
        summarize(640, 480, 30, [QUIET, uneven]).warning
        == "the pipeline took 20.0 ms in one round and 30.0 ms in another"
    )
    assert summarize(640, 480, 30, [QUIET, replace(QUIET, reference_ms=(23.0,))]).warning == ""


def test_json_contains_values_limits_and_verdicts() -> None:
    result = bench_of(summarize(640, 480, 30, [QUIET]))
    (size,) = json.loads(result.to_json())["sizes"]
    assert size["median_ratio"] == pytest.approx(3.5)
    assert size["limits"]["median_ratio"] == {"bound": 1.6, "at_least": False}
    assert size["verdicts"] == result.sizes[0].verdicts()


# Real processes


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"sizes": []}, "give at least one"),
        ({"sizes": [(64, 8)]}, "64x8"),
        ({"rounds": 0}, "--rounds 0"),
        ({"rate_hz": 0}, "--hz 0"),
        ({"seconds": math.inf}, "--seconds inf"),
        ({"seconds": 0.1}, "--seconds 0.1"),
    ],
)
def test_values_out_of_range_are_rejected(changes: dict[str, object], named: str) -> None:
    values = {"sizes": [(64, 48)], "rate_hz": 30, "seconds": 1.0, "rounds": 1}
    with pytest.raises(ConfigError, match=named):
        node_benchmark.NodeBenchmarkSettings(**{**values, **changes})  # type: ignore[arg-type]


def test_a_missing_model_is_reported_before_any_process_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("rclpy")
    monkeypatch.setattr(node_benchmark, "NodeHarness", None)
    with pytest.raises(ModelError, match=r"none\.onnx"):
        node_benchmark.benchmark_node(node_benchmark.NodeBenchmarkSettings(model=tmp_path / "none.onnx"))


def test_one_run_with_real_processes(tmp_path: Path) -> None:
    pytest.importorskip("rclpy")
    model = write_tiny_model(tmp_path / "tiny.onnx")
    output: list[str] = []
    settings = node_benchmark.NodeBenchmarkSettings([(64, 48)], 20, seconds=0.5, rounds=2, threads=1, model=model)
    result = node_benchmark.benchmark_node(settings, output.append)
    (size,) = result.sizes
    assert size.received_percent >= 50.0  # all of them, unless the machine is very busy
    assert size.p99_ms >= size.median_ms > 0.0
    assert size.median_ms > size.reference_ms > 0.0
    assert size.node_cpu_ms > size.reference_cpu_ms > 0.0
    assert 0.0 < size.processing_ms < size.age_ms
    assert output[-1] == "64x48, round 2 of 2"
    assert result.threads == 1
    assert "tiny.onnx" in result.table()
