"""The log of a run on a full disk."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from disk import largest_file

from lowlight_enhance.core.errors import DataError
from lowlight_enhance.training.engine.run_log import RunLog, Validation


def write(folder: Path, scores: int, picture_size: int, limit: int) -> None:
    """Write a validation where no file may become larger than ``limit`` bytes."""
    validation = Validation({f"score{n}": 0.0 for n in range(scores)}, torch.rand(3, picture_size, picture_size))
    with largest_file(limit), RunLog(folder, 0, 1, Accelerator(cpu=True)) as log:
        log.write_scores(1, validation)


@pytest.mark.parametrize(("scores", "picture_size"), [(1, 64), (100, 1)])
def test_a_full_disk_is_one_error_without_a_traceback(
    scores: int, picture_size: int, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(DataError, match=f"cannot write {tmp_path}: File too large"):
        write(tmp_path, scores, picture_size, limit=1000)
    assert "Traceback" not in capfd.readouterr().err
