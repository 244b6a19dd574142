"""`lowlight soak`: changes are made in turn, failures are reported, and one run with real processes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from tiny_model import write_tiny_model

from lowlight_enhance.core.errors import ConfigError, ModelError
from lowlight_enhance.core.inference.model_zoo import INCLUDED_MODELS
from lowlight_enhance.tools.benchmark import soak
from lowlight_enhance.tools.harness.harness import StreamLog
from lowlight_enhance.tools.harness.processes import ProcessError


class Harness:
    """Replaces a running harness: answers each command with ``error`` and receives ``received`` frames."""

    def __init__(self, error: str = "", received: int = 3) -> None:
        self.log, self.node = StreamLog(), self
        self.error, self.received = error, received

    def request(self, *_: Any, **__: Any) -> dict[str, Any]:
        return {"error": self.error}

    def stream(self, *_: Any) -> int:
        return self.received

    def log_tail(self) -> str:
        return "end of the log"


def soak_of(**values: Any) -> soak._Soak:
    return soak._Soak(Harness(**values), print)  # type: ignore[arg-type]


@pytest.mark.parametrize("minutes", [0.0, -1.0, math.nan, math.inf])
def test_lengths_out_of_range_are_rejected(minutes: float) -> None:
    with pytest.raises(ConfigError, match="--minutes"):
        soak.run_soak(minutes)


def test_a_missing_model_is_reported_before_any_process_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("rclpy")
    monkeypatch.setattr(soak, "NodeHarness", None)
    with pytest.raises(ModelError, match=r"none\.onnx"):
        soak.run_soak(1.0, tmp_path / "none.onnx")


def test_a_change_that_fails_ends_the_soak() -> None:
    with pytest.raises(ProcessError, match=r"'strength' failed: too strong; .*\nend of the log"):
        soak_of(error="too strong").send_command(soak.CHANGES[1], soak.CHANGES[1].apply)


def test_missing_frames_end_the_soak(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soak, "RECOVERY_TIMEOUT_S", 0.0)
    with pytest.raises(ProcessError, match="after '320x240' no enhanced frame arrived"):
        soak_of(received=0).wait_for_frames(soak.CHANGES[0], 3)


def test_a_model_that_is_not_used_ends_the_soak(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soak, "RECOVERY_TIMEOUT_S", 0.0)
    change = soak.all_changes(None)[-1]
    running = soak_of()
    status = {"type": "diagnostics", "name": "/n: enhancement", "values": {"model": change.models[1]}}
    running.harness.log.record(status)
    running.wait_for_frames(change, 3, change.models[1])
    with pytest.raises(ProcessError, match="after 'model' the node does not use the model tiny"):
        running.wait_for_frames(change, 3, change.models[0])


@pytest.mark.parametrize(
    ("model", "there", "back", "models"),
    [
        (None, "tiny", "", ("tiny", "student_int8")),
        (Path("/m/mine.onnx"), "tiny", "/m/mine.onnx", ("tiny", "mine")),
        (Path("/m/tiny.onnx"), "student", "/m/tiny.onnx", ("student", "tiny")),
    ],
)
def test_the_model_is_replaced_and_restored(
    model: Path | None, there: str, back: str, models: tuple[str, str]
) -> None:
    change = soak.all_changes(model)[-1]
    assert (change.apply[2]["values"]["model"], change.revert[2]["values"]["model"], change.models) == (
        there,
        back,
        models,
    )
    assert models[0] in INCLUDED_MODELS


def test_a_short_run_with_real_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rclpy")
    model = write_tiny_model(tmp_path / "brighter.onnx", gain=3.0)
    chosen = ("strength", "deactivate", "model")
    monkeypatch.setattr(soak, "RATE_HZ", 10)
    changes = [change for change in soak.all_changes(model) if change.name in chosen]
    output: list[str] = []
    outcome = soak.run_soak(0.5 / 60.0, model, output.append, changes, warm_up_cycles=1)
    assert outcome.changes == dict.fromkeys(chosen, 2)
    assert outcome.errors == (0, "")
    assert outcome.received >= 0.5 * outcome.sent  # nearly all of them, unless the machine is very busy
    assert len({(sample.usage.threads, sample.usage.handles) for sample in outcome.samples}) == 1
    assert len(outcome.rows()) == 4
    assert any("file handles" in line for line in output)
