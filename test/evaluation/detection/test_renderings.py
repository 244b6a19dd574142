"""Renderings: the stream sees every frame in order, a frame alone sees none before it."""

from __future__ import annotations

import numpy as np
import pytest

from lowlight_enhance.core.errors import DataError
from lowlight_enhance.core.metadata.capture import CaptureMetadata
from lowlight_enhance.core.pipeline import PipelineConfig
from lowlight_enhance.evaluation.baselines import BASELINES
from lowlight_enhance.evaluation.detection.clips import ClipFrame
from lowlight_enhance.evaluation.detection.renderings import ALONE, DARK, STREAM, StreamRenderer, renderings


def frame(number: int, level: int, **options: object) -> ClipFrame:
    dark = np.full((24, 32, 3), level, np.uint8)
    return ClipFrame(dark, CaptureMetadata(800.0, 0.02), 10**9 + number * 10**8, **options)  # type: ignore[arg-type]


class Doubling:
    """Doubles every pixel and remembers the metadata."""

    def __init__(self) -> None:
        self.captures: list[CaptureMetadata] = []

    def __call__(self, rgb: np.ndarray, capture: CaptureMetadata) -> np.ndarray:
        self.captures.append(capture)
        return 2 * rgb


def test_the_renderings_and_their_order() -> None:
    found = renderings(Doubling(), ("blur", "gamma"), PipelineConfig(strength=1.0))
    assert [rendering.name for rendering in found] == [DARK, "blur", "gamma", ALONE, STREAM]
    assert [rendering.needs_all_frames for rendering in found] == [False] * 4 + [True]
    images = {rendering.name: rendering.start()(frame(0, 20)) for rendering in found}
    assert {name: int(image[0, 0, 0]) for name, image in images.items()} == {
        DARK: 20,
        "blur": 20,
        "gamma": int(BASELINES["gamma"](np.full((1, 1, 3), 20, np.uint8))[0, 0, 0]),
        ALONE: 40,
        STREAM: 40,
    }


def test_frames_reach_the_model_with_their_metadata() -> None:
    model = Doubling()
    render = StreamRenderer(model, PipelineConfig(strength=1.0))
    assert int(render(frame(0, 30)).max()) == 60
    assert int(render(frame(1, 40)).max()) == 80
    assert model.captures == [CaptureMetadata(800.0, 0.02)] * 2


def test_the_settings_of_the_stream_apply() -> None:
    found = renderings(Doubling(), (), PipelineConfig(strength=0.5))
    for rendering in found[1:]:
        assert int(rendering.start()(frame(0, 40)).max()) == 60


def test_enhanced_frames_of_the_source_are_used() -> None:
    enhanced = np.full((24, 32, 3), 99, np.uint8)
    found = renderings(None, (), PipelineConfig())
    assert [rendering.name for rendering in found] == [DARK, STREAM]
    assert int(found[-1].start()(frame(0, 20, enhanced=enhanced)).max()) == 99
    with pytest.raises(DataError, match="no model"):
        found[-1].start()(frame(0, 20))
