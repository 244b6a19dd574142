import array
import contextlib
import sys
import types

import cv2
import message_kinds
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lowlight_enhance.core import image_messages
from lowlight_enhance.core.errors import ConfigError, ImageError, LowlightError
from lowlight_enhance.core.image_messages import (
    OUTPUT_ENCODINGS,
    SUPPORTED_ENCODINGS,
    fill_message,
    output_encoding,
    rgb_from_message,
    stamp_ns,
)

ORDERS = {"rgb": [0, 1, 2], "bgr": [2, 1, 0], "rgba": [0, 1, 2, 3], "bgra": [2, 1, 0, 3], "mono": [0]}
COLOUR_ENCODINGS = [f"{order}{bits}" for order in ORDERS for bits in (8, 16)]
BAYER_ENCODINGS = [f"bayer_{order}{bits}" for order in ("rggb", "bggr", "gbrg", "grbg") for bits in (8, 16)]


@pytest.fixture(autouse=True)
def without_cv_bridge(monkeypatch):
    use_cv_bridge(monkeypatch, None)
    yield
    image_messages._cv_bridge.cache_clear()


def use_cv_bridge(monkeypatch, module):
    monkeypatch.setitem(sys.modules, "cv_bridge", module)
    image_messages._cv_bridge.cache_clear()


def random_rgb(height, width, bits=8, seed=0):
    dtype = np.dtype(f"u{bits // 8}")
    return np.random.default_rng(seed).integers(0, 1 << bits, (height, width, 3), dtype)


def bits_of(encoding):
    return 16 if encoding.endswith("16") else 8


