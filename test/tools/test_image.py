"""`lowlight image`: every kind of picture goes in, EXIF fills what the flags leave open, bad input leaves no file."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from tiny_model import write_tiny_model

from lowlight_enhance import cli
from lowlight_enhance.core.errors import ConfigError, DataError, ImageError, LowlightError, ModelError
from lowlight_enhance.core.metadata.capture import UNKNOWN, CaptureMetadata
from lowlight_enhance.tools import image
from lowlight_enhance.tools.image import enhance_file, exif_capture


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("model") / "doubles.onnx", gain=2.0)


def ramp(height: int = 40, width: int = 60) -> NDArray[np.uint8]:
    """BGR, all values under 128, its channels differ."""
    values = np.arange(height * width * 3).reshape(height, width, 3) % 100
    return (values + np.array([0, 10, 20])).astype(np.uint8)


def save(path: Path, picture: NDArray[np.uint8] | NDArray[np.uint16]) -> Path:
    assert cv2.imwrite(str(path), picture)
    return path


def read(path: Path) -> NDArray[np.uint8]:
    picture = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert picture is not None
    return np.asarray(picture, np.uint8)


def jpeg_with_exif(path: Path, tags: dict[int, object], orientation: int | None = None) -> Path:
    pil = pytest.importorskip("PIL.Image")
    exif = pil.Exif()
    exif.get_ifd(image.EXIF_IFD).update(tags)
    if orientation:
        exif[0x0112] = orientation
    pil.fromarray(np.ascontiguousarray(ramp()[:, :, ::-1])).save(path, exif=exif)
    return path


def test_a_colour_picture_keeps_its_channel_order(tmp_path: Path, model: Path) -> None:
    source = save(tmp_path / "dark.png", ramp())
    assert enhance_file(source, tmp_path / "out.png", None, None, model, None, None) == UNKNOWN
    np.testing.assert_array_equal(read(tmp_path / "out.png"), 2 * ramp())


@pytest.mark.parametrize(
    ("name", "picture", "expected"),
    [
        ("grey.png", ramp()[:, :, 0], 2 * np.repeat(ramp()[:, :, :1], 3, axis=2)),
        ("alpha.png", np.dstack([ramp(), ramp()[:, :, 0]]), 2 * ramp()),
        ("deep.png", ramp().astype(np.uint16) * 257, 2 * ramp()),
        ("deep.tiff", ramp().astype(np.uint16) * 257, 2 * ramp()),
        ("deep_alpha.png", np.dstack([ramp(), ramp()[:, :, 0]]).astype(np.uint16) * 257, 2 * ramp()),
        ("flat.bmp", ramp(), 2 * ramp()),
    ],
)
def test_every_kind_becomes_8_bit_colour(
    tmp_path: Path, model: Path, name: str, picture: NDArray[np.uint8], expected: NDArray[np.uint8]
) -> None:
    enhance_file(save(tmp_path / name, picture), tmp_path / "out.png", None, None, model, None, None)
    np.testing.assert_array_equal(read(tmp_path / "out.png"), expected)


@pytest.mark.parametrize("suffix", image.SUFFIXES)
def test_every_named_format_can_be_written(tmp_path: Path, model: Path, suffix: str) -> None:
    source = save(tmp_path / "dark.png", np.full((32, 48, 3), 40, np.uint8))
    enhance_file(source, tmp_path / f"out{suffix}", None, None, model, None, None)
    np.testing.assert_allclose(read(tmp_path / f"out{suffix}"), 80, atol=2)


def test_the_picture_is_turned_upright(tmp_path: Path, model: Path) -> None:
    source = jpeg_with_exif(tmp_path / "turned.jpg", {}, orientation=6)
    enhance_file(source, tmp_path / "out.png", None, None, model, None, None)
    assert read(tmp_path / "out.png").shape == (60, 40, 3)


def test_exif_fills_what_the_flags_leave_open(tmp_path: Path, model: Path) -> None:
    source = jpeg_with_exif(tmp_path / "dark.jpg", {0x8827: 1600, 0x829A: 0.05})
    target = tmp_path / "out.png"
    assert enhance_file(source, target, None, None, model, None, None) == CaptureMetadata(1600.0, 0.05)
    assert enhance_file(source, target, 6400.0, None, model, None, None) == CaptureMetadata(6400.0, 0.05)
    assert enhance_file(source, target, None, 0.1, model, None, None) == CaptureMetadata(1600.0, 0.1)
    assert enhance_file(source, target, 50.0, 0.1, model, None, None) == CaptureMetadata(50.0, 0.1)


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({}, UNKNOWN),
        ({0x8827: 0, 0x829A: 0.0}, UNKNOWN),
        ({0x8827: 65535, 0x8833: 102400}, CaptureMetadata(iso=102400.0)),
        ({0x8827: 65535}, UNKNOWN),
        ({0x9201: 5.0}, CaptureMetadata(exposure_s=1.0 / 32.0)),
        ({0x9201: 5.0, 0x829A: 0.05}, CaptureMetadata(exposure_s=0.05)),
    ],
)
def test_exif_values(tmp_path: Path, tags: dict[int, object], expected: CaptureMetadata) -> None:
    assert exif_capture(jpeg_with_exif(tmp_path / "dark.jpg", tags).read_bytes()) == expected


def test_an_exposure_over_zero_is_unknown(tmp_path: Path) -> None:
    rational = pytest.importorskip("PIL.TiffImagePlugin").IFDRational
    source = jpeg_with_exif(tmp_path / "dark.jpg", {0x829A: rational(1, 0), 0x8827: 200})
    assert exif_capture(source.read_bytes()) == CaptureMetadata(iso=200.0)


def test_damaged_exif_costs_only_the_metadata(tmp_path: Path, model: Path) -> None:
    content = bytearray(jpeg_with_exif(tmp_path / "whole.jpg", {0x8827: 1600, 0x829A: 0.05}).read_bytes())
    start = content.index(b"Exif\0\0") + 6
    content[start + 4 : start + 40] = b"\xff" * 36
    source = tmp_path / "dark.jpg"
    source.write_bytes(bytes(content))
    assert enhance_file(source, tmp_path / "out.png", None, None, model, None, None) == UNKNOWN
    assert (tmp_path / "out.png").exists()


def test_without_pillow_the_metadata_is_unknown_and_this_is_said(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    source = jpeg_with_exif(tmp_path / "dark.jpg", {0x8827: 1600, 0x829A: 0.05})
    monkeypatch.setitem(sys.modules, "PIL", None)
    assert enhance_file(source, tmp_path / "out.png", None, None, model, None, None) == UNKNOWN
    assert "install Pillow" in caplog.text
    caplog.clear()
    enhance_file(source, tmp_path / "out.png", 100.0, 0.1, model, None, None)
    assert not caplog.text


@pytest.mark.parametrize(
    ("iso", "exposure_s", "message"),
    [
        (-1.0, None, "--iso -1 is not plausible"),
        (float("nan"), None, "--iso nan is not plausible"),
        (None, 0.0, "--exposure 0 is not plausible"),
        (None, float("inf"), "--exposure inf is not plausible"),
    ],
)
def test_implausible_flags(
    tmp_path: Path, model: Path, iso: float | None, exposure_s: float | None, message: str
) -> None:
    source = save(tmp_path / "dark.png", ramp())
    refuses(ConfigError, message, source, tmp_path / "out.png", model, iso, exposure_s)


def test_a_missing_source(tmp_path: Path, model: Path) -> None:
    refuses(ImageError, r"cannot read .*dark\.png: No such file", tmp_path / "dark.png", tmp_path / "out.png", model)


def test_a_folder_as_source(tmp_path: Path, model: Path) -> None:
    refuses(ImageError, "cannot read .*directory", tmp_path, tmp_path / "out.png", model)


@pytest.mark.parametrize("content", [b"", b"no picture", cv2.imencode(".png", ramp())[1].tobytes()[:200]])
def test_an_undecodable_source(tmp_path: Path, model: Path, content: bytes) -> None:
    source = tmp_path / "dark.png"
    source.write_bytes(content)
    refuses(ImageError, r"dark\.png", source, tmp_path / "out.png", model)


def test_floating_point_pictures_are_refused(tmp_path: Path, model: Path) -> None:
    source = save(tmp_path / "dark.tiff", ramp().astype(np.float32))  # type: ignore[arg-type]
    refuses(ImageError, "holds float32 values; convert it to 8 or 16 bits", source, tmp_path / "out.png", model)


@pytest.mark.parametrize("name", ["out", "out.gifv", "out.txt"])
def test_an_unsupported_suffix(tmp_path: Path, model: Path, name: str) -> None:
    source = save(tmp_path / "dark.png", ramp())
    refuses(ConfigError, r"must end in one of \.bmp, ", source, tmp_path / name, model)


def test_a_missing_folder(tmp_path: Path, model: Path) -> None:
    source = save(tmp_path / "dark.png", ramp())
    refuses(DataError, "nowhere does not exist; create it", source, tmp_path / "nowhere" / "out.png", model)


def test_the_source_is_not_overwritten(tmp_path: Path, model: Path) -> None:
    source = save(tmp_path / "dark.png", ramp())
    (tmp_path / "link.png").symlink_to(source)
    with pytest.raises(ConfigError, match="is the source itself"):
        enhance_file(source, tmp_path / "link.png", None, None, model, None, None)
    np.testing.assert_array_equal(read(source), ramp())


def test_a_missing_model(tmp_path: Path) -> None:
    source = save(tmp_path / "dark.png", ramp())
    refuses(ModelError, r"none\.onnx", source, tmp_path / "out.png", tmp_path / "none.onnx")


@pytest.mark.parametrize("fault", [cv2.error("encoder"), False])
def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch, fault: Exception | bool
) -> None:
    source, target = save(tmp_path / "dark.png", ramp()), tmp_path / "out.png"
    target.write_bytes(b"old")

    def write(path: str, _picture: object) -> bool:
        Path(path).write_bytes(b"half")
        if isinstance(fault, Exception):
            raise fault
        return fault

    monkeypatch.setattr(image.cv2, "imwrite", write)
    with pytest.raises(DataError, match=r"cannot write .*out\.png"):
        enhance_file(source, target, None, None, model, None, None)
    assert target.read_bytes() == b"old"
    assert {path.name for path in tmp_path.iterdir()} == {"dark.png", "out.png"}


def test_the_command_exits_with_2_and_one_line(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["image", str(tmp_path / "none.jpg"), str(tmp_path / "out.png"), "--model", str(model)]
    assert cli.main(arguments) == 2
    assert capsys.readouterr().err.startswith(f"lowlight: cannot read {tmp_path / 'none.jpg'}")
    assert list(tmp_path.iterdir()) == []


def test_the_command_enhances(tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = save(tmp_path / "dark.png", ramp())
    target = tmp_path / "out.png"
    assert cli.main(["image", str(source), str(target), "--model", str(model), "--exposure", "1/50"]) == 0
    assert "ISO unknown, exposure 0.02 s" in capsys.readouterr().out
    np.testing.assert_array_equal(read(target), 2 * ramp())


def refuses(
    error: type[LowlightError],
    message: str,
    source: Path,
    target: Path,
    model: Path,
    iso: float | None = None,
    exposure_s: float | None = None,
) -> None:
    """It raises, and nothing new is on the disk."""
    before = sorted(source.parent.rglob("*"))
    with pytest.raises(error, match=message):
        enhance_file(source, target, iso, exposure_s, model, None, None)
    assert sorted(source.parent.rglob("*")) == before


def test_exif_of_a_picture_that_pillow_does_not_know() -> None:
    pytest.importorskip("PIL")
    assert exif_capture(io.BytesIO(b"neither").getvalue()) == UNKNOWN
