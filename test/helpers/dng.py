"""Write minimal DNG files (uncompressed RGGB, 16 bits) with known values."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

BLACK, WHITE = 512, 16383
"""Levels of the files that ``write_dng`` makes."""

SRGB_OF_XYZ = (3.2404542, -1.5371385, -0.4985314, -0.9692660, 1.8760108, 0.0415560, 0.0556434, -0.2040259, 1.0572252)
"""XYZ (D65) to linear sRGB: as ColorMatrix1 it makes the camera's colours those of sRGB, so developing mixes none."""

BYTE, ASCII, SHORT, LONG, RATIONAL, SRATIONAL = 1, 2, 3, 4, 5, 10
_CODES = {BYTE: "B", SHORT: "H", LONG: "I", RATIONAL: "II", SRATIONAL: "ii"}

Entry = tuple[int, int, bytes | Sequence[float]]


def write_dng(
    path: Path,
    mosaic: NDArray[np.uint16],
    iso: int | None = 800,
    exposure_s: float | None = 0.04,
    gains: tuple[float, float, float] = (1.0, 1.0, 1.0),
    orientation: int = 1,
    preview: NDArray[np.uint8] | None = None,
) -> None:
    """Write ``mosaic``, (H, W) uint16 raw values of an RGGB sensor, as a camera that balances white by ``gains``.

    A ``preview``, (h, w, 3) R, G, B, becomes the first page of the file, and the mosaic a sub-directory of it.
    """
    exif: list[Entry] = []
    if exposure_s is not None:
        exif.append((0x829A, RATIONAL, [exposure_s]))
    if iso is not None:
        exif.append((0x8827, SHORT, [iso]))
    blocks = [_ifd(exif, 8)]

    def end() -> int:
        return 8 + sum(map(len, blocks))

    def add(content: bytes) -> int:
        blocks.append(content)
        return end() - len(content)

    about: list[Entry] = [
        (0x010F, ASCII, b"Synthetic\0"),
        (0x0110, ASCII, b"Mosaic\0"),
        (0x0112, SHORT, [orientation]),
        (0x8769, LONG, [8]),
        (0xC612, BYTE, bytes([1, 4, 0, 0])),  # DNGVersion
        (0xC614, ASCII, b"Synthetic Mosaic\0"),
        (0xC621, SRATIONAL, SRGB_OF_XYZ),
        (0xC628, RATIONAL, [1.0 / gain for gain in gains]),  # AsShotNeutral
        (0xC65A, SHORT, [21]),  # D65
    ]

    def sensor(pixels_at: int) -> list[Entry]:
        return [
            *_page(mosaic.shape, pixels_at, bits=16, photometric=32803),
            (0x828D, SHORT, [2, 2]),
            (0x828E, BYTE, bytes([0, 1, 1, 2])),
            (0xC61A, LONG, [BLACK]),
            (0xC61D, LONG, [WHITE]),
        ]

    if preview is not None:
        sensor_at = add(_ifd(sensor(add(mosaic.astype("<u2").tobytes())), end()))
        pixels_at = add(preview.tobytes() + b"\0" * (preview.size % 2))
        first = [*_page(preview.shape, pixels_at, bits=8, photometric=2, reduced=1), (0x014A, LONG, [sensor_at])]
        main = add(_ifd([*first, *about], end()))
    else:
        main = end()
        add(_ifd([*sensor(main + len(_ifd([*sensor(0), *about], main))), *about], main))
        add(mosaic.astype("<u2").tobytes())
    path.write_bytes(struct.pack("<2sHI", b"II", 42, main) + b"".join(blocks))


def _page(shape: tuple[int, ...], pixels_at: int, bits: int, photometric: int, reduced: int = 0) -> list[Entry]:
    """Tags of an uncompressed image in one strip."""
    height, width, channels = (*shape, 1)[:3]
    return [
        (0x00FE, LONG, [reduced]),
        (0x0100, LONG, [width]),
        (0x0101, LONG, [height]),
        (0x0102, SHORT, [bits] * channels),
        (0x0103, SHORT, [1]),  # uncompressed
        (0x0106, SHORT, [photometric]),
        (0x0111, LONG, [pixels_at]),
        (0x0115, SHORT, [channels]),
        (0x0116, LONG, [height]),
        (0x0117, LONG, [height * width * channels * bits // 8]),
    ]


def mosaic_of(linear: NDArray[np.floating]) -> NDArray[np.uint16]:
    """Return (H, W) raw values of an RGGB sensor for (H, W, 3) light, where 1 is the white level; both sides even."""
    raw = linear[:, :, 1].copy()
    raw[0::2, 0::2] = linear[0::2, 0::2, 0]
    raw[1::2, 1::2] = linear[1::2, 1::2, 2]
    return np.rint(BLACK + raw.clip(0.0, 1.0) * (WHITE - BLACK)).astype(np.uint16)


def flat_mosaic(light: tuple[float, float, float], height: int = 64, width: int = 96) -> NDArray[np.uint16]:
    """Raw values of an evenly lit RGGB sensor."""
    return mosaic_of(np.full((height, width, 3), light))


def _ifd(entries: list[Entry], at: int) -> bytes:
    """Return a TIFF directory for offset ``at``, followed by the values that do not fit into it."""
    table, values = b"", b""
    values_at = at + 2 + 12 * len(entries) + 4
    for tag, kind, given in sorted(entries, key=lambda entry: entry[0]):
        content = given if isinstance(given, bytes) else _packed(kind, given)
        count = len(content) // (1 if kind in (BYTE, ASCII) else struct.calcsize("<" + _CODES[kind]))
        if len(content) > 4:
            content, offset = b"", content
            table += struct.pack("<HHII", tag, kind, count, values_at + len(values))
            values += offset + b"\0" * (len(offset) % 2)
        else:
            table += struct.pack("<HHI", tag, kind, count) + content.ljust(4, b"\0")
    return struct.pack("<H", len(entries)) + table + struct.pack("<I", 0) + values


def _packed(kind: int, numbers: Sequence[float]) -> bytes:
    packed = b""
    for number in numbers:
        if kind in (RATIONAL, SRATIONAL):
            ratio = Fraction(number).limit_denominator(10**7)
            packed += struct.pack("<" + _CODES[kind], ratio.numerator, ratio.denominator)
        else:
            packed += struct.pack("<" + _CODES[kind], int(number))
    return packed
