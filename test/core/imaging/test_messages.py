import array
import types

import message_kinds
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from image_cases import (
    BAYER_ENCODINGS,
    COLOUR_ENCODINGS,
    ENCODINGS,
    YUV_ENCODINGS,
    any_message,
    bits_of,
    broken,
    decoded,
    empty_message,
    image_message,
    random_rgb,
    stored,
)

from lowlight_enhance.core.errors import ConfigError, ImageError
from lowlight_enhance.core.imaging.messages import (
    OUTPUT_ENCODINGS,
    SUPPORTED_ENCODINGS,
    decode,
    fill_message,
    output_encoding,
    rgb_from_message,
    stamp_ns,
)


def test_every_encoding_is_tested():
    assert sorted(SUPPORTED_ENCODINGS) == sorted(ENCODINGS)


@pytest.mark.parametrize("kind", message_kinds.KINDS)
@pytest.mark.parametrize("encoding", COLOUR_ENCODINGS)
@pytest.mark.parametrize(("is_bigendian", "padding"), [(0, 0), (0, 7), (1, 0), (1, 5)])
def test_colour_encodings_give_the_exact_pixels(kind, encoding, is_bigendian, padding):
    rgb = random_rgb(6, 5, bits_of(encoding))
    out = rgb_from_message(image_message(stored(rgb, encoding), encoding, kind, is_bigendian, padding))
    assert out.dtype == rgb.dtype
    assert out.flags.c_contiguous
    np.testing.assert_array_equal(out, decoded(rgb, encoding))


@pytest.mark.parametrize("encoding", BAYER_ENCODINGS)
@pytest.mark.parametrize(("is_bigendian", "padding"), [(0, 0), (1, 0), (0, 3), (1, 4)])
@pytest.mark.parametrize("size", [(8, 10), (7, 9), (3, 3)])
def test_a_bayer_image_of_one_colour_gives_that_colour(encoding, is_bigendian, padding, size):
    colour = (200, 120, 40) if bits_of(encoding) == 8 else (51234, 30011, 10007)
    rgb = np.full((*size, 3), colour, f"u{bits_of(encoding) // 8}")
    out = rgb_from_message(image_message(stored(rgb, encoding), encoding, "plain", is_bigendian, padding))
    assert out.dtype == rgb.dtype
    np.testing.assert_array_equal(out, rgb)


@pytest.mark.parametrize("encoding", BAYER_ENCODINGS)
def test_demosaicing_keeps_positions(encoding):
    scale = 200 if bits_of(encoding) == 16 else 1
    rgb = np.zeros((12, 16, 3), f"u{bits_of(encoding) // 8}")
    rgb[:, :8, 0] = 250 * scale
    rgb[:6, :, 2] = 100 * scale
    out = rgb_from_message(image_message(stored(rgb, encoding), encoding))
    inside = np.ones((12, 16), bool)
    inside[:, 6:10] = inside[4:8] = False
    np.testing.assert_array_equal(out[inside], rgb[inside])


@pytest.mark.parametrize("encoding", sorted({*ENCODINGS} - {"rgb8", "rgb16"}))
def test_converted_pixels_are_a_copy(encoding):
    message = any_message(encoding, (4, 4))
    out = rgb_from_message(message)
    assert not np.shares_memory(out, message.data)
    out[:] = 1


@pytest.mark.parametrize("kind", message_kinds.KINDS)
@pytest.mark.parametrize("encoding", ["rgb8", "rgb16"])
def test_rgb_images_are_not_copied(kind, encoding):
    message = any_message(encoding, (4, 4), kind=kind)
    out = rgb_from_message(message)
    assert np.shares_memory(out, np.frombuffer(message.data, np.uint8))
    with pytest.raises(ValueError, match="read-only"):
        out[:] = 1


@pytest.mark.parametrize("as_buffer", [bytes, bytearray, memoryview, lambda data: array.array("B", bytes(data))])
def test_data_can_be_any_buffer_and_may_be_longer_than_the_image(as_buffer):
    rgb = random_rgb(4, 6)
    message = image_message(stored(rgb, "bgr8"), "bgr8", extra=11)
    message.data = as_buffer(message.data.tobytes())
    np.testing.assert_array_equal(rgb_from_message(message), rgb)


