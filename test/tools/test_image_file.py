"""Decoding image files: depth, declared size, camera raw files, and files that are no regular image."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from dng import flat_mosaic, write_dng

from lowlight_enhance.core.errors import ImageError
from lowlight_enhance.tools import image_file, image_header
from lowlight_enhance.tools.camera_raw import is_camera_raw, is_preview_first
from lowlight_enhance.tools.image_file import decode_image, encode_image, read_file
from lowlight_enhance.tools.image_header import declared_size

SAMPLES = (0.25, 0.5, 1.0)
"""R, G, B of full scale."""


def pnm(kind: str, maximum: int, binary: bool) -> bytes:
    """Return a PNM file with one pixel of ``SAMPLES``, or with the first sample if it is grey."""
    values = [round(sample * maximum) for sample in SAMPLES[: 3 if kind in ("P3", "P6") else 1]]
    header = f"{kind}\n# by a camera\n1 1\n{maximum}\n".encode()
    if not binary:
        return header + " ".join(map(str, values)).encode() + b"\n"
    return header + struct.pack(f">{len(values)}{'B' if maximum < 256 else 'H'}", *values)


@pytest.mark.parametrize("maximum", [100, 255, 300, 1023, 4095, 65535])
@pytest.mark.parametrize("kind", ["P2", "P3", "P5", "P6"])
def test_pnm_samples_are_scaled_from_their_maximum(kind: str, maximum: int) -> None:
    rgb = decode_image(pnm(kind, maximum, kind in ("P5", "P6")), Path(f"x.{'pgm' if kind in ('P2', 'P5') else 'ppm'}"))
    assert rgb.dtype == (np.uint8 if maximum < 256 else np.uint16)
    expected = SAMPLES if kind in ("P3", "P6") else SAMPLES[:1] * 3
    np.testing.assert_allclose(rgb[0, 0] / np.iinfo(rgb.dtype).max, expected, atol=0.011)


@pytest.mark.parametrize("depth", [8, 10, 12])
def test_avif_samples_are_scaled_from_their_depth(depth: int) -> None:
    if not cv2.haveImageWriter("x.avif"):
        pytest.skip("this OpenCV writes no AVIF")
    image = np.full((64, 64, 3), (1 << depth) // 4, np.uint8 if depth == 8 else np.uint16)
    written, content = cv2.imencode(".avif", image, [cv2.IMWRITE_AVIF_DEPTH, depth, cv2.IMWRITE_AVIF_QUALITY, 100])
    assert written
    rgb = decode_image(content.tobytes(), Path("x.avif"))
    assert rgb.mean() / np.iinfo(rgb.dtype).max == pytest.approx(0.25, abs=0.01)


@pytest.mark.parametrize("depth", [10, 12, 16])
def test_jpeg_2000_samples_are_scaled_from_their_depth(depth: int) -> None:
    if not cv2.haveImageWriter("x.jp2"):
        pytest.skip("this OpenCV writes no JPEG 2000")
    level_shift = (1 << 15) - (1 << depth - 1)  # the coder moves samples by half of their range
    image = np.full((64, 64, 3), (1 << depth) // 4 + level_shift, np.uint16)
    written, encoded = cv2.imencode(".jp2", image)
    assert written
    content = bytearray(encoded.tobytes())
    content[content.index(b"ihdr") + 14] = depth - 1  # OpenCV always declares 16 bits
    start = content.index(b"\xff\x4f\xff\x51")
    for component in range(3):
        content[start + 42 + 3 * component] = depth - 1
    rgb = decode_image(bytes(content), Path("x.jp2"))
    assert rgb.mean() / np.iinfo(rgb.dtype).max == pytest.approx(0.25, abs=0.01)


def test_scaling_reaches_full_scale_and_keeps_black() -> None:
    table = image_file._full_scale(np.array([[[0, 2048, 4095]]], np.uint16), 4095)
    assert table.tolist() == [[[0, 32776, 65535]]]
    over = image_file._full_scale(np.array([[[4096, 65535, 1]]], np.uint16), 4095)
    assert over.tolist() == [[[65535, 65535, 16]]]


# Limits


def png_that_declares(width: int, height: int) -> bytes:
    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def jpeg_that_declares(width: int, height: int) -> bytes:
    content = bytearray(cv2.imencode(".jpg", np.zeros((8, 8, 3), np.uint8))[1].tobytes())
    at = content.index(b"\xff\xc0") + 5
    content[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(content)


@pytest.mark.parametrize("without_pillow", [False, True])
@pytest.mark.parametrize("size", [(9000, 9000), (32000, 32000)])
@pytest.mark.parametrize("file", [png_that_declares, jpeg_that_declares])
def test_a_declared_size_is_checked_before_memory_is_allocated(
    file: object, size: tuple[int, int], without_pillow: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if without_pillow:
        monkeypatch.setitem(__import__("sys").modules, "PIL", None)
    monkeypatch.setattr(image_file.cv2, "imdecode", None)
    content = file(*size)  # type: ignore[operator]
    assert declared_size(content) == size[::-1]
    with pytest.raises(ImageError, match=f"x of {size[0]}x{size[1]}"):
        decode_image(content, Path("x"))


def test_a_lack_of_memory_is_no_fault_of_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    image = np.zeros((8, 8, 3), np.uint8)
    content = encode_image(image, Path("x.png"))

    def fails(*_: object) -> None:
        error = cv2.error("Failed to allocate 144000000 bytes")
        error.code = cv2.Error.StsNoMem
        raise error

    monkeypatch.setattr(cv2, "imdecode", fails)
    monkeypatch.setattr(cv2, "imencode", fails)
    with pytest.raises(MemoryError):
        decode_image(content, Path("x.png"))
    with pytest.raises(MemoryError):
        encode_image(image, Path("x.png"))


def test_a_size_that_pillow_rejects_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("PIL")
    content = b"P6\n32000 32000\n255\n"
    assert declared_size(content) == image_header.TOO_LARGE
    with pytest.raises(ImageError, match="more pixels than any camera"):
        decode_image(content, Path("x.ppm"))


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/null", "pipe"])
def test_devices_and_pipes_are_not_read(path: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ImageError, match="device or a pipe; save the image to a file"):
        read_file(tmp_path / path)


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "x.png").open("wb") as file:
        file.truncate(image_file.MAX_FILE_BYTES + 1)
    with pytest.raises(ImageError, match="has 1024 MiB"):
        read_file(tmp_path / "x.png")


@pytest.mark.parametrize("name", ["y" * 300, "missing/x.png", "file/x.png"])
def test_an_unreadable_path_is_named(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ImageError, match="cannot read"):
        read_file(tmp_path / name)


def test_a_jpeg_that_is_cut_short_is_rejected() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    content = cv2.imencode(".jpg", noise)[1].tobytes()
    with pytest.raises(ImageError, match="cut short"):
        decode_image(content[: len(content) // 2], Path("x.jpg"))
    assert decode_image(content + b"\0trailer", Path("x.jpg")).shape == (64, 64, 3)


def test_a_pam_file_is_rejected() -> None:
    header = b"P7\nWIDTH 1\nHEIGHT 1\nDEPTH 3\nMAXVAL 255\nTUPLTYPE RGB\nENDHDR\n"
    with pytest.raises(ImageError, match="PAM file"):
        decode_image(header + b"abc", Path("x.pam"))


# Camera raw files


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """A DNG file of 96x64 pixels whose first page is a bright preview of 24x16."""
    write_dng(tmp_path / "x.dng", flat_mosaic((0.1, 0.2, 0.3)), preview=np.full((16, 24, 3), 200, np.uint8))
    return tmp_path / "x.dng"


@pytest.mark.parametrize("name", ["x.dng", "x.nef", "x.tif"])
def test_a_raw_file_is_developed_and_not_its_preview(raw: Path, name: str) -> None:
    pytest.importorskip("rawpy")
    rgb = decode_image(raw.read_bytes(), Path(name))
    assert (rgb.shape, rgb.dtype) == ((64, 96, 3), np.uint16)
    centre = rgb[32, 48].astype(float) / 65535
    np.testing.assert_allclose(((centre + 0.055) / 1.055) ** 2.4, (0.1, 0.2, 0.3), atol=0.005)


def test_a_raw_file_is_rotated_upright(tmp_path: Path) -> None:
    pytest.importorskip("rawpy")
    write_dng(tmp_path / "x.dng", flat_mosaic((0.1, 0.2, 0.3)), orientation=6)
    assert decode_image((tmp_path / "x.dng").read_bytes(), Path("x.dng")).shape == (96, 64, 3)


def test_without_rawpy_a_raw_file_is_rejected(raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "rawpy", None)
    with pytest.raises(ImageError, match="install rawpy"):
        decode_image(raw.read_bytes(), Path("x.tif"))


def test_a_raw_file_has_the_limit_of_other_images(raw: Path) -> None:
    pytest.importorskip("rawpy")
    with pytest.raises(ImageError, match="96x64"):
        decode_image(raw.read_bytes(), raw, max_pixels=96 * 64 - 1)


def test_a_damaged_raw_file_is_named(raw: Path) -> None:
    pytest.importorskip("rawpy")
    with pytest.raises(ImageError, match=r"cannot develop x\.dng"):
        decode_image(raw.read_bytes()[:300], Path("x.dng"))


def test_a_preview_page_of_another_tiff_is_rejected(raw: Path) -> None:
    content = bytearray(raw.read_bytes())
    for mark in (struct.pack("<HHI", 0xC612, 1, 4), struct.pack("<HHIH", 0x0106, 3, 1, 32803)):
        at = content.index(mark)
        content[at : at + 2] = b"\0\0"  # no DNGVersion, no colour filter array
    assert not is_camera_raw(bytes(content))
    assert is_preview_first(bytes(content))
    with pytest.raises(ImageError, match=r"first page of .* is a preview"):
        decode_image(bytes(content), Path("x.tif"))


def test_other_images_are_not_raw() -> None:
    image = np.zeros((8, 8, 3), np.uint8)
    for suffix in (".tiff", ".png", ".jpg"):
        content = cv2.imencode(suffix, image)[1].tobytes()
        assert not is_camera_raw(content, suffix)
        assert not is_preview_first(content)


@pytest.mark.parametrize("start", [b"II*\0", b"MM\0*"])
def test_cyclic_and_damaged_directories_are_read_to_an_end(start: bytes) -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        content = start + rng.integers(0, 40, 200, np.uint8).tobytes()
        is_camera_raw(content)
        is_preview_first(content)


# Writing


@pytest.mark.parametrize("suffix", image_file.IMAGE_SUFFIXES)
def test_encode_keeps_the_channel_order(suffix: str) -> None:
    rgb = np.full((16, 16, 3), (200, 100, 50), np.uint8)
    np.testing.assert_allclose(decode_image(encode_image(rgb, Path("x" + suffix)), Path("x")), rgb, atol=6)
