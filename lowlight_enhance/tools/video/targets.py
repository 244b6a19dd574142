"""Where enhanced frames go: a video file with the sound of the old one (PyAV), or a folder of pictures."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lowlight_enhance.core.errors import ConfigError, DataError
from lowlight_enhance.core.files import atomic_file, atomic_folder, output_errors
from lowlight_enhance.core.paths import check_sources_survive
from lowlight_enhance.tools.image_file import IMAGE_SUFFIXES, encode
from lowlight_enhance.tools.video.audio import Sound
from lowlight_enhance.tools.video.frames import NOMINAL_DENOMINATOR, STEADY_SUFFIXES, Frame, Source

CODECS: dict[str, tuple[str, ...]] = {
    ".avi": ("mpeg4",),
    ".m4v": ("libx264", "libopenh264", "mpeg4"),
    ".mkv": ("libx264", "libopenh264", "mpeg4"),
    ".mov": ("libx264", "libopenh264", "mpeg4"),
    ".mp4": ("libx264", "libopenh264", "mpeg4"),
    ".webm": ("libvpx-vp9", "libsvtav1", "libaom-av1"),
}
"""Suffixes of video files, and encoders for each: the first that FFmpeg has is taken."""

QUALITY: dict[str, dict[str, str]] = {
    "libx264": {"crf": "18", "preset": "veryfast"},
    "libx265": {"crf": "20", "preset": "veryfast"},
    "libvpx-vp9": {"crf": "24", "b": "0", "cpu-used": "5", "deadline": "realtime", "row-mt": "1"},
    "libsvtav1": {"crf": "26", "preset": "10"},
}
"""Options of encoders that keep a steady quality, good enough to judge frames by. Others get ``BITS_PER_PIXEL``."""

BITS_PER_PIXEL = 0.4

STEADY_CODECS = ("mpeg4",)
"""Encoders that know frames by their number instead of their time."""

PIXELS = "yuv420p"
"""What every player plays; of other encoders the first layout that they take."""

LIMITED_RANGE = 1


class Target(Protocol):
    """What takes enhanced frames."""

    def write(self, rgb: NDArray[np.uint8], frame: Frame) -> None:
        """Take (H, W, 3) as the result of ``frame``."""

    def finish(self) -> str:
        """All frames were given; what became of the sound."""


def check_target(sources: Iterable[Path], target: Path, codec: str | None, force: bool) -> None:
    """Refuse a target before any work is done for it.

    Args:
        sources: files and folders that are read, as ``source_files`` lists them.
        target: where to write.
        codec: what the user asks for.
        force: what is there may be replaced.

    Raises:
        ConfigError: no known format, or a codec that is not there.
        DataError: a target that is in the way, or that would replace a source.
    """
    check_sources_survive(sources, [target])
    if is_file_name(target):
        _codec(target, codec)
        if target.is_dir():
            raise DataError(f"{target} is a folder; name a file, or a folder whose name is not that of a video")
    elif codec is not None:
        raise ConfigError(f"--codec is for video files, and {target} would be a folder of pictures; leave it out")
    elif target.suffix and not target.is_dir():
        raise ConfigError(
            f"cannot write {target}: video files end in one of {', '.join(CODECS)}; a folder of pictures needs a name "
            "without a suffix"
        )
    if target.is_symlink() or target.is_file() or (target.is_dir() and any(target.iterdir())):
        _check_replaceable(target, force)


def is_file_name(target: Path) -> bool:
    """Whether a video file of that name would be written, and not a folder of pictures."""
    return target.suffix.lower() in CODECS


def _check_replaceable(target: Path, force: bool) -> None:
    if not force:
        raise DataError(f"{target} exists; name another target, or replace it with --force")
    if target.is_dir() and any(
        path.is_dir() or path.suffix.lower() not in IMAGE_SUFFIXES for path in target.iterdir()
    ):
        raise DataError(f"{target} holds more than pictures, so --force does not replace it; name another target")


def _codec(target: Path, wanted: str | None) -> str:
    """The encoder for a file.

    Raises:
        ConfigError: FFmpeg as PyAV brings it has none.
    """
    import av

    choice = CODECS[target.suffix.lower()] if wanted is None else (wanted,)
    for name in choice:
        with contextlib.suppress(av.FFmpegError, ValueError):
            if av.Codec(name, "w").type == "video":
                return name
    raise ConfigError(
        f"no encoder {' or '.join(choice)} for {target} in this PyAV (pip install --upgrade av); write into another "
        "format, or a folder of pictures"
    )


@contextlib.contextmanager
def writing(target: Path, source: Source, codec: str | None, is_cut: bool) -> Iterator[Target]:
    """Something that takes the frames; what was written becomes ``target`` when the block ends without an error.

    Args:
        target: video file or folder.
        source: whose frames will come.
        codec: encoder of a file; None: what fits it.
        is_cut: the frames may end before the source does, and its sound then ends with them.

    Raises:
        ConfigError: a codec that is not there.
        DataError: the target cannot be written.
    """
    if is_file_name(target):
        with atomic_file(target) as temporary:
            file = VideoFile(temporary, target, source, _codec(target, codec), is_cut)
            try:
                yield file
            finally:
                file.close()
    else:
        with atomic_folder(target) as folder:
            folder.mkdir()
            yield PictureFolder(folder)


class PictureFolder:
    """A folder in which each frame becomes a picture of its name."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, rgb: NDArray[np.uint8], frame: Frame) -> None:
        """Write a picture."""
        path = self._folder / frame.name
        with output_errors(path):
            path.write_bytes(encode(rgb, path))

    def finish(self) -> str:
        """Pictures have no sound."""
        return ""


