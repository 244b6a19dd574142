"""`lowlight flicker`: sequences, metrics, table and command."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny_model import write_tiny_model

from lowlight_enhance import cli
from lowlight_enhance.core.enhancement.maps import EnhancementMaps
from lowlight_enhance.core.enhancement.temporal_smoothing import SMOOTHING_S
from lowlight_enhance.core.enhancement.upsampling import AffineRenderer
from lowlight_enhance.core.errors import ConfigError, ImageError
from lowlight_enhance.core.inference.model_input import ModelInput
from lowlight_enhance.core.metadata.capture import UNKNOWN, CaptureMetadata
from lowlight_enhance.evaluation import flicker
from lowlight_enhance.evaluation.flicker_report import FlickerMetrics, FlickerReport
from lowlight_enhance.simulation.sequences import (
    PAN_STEP_PX,
    SEQUENCES,
    SequenceFrame,
    SequenceOptions,
    simulate_sequence,
)

SMALL = SequenceOptions(width=64, height=48, frames=8)


def photograph(height: int = 60, width: int = 90, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(40, 220, (height // 10, width // 10, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


class Alternating:
    """A ``FrameEnhancer`` with a constant gain; every second frame is ``wave`` (0..255) brighter.

    ``measure_sequence`` calls it twice for each frame: alone and fused.
    """

    def __init__(self, gain: float, wave: float) -> None:
        self.gain, self.wave, self.calls = gain, wave, 0

    def maps(self, rgb: np.ndarray, _capture: CaptureMetadata, _count: np.ndarray | None = None) -> EnhancementMaps:
        offset = np.float32(self.wave / 255.0 * (self.calls // 2 % 2))
        self.calls += 1
        frame = np.ascontiguousarray(rgb.transpose(2, 0, 1), np.float32) / np.float32(255.0)
        return EnhancementMaps(np.full_like(frame, self.gain), np.full_like(frame, offset), frame)

    def apply(self, maps: EnhancementMaps, rgb: np.ndarray, correction: np.ndarray | None = None) -> np.ndarray:
        return AffineRenderer()(maps, rgb, correction)

    def unchanged(self, rgb: np.ndarray) -> np.ndarray:
        return rgb


def noiseless(count: int = 12, shift: tuple[int, int] = (0, 0)) -> Iterator[SequenceFrame]:
    """Frames at a third of a photograph's brightness, without noise."""
    wide = photograph(120, 200)
    for number in range(count):
        x, y = shift[0] * number, shift[1] * number
        reference = np.ascontiguousarray(wide[y : y + 96, x : x + 128])
        moved = shift if number else (0, 0)
        yield SequenceFrame(reference, np.rint(reference / 3.0).astype(np.uint8), UNKNOWN, moved)


# Sequences


def test_frames_have_the_requested_size_and_their_own_noise() -> None:
    for name in SEQUENCES:
        frames = list(simulate_sequence(name, photograph(), photograph(seed=1), SMALL, 0))
        assert len(frames) == 8
        assert {frame.dark.shape for frame in frames} == {frame.reference.shape for frame in frames} == {(48, 64, 3)}
        assert frames[0].dark.mean() < 0.6 * frames[0].reference.mean()
        assert not np.array_equal(frames[0].dark, frames[1].dark)


def test_a_pan_moves_by_its_shift() -> None:
    frames = list(simulate_sequence("pan", photograph(), photograph(), SMALL, 0))
    assert [frame.shift for frame in frames] == [(0, 0)] + 7 * [PAN_STEP_PX]
    for before, after in itertools.pairwise(frames):
        assert np.abs(flicker.block_change(before.reference, after.reference, PAN_STEP_PX)).max() < 1e-9
        assert np.abs(flicker.block_change(before.reference, after.reference, (0, 0))).max() > 1.0


