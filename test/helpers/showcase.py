"""The pictures of README.md, made anew: ``python test/helpers/showcase.py docs/pictures``, or ``make pictures``.

Photographs that scikit-image ships are darkened by the physics of a camera and enhanced with the shipped model.
Each strip shows frames of 640x480 at half their size, and a part of each pixel by pixel.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from lowlight_enhance.core.enhancement.enhancer import Enhance, Enhancer
from lowlight_enhance.core.errors import ConfigError, LowlightError
from lowlight_enhance.core.files import atomic_file
from lowlight_enhance.core.metadata.capture import CaptureMetadata
from lowlight_enhance.evaluation.baselines import auto_gamma
from lowlight_enhance.evaluation.metrics import psnr_db
from lowlight_enhance.simulation.low_light import DarkExposure, darken
from lowlight_enhance.tools.demo.pictures import side_by_side
from lowlight_enhance.tools.demo.scene import HEIGHT, SENSOR, WIDTH, Picture, load_photo

SEED = 6
PANEL = (WIDTH // 2, HEIGHT // 2)
MOST_BYTES = 250_000
QUALITIES = range(90, 30, -4)
"""Of JPEG: the first with which a strip is small enough is taken."""


@dataclass(frozen=True, slots=True)
class Scene:
    """A photograph.

    Attributes:
        photo: name of a function of ``skimage.data``.
        top: where the frame begins, from 0 (at the photograph's top) to 1 (so that it ends at its bottom).
        corner: (x, y) of the part of the frame that is shown pixel by pixel.
    """

    photo: str
    top: float
    corner: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Strip:
    """One file: photographs that are exposed alike."""

    name: str
    stops: float
    capture: CaptureMetadata
    scenes: tuple[Scene, ...]

    def __str__(self) -> str:
        return f"{self.stops:g} stops under, ISO {self.capture.iso:g}"


STRIPS = (
    Strip(
        "stops3_iso800.jpg",
        3.0,
        CaptureMetadata(800.0, 1.0 / 60.0),
        (Scene("coffee", 0.5, (230, 150)), Scene("chelsea", 0.5, (150, 60))),
    ),
    Strip(
        "stops5_iso6400.jpg",
        5.0,
        CaptureMetadata(6400.0, 1.0 / 60.0),
        (Scene("astronaut", 0.0, (190, 30)), Scene("stereo_motorcycle", 0.5, (200, 140))),
    ),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write every strip; returns the exit code."""
    parser = argparse.ArgumentParser(description="Make the pictures of README.md.")
    parser.add_argument("out", type=Path, help="folder to write into")
    parser.add_argument("--model", type=Path, help="ONNX file (default: the one that is shipped)")
    options = parser.parse_args(arguments)
    try:
        enhancer = Enhancer(options.model)
        for strip in STRIPS:
            target = options.out / strip.name
            write_jpeg(drawn(strip, enhancer), target)
            print(f"{target}: {target.stat().st_size // 1000} kB")
    except LowlightError as error:
        print(f"showcase: {error}", file=sys.stderr)
        return 2
    return 0


def drawn(strip: Strip, enhance: Enhance) -> Picture:
    """Two rows a photograph: the frame at half its size, and a part of it."""
    rows = []
    for number, scene in enumerate(strip.scenes):
        reference = window(load_photo(scene.photo), scene.top)
        exposure = DarkExposure(strip.stops, strip.capture, SENSOR)
        dark = darken(reference, exposure, np.random.default_rng([SEED, number]))
        brightened, enhanced = auto_gamma(dark), enhance(dark, strip.capture)
        frames = {
            "photograph": reference,
            str(strip): dark,
            f"by gamma: {psnr_db(brightened, reference):.1f} dB": brightened,
            f"enhanced: {psnr_db(enhanced, reference):.1f} dB": enhanced,
        }
        rows.append(side_by_side((shrunk(frame), text) for text, frame in frames.items()))
        rows.append(np.hstack([part(frame, scene.corner) for frame in frames.values()]))
    return np.vstack(rows)


def window(photo: Picture, top_share: float) -> Picture:
    """A frame out of a photograph, (480, 640, 3), in the middle of its width."""
    top, left = round((photo.shape[0] - HEIGHT) * top_share), (photo.shape[1] - WIDTH) // 2
    return np.ascontiguousarray(photo[top : top + HEIGHT, left : left + WIDTH])


def shrunk(frame: Picture) -> Picture:
    """At half the size."""
    return np.asarray(cv2.resize(frame, PANEL, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def part(frame: Picture, corner: tuple[int, int]) -> Picture:
    """What lies right and down of ``corner`` (x, y), pixel by pixel."""
    x, y = corner
    return frame[y : y + PANEL[1], x : x + PANEL[0]]


def write_jpeg(picture: Picture, target: Path) -> None:
    """Write it with the best quality that makes it small enough.

    Raises:
        ConfigError: none does.
        DataError: the target cannot be written.
    """
    for quality in QUALITIES:
        options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_OPTIMIZE, 1]
        encoded = cv2.imencode(".jpg", picture[:, :, ::-1], options)[1].tobytes()
        if len(encoded) <= MOST_BYTES:
            break
    else:
        raise ConfigError(f"{target} stays larger than {MOST_BYTES} bytes; show fewer or smaller pictures")
    with atomic_file(target) as temporary:
        temporary.write_bytes(encoded)


if __name__ == "__main__":
    sys.exit(main())
