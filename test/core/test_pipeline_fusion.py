"""Temporal fusion inside the pipeline."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from tiny_model import write_tiny_model

from lowlight_enhance.core.enhancement.enhancer import Enhancer
from lowlight_enhance.core.errors import ConfigError
from lowlight_enhance.core.health import Health
from lowlight_enhance.core.inference.model_input import ModelInput
from lowlight_enhance.core.metadata.capture import CaptureMetadata
from lowlight_enhance.core.pipeline import EnhancedFrame, Pipeline, PipelineConfig

HEIGHT, WIDTH = 96, 128
START_NS, PERIOD_NS = 10**9, 33_000_000


@pytest.fixture(scope="module")
def enhancer(tmp_path_factory: pytest.TempPathFactory) -> Enhancer:
    path: Path = tmp_path_factory.mktemp("model") / "tiny.onnx"
    write_tiny_model(path, model_input=ModelInput(working_size=64, size_multiple=32))
    return Enhancer(path, threads=1)


def dark_frames(count: int, level: float = 0.02, seed: int = 0) -> list[np.ndarray]:
    """Frames of one still scene with shot and read noise of their own."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(0.3, 1.7, (12, 16, 3)).astype(np.float32)
    light = np.maximum(cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC), 0.1) * level
    noisy = [rng.poisson(light * 300) / 300 + rng.normal(0, 0.006, light.shape) for _ in range(count)]
    return [np.rint(255 * np.clip(frame, 0, 1) ** (1 / 2.2)).astype(np.uint8) for frame in noisy]


def message(rgb: np.ndarray, index: int) -> SimpleNamespace:
    stamp = START_NS + index * PERIOD_NS
    header = SimpleNamespace(stamp=SimpleNamespace(sec=stamp // 10**9, nanosec=stamp % 10**9), frame_id="camera")
    return SimpleNamespace(
        header=header,
        height=rgb.shape[0],
        width=rgb.shape[1],
        encoding="rgb8",
        is_bigendian=0,
        step=3 * rgb.shape[1],
        data=rgb.tobytes(),
    )


def processed(pipeline: Pipeline, frames: list[np.ndarray]) -> list[EnhancedFrame]:
    out = []
    for index, rgb in enumerate(frames):
        pipeline.add_capture(START_NS + index * PERIOD_NS, CaptureMetadata(3200.0, 0.03))
        out.append(pipeline.process(message(rgb, index), index))
    return out


def pipeline_of(enhancer: Enhancer, health: Health | None = None, **config: Any) -> Pipeline:
    return Pipeline(enhancer, PipelineConfig(smoothing_s=0.0, **config), health)


def test_frames_are_fused_and_noise_falls(enhancer: Enhancer) -> None:
    frames, health = dark_frames(8), Health()
    fused = processed(pipeline_of(enhancer, health), frames)[-1]
    alone = processed(pipeline_of(enhancer, fusion=False), frames)[-1]
    assert fused.fusion is not None
    assert fused.fusion.mean_count > 4.0
    assert alone.fusion is not None
    assert alone.fusion.mean_count == 1.0
    assert fused.capture == CaptureMetadata(3200.0, 0.03)

    def roughness(frame: EnhancedFrame) -> float:
        return float(np.abs(np.diff(frame.rgb.astype(np.float32), axis=1)).mean())

    assert roughness(fused) < 0.6 * roughness(alone)
    values = health.report(10**9).values
    assert float(values["fusion_mean_frames"]) > 4.0
    assert float(values["fusion_ms"]) > 0.0


def test_the_first_frame_equals_the_one_without_fusion(enhancer: Enhancer) -> None:
    frames = dark_frames(1)
    fused, alone = (processed(pipeline_of(enhancer, fusion=fusion), frames)[0] for fusion in (True, False))
    np.testing.assert_array_equal(fused.rgb, alone.rgb)


def test_a_maximum_of_one_frame_disables_fusion(enhancer: Enhancer) -> None:
    frames = dark_frames(4)
    fused = processed(pipeline_of(enhancer, fusion_max_frames=1), frames)[-1]
    np.testing.assert_array_equal(fused.rgb, processed(pipeline_of(enhancer, fusion=False), frames)[-1].rgb)


def test_bright_frames_pass_unchanged_and_end_the_average(enhancer: Enhancer) -> None:
    bright = np.full((HEIGHT, WIDTH, 3), 200, np.uint8)
    dark = dark_frames(8)
    out = processed(pipeline_of(enhancer, bypass_above=100.0), [*dark[:4], bright, *dark[4:]])
    assert out[4].bypassed
    assert out[4].fusion is None
    np.testing.assert_array_equal(out[4].rgb, bright)
    counts = [frame.fusion.mean_count for frame in out[:4] + out[5:] if frame.fusion is not None]
    assert counts[3] > 2.0
    assert counts[4] == 1.0
    assert counts[-1] > 2.0


def test_reset_restarts_the_average(enhancer: Enhancer) -> None:
    frames = dark_frames(5)
    pipeline = pipeline_of(enhancer)
    processed(pipeline, frames[:4])
    pipeline.reset()
    fresh = pipeline.process(message(frames[4], 4), 4)
    assert fresh.fusion is not None
    assert fresh.fusion.mean_count == 1.0


def test_a_function_gets_single_frames() -> None:
    received: list[np.ndarray] = []

    def enhance(rgb: np.ndarray, _capture: CaptureMetadata) -> np.ndarray:
        received.append(rgb)
        return rgb

    frames = dark_frames(3)
    processed(Pipeline(enhance, PipelineConfig(smoothing_s=0.0)), frames)
    for image, frame in zip(received, frames, strict=True):
        np.testing.assert_array_equal(image, frame)


@pytest.mark.parametrize("value", [0, 17])
def test_invalid_numbers_of_frames_are_rejected(value: int) -> None:
    with pytest.raises(ConfigError, match="max_frames"):
        PipelineConfig(fusion_max_frames=value)
