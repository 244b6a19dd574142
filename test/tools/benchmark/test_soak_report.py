"""`lowlight soak`: leaks and drifts are found, noise is not reported as one."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from lowlight_enhance.core.process_info import ProcessUsage
from lowlight_enhance.tools.benchmark.soak_report import MAX_FITTED_POINTS, SoakResult, SoakSample, relative_growth

MINUTES = 10.0
COUNT, BURSTS, PHASES = 300, 3, 2


def result(
    megabytes: np.ndarray | float = 250.0,
    latencies_ms: np.ndarray | float = 30.0,
    threads: np.ndarray | int = 22,
    handles: np.ndarray | int = 26,
    count: int = COUNT,
) -> SoakResult:
    """Ten minutes of samples; a number stands for a constant series."""
    series = [np.broadcast_to(values, count) for values in (megabytes, latencies_ms, threads, handles)]
    samples = [
        SoakSample(
            60.0 * MINUTES * number / count,
            number // BURSTS,
            ProcessUsage(round(1e6 * memory), *usage),
            float(latency),
        )
        for number, (memory, latency, *usage) in enumerate(zip(*series, strict=True))
    ]
    return SoakResult(tuple(samples), 18000, 17990, {"enable": 50, "deactivate": 50}, (0, ""))


def noise(scale: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.0, scale, COUNT)


def ramp(total: float) -> np.ndarray:
    return np.linspace(0.0, total, COUNT)


def test_a_constant_node_passes() -> None:
    assert result().failures() == []


@pytest.mark.parametrize("seed", range(5))
def test_noise_is_not_reported(seed: int) -> None:
    noisy = result(megabytes=250.0 + noise(5.0, seed), latencies_ms=30.0 + np.abs(noise(6.0, seed)))
    assert noisy.failures() == []


@pytest.mark.parametrize("seed", range(5))
def test_a_leak_is_found_under_noise(seed: int) -> None:
    leaking = result(megabytes=250.0 + ramp(8.0) + noise(2.0, seed))
    (fault,) = leaking.failures()
    assert "resident memory grew by 2." in fault or "resident memory grew by 3." in fault


def test_memory_that_depends_on_the_change_before_is_no_leak_and_hides_none() -> None:
    level = np.where(np.arange(COUNT) // BURSTS % PHASES == 0, 0.0, 25.0)
    level[-BURSTS:] += 5.0  # the last cycle is an outlier
    assert result(megabytes=250.0 + level).failures() == []
    (fault,) = result(megabytes=250.0 + level + ramp(8.0)).failures()
    assert "resident memory grew by 3.0 %" in fault


def test_outliers_are_not_reported() -> None:
    spikes = np.zeros(COUNT)
    spikes[-COUNT // 6 :: 2] = 400.0
    assert result(megabytes=250.0 + spikes).failures() == []


@pytest.mark.parametrize("what", ["threads", "handles"])
def test_one_thread_or_handle_more_is_found(what: str) -> None:
    counts = np.full(COUNT, 22)
    counts[200:] += 1
    (fault,) = result(**{what: counts}).failures()
    assert "was not constant: 22 to 23" in fault


def test_a_drifting_latency_is_found() -> None:
    assert result(latencies_ms=30.0 + ramp(3.0)).failures() == []
    (fault,) = result(latencies_ms=30.0 + ramp(12.0)).failures()
    assert "the latency drifted by" in fault
    assert result(latencies_ms=40.0 - ramp(12.0)).failures() == []


def test_bursts_without_frames_do_not_hide_a_drift() -> None:
    latencies = 30.0 + ramp(12.0)
    latencies[::7] = math.nan
    assert len(result(latencies_ms=latencies).failures()) == 1
    assert len(result(latencies_ms=math.nan).failures()) == 1


def test_errors_of_the_node_fail_the_soak() -> None:
    failed = replace(result(), errors=(3, "ValueError: oops"))
    assert failed.failures() == ["the node reports 3 errors, the newest: ValueError: oops"]


@pytest.mark.parametrize("count", [0, 1, 5])
def test_a_short_run_fails(count: int) -> None:
    short = result(count=count)
    assert "too short" in short.failures()[0]
    assert "samples" in short.table()


def test_the_table_shows_changes_and_verdicts() -> None:
    table = result(megabytes=250.0 + ramp(10.0)).table()
    assert "17990 of 18000 frames received" in table
    assert "enable 50, deactivate 50" in table
    rows = {line.split("  ")[0]: line.split()[-2:] for line in table.splitlines()[3:]}
    assert {what: verdict[0] == "NOT" for what, verdict in rows.items() if what} == {
        "resident memory": True,
        "threads": False,
        "file handles": False,
        "latency": False,
    }


def test_growth_of_lines() -> None:
    times, cycles = np.arange(11.0), np.arange(11)
    assert relative_growth(times, 100.0 + 0.5 * times, cycles, phases=1) == pytest.approx(5.0 / 102.5)
    assert relative_growth(times, 100.0 + 0.5 * times, cycles, phases=3) == pytest.approx(5.0 / 102.5)
    assert relative_growth(times, np.full(11, 7.0), cycles, phases=3) == 0.0
    assert math.isnan(relative_growth(times, np.full(11, 7.0), cycles, phases=11))


def test_growth_of_a_long_series() -> None:
    times = np.arange(30.0 * MAX_FITTED_POINTS)
    values = 100.0 + times / len(times) + np.random.default_rng(0).normal(0.0, 1.0, len(times))
    assert relative_growth(times, values, np.arange(len(times)), phases=8) == pytest.approx(0.01, abs=0.002)