def test_unaligned_data_is_read():
    rgb = random_rgb(5, 7, 16)
    message = image_message(stored(rgb, "bgr16"), "bgr16")
    message.data = np.concatenate([np.zeros(1, np.uint8), message.data])[1:]
    np.testing.assert_array_equal(rgb_from_message(message), rgb)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (
            broken(encoding="32FC1"),
            r"'32FC1' is not supported; set the camera driver to one of rgb8, .*grbg16, uyvy, .*16UC3",
        ),
        (broken(encoding=""), "encoding '' is not supported"),
        (broken(encoding="BGR8"), "not supported"),
        (broken(encoding="x" * 10_000), "not supported"),
        (broken(encoding=None), "not supported"),
        (broken(encoding=["bgr8"]), "not supported"),
        (broken(height=5), r"6x5 bgr8: data of 72 bytes is shorter than height x step \(90\)"),
        (broken(data=b""), "data of 0 bytes is shorter"),
        (broken(step=19), "data of 72 bytes is shorter"),
        (broken(height=2**32 - 1, width=2**32 - 1, step=2**32 - 1), "more than max_pixels"),
        (broken(height=100_000), "shorter"),
        (broken(height=0), "6x0 bgr8: zero size"),
        (broken(width=0, step=0, data=b""), "zero size"),
        (broken(width=-1), "zero size"),
        (broken(step=17), "step 17 is below the 18 bytes of a row"),
        (broken(step=0), "step 0 is below"),
        (broken(encoding="bgr16"), "step 18 is below the 36 bytes"),
        (broken(height=4.0), "cannot be read as an image"),
        (broken(width=None), "cannot be read as an image"),
        (broken(data=None), "cannot be read as an image"),
        (broken(data="text"), "cannot be read as an image"),
        (broken(data=[0] * 72), "cannot be read as an image"),
        (broken(encoding="bayer_rggb8", height=2), "6x2 bayer_rggb8: too small to demosaic"),
        (types.SimpleNamespace(json_data="{}"), "check the image topic's type"),
    ],
)
def test_invalid_messages_are_errors(message, expected):
    with pytest.raises(ImageError, match=expected) as caught:
        decode(message, "same", 1_000_000)
    assert len(str(caught.value)) < 500


def test_max_pixels_is_checked_first():
    assert decode(broken(), "rgb8", 24)[0].shape == (4, 6, 3)
    for message in (broken(), broken(data=b""), broken(step=0), broken(encoding="mono16")):
        with pytest.raises(ImageError, match=r"6x4 .*more than max_pixels \(23\)"):
            decode(message, "rgb8", 23)


colour_message = st.fixed_dictionaries(
    {
        "encoding": st.sampled_from(COLOUR_ENCODINGS),
        "height": st.integers(1, 24),
        "width": st.integers(1, 24),
        "is_bigendian": st.integers(0, 1),
        "padding": st.integers(0, 9),
        "extra": st.integers(0, 9),
        "kind": st.sampled_from(["plain", "recorded"]),
    }
)


@settings(deadline=None, max_examples=150)
@given(colour_message, st.integers(0, 2**32))
def test_every_shape_and_step_gives_the_exact_pixels(options, seed):
    encoding = options.pop("encoding")
    rgb = random_rgb(options.pop("height"), options.pop("width"), bits_of(encoding), seed)
    out = rgb_from_message(image_message(stored(rgb, encoding), encoding, **options))
    np.testing.assert_array_equal(out, decoded(rgb, encoding))


# Writing


@pytest.mark.parametrize("kind", message_kinds.KINDS)
@pytest.mark.parametrize("encoding", ["rgb8", "bgr8"])
def test_written_images_can_be_read_back(kind, encoding):
    rgb, message = random_rgb(5, 7), empty_message(kind)
    header = message_kinds.header(kind, 99, "front")
    fill_message(message, rgb, encoding, header)
    assert (message.height, message.width, message.step, message.is_bigendian) == (5, 7, 21, 0)
    assert (message.encoding, message.header) == (encoding, header)
    assert bytes(message.data) == np.ascontiguousarray(rgb if encoding == "rgb8" else rgb[:, :, ::-1]).tobytes()
    np.testing.assert_array_equal(rgb_from_message(message), rgb)


@pytest.mark.parametrize("kind", message_kinds.KINDS)
def test_grey_images_are_exact_in_mono8(kind):
    grey = np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), 3, axis=2)
    message = empty_message(kind)
    fill_message(message, grey, "mono8", message_kinds.header(kind))
    assert (message.encoding, message.step, len(message.data)) == ("mono8", 16, 256)
    np.testing.assert_array_equal(rgb_from_message(message), grey)


def test_mono8_is_luma():
    colours = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8)
    message = empty_message("plain")
    fill_message(message, colours, "mono8", None)
    assert list(message.data) == [76, 150, 29]


def test_a_reused_message_holds_only_the_new_image():
    message = empty_message("rclpy")
    header = message_kinds.header("rclpy")
    fill_message(message, random_rgb(9, 9), "rgb8", header)
    fill_message(message, random_rgb(2, 3, seed=5), "rgb8", header)
    assert bytes(message.data) == random_rgb(2, 3, seed=5).tobytes()


def test_a_view_can_be_written():
    rgb = random_rgb(8, 8)
    message = empty_message("plain")
    fill_message(message, rgb[::2, 1:7], "rgb8", None)
    np.testing.assert_array_equal(rgb_from_message(message), rgb[::2, 1:7])


