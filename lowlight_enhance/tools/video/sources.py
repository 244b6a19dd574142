"""Where frames come from: video files, folders of pictures, and cameras (OpenCV)."""

from __future__ import annotations

import importlib.util
import re
import time
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2

from lowlight_enhance.core.errors import ConfigError, DataError, ImageError
from lowlight_enhance.core.inference.model_input import Rgb
from lowlight_enhance.core.metadata.capture import UNKNOWN, CaptureMetadata
from lowlight_enhance.tools.exif import exif_capture
from lowlight_enhance.tools.image_file import IMAGE_SUFFIXES, decode, read_file
from lowlight_enhance.tools.video.file_source import FileSource
from lowlight_enhance.tools.video.frames import GUESSED_RATE, NOMINAL_DENOMINATOR, Frame, Source

FOLDER_RATE = Fraction(30)
"""Frames a second of a folder of pictures, which itself knows none."""

DEVICE_TICK = Fraction(1, 90_000)
"""A camera's frames are timed in these parts of a second, as those of most video files."""


def open_source(
    text: str, given: CaptureMetadata = UNKNOWN, rate: Fraction | None = None, size: tuple[int, int] | None = None
) -> Source:
    """What ``text`` names.

    Args:
        text: a video file, a folder of pictures, a pattern such as ``night/%04d.png``, or a camera: its number or
            its ``/dev/video0``.
        given: ISO and exposure time of every frame; goes before what EXIF says.
        rate: frames a second of a folder, or asked of a camera; None: 30, or the camera's own.
        size: (width, height) asked of a camera.

    Raises:
        ConfigError: an option that does not fit the source.
        DataError: nothing there that can be read.
    """
    path = Path(text)
    camera = _camera_of(text, path)
    if size is not None and camera is None:
        raise ConfigError(f"--size is asked of cameras, and {text} is none; leave it out")
    if camera is not None:
        return CameraSource(camera, given, rate, size)
    if path.is_dir():
        return PictureSource(text, pictures_in(path), given, rate)
    if not path.exists() and _COUNTER.search(path.name):
        return PictureSource(text, _numbered(path), given, rate)
    if rate is not None:
        raise ConfigError(f"--fps is for folders of pictures and for cameras; {text} has times of its own")
    if path.suffix.lower() in IMAGE_SUFFIXES:
        raise ConfigError(f"{text} is a single picture: use 'lowlight image', or name the folder of the sequence")
    if not path.exists():
        raise DataError(f"there is no {text}; name a video file, a folder of pictures, or a camera such as 0")
    return FileSource(path, given)


def source_files(text: str) -> list[Path]:
    """Files and folders that ``open_source(text)`` reads; empty for a camera or where there is nothing."""
    path = Path(text)
    if path.is_dir():
        return [path, *path.iterdir()]
    if not path.exists() and _COUNTER.search(path.name):
        return _numbered(path)
    return [path] if path.exists() else []


def _camera_of(text: str, path: Path) -> int | str | None:
    """What OpenCV opens as a camera; None where ``text`` names none."""
    if path.is_char_device() or (text.startswith("/dev/video") and not path.exists()):
        number = re.fullmatch(r"/dev/video(\d+)", text)
        return int(number[1]) if number else text
    return int(text) if text.isascii() and text.isdigit() and not path.exists() else None


_COUNTER = re.compile(r"%0?(\d*)d")


def pictures_in(folder: Path) -> list[Path]:
    """Picture files of a folder, ``frame2`` before ``frame10``.

    Raises:
        DataError: none there.
    """
    found = [
        path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")
    ]
    if not found:
        raise DataError(f"no pictures in {folder}; it needs files that end in one of {', '.join(IMAGE_SUFFIXES)}")
    return sorted(found, key=_natural)


def _natural(path: Path) -> list[tuple[int, int | str]]:
    parts = re.split(r"(\d+)", path.name.lower())
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in parts]


