from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tiny_model import write_tiny_model

from lowlight_enhance.core.enhancement.enhancer import Enhancer
from lowlight_enhance.core.errors import ConfigError, ImageError, ModelError
from lowlight_enhance.core.health import Health
from lowlight_enhance.core.inference.model_input import ModelInput
from lowlight_enhance.core.metadata.capture import UNKNOWN, CaptureMetadata
from lowlight_enhance.core.metadata.readers import MetadataSettings
from lowlight_enhance.core.pipeline import Pipeline, PipelineConfig

FLIR = "flir_camera_msgs/msg/ImageMetaData"
MS = 1_000_000


def header(stamp_ns: int) -> SimpleNamespace:
    stamp = SimpleNamespace(sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)
    return SimpleNamespace(stamp=stamp, frame_id="camera_optical")


def image(stamp_ns: int = 10**9, height: int = 4, width: int = 6, **changes: Any) -> SimpleNamespace:
    data = np.full((height, width, 3), 10, np.uint8).tobytes()
    fields = {
        "header": header(stamp_ns),
        "height": height,
        "width": width,
        "encoding": "bgr8",
        "is_bigendian": 0,
        "step": 3 * width,
        "data": data,
    }
    return SimpleNamespace(**{**fields, **changes})


def flir(stamp_ns: int, exposure_us: int, gain_db: float) -> SimpleNamespace:
    return SimpleNamespace(header=header(stamp_ns), exposure_time=exposure_us, gain=gain_db, max_exposure_time=0)


