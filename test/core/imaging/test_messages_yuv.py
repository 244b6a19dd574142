"""YUV images, compared with the equations of BT.601 in NumPy and with another package."""

import message_kinds
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from image_cases import ENCODINGS, YUV_ENCODINGS, any_message, message_of_data, random_rgb, yuv_message

from lowlight_enhance.core.errors import ImageError
from lowlight_enhance.core.imaging.messages import rgb_from_message

KR, KB = 0.299, 0.114
"""Weights of red and blue in the luma of ITU-R BT.601."""

SHARING = {"uyvy": (1, 2), "yuv422": (1, 2), "yuyv": (1, 2), "yuv422_yuy2": (1, 2), "nv12": (2, 2), "nv21": (2, 2)}
"""Rows and columns of the pixels that share U and V."""

PRIMARIES = {
    (235, 128, 128): (255, 255, 255),
    (16, 128, 128): (0, 0, 0),
    (126, 128, 128): (128, 128, 128),
    (81, 90, 240): (255, 0, 0),
    (145, 54, 34): (0, 255, 0),
    (41, 240, 110): (0, 0, 255),
}
"""Y, U, V and R, G, B from tables of the standard."""


def random_yuv(height, width, seed=0):
    """Return random values in limited range."""
    yuv = random_rgb(height, width, seed=seed).astype(np.float64) / 255
    return (yuv * [219, 224, 224] + 16).astype(np.uint8)


def with_shared_colour(yuv, encoding):
    rows, columns = SHARING.get(encoding, (1, 1))
    shared = yuv.copy()
    shared[:, :, 1:] = np.repeat(np.repeat(yuv[::rows, ::columns, 1:], rows, axis=0), columns, axis=1)
    return shared


def exact_rgb(yuv):
    """Return R'G'B' of limited-range Y'CbCr by the standard, without rounding."""
    luma = (yuv[:, :, 0].astype(np.float64) - 16) / 219
    blue_difference, red_difference = ((yuv[:, :, k].astype(np.float64) - 128) / 224 for k in (1, 2))
    red = luma + 2 * (1 - KR) * red_difference
    blue = luma + 2 * (1 - KB) * blue_difference
    green = (luma - KR * red - KB * blue) / (1 - KR - KB)
    return np.clip(np.stack([red, green, blue], axis=2), 0, 1) * 255


def assert_close(out, yuv):
    assert out.shape == yuv.shape
    assert out.dtype == np.uint8
    assert out.flags.c_contiguous
    assert np.abs(out - exact_rgb(yuv)).max() <= 1.0  # 0.5 from rounding, the rest from integer arithmetic


@pytest.mark.parametrize("encoding", YUV_ENCODINGS)
@pytest.mark.parametrize(("yuv", "rgb"), PRIMARIES.items())
def test_colours_of_bt601(encoding, yuv, rgb):
    out = rgb_from_message(yuv_message(np.full((4, 6, 3), yuv, np.uint8), encoding))
    assert np.abs(out.astype(int) - rgb).max() <= 1


@pytest.mark.parametrize("kind", message_kinds.KINDS)
@pytest.mark.parametrize("encoding", YUV_ENCODINGS)
@pytest.mark.parametrize("padding", [0, 6, 64, 7])
def test_pixels_follow_the_equations(kind, encoding, padding):
    yuv = random_yuv(34, 46)
    out = rgb_from_message(yuv_message(yuv, encoding, kind, padding))
    assert_close(out, with_shared_colour(yuv, encoding))


@settings(deadline=None, max_examples=120)
@given(
    st.sampled_from(YUV_ENCODINGS), st.integers(1, 12), st.integers(1, 12), st.integers(0, 9), st.integers(0, 2**32)
)
def test_every_size_and_step(encoding, half_height, half_width, padding, seed):
    yuv = random_yuv(2 * half_height, 2 * half_width, seed)
    out = rgb_from_message(yuv_message(yuv, encoding, padding=padding))
    assert_close(out, with_shared_colour(yuv, encoding))


