"""ISO and exposure time from EXIF: which tag counts, and damaged values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lowlight_enhance.core.metadata.capture import UNKNOWN, CaptureMetadata
from lowlight_enhance.tools.exif import EXIF_IFD, exif_capture

pil = pytest.importorskip("PIL.Image", reason="Pillow writes and reads the EXIF")

ISO, EXPOSURE, APEX = 0x8827, 0x829A, 0x9201
REI, ISO_SPEED = 0x8832, 0x8833


def jpeg(path: Path, tags: dict[int, object], main: dict[int, object] | None = None) -> bytes:
    """Return a JPEG file with ``tags`` in its EXIF directory and ``main`` in its first directory."""
    exif = pil.Exif()
    exif.get_ifd(EXIF_IFD).update(tags)
    for tag, value in (main or {}).items():
        exif[tag] = value
    pil.fromarray(np.zeros((8, 8, 3), np.uint8)).save(path, exif=exif)
    return path.read_bytes()


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({}, UNKNOWN),
        ({ISO: 1600, EXPOSURE: 0.05}, CaptureMetadata(1600.0, 0.05)),
        ({ISO: 0, EXPOSURE: 0.0}, UNKNOWN),
        ({ISO: 65535, ISO_SPEED: 102400}, CaptureMetadata(iso=102400.0)),
        ({ISO: 65535}, UNKNOWN),
        ({ISO: 0, REI: 3200}, CaptureMetadata(iso=3200.0)),
        ({ISO: 65535, REI: 0, ISO_SPEED: 102400}, CaptureMetadata(iso=102400.0)),
        ({ISO: (0, 3200)}, CaptureMetadata(iso=3200.0)),
        ({APEX: 5.0}, CaptureMetadata(exposure_s=1.0 / 32.0)),
        ({APEX: 5.0, EXPOSURE: 0.05}, CaptureMetadata(exposure_s=0.05)),
        ({APEX: 5.0, EXPOSURE: 0.0}, CaptureMetadata(exposure_s=1.0 / 32.0)),
        ({APEX: 1e9}, UNKNOWN),
    ],
)
def test_the_first_plausible_value_counts(tmp_path: Path, tags: dict[int, object], expected: CaptureMetadata) -> None:
    assert exif_capture(jpeg(tmp_path / "dark.jpg", tags)) == expected


def test_tags_in_the_first_directory_count_where_the_exif_directory_lacks_them(tmp_path: Path) -> None:
    main = {ISO: 1600, EXPOSURE: 0.02}
    assert exif_capture(jpeg(tmp_path / "dark.jpg", {}, main)) == CaptureMetadata(1600.0, 0.02)
    both = jpeg(tmp_path / "dark.jpg", {ISO: 400}, main)
    assert exif_capture(both) == CaptureMetadata(400.0, 0.02)


def test_an_exposure_with_denominator_zero_is_unknown(tmp_path: Path) -> None:
    rational = pytest.importorskip("PIL.TiffImagePlugin").IFDRational
    content = jpeg(tmp_path / "dark.jpg", {EXPOSURE: rational(1, 0), ISO: 200})
    assert exif_capture(content) == CaptureMetadata(iso=200.0)


def test_a_file_that_pillow_does_not_know_is_unknown() -> None:
    assert exif_capture(b"neither") == UNKNOWN
