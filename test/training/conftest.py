"""Tests of the training half skip, with a reason, where torch is not installed."""

import pytest

collect_ignore_glob: list[str] = []
try:
    import torch

    torch.set_num_threads(1)
except ImportError:
    collect_ignore_glob = ["test_*.py"]

    def pytest_report_header() -> str:
        """Say what is left out."""
        return "torch is not installed: the tests of training are left out (pip install '.[train]')"


@pytest.fixture(autouse=True)
def seed() -> None:
    """Every test starts from the same random state."""
    torch.manual_seed(0)
