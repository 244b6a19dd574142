"""The model and the settings of the video tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from lowlight_enhance.core.pipeline import PipelineConfig
from lowlight_enhance.tools.video.enhance import VideoSettings


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that doubles every pixel."""
    pytest.importorskip("onnx", reason="the onnx package writes the tests' models")
    from tiny_model import write_tiny_model

    return write_tiny_model(tmp_path_factory.mktemp("model") / "tiny.onnx")


@pytest.fixture
def settings(tiny_model: Path) -> VideoSettings:
    return VideoSettings(pipeline=PipelineConfig(strength=1.0, smoothing_s=0.0), model=tiny_model, threads=1)
