"""Strength, bypass and smoothing of a pipeline, and settings that are replaced between frames."""

from __future__ import annotations

import math
from dataclasses import replace
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
from lowlight_enhance.core.metadata.capture import UNKNOWN, CaptureMetadata
from lowlight_enhance.core.metadata.readers import MetadataSettings
from lowlight_enhance.core.pipeline import PROFILES, Pipeline, PipelineConfig

MS = 1_000_000
HALF = 0.1 / math.log(2.0)
"""The time constant at which a difference halves in a tenth of a second."""


def header(stamp_ns: int) -> SimpleNamespace:
    stamp = SimpleNamespace(sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)
    return SimpleNamespace(stamp=stamp, frame_id="camera_optical")


def image(pixels: np.ndarray | int, stamp_ns: int = 10**9, encoding: str = "bgr8") -> SimpleNamespace:
    """Return an image message of (H, W, C) ``pixels``, or a flat one of that level."""
    array = np.full((48, 64, 3), pixels, np.uint8) if isinstance(pixels, int) else pixels
    return SimpleNamespace(
        header=header(stamp_ns),
        height=array.shape[0],
        width=array.shape[1],
        encoding=encoding,
        is_bigendian=0,
        step=array.nbytes // array.shape[0],
        data=array.tobytes(),
    )


def camera_info(height: int = 48, width: int = 64) -> SimpleNamespace:
    return SimpleNamespace(
        header=header(7),
        height=height,
        width=width,
        k=[100.0, 0.0, 3.0, 0.0, 100.0, 2.0, 0.0, 0.0, 1.0],
        p=[100.0, 0.0, 3.0, 0.0, 0.0, 100.0, 2.0, 0.0, 0.0, 0.0, 1.0, 0.0],
        binning_x=0,
        binning_y=0,
        roi=SimpleNamespace(x_offset=0, y_offset=0, height=0, width=0, do_rectify=False),
    )


def noise(height: int = 48, width: int = 64, channels: int = 3, dtype: str = "uint8") -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.integers(0, np.iinfo(dtype).max, (height, width, channels), dtype, endpoint=True)


def plus_ten(rgb: np.ndarray, _capture: CaptureMetadata) -> np.ndarray:
    return np.clip(rgb.astype(np.int32) + 10, 0, 255).astype(np.uint8)


def never(_rgb: np.ndarray, _capture: CaptureMetadata) -> np.ndarray:
    raise AssertionError("a frame that is to stay as it is was enhanced")


def stream(enhance: Any, **config: Any) -> Pipeline:
    return Pipeline(enhance, PipelineConfig(**{"strength": 1.0, **config}), Health())


@pytest.fixture
def tiny(tmp_path: Path) -> Any:
    def make(gain: float = 2.0, offset: float = 0.0, **options: Any) -> Enhancer:
        shape = {name: options.pop(name) for name in ("channels", "model_input") if name in options}
        shape.setdefault("model_input", ModelInput(working_size=24, size_multiple=8))
        file = write_tiny_model(tmp_path / f"{len(list(tmp_path.iterdir()))}.onnx", gain, offset, **shape)
        return Enhancer(file, threads=1, **options)

    return make


# Strength


def test_at_strength_0_the_message_itself_is_passed_on() -> None:
    frames, msg = stream(never, strength=0.0), image(noise())
    frames.add_camera_info(camera_info())
    frame = frames.process(msg, 0)
    assert frame.bypassed
    assert frame.passed_message is msg
    np.testing.assert_array_equal(frame.rgb, noise()[:, :, ::-1])
    assert (frame.header, frame.encoding) == (msg.header, "bgr8")
    assert frame.camera_info is not None
    assert frame.camera_info.header is msg.header


@pytest.mark.parametrize(("strength", "level"), [(0.25, 25), (0.5, 30), (1.0, 40)])
@pytest.mark.parametrize("channels", [3, 6])
def test_strength_lies_between_input_and_enhancement(tiny: Any, channels: int, strength: float, level: int) -> None:
    frame = stream(tiny(2.0, channels=channels), strength=strength).process(image(20), 0)
    assert np.all(frame.rgb == level)
    assert not frame.bypassed
    assert frame.passed_message is None


def test_strength_of_any_enhance_is_a_blend() -> None:
    assert np.all(stream(plus_ten, strength=0.5).process(image(20), 0).rgb == 25)


def test_full_strength_is_the_enhancement_itself(tiny: Any) -> None:
    enhancer, rgb = tiny(1.7, 0.03), noise()
    frame = stream(enhancer, smoothing_s=0.0).process(image(rgb, encoding="rgb8"), 0)
    np.testing.assert_array_equal(frame.rgb, enhancer(rgb, UNKNOWN))


