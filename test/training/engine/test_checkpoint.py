import math
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from disk import largest_file
from torch import nn

from lowlight_enhance.core.errors import ConfigError, DataError
from lowlight_enhance.training.engine import checkpoint


@dataclass(frozen=True)
class Inner:
    rate: float = 0.5


@dataclass(frozen=True)
class Run:
    inner: Inner = field(default_factory=Inner)
    widths: tuple[int, ...] = (1, 2)
    younger: int = 7


@dataclass(frozen=True)
class Other:
    steps: int = 1


def written(folder: Path, config: object = Run()) -> Path:
    path = folder / "last.pt"
    checkpoint.save(path, {"net": nn.Linear(2, 2)}, 5, 20.0, config)
    return path


def test_what_was_saved_comes_back(tmp_path: Path) -> None:
    net, other = nn.Linear(2, 2), nn.Linear(2, 2)
    checkpoint.save(tmp_path / "last.pt", {"net": net}, 5, 20.0, Run())
    assert checkpoint.resume(tmp_path / "last.pt", {"net": other}, Run()) == (5, 20.0)
    assert torch.equal(net.weight, other.weight)
    assert checkpoint.read_config(Run, checkpoint.load(tmp_path / "last.pt"), tmp_path) == Run()
    assert [p.name for p in tmp_path.iterdir()] == ["last.pt"]


def test_without_a_file_a_run_starts_anew(tmp_path: Path) -> None:
    assert checkpoint.resume(tmp_path / "last.pt", {}, Run()) == (0, -math.inf)


def test_a_checkpoint_is_loadable_without_unpickling_code(tmp_path: Path) -> None:
    saved = torch.load(written(tmp_path), weights_only=True)
    assert saved["about"] == {"Run": {"inner": {"rate": 0.5}, "widths": [1, 2], "younger": 7}}


def test_other_settings_are_named(tmp_path: Path) -> None:
    path = written(tmp_path)
    with pytest.raises(DataError, match=r"last\.pt .*\(inner\.rate 0\.5 there, 0\.25 here\); give another --out"):
        checkpoint.resume(path, {}, Run(Inner(0.25)))
    with pytest.raises(DataError, match="holds Run, not Other"):
        checkpoint.resume(path, {}, Other())


def test_an_origin_is_told_by_its_weights(tmp_path: Path) -> None:
    net, other = nn.BatchNorm2d(2), nn.BatchNorm2d(2)
    assert checkpoint.WeightsHash.of(net) == checkpoint.WeightsHash.of(other)
    other.running_mean += 1e-6
    assert checkpoint.WeightsHash.of(net) != checkpoint.WeightsHash.of(other)
    checkpoint.save(tmp_path / "last.pt", {"teacher": checkpoint.WeightsHash.of(net)}, 5, 20.0, Run())
    assert checkpoint.resume(tmp_path / "last.pt", {"teacher": checkpoint.WeightsHash.of(net)}, Run())[0] == 5
    with pytest.raises(DataError, match="another teacher"):
        checkpoint.resume(tmp_path / "last.pt", {"teacher": checkpoint.WeightsHash.of(other)}, Run())


def test_a_setting_younger_than_the_file_counts_as_its_default(tmp_path: Path) -> None:
    path = written(tmp_path)
    saved = torch.load(path, weights_only=True)
    del saved["about"]["Run"]["younger"]
    torch.save(saved, path)
    assert checkpoint.resume(path, {}, Run())[0] == 5
    with pytest.raises(DataError, match="younger 7 there, 8 here"):
        checkpoint.resume(path, {}, Run(younger=8))


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = written(tmp_path)
    before = path.read_bytes()

    class Broken:
        def state_dict(self) -> dict[str, object]:
            return {"cannot be written": (i for i in range(3))}

        def load_state_dict(self, state_dict: dict[str, object]) -> None: ...

    with pytest.raises(TypeError):
        checkpoint.save(path, {"net": Broken()}, 6, 21.0, Run())
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["last.pt"]


def test_a_full_disk_is_named_and_leaves_the_old_file(tmp_path: Path) -> None:
    path = written(tmp_path)
    before = path.read_bytes()
    with largest_file(2000), pytest.raises(DataError, match=r"cannot write .*last\.pt: File too large"):
        checkpoint.save(path, {"net": nn.Linear(100, 100)}, 6, 21.0, Run())
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["last.pt"]


@pytest.mark.parametrize("content", [b"nothing", b""])
def test_what_is_no_checkpoint_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.pt").write_bytes(content)
    with pytest.raises(DataError, match=r"x\.pt is not a checkpoint"):
        checkpoint.load(tmp_path / "x.pt")
    torch.save({"weights": torch.zeros(1)}, tmp_path / "y.pt")
    with pytest.raises(DataError, match="has no settings"):
        checkpoint.load(tmp_path / "y.pt")


def test_weights_of_another_network_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^[^\n]*x\.pt do not fit[^\n]*$"):
        checkpoint.load_weights(nn.Linear(2, 2), nn.Linear(3, 2).state_dict(), tmp_path / "x.pt")
    with pytest.raises(DataError, match=r"x\.pt do not fit"):
        checkpoint.load_weights(nn.Linear(2, 2), None, tmp_path / "x.pt")
    with pytest.raises(ConfigError):
        checkpoint.read_config(Other, {"about": {"Run": {}}}, tmp_path / "x.pt")
