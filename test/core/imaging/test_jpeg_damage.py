"""Damaged JPEG files with an end marker are rejected; complete ones are not, whatever libjpeg warns about."""

import cv2
import numpy as np
import pytest
from image_cases import compressed_message

from lowlight_enhance.core.errors import ImageError
from lowlight_enhance.core.health import Health
from lowlight_enhance.core.imaging import compressed
from lowlight_enhance.core.imaging.messages import decode
from lowlight_enhance.core.pipeline import Pipeline

END = b"\xff\xd9"
RESTART_INTERVALS = [0, 4, 40]
"""Blocks of 16x16 pixels; a row has ten."""


@pytest.fixture(autouse=True)
def _warnings_are_shown(monkeypatch):
    monkeypatch.setattr(compressed._JpegWarnings, "is_hidden", False)


def night_bgr(height=120, width=160):
    rows, columns = np.mgrid[0:height, 0:width]
    noise = np.random.default_rng(5).integers(0, 12, (height, width, 3))
    return (20 + 15 * np.sin(rows / 9)[:, :, None] + 10 * np.cos(columns / 7)[:, :, None] + noise).astype(np.uint8)


def jpeg(bgr=None, restart_interval=0, options=()):
    options = [cv2.IMWRITE_JPEG_QUALITY, 85, cv2.IMWRITE_JPEG_RST_INTERVAL, restart_interval, *options]
    return cv2.imencode(".jpg", night_bgr() if bgr is None else bgr, options)[1].tobytes()


def read(content):
    return decode(compressed_message(content, "jpeg"), "same", 1_000_000)[0]


def cut(content, share, length):
    """Remove bytes of the compressed data; ``share`` of it comes before them."""
    scan = content.rfind(b"\xff\xda") + 14
    at = scan + round(share * (len(content) - len(END) - scan))
    return content[:at] + content[at + length :]


@pytest.mark.parametrize("restart_interval", RESTART_INTERVALS)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
@pytest.mark.parametrize("grey", [False, True])
def test_missing_bytes_in_the_middle_are_an_error(restart_interval, share, grey):
    bgr = night_bgr()
    content = jpeg(np.ascontiguousarray(bgr[:, :, 0]) if grey else bgr, restart_interval)
    damaged = cut(content, share, 200)
    assert damaged.endswith(END)
    with pytest.raises(ImageError, match="a part of the JPEG data is missing"):
        read(damaged)


@pytest.mark.parametrize("restart_interval", RESTART_INTERVALS)
@pytest.mark.parametrize("filler", [b"\0" * 300, b"\xff\xd9" * 150, b"\xff\x17\x80" * 100])
def test_overwritten_bytes_in_the_middle_are_an_error(restart_interval, filler):
    content = jpeg(restart_interval=restart_interval)
    middle = len(content) // 2
    with pytest.raises(ImageError, match="damaged"):
        read(content[:middle] + filler + content[middle + len(filler) :])


def is_found(damaged):
    try:
        read(damaged)
    except ImageError:
        return True
    return False


def test_most_cuts_are_found():
    """The rest ends in the last block, because the decoder finds more blocks than there were after the cut."""
    rng = np.random.default_rng(3)
    content = jpeg(night_bgr(480, 640))
    cuts = [cut(content, float(rng.uniform(0.0, 0.9)), int(rng.integers(50, 1500))) for _ in range(40)]
    assert sum(is_found(damaged) for damaged in cuts) >= 36


@pytest.mark.parametrize("restart_interval", [4, 40])
def test_a_lost_or_swapped_restart_marker_is_an_error_before_decoding(monkeypatch, restart_interval):
    monkeypatch.setattr(compressed.cv2, "imdecode", lambda *_: pytest.fail("decoded"))
    content = jpeg(restart_interval=restart_interval)
    for damaged in (content.replace(b"\xff\xd0", b"", 1), content.replace(b"\xff\xd0", b"\xff\xd3", 1)):
        with pytest.raises(ImageError, match="a part of the JPEG data is missing"):
            read(damaged)


@pytest.mark.parametrize("restart_interval", RESTART_INTERVALS)
@pytest.mark.parametrize("level", [0, 16, 127, 128, 129, 255])
@pytest.mark.parametrize("size", [(120, 160), (1, 1), (17, 33), (16, 16)])
def test_flat_pictures_are_complete(restart_interval, level, size):
    out = read(jpeg(np.full((*size, 3), level, np.uint8), restart_interval))
    np.testing.assert_array_equal(out, np.full((*size, 3), level))


@pytest.mark.parametrize("options", [(), (cv2.IMWRITE_JPEG_OPTIMIZE, 1), (cv2.IMWRITE_JPEG_PROGRESSIVE, 1)])
@pytest.mark.parametrize("sampling", [0x411111, 0x221111, 0x211111, 0x121111, 0x111111])
@pytest.mark.skipif(not hasattr(cv2, "IMWRITE_JPEG_SAMPLING_FACTOR"), reason="this OpenCV writes 4:2:0 only")
def test_a_grey_corner_is_no_damage(options, sampling):
    bgr = night_bgr()
    bgr[80:, 120:] = 128
    content = jpeg(bgr, options=[*options, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling])
    expected = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(read(content), expected[:, :, ::-1])


def test_superfluous_bytes_before_markers_are_no_damage(capfd):
    """Logitech C270, C310 and C910 write such files; libjpeg warns about each of them."""
    bgr = night_bgr()
    bgr[100:, 140:] = 128
    content = jpeg(bgr, restart_interval=40)
    padded = content.replace(b"\xff\xd1", b"\0\0\0\xff\xd1").replace(END, b"\0" * 8 + END)
    np.testing.assert_array_equal(read(padded), read(content))
    assert "extraneous bytes" in capfd.readouterr().err


def test_additional_restart_markers_are_no_damage():
    content = jpeg(restart_interval=40)
    np.testing.assert_array_equal(read(content[:-2] + b"\xff\xd1" + END), read(content))


def test_the_scan_of_an_exif_thumbnail_is_left_alone():
    bgr = night_bgr()
    bgr[80:, 120:] = 128
    content, thumbnail = jpeg(bgr), b"Exif\0\0" + jpeg(night_bgr(16, 16))
    with_thumbnail = content[:2] + b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail + content[2:]
    np.testing.assert_array_equal(read(with_thumbnail), read(content))


def test_a_pipeline_counts_a_damaged_file():
    health = Health()
    pipeline = Pipeline(lambda rgb, capture: rgb, health=health)
    message = compressed_message(cut(jpeg(), 0.5, 200), "jpeg")
    with pytest.raises(ImageError):
        pipeline.process(message, now_ns=0)
    values = health.report(1_000_000_000).values
    assert (values["failed"], values["errors.ImageError"]) == ("1", "1")
    assert "a part of the JPEG data is missing" in values["last_error"]


def test_a_stream_of_damaged_files_writes_one_line_to_stderr(capfd):
    damaged = cut(jpeg(), 0.5, 200)
    for _ in range(20):
        with pytest.raises(ImageError, match="damaged"):
            read(damaged)
    assert capfd.readouterr().err.count("Corrupt JPEG data") <= 1