def test_changes_are_halfway() -> None:
    for name in ("exposure step", "scene change"):
        frames = list(simulate_sequence(name, photograph(), photograph(seed=1), SMALL, 0))
        assert [frame.is_change for frame in frames] == [number == 4 for number in range(8)]
    step = list(simulate_sequence("exposure step", photograph(), photograph(), SMALL, 0))
    assert step[3].capture.exposure_s == pytest.approx(1 / 30)
    assert step[4].capture.exposure_s == pytest.approx(1 / 60)
    assert step[4].dark.mean() < 0.8 * step[3].dark.mean()
    cut = list(simulate_sequence("scene change", photograph(), photograph(), SMALL, 0))
    assert not np.array_equal(cut[3].reference, cut[4].reference)
    np.testing.assert_array_equal(cut[4].reference, cut[7].reference)


def test_every_fifth_frame_lacks_metadata() -> None:
    frames = list(simulate_sequence("metadata gaps", photograph(), photograph(), SMALL, 0))
    assert [frame.capture == UNKNOWN for frame in frames] == [number == 4 for number in range(8)]


@pytest.mark.parametrize("values", [{"frames": 3}, {"width": 8}, {"rate_hz": 0.0}, {"iso": float("nan")}])
def test_invalid_options_are_errors(values: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        SequenceOptions(**values)  # type: ignore[arg-type]


# Metrics


@pytest.mark.parametrize("shift", [(0, 0), (5, 2)])
def test_a_change_of_three_levels_is_a_flicker_of_three_and_less_with_smoothing(
    shift: tuple[int, int],
) -> None:
    found = flicker.measure_sequence(noiseless(shift=shift), Alternating(2.0, 3.0), 0.1, 30.0)
    assert found.alone.flicker == pytest.approx(3.0, abs=0.1)
    assert found.smoothed.flicker < 0.45 * found.alone.flicker
    assert found.alone.colour < 0.1
    assert found.alone.response_frames is None


def test_a_constant_gain_does_not_flicker() -> None:
    found = flicker.measure_sequence(noiseless(), Alternating(3.0, 0.0), 0.1, 30.0)
    assert (found.input_flicker, found.alone.flicker, found.alone.colour, found.smoothed.flicker) == (0.0,) * 4
    assert found.alone.psnr_db > 45.0


def test_a_panning_camera_does_not_flicker() -> None:
    found = flicker.measure_sequence(noiseless(shift=(5, 2)), Alternating(3.0, 0.0), 0.1, 30.0)
    assert found.input_flicker < 0.1
    assert found.alone.flicker < 0.1
    assert found.smoothed.flicker < 0.2
    assert abs(found.smoothed.psnr_db - found.alone.psnr_db) < 1.0


def test_fusion_removes_the_noise_of_single_frames() -> None:
    options = SequenceOptions(width=128, height=96, frames=10, iso=12800.0, stops=4.0)
    frames = simulate_sequence("static", photograph(120, 200), photograph(), options, 0)
    found = flicker.measure_sequence(frames, Alternating(8.0, 0.0), 0.1, 30.0)
    assert found.fused.flicker < 0.8 * found.alone.flicker
    assert found.fused.colour < 0.8 * found.alone.colour


def test_response_counts_from_the_first_frame_of_the_change() -> None:
    def blocks(*levels: float) -> list[np.ndarray]:
        return [np.full((8, 8, 3), level) for level in levels]

    plain = blocks(50, 50, 150, 150, 150, 150, 150, 150)
    assert flicker.response_frames(plain, blocks(50, 50, 150, 150, 150, 150, 150, 150), 2) == 0.0
    assert flicker.response_frames(plain, blocks(50, 50, 100, 130, 141, 150, 150, 150), 2) == 2.0
    assert flicker.response_frames(plain, plain, None) is None
    flickering = blocks(50, 50, 150, 140, 160, 138, 162, 138)
    assert flicker.response_frames(flickering, blocks(50, 50, 150, 150, 150, 150, 150, 150), 2) == 0.0


def test_a_change_of_brightness_changes_every_block() -> None:
    grey = np.full((64, 80, 3), 128, np.uint8)
    assert flicker.luma_change(grey, grey + 3) == pytest.approx(np.full((8, 8), 3.0))


# The command


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("flicker")
    for number in range(2):
        cv2.imwrite(str(folder / f"{number}.png"), photograph(seed=number))
    write_tiny_model(folder / "tiny.onnx", 3.0, 0.0, ModelInput(working_size=48, size_multiple=16))
    return folder


def test_a_report_as_table_and_json(folder: Path) -> None:
    report = flicker.measure_flicker([folder / "0.png", folder / "1.png"], SMALL, 0.2, folder / "tiny.onnx", 1)
    variants = (report.alone, report.smoothed, report.fused, report.input_flicker)
    assert all(entry.keys() == SEQUENCES.keys() for entry in variants)
    lines = report.table().splitlines()
    for name in SEQUENCES:
        cells = next(line for line in lines if line.startswith(name)).removeprefix(name).split()
        assert cells[:4] == [
            f"{report.input_flicker[name]:.2f}",
            f"{report.alone[name].flicker:.2f}",
            f"{report.smoothed[name].flicker:.2f}",
            f"{report.fused[name].flicker:.2f}",
        ]
        assert len(cells) == (12 if name in ("exposure step", "scene change") else 10)
    assert report.smoothed["static"].flicker < report.alone["static"].flicker
    assert "smoothing 0.2 s" in lines[1]
    values = json.loads(report.to_json())
    assert values["fused"]["pan"]["flicker"] == report.fused["pan"].flicker
    assert (values["photographs"], values["options"]["width"]) == (2, 64)


def test_a_measurement_is_repeatable(folder: Path) -> None:
    runs = [flicker.measure_flicker([folder / "0.png"], SMALL, 0.1, folder / "tiny.onnx", 1) for _ in range(2)]
    assert runs[0] == runs[1]


def test_invalid_arguments_are_errors(folder: Path) -> None:
    with pytest.raises(ConfigError, match="photograph"):
        flicker.measure_flicker([], SMALL, 0.1, folder / "tiny.onnx")
    with pytest.raises(ConfigError, match="smoothing_s"):
        flicker.measure_flicker([folder / "0.png"], SMALL, 0.0, folder / "tiny.onnx")
    with pytest.raises(ImageError, match=r"tiny\.onnx"):
        flicker.measure_flicker([folder / "tiny.onnx"], SMALL, 0.1, folder / "tiny.onnx")


def test_the_command_passes_its_options(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls: list[tuple[object, ...]] = []
    metrics = FlickerMetrics(1.0, 2.0, 30.0, None)
    by_kind = {"pan": metrics}
    report = FlickerReport("m.onnx", "0" * 64, 2, SMALL, 0.3, {"pan": 0.5}, by_kind, by_kind, by_kind)
    monkeypatch.setattr(flicker, "measure_flicker", lambda *arguments: calls.append(arguments) or report)
    model, target = str(folder / "tiny.onnx"), folder / "figures.json"
    options = ["--size", "320x240", "--frames", "9", "--rate", "15", "--iso", "800", "--stops", "2", "--step", "0.5"]
    other_options = ["--smoothing", "0.3", "--model", model, "--threads", "2", "--json", str(target)]
    assert cli.main(["flicker", "a.jpg", "b.jpg", *options, *other_options]) == 0
    sequence_options = SequenceOptions(320, 240, 9, 15.0, 800.0, 2.0, 0.5)
    assert calls == [([Path("a.jpg"), Path("b.jpg")], sequence_options, 0.3, Path(model), 2)]
    assert capsys.readouterr().out == report.table() + "\n"
    assert json.loads(target.read_text())["model"] == "m.onnx"
    assert cli.main(["flicker", "a.jpg", "--model", model]) == 0
    assert calls[1] == ([Path("a.jpg")], SequenceOptions(), SMOOTHING_S, Path(model), None)