class VideoFile:
    """A video file; each frame at its own time, with the colours and the sound of the source."""

    def __init__(self, temporary: Path, target: Path, source: Source, codec: str, is_cut: bool) -> None:
        """Begin; the size comes with the first frame.

        Args:
            temporary: file to write.
            target: its name in errors.
            source: whose frames will come.
            codec: encoder.
            is_cut: the sound ends with the frames.
        """
        import av

        self._is_cut = is_cut
        self._target, self._source, self._codec = target, source, codec
        self._is_steady = target.suffix.lower() in STEADY_SUFFIXES or codec in STEADY_CODECS
        self._rate = source.rate.limit_denominator(NOMINAL_DENOMINATOR)
        self._tick = 1 / self._rate if self._is_steady else source.tick
        self._shape: tuple[int, ...] | None = None
        self._first_name, self._last = "", -1
        with _told(target):
            self._container = av.open(str(temporary), "w")
        self._sound = None if source.path is None else Sound(source.path, self._container, target)

    def write(self, rgb: NDArray[np.uint8], frame: Frame) -> None:
        """Encode a frame.

        Raises:
            DataError: another size than before, or the file cannot be written.
        """
        import av

        if self._shape is None:
            self._shape, self._first_name = rgb.shape, frame.name
            self._begin(rgb.shape[0], rgb.shape[1])
        if rgb.shape != self._shape:
            raise DataError(
                f"{self._source.name}: {frame.name} has {rgb.shape[1]}x{rgb.shape[0]} pixels and {self._first_name} "
                f"{self._shape[1]}x{self._shape[0]}; a video has one size: write into a folder of pictures"
            )
        picture = av.VideoFrame.from_ndarray(_even(rgb) if self._pads else rgb, format="rgb24")
        picture = picture.reformat(format=self._stream.pix_fmt, dst_colorspace=self._source.colours.space)
        ticks = frame.ticks
        if self._is_steady:
            ticks = max(self._last + 1, round(ticks * self._source.tick * self._rate))
        picture.pts, picture.time_base, self._last = ticks, self._tick, ticks
        with _told(self._target):
            self._container.mux(self._stream.encode(picture))
            if self._sound is not None:
                self._sound.copy(float(ticks * self._tick))

    def _begin(self, height: int, width: int) -> None:
        with _told(self._target):
            stream: Any = self._container.add_stream(self._codec, rate=self._rate)
            layouts = [layout.name for layout in stream.codec_context.codec.video_formats or ()]
            stream.pix_fmt = PIXELS if PIXELS in layouts or not layouts else layouts[0]
            self._pads = "420" in stream.pix_fmt
            stream.height, stream.width = height + height % 2 * self._pads, width + width % 2 * self._pads
            context: Any = stream.codec_context
            context.time_base = self._tick
            if self._is_steady:
                context.max_b_frames = 0  # which such files show one frame late
            context.sample_aspect_ratio = self._source.pixel_aspect
            context.color_range, context.colorspace = LIMITED_RANGE, self._source.colours.space
            context.color_primaries, context.color_trc = self._source.colours.primaries, self._source.colours.transfer
            stream.options = QUALITY.get(self._codec, {})
            if self._codec not in QUALITY:
                context.bit_rate = round(BITS_PER_PIXEL * height * width * self._rate)
            self._stream = stream
            if self._sound is not None:
                self._sound.begin()

    def finish(self) -> str:
        """Write what the encoder holds back, and the sound up to the end; what became of the sound."""
        with _told(self._target):
            self._container.mux(self._stream.encode(None))
            if self._sound is not None:
                self._sound.copy(float(self._last * self._tick + 1 / self._rate) if self._is_cut else None)
            self._container.close()
        return "" if self._sound is None else self._sound.outcome

    def close(self) -> None:
        """Let go of the files, also amid an error."""
        import av

        if self._sound is not None:
            self._sound.close()
        with contextlib.suppress(av.FFmpegError, ValueError, OSError):
            self._container.close()


def _even(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """With a last row or column once more where there is an odd number: colours are stored for pairs."""
    height, width = rgb.shape[:2]
    return np.pad(rgb, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge") if height % 2 or width % 2 else rgb


@contextlib.contextmanager
def _told(target: Path) -> Iterator[None]:
    """Within the block, FFmpeg's errors are ours."""
    import av

    try:
        yield
    except (av.FFmpegError, ValueError, OSError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(
            f"cannot write {target} ({reason}); free some space, or choose another format or --codec"
        ) from error
