import json
import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lowlight_enhance.core.errors import ConfigError, ImageError, ModelError
from lowlight_enhance.core.inference.model_input import MAX_ASPECT, ModelInput
from lowlight_enhance.core.metadata.capture import UNKNOWN, CaptureMetadata


def test_plane_values_are_log2_clipped_and_unknown_is_reserved() -> None:
    spec = ModelInput(iso_range=(100.0, 1600.0), exposure_range_s=(1 / 1024, 1.0))
    assert spec.plane_values(CaptureMetadata(400.0, 1 / 32)) == pytest.approx((0.5, 0.5))
    assert spec.plane_values(CaptureMetadata(50.0, 60.0)) == (0.0, 1.0)
    assert spec.plane_values(UNKNOWN) == (-1.0, -1.0)
    assert spec.plane_values(CaptureMetadata(math.nan, -1.0)) == (-1.0, -1.0)


def test_encode_writes_colour_metadata_and_padding() -> None:
    rgb = np.zeros((40, 50, 3), np.uint8)
    rgb[..., 0], rgb[..., 1], rgb[:, -1, 2] = 255, 51, 102
    tensor = ModelInput(working_size=0, size_multiple=32).encode(rgb, CaptureMetadata(51200.0, None))
    assert tensor.shape == (1, 5, 64, 64)
    assert tensor.dtype == np.float32
    assert np.all(tensor[0, 0] == 1.0)
    assert np.allclose(tensor[0, 1], 0.2)
    assert np.all(tensor[0, 2, :, :49] == 0.0)
    assert np.allclose(tensor[0, 2, :, 49:], 0.4)  # the edge is repeated into the padding
    assert np.allclose(tensor[0, 3], np.log2(51200 / 50) / np.log2(102400 / 50))
    assert np.all(tensor[0, 4] == -1.0)


def test_16_bit_values_are_exact() -> None:
    rgb = np.full((32, 32, 3), 300, np.uint16)
    assert ModelInput().encode(rgb, UNKNOWN)[0, :3] == pytest.approx(300 / 65535)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 700), st.integers(1, 700), st.sampled_from([0, 64, 288]), st.sampled_from([1, 8, 32]))
def test_grid_keeps_the_aspect_ratio_and_does_not_enlarge(
    height: int, width: int, working: int, multiple: int
) -> None:
    grid = ModelInput(working_size=working, size_multiple=multiple).grid(height, width)
    assert grid.height <= height
    assert grid.width <= width
    assert grid.padded_height % multiple == 0
    assert 0 <= grid.padded_height - grid.height < multiple
    assert 0 <= grid.padded_width - grid.width < multiple
    short, long = sorted((height, width))
    if working and (short > working or long > MAX_ASPECT * working):
        assert min(grid.height, grid.width) == working or max(grid.height, grid.width) == MAX_ASPECT * working
        assert abs(grid.height / height - grid.width / width) <= 1.0 / min(height, width)
    else:
        assert (grid.height, grid.width) == (height, width)


@pytest.mark.parametrize(("height", "width"), [(48, 64), (31, 17), (500, 333)])
def test_decode_removes_the_padding(height: int, width: int) -> None:
    spec = ModelInput(working_size=100)
    rgb = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    tensor = spec.encode(rgb, UNKNOWN)
    small = spec.decode(tensor, height, width)[:3]
    assert np.allclose(small.transpose(1, 2, 0), spec.downscale(rgb) / np.float32(255))


@pytest.mark.parametrize(
    ("height", "width", "working"),
    [(480, 640, 384), (480, 640, 240), (480, 640, 256), (720, 1280, 128), (1080, 1920, 256), (333, 501, 100)],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_downscaled_frame_is_close_to_the_area_average(
    height: int, width: int, working: int, dtype: type[np.uint8] | type[np.uint16]
) -> None:
    """The content does not move, and noise is averaged instead of sampled."""
    rng = np.random.default_rng(1)
    most = np.iinfo(dtype).max
    coarse = rng.integers(most // 4, most // 2, (12, 16, 3)).astype(dtype)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    spec = ModelInput(working_size=working)
    grid = spec.grid(height, width)
    average = cv2.resize(smooth, (grid.width, grid.height), interpolation=cv2.INTER_AREA)
    assert np.abs(spec.downscale(smooth).astype(float) - average).max() <= 0.012 * most
    noise = rng.integers(0, most, (height, width, 3)).astype(dtype)
    shrunk, averaged = (
        spec.downscale(noise),
        cv2.resize(noise, (grid.width, grid.height), interpolation=cv2.INTER_AREA),
    )
    assert shrunk.dtype == dtype
    assert float(shrunk.std()) < 1.25 * float(averaged.std())


@pytest.mark.parametrize("shape", [(1, 307_200), (307_200, 1), (24, 33_000), (3, 102_400)])
def test_a_frame_of_one_row_needs_no_more_memory(shape: tuple[int, int]) -> None:
    spec = ModelInput(working_size=384)
    usual = spec.encode(np.zeros((480, 640, 3), np.uint8), UNKNOWN)
    tensor = spec.encode(np.full((*shape, 3), 51, np.uint8), UNKNOWN)
    assert tensor.size <= usual.size
    assert np.allclose(tensor[0, :3], 0.2)
    with pytest.raises(ImageError, match=f"a {shape[1]}x{shape[0]} frame .* set a working size"):
        ModelInput(working_size=0).encode(np.zeros((*shape, 3), np.uint8), UNKNOWN)


def test_decode_rejects_an_output_of_another_size() -> None:
    with pytest.raises(ModelError, match="does not keep its input's size"):
        ModelInput().decode(np.zeros((1, 6, 32, 32), np.float32), 100, 100)


@pytest.mark.parametrize(
    "bad", [np.zeros((0, 4, 3), np.uint8), np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32)]
)
def test_invalid_images_are_errors(bad: np.ndarray) -> None:
    with pytest.raises(ImageError, match="expected"):
        ModelInput().encode(bad, UNKNOWN)


def test_json_round_trip() -> None:
    spec = ModelInput(working_size=320, size_multiple=8, iso_range=(25.0, 3200.0), unknown=-0.5)
    assert ModelInput.from_json(spec.to_json()) == spec


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "3",
        "{}",
        "[" * 4000,
        '{"version": 2}',
        '{"version": 1, "colour": 3}',
        '{"version": 1, "iso_range": [1]}',
        ModelInput().to_json() + " " * 4096,
    ],
    ids=lambda text: text[:30].replace("[", "(") or "empty",
)
def test_unreadable_json_is_a_model_error(text: str) -> None:
    with pytest.raises(ModelError):
        ModelInput.from_json(text)


