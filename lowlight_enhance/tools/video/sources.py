"""Open the source that an argument names: a video file, a folder of images, numbered images, or a camera."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

from lowlight_enhance.core.errors import ConfigError, DataError
from lowlight_enhance.core.metadata.capture import UNKNOWN, CaptureMetadata
from lowlight_enhance.tools.image_file import IMAGE_SUFFIXES, MAX_PIXELS
from lowlight_enhance.tools.video.camera_source import CameraSource, camera_of
from lowlight_enhance.tools.video.file_source import VideoFileSource
from lowlight_enhance.tools.video.frames import FrameSource
from lowlight_enhance.tools.video.image_sequence import ImageSequenceSource, images_in, is_pattern, numbered_images


def open_source(
    name: str,
    capture: CaptureMetadata = UNKNOWN,
    rate: Fraction | None = None,
    size: tuple[int, int] | None = None,
    max_pixels: int = MAX_PIXELS,
) -> FrameSource:
    """Open a source of frames.

    Args:
        name: a video file, a folder of images, a pattern such as ``night/%04d.png``, or a camera: its number or its
            ``/dev/video0``.
        capture: ISO and exposure time of every frame; it takes precedence over EXIF.
        rate: frames per second of a folder or of a video file without time stamps, or the rate to request from a
            camera; None: 30, or the rate of the file or camera.
        size: (width, height) to request from a camera.
        max_pixels: larger frames are rejected before they are decoded.

    Raises:
        ConfigError: an option does not apply to the source.
        DataError: the source does not exist or cannot be read.
        ImageError: the frames of a video file are larger than allowed.
    """
    path = Path(name)
    camera = camera_of(name)
    if size is not None and camera is None:
        raise ConfigError(f"--size applies to cameras, and {name} is not a camera; leave it out")
    if camera is not None:
        return CameraSource(camera, capture, rate, size)
    if path.is_dir():
        return ImageSequenceSource(name, images_in(path), capture, rate, max_pixels)
    if not path.exists():
        if is_pattern(path):
            return ImageSequenceSource(name, numbered_images(path), capture, rate, max_pixels)
        raise DataError(f"{name} does not exist; give a video file, a folder of images, or a camera such as 0")
    if path.suffix.lower() in IMAGE_SUFFIXES:
        raise ConfigError(f"{name} is a single image: use 'lowlight image', or give the folder of the sequence")
    source = VideoFileSource(path, capture, rate, max_pixels)
    if rate is not None and source.has_times:
        source.close()
        raise ConfigError(f"--fps applies to images, cameras and raw video streams; {name} has time stamps")
    return source


def source_files(name: str) -> list[Path]:
    """Return the files and folders that ``open_source(name)`` reads; empty for a camera or a missing source."""
    path = Path(name)
    if path.is_dir():
        return [path, *path.iterdir()]
    if not path.exists():
        return numbered_images(path) if is_pattern(path) else []
    return [path]
