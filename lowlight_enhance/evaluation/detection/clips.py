"""What detectors are shown: single dark frames with their reference, and consecutive ones."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from lowlight_enhance.core.errors import DataError
from lowlight_enhance.core.inference.model_input import to_8_bit
from lowlight_enhance.core.metadata.capture import UNKNOWN, CaptureMetadata
from lowlight_enhance.simulation.low_light import DarkExposure, darken
from lowlight_enhance.tools.image_file import IMAGE_SUFFIXES, decode, read_file

Picture = NDArray[np.uint8]
Homography = NDArray[np.float64]
"""(3, 3): from x, y, 1 in one picture to those in another, up to scale."""

WINDOW = 0.75
"""Side of a moving camera's frame, as a part of the photograph that it moves over."""

TURN_DEG, ZOOM, SHIFT = 2.0, 1.02, (6.0, 3.0)
"""From one frame of a moving camera to the next: turned by, enlarged by, and moved right and down by pixels."""


@dataclass(frozen=True, slots=True)
class Shot:
    """A dark frame; pictures are (H, W, 3) uint8 RGB of one size.

    Attributes:
        dark: the frame.
        capture: its ISO and exposure time, as far as known.
        reference: the well-lit picture of the same view, where there is one.
        enhanced: the enhanced frame, where it was made along with this.
        files: whose labels are those of this frame.
    """

    dark: Picture
    capture: CaptureMetadata
    reference: Picture | None = None
    enhanced: Picture | None = None
    files: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class Clip:
    """One frame, or several that follow each other; opened when its turn comes.

    Attributes:
        name: for reports.
        scene: what it shows; clips of one scene are not independent.
        load: opens it; one frame after the other.
        motions: of a moving camera, from each frame to the next; empty where they are not known.
        by_frame: whether each frame is judged by itself too.
    """

    name: str
    scene: str
    load: Callable[[], Iterable[Shot]]
    motions: tuple[Homography, ...] = ()
    by_frame: bool = True


def read_picture(path: Path) -> Picture:
    """(H, W, 3) uint8 RGB.

    Raises:
        ImageError: not a readable picture.
    """
    return to_8_bit(decode(read_file(path), path))


def pair(dark: Path, reference: Path, capture: CaptureMetadata, scene: str) -> Clip:
    """A dark photograph and a well-lit one of the same scene and view."""

    def load() -> Sequence[Shot]:
        shot = Shot(read_picture(dark), capture, read_picture(reference), files=(dark, reference))
        if shot.reference is not None and shot.dark.shape != shot.reference.shape:
            raise DataError(f"{dark} and {reference} differ in size: keypoints and boxes need aligned pictures")
        return [shot]

    return Clip(dark.name, scene, load)


def darkened(photograph: Path, exposure: DarkExposure, seed: Sequence[int]) -> Clip:
    """A well-lit photograph as a camera sees it in too little light; always the same for one ``seed``."""

    def load() -> Sequence[Shot]:
        bright = read_picture(photograph)
        dark = darken(bright, exposure, np.random.default_rng(seed))
        return [Shot(dark, exposure.capture, bright, files=(photograph,))]

    return Clip(photograph.name, photograph.name, load)


def moving(photograph: Path, exposure: DarkExposure, frames: int, seed: Sequence[int]) -> Clip:
    """A camera that turns, zooms and pans over a photograph, each frame dark and with noise of its own.

    The photograph is taken as flat, so the motion from frame to frame is a known homography.
    """
    size = _size(photograph)
    views = [view(size, number - (frames - 1) / 2.0) for number in range(frames)]

    def load() -> Iterator[Shot]:
        bright, rng = read_picture(photograph), np.random.default_rng([*seed, 1])
        window = (round(WINDOW * bright.shape[1]), round(WINDOW * bright.shape[0]))
        for matrix in views:
            seen = cv2.warpPerspective(bright, matrix, window, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
            reference = np.asarray(seen, dtype=np.uint8)
            yield Shot(darken(reference, exposure, rng), exposure.capture, reference)

    motions = tuple(after @ np.linalg.inv(before) for before, after in pairwise(views))
    return Clip(photograph.name, photograph.name, load, motions, by_frame=False)


def view(size: tuple[int, int], time: float) -> Homography:
    """From a photograph of ``size`` (width, height) to the window on it at ``time``, which is 0 when centred."""
    width, height = size
    turn, zoom = np.radians(TURN_DEG * time), ZOOM**time
    cos, sin = zoom * np.cos(turn), zoom * np.sin(turn)
    x, y = width / 2.0 + SHIFT[0] * time, height / 2.0 + SHIFT[1] * time
    centred = np.array([[1.0, 0.0, -x], [0.0, 1.0, -y], [0.0, 0.0, 1.0]])
    turned = np.array([[cos, -sin, WINDOW * width / 2.0], [sin, cos, WINDOW * height / 2.0], [0.0, 0.0, 1.0]])
    return np.asarray(turned @ centred, dtype=np.float64)


def sequences(folder: Path, capture: CaptureMetadata = UNKNOWN) -> list[Clip]:
    """The recordings in a folder of pictures: names that differ only in their last number are one recording.

    Where that leaves a picture alone, as with names that are times, all pictures are one.

    Raises:
        DataError: no such folder, or fewer than two pictures.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder; name one that holds consecutive frames as pictures")
    files = sorted((p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES), key=_natural)
    if len(files) < 2:
        raise DataError(f"{folder} holds {len(files)} pictures; at least two consecutive frames are needed")
    groups: dict[str, list[Path]] = {}
    for path in files:
        groups.setdefault(re.sub(r"\d+(\D*)$", r"#\1", path.stem), []).append(path)
    if any(len(group) < 2 for group in groups.values()):
        groups = {"": files}

    def clip(name: str, group: list[Path]) -> Clip:
        title = f"{folder.name}/{name}" if name else folder.name
        return Clip(title, title, lambda: (Shot(read_picture(path), capture, files=(path,)) for path in group))

    return [clip(name, group) for name, group in groups.items()]


def _natural(path: Path) -> list[tuple[int, str]]:
    """Key that sorts 9 before 10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"([0-9]+)", path.name)]


def _size(photograph: Path) -> tuple[int, int]:
    height, width = read_picture(photograph).shape[:2]
    return width, height
