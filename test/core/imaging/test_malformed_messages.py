"""Property tests: any message gives an image of its size, or an ImageError."""

import resource

import cv2
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from image_cases import ENCODINGS, any_message, bits_of, broken, compressed_message, random_rgb

from lowlight_enhance.core.errors import ImageError
from lowlight_enhance.core.imaging.messages import OUTPUT_ENCODINGS, decode

MAX_PIXELS = 64_000_000
MAX_GROWTH_KIB = 200 * 1024
"""Memory limit for a file of a few hundred bytes. An image of MAX_PIXELS needs this for its first array."""


def decode_or_none(message, max_pixels=MAX_PIXELS, requested="same"):
    try:
        rgb, encoding = decode(message, requested, max_pixels)
    except ImageError:
        return None
    assert encoding in OUTPUT_ENCODINGS[1:]
    assert rgb.ndim == 3
    assert rgb.shape[2] == 3
    assert 0 < rgb.shape[0] * rgb.shape[1] <= max_pixels
    assert rgb.dtype in (np.uint8, np.uint16)
    assert rgb.flags.c_contiguous
    return rgb


def assert_image_or_error(message, max_pixels=MAX_PIXELS, requested="same"):
    rgb = decode_or_none(message, max_pixels, requested)
    if rgb is not None:
        assert rgb.shape[:2] == (message.height, message.width)
        assert rgb.dtype.itemsize == bits_of(message.encoding) // 8


whole_numbers = st.integers(-3, 40) | st.sampled_from([2**31 - 1, 2**31, 2**32 - 1, 10**30, -(10**30), 10**400])
anything = st.none() | whole_numbers | st.floats() | st.text(max_size=2) | st.binary(max_size=3) | st.just([])
garbage = st.fixed_dictionaries(
    {},
    optional={
        "height": anything,
        "width": anything,
        "step": anything,
        "is_bigendian": anything,
        "encoding": st.sampled_from(ENCODINGS) | st.text(max_size=8) | anything,
        "data": st.binary(max_size=400) | anything | st.lists(st.integers(), max_size=3),
        "format": st.text(max_size=8) | anything,
    },
)


@settings(deadline=None, max_examples=500)
@given(garbage, st.sampled_from(OUTPUT_ENCODINGS))
def test_arbitrary_fields(fields, choice):
    message = broken(**fields)
    if "format" in fields:
        decode_or_none(message, requested=choice)
    else:
        assert_image_or_error(message, requested=choice)


@settings(deadline=None, max_examples=1000)
@given(
    encoding=st.sampled_from(ENCODINGS),
    claimed=st.sampled_from(ENCODINGS),
    true_size=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    height=st.integers(0, 14),
    width=st.integers(0, 14),
    step=st.none() | st.integers(0, 60),
    length=st.none() | st.integers(0, 500),
    max_pixels=st.integers(1, 200),
)
def test_inconsistent_fields(encoding, claimed, true_size, height, width, step, length, max_pixels):
    message = any_message(encoding, (2 * true_size[0], 2 * true_size[1]))
    message.encoding, message.height, message.width = claimed, height, width
    message.step = message.step if step is None else step
    message.data = message.data[:length].tobytes()
    assert_image_or_error(message, max_pixels)


@settings(deadline=None, max_examples=400)
@given(st.sampled_from(ENCODINGS), st.integers(2, 8), st.integers(2, 8), st.integers(0, 9), st.integers(0, 1))
def test_consistent_fields_give_an_image(encoding, half_height, half_width, padding, is_bigendian):
    message = any_message(encoding, (2 * half_height, 2 * half_width), padding=padding)
    message.is_bigendian = is_bigendian
    assert_image_or_error(message)
    assert decode_or_none(message) is not None


# Compressed images


def files():
    rgb = random_rgb(24, 32)
    wide = random_rgb(24, 32, 16)
    progressive, restart = [cv2.IMWRITE_JPEG_PROGRESSIVE, 1], [cv2.IMWRITE_JPEG_RST_INTERVAL, 2]
    smallest = [cv2.IMWRITE_PNG_COMPRESSION, 9]
    smooth = cv2.GaussianBlur(rgb, (0, 0), 3)
    wanted = [
        (".jpg", smooth, []),
        (".jpg", smooth[:, :, 0], []),
        (".jpg", smooth, progressive),
        (".jpg", rgb, restart),
    ]
    wanted += [(".png", rgb, []), (".png", smooth[:, :, 1], smallest), (".png", wide, []), (".png", wide[:, :, 0], [])]
    return [cv2.imencode(kind, np.ascontiguousarray(pixels), options)[1].tobytes() for kind, pixels, options in wanted]


FILES = files()
FORMATS = ("", "jpeg", "rgb8; jpeg compressed bgr8", "bayer_rggb8; png compressed ", "mono16; png compressed mono16")

changes = st.lists(
    st.tuples(
        st.sampled_from(["set", "insert", "delete", "cut", "copy"]),
        st.floats(0, 1, exclude_max=True),
        st.binary(min_size=1, max_size=6)
        | st.sampled_from(
            [bytes(4), b"\xff" * 4, b"\x7f" + b"\xff" * 3, b"\xff\xc0", b"\xff\xd9", b"\xff\xda", b"IEND"]
        ),
    ),
    max_size=4,
)


def changed(content, how):
    for kind, where, replacement in how:
        # Half of the changes are in the first bytes, which hold sizes and tables.
        at = int(2 * where * min(len(content), 200)) if where < 0.5 else int((2 * where - 1) * len(content))
        after = {"set": at + len(replacement), "insert": at, "delete": at + 2 * len(replacement)}.get(kind, at)
        if kind == "cut":
            content = content[:at]
        elif kind == "copy":
            content = content[:at] + content[at // 2 :]
        else:
            content = content[:at] + (b"" if kind == "delete" else replacement) + content[after:]
    return content


def test_mutated_files(capfd):
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    @settings(deadline=None, max_examples=1500)
    @given(st.sampled_from(FILES), changes, st.sampled_from(FORMATS))
    def check(content, how, picture_format):
        content = changed(content, how)
        rgb = decode_or_none(compressed_message(content, picture_format))
        if rgb is not None and content.startswith(b"\x89PNG"):
            assert rgb.shape[:2] == (int.from_bytes(content[20:24], "big"), int.from_bytes(content[16:20], "big"))
            assert rgb.dtype.itemsize == max(8, content[24]) // 8
        elif rgb is not None:
            assert rgb.dtype == np.uint8

    check()
    capfd.readouterr()  # warnings of libjpeg and libpng
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib < MAX_GROWTH_KIB


def test_arbitrary_size_in_a_header():
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    @settings(deadline=None, max_examples=300)
    @given(st.sampled_from(FILES), st.integers(0, 65_535), st.integers(0, 65_535))
    def check(content, height, width):
        if content.startswith(b"\x89PNG"):
            at, size = 16, width.to_bytes(4, "big") + height.to_bytes(4, "big")
        else:
            at = max(content.find(b"\xff\xc0"), content.find(b"\xff\xc2")) + 5
            size = height.to_bytes(2, "big") + width.to_bytes(2, "big")
        rgb = decode_or_none(compressed_message(content[:at] + size + content[at + len(size) :], ""))
        assert rgb is None or rgb.shape[:2] == (height, width)

    check()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib < MAX_GROWTH_KIB


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=60), st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"]), st.text(max_size=30))
def test_arbitrary_bytes(content, start, picture_format):
    decode_or_none(compressed_message(start + content, picture_format))