@pytest.mark.parametrize("strength", [0.0, 0.5])
@pytest.mark.parametrize("channels", [3, 6])
def test_strength_keeps_the_size_of_the_models_resolution(tiny: Any, strength: float, channels: int) -> None:
    enhancer = tiny(2.0, channels=channels, output_resolution="model")
    frames = stream(enhancer, strength=strength)
    frames.add_camera_info(camera_info())
    frame = frames.process(image(20), 0)
    assert frame.rgb.shape == (24, 32, 3)
    assert np.all(frame.rgb == 20 + round(20 * strength))
    assert frame.passed_message is None
    assert frame.camera_info is not None
    assert (frame.camera_info.width, frame.camera_info.height) == (32, 24)


def test_the_profile_decides_the_strength_unless_it_is_given(tiny: Any) -> None:
    levels = {
        (profile, strength): int(
            stream(tiny(2.0), profile=profile, strength=strength, smoothing_s=0.0).process(image(20), 0).rgb[0, 0, 0]
        )
        for profile in PROFILES
        for strength in (None, 0.25)
    }
    for profile, strength in PROFILES.items():
        assert levels[profile, None] == 20 + round(20 * strength)
        assert levels[profile, 0.25] == 25


@pytest.mark.parametrize(
    "values",
    [
        {"profile": "landing"},
        {"strength": 1.01},
        {"strength": math.nan},
        {"bypass_above": -1.0},
        {"smoothing_s": math.inf},
    ],
)
def test_invalid_settings_are_rejected(values: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(values))):
        PipelineConfig(**values)


# Bypass


def test_bright_frames_are_passed_until_one_is_darker_by_the_hysteresis() -> None:
    frames = stream(plus_ten, bypass_above=100.0, bypass_hysteresis=20.0)
    results = []
    for level in (99, 100, 81, 80, 79, 99):
        msg = image(level)
        frame = frames.process(msg, 0)
        assert (frame.passed_message is msg) == frame.bypassed
        results.append((frame.bypassed, int(frame.rgb[0, 0, 0]) - level))
    assert results == [(False, 10), (True, 0), (True, 0), (True, 0), (False, 10), (False, 10)]
    assert frames.health.report(1).values["bypassed"] == "3"


@pytest.mark.parametrize(
    ("encoding", "choice", "written"),
    [("bgr8", "same", "bgr8"), ("bgr8", "rgb8", "rgb8"), ("rgb8", "bgr8", "bgr8"), ("rgb8", "same", "rgb8")],
)
def test_a_message_is_passed_on_only_in_the_requested_encoding(encoding: str, choice: str, written: str) -> None:
    msg = image(noise(), encoding=encoding)
    frame = stream(never, bypass_above=1.0, output_encoding=choice).process(msg, 0)
    assert frame.encoding == written
    assert (frame.passed_message is msg) == (encoding == written)
    order = slice(None) if encoding == "rgb8" else slice(None, None, -1)
    np.testing.assert_array_equal(frame.rgb, noise()[:, :, order])


def test_bright_grey_frames_pass_unchanged() -> None:
    msg = image(noise(channels=1), encoding="mono8")
    frame = stream(never, strength=0.0).process(msg, 0)
    assert frame.passed_message is msg
    assert stream(never, strength=0.0, output_encoding="bgr8").process(msg, 0).passed_message is None


def test_bright_16_bit_frames_are_converted_to_8() -> None:
    frame = stream(never, strength=0.0).process(image(noise(dtype="uint16"), encoding="rgb16"), 0)
    assert frame.passed_message is None
    np.testing.assert_array_equal(frame.rgb, np.rint(noise(dtype="uint16") / 257.0).astype(np.uint8))


def test_bright_compressed_frames_pass_unchanged() -> None:
    data = cv2.imencode(".png", noise())[1].tobytes()
    msg = SimpleNamespace(header=header(5), format="bgr8; png compressed bgr8", data=data)
    frames = stream(never, strength=0.0)
    frames.add_camera_info(camera_info())
    frame = frames.process(msg, 0)
    assert frame.passed_message is msg
    assert frame.camera_info is not None
    np.testing.assert_array_equal(frame.rgb, noise()[:, :, ::-1])
    frames.config = replace(frames.config, output_encoding="mono8")
    assert frames.process(msg, 0).passed_message is None


# Smoothing


def test_a_jump_of_the_enhancement_is_smoothed_and_the_input_is_not(tiny: Any) -> None:
    """The scene stays while the model is swapped for one that adds 40 levels more."""
    rgb = noise() // 8
    frames = stream(tiny(1.0, 20 / 255), smoothing_s=HALF)
    levels = []
    for number in range(4):
        if number == 1:
            frames.enhancer = tiny(1.0, 60 / 255)
        frame = frames.process(image(rgb, (1000 + 100 * number) * MS, "rgb8"), 0)
        added = frame.rgb.astype(int) - rgb
        assert added.max() - added.min() <= 1
        levels.append(float(added.mean()))
    assert levels == pytest.approx([20.0, 40.0, 50.0, 55.0], abs=0.6)


