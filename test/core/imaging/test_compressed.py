"""CompressedImage messages of common senders, and invalid ones."""

import struct
import zlib

import cv2
import message_kinds
import numpy as np
import pytest
from image_cases import BAYER_ENCODINGS, any_message, bits_of, compressed_message, random_rgb, stored

from lowlight_enhance.core.errors import ConfigError, ImageError
from lowlight_enhance.core.imaging import compressed
from lowlight_enhance.core.imaging.messages import decode, fill_compressed, rgb_from_message

ANY_SIZE = 64_000_000
GREY, RGB, PALETTE, GREY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6
CHANNELS = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGB_ALPHA: 4}


def chunk(name, content):
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(pixels, colour, depth=8, palette=None):
    """Return a PNG file of (H, W, channels) values, written without a PNG library."""
    height, width = pixels.shape[:2]
    values = pixels.astype(">u2" if depth == 16 else np.uint8)
    if depth < 8:
        rows = [
            np.packbits(np.unpackbits(row[:, None], axis=1)[:, 8 - depth :].reshape(-1)) for row in values[:, :, 0]
        ]
    else:
        rows = list(np.frombuffer(values.tobytes(), np.uint8).reshape(height, -1))
    parts = [b"\x89PNG\r\n\x1a\n", chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))]
    if palette is not None:
        parts.append(chunk(b"PLTE", palette.tobytes()))
    parts.append(chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))))
    return b"".join([*parts, chunk(b"IEND", b"")])


def smooth_rgb(height=24, width=32):
    rows, columns = np.mgrid[0:height, 0:width]
    return np.stack([columns * 4, rows * 5, np.full_like(rows, 60)], axis=2).astype(np.uint8)


def jpeg(rgb=None, options=()):
    rgb = smooth_rgb() if rgb is None else rgb
    bgr = rgb if rgb.ndim == 2 else np.ascontiguousarray(rgb[:, :, ::-1])
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 98, *options])[1].tobytes()


def frame_header_offset(content):
    """Return the offset of the frame header marker in a JPEG file of OpenCV."""
    return max(content.find(b"\xff\xc0"), content.find(b"\xff\xc2"))


def with_jpeg_size(content, height, width):
    at = frame_header_offset(content) + 5
    return content[:at] + struct.pack(">HH", height, width) + content[at + 4 :]


def with_png_size(content, height, width):
    ihdr = chunk(b"IHDR", struct.pack(">II", width, height) + content[24:29])
    return content[:8] + ihdr + content[33:]


def read(content, picture_format="", choice="same"):
    return decode(compressed_message(content, picture_format), choice, ANY_SIZE)


def assert_near(out, rgb):
    assert out.shape == rgb.shape
    assert out.dtype == np.uint8
    assert np.abs(out.astype(int) - rgb).max() <= 8


IN_THE_WILD = {
    "jpeg": "bgr8",
    "jpg": "bgr8",
    "JPEG": "bgr8",
    "png": "bgr8",
    "": "bgr8",
    "bgr8; jpeg compressed bgr8": "bgr8",
    "bgr8; jpeg compressed ": "bgr8",
    "mono8;jpeg compressed": "mono8",
    " rgb8 ; jpeg compressed bgr8": "rgb8",
    "rgb8; jpeg compressed bgr8": "rgb8",
    "rgb8; jpeg compressed rgb8": "rgb8",
    "rgb8; png compressed ": "rgb8",
    "rgba8; png compressed bgra8": "rgb8",
    "bgra16; png compressed bgra16": "bgr8",
    "mono8; jpeg compressed ": "mono8",
    "mono8; jpeg compressed mono8": "mono8",
    "mono16; png compressed mono16": "mono8",
    "16UC1; png compressed ": "mono8",
    "8UC3; jpeg compressed bgr8": "bgr8",
    "bayer_rggb8; jpeg compressed bgr8": "bgr8",
    "yuv422_yuy2; jpeg compressed bgr8": "bgr8",
    "rgb8": "bgr8",
    "32FC1; png compressed ": "bgr8",
    "; jpeg compressed bgr8": "bgr8",
    "nonsense; more; of it;": "bgr8",
}


