"""Draw the pictures of README.md: ``python test/helpers/showcase.py docs/pictures``, or ``make pictures``.

Photographs that scikit-image ships become clips of a moving, under-exposed camera, which end with the photograph. Each
strip shows the last frame, 640x480, at half its size, and a part of it pixel by pixel: the photograph, the dark frame,
the frame enhanced alone, and the frame enhanced with the frames before it.
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
from lowlight_enhance.core.pipeline import NS_PER_S, PipelineConfig
from lowlight_enhance.evaluation.detection.clips import ClipFrame
from lowlight_enhance.evaluation.detection.renderings import StreamRenderer
from lowlight_enhance.evaluation.metrics import psnr_db
from lowlight_enhance.simulation.camera_motion import draw_motion, render_views, view_homographies
from lowlight_enhance.simulation.low_light import DarkExposure, darken
from lowlight_enhance.tools.demo.pictures import side_by_side
from lowlight_enhance.tools.demo.scene import HEIGHT, SENSOR, WIDTH, Picture, load_photo

SEED = 6
FRAMES, RATE_HZ = 12, 30
PANEL = (WIDTH // 2, HEIGHT // 2)
MOST_BYTES = 250_000
QUALITIES = range(90, 30, -4)
"""JPEG qualities, tried in this order until a strip is small enough."""


@dataclass(frozen=True, slots=True)
class Scene:
    """A photograph.

    Attributes:
        photo: name of a function of ``skimage.data``.
        top: position of the frame in the photograph, from 0 (top) to 1 (bottom).
        corner: (x, y) of the part of the frame that is shown pixel by pixel.
    """

    photo: str
    top: float
    corner: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Strip:
    """One file: photographs of equal exposure."""

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
    """Write every strip. Returns the exit code."""
    parser = argparse.ArgumentParser(description="Make the pictures of README.md.")
    parser.add_argument("out", type=Path, help="folder to write into")
    parser.add_argument("--model", type=Path, help="ONNX file (default: the default model)")
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
    """Return two rows per photograph: the frame at half its size, and a part of it."""
    rows = []
    for number, scene in enumerate(strip.scenes):
        reference = window(load_photo(scene.photo), scene.top)
        clip = dark_clip(reference, DarkExposure(strip.stops, strip.capture, SENSOR), number)
        alone, stream = (StreamRenderer(enhance, PipelineConfig(profile="viewing")) for _ in range(2))
        from_one, from_all = alone.enhance(clip[-1]), [stream.enhance(frame) for frame in clip][-1]
        frames = {
            "photograph": reference,
            str(strip): clip[-1].dark,
            f"one frame: {psnr_db(from_one, reference):.1f} dB": from_one,
            f"in a stream: {psnr_db(from_all, reference):.1f} dB": from_all,
        }
        rows.append(side_by_side((shrunk(frame), text) for text, frame in frames.items()))
        rows.append(np.hstack([part(frame, scene.corner) for frame in frames.values()]))
    return np.vstack(rows)


def dark_clip(reference: Picture, exposure: DarkExposure, number: int) -> list[ClipFrame]:
    """Return the dark frames of a moving camera; the last one shows ``reference``."""
    rng = np.random.default_rng([SEED, number])
    views = view_homographies((WIDTH, HEIGHT), FRAMES, draw_motion("flight", rng), rng)
    return [
        ClipFrame(darken(view, exposure, rng), exposure.capture, NS_PER_S + index * NS_PER_S // RATE_HZ)
        for index, view in enumerate(render_views(reference, views))
    ]


def window(photo: Picture, top_share: float) -> Picture:
    """Return a frame of a photograph, (480, 640, 3), from the middle of its width."""
    top, left = round((photo.shape[0] - HEIGHT) * top_share), (photo.shape[1] - WIDTH) // 2
    return np.ascontiguousarray(photo[top : top + HEIGHT, left : left + WIDTH])


def shrunk(frame: Picture) -> Picture:
    """Return the frame at half its size."""
    return np.asarray(cv2.resize(frame, PANEL, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def part(frame: Picture, corner: tuple[int, int]) -> Picture:
    """Return the part of the frame right of and below ``corner`` (x, y)."""
    x, y = corner
    return frame[y : y + PANEL[1], x : x + PANEL[0]]


def write_jpeg(picture: Picture, target: Path) -> None:
    """Write a JPEG with the best quality that keeps it small enough.

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
