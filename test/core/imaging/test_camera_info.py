import contextlib
import copy
from types import SimpleNamespace

import message_kinds
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lowlight_enhance.core.errors import CameraInfoError, LowlightError
from lowlight_enhance.core.imaging.camera_info import check_matches, image_size, matches, rescaled, with_header

K = [600.0, 0.0, 320.5, 0.0, 610.0, 240.5, 0.0, 0.0, 1.0]
P = [590.0, 0.0, 321.0, -59.0, 0.0, 592.0, 241.0, 0.0, 0.0, 0.0, 1.0, 0.0]
D = [0.1, -0.2, 0.001, 0.002, 0.05]


def camera_info(kind="plain", width=640, height=480, binning=(0, 0), roi=(0, 0, 0, 0)):
    """Return a CameraInfo; ``roi`` is x_offset, y_offset, width, height."""
    x_offset, y_offset, roi_width, roi_height = roi
    region = {"x_offset": x_offset, "y_offset": y_offset, "width": roi_width, "height": roi_height}
    return message_kinds.message(
        kind,
        "sensor_msgs/msg/CameraInfo",
        header=message_kinds.header(kind, 5),
        width=width,
        height=height,
        distortion_model="plumb_bob",
        d=D if kind == "rclpy" else np.array(D),
        k=np.array(K),
        r=np.eye(3).reshape(-1),
        p=np.array(P),
        binning_x=binning[0],
        binning_y=binning[1],
        roi=message_kinds.message(kind, "sensor_msgs/msg/RegionOfInterest", **region, do_rectify=False),
    )


@pytest.mark.parametrize("kind", message_kinds.KINDS)
def test_half_width_and_a_third_of_the_height(kind):
    info = camera_info(kind)
    out = rescaled(info, 320, 160)
    assert (out.width, out.height) == (320, 160)
    np.testing.assert_allclose(out.k, [300, 0, 160.25, 0, 610 / 3, 240.5 / 3, 0, 0, 1])
    np.testing.assert_allclose(out.p, [295, 0, 160.5, -29.5, 0, 592 / 3, 241 / 3, 0, 0, 0, 1, 0])
    np.testing.assert_array_equal(out.d, D)
    np.testing.assert_array_equal(out.r, np.eye(3).reshape(-1))
    assert out.distortion_model == "plumb_bob"
    assert out.header == info.header
    assert type(out) is type(info)


@pytest.mark.parametrize("kind", message_kinds.KINDS)
def test_rescaling_does_not_modify_the_message(kind):
    info = camera_info(kind, 1280, 960, (2, 2), (320, 240, 640, 480))
    before = copy.deepcopy(info)
    out = rescaled(info, 160, 120)
    with_header(info, message_kinds.header(kind, 99))
    out.k[0] = -1.0
    out.roi.width = 7
    for name in ("width", "height", "header", "roi", "binning_x"):
        assert getattr(info, name) == getattr(before, name)
    np.testing.assert_array_equal(info.k, before.k)
    np.testing.assert_array_equal(info.p, before.p)


@pytest.mark.parametrize("kind", message_kinds.KINDS)
def test_the_same_size_keeps_every_value(kind):
    info = camera_info(kind, 1281, 961, (2, 2), (100, 50, 641, 481))
    out = rescaled(info, 320, 240)
    assert out is not info
    assert (out.width, out.height, out.binning_x, out.roi) == (1281, 961, 2, info.roi)
    np.testing.assert_array_equal(out.k, K)


@pytest.mark.parametrize("kind", message_kinds.KINDS)
def test_with_header_changes_only_the_header(kind):
    info, header = camera_info(kind), message_kinds.header(kind, 77, "other")
    out = with_header(info, header)
    assert out.header == header
    assert info.header != header
    assert (out.width, out.height, out.roi) == (info.width, info.height, info.roi)
    np.testing.assert_array_equal(out.k, info.k)


def test_a_region_of_interest_scales_with_the_image():
    out = rescaled(camera_info(width=1280, height=960, roi=(200, 100, 640, 480)), 320, 240)
    assert (out.width, out.height) == (640, 480)
    assert (out.roi.x_offset, out.roi.y_offset, out.roi.width, out.roi.height) == (100, 50, 320, 240)
    np.testing.assert_allclose(out.k[:3], [300, 0, 160.25])


def test_binning_is_kept_and_the_sensor_size_is_scaled():
    out = rescaled(camera_info(width=1280, height=960, binning=(2, 2)), 320, 240)
    assert (out.binning_x, out.binning_y) == (2, 2)
    assert (out.width, out.height) == (640, 480)
    np.testing.assert_allclose(out.k[:3], [300, 0, 160.25])