def test_smoothing_resets_when_stamps_jump_back_and_can_be_disabled(tiny: Any) -> None:
    frames = stream(tiny(1.0, 20 / 255), smoothing_s=HALF)
    frames.process(image(30, 5000 * MS), 0)
    frames.enhancer = tiny(1.0, 60 / 255)
    assert np.all(frames.process(image(30, 1000 * MS), 0).rgb == 90)
    frames.enhancer = tiny(1.0, 20 / 255)
    frames.config = replace(frames.config, smoothing_s=0.0)
    assert np.all(frames.process(image(30, 1100 * MS), 0).rgb == 50)


def test_strength_applies_to_the_smoothed_maps(tiny: Any) -> None:
    frames = stream(tiny(1.0, 20 / 255), smoothing_s=HALF, strength=0.5)
    assert np.all(frames.process(image(30, 1000 * MS), 0).rgb == 40)
    frames.enhancer = tiny(1.0, 60 / 255)
    assert np.all(frames.process(image(30, 1100 * MS), 0).rgb == 50)
    frames.config = replace(frames.config, strength=1.0)
    assert np.all(frames.process(image(30, 1200 * MS), 0).rgb == 80)


def test_equal_inputs_give_equal_outputs(tiny: Any) -> None:
    enhancer = tiny(3.0, 0.01)
    rng = np.random.default_rng(1)
    messages = [image(rng.integers(0, 60, (48, 64, 3), np.uint8), (1000 + 33 * n) * MS) for n in range(5)]
    one, other = stream(enhancer), stream(enhancer)
    for msg in messages:
        np.testing.assert_array_equal(one.process(msg, 0).rgb, other.process(msg, 0).rgb)


# Settings and metadata


def test_replacing_config_and_enhancer_keeps_received_data() -> None:
    frames = stream(plus_ten)
    frames.add_camera_info(camera_info())
    frames.add_capture(1000 * MS, CaptureMetadata(400.0, 0.01))
    frames.config = replace(frames.config, output_encoding="rgb8", metadata_tolerance_s=0.05)
    frames.enhancer = lambda rgb, _: rgb[::2, ::2].copy()
    frame = frames.process(image(20, 1040 * MS), 0)
    assert (frame.match, frame.metadata_age_ns, frame.encoding) == ("nearest", 40 * MS, "rgb8")
    assert frame.capture == CaptureMetadata(400.0, 0.01)
    assert frame.camera_info is not None
    assert frame.camera_info.width == 32


def test_metadata_without_a_stamp_uses_the_time_of_receipt() -> None:
    fields = MetadataSettings(exposure_field="exposure", exposure_scale_s=1e-3, stamp_field="")
    frames = stream(plus_ten, metadata=fields)
    bare = SimpleNamespace(exposure=10)
    frames.add_metadata("some_msgs/msg/Bare", bare)
    assert frames.process(image(20, 1000 * MS), 0).match == "none"
    frames.add_metadata("some_msgs/msg/Bare", bare, received_ns=1500 * MS)
    frame = frames.process(image(20, 1600 * MS), 0)
    assert (frame.match, frame.metadata_age_ns) == ("last", 100 * MS)
    assert frame.capture.exposure_s == pytest.approx(0.01)
    values = frames.health.report(1).values
    assert (values["metadata_source"], values["metadata_age_ms"]) == ("last", "100.00")


def test_has_metadata_for_reports_arrived_metadata() -> None:
    frames = stream(plus_ten, metadata_tolerance_s=0.005)
    assert not frames.has_metadata_for(1000 * MS)
    frames.add_capture(1004 * MS, CaptureMetadata(400.0, None))
    assert frames.has_metadata_for(1000 * MS)
    assert frames.has_metadata_for(1004 * MS)
    assert not frames.has_metadata_for(1010 * MS)


def test_an_unknown_capture_replaces_the_previous_one() -> None:
    frames = stream(plus_ten, fallback=CaptureMetadata(800.0, None))
    frames.add_capture(1000 * MS, CaptureMetadata(400.0, 0.01))
    assert frames.process(image(20, 1100 * MS), 0).match == "last"
    frames.add_capture(1150 * MS, UNKNOWN)
    frame = frames.process(image(20, 1200 * MS), 0)
    assert (frame.match, frame.capture) == ("fallback", CaptureMetadata(800.0, None))
    assert frame.metadata_age_ns is None


def test_disabled_every_frame_passes_unchanged_with_its_camera_info() -> None:
    frames = stream(never)
    frames.enabled = False
    msg = image(20, 3000 * MS)
    assert frames.process(msg, 0).camera_info is None
    frames.add_camera_info(camera_info())
    frame = frames.process(msg, 0)
    assert frame.passed_message is msg
    assert frame.bypassed
    assert (frame.camera_info.header, frame.camera_info.width) == (msg.header, 64)
    assert frames.process(image(noise(20, 20)), 0).camera_info is None
    frames.enabled = True
    with pytest.raises(AssertionError, match="was enhanced"):
        frames.process(msg, 0)