@pytest.mark.parametrize(("picture_format", "same"), IN_THE_WILD.items())
def test_formats_of_common_senders(picture_format, same):
    rgb, encoding = read(jpeg(), picture_format)
    assert encoding == same
    assert_near(rgb, smooth_rgb())
    assert read(jpeg(), picture_format, "mono8")[1] == "mono8"


@pytest.mark.parametrize("kind", message_kinds.KINDS)
def test_rclpy_and_recorded_messages(kind):
    message = compressed_message(png(smooth_rgb(), RGB), "rgb8; png compressed bgr8", kind)
    rgb, encoding = decode(message, "same", ANY_SIZE)
    assert encoding == "rgb8"
    np.testing.assert_array_equal(rgb, smooth_rgb())


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("colour", [GREY, RGB, GREY_ALPHA, RGB_ALPHA])
def test_png_is_exact_and_keeps_16_bits(depth, colour):
    values = np.random.default_rng(0).integers(0, 1 << depth, (7, 9, CHANNELS[colour]), np.dtype(f"u{depth // 8}"))
    rgb, _ = read(png(values, colour, depth))
    assert rgb.dtype == values.dtype
    assert rgb.flags.c_contiguous
    shown = values[:, :, :3] if colour in (RGB, RGB_ALPHA) else np.repeat(values[:, :, :1], 3, axis=2)
    np.testing.assert_array_equal(rgb, shown)


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_png_below_8_bits(depth):
    most = (1 << depth) - 1
    values = np.random.default_rng(0).integers(0, most + 1, (5, 11, 1), np.uint8)
    palette = random_rgb(1, most + 1)
    grey, _ = read(png(values, GREY, depth))
    coloured, _ = read(png(values, PALETTE, depth, palette))
    np.testing.assert_array_equal(grey, np.repeat(values * (255 // most), 3, axis=2))
    np.testing.assert_array_equal(coloured, palette[0][values[:, :, 0]])


@pytest.mark.parametrize("options", [(), (cv2.IMWRITE_JPEG_PROGRESSIVE, 1), (cv2.IMWRITE_JPEG_OPTIMIZE, 1)])
def test_jpeg_variants_are_close_to_the_original(options):
    rgb = smooth_rgb(40, 56)
    assert_near(read(jpeg(rgb, options))[0], rgb)
    grey = np.repeat(rgb[:, :, :1], 3, axis=2)
    assert_near(read(jpeg(np.ascontiguousarray(rgb[:, :, 0]), options))[0], grey)


@pytest.mark.parametrize("encoding", BAYER_ENCODINGS)
@pytest.mark.parametrize("right", ["", "{}"])
def test_a_bayer_png_gives_the_pixels_of_the_raw_message(encoding, right):
    bits = bits_of(encoding)
    mosaic = stored(random_rgb(8, 10, bits), encoding)
    rgb, same = read(png(mosaic, GREY, bits), f"{encoding}; png compressed {right.format(encoding)}")
    assert (rgb.dtype, same) == (mosaic.dtype, "bgr8")
    np.testing.assert_array_equal(rgb, rgb_from_message(any_message(encoding, (8, 10))))


def test_a_bayer_jpeg_is_demosaiced_unless_the_sender_did():
    colour = np.full((16, 16, 3), (200, 120, 40), np.uint8)
    mosaic = jpeg(stored(colour, "bayer_gbrg8")[:, :, 0])
    out, _ = read(mosaic, "bayer_gbrg8; jpeg compressed ")
    assert np.abs(out.astype(int) - colour).mean() < 12
    grey, encoding = read(mosaic, "bayer_gbrg8; jpeg compressed mono8")
    assert encoding == "bgr8"
    np.testing.assert_array_equal(grey[:, :, 0], grey[:, :, 2])
    assert_near(read(jpeg(colour), "bayer_gbrg8; jpeg compressed bgr8")[0], colour)
    with pytest.raises(ImageError, match="too small to demosaic"):
        read(png(np.zeros((2, 9, 1)), GREY), "bayer_gbrg8; png compressed ")


def test_exif_orientation_is_ignored():
    content = jpeg()
    tiff = b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0) + b"\0\0\0\0"
    exif = b"Exif\0\0" + tiff
    turned = content[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + content[2:]
    upright = cv2.imdecode(np.frombuffer(turned, np.uint8), cv2.IMREAD_COLOR)
    assert upright.shape[:2] == (32, 24)  # OpenCV applies the orientation by default
    assert_near(read(turned)[0], smooth_rgb())


def test_bytes_that_libjpeg_skips_are_accepted():
    content, junk = jpeg(), b"\x12\xff\x00\x34\xff\xd3\xff\xff"
    tables = content.find(b"\xff\xdb")
    assert_near(read(content[:tables] + junk + content[tables:])[0], smooth_rgb())
    assert_near(read(content + bytes(999))[0], smooth_rgb())  # buffers of USB cameras are longer than the picture


# Rejected files


@pytest.fixture
def without_decoder(monkeypatch):
    """Fail if OpenCV's decoder is called."""
    monkeypatch.setattr(compressed.cv2, "imdecode", lambda *_: pytest.fail("decoded"))


@pytest.mark.parametrize(
    ("content", "picture_format", "expected"),
    [
        (b"", "", "neither JPEG nor PNG .0 bytes, from none on"),
        (b"\xff\xd8", "jpeg", "neither JPEG nor PNG"),
        (
            b"II*\0" + bytes(99),
            "bgr8; tiff compressed bgr8",
            r"'bgr8; tiff .*neither JPEG nor PNG \(103 bytes, from 49 49",
        ),
        (b"RIFF\0\0\0\0WEBPVP8 ", "webp", "neither JPEG nor PNG"),
        (bytes(600), "nv12", "'nv12': neither JPEG nor PNG"),
        (b"\0\0\0\x01\x67", "h264", "'h264': neither JPEG nor PNG"),
        (b"#?RADIANCE\n", "x" * 10_000, "neither JPEG nor PNG"),
        (bytes(12) + png(smooth_rgb(), RGB), "16UC1; compressedDepth", "a depth image"),
        (png(smooth_rgb(), RGB), "16UC1; compressedDepth png", "a depth image; subscribe to"),
        (b"\x89PNG\r\n\x1a\n", "png", "cut off or damaged"),
        (png(smooth_rgb(), RGB)[:25], "png", "cut off or damaged"),
        (png(smooth_rgb(), RGB).replace(b"IHDR", b"IDAT", 1), "png", "cut off or damaged"),
        (
            png(smooth_rgb(), RGB).replace(b"\x08\x02\0\0\0", b"\x08\x05\0\0\0", 1),
            "",
            "damaged",
        ),
        (with_png_size(png(smooth_rgb(), RGB), 0, 5), "png", "PNG of 5x0: zero size"),
        (with_png_size(png(smooth_rgb(), RGB), 60_000, 60_000), "png", "PNG of 60000x60000: more than max_pixels"),
        (with_png_size(png(smooth_rgb(), RGB), 2**31 - 1, 2**31 - 1), "png", "more than max_pixels"),
        (with_png_size(png(smooth_rgb(), RGB), 7000, 7000), "png", "cut off or damaged"),
        (png(smooth_rgb(), RGB)[:33] + b"\xff\xff\xff\xf0tEXt" + png(smooth_rgb(), RGB)[33:], "png", "damaged"),
        (png(smooth_rgb(), RGB)[:33] + chunk(b"tEXt", b"") * 30_000 + png(smooth_rgb(), RGB)[33:], "png", "damaged"),
        (png(smooth_rgb(), RGB)[:33] + chunk(b"acTL", bytes(8)) + png(smooth_rgb(), RGB)[33:], "png", "of a kind"),
        (png(smooth_rgb(), RGB)[:-12], "png", "cut off or damaged"),
        (png(smooth_rgb(), RGB)[:-12] + b"\xff\xff\xff\xf0IEND" + bytes(4), "png", "cut off or damaged"),
        (with_jpeg_size(jpeg(), 0, 5), "jpeg", "JPEG of 5x0: zero size"),
        (with_jpeg_size(jpeg(), 65_500, 65_500), "jpeg", "JPEG of 65500x65500: more than max_pixels"),
        (with_jpeg_size(jpeg(), 7000, 7000), "jpeg", "cut off or damaged"),
        (jpeg()[: frame_header_offset(jpeg()) + 6], "jpeg", "cut off or damaged"),
        (jpeg()[:300], "jpeg", "cut off or damaged"),
        (jpeg()[:-1], "jpeg", "cut off or damaged"),
        (jpeg().replace(b"\xff\xc0", b"\xff\xc9", 1), "jpeg", "of a kind that OpenCV does not read"),
        (jpeg().replace(b"\xff\xc0\x00\x11\x08", b"\xff\xc0\x00\x11\x0c", 1), "jpeg", "of a kind"),
        (b"\xff\xd8\xff\xd8" + jpeg()[2:], "jpeg", "cut off or damaged"),
        (b"\xff\xd8\xff\xe1\x00\x01" + jpeg()[2:], "jpeg", "cut off or damaged"),
        (b"\xff\xd8" + b"\xff\xfe\x00\x02" * 100_000 + jpeg()[2:], "jpeg", "cut off or damaged"),
        (b"\xff\xd8" + b"\xff" * 1_000_000, "jpeg", "cut off or damaged"),
        (jpeg()[:-2] + b"\xff\xda\x00\x08" * 40 + b"\xff\xd9", "jpeg", "cut off or damaged"),
    ],
)
def test_invalid_files_are_rejected_before_decoding(without_decoder, content, picture_format, expected):
    with pytest.raises(ImageError, match=expected) as caught:
        read(content, picture_format)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("content", [jpeg(), png(smooth_rgb(), RGB)])
def test_max_pixels_is_inclusive(content):
    assert decode(compressed_message(content, ""), "same", 24 * 32)[0].shape == (24, 32, 3)
    with pytest.raises(ImageError, match=r"32x24: more than max_pixels \(767\)"):
        decode(compressed_message(content, ""), "same", 24 * 32 - 1)


def test_flat_pictures_do_not_exceed_the_size_limits():
    flat = np.zeros((1500, 1000, 3), np.uint8)
    grey = np.ascontiguousarray(flat[:, :, 0])
    for options in ([], [cv2.IMWRITE_JPEG_OPTIMIZE, 1], [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]):
        for picture in (flat, grey):
            assert read(jpeg(picture, options))[0].shape == flat.shape
    smallest = cv2.imencode(".png", grey, [cv2.IMWRITE_PNG_COMPRESSION, 9])[1]
    assert read(smallest.tobytes())[0].shape == flat.shape


@pytest.mark.parametrize("content", [jpeg(), png(smooth_rgb(), RGB), png(smooth_rgb(), RGB, 16)])
def test_a_truncated_file_is_an_error(content):
    for length in range(0, len(content), 7):
        with pytest.raises(ImageError):
            read(content[:length])


def test_a_decoder_failure_is_an_error(monkeypatch):
    def fail(*_):
        raise cv2.error("OpenCV(4.x) ...")

    for decoder in (fail, lambda *_: None, lambda *_: np.zeros((5, 5, 3), np.uint8)):
        monkeypatch.setattr(compressed.cv2, "imdecode", decoder)
        with pytest.raises(ImageError, match="cut off or damaged"):
            read(jpeg())


@pytest.mark.parametrize("fields", [{"format": None}, {"format": b"jpeg"}, {"data": None}, {"data": "text"}])
def test_fields_of_the_wrong_type_are_errors(fields):
    message = compressed_message(jpeg(), "jpeg")
    vars(message).update(fields)
    with pytest.raises(ImageError, match="cannot be read as an image message"):
        decode(message, "same", ANY_SIZE)


# Written files


def empty_compressed(kind):
    return compressed_message(b"", "", kind)


@pytest.mark.parametrize("kind", message_kinds.KINDS)
@pytest.mark.parametrize("encoding", ["rgb8", "bgr8", "mono8"])
@pytest.mark.parametrize("file_format", compressed.FILE_FORMATS)
def test_written_images_can_be_read_back(kind, encoding, file_format):
    rgb, message, header = smooth_rgb(), empty_compressed(kind), message_kinds.header(kind, 99, "front")
    fill_compressed(message, rgb, encoding, header, file_format)
    stored_encoding = "mono8" if encoding == "mono8" else "bgr8"
    assert (message.header, message.format) == (header, f"{encoding}; {file_format} compressed {stored_encoding}")
    out, same = decode(message, "same", ANY_SIZE)
    assert same == encoding
    if encoding == "mono8":
        rgb = cv2.cvtColor(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    if file_format == "png":
        np.testing.assert_array_equal(out, rgb)
    else:
        assert_near(out, rgb)


def test_pillow_reads_the_file():
    pillow = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    import io

    message = empty_compressed("plain")
    fill_compressed(message, smooth_rgb(), "rgb8", None, "jpeg", quality=97)
    with pillow.open(io.BytesIO(message.data.tobytes())) as picture:
        assert picture.format == "JPEG"
        assert_near(np.asarray(picture.convert("RGB")), smooth_rgb())


def test_higher_quality_gives_larger_files():
    sizes = []
    for quality in (1, 50, 100):
        message = empty_compressed("plain")
        fill_compressed(message, random_rgb(64, 64), "bgr8", None, quality=quality)
        sizes.append(message.data.size)
    assert sizes == sorted(set(sizes))


def test_a_reused_message_holds_only_the_new_image():
    message, header = empty_compressed("rclpy"), message_kinds.header("rclpy")
    fill_compressed(message, random_rgb(64, 64), "bgr8", header)
    fill_compressed(message, smooth_rgb(8, 8), "bgr8", header, "png")
    np.testing.assert_array_equal(decode(message, "same", 64)[0], smooth_rgb(8, 8))


@pytest.mark.parametrize(
    ("rgb", "encoding", "options", "error", "expected"),
    [
        (smooth_rgb(), "rgba8", {}, ConfigError, "rgba8.*rgb8, bgr8, mono8"),
        (smooth_rgb(), "same", {}, ConfigError, "'same'"),
        (smooth_rgb(), "rgb8", {"format": "webp"}, ConfigError, "'webp'; use one of jpeg, png"),
        (smooth_rgb(), "rgb8", {"quality": 0}, ConfigError, "quality 0: must be from 1 to 100"),
        (smooth_rgb(), "rgb8", {"quality": 101}, ConfigError, "quality 101"),
        (random_rgb(2, 2, 16), "rgb8", {}, ImageError, "uint16"),
        (np.zeros((2, 2), np.uint8), "mono8", {}, ImageError, "shape"),
        (np.zeros((1, 70_000, 3), np.uint8), "bgr8", {}, ImageError, "70000x1 cannot be written as jpeg"),
    ],
)
def test_errors_leave_the_message_unchanged(rgb, encoding, options, error, expected):
    message = empty_compressed("plain")
    before = dict(vars(message))
    with pytest.raises(error, match=expected):
        fill_compressed(message, rgb, encoding, None, **options)
    assert vars(message) == before