@pytest.mark.parametrize("kind", ["recorded", "rclpy"])
def test_a_written_message_survives_serialisation(kind):
    rgb, message = random_rgb(5, 7), empty_message(kind)
    fill_message(message, rgb, "bgr8", message_kinds.header(kind, 99))
    if kind == "rclpy":
        serialization = pytest.importorskip("rclpy.serialization")
        back = serialization.deserialize_message(serialization.serialize_message(message), type(message))
    else:
        typesys = pytest.importorskip("rosbags.typesys")
        store = typesys.get_typestore(typesys.Stores.ROS2_HUMBLE)
        back = store.deserialize_cdr(store.serialize_cdr(message, message.__msgtype__), message.__msgtype__)
    assert stamp_ns(back) == 99
    np.testing.assert_array_equal(rgb_from_message(back), rgb)


@pytest.mark.parametrize(
    ("rgb", "encoding", "error", "expected"),
    [
        (random_rgb(2, 2), "rgba8", ConfigError, "rgba8.*rgb8, bgr8, mono8"),
        (random_rgb(2, 2), "same", ConfigError, "same"),
        (random_rgb(2, 2, 16), "rgb8", ImageError, "uint16"),
        (np.zeros((2, 2), np.uint8), "mono8", ImageError, "shape"),
        (np.zeros((0, 2, 3), np.uint8), "rgb8", ImageError, "shape"),
    ],
)
def test_errors_leave_the_message_unchanged(rgb, encoding, error, expected):
    message = empty_message("plain")
    before = dict(vars(message))
    with pytest.raises(error, match=expected):
        fill_message(message, rgb, encoding, None)
    assert vars(message) == before


@pytest.mark.parametrize(
    ("encoding", "same"),
    [("rgb8", "rgb8"), ("rgba8", "rgb8"), ("rgb16", "rgb8"), ("rgba16", "rgb8")]
    + [("bgr8", "bgr8"), ("bgra8", "bgr8"), ("bgr16", "bgr8"), ("bgra16", "bgr8")]
    + [("mono8", "mono8"), ("mono16", "mono8")]
    + [("8UC1", "mono8"), ("16UC1", "mono8"), ("8UC3", "bgr8"), ("16UC3", "bgr8")]
    + [(encoding, "bgr8") for encoding in (*BAYER_ENCODINGS, *YUV_ENCODINGS)],
)
def test_output_encodings(encoding, same):
    message = any_message(encoding, (4, 4))
    assert output_encoding(encoding, "same") == same
    assert decode(message, "same", 16)[1] == same
    assert [decode(message, choice, 16)[1] for choice in OUTPUT_ENCODINGS[1:]] == list(OUTPUT_ENCODINGS[1:])
    np.testing.assert_array_equal(decode(message, "same", 16)[0], rgb_from_message(message))


def test_unknown_output_encodings_are_errors():
    with pytest.raises(ConfigError, match="output_encoding 'bgra8': must be one of same, bgr8, rgb8, mono8"):
        output_encoding("bgr8", "bgra8")
    with pytest.raises(ConfigError, match="output_encoding 'bgra8'"):
        decode(broken(), "bgra8", 1000)
    with pytest.raises(ImageError, match="nv42"):
        output_encoding("nv42", "same")
    with pytest.raises(ImageError, match="nv42"):
        output_encoding("nv42", "bgr8")


@pytest.mark.parametrize("encoding", COLOUR_ENCODINGS)
def test_images_of_one_pixel(encoding):
    """cvtColor of OpenCV 4.5.4 (Ubuntu 22.04) cannot swap the channels of such images."""
    rgb = random_rgb(1, 1, bits_of(encoding))
    out = rgb_from_message(image_message(stored(rgb, encoding), encoding))
    assert out.flags.c_contiguous
    np.testing.assert_array_equal(out, decoded(rgb, encoding))


def test_one_pixel_is_written_in_each_encoding():
    rgb = random_rgb(1, 1)
    for encoding in OUTPUT_ENCODINGS[1:]:
        message = empty_message("plain")
        fill_message(message, rgb, encoding, None)
        assert (message.step, message.data.size) == ((1, 1) if encoding == "mono8" else (3, 3))
    np.testing.assert_array_equal(rgb_from_message(image_message(rgb[:, :, ::-1].copy(), "bgr8")), rgb)


@pytest.mark.parametrize("kind", message_kinds.KINDS)
def test_stamps_of_messages_headers_and_times(kind):
    header = message_kinds.header(kind, 1_700_000_000_123_456_789)
    message = image_message(random_rgb(1, 1), "rgb8", kind, header=header)
    assert stamp_ns(message) == stamp_ns(header) == stamp_ns(header.stamp) == 1_700_000_000_123_456_789


@pytest.mark.parametrize(
    "stamped", [None, types.SimpleNamespace(header=None), types.SimpleNamespace(sec=1.5, nanosec=0)]
)
def test_no_stamp_is_an_error(stamped):
    with pytest.raises(ImageError, match="has no stamp"):
        stamp_ns(stamped)