def _numbered(pattern: Path) -> list[Path]:
    """The files of a pattern such as ``night_%04d.png``, by their numbers; gaps do not matter."""
    before, _, after = (re.escape(part) for part in re.split(r"(%0?\d*d)", pattern.name, maxsplit=1))
    name = re.compile(f"{before}(\\d+){after}")
    folder = pattern.parent
    matches = [(name.fullmatch(path.name), path) for path in folder.iterdir()] if folder.is_dir() else []
    found = sorted((int(match[1]), path) for match, path in matches if match)
    if not found:
        raise DataError(f"no files like {pattern}; check the folder and the number's place in the name")
    if pattern.suffix.lower() not in IMAGE_SUFFIXES:
        raise ConfigError(f"{pattern} names no pictures: it must end in one of {', '.join(IMAGE_SUFFIXES)}")
    return [path for _, path in found]


class PictureSource(Source):
    """Picture files of 8 or 16 bits, at a steady rate."""

    def __init__(self, name: str, paths: Sequence[Path], given: CaptureMetadata, rate: Fraction | None = None) -> None:
        rate = rate or FOLDER_RATE
        super().__init__(name, 1 / rate, rate, len(paths))
        self._paths, self._given = paths, given
        self._asks_exif = given.iso is None or given.exposure_s is None

    def frames(self) -> Iterator[Frame]:
        """The pictures; a damaged one leaves a gap."""
        for number, path in enumerate(self._paths):
            if self.is_stopped:
                return
            try:
                content = read_file(path)
                rgb = decode(content, path)
            except ImageError as error:
                self._leave_out(error)
                continue
            yield Frame(rgb, number, self._capture(content), path.name)

    def _capture(self, content: bytes) -> CaptureMetadata:
        if not self._asks_exif:
            return self._given
        found = exif_capture(content)
        self._asks_exif = importlib.util.find_spec("PIL") is not None  # else it has said so, and once is enough
        return CaptureMetadata(self._given.iso or found.iso, self._given.exposure_s or found.exposure_s)


class CameraSource(Source):
    """A camera of this machine, by OpenCV; frames are timed by the camera's clock where it tells that.

    Raises:
        DataError: no such camera, or it gives no picture.
    """

    def __init__(
        self, camera: int | str, given: CaptureMetadata, rate: Fraction | None, size: tuple[int, int] | None
    ) -> None:
        name = f"camera {camera}"
        self._camera = cv2.VideoCapture(camera)
        wishes: list[tuple[int, float]] = [] if rate is None else [(cv2.CAP_PROP_FPS, float(rate))]
        if size is not None:
            wishes += [(cv2.CAP_PROP_FRAME_WIDTH, size[0]), (cv2.CAP_PROP_FRAME_HEIGHT, size[1])]
        for setting, value in wishes:
            self._camera.set(setting, value)
        self._first = self._read() if self._camera.isOpened() else None
        if self._first is None:
            self._camera.release()
            found = ", ".join(sorted(str(path) for path in Path("/dev").glob("video*"))) or "none"
            raise DataError(f"{name} gives no picture: plugged in, and used by nobody else? In /dev there is: {found}")
        told = self._camera.get(cv2.CAP_PROP_FPS)
        known = Fraction(told).limit_denominator(NOMINAL_DENOMINATOR) if 1.0 <= told <= 1000.0 else GUESSED_RATE
        super().__init__(name, DEVICE_TICK, known)
        self.is_live = True
        self._given = given

    def _read(self) -> tuple[Rgb, float, float] | None:
        """A frame, the camera's time of it in seconds (0: it tells none), and ours; None: there is none."""
        is_there, bgr = self._camera.read()
        if not is_there or bgr is None:
            return None
        rgb: Any = cv2.cvtColor(bgr, cv2.COLOR_GRAY2RGB if bgr.ndim == 2 else cv2.COLOR_BGR2RGB)
        return rgb, self._camera.get(cv2.CAP_PROP_POS_MSEC) / 1000.0, time.monotonic()

    def frames(self) -> Iterator[Frame]:
        """What the camera sees until it is told to stop, or gives no more."""
        assert self._first is not None
        which = 1 if self._first[1] > 0.0 else 2
        begin_s, last, number = float(self._first[which]), -1, 0
        read: Any = self._first
        while not self.is_stopped:
            if read is None:
                self.last_error = f"{self.name} gave no more pictures"
                return
            last = max(last + 1, round((read[which] - begin_s) / self.tick))
            yield Frame(read[0], last, self._given, f"frame_{number:06d}.png")
            number += 1
            read = self._read()

    def close(self) -> None:
        """Let the camera go."""
        self._camera.release()