def test_values_out_of_range_in_a_file_are_a_model_error() -> None:
    values = json.loads(ModelInput().to_json())
    with pytest.raises(ModelError, match="ascending"):
        ModelInput.from_json(json.dumps({**values, "iso_range": [5, 2]}))


NUMBERS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3)


@given(
    st.fixed_dictionaries(
        {"version": st.just(1)},
        optional={
            "working_size": NUMBERS,
            "size_multiple": NUMBERS,
            "iso_range": st.lists(NUMBERS, min_size=2, max_size=2),
            "exposure_range_s": st.lists(NUMBERS, min_size=2, max_size=2),
            "unknown": NUMBERS,
        },
    )
)
def test_arbitrary_json_is_rejected_or_usable(change: dict) -> None:
    text = json.dumps({**json.loads(ModelInput().to_json()), **change})
    try:
        spec = ModelInput.from_json(text)
    except ModelError:
        return
    tensor = spec.encode(np.full((3, 2, 3), 255, np.uint8), CaptureMetadata(400.0, None))
    assert np.all(np.isfinite(tensor))
    assert tensor[0, 0, 0, 0] == 1.0


@pytest.mark.parametrize(
    "change",
    [
        {"working_size": -1},
        {"working_size": 1.5},
        {"working_size": 10**9},
        {"size_multiple": 0},
        {"size_multiple": 10**9},
        {"unknown": 0.5},
        {"unknown": 1e30},
        {"iso_range": (0, 1)},
        {"iso_range": (1.0, 1.0000000000000002)},
    ],
    ids=str,
)
def test_settings_out_of_range_are_rejected(change: dict) -> None:
    with pytest.raises(ConfigError):
        ModelInput(**change)


def test_averaged_frames_shift_the_planes() -> None:
    model_input = ModelInput(working_size=32)
    rgb = np.full((48, 64, 3), 90, np.uint8)
    capture = CaptureMetadata(1600.0, 0.01)
    alone = model_input.encode(rgb, capture)
    np.testing.assert_array_equal(model_input.encode(rgb, capture, np.ones((12, 16), np.float32)), alone)
    eight = model_input.encode(rgb, capture, np.full((48, 64), 8.0, np.float32))
    expected = model_input.encode(rgb, CaptureMetadata(200.0, 0.08))
    np.testing.assert_allclose(eight, expected, atol=1e-6)


def test_frame_counts_differ_from_pixel_to_pixel() -> None:
    model_input = ModelInput(working_size=0, size_multiple=32)
    counts = np.ones((40, 64), np.float32)
    counts[:, 32:] = 4.0
    tensor = model_input.encode(np.zeros((40, 64, 3), np.uint8), CaptureMetadata(1600.0, 0.01), counts)
    left, right = (
        model_input.plane_values(CaptureMetadata(1600.0, 0.01)),
        model_input.plane_values(CaptureMetadata(400.0, 0.04)),
    )
    np.testing.assert_allclose(tensor[0, 3:, :, 0], np.array(left)[:, None] * np.ones(64), atol=1e-6)
    np.testing.assert_allclose(tensor[0, 3:, :, 63], np.array(right)[:, None] * np.ones(64), atol=1e-6)


def test_unknown_metadata_stays_unknown_in_an_average() -> None:
    model_input = ModelInput(working_size=32)
    tensor = model_input.encode(np.zeros((32, 32, 3), np.uint8), CaptureMetadata(), np.full((32, 32), 8.0, np.float32))
    assert np.all(tensor[0, 3:] == model_input.unknown)