def stored(rgb, encoding):
    """Pixels as the encoding lays them out, (H, W, channels); of mono and Bayer, only what the camera would see."""
    bits = bits_of(encoding)
    order = encoding[: -len(str(bits))]
    if order.startswith("bayer_"):
        pattern = ["rgb".index(letter) for letter in order[-4:]]
        raw = np.empty((*rgb.shape[:2], 1), rgb.dtype)
        for at, channel in enumerate(pattern):
            raw[at // 2 :: 2, at % 2 :: 2, 0] = rgb[at // 2 :: 2, at % 2 :: 2, channel]
        return raw
    alpha = np.full_like(rgb[:, :, :1], 77)
    return np.concatenate([rgb, alpha], axis=2)[:, :, ORDERS[order]]


def image_message(pixels, encoding, kind="plain", is_bigendian=0, padding=0, extra=0, header=None):
    """A message of (H, W, channels) pixels with ``padding`` bytes a row and ``extra`` at the end, of noise."""
    values = pixels.astype(pixels.dtype.newbyteorder(">" if is_bigendian else "<"))
    rows = np.frombuffer(values.tobytes(), np.uint8).reshape(pixels.shape[0], -1)
    noise = np.random.default_rng(1).integers(0, 256, (pixels.shape[0], padding), np.uint8)
    data = np.concatenate([np.hstack([rows, noise]).reshape(-1), np.full(extra, 99, np.uint8)])
    return message_kinds.message(
        kind,
        "sensor_msgs/msg/Image",
        header=header or message_kinds.header(kind, 12_000_000_034, "camera"),
        height=pixels.shape[0],
        width=pixels.shape[1],
        encoding=encoding,
        is_bigendian=is_bigendian,
        step=rows.shape[1] + padding,
        data=array.array("B", data.tobytes()) if kind == "rclpy" else data,
    )


def empty_message(kind):
    if kind == "rclpy":
        return message_kinds.message(kind, "sensor_msgs/msg/Image")
    empty = np.zeros((0, 0, 3), np.uint8).reshape(1, 0, 3)
    return image_message(empty, "rgb8", kind)


def decoded(rgb, encoding):
    """What a colour encoding gives back of ``rgb``."""
    return np.repeat(rgb[:, :, :1], 3, axis=2) if encoding.startswith("mono") else rgb


def test_every_encoding_is_tested():
    assert set(SUPPORTED_ENCODINGS) == {*COLOUR_ENCODINGS, *BAYER_ENCODINGS}


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
def test_a_mosaic_of_one_colour_gives_that_colour_everywhere(encoding, is_bigendian, padding, size):
    colour = (200, 120, 40) if bits_of(encoding) == 8 else (51234, 30011, 10007)
    rgb = np.full((*size, 3), colour, f"u{bits_of(encoding) // 8}")
    out = rgb_from_message(image_message(stored(rgb, encoding), encoding, "plain", is_bigendian, padding))
    assert out.dtype == rgb.dtype
    np.testing.assert_array_equal(out, rgb)


@pytest.mark.parametrize("encoding", BAYER_ENCODINGS)
def test_a_mosaic_keeps_left_and_top_where_they_are(encoding):
    scale = 200 if bits_of(encoding) == 16 else 1
    rgb = np.zeros((12, 16, 3), f"u{bits_of(encoding) // 8}")
    rgb[:, :8, 0] = 250 * scale
    rgb[:6, :, 2] = 100 * scale
    out = rgb_from_message(image_message(stored(rgb, encoding), encoding))
    inside = np.ones((12, 16), bool)
    inside[:, 6:10] = inside[4:8] = False
    np.testing.assert_array_equal(out[inside], rgb[inside])


@pytest.mark.parametrize("encoding", ["rgb8", "bgr8", "rgb16", "mono8"])
def test_the_picture_does_not_share_the_messages_memory(encoding):
    message = image_message(stored(random_rgb(4, 4, bits_of(encoding)), encoding), encoding)
    out = rgb_from_message(message)
    before = out.copy()
    message.data[:] = 0
    np.testing.assert_array_equal(out, before)
    out[:] = 1
    assert not message.data.any()


@pytest.mark.parametrize("as_buffer", [bytes, bytearray, memoryview, lambda data: array.array("B", bytes(data))])
def test_any_buffer_serves_and_bytes_past_the_end_are_left(as_buffer):
    rgb = random_rgb(4, 6)
    message = image_message(stored(rgb, "bgr8"), "bgr8", extra=11)
    message.data = as_buffer(message.data.tobytes())
    np.testing.assert_array_equal(rgb_from_message(message), rgb)


def test_a_buffer_at_an_odd_address_serves():
    rgb = random_rgb(5, 7, 16)
    message = image_message(stored(rgb, "bgr16"), "bgr16")
    message.data = np.concatenate([np.zeros(1, np.uint8), message.data])[1:]
    np.testing.assert_array_equal(rgb_from_message(message), rgb)


def broken(**fields):
    message = image_message(stored(random_rgb(4, 6), "bgr8"), "bgr8")
    for name, value in fields.items():
        setattr(message, name, value)
    return message


@pytest.mark.parametrize(
    ("message", "told"),
    [
        (
            broken(encoding="yuv422_yuy2"),
            r"'yuv422_yuy2' is not supported; set the camera driver to one of rgb8, .*grbg16",
        ),
        (broken(encoding=""), "encoding '' is not supported"),
        (broken(encoding="BGR8"), "not supported"),
        (broken(encoding="x" * 10_000), "not supported"),
        (broken(encoding=None), "not supported"),
        (broken(encoding=["bgr8"]), "not supported"),
        (broken(height=5), r"6x5 bgr8: data of 72 bytes is shorter than height x step \(90\)"),
        (broken(data=b""), "data of 0 bytes is shorter"),
        (broken(step=19), "data of 72 bytes is shorter"),
        (broken(height=2**32 - 1, width=2**32 - 1, step=2**32 - 1), "below the"),
        (broken(height=2**32 - 1), "shorter"),
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
def test_bad_messages_are_errors_that_say_what_and_where(message, told):
    with pytest.raises(ImageError, match=told) as caught:
        rgb_from_message(message)
    assert len(str(caught.value)) < 400


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


sizes = (
    st.none() | st.integers(-3, 40) | st.sampled_from([2**31, 2**32 - 1, 10**30]) | st.floats() | st.text(max_size=2)
)
garbage = st.fixed_dictionaries(
    {},
    optional={
        "height": sizes,
        "width": sizes,
        "step": sizes,
        "is_bigendian": sizes,
        "encoding": st.sampled_from(SUPPORTED_ENCODINGS) | st.text(max_size=8) | st.none(),
        "data": st.binary(max_size=400) | sizes | st.lists(st.integers(), max_size=3),
    },
)


@settings(deadline=None, max_examples=250)
@given(garbage)
def test_garbage_raises_nothing_else(fields):
    with contextlib.suppress(LowlightError):
        rgb = rgb_from_message(broken(**fields))
        assert rgb.shape[2] == 3
        assert rgb.size


# ---- writing


@pytest.mark.parametrize("kind", message_kinds.KINDS)
@pytest.mark.parametrize("encoding", ["rgb8", "bgr8"])
def test_what_is_written_reads_back(kind, encoding):
    rgb, message = random_rgb(5, 7), empty_message(kind)
    header = message_kinds.header(kind, 99, "front")
    fill_message(message, rgb, encoding, header)
    assert (message.height, message.width, message.step, message.is_bigendian) == (5, 7, 21, 0)
    assert (message.encoding, message.header) == (encoding, header)
    assert bytes(message.data) == np.ascontiguousarray(rgb if encoding == "rgb8" else rgb[:, :, ::-1]).tobytes()
    np.testing.assert_array_equal(rgb_from_message(message), rgb)


@pytest.mark.parametrize("kind", message_kinds.KINDS)
def test_grey_survives_mono8_exactly(kind):
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


def test_a_message_that_is_used_again_holds_only_the_new_picture():
    message = empty_message("rclpy")
    header = message_kinds.header("rclpy")
    fill_message(message, random_rgb(9, 9), "rgb8", header)
    fill_message(message, random_rgb(2, 3, seed=5), "rgb8", header)
    assert bytes(message.data) == random_rgb(2, 3, seed=5).tobytes()


def test_a_view_of_a_picture_can_be_written():
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
    ("rgb", "encoding", "error", "told"),
    [
        (random_rgb(2, 2), "rgba8", ConfigError, "rgba8.*rgb8, bgr8, mono8"),
        (random_rgb(2, 2), "same", ConfigError, "same"),
        (random_rgb(2, 2, 16), "rgb8", ImageError, "uint16"),
        (np.zeros((2, 2), np.uint8), "mono8", ImageError, "shape"),
        (np.zeros((0, 2, 3), np.uint8), "rgb8", ImageError, "shape"),
    ],
)
def test_what_cannot_be_written_leaves_the_message_alone(rgb, encoding, error, told):
    message = empty_message("plain")
    before = dict(vars(message))
    with pytest.raises(error, match=told):
        fill_message(message, rgb, encoding, None)
    assert vars(message) == before


@pytest.mark.parametrize(
    ("encoding", "same"),
    [("rgb8", "rgb8"), ("rgba8", "rgb8"), ("rgb16", "rgb8"), ("rgba16", "rgb8")]
    + [("bgr8", "bgr8"), ("bgra8", "bgr8"), ("bgr16", "bgr8"), ("bgra16", "bgr8")]
    + [("mono8", "mono8"), ("mono16", "mono8")]
    + [(encoding, "bgr8") for encoding in BAYER_ENCODINGS],
)
def test_output_encodings(encoding, same):
    assert output_encoding(encoding, "same") == same
    assert [output_encoding(encoding, choice) for choice in OUTPUT_ENCODINGS[1:]] == list(OUTPUT_ENCODINGS[1:])


def test_output_encodings_that_do_not_exist():
    with pytest.raises(ConfigError, match="output_encoding 'bgra8': must be one of same, bgr8, rgb8, mono8"):
        output_encoding("bgr8", "bgra8")
    with pytest.raises(ImageError, match="nv21"):
        output_encoding("nv21", "same")
    with pytest.raises(ImageError, match="nv21"):
        output_encoding("nv21", "bgr8")


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


# ---- cv_bridge

SHIFTED = {"rggb": cv2.COLOR_BayerBG2RGB, "bggr": cv2.COLOR_BayerRG2RGB}
SHIFTED |= {"gbrg": cv2.COLOR_BayerGR2RGB, "grbg": cv2.COLOR_BayerGB2RGB}
CHANNELS = {"rgb": 3, "bgr": 3, "rgba": 4, "bgra": 4, "mono": 1}
CODES = {"bgr": cv2.COLOR_BGR2RGB, "rgba": cv2.COLOR_RGBA2RGB, "bgra": cv2.COLOR_BGRA2RGB, "mono": cv2.COLOR_GRAY2RGB}


class FakeBridge:
    """cv_bridge as documented: honours a step of whole pixels, fails at big endian as it does beside NumPy 2."""

    used = 0

    def imgmsg_to_cv2(self, img_msg, desired_encoding="passthrough"):
        bits = bits_of(img_msg.encoding)
        order = img_msg.encoding[: -len(str(bits))]
        assert desired_encoding == f"rgb{bits}"
        if img_msg.is_bigendian:
            raise AttributeError("`newbyteorder` was removed from the ndarray class in NumPy 2.0.")
        channels = 1 if order.startswith("bayer_") else CHANNELS[order]
        columns = img_msg.step * 8 // bits // channels
        image = np.ndarray((img_msg.height, columns, channels), f"<u{bits // 8}", img_msg.data)[:, : img_msg.width]
        type(self).used += 1
        code = SHIFTED[order[-4:]] if order.startswith("bayer_") else CODES[order]
        return cv2.cvtColor(np.ascontiguousarray(image), code)


class OldBridge(FakeBridge):
    """Ignores step and byte order, as releases for ROS 1 did, and knows no 16-bit Bayer."""

    def imgmsg_to_cv2(self, img_msg, desired_encoding="passthrough"):
        if img_msg.encoding.startswith("bayer") and img_msg.encoding.endswith("16"):
            raise KeyError(img_msg.encoding)
        packed = types.SimpleNamespace(
            **{name: getattr(img_msg, name) for name in ("height", "width", "encoding", "data")}
        )
        packed.is_bigendian = 0
        pixel_bytes = len(stored(random_rgb(1, 1, bits_of(img_msg.encoding)), img_msg.encoding).tobytes())
        packed.step = img_msg.width * pixel_bytes
        return super().imgmsg_to_cv2(packed, desired_encoding)


class BrokenBridge:
    def imgmsg_to_cv2(self, *_):
        raise ImportError("numpy.core.multiarray failed to import")


class SwappingBridge(FakeBridge):
    def imgmsg_to_cv2(self, img_msg, desired_encoding="passthrough"):
        return super().imgmsg_to_cv2(img_msg, desired_encoding)[:, :, ::-1]


class BlindBridge(FakeBridge):
    def imgmsg_to_cv2(self, img_msg, desired_encoding="passthrough"):
        rgb = super().imgmsg_to_cv2(img_msg, desired_encoding)
        return rgb if type(self).used == 1 else rgb.astype(np.float32)


def bridge_module(bridge):
    bridge.used = 0
    module = types.ModuleType("cv_bridge")
    module.CvBridge = bridge
    return module


@pytest.mark.parametrize("encoding", SUPPORTED_ENCODINGS)
@pytest.mark.parametrize("bridge", [FakeBridge, OldBridge, BrokenBridge, SwappingBridge, BlindBridge])
def test_the_pixels_are_the_same_with_cv_bridge(monkeypatch, encoding, bridge):
    pixels = stored(random_rgb(6, 8, bits_of(encoding)), encoding)
    messages = [
        image_message(pixels, encoding, "plain", is_bigendian, padding)
        for is_bigendian in (0, 1)
        for padding in (0, 1, pixels.shape[2] * pixels.itemsize)
    ]
    without = [rgb_from_message(message) for message in messages]
    use_cv_bridge(monkeypatch, bridge_module(bridge))
    for message, expected in zip(messages, without, strict=True):
        out = rgb_from_message(message)
        assert out.dtype == expected.dtype
        assert out.flags.c_contiguous
        np.testing.assert_array_equal(out, expected)


def test_cv_bridge_is_used_where_it_is_installed_and_works(monkeypatch):
    message = image_message(stored(random_rgb(6, 8), "bayer_grbg8"), "bayer_grbg8")
    use_cv_bridge(monkeypatch, bridge_module(FakeBridge))
    rgb_from_message(message)
    rgb_from_message(message)
    assert FakeBridge.used == 3  # once to try it out


def test_a_cv_bridge_that_gives_wrong_pixels_is_not_asked_again(monkeypatch):
    message = image_message(stored(random_rgb(6, 8), "bgr8"), "bgr8")
    use_cv_bridge(monkeypatch, bridge_module(SwappingBridge))
    rgb_from_message(message)
    rgb_from_message(message)
    assert SwappingBridge.used == 1


def test_bad_messages_are_the_same_errors_with_cv_bridge(monkeypatch):
    use_cv_bridge(monkeypatch, bridge_module(FakeBridge))
    with pytest.raises(ImageError, match="shorter than height x step"):
        rgb_from_message(broken(height=5))


def test_the_real_cv_bridge_gives_the_same_pixels(monkeypatch):
    messages = [
        image_message(stored(random_rgb(6, 8, bits_of(encoding)), encoding), encoding, "rclpy", is_bigendian, padding)
        for encoding in SUPPORTED_ENCODINGS
        for is_bigendian, padding in ((0, 0), (0, 12), (0, 1), (1, 0))
    ]
    without = [rgb_from_message(message) for message in messages]
    monkeypatch.delitem(sys.modules, "cv_bridge")
    image_messages._cv_bridge.cache_clear()
    pytest.importorskip("cv_bridge", reason="cv_bridge is not installed; its fake above stands in")
    if image_messages._cv_bridge() is None:
        pytest.skip("cv_bridge is installed but does not work beside this NumPy and OpenCV")
    for message, expected in zip(messages, without, strict=True):
        np.testing.assert_array_equal(rgb_from_message(message), expected, message.encoding)
