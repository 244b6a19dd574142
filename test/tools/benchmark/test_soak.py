"""`lowlight soak`: everything is done to the node in turn, and what goes wrong is said."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from tiny_model import write_tiny_model

from lowlight_enhance.core.errors import ConfigError, ModelError
from lowlight_enhance.core.inference.model_zoo import SHIPPED
from lowlight_enhance.core.process_info import Footprint
from lowlight_enhance.tools.benchmark import soak
from lowlight_enhance.tools.benchmark.soak_report import Sample, SoakResult
from lowlight_enhance.tools.harness.harness import Log
from lowlight_enhance.tools.harness.processes import CrewError

SAMPLES = tuple(Sample(float(at), at, Footprint(10**8, 20, 30), 30.0) for at in range(40))


class Words:
    """A child that has said its last."""

    def last_words(self) -> str:
        return "last words"


class Crew:
    children = {"node": Words()}  # noqa: RUF012


def soak_of(crew: Any = None) -> soak._Soak:
    return soak._Soak(crew or Crew(), Log(), print)


@pytest.mark.parametrize("minutes", [0.0, -1.0, math.nan, math.inf])
def test_lengths_that_cannot_be_are_refused(minutes: float) -> None:
    with pytest.raises(ConfigError, match="minutes"):
        soak.run(minutes)


def test_a_missing_model_is_told_before_any_process_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rclpy")
    monkeypatch.setattr(soak, "Crew", None)
    with pytest.raises(ModelError, match=r"none\.onnx"):
        soak.run(1.0, tmp_path / "none.onnx")


@pytest.mark.parametrize(
    ("outcome", "code", "reason"),
    [
        (SoakResult(SAMPLES, 10, 10, {"enable": 40}, (0, "")), 0, ""),
        (SoakResult(SAMPLES, 10, 10, {"enable": 40}, (1, "ImageError: x")), 1, "the node reports 1 errors"),
        (CrewError("the node ended with code -11"), 1, "the soak failed: the node ended with code -11"),
    ],
)
def test_the_exit_code_follows_the_verdict(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], outcome: Any, code: int, reason: str
) -> None:
    pytest.importorskip("rclpy")

    def perform(*_: Any) -> SoakResult:
        if isinstance(outcome, CrewError):
            raise outcome
        return outcome  # type: ignore[no-any-return]

    monkeypatch.setattr(soak, "perform", perform)
    assert soak.run(1.0) == code
    assert reason in capsys.readouterr().err


def test_an_order_that_is_refused_ends_the_soak(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soak, "ask", lambda *_, **__: {"refused": "too strong"})
    with pytest.raises(CrewError, match=r"'strength' was refused: too strong; .*\nlast words"):
        soak_of().order(soak.CHANGES[1], soak.CHANGES[1].begin)


def test_frames_that_stay_away_end_the_soak(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soak, "FLOW_S", 0.0)
    monkeypatch.setattr(soak, "send", lambda *_: 0)
    with pytest.raises(CrewError, match="after '320x240' no frame came out"):
        soak_of().flow(soak.CHANGES[0], 3)


def test_a_model_that_does_not_take_over_ends_the_soak(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soak, "FLOW_S", 0.0)
    monkeypatch.setattr(soak, "send", lambda *_: 3)
    [swap] = [change for change in soak.all_changes(None) if change.name == "model"]
    flown = soak_of()
    flown.log.note({"diagnostics": {"model": swap.models[1]}, "of": "/n: enhancement"})
    flown.flow(swap, 3, swap.models[1])
    with pytest.raises(CrewError, match="after 'model' model tiny did not take over"):
        flown.flow(swap, 3, swap.models[0])


@pytest.mark.parametrize(
    ("model", "there", "back", "models"),
    [
        (None, "tiny", "", ("tiny", "student_int8")),
        (Path("/m/mine.onnx"), "tiny", "/m/mine.onnx", ("tiny", "mine")),
        (Path("/m/tiny.onnx"), "student", "/m/tiny.onnx", ("student", "tiny")),
    ],
)
def test_the_model_is_changed_for_another_and_back(
    model: Path | None, there: str, back: str, models: tuple[str, str]
) -> None:
    swap = soak.all_changes(model)[-1]
    assert (swap.begin[1]["model"], swap.end[1]["model"], swap.models) == (there, back, models)
    assert models[0] in SHIPPED


def test_a_short_soak_of_the_real_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rclpy")
    model = write_tiny_model(tmp_path / "brighter.onnx", gain=3.0)
    chosen = ("strength", "deactivate", "model")
    monkeypatch.setattr(soak, "RATE_HZ", 10)
    changes = [change for change in soak.all_changes(model) if change.name in chosen]
    said: list[str] = []
    outcome = soak.perform(0.5, model, said.append, changes, warm_ups=1)
    assert outcome.changes == dict.fromkeys(chosen, 2)
    assert outcome.errors == (0, "")
    assert outcome.received >= 0.5 * outcome.sent  # nearly all of them, unless the machine is very busy
    assert len({(sample.held.threads, sample.held.handles) for sample in outcome.samples}) == 1
    assert len(outcome.rows()) == 4
    assert any("file handles" in line for line in said)
