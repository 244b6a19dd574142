"""Property test: any message gives a frame with its size and header, or a LowlightError."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from message_strategies import CAMERA_INFO, GeneratedMessage, calibrations, diagnostics, metadata, pictures
from tiny_model import write_tiny_model

from lowlight_enhance.core.enhancement.enhancer import Enhance, Enhancer
from lowlight_enhance.core.errors import LowlightError
from lowlight_enhance.core.health import Health
from lowlight_enhance.core.imaging.camera_info import image_size
from lowlight_enhance.core.imaging.messages import OUTPUT_ENCODINGS, decode, fill_message
from lowlight_enhance.core.inference.model_input import ModelInput
from lowlight_enhance.core.metadata.capture import UNKNOWN, CaptureMetadata
from lowlight_enhance.core.pipeline import EnhancedFrame, Pipeline, PipelineConfig

MAX_PIXELS = 20_000
"""More pixels than any valid picture of these tests has."""


def brighter(rgb: np.ndarray, _capture: CaptureMetadata) -> np.ndarray:
    return np.full(rgb.shape, 200, np.uint8)


@pytest.fixture(scope="module")
def enhancer(tmp_path_factory: pytest.TempPathFactory) -> Enhancer:
    """A network whose maps are smaller than most frames."""
    file = write_tiny_model(
        tmp_path_factory.mktemp("garbage") / "tiny.onnx", 3.0, 0.02, ModelInput(working_size=24, size_multiple=8)
    )
    return Enhancer(file, threads=1)


configs = st.builds(
    PipelineConfig,
    fallback=st.sampled_from([UNKNOWN, CaptureMetadata(400.0, None), CaptureMetadata(800.0, 0.03)]),
    strength=st.sampled_from([0.0, 0.3, 1.0]),
    bypass_above=st.sampled_from([0.0, 100.0]),
    smoothing_s=st.sampled_from([0.0, 0.1, 1e9]),
    output_encoding=st.sampled_from(OUTPUT_ENCODINGS),
    max_pixels=st.just(MAX_PIXELS),
)
sent = st.one_of(pictures(), pictures(), metadata(), diagnostics(), calibrations())
KINDS_OF_ERROR = {"errors.ImageError", "errors.MetadataError", "errors.CameraInfoError"}


def check_frame(frame: EnhancedFrame, picture: GeneratedMessage) -> None:
    message = picture.message
    size = picture.size or decode(message, "same", MAX_PIXELS)[0].shape[:2]
    assert frame.header is message.header
    assert frame.rgb.shape == (*size, 3)
    assert frame.rgb.dtype == np.uint8
    assert frame.encoding in OUTPUT_ENCODINGS[1:]
    info = frame.camera_info
    if info is not None:
        assert info.header is message.header
        assert image_size(info) in (size[::-1], (0, 0))
    assert frame.passed_message is None or (frame.passed_message is message and frame.bypassed)
    written = SimpleNamespace(data=None)
    fill_message(written, frame.rgb, frame.encoding, frame.header)
    assert (written.height, written.width) == size
    assert written.header is message.header
    assert len(written.data) == written.step * written.height


def check_stream(enhance: Enhance, messages: list[Any], config: PipelineConfig) -> None:
    stream, came, failed = Pipeline(enhance, config, Health()), 0, 0
    for each in messages:
        if each.type_name == CAMERA_INFO:
            stream.add_camera_info(each.message)
            continue
        if each.type_name:
            stream.add_metadata(each.type_name, each.message, 1_000_000_000)
            continue
        came += 1
        try:
            frame = stream.process(each.message, came)
        except LowlightError:
            assert not each.is_good
            failed += 1
            continue
        check_frame(frame, each)
    values = stream.health.report(came + 1).values
    matches = sum(int(value) for name, value in values.items() if name.startswith("metadata."))
    assert (int(values["received"]), matches) == (came, came - failed)
    assert int(values["failed"]) >= failed
    assert {name for name in values if name.startswith("errors.")} <= KINDS_OF_ERROR


@settings(deadline=None, max_examples=1500)
@given(messages=st.lists(sent, min_size=1, max_size=5), config=configs)
def test_frames_have_header_and_size_of_the_input_or_a_lowlight_error_is_raised(
    messages: list[GeneratedMessage], config: PipelineConfig
) -> None:
    check_stream(brighter, messages, config)


@settings(deadline=None, max_examples=500)
@given(messages=st.lists(sent, min_size=1, max_size=5), config=configs)
def test_the_same_holds_with_a_network(
    enhancer: Enhancer, messages: list[GeneratedMessage], config: PipelineConfig
) -> None:
    check_stream(enhancer, messages, config)
