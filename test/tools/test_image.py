"""`lowlight image`: formats, EXIF, options, and errors that leave no file."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from disk import largest_file
from numpy.typing import NDArray
from tiny_model import write_tiny_model

from lowlight_enhance import cli
from lowlight_enhance.core.errors import ConfigError, DataError, ImageError, LowlightError, ModelError
from lowlight_enhance.core.metadata.capture import UNKNOWN, CaptureMetadata
from lowlight_enhance.tools import image_file
from lowlight_enhance.tools.exif import EXIF_IFD
from lowlight_enhance.tools.image import enhance_file
from lowlight_enhance.tools.image_file import IMAGE_SUFFIXES


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
    exif.get_ifd(EXIF_IFD).update(tags)
    if orientation:
        exif[0x0112] = orientation
    pil.fromarray(np.ascontiguousarray(ramp()[:, :, ::-1])).save(path, exif=exif)
    return path


def test_channel_order_is_kept(tmp_path: Path, model: Path) -> None:
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
def test_every_layout_becomes_8_bit_colour(
    tmp_path: Path, model: Path, name: str, picture: NDArray[np.uint8], expected: NDArray[np.uint8]
) -> None:
    enhance_file(save(tmp_path / name, picture), tmp_path / "out.png", None, None, model, None, None)
    np.testing.assert_array_equal(read(tmp_path / "out.png"), expected)


@pytest.mark.parametrize("suffix", IMAGE_SUFFIXES)
def test_every_named_format_can_be_written(tmp_path: Path, model: Path, suffix: str) -> None:
    source = save(tmp_path / "dark.png", np.full((32, 48, 3), 40, np.uint8))
    enhance_file(source, tmp_path / f"out{suffix}", None, None, model, None, None)
    np.testing.assert_allclose(read(tmp_path / f"out{suffix}"), 80, atol=2)


def test_exif_orientation_is_applied(tmp_path: Path, model: Path) -> None:
    source = jpeg_with_exif(tmp_path / "turned.jpg", {}, orientation=6)
    enhance_file(source, tmp_path / "out.png", None, None, model, None, None)
    assert read(tmp_path / "out.png").shape == (60, 40, 3)


def test_exif_fills_missing_options(tmp_path: Path, model: Path) -> None:
    source = jpeg_with_exif(tmp_path / "dark.jpg", {0x8827: 1600, 0x829A: 0.05})
    target = tmp_path / "out.png"
    assert enhance_file(source, target, None, None, model, None, None) == CaptureMetadata(1600.0, 0.05)
    assert enhance_file(source, target, 6400.0, None, model, None, None) == CaptureMetadata(6400.0, 0.05)
    assert enhance_file(source, target, None, 0.1, model, None, None) == CaptureMetadata(1600.0, 0.1)
    assert enhance_file(source, target, 50.0, 0.1, model, None, None) == CaptureMetadata(50.0, 0.1)


def test_damaged_exif_gives_unknown_metadata(tmp_path: Path, model: Path) -> None:
    content = bytearray(jpeg_with_exif(tmp_path / "whole.jpg", {0x8827: 1600, 0x829A: 0.05}).read_bytes())
    start = content.index(b"Exif\0\0") + 6
    content[start + 4 : start + 40] = b"\xff" * 36
    source = tmp_path / "dark.jpg"
    source.write_bytes(bytes(content))
    assert enhance_file(source, tmp_path / "out.png", None, None, model, None, None) == UNKNOWN
    assert (tmp_path / "out.png").exists()


def test_without_pillow_the_metadata_is_unknown_and_logged(
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
def test_implausible_options_are_rejected(
    tmp_path: Path, model: Path, iso: float | None, exposure_s: float | None, message: str
) -> None:
    source = save(tmp_path / "dark.png", ramp())
    refuses(ConfigError, message, source, tmp_path / "out.png", model, iso, exposure_s)


def test_a_missing_source_is_rejected(tmp_path: Path, model: Path) -> None:
    refuses(ImageError, r"cannot read .*dark\.png: No such file", tmp_path / "dark.png", tmp_path / "out.png", model)


def test_a_folder_is_rejected_as_source(tmp_path: Path, model: Path) -> None:
    refuses(ImageError, "cannot read .*directory", tmp_path, tmp_path / "out.png", model)


@pytest.mark.parametrize("content", [b"", b"no image", cv2.imencode(".png", ramp())[1].tobytes()[:200]])
def test_a_file_that_is_no_image_is_rejected(tmp_path: Path, model: Path, content: bytes) -> None:
    source = tmp_path / "dark.png"
    source.write_bytes(content)
    refuses(ImageError, r"dark\.png", source, tmp_path / "out.png", model)


def test_floating_point_images_are_rejected(tmp_path: Path, model: Path) -> None:
    source = save(tmp_path / "dark.tiff", ramp().astype(np.float32))  # type: ignore[arg-type]
    refuses(ImageError, "holds float32 values; convert it to 8 or 16 bits", source, tmp_path / "out.png", model)


@pytest.mark.parametrize("name", ["out", "out.gifv", "out.txt"])
def test_an_unknown_suffix_is_rejected(tmp_path: Path, model: Path, name: str) -> None:
    source = save(tmp_path / "dark.png", ramp())
    refuses(ConfigError, r"must end in one of \.bmp, ", source, tmp_path / name, model)


def test_a_missing_folder_is_rejected(tmp_path: Path, model: Path) -> None:
    source = save(tmp_path / "dark.png", ramp())
    refuses(DataError, "nowhere does not exist; create it", source, tmp_path / "nowhere" / "out.png", model)


def test_the_source_is_not_overwritten(tmp_path: Path, model: Path) -> None:
    source = save(tmp_path / "dark.png", ramp())
    (tmp_path / "link.png").symlink_to(source)
    with pytest.raises(DataError, match="is the source itself"):
        enhance_file(source, tmp_path / "link.png", None, None, model, None, None)
    np.testing.assert_array_equal(read(source), ramp())


def test_a_missing_model_is_rejected(tmp_path: Path) -> None:
    source = save(tmp_path / "dark.png", ramp())
    refuses(ModelError, r"none\.onnx", source, tmp_path / "out.png", tmp_path / "none.onnx")


@pytest.mark.parametrize("fault", [cv2.error("encoder"), False])
def test_a_failed_encoder_leaves_the_old_file(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch, fault: Exception | bool
) -> None:
    source, target = save(tmp_path / "dark.png", ramp()), tmp_path / "out.png"
    target.write_bytes(b"old")

    def encode(_suffix: str, _image: object) -> tuple[bool, None]:
        if isinstance(fault, Exception):
            raise fault
        return fault, None

    monkeypatch.setattr(image_file.cv2, "imencode", encode)
    with pytest.raises(DataError, match=r"cannot write .*out\.png"):
        enhance_file(source, target, None, None, model, None, None)
    assert target.read_bytes() == b"old"
    assert {path.name for path in tmp_path.iterdir()} == {"dark.png", "out.png"}


@pytest.mark.parametrize("suffix", IMAGE_SUFFIXES)
def test_a_full_disk_leaves_the_old_file_in_every_format(tmp_path: Path, model: Path, suffix: str) -> None:
    noise = np.random.default_rng(0).integers(0, 100, (64, 64, 3), np.uint8)
    source, target = save(tmp_path / "dark.png", noise), tmp_path / f"out{suffix}"
    target.write_bytes(b"old")
    with largest_file(1000), pytest.raises(DataError, match=r"cannot write .*: File too large"):
        enhance_file(source, target, None, None, model, None, None)
    assert target.read_bytes() == b"old"
    assert {path.name for path in tmp_path.iterdir()} == {"dark.png", target.name}


def test_a_device_behind_the_target_stays_a_device(tmp_path: Path, model: Path) -> None:
    source = save(tmp_path / "dark.png", ramp())
    (tmp_path / "out.png").symlink_to(os.devnull)
    enhance_file(source, tmp_path / "out.png", None, None, model, None, None)
    assert (tmp_path / "out.png").is_char_device()


def test_a_larger_image_than_allowed_is_rejected(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = save(tmp_path / "dark.png", ramp())
    command = ["image", str(source), str(tmp_path / "out.png"), "--model", str(model), "--max-pixels"]
    assert cli.main([*command, "2399"]) == 2
    assert "dark.png of 60x40" in capsys.readouterr().err
    assert cli.main([*command, "2400"]) == 0


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
    """``enhance_file`` raises, and writes nothing."""
    before = sorted(source.parent.rglob("*"))
    with pytest.raises(error, match=message):
        enhance_file(source, target, iso, exposure_s, model, None, None)
    assert sorted(source.parent.rglob("*")) == before