def camera_info(height: int = 4, width: int = 6) -> SimpleNamespace:
    roi = SimpleNamespace(x_offset=0, y_offset=0, height=0, width=0, do_rectify=False)
    return SimpleNamespace(
        header=header(7),
        height=height,
        width=width,
        distortion_model="plumb_bob",
        d=[0.0] * 5,
        k=[100.0, 0.0, 3.0, 0.0, 100.0, 2.0, 0.0, 0.0, 1.0],
        r=[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
        p=[100.0, 0.0, 3.0, 0.0, 0.0, 100.0, 2.0, 0.0, 0.0, 0.0, 1.0, 0.0],
        binning_x=0,
        binning_y=0,
        roi=roi,
    )


class Recorder:
    """An Enhance that records the metadata of its calls and doubles the brightness."""

    def __init__(self) -> None:
        self.captures: list[CaptureMetadata] = []

    def __call__(self, rgb: np.ndarray, capture: CaptureMetadata) -> np.ndarray:
        self.captures.append(capture)
        return (rgb * 2).astype(np.uint8)


def stream(**config: Any) -> tuple[Pipeline, Recorder, Health]:
    enhance, health = Recorder(), Health()
    return Pipeline(enhance, PipelineConfig(**{"strength": 1.0, **config}), health), enhance, health


def test_a_frame_keeps_its_header_size_and_encoding() -> None:
    frames, _, health = stream()
    msg = image()
    frame = frames.process(msg, 0)
    assert frame.header is msg.header
    assert frame.rgb.shape == (4, 6, 3)
    assert np.all(frame.rgb == 20)
    assert frame.encoding == "bgr8"
    assert frame.camera_info is None
    assert health.report(10**9).values["received"] == "1"


def test_metadata_of_equal_stamp_is_preferred_then_nearest_then_last_then_fallback() -> None:
    frames, enhance, _ = stream(
        metadata_tolerance_s=0.005, metadata_max_age_s=0.5, fallback=CaptureMetadata(400.0, None)
    )
    assert frames.process(image(1000 * MS), 0).match == "fallback"
    frames.add_metadata(FLIR, flir(2000 * MS, 10_000, 20.0))
    frames.add_metadata(FLIR, flir(2003 * MS, 20_000, 20.0))
    assert frames.process(image(2000 * MS), 0).match == "exact"
    assert frames.process(image(2004 * MS), 0).match == "nearest"
    assert frames.process(image(2300 * MS), 0).match == "last"
    assert frames.process(image(2504 * MS), 0).match == "fallback"
    exposures = [c.exposure_s for c in enhance.captures]
    assert exposures == [None, pytest.approx(0.01), pytest.approx(0.02), pytest.approx(0.02), None]
    assert enhance.captures[1].iso == pytest.approx(1000.0)
    assert enhance.captures[-1] == CaptureMetadata(400.0, None)


REALSENSE = "realsense2_camera_msgs/msg/Metadata"
PYLON = "pylon_ros2_camera_interfaces/msg/CurrentParams"


def realsense(stamp_ns: int, auto_exposure: int) -> SimpleNamespace:
    text = f'{{"actual_exposure": 20000, "gain_level": 4, "auto_exposure": {auto_exposure}}}'
    return SimpleNamespace(header=header(stamp_ns), json_data=text)


def pylon(success: bool) -> SimpleNamespace:
    return SimpleNamespace(exposure=20_000.0, gain=0.5, success=success)


@pytest.mark.parametrize(
    ("type_name", "known", "unknown"),
    [
        (REALSENSE, realsense(1000 * MS, 0), realsense(1033 * MS, 1)),
        (FLIR, flir(1000 * MS, 20_000, 6.0), flir(1033 * MS, 0, 0.0)),
        (PYLON, pylon(True), pylon(False)),
    ],
    ids=["auto exposure", "no chunk data", "no success"],
)
@pytest.mark.parametrize("fallback", [UNKNOWN, CaptureMetadata(800.0, 0.5)], ids=["no fallback", "fallback"])
def test_a_message_without_values_makes_the_metadata_unknown_at_once(
    type_name: str, known: Any, unknown: Any, fallback: CaptureMetadata
) -> None:
    frames, enhance, health = stream(fallback=fallback, metadata_max_age_s=60.0)
    frames.add_metadata(type_name, known, 1000 * MS)
    assert frames.process(image(1000 * MS), 0).match == "exact"
    assert not frames.has_metadata_for(1033 * MS)
    frames.add_metadata(type_name, unknown, 1033 * MS)
    assert frames.has_metadata_for(1033 * MS)
    kind = "none" if fallback.is_unknown else "fallback"
    for stamp_ms in (1033, 1066):
        frame = frames.process(image(stamp_ms * MS), 0)
        assert (frame.match, frame.metadata_age_ns) == (kind, None)
        assert enhance.captures[-1] == fallback
    values = health.report(1).values
    assert (values["metadata_source"], values["metadata_age_ms"]) == (kind, "unknown")
    assert (values["metadata.exact"], values[f"metadata.{kind}"], values["failed"]) == ("1", "2", "0")


def test_metadata_of_earlier_frames_is_kept() -> None:
    frames, enhance, _ = stream()
    frames.add_metadata(REALSENSE, realsense(1000 * MS, 0))
    frames.add_metadata(REALSENSE, realsense(1033 * MS, 1))
    assert frames.process(image(1000 * MS), 0).match == "exact"
    assert enhance.captures[0].exposure_s == pytest.approx(0.02)


def test_a_frame_before_a_change_of_the_exposure_has_the_values_before_it() -> None:
    frames, enhance, _ = stream(metadata_tolerance_s=0.005, metadata_max_age_s=1.0)
    frames.add_capture(1000 * MS, CaptureMetadata(100.0, 0.01))
    frames.add_capture(1500 * MS, CaptureMetadata(6400.0, 0.04))
    for stamp in (1100, 1450, 1600):
        assert frames.process(image(stamp * MS), 0).match == "last"
    assert [capture.iso for capture in enhance.captures] == [100.0, 100.0, 6400.0]


def test_metadata_of_another_camera_is_ignored() -> None:
    frames, _, _ = stream(metadata=MetadataSettings(frame_id="camera_optical"))
    frames.add_metadata(REALSENSE, realsense(1000 * MS, 0))
    other = realsense(1033 * MS, 1)
    other.header.frame_id = "another_optical"
    frames.add_metadata(REALSENSE, other)
    assert not frames.has_metadata_for(1033 * MS)
    assert frames.process(image(1033 * MS), 0).match == "last"


def test_one_unreadable_value_is_reported_and_the_other_is_used() -> None:
    frames, enhance, health = stream()
    frames.add_metadata(FLIR, flir(1000 * MS, 20_000, -9999.0))
    assert frames.process(image(1000 * MS), 0).match == "exact"
    assert enhance.captures == [CaptureMetadata(None, pytest.approx(0.02))]
    values = health.report(1).values
    assert values["failed"] == "0"
    assert "gain -9999" in values["metadata_problem"]


def test_missing_values_come_from_the_fallback() -> None:
    frames, enhance, _ = stream(fallback=CaptureMetadata(400.0, 0.5))
    frames.add_capture(1000 * MS, CaptureMetadata(None, 0.01))
    assert frames.process(image(1000 * MS), 0).match == "exact"
    assert enhance.captures == [CaptureMetadata(400.0, 0.01)]


def test_without_metadata_the_capture_is_unknown() -> None:
    frames, enhance, health = stream()
    assert frames.process(image(), 0).match == "none"
    assert enhance.captures == [UNKNOWN]
    assert health.report(1).values["metadata.none"] == "1"


def test_a_bag_that_starts_over_does_not_use_metadata_from_its_end() -> None:
    frames, _, _ = stream(metadata_max_age_s=1.0)
    frames.add_metadata(FLIR, flir(100_000 * MS, 10_000, 0.0))
    assert frames.process(image(1000 * MS), 0).match == "none"
    frames.add_metadata(FLIR, flir(1040 * MS, 10_000, 0.0))
    assert frames.process(image(1040 * MS), 0).match == "exact"


def test_camera_info_follows_the_image() -> None:
    frames, _, _ = stream()
    frames.add_camera_info(camera_info())
    msg = image(5 * 10**9)
    info = frames.process(msg, 0).camera_info
    assert info is not None
    assert info.header == msg.header
    assert (info.width, info.height) == (6, 4)
    assert list(info.k) == camera_info().k


def test_camera_info_is_rescaled_for_a_smaller_result() -> None:
    health = Health()
    frames = Pipeline(lambda rgb, _: rgb[::2, ::2].copy(), PipelineConfig(), health)
    frames.add_camera_info(camera_info())
    info = frames.process(image(), 0).camera_info
    assert info is not None
    assert (info.width, info.height) == (3, 2)
    assert list(info.k)[:6] == [50.0, 0.0, 1.5, 0.0, 50.0, 1.0]


def test_camera_info_of_another_size_is_counted_and_the_frame_is_enhanced() -> None:
    frames, _, health = stream()
    frames.add_camera_info(camera_info(height=480, width=640))
    frame = frames.process(image(), 0)
    assert frame.camera_info is None
    report = health.report(1)
    assert report.values["errors.CameraInfoError"] == "1"
    assert "640" in report.values["last_error"]


@pytest.mark.parametrize(
    "changes",
    [
        {"encoding": "jpeg2000"},
        {"data": b"123"},
        {"height": 0},
        {"step": 5},
        {"width": 100_000, "height": 100_000},
    ],
)
def test_a_bad_frame_is_counted_raised_and_does_not_stop_the_next(changes: dict[str, Any]) -> None:
    frames, _, health = stream()
    bad = image()
    bad.__dict__.update(changes)
    with pytest.raises(ImageError):
        frames.process(bad, 0)
    assert np.all(frames.process(image(), 0).rgb == 20)
    values = health.report(1).values
    assert (values["received"], values["failed"], values["errors.ImageError"]) == ("2", "1", "1")


def test_a_failing_model_is_counted() -> None:
    def broken(_rgb: np.ndarray, _capture: CaptureMetadata) -> np.ndarray:
        raise ModelError("no")

    health = Health()
    with pytest.raises(ModelError):
        Pipeline(broken, PipelineConfig(), health).process(image(), 0)
    assert health.report(1).values["errors.ModelError"] == "1"


def test_unreadable_metadata_is_counted_and_not_raised() -> None:
    frames, _, health = stream()
    frames.add_metadata(
        "realsense2_camera_msgs/msg/Metadata", SimpleNamespace(header=header(1), json_data="{ not json")
    )
    assert health.report(1).values["errors.MetadataError"] == "1"


def test_an_unknown_metadata_type_names_the_known_ones() -> None:
    frames, _, _ = stream()
    with pytest.raises(ConfigError, match="flir_camera_msgs"):
        frames.add_metadata("foo_msgs/msg/Bar", SimpleNamespace())


def test_the_output_encoding_can_be_set() -> None:
    frames, _, _ = stream(output_encoding="rgb8", metadata=MetadataSettings())
    assert frames.process(image(), 0).encoding == "rgb8"


@pytest.mark.parametrize("settings", [{}, {"strength": 0.5}, {"smoothing_s": 0.0}, {"bypass_above": 60.0}])
def test_frames_begun_ahead_and_finished_in_another_thread_are_the_same(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    enhancer = Enhancer(write_tiny_model(tmp_path / "tiny.onnx", gain=3.0, model_input=ModelInput(working_size=64)))
    rng = np.random.default_rng(0)
    levels = (20, 22, 90, 21, 20)
    pixels = [rng.integers(level // 2, level * 2, (96, 128, 3), dtype=np.uint8) for level in levels]
    messages = [image(10**9 + n * 33 * MS, 96, 128, data=p.tobytes()) for n, p in enumerate(pixels)]
    at_once, ahead = (Pipeline(enhancer, PipelineConfig(**settings), Health()) for _ in range(2))
    for frames in (at_once, ahead):
        frames.add_camera_info(camera_info(96, 128))
    expected = [at_once.process(msg, 0) for msg in messages]
    begun = [ahead.begin(msg, 0) for msg in messages]
    ahead.config = PipelineConfig(output_encoding="mono8")  # concerns frames that begin from now on
    ahead.add_camera_info(camera_info(10, 10))
    with ThreadPoolExecutor(1) as pool:
        finished = [pool.submit(ahead.finish, frame).result() for frame in begun]
    for one, other in zip(expected, finished, strict=True):
        assert np.array_equal(one.rgb, other.rgb)
        assert (one.encoding, one.match, one.bypassed) == (other.encoding, other.match, other.bypassed)
        assert other.camera_info.width == 128
        assert (one.passed_message is None) == (other.passed_message is None)
    assert [frame.bypassed for frame in finished] == [bool(settings.get("bypass_above")) and n == 2 for n in range(5)]
