"""float16 and int8 files: what they keep, what they lose, when they are refused."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from tiny_checkpoints import MODEL_INPUT, WRITERS, write_student

from lowlight_enhance import cli
from lowlight_enhance.core.enhancement.enhancer import Enhancer
from lowlight_enhance.core.errors import ConfigError, DataError, ModelError
from lowlight_enhance.core.metadata.capture import UNKNOWN, CaptureMetadata
from lowlight_enhance.core.scratch import remove_leftovers
from lowlight_enhance.training.data.manifest import ListedFrame, read_frames
from lowlight_enhance.training.export import reduced_precision
from lowlight_enhance.training.export.calibration import CalibrationFrame, listed_frames
from lowlight_enhance.training.export.onnx_export import export
from lowlight_enhance.training.export.reduced_precision import Fidelity, Limits, Precision, Reduction

FORGIVING = Limits(min_psnr_db=25.0, max_loss_db=2.0)


@pytest.fixture
def frames(data: Path) -> Sequence[CalibrationFrame]:
    (data / "with_metadata.csv").write_text(
        "dark,bright,iso,exposure_s\n0_dark.png,0.png,800,0.02\n1_dark.png,1.png,1600,0.04\n2_dark.png,2.png,800,0.02\n"
    )
    return listed_frames(data / "with_metadata.csv")


def reduced(
    folder: Path, to: Precision, frames: Sequence[CalibrationFrame], name: str = "student"
) -> tuple[Path, Fidelity]:
    target = folder / f"{to}.onnx"
    exported = export(WRITERS[name](folder / "best.pt"), target, reduction=Reduction(to, frames, FORGIVING))
    assert exported.fidelity is not None
    return target, exported.fidelity


def operators(file: Path) -> list[str]:
    return [node.op_type for node in onnx.load(file).graph.node]


@pytest.mark.parametrize("name", ["student", "teacher"])
@pytest.mark.parametrize("to", ["fp16", "int8"])
def test_a_smaller_file_flies_at_any_size_and_says_what_it_is(
    tmp_path: Path, frames: Sequence[CalibrationFrame], name: str, to: Precision
) -> None:
    target, fidelity = reduced(tmp_path, to, frames, name)
    enhancer = Enhancer(target, threads=1)
    assert enhancer.model_input == MODEL_INPUT
    written = onnx.load(target)
    metadata = {p.key: p.value for p in written.metadata_props}
    assert (metadata["lowlight_enhance.precision"], metadata["lowlight_enhance.step"]) == (to, "7")
    assert {opset.domain for opset in written.opset_import} == {node.domain for node in written.graph.node}
    ends = [*written.graph.input, *written.graph.output]
    assert [e.type.tensor_type.elem_type for e in ends] == [onnx.TensorProto.FLOAT] * 2
    for height, width in ((64, 64), (50, 90)):
        assert enhancer(np.full((height, width, 3), 30, np.uint8), UNKNOWN).shape == (height, width, 3)
    assert fidelity.frames == 3
    assert fidelity.psnr_db > FORGIVING.min_psnr_db


def test_float16_holds_weights_of_that_type(tmp_path: Path, frames: Sequence[CalibrationFrame]) -> None:
    target, fidelity = reduced(tmp_path, "fp16", frames)
    kinds = {i.data_type for i in onnx.load(target).graph.initializer if len(i.dims) == 4}
    assert kinds == {onnx.TensorProto.FLOAT16}
    assert fidelity.psnr_db > 45.0


def test_int8_quantises_convolutions_but_the_last_by_channel(
    tmp_path: Path, frames: Sequence[CalibrationFrame]
) -> None:
    target, _ = reduced(tmp_path, "int8", frames)
    graph = onnx.load(target).graph
    tensors = {i.name: onnx.numpy_helper.to_array(i) for i in graph.initializer}
    made_by = {output: node for node in graph.node for output in node.output}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    weights = [made_by.get(node.input[1]) for node in convolutions]
    assert [w is not None and w.op_type == "DequantizeLinear" for w in weights] == [True] * (len(weights) - 1) + [
        False
    ]
    for node in weights[:-1]:
        assert node is not None
        values, scales = (tensors[name] for name in node.input[:2])
        assert values.dtype == np.int8
        assert np.abs(values.astype(int)).max() <= 64
        assert scales.shape == values.shape[:1]
    points = [tensors[n.input[2]] for n in graph.node if n.op_type == "QuantizeLinear"]
    assert points
    assert {p.dtype for p in points} == {np.dtype(np.uint8)}


def test_more_convolutions_at_the_end_may_stay_in_float32(tmp_path: Path, frames: Sequence[CalibrationFrame]) -> None:
    reduction = Reduction("int8", frames, FORGIVING, float_tail=2)
    fidelity = export(WRITERS["student"](tmp_path / "best.pt"), tmp_path / "a.onnx", reduction=reduction).fidelity
    graph = onnx.load(tmp_path / "a.onnx").graph
    made_by = {output: node.op_type for node in graph.node for output in node.output}
    kinds = [made_by.get(node.input[1]) for node in graph.node if node.op_type == "Conv"]
    assert kinds[-2:] == [None, None]
    assert set(kinds[:-2]) == {"DequantizeLinear"}
    assert fidelity is not None
    assert fidelity.psnr_db > 50.0
    with pytest.raises(ConfigError, match="float tail 0"):
        Reduction("int8", frames, float_tail=0)
    too_long = Reduction("int8", frames, FORGIVING, float_tail=1000)
    with pytest.raises(ConfigError, match=r"float tail 1000: the network has only \d+ convolutions"):
        export(tmp_path / "best.pt", tmp_path / "long.onnx", reduction=too_long)


def test_nothing_goes_to_float_and_back_between_int8_convolutions(
    tmp_path: Path, frames: Sequence[CalibrationFrame]
) -> None:
    target, _ = reduced(tmp_path, "int8", frames)
    nodes = list(onnx.load(target).graph.node)
    places = [place for place, node in enumerate(nodes) if node.op_type == "Conv"]
    made_by = {output: node.op_type for node in nodes for output in node.output}
    joined = [node for node in nodes[places[0] : places[-1]] if node.op_type in ("Concat", "Resize", "Mul")]
    assert {node.op_type for node in joined} == {"Concat", "Resize", "Mul"}
    for node in joined:
        tensors = node.input[:1] if node.op_type == "Resize" else node.input
        assert {made_by[name] for name in tensors} == {"DequantizeLinear"}, node.name
    before = [node for node in nodes[: places[0]] if node.op_type in ("Concat", "Add")]
    assert all(made_by.get(name) != "DequantizeLinear" for node in before for name in node.input)


def test_int8_calibrated_with_metadata_still_knows_unknown_metadata_and_high_iso(
    tmp_path: Path, frames: Sequence[CalibrationFrame]
) -> None:
    """Values outside the range that calibration saw would be cut off."""
    target, _ = reduced(tmp_path, "int8", frames)
    export(tmp_path / "best.pt", tmp_path / "fp32.onnx")
    full, small = Enhancer(tmp_path / "fp32.onnx", threads=1), Enhancer(target, threads=1)
    with_metadata = reduced_precision.measure(full, small, frames).psnr_db
    for capture in (UNKNOWN, CaptureMetadata(102400.0, 30.0)):
        otherwise = [replace(frame, capture=capture) for frame in frames]
        assert reduced_precision.measure(full, small, otherwise).psnr_db > with_metadata - 5.0


def test_what_is_lost_is_measured(data: Path) -> None:
    (frame, *_) = listed_frames(data / "pairs.csv")
    exact = frame.reference
    assert exact is not None
    off = np.clip(exact.astype(int) + np.where(exact < 128, 2, -2), 0, 255).astype(np.uint8)
    found = reduced_precision.measure(lambda *_: exact, lambda *_: off, [frame, frame])
    assert found.psnr_db == pytest.approx(20 * np.log10(255 / 2), abs=1e-3)
    assert found.loss_db == pytest.approx(100.0 - found.psnr_db)
    assert (
        reduced_precision.measure(lambda *_: exact, lambda *_: off, [CalibrationFrame(frame.rgb, UNKNOWN)]).loss_db
        is None
    )


@pytest.mark.parametrize(
    ("fidelity", "message"),
    [
        (Fidelity(3, 39.9, None), r"39\.9 dB PSNR to the float32.*; 3 frames, less than 40 dB \(--min-psnr\)"),
        (Fidelity(3, 45.0, 0.26), r"\+0\.260 dB lost.*more than 0\.25 dB lost \(--max-loss\)"),
        (Fidelity(3, float("nan"), None), "not written"),
    ],
)
def test_limits(fidelity: Fidelity, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        fidelity.check(Limits(), Path("x.onnx"))


def test_what_keeps_the_limits_passes() -> None:
    Fidelity(3, 40.0, 0.25).check(Limits(), Path("x.onnx"))
    Fidelity(3, 40.0, None).check(Limits(), Path("x.onnx"))


def test_frames_are_read_with_their_metadata(data: Path) -> None:
    (data / "frames.csv").write_text("file,iso,exposure_s\n0.png,400,0.01\n1.png,,\n")
    assert read_frames(data / "frames.csv") == [
        ListedFrame(data / "0.png", CaptureMetadata(400.0, 0.01)),
        ListedFrame(data / "1.png", UNKNOWN),
    ]
    assert read_frames(data / "pairs.csv")[0] == ListedFrame(data / "0_dark.png", UNKNOWN, data / "0.png")
    (data / "splits.csv").write_text("file,split\n0.png,test\n1.png,train\n")
    assert [frame.path.name for frame in read_frames(data / "splits.csv")] == ["1.png"]
    (data / "test.csv").write_text("dark,bright,split\n0_dark.png,0.png,test\n")
    with pytest.raises(DataError, match=r"test\.csv lists only pictures of the split 'test'"):
        read_frames(data / "test.csv")
    (data / "empty.csv").write_text("file\n")
    with pytest.raises(DataError, match=r"empty\.csv lists no pictures"):
        read_frames(data / "empty.csv")


def test_a_long_list_is_thinned_evenly() -> None:
    frames = [CalibrationFrame(np.full((2, 2, 3), i, np.uint8), UNKNOWN) for i in range(100)]
    chosen = [int(frame.rgb[0, 0, 0]) for frame in Reduction("int8", frames).chosen_frames]
    assert len(chosen) == reduced_precision.MAX_FRAMES
    assert set(np.diff(chosen)) == {3, 4}
    assert list(Reduction("int8", frames[:5]).chosen_frames) == frames[:5]


def test_the_command_reports_or_refuses(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint, target = write_student(data / "best.pt"), data / "net" / "int8.onnx"
    options = [str(checkpoint), str(target), "--precision", "int8", "--calibration", str(data / "pairs.csv")]
    assert cli.main(["export", *options, "--min-psnr", "99"]) == 2
    assert "int8.onnx not written" in capsys.readouterr().err
    assert list(target.parent.iterdir()) == []
    assert cli.main(["export", *options, "--min-psnr", "20", "--max-loss", "5"]) == 0
    out = capsys.readouterr().out
    assert "int8: " in out
    assert "dB lost against the references; 3 frames" in out
    assert "QuantizeLinear" in operators(target)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--precision", "int8"], "int8 needs --calibration"),
        (["--precision", "fp16"], "fp16 needs --calibration"),
        (["--calibration", "x.csv"], "are for --precision fp16 or int8"),
        (["--float-tail", "2"], "--float-tail is for --precision int8"),
    ],
)
def test_options_that_do_not_fit(options: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["export", "best.pt", "net.onnx", *options]) == 2
    assert message in capsys.readouterr().err


def test_help_names_the_limits(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["export", "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert f"(default: {Limits().min_psnr_db:g})" in shown
    assert f"(default: {Limits().max_loss_db:g})" in shown


KILLED_CALIBRATION = """
import os, signal, sys
from pathlib import Path
from lowlight_enhance.training.export.reduced_precision import write_int8

def tensors():
    os.kill(os.getpid(), signal.SIGKILL)
    yield

write_int8(Path(sys.argv[1]), Path(sys.argv[2]), tensors())
"""


def test_the_next_run_removes_temporary_files_of_a_killed_one(tmp_path: Path) -> None:
    source, temporary = tmp_path / "student.onnx", tmp_path / "temporary"
    export(write_student(tmp_path / "best.pt"), source)
    temporary.mkdir()
    killed = subprocess.run(
        [sys.executable, "-c", KILLED_CALIBRATION, str(source), str(tmp_path / "int8.onnx")],
        env={**os.environ, "TMPDIR": str(temporary)},
        timeout=300,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    assert list(temporary.iterdir()), "the test needs a leftover"
    remove_leftovers(temporary)
    assert list(temporary.iterdir()) == []
