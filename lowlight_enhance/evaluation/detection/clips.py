"""Clips: consecutive dark frames, with references and labels where they exist."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lowlight_enhance.core.errors import DataError
from lowlight_enhance.core.inference.model_input import to_8_bit
from lowlight_enhance.core.metadata.capture import UNKNOWN, CaptureMetadata
from lowlight_enhance.simulation.camera_motion import (
    Homography,
    Motion,
    draw_motion,
    frame_motions,
    render_views,
    view_homographies,
)
from lowlight_enhance.simulation.low_light import DarkExposure, darken
from lowlight_enhance.tools.image_file import IMAGE_SUFFIXES, decode_image, read_file
from lowlight_enhance.tools.video.image_sequence import natural_order

Image = NDArray[np.uint8]

NS_PER_S = 1_000_000_000


@dataclass(frozen=True, slots=True)
class ClipFrame:
    """One frame of a clip; images are (H, W, 3) uint8 RGB of one size.

    Attributes:
        dark: the dark frame.
        capture: its ISO and exposure time, as far as known.
        stamp_ns: its time; increases within a clip.
        reference: the well-lit image of the same view; None: none.
        enhanced: the enhanced frame where the source contains it; None: the model enhances the frame.
        files: files whose labels belong to this frame.
        is_scored: whether detectors run on this frame. Other frames only feed the stream.
    """

    dark: Image
    capture: CaptureMetadata
    stamp_ns: int
    reference: Image | None = None
    enhanced: Image | None = None
    files: tuple[Path, ...] = ()
    is_scored: bool = True


@dataclass(frozen=True, slots=True)
class Clip:
    """One frame or consecutive frames, loaded when they are needed.

    Attributes:
        name: for reports.
        scene: clips of one scene are not independent; intervals resample scenes.
        load: yields the frames in order.
        condition: light of simulated frames, for reports; "" for real ones.
        views: homographies from the photograph to each frame; empty where the motion is not known.
    """

    name: str
    scene: str
    load: Callable[[], Iterable[ClipFrame]]
    condition: str = ""
    views: tuple[Homography, ...] = ()

    @property
    def motions(self) -> list[Homography]:
        """Homographies from each frame to the next; empty where they are not known."""
        return frame_motions(list(self.views))


@dataclass(frozen=True, slots=True)
class ClipSettings:
    """Settings of the clip that is simulated from a photograph.

    Attributes:
        frames: number of frames; 1 for a single dark photograph.
        motion: motion of the camera.
        rate_hz: frame rate.
    """

    frames: int = 8
    motion: Motion = "flight"
    rate_hz: float = 30.0


def read_image(path: Path) -> Image:
    """Read an image file as (H, W, 3) uint8 RGB.

    Raises:
        ImageError: the file is not a readable image.
    """
    return to_8_bit(decode_image(read_file(path), path))


def pair_clip(dark: Path, reference: Path, capture: CaptureMetadata, scene: str) -> Clip:
    """Return a clip of one real dark photograph with a well-lit one of the same view."""

    def load() -> Sequence[ClipFrame]:
        dark_image, bright = read_image(dark), read_image(reference)
        if dark_image.shape != bright.shape:
            raise DataError(f"{dark} and {reference} differ in size: keypoints and boxes need aligned images")
        return [ClipFrame(dark_image, capture, NS_PER_S, bright, files=(dark, reference))]

    return Clip(dark.name, scene, load)


def photograph_clip(
    photograph: Path, exposure: DarkExposure, settings: ClipSettings, seed: Sequence[int], condition: str
) -> Clip:
    """Return a clip of dark frames that ends with the photograph, so that its labels belong to the last frame.

    Each frame has its own noise. The last frame alone is scored. The clip is the same for one ``seed``.
    """
    rng = np.random.default_rng([*seed, 1])
    views = view_homographies(_size(photograph), settings.frames, draw_motion(settings.motion, rng), rng)

    def load() -> Iterator[ClipFrame]:
        noise = np.random.default_rng(seed)
        for number, reference in enumerate(render_views(read_image(photograph), views)):
            is_last = number == len(views) - 1
            stamp_ns = NS_PER_S + round(number * NS_PER_S / settings.rate_hz)
            dark = darken(reference, exposure, noise)
            yield ClipFrame(dark, exposure.capture, stamp_ns, reference, files=(photograph,), is_scored=is_last)

    return Clip(photograph.name, photograph.name, load, condition, tuple(views))


def folder_clips(folder: Path, capture: CaptureMetadata = UNKNOWN, rate_hz: float = 30.0) -> list[Clip]:
    """Return the sequences in a folder of images.

    Names that differ only in their last number belong to one sequence. If that leaves an image alone, as with names
    that are times, all images are one sequence.

    Raises:
        DataError: no such folder, or fewer than two images.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; give a folder that holds consecutive frames as images")
    files = sorted((p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES), key=natural_order)
    if len(files) < 2:
        raise DataError(f"{folder} holds {len(files)} images; at least two consecutive frames are needed")
    groups: dict[str, list[Path]] = {}
    for path in files:
        groups.setdefault(re.sub(r"\d+(\D*)$", r"#\1", path.stem), []).append(path)
    if any(len(group) < 2 for group in groups.values()):
        groups = {"": files}

    def clip(name: str, group: list[Path]) -> Clip:
        title = f"{folder.name}/{name}" if name else folder.name

        def load() -> Iterator[ClipFrame]:
            for number, path in enumerate(group):
                yield ClipFrame(read_image(path), capture, _stamp_ns(number, rate_hz), files=(path,))

        return Clip(title, title, load)

    return [clip(name, group) for name, group in groups.items()]


def video_clip(path: Path, capture: CaptureMetadata = UNKNOWN) -> Clip:
    """Return a video file as a clip.

    The labels of frame n (from 0) are those of the image name ``VIDEO_STEM_00000n``, with six digits.

    Raises:
        DataError: the file does not exist.
    """
    if not path.is_file():
        raise DataError(f"{path} does not exist; give a video file")

    def load() -> Iterator[ClipFrame]:
        from lowlight_enhance.tools.video.file_source import VideoFileSource

        with VideoFileSource(path, capture) as source:
            for number, frame in enumerate(source.frames()):
                stamp_ns = NS_PER_S + round(float(source.time_base * frame.pts) * NS_PER_S)
                files = (Path(f"{path.stem}_{number:06d}.png"),)
                yield ClipFrame(to_8_bit(frame.rgb), frame.capture, stamp_ns, files=files)

    return Clip(path.name, path.name, load)


def _stamp_ns(number: int, rate_hz: float) -> int:
    return NS_PER_S + round(number * NS_PER_S / rate_hz)


def _size(photograph: Path) -> tuple[int, int]:
    height, width = read_image(photograph).shape[:2]
    return width, height
