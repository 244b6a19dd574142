"""Development against its closed form, on raw files whose every level is known."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from dng import flat_mosaic, mosaic_of, write_dng

from lowlight_enhance.core.errors import DataError, ImageError
from lowlight_enhance.core.metadata.capture import UNKNOWN, CaptureMetadata
from lowlight_enhance.simulation.low_light import linear_to_srgb, srgb_to_linear
from lowlight_enhance.tools.camera_raw import develop_raw
from lowlight_enhance.tools.exif import exif_capture
from lowlight_enhance.training.data.raw import develop_file, developed_capture

LIGHT = (0.1, 0.2, 0.3)


def srgb(light: tuple[float, ...]) -> np.ndarray:
    """The standard's curve, 0..1."""
    return linear_to_srgb(np.asarray(light, np.float32))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return tmp_path / "00001_00_0.04s.ARW"


@pytest.mark.parametrize("light", [LIGHT, (0.001, 0.002, 0.003), (0.0, 0.0, 0.0), (0.5, 0.45, 0.4), (1.0, 1.0, 1.0)])
def test_levels_between_black_and_white_follow_the_srgb_curve(source: Path, light: tuple[float, float, float]) -> None:
    write_dng(source, flat_mosaic(light))
    wide, narrow = develop_raw(source, 16)[0], develop_raw(source, 8)[0]
    assert (wide.dtype, narrow.dtype, wide.shape) == (np.uint16, np.uint8, (64, 96, 3))
    assert np.abs(wide / 65535.0 - srgb(light)).max() < 0.0005
    assert np.abs(narrow - 255.0 * srgb(light)).max() < 0.6  # rounded, not cut


@pytest.mark.parametrize("brightest", [0.0, 0.8, 0.95])
def test_no_other_part_of_the_picture_changes_a_level(source: Path, brightest: float) -> None:
    light = np.full((64, 96, 3), LIGHT)
    light[:32, :48] = brightest
    write_dng(source, mosaic_of(light))
    corner = develop_raw(source, 16)[0][40:, 56:]
    assert np.abs(corner / 65535.0 - srgb(LIGHT)).max() < 0.0005


def test_a_hundredth_of_the_light_stays_a_hundredth(source: Path) -> None:
    linear = []
    for share in (1.0, 0.01):
        write_dng(source, flat_mosaic((0.4 * share, 0.5 * share, 0.6 * share)))
        linear.append(srgb_to_linear(develop_raw(source, 16)[0].astype(np.float32) / 65535.0).mean((0, 1)))
    assert linear[1] / linear[0] == pytest.approx([0.01] * 3, rel=0.02)


def test_colours_stand_where_they_were(source: Path) -> None:
    light = np.full((64, 96, 3), 0.02)
    light[:32, :, 0] = light[32:, :, 2] = 0.5
    write_dng(source, mosaic_of(light))
    rgb = develop_raw(source)[0]
    assert (rgb[:24, :, 0] > 150).all()
    assert (rgb[:24, :, 2] < 60).all()
    assert (rgb[40:, :, 2] > 150).all()
    assert (rgb[40:, :, 0] < 60).all()


def test_white_is_balanced_by_the_gains_of_this_frame(source: Path) -> None:
    for gains in ((2.0, 1.0, 1.6), (1.5, 1.0, 2.5)):
        write_dng(source, flat_mosaic((0.3 / gains[0], 0.3, 0.3 / gains[2])), gains=gains)
        assert np.abs(develop_raw(source, 16)[0] / 65535.0 - srgb((0.3,) * 3)).max() < 0.0005


def test_a_camera_on_its_side_is_not_turned(source: Path) -> None:
    write_dng(source, flat_mosaic(LIGHT), orientation=6)
    assert develop_raw(source)[0].shape == (64, 96, 3)


@pytest.mark.parametrize(
    ("iso", "exposure_s"), [(50, 30.0), (25600, 0.04), (640, 1 / 30), (800, 1 / 8000), (None, 0.1), (100, None)]
)
def test_iso_and_exposure_come_from_the_file_and_stay_with_the_png(
    source: Path, tmp_path: Path, iso: int | None, exposure_s: float | None
) -> None:
    write_dng(source, flat_mosaic(LIGHT), iso, exposure_s)
    capture = develop_file(source, tmp_path / "out.png")
    assert capture.iso == iso
    assert capture.exposure_s == (None if exposure_s is None else pytest.approx(exposure_s, rel=1e-5))
    assert developed_capture(tmp_path / "out.png") == capture
    assert exif_capture((tmp_path / "out.png").read_bytes()) == capture


def test_an_iso_beyond_16_bits_survives_the_png(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    capture = CaptureMetadata(102400.0, 3e-5)
    monkeypatch.setattr(
        "lowlight_enhance.training.data.raw.develop_raw", lambda *_: (np.zeros((4, 4, 3), np.uint8), capture)
    )
    develop_file(source, tmp_path / "out.png")
    assert developed_capture(tmp_path / "out.png") == capture
    assert exif_capture((tmp_path / "out.png").read_bytes()) == capture


@pytest.mark.parametrize("bits", [8, 16])
def test_the_png_holds_what_was_developed(source: Path, tmp_path: Path, bits: int) -> None:
    write_dng(source, mosaic_of(np.random.default_rng(3).uniform(0.0, 0.2, (64, 96, 3))))
    develop_file(source, tmp_path / "out.png", bits)  # type: ignore[arg-type]
    read = cv2.imread(str(tmp_path / "out.png"), cv2.IMREAD_UNCHANGED)
    assert read is not None
    expected = develop_raw(source, bits)[0]  # type: ignore[arg-type]
    assert read.dtype == expected.dtype
    assert np.array_equal(read[:, :, ::-1], expected)


def test_only_a_whole_png_of_the_depth_counts_as_developed(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.png"
    assert developed_capture(target) is None
    write_dng(source, flat_mosaic(LIGHT), None, None)
    develop_file(source, target)
    assert developed_capture(target) == UNKNOWN
    assert developed_capture(target, 16) is None
    whole = target.read_bytes()
    for size in (0, 10, 33, 60, len(whole) - 1):
        target.write_bytes(whole[:size])
        assert developed_capture(target) is None


@pytest.mark.parametrize("content", [b"", b"II*\0 this is no raw file", None, 0.5, 0.99])
def test_what_cannot_be_developed_is_named_and_leaves_nothing(
    source: Path, tmp_path: Path, content: bytes | float | None
) -> None:
    if isinstance(content, bytes):
        source.write_bytes(content)
    elif content is not None:
        write_dng(source, flat_mosaic(LIGHT))
        whole = source.read_bytes()
        source.write_bytes(whole[: int(content * len(whole))])
    with pytest.raises(ImageError, match=r"00001_00_0\.04s\.ARW.*(replace|check the path)"):
        develop_file(source, tmp_path / "out.png")
    assert {path.suffix for path in tmp_path.iterdir()} <= {".ARW"}


def test_a_folder_that_is_missing_is_named(source: Path, tmp_path: Path) -> None:
    write_dng(source, flat_mosaic(LIGHT))
    with pytest.raises(DataError, match="nowhere does not exist"):
        develop_file(source, tmp_path / "nowhere" / "out.png")
