"""ImageSequenceSource: frames from image files."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

from lowlight_enhance.core.errors import ConfigError, DataError, ImageError
from lowlight_enhance.core.metadata.capture import CaptureMetadata
from lowlight_enhance.tools.exif import exif_capture
from lowlight_enhance.tools.image_file import IMAGE_SUFFIXES, MAX_PIXELS, decode_image, read_file
from lowlight_enhance.tools.video.frames import DEFAULT_RATE, FrameSource, SourceFrame

_COUNTER = re.compile(r"%0?\d*d")


class ImageSequenceSource(FrameSource):
    """Image files of 8 or 16 bits, at a constant rate."""

    def __init__(
        self,
        name: str,
        paths: Sequence[Path],
        capture: CaptureMetadata,
        rate: Fraction | None = None,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        rate = rate or DEFAULT_RATE
        super().__init__(name, 1 / rate, rate, len(paths))
        self._paths, self._capture, self._max_pixels = paths, capture, max_pixels
        self._reads_exif = capture.iso is None or capture.exposure_s is None

    def frames(self) -> Iterator[SourceFrame]:
        """Yield the images. One that cannot be read leaves a gap in time."""
        for number, path in enumerate(self._paths):
            if self.is_stopped:
                return
            try:
                content = read_file(path)
                rgb = decode_image(content, path, self._max_pixels)
            except ImageError as error:
                self._skip(error)
                continue
            yield SourceFrame(rgb, number, self._capture_of(content), path.name)

    def _capture_of(self, content: bytes) -> CaptureMetadata:
        if not self._reads_exif:
            return self._capture
        found = exif_capture(content)
        # Without Pillow a warning was just logged; it is not repeated for every image.
        self._reads_exif = importlib.util.find_spec("PIL") is not None
        return self._capture.filled_from(found)


def is_pattern(path: Path) -> bool:
    """Return whether a name such as ``night_%04d.png`` stands for numbered files."""
    return bool(_COUNTER.search(path.name))


def images_in(folder: Path) -> list[Path]:
    """Image files of a folder, ``frame2`` before ``frame10``.

    Raises:
        DataError: the folder has no image files.
    """
    visible = [path for path in folder.iterdir() if not path.name.startswith(".")]
    found = [path for path in visible if path.suffix.lower() in IMAGE_SUFFIXES]
    if not found:
        raise DataError(f"no images in {folder}; it needs files that end in one of {', '.join(IMAGE_SUFFIXES)}")
    return sorted(found, key=natural_order)


def natural_order(path: Path) -> list[tuple[int, int | str]]:
    """Return a key that sorts ``frame2`` before ``frame10``."""
    parts = re.split(r"(\d+)", path.name.lower())
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in parts]


def numbered_images(pattern: Path) -> list[Path]:
    """Return the files of a pattern such as ``night_%04d.png``, ordered by number. Numbers may be missing.

    Raises:
        ConfigError: the suffix of the pattern is not that of an image format.
        DataError: no file matches the pattern.
    """
    before, _, after = (re.escape(part) for part in re.split(r"(%0?\d*d)", pattern.name, maxsplit=1))
    name = re.compile(f"{before}(\\d+){after}")
    folder = pattern.parent
    matches = [(name.fullmatch(path.name), path) for path in folder.iterdir()] if folder.is_dir() else []
    found = sorted((int(match[1]), path) for match, path in matches if match)
    if not found:
        raise DataError(f"no files like {pattern}; check the folder and the place of the number in the name")
    if pattern.suffix.lower() not in IMAGE_SUFFIXES:
        raise ConfigError(f"{pattern} names no images: it must end in one of {', '.join(IMAGE_SUFFIXES)}")
    return [path for _, path in found]
