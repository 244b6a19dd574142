"""Write enhanced frames to a video file with PyAV, with the sound and the colour coding of the source."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowlight_enhance.core.errors import ConfigError, DataError
from lowlight_enhance.tools.video.audio import AudioCopy
from lowlight_enhance.tools.video.file_source import RGB_MATRIX, file_url
from lowlight_enhance.tools.video.frames import MAX_RATE_DENOMINATOR, FrameSource, SourceFrame

CODECS: dict[str, tuple[str, ...]] = {
    ".avi": ("mpeg4",),
    ".m4v": ("libx264", "libopenh264", "mpeg4"),
    ".mkv": ("libx264", "libopenh264", "mpeg4"),
    ".mov": ("libx264", "libopenh264", "mpeg4"),
    ".mp4": ("libx264", "libopenh264", "mpeg4"),
    ".webm": ("libvpx-vp9", "libsvtav1", "libaom-av1"),
}
"""Suffixes of video files, and their encoders: the first one that FFmpeg has is used."""

QUALITY: dict[str, dict[str, str]] = {
    "libx264": {"crf": "18", "preset": "veryfast"},
    "libx265": {"crf": "20", "preset": "veryfast"},
    "libvpx-vp9": {"crf": "24", "b": "0", "cpu-used": "5", "deadline": "realtime", "row-mt": "1"},
    "libsvtav1": {"crf": "26", "preset": "10"},
}
"""Options for a constant quality that is high enough to judge frames. Other encoders use ``BITS_PER_PIXEL``."""

BITS_PER_PIXEL = 0.4

UNTIMED_SUFFIXES = (".avi",)
"""Formats that store frames by number, without time stamps."""

CONSTANT_RATE_CODECS = ("mpeg4",)
"""Encoders that store numbers of frames instead of times."""

PIXEL_FORMAT = "yuv420p"
"""Format that every player supports. If an encoder does not support it, its first format is used."""

LIMITED_RANGE = 1
FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def find_encoder(target: Path, codec: str | None) -> str:
    """Return the encoder for a file.

    Args:
        target: the file.
        codec: FFmpeg's name of an encoder; None: by the suffix of the file.

    Raises:
        ConfigError: this PyAV has no such encoder.
    """
    import av

    candidates = CODECS[target.suffix.lower()] if codec is None else (codec,)
    for name in candidates:
        with contextlib.suppress(av.FFmpegError, ValueError):
            if av.Codec(name, "w").type == "video":
                return name
    raise ConfigError(
        f"no encoder {' or '.join(candidates)} for {target} in this PyAV (pip install --upgrade av); write another "
        "format, or a folder of images"
    )


class VideoFileWriter:
    """A video file. Each frame keeps its time; if the format stores no times, the nearest one of a constant rate."""

    def __init__(self, temporary: Path, target: Path, source: FrameSource, codec: str, is_cut: bool) -> None:
        """Open the file. The first frame defines the size of the video.

        Args:
            temporary: file to write.
            target: name of the file in messages.
            source: source of the frames.
            codec: encoder.
            is_cut: the frames may end before the source does; the sound then ends with them.
        """
        import av

        self._is_cut = is_cut
        self._target, self._source, self._codec = target, source, codec
        is_untimed = target.suffix.lower() in UNTIMED_SUFFIXES
        self._is_constant_rate = is_untimed or codec in CONSTANT_RATE_CODECS
        rate = source.peak_rate if self._is_constant_rate else source.rate
        self._rate = rate.limit_denominator(MAX_RATE_DENOMINATOR)
        self._time_base = 1 / self._rate if self._is_constant_rate else source.time_base
        self._shape: tuple[int, ...] | None = None
        self._first_name, self._last = "", -1
        with _ffmpeg_errors(target):
            self._container = av.open(file_url(temporary), "w")
        self._audio: AudioCopy | None = None
        if source.path is not None:
            self._audio = AudioCopy(source.path, source.start_s, self._container, target, not is_untimed)

    def write(self, rgb: NDArray[np.uint8], frame: SourceFrame) -> None:
        """Encode a frame.

        Raises:
            DataError: the size differs from that of the first frame, or the file cannot be written.
        """
        import av

        if self._shape is None:
            self._shape, self._first_name = rgb.shape, frame.name
            self._begin(rgb.shape[0], rgb.shape[1])
        if rgb.shape != self._shape:
            raise DataError(
                f"{self._source.name}: {frame.name} has {rgb.shape[1]}x{rgb.shape[0]} pixels and {self._first_name} "
                f"{self._shape[1]}x{self._shape[0]}; a video has one size: write a folder of images"
            )
        pts = frame.pts
        if self._is_constant_rate:
            pts = max(self._last + 1, round(pts * self._source.time_base * self._rate))
        with _ffmpeg_errors(self._target):
            image = av.VideoFrame.from_ndarray(_even_size(rgb) if self._pads else rgb, format="rgb24")
            matrix = None if self._matrix == RGB_MATRIX else self._matrix
            image = image.reformat(format=self._stream.pix_fmt, dst_colorspace=matrix)
            image.pts, image.time_base, self._last = pts, self._time_base, pts
            self._container.mux(self._stream.encode(image))
            if self._audio is not None:
                self._audio.copy(float(pts * self._time_base))

    def _begin(self, height: int, width: int) -> None:
        with _ffmpeg_errors(self._target):
            self._container.metadata.update(self._source.metadata)
            stream: Any = self._container.add_stream(self._codec, rate=self._rate)
            formats = [layout.name for layout in stream.codec_context.codec.video_formats or ()]
            stream.pix_fmt = PIXEL_FORMAT if PIXEL_FORMAT in formats or not formats else formats[0]
            self._pads = "420" in stream.pix_fmt
            stream.height, stream.width = height + height % 2 * self._pads, width + width % 2 * self._pads
            context: Any = stream.codec_context
            context.time_base = self._time_base
            if self._is_constant_rate:
                context.max_b_frames = 0  # players show files with B-frames and without times one frame late
            context.sample_aspect_ratio = self._source.pixel_aspect
            # ITU-T H.273: matrix 0 means RGB, and VP9 and others refuse it for YUV.
            colors = self._source.colors
            is_rgb = any(name in stream.pix_fmt for name in ("rgb", "bgr", "gbr"))
            self._matrix = RGB_MATRIX if is_rgb else colors.matrix
            context.color_range, context.colorspace = LIMITED_RANGE, self._matrix
            context.color_primaries, context.color_trc = colors.primaries, colors.transfer
            stream.options = QUALITY.get(self._codec, {})
            if self._codec not in QUALITY:
                context.bit_rate = round(BITS_PER_PIXEL * height * width * self._rate)
            self._stream = stream
            if self._audio is not None:
                self._audio.declare()

    def finish(self) -> str:
        """Write the frames that the encoder still holds and the rest of the sound. Return a note about the sound."""
        with _ffmpeg_errors(self._target):
            self._container.mux(self._stream.encode(None))
            if self._audio is not None:
                self._audio.copy(float(self._last * self._time_base + 1 / self._rate) if self._is_cut else None)
            self._container.close()
        return "" if self._audio is None else self._audio.outcome

    def close(self) -> None:
        """Close all files, also after an error."""
        import av

        if self._audio is not None:
            self._audio.close()
        with contextlib.suppress(av.FFmpegError, ValueError, OSError):
            self._container.close()


def _even_size(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Repeat the last row or column of (H, W, 3) if their number is odd, because chroma is stored for pairs."""
    height, width = rgb.shape[:2]
    return np.pad(rgb, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge") if height % 2 or width % 2 else rgb


@contextlib.contextmanager
def _ffmpeg_errors(target: Path) -> Iterator[None]:
    """Turn FFmpeg's errors inside the block into ``DataError``."""
    import av

    try:
        yield
    except (av.FFmpegError, ValueError, OSError) as error:
        reason = getattr(error, "strerror", None) or error
        remedy = (
            "free some space" if getattr(error, "errno", None) in FULL_DISK else "choose another format or --codec"
        )
        raise DataError(f"cannot write {target} ({reason}); {remedy}") from error
