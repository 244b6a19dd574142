"""Every kind of checkpoint becomes an ONNX file that enhances as it does."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from tiny_checkpoints import MODEL_INPUT, WRITERS, write_distilled_paper, write_student

from lowlight_enhance import cli
from lowlight_enhance.core.enhancement.enhancer import Enhancer
from lowlight_enhance.core.errors import ModelError
from lowlight_enhance.core.inference.model_input import ModelInput
from lowlight_enhance.core.metadata.capture import CaptureMetadata
from lowlight_enhance.training import evaluate
from lowlight_enhance.training.export import onnx_export
from lowlight_enhance.training.networks import load_checkpoint

CAPTURE = CaptureMetadata(3200.0, 0.02)


@pytest.mark.parametrize("name", WRITERS)
def test_the_file_enhances_as_the_checkpoint_at_every_size(tmp_path: Path, name: str) -> None:
    checkpoint, target = WRITERS[name](tmp_path / "best.pt"), tmp_path / "models" / "net.onnx"
    assert onnx_export.export(checkpoint, target).difference <= onnx_export.TOLERANCE
    assert [p.name for p in target.parent.iterdir()] == ["net.onnx"]
    file, network = evaluate.load_enhance(target, threads=1), evaluate.load_enhance(checkpoint)
    rng = np.random.default_rng(0)
    for height, width in ((50, 70), (33, 32), (120, 31)):
        rgb = rng.integers(0, 90, (height, width, 3), dtype=np.uint8)
        difference = file(rgb, CAPTURE).astype(int) - network(rgb, CAPTURE)
        assert np.abs(difference).max() <= 1


@pytest.mark.parametrize(("name", "content"), [("student", "maps"), ("teacher", "picture")])
def test_the_output_is_called_what_it_is(tmp_path: Path, name: str, content: str) -> None:
    onnx_export.export(WRITERS[name](tmp_path / "best.pt"), tmp_path / "net.onnx")
    written = onnx.load(tmp_path / "net.onnx")
    assert [o.name for o in written.graph.output] == [content]
    assert (written.ir_version, written.opset_import[0].version) == (8, 18)  # ONNX Runtime 1.17 reads no newer
    assert Enhancer(tmp_path / "net.onnx").model_input == MODEL_INPUT
    assert {p.key: p.value for p in written.metadata_props}["lowlight_enhance.step"] == "7"


def test_nothing_in_the_file_tells_where_it_was_made(tmp_path: Path) -> None:
    onnx_export.export(WRITERS["student"](tmp_path / "best.pt"), tmp_path / "net.onnx")
    content = (tmp_path / "net.onnx").read_bytes()
    assert str(Path(onnx_export.__file__).parent).encode() not in content
    assert b".py" not in content


def test_another_model_input_may_be_written(tmp_path: Path) -> None:
    other = ModelInput(working_size=64, size_multiple=8)
    onnx_export.export(write_student(tmp_path / "best.pt"), tmp_path / "net.onnx", other)
    assert Enhancer(tmp_path / "net.onnx").model_input == other
    onnx_export.export(tmp_path / "best.pt", tmp_path / "large.onnx", working_size=512)
    assert Enhancer(tmp_path / "large.onnx", threads=1).working_size == 512


def test_a_picture_that_differs_is_noticed(tmp_path: Path) -> None:
    for name, factor in (("a", 1.0), ("b", 1.05)):
        loaded = load_checkpoint(write_distilled_paper(tmp_path / "best.pt"))
        onnx_export.export(tmp_path / "best.pt", tmp_path / f"{name}.onnx")
        loaded.network.get_parameter("out.bias").data.mul_(factor).add_(factor - 1.0)
        difference = onnx_export.compare(loaded.network, tmp_path / f"{name}.onnx", MODEL_INPUT)
        assert (difference > onnx_export.TOLERANCE) == (factor != 1.0)


def test_a_file_that_reads_metadata_otherwise_is_noticed(tmp_path: Path) -> None:
    loaded = load_checkpoint(write_student(tmp_path / "best.pt"))
    onnx_export.export(tmp_path / "best.pt", tmp_path / "net.onnx", ModelInput(32, 4, iso_range=(100.0, 3200.0)))
    assert onnx_export.compare(loaded.network, tmp_path / "net.onnx", MODEL_INPUT) > onnx_export.TOLERANCE


def test_an_export_that_differs_is_refused_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "net.onnx"
    target.write_bytes(b"the old one")
    monkeypatch.setattr(onnx_export, "compare", lambda *_: 0.01)
    with pytest.raises(ModelError, match="differs"):
        onnx_export.export(write_student(tmp_path / "best.pt"), target)
    assert target.read_bytes() == b"the old one"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["best.pt", "net.onnx"]


@pytest.mark.parametrize("name", WRITERS)
def test_the_commands_take_every_checkpoint(data: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = WRITERS[name](data / "best.pt")
    assert cli.main(["export", str(checkpoint), str(data / "net.onnx")]) == 0
    assert "largest difference" in capsys.readouterr().out
    assert cli.main(["evaluate", str(checkpoint), "--data", str(data / "pairs.csv")]) == 0
    assert "best.pt on" in capsys.readouterr().out
