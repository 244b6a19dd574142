"""The pixels with cv_bridge are the same as without, in spite of the errors of its releases."""

import sys
import types

import cv2
import numpy as np
import pytest
from image_cases import (
    BAYER_ENCODINGS,
    ENCODINGS,
    NAMED_COLOUR_ENCODINGS,
    any_message,
    bits_of,
    broken,
    image_message,
    random_rgb,
    stored,
)

from lowlight_enhance.core.errors import ImageError
from lowlight_enhance.core.imaging.cv_bridge_converter import working_cv_bridge
from lowlight_enhance.core.imaging.messages import rgb_from_message

BRIDGED = [*NAMED_COLOUR_ENCODINGS, *BAYER_ENCODINGS]


@pytest.fixture(autouse=True)
def without_cv_bridge(monkeypatch):
    use_cv_bridge(monkeypatch, None)
    yield
    working_cv_bridge.cache_clear()


def use_cv_bridge(monkeypatch, module):
    monkeypatch.setitem(sys.modules, "cv_bridge", module)
    working_cv_bridge.cache_clear()


SHIFTED = {"rggb": cv2.COLOR_BayerBG2RGB, "bggr": cv2.COLOR_BayerRG2RGB}
SHIFTED |= {"gbrg": cv2.COLOR_BayerGR2RGB, "grbg": cv2.COLOR_BayerGB2RGB}
CHANNELS = {"rgb": 3, "bgr": 3, "rgba": 4, "bgra": 4, "mono": 1}
CODES = {"bgr": cv2.COLOR_BGR2RGB, "rgba": cv2.COLOR_RGBA2RGB, "bgra": cv2.COLOR_BGRA2RGB, "mono": cv2.COLOR_GRAY2RGB}


class FakeBridge:
    """A current cv_bridge: reads steps of whole pixels, and fails for big-endian data, as with NumPy 2."""

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
    """A cv_bridge of ROS 1: ignores step and byte order, and does not support 16-bit Bayer."""

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


@pytest.mark.parametrize("encoding", BRIDGED)
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


def test_an_installed_and_working_cv_bridge_is_used(monkeypatch):
    message = image_message(stored(random_rgb(6, 8), "bayer_grbg8"), "bayer_grbg8")
    use_cv_bridge(monkeypatch, bridge_module(FakeBridge))
    rgb_from_message(message)
    rgb_from_message(message)
    assert FakeBridge.used == 3  # one of them is the test image


@pytest.mark.parametrize("encoding", sorted({*ENCODINGS} - {*BRIDGED}))
def test_cv_bridge_is_not_used_for_messages_that_it_converts_wrongly(monkeypatch, encoding):
    message = any_message(encoding, (6, 8))
    without = rgb_from_message(message)
    use_cv_bridge(monkeypatch, bridge_module(FakeBridge))
    np.testing.assert_array_equal(rgb_from_message(message), without)
    assert FakeBridge.used == 0


def test_a_cv_bridge_with_wrong_pixels_is_not_used(monkeypatch):
    message = image_message(stored(random_rgb(6, 8), "bgr8"), "bgr8")
    use_cv_bridge(monkeypatch, bridge_module(SwappingBridge))
    rgb_from_message(message)
    rgb_from_message(message)
    assert SwappingBridge.used == 1


def test_invalid_messages_give_the_same_errors_with_cv_bridge(monkeypatch):
    use_cv_bridge(monkeypatch, bridge_module(FakeBridge))
    with pytest.raises(ImageError, match="shorter than height x step"):
        rgb_from_message(broken(height=5))


def test_the_real_cv_bridge_gives_the_same_pixels(monkeypatch):
    messages = [
        any_message(encoding, (6, 8), kind="rclpy", padding=padding)
        for encoding in ENCODINGS
        for padding in (0, 12, 1)
    ]
    without = [rgb_from_message(message) for message in messages]
    monkeypatch.delitem(sys.modules, "cv_bridge")
    working_cv_bridge.cache_clear()
    pytest.importorskip("cv_bridge", reason="cv_bridge is not installed; its fake above stands in")
    if working_cv_bridge() is None:
        pytest.skip("cv_bridge is installed but does not work beside this NumPy and OpenCV")
    for message, expected in zip(messages, without, strict=True):
        np.testing.assert_array_equal(rgb_from_message(message), expected, message.encoding)
