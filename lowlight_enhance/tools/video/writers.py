"""Write enhanced frames to a video file or to a folder of images."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lowlight_enhance.core.errors import ConfigError, DataError
from lowlight_enhance.core.files import atomic_file, atomic_folder, check_output_file, translate_os_errors
from lowlight_enhance.core.paths import check_sources_not_overwritten
from lowlight_enhance.core.scratch import remove_leftovers
from lowlight_enhance.tools.image_file import IMAGE_SUFFIXES, encode_image
from lowlight_enhance.tools.video.frames import FrameSource, SourceFrame
from lowlight_enhance.tools.video.video_writer import CODECS, VideoFileWriter, find_encoder


class FrameWriter(Protocol):
    """Writes enhanced frames."""

    def write(self, rgb: NDArray[np.uint8], frame: SourceFrame) -> None:
        """Write (H, W, 3), the result of ``frame``."""

    def finish(self) -> str:
        """Complete the output. Return a note about the sound, for the report."""


def check_video_target(sources: Iterable[Path], target: Path, codec: str | None, force: bool) -> None:
    """Check a target before the work starts.

    Args:
        sources: files and folders that are read, as ``source_files`` lists them.
        target: file or folder to write.
        codec: encoder that the user selected, or None.
        force: whether an existing target may be replaced.

    Raises:
        ConfigError: the format is unknown, or the encoder does not exist.
        DataError: the target exists, cannot be written, or would replace a source.
    """
    with translate_os_errors(target):
        remove_leftovers(target.parent)
        check_sources_not_overwritten(sources, [target])
        if is_video_name(target):
            find_encoder(target, codec)
        elif codec is not None:
            raise ConfigError(
                f"--codec applies to video files, and {target} would be a folder of images; leave it out"
            )
        elif target.suffix and not target.is_dir():
            raise ConfigError(
                f"cannot write {target}: video files end in one of {', '.join(CODECS)}; a folder of images needs a "
                "name without a suffix"
            )
        if is_video_name(target) or not target.exists():
            check_output_file(target)
        if target.is_symlink() or target.is_file() or (target.is_dir() and any(target.iterdir())):
            _check_replaceable(target, force)


def is_video_name(target: Path) -> bool:
    """Return whether the suffix of the target is that of a video file."""
    return target.suffix.lower() in CODECS


def _check_replaceable(target: Path, force: bool) -> None:
    if not force:
        raise DataError(f"{target} exists; choose another target, or replace it with --force")
    inside = target.iterdir() if target.is_dir() else ()
    if any(path.is_dir() or path.suffix.lower() not in IMAGE_SUFFIXES for path in inside):
        raise DataError(f"{target} holds more than images, so --force does not replace it; choose another target")


@contextlib.contextmanager
def open_writer(target: Path, source: FrameSource, codec: str | None, is_cut: bool) -> Iterator[FrameWriter]:
    """Write frames; the output becomes ``target`` when the block ends without an error.

    Args:
        target: video file or folder.
        source: source of the frames.
        codec: encoder of a file; None: by its suffix.
        is_cut: the frames may end before the source does; the sound then ends with them.

    Raises:
        ConfigError: the encoder does not exist.
        DataError: the target cannot be written.
    """
    if is_video_name(target):
        with atomic_file(target) as temporary:
            writer = VideoFileWriter(temporary, target, source, find_encoder(target, codec), is_cut)
            try:
                yield writer
            finally:
                writer.close()
    else:
        with atomic_folder(target) as folder:
            folder.mkdir()
            yield ImageFolderWriter(folder, target)


class ImageFolderWriter:
    """A folder with one image file per frame."""

    def __init__(self, folder: Path, target: Path) -> None:
        """Set the folder to write, and its name in messages."""
        self._folder, self._target = folder, target

    def write(self, rgb: NDArray[np.uint8], frame: SourceFrame) -> None:
        """Write an image file.

        Raises:
            DataError: the file cannot be written.
        """
        with translate_os_errors(self._target):
            (self._folder / frame.name).write_bytes(encode_image(rgb, self._target / frame.name))

    def finish(self) -> str:
        """Return an empty note, because images have no sound."""
        return ""
