"""Fixtures of the training tests, which are skipped with a reason where torch is not installed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from tiny_data import write_tiny_data

collect_ignore_glob: list[str] = []
try:
    import torch
    from accelerate.state import AcceleratorState

    from lowlight_enhance.training.data.pictures import LoadedPair
    from lowlight_enhance.training.engine.run_log import Validation

    torch.set_num_threads(1)
except ImportError:
    collect_ignore_glob = ["test_*.py"]

    def pytest_report_header() -> str:
        """Return the reason why the training tests are skipped."""
        return "torch or accelerate is not installed: the training tests are skipped (pip install '.[train]')"


@pytest.fixture(autouse=True)
def seed() -> Iterator[None]:
    """Start every test from the same random state, and reset the global state of Accelerate after it."""
    torch.manual_seed(0)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with pairs.csv and photos.csv: three scenes of 64 pixels, the last for validation."""
    return write_tiny_data(tmp_path)


@pytest.fixture
def validation_metadata(data: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[bool]]:
    """Add an ISO to ``data``. Returns a function that records for a module which validated pairs have a known ISO."""
    lines = (data / "pairs.csv").read_text().splitlines()
    with_iso = [f"{line},{'iso' if n == 0 else '3200'}" for n, line in enumerate(lines)]
    (data / "pairs.csv").write_text("\n".join(with_iso))
    seen: list[bool] = []

    def validate(_model: object, pairs: Sequence[LoadedPair], *_: object) -> Validation:
        seen.extend(pair.capture.iso is not None for pair in pairs)
        return Validation({})

    def watch(module: str) -> list[bool]:
        monkeypatch.setattr(f"lowlight_enhance.training.{module}.validate", validate)
        return seen

    return watch
