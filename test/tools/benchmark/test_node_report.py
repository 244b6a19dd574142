"""`lowlight bench --node`: figures of known turns, limits at their edges, and doubt where there is reason to."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_model import write_tiny_model

from lowlight_enhance.core.errors import ConfigError, ModelError
from lowlight_enhance.tools.benchmark import node_benchmark
from lowlight_enhance.tools.benchmark.node_report import Limit, NodeBench, SizeFigures, Turn, figures

QUIET = Turn(
    sent=101,
    latencies_ms=tuple(float(number) for number in range(20, 121)),
    out_hz=29.9,
    processing_ms=25.0,
    age_ms=80.0,
    node_cpu_ms=34.0,
    bare_ms=(18.0, 20.0, 22.0),
    bare_cpu_ms=30.0,
    others=0.02,
)


def bench_of(*sizes: SizeFigures) -> NodeBench:
    return NodeBench("m.onnx", "0" * 64, "onnxruntime 1", ("CPUExecutionProvider",), 0, 3, 5.0, "a machine", sizes)


def test_figures_of_one_turn_are_its_own() -> None:
    found = figures(640, 480, 30, [QUIET])
    assert found.frames_out_percent == 100.0
    assert (found.median_ms, found.p99_ms, found.bare_ms) == pytest.approx((70.0, 119.0, 20.0))
    assert (found.median_ratio, found.p99_ratio, found.age_ratio) == pytest.approx((3.5, 5.95, 3.2))
    assert (found.node_cpu_ms, found.bare_cpu_ms, found.overhead_cpu_ms) == (34.0, 30.0, 4.0)
    assert found.out_hz == 29.9
    assert found.doubt == ""


def test_one_bad_turn_of_three_spoils_no_median_but_its_lost_frames_count() -> None:
    bad = replace(QUIET, latencies_ms=(500.0,) * 50, out_hz=3.0, node_cpu_ms=90.0, processing_ms=200.0)
    found = figures(640, 480, 30, [QUIET, bad, QUIET])
    alone = figures(640, 480, 30, [QUIET])
    assert replace(found, frames_out_percent=100.0) == alone
    assert found.frames_out_percent == pytest.approx(100.0 * 252 / 303)


def test_ratios_are_those_of_a_turn_so_that_a_slow_machine_cancels_out() -> None:
    def slowed(factor: float) -> Turn:
        latencies = tuple(factor * value for value in QUIET.latencies_ms)
        return replace(QUIET, latencies_ms=latencies, bare_ms=tuple(factor * value for value in QUIET.bare_ms))

    found = figures(640, 480, 30, [slowed(factor) for factor in (1.0, 1.0, 3.0, 9.0)])
    assert found.median_ratio == pytest.approx(3.5)
    assert found.median_ms == pytest.approx(140.0)


@pytest.mark.parametrize(
    ("limit", "value", "reached"),
    [
        (Limit(99.0, at_least=True), 99.0, True),
        (Limit(99.0, at_least=True), 98.9, False),
        (Limit(1.6), 1.59, True),
        (Limit(1.6), 1.6, False),
        (Limit(1.6), math.nan, False),
        (Limit(18.0, at_least=True), math.nan, False),
    ],
)
def test_a_limit_is_reached_or_not(limit: Limit, value: float, reached: bool) -> None:
    assert limit.verdict(value) == ("reached" if reached else "NOT REACHED")


def test_the_table_shows_limits_beside_their_values() -> None:
    table = bench_of(figures(640, 480, 30, [QUIET]), figures(1280, 720, 30, [QUIET])).table()
    vga, hd = table.split("\n\n")[1:]
    assert "100.0 %  at least 99 %   reached" in vga
    assert "3.50  under 1.6       NOT REACHED" in vga
    assert "5.95  under 3         NOT REACHED" in vga
    assert "4.0 ms  under 5 ms      reached" in vga
    assert "29.9  at least 18     reached" in hd
    assert "3.20  under 2         NOT REACHED" in hd
    assert vga.lower().count("reached") == 4
    assert hd.lower().count("reached") == 2


@pytest.mark.parametrize(("width", "height", "rate_hz"), [(640, 480, 15), (320, 240, 30)])
def test_other_sizes_and_rates_have_no_limits(width: int, height: int, rate_hz: int) -> None:
    found = figures(width, height, rate_hz, [QUIET])
    assert found.verdicts() == {}
    assert "reached" not in found.table().lower()


def test_nothing_out_is_no_crash_and_reaches_nothing() -> None:
    silent = replace(QUIET, latencies_ms=(), out_hz=math.nan, node_cpu_ms=math.nan)
    found = figures(640, 480, 30, [silent])
    assert set(found.verdicts().values()) == {"NOT REACHED"}
    assert "nan" in found.table()


def test_a_busy_machine_is_doubted() -> None:
    found = figures(640, 480, 30, [QUIET, replace(QUIET, others=0.6), replace(QUIET, others=0.7)])
    assert found.doubt == "other processes took 60 % of the machine"
    assert "TOO BUSY TO JUDGE: other processes took 60 %" in found.table()


def test_an_uneven_machine_is_doubted() -> None:
    uneven = replace(QUIET, bare_ms=(30.0,))
    assert (
        figures(640, 480, 30, [QUIET, uneven]).doubt
        == "the bare pipeline took 20.0 ms in one turn and 30.0 ms in another"
    )
    assert figures(640, 480, 30, [QUIET, replace(QUIET, bare_ms=(23.0,))]).doubt == ""


def test_json_holds_values_limits_and_verdicts(tmp_path: Path) -> None:
    result = bench_of(figures(640, 480, 30, [QUIET]))
    node_benchmark.write_json(result, tmp_path / "bench.json")
    (size,) = json.loads((tmp_path / "bench.json").read_text())["sizes"]
    assert size["median_ratio"] == pytest.approx(3.5)
    assert size["limits"]["median_ratio"] == {"bound": 1.6, "at_least": False}
    assert size["verdicts"] == result.sizes[0].verdicts()


# The real thing


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"sizes": []}, "give at least one"),
        ({"sizes": [(64, 8)]}, "64x8"),
        ({"rounds": 0}, "give at least one"),
        ({"rate_hz": 0}, "--hz 0"),
        ({"seconds": math.inf}, "--seconds inf"),
        ({"seconds": 0.1}, "--seconds 0.1"),
    ],
)
def test_values_that_cannot_work_are_refused(changes: dict[str, object], named: str) -> None:
    values = {"sizes": [(64, 48)], "rate_hz": 30, "seconds": 1.0, "rounds": 1}
    with pytest.raises(ConfigError, match=named):
        node_benchmark.check(**{**values, **changes})  # type: ignore[arg-type]


def test_a_missing_model_is_told_before_any_process_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rclpy")
    monkeypatch.setattr(node_benchmark, "Crew", None)
    with pytest.raises(ModelError, match=r"none\.onnx"):
        node_benchmark.run(model=tmp_path / "none.onnx")


def test_the_real_thing_with_a_tiny_model(tmp_path: Path) -> None:
    pytest.importorskip("rclpy")
    model = write_tiny_model(tmp_path / "tiny.onnx")
    said: list[str] = []
    result = node_benchmark.run([(64, 48)], rate_hz=20, seconds=0.5, rounds=2, threads=1, model=model, say=said.append)
    (size,) = result.sizes
    assert size.frames_out_percent >= 50.0  # all of them, unless the machine is very busy
    assert size.p99_ms >= size.median_ms > 0.0
    assert size.median_ms > size.bare_ms > 0.0
    assert size.node_cpu_ms > size.bare_cpu_ms > 0.0
    assert 0.0 < size.processing_ms < size.age_ms
    assert said[-1] == "64x48, turn 2 of 2"
    assert result.threads == 1
    assert "tiny.onnx" in result.table()
