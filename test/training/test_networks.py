"""Every kind of checkpoint becomes a network that runs."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_checkpoints import MODEL_INPUT, STEP, WRITERS, write_distilled_paper, write_student

from lowlight_enhance.core.errors import DataError
from lowlight_enhance.core.metadata.capture import UNKNOWN, CaptureMetadata
from lowlight_enhance.training.engine import checkpoint
from lowlight_enhance.training.engine.fit import FitConfig
from lowlight_enhance.training.networks import enhance_with, load_checkpoint

KINDS = {
    "student": ("student", 6),
    "distilled paper": ("distilled student", 3),
    "distilled affine": ("distilled student", 6),
    "teacher": ("teacher", 3),
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_checkpoint_loads_ready_to_run(tmp_path: Path, name: str) -> None:
    loaded = load_checkpoint(WRITERS[name](tmp_path / "best.pt"))
    kind, channels = KINDS[name]
    assert (loaded.kind, loaded.step, loaded.model_input) == (kind, STEP, MODEL_INPUT)
    assert not loaded.network.training
    with torch.inference_mode():
        assert loaded.network(torch.rand(1, 5, 8, 12)).shape == (1, channels, 8, 12)


def test_a_student_is_its_averaged_weights(tmp_path: Path) -> None:
    path = write_student(tmp_path / "best.pt")
    averaged = checkpoint.load(path)["student"]
    assert all(torch.equal(averaged[k], v) for k, v in load_checkpoint(path).network.state_dict().items())


@pytest.mark.parametrize("name", WRITERS)
def test_pictures_are_enhanced_at_their_own_size_and_by_their_metadata(tmp_path: Path, name: str) -> None:
    enhance = enhance_with(load_checkpoint(WRITERS[name](tmp_path / "best.pt")))
    rgb = np.random.default_rng(0).integers(0, 90, (50, 70, 3), dtype=np.uint8)  # shrunk, then padded
    told, untold = enhance(rgb, CaptureMetadata(6400.0, 0.1)), enhance(rgb, UNKNOWN)
    assert told.shape == rgb.shape
    assert told.dtype == np.uint8
    assert not np.array_equal(told, untold)


def test_another_working_size_and_way_up_are_heeded(tmp_path: Path) -> None:
    loaded = load_checkpoint(write_distilled_paper(tmp_path / "best.pt"))
    rgb = np.random.default_rng(0).integers(0, 90, (64, 64, 3), dtype=np.uint8)
    larger = enhance_with(loaded._replace(model_input=replace(MODEL_INPUT, working_size=64)))(rgb, UNKNOWN)
    assert np.array_equal(enhance_with(loaded, working_size=64)(rgb, UNKNOWN), larger)
    assert not np.array_equal(enhance_with(loaded)(rgb, UNKNOWN), larger)
    assert not np.array_equal(
        enhance_with(loaded, upsampling="resize")(rgb, UNKNOWN), enhance_with(loaded)(rgb, UNKNOWN)
    )


def test_what_is_no_network_is_named(tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "x.pt", {}, 1, 0.0, FitConfig())
    with pytest.raises(DataError, match=r"x\.pt holds FitConfig: no network"):
        load_checkpoint(tmp_path / "x.pt")
    with pytest.raises(DataError, match=r"y\.pt is not a checkpoint"):
        load_checkpoint(tmp_path / "y.pt")