def test_a_point_projects_to_the_scaled_pixel():
    """The principal point stays on the same pixel of the scene after region of interest, binning and resizing."""
    info = camera_info(width=1280, height=960, binning=(2, 4), roi=(40, 80, 800, 640))
    out = rescaled(info, 100, 40)
    before_x, before_y = (info.k[2] - info.roi.x_offset) / 2, (info.k[5] - info.roi.y_offset) / 4
    after_x, after_y = (out.k[2] - out.roi.x_offset) / 2, (out.k[5] - out.roi.y_offset) / 4
    assert image_size(info) == (400, 160)
    np.testing.assert_allclose((after_x, after_y), (before_x / 4, before_y / 4))


def test_one_side_of_zero_is_an_error():
    with pytest.raises(CameraInfoError, match="640x0"):
        rescaled(camera_info(height=0), 320, 240)


def test_an_uncalibrated_camera_info_is_unchanged():
    info = camera_info(width=0, height=0)
    assert matches(info, 640, 480)
    check_matches(info, 1, 1)
    out = rescaled(info, 320, 240)
    assert (out.width, out.height) == (0, 0)


@pytest.mark.parametrize(
    ("info", "size"),
    [
        (camera_info(), (640, 480)),
        (camera_info(binning=(1, 1)), (640, 480)),
        (camera_info(binning=(2, 4)), (320, 120)),
        (camera_info(roi=(10, 20, 100, 50)), (100, 50)),
        (camera_info(roi=(10, 20, 100, 50), binning=(2, 1)), (50, 50)),
        (camera_info(width=641, binning=(2, 0)), (320, 480)),
    ],
)
def test_image_size(info, size):
    assert image_size(info) == size
    assert matches(info, *size)
    assert not matches(info, size[0] + 1, size[1])
    assert not matches(info, size[0], size[1] - 1)


def test_another_size_is_an_error_that_names_both_sizes():
    with pytest.raises(CameraInfoError, match=r"320x240 images .* the image is 640x480; check"):
        check_matches(camera_info(binning=(2, 2)), 640, 480)


@pytest.mark.parametrize(
    ("broken", "expected"),
    [
        ({"k": [1.0] * 8}, "k is not 9 numbers"),
        ({"p": "fisheye"}, "p is not 12 numbers"),
        ({"k": None}, "k is not 9 numbers"),
        ({"width": "wide"}, "width is not an integer"),
        ({"binning_x": 1.5}, "binning_x is not an integer"),
        ({"roi": None}, "no field 'width'"),
    ],
)
def test_an_invalid_camera_info_is_an_error(broken, expected):
    info = camera_info()
    for name, value in broken.items():
        setattr(info, name, value)
    with pytest.raises(CameraInfoError, match=expected):
        rescaled(info, 320, 240)


def test_another_message_type_and_an_invalid_size_are_errors():
    with pytest.raises(CameraInfoError, match="is not a CameraInfo message"):
        matches(SimpleNamespace(data=[]), 640, 480)
    with pytest.raises(CameraInfoError, match="0x240"):
        rescaled(camera_info(), 0, 240)


@settings(deadline=None, max_examples=100)
@given(
    size=st.tuples(st.integers(8, 4000), st.integers(8, 4000)),
    binning=st.tuples(st.integers(0, 4), st.integers(0, 4)),
    region=st.none() | st.tuples(st.floats(0, 0.5), st.floats(0, 0.5), st.floats(0.2, 0.5), st.floats(0.2, 0.5)),
    target=st.tuples(st.integers(1, 2000), st.integers(1, 2000)),
)
def test_a_rescaled_camera_info_matches_its_image(size, binning, region, target):
    width, height = size
    roi = (0, 0, 0, 0)
    if region is not None:
        roi = tuple(round(part * side) for part, side in zip(region, (width, height, width, height), strict=True))
    info = camera_info(width=width, height=height, binning=binning, roi=roi)
    if 0 in image_size(info):
        return
    out = rescaled(info, *target)
    assert matches(out, *target)
    assert out.roi.x_offset + out.roi.width <= out.width
    assert out.roi.y_offset + out.roi.height <= out.height


anything = st.none() | st.integers(-5, 5) | st.floats() | st.text(max_size=3) | st.lists(st.floats(), max_size=12)


@settings(deadline=None, max_examples=150)
@given(st.dictionaries(st.sampled_from(["width", "height", "binning_x", "k", "p", "roi"]), anything, max_size=3))
def test_invalid_fields_raise_only_camera_info_errors(broken):
    info = camera_info()
    for name, value in broken.items():
        setattr(info, name, value)
    with contextlib.suppress(LowlightError):
        check_matches(info, 320, 240)
    with contextlib.suppress(LowlightError):
        rescaled(info, 320, 240)
