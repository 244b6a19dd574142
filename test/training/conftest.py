"""What the tests of the training half share; they skip, with a reason, where torch is not installed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

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
        """Say what is left out."""
        return "torch or accelerate is not installed: the tests of training are left out (pip install '.[train]')"


@pytest.fixture(autouse=True)
def seed() -> Iterator[None]:
    """Every test starts from the same random state and leaves Accelerate's, which is global, as it was."""
    torch.manual_seed(0)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with pairs.csv and photos.csv: three scenes of 64 pixels, the last for validation."""
    rng = np.random.default_rng(0)
    lines = ["scene,dark,bright,split"]
    for number in range(3):
        picture = cv2.resize(rng.integers(60, 256, (6, 6, 3), dtype=np.uint8), (64, 64))
        cv2.imwrite(str(tmp_path / f"{number}.png"), picture)
        cv2.imwrite(str(tmp_path / f"{number}_dark.png"), picture // 5)
        lines.append(f"{number},{number}_dark.png,{number}.png,{'val' if number == 2 else 'train'}")
    (tmp_path / "pairs.csv").write_text("\n".join(lines))
    (tmp_path / "photos.csv").write_text("file,split\n0.png,train\n1.png,train\n2.png,val\n")
    return tmp_path


@pytest.fixture
def told_in_validation(data: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[bool]]:
    """Of a module that validates: gives ``data`` an ISO, and lists for each pair that is validated if it is known."""
    lines = (data / "pairs.csv").read_text().splitlines()
    told = [f"{line},{'iso' if n == 0 else '3200'}" for n, line in enumerate(lines)]
    (data / "pairs.csv").write_text("\n".join(told))
    seen: list[bool] = []

    def validate(_model: object, pairs: Sequence[LoadedPair], *_: object) -> Validation:
        seen.extend(pair.capture.iso is not None for pair in pairs)
        return Validation({})

    def watch(module: str) -> list[bool]:
        monkeypatch.setattr(f"lowlight_enhance.training.{module}.validate", validate)
        return seen

    return watch