def test_known_nv24_pixels():
    luma = [[16, 235, 81], [145, 41, 126]]
    chroma = [[128, 128, 128, 128, 90, 240], [54, 34, 240, 110, 128, 128]]
    data = [value for row in luma for value in (*row, *[9] * 5)]
    data += [value for row in chroma for value in (*row, *[9] * 10)]
    message = message_of_data(np.array(data, np.uint8), "nv24", 2, 3, step=8)
    expected = [[(0, 0, 0), (255, 255, 255), (255, 0, 0)], [(0, 255, 0), (0, 0, 255), (128, 128, 128)]]
    assert np.abs(rgb_from_message(message).astype(int) - expected).max() <= 1


def test_luma_below_black_is_black_in_every_encoding():
    yuv = np.full((4, 4, 3), (3, 150, 140), np.uint8)
    black = exact_rgb(np.full((4, 4, 3), (16, 150, 140), np.uint8))
    for encoding in YUV_ENCODINGS:
        assert np.abs(rgb_from_message(yuv_message(yuv, encoding)) - black).max() <= 1.0, encoding


@pytest.mark.parametrize(("encoding", "of_width"), [("nv12", (1.5, 2)), ("nv21", (1.5, 2)), ("nv24", (2, 3))])
def test_a_step_over_all_planes_is_accepted(encoding, of_width):
    yuv = random_yuv(6, 8)
    message = yuv_message(yuv, encoding)
    for factor in of_width:
        message.step = int(8 * factor)
        assert_close(rgb_from_message(message), with_shared_colour(yuv, encoding))


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (any_message("yuyv", (4, 6)), None),
        (any_message("uyvy", (3, 6)), None),
        (any_message("nv24", (3, 5)), None),
        (message_of_data(np.zeros(60, np.uint8), "yuyv", 4, 5, 10), "5x4 yuyv: .*width must be even"),
        (message_of_data(np.zeros(60, np.uint8), "nv12", 4, 5, 5), "5x4 nv12: .*size must be even"),
        (message_of_data(np.zeros(60, np.uint8), "nv21", 3, 6, 6), "6x3 nv21: .*size must be even"),
        (message_of_data(np.zeros(60, np.uint8), "yuyv", 4, 8, 15), "step 15 is below the 16 bytes"),
        (
            message_of_data(np.zeros(35, np.uint8), "nv12", 4, 6, 6),
            r"35 bytes is shorter than 1.5 x height x step \(36",
        ),
        (message_of_data(np.zeros(71, np.uint8), "nv24", 4, 6, 6), r"71 bytes is shorter than 3 x height x step \(72"),
        (
            message_of_data(np.zeros(37, np.uint8), "nv12", 4, 6, 8),
            r"37 bytes is shorter than 1.5 x height x step \(48",
        ),
        (message_of_data(np.zeros(36, np.uint8), "nv12", 4, 6, 5), "step 5 is below the 6 bytes"),
        (message_of_data(np.zeros(60, np.uint8), "nv42", 4, 6, 6), "'nv42' is not supported"),
    ],
)
def test_invalid_yuv_images_are_errors(message, expected):
    if expected is None:
        assert rgb_from_message(message).shape == (message.height, message.width, 3)
        return
    with pytest.raises(ImageError, match=expected):
        rgb_from_message(message)


RENAMED = {"8UC1": "mono8", "8UC3": "bgr8", "16UC1": "mono16", "16UC3": "bgr16"}
"""rosbags-image does not convert generic encodings."""


def test_rosbags_image_gives_the_same_pixels():
    other = pytest.importorskip("rosbags.image", reason="rosbags-image is not installed")
    for encoding in sorted(
        {*ENCODINGS} - {"nv12", "nv21", "nv24"}
    ):  # rosbags-image reads only the Y plane of these, or nothing
        message = any_message(encoding, (6, 8), kind="recorded")
        out = rgb_from_message(message)
        message.encoding = RENAMED.get(encoding, encoding)
        expected = other.message_to_cvimage(message, "rgb16" if out.itemsize == 2 else "rgb8")
        np.testing.assert_array_equal(out, expected, encoding)
