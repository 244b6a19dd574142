"""VideoFileSource: frames of a video file, read with PyAV."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from lowlight_enhance.core.errors import DataError
from lowlight_enhance.core.imaging.encodings import check_image_size
from lowlight_enhance.core.inference.model_input import Rgb
from lowlight_enhance.core.metadata.capture import CaptureMetadata
from lowlight_enhance.tools.video.frames import BT709, DEFAULT_RATE, ColorProperties, FrameSource, SourceFrame
from lowlight_enhance.tools.video.orientation import orientation_of

if TYPE_CHECKING:
    import av

NO_TIMESTAMPS = 0x80
"""FFmpeg's flag of formats without time stamps, such as raw H.264."""

MAX_PEAK_RATE = 240
"""FFmpeg estimates thousands of frames per second for some files of varying rate."""

DEFAULT_TRACK_PIXELS = 5_000_000
"""Pixels that are added to the size of a track marked as default, as in the ``ffmpeg`` command."""

AUDIO_LEAD_S = Fraction(1, 10)
"""Sound that begins up to this long before the image is a lead-in of the decoder and does not change the start."""

RGB_MATRIX = 0
_FILE_FIELDS = ("major_brand", "minor_version", "compatible_brands", "encoder", "duration")
"""Metadata of the file format itself."""


class VideoFileSource(FrameSource):
    """A video file. Each frame is upright, has its own time, and more than 8 bits if the file does.

    Times start at 0. If those of the file do not, image and sound are shifted together.

    Raises:
        DataError: FFmpeg cannot read the file, or it has no video.
        ImageError: the frames are larger than ``max_pixels``.
    """

    def __init__(
        self, path: Path, capture: CaptureMetadata, rate: Fraction | None = None, max_pixels: int | None = None
    ) -> None:
        self._container = open_input(path)
        try:
            self._video = _main_stream(self._container, path)
            context = self._video.codec_context
            if context.width and context.height:
                check_image_size(
                    f"{path} of {context.width}x{context.height}", context.height, context.width, max_pixels
                )
            self.has_times = not self._container.format.flags & NO_TIMESTAMPS
            mean, peak = self._rates(rate)
            super().__init__(str(path), self._time_base(mean), mean, self._count(mean))
            self.path, self.peak_rate = path, peak
            self._capture, self._max_pixels = capture, max_pixels
            self.colors = _colors(context)
            self.metadata = {k: v for k, v in self._container.metadata.items() if k.lower() not in _FILE_FIELDS}
            self.note = self._describe_other_streams()
            self._decoder = self._decoded()
            self._first = next(self._decoder, None)
            self.start_s = self._start()
            self.pixel_aspect = self._pixel_aspect()
        except BaseException:
            self._container.close()
            raise

    def _rates(self, requested: Fraction | None) -> tuple[Fraction, Fraction]:
        """Return mean and peak rate. For a file without times FFmpeg's mean rate is only a default."""
        if not self.has_times:
            rate = requested or self._video.codec_context.framerate or self._video.guessed_rate or DEFAULT_RATE
            return Fraction(rate), Fraction(rate)
        mean = Fraction(self._video.average_rate or self._video.guessed_rate or DEFAULT_RATE)
        peak = Fraction(self._video.guessed_rate or mean)
        return mean, peak if mean < peak <= MAX_PEAK_RATE else mean

    def _time_base(self, rate: Fraction) -> Fraction:
        return self._video.time_base if self.has_times and self._video.time_base else 1 / rate

    def _count(self, rate: Fraction) -> int | None:
        if self._video.frames:
            return int(self._video.frames)
        seconds = None if self._container.duration is None else self._container.duration / 1e6
        return round(seconds * rate) if seconds else None

    def _start(self) -> Fraction:
        """Return the time of the first frame, or of the first sound if it begins over ``AUDIO_LEAD_S`` earlier."""
        if not self.has_times or self._first is None or self._first.pts is None:
            return Fraction(0)
        video_s = self._first.pts * self.time_base
        sounds = (start_time_s(stream) for stream in self._container.streams.audio)
        audio_s = min((time_s for time_s in sounds if time_s is not None), default=video_s)
        return Fraction(audio_s if audio_s < video_s - AUDIO_LEAD_S else video_s)

    def _pixel_aspect(self) -> Fraction:
        aspect = Fraction(self._video.sample_aspect_ratio or 1)
        is_transposed = self._first is not None and orientation_of(self._first).is_transposed
        return 1 / aspect if is_transposed else aspect

    def _describe_other_streams(self) -> str:
        """Return a note about the streams of the file that are not enhanced or kept."""
        streams = [s for s in self._container.streams if s.type not in ("audio", "attachment") and not _is_cover(s)]
        streams.remove(self._video)
        if not streams:
            return ""
        kinds = ", ".join(f"{s.index} ({s.type})" for s in streams)
        return f"stream {self._video.index} enhanced, streams not kept: {kinds}"

    def frames(self) -> Iterator[SourceFrame]:
        """Yield the frames in the order in which they are shown. Damaged packets are skipped."""
        last = -1
        step = max(1, round(1 / (self.rate * self.time_base)))
        start = round(self.start_s / self.time_base)
        number = 0
        while self._first is not None and not self.is_stopped:
            frame, self._first = self._first, None
            pts = frame.pts if self.has_times else None
            pts = (0 if last < 0 else last + step) if pts is None else pts - start
            last = max(pts, last + 1)  # encoders reject times that do not increase
            yield SourceFrame(self._rgb(frame), last, self._capture, f"frame_{number:06d}.png")
            number += 1
            self._first = next(self._decoder, None)

    def _decoded(self) -> Iterator[av.VideoFrame]:
        import av

        packets = self._container.demux(self._video)
        while True:
            try:
                packet = next(packets, None)
                decoded = [] if packet is None else packet.decode()
            except av.FFmpegError as error:
                self._skip(error)
                if isinstance(error, av.error.InvalidDataError):  # one damaged packet; the next may be readable
                    continue
                return
            if packet is None:
                return
            yield from (frame for frame in decoded if isinstance(frame, av.VideoFrame))

    def _rgb(self, frame: av.VideoFrame) -> Rgb:
        """Return (H, W, 3) uint8, or uint16 of a video of more than 8 bits, upright."""
        import av

        check_image_size(f"frame of {self.name}", frame.height, frame.width, self._max_pixels)
        is_deep = max(component.bits for component in frame.format.components) > 8
        try:
            rgb: Any = frame.to_ndarray(format="rgb48" if is_deep else "rgb24")
        except (av.FFmpegError, OSError) as error:
            raise DataError(
                f"{self.name}: FFmpeg cannot convert its colours (matrix {int(frame.colorspace)} of ITU-T H.273) to "
                "RGB; convert the video to BT.709 first, for example with ffmpeg's filter zscale=matrix=709"
            ) from error
        return orientation_of(frame).apply(rgb)

    def close(self) -> None:
        """Close the file."""
        self._container.close()


def start_time_s(stream: av.stream.Stream) -> Fraction | None:
    """Return the time at which a stream begins; None if it is unknown."""
    if stream.start_time is None or stream.time_base is None:
        return None
    return Fraction(stream.start_time * stream.time_base)


def file_url(path: Path) -> str:
    """Return the path as a URL. FFmpeg would take the first part of a name such as ``12:30.mp4`` as a protocol."""
    return f"file:{path.absolute()}"


def open_input(path: Path) -> av.container.InputContainer:
    """Open a video file.

    Raises:
        DataError: the path is not a regular file, or FFmpeg cannot read it.
    """
    import av

    try:
        if path.exists() and not path.is_file():
            raise DataError(f"{path} is not a regular file; save the video to a file first")
        return av.open(file_url(path))
    except (av.FFmpegError, OSError) as error:
        _unreadable(path, error)


def _unreadable(path: Path, error: Exception) -> NoReturn:
    reason = getattr(error, "strerror", None) or error
    raise DataError(f"cannot read {path} as a video ({reason}); check the file, or convert it with ffmpeg") from error


def _main_stream(container: av.container.InputContainer, path: Path) -> av.VideoStream:
    """Return the largest video stream; cover images and thumbnails do not count."""
    streams = [stream for stream in container.streams.video if not _is_cover(stream)]
    if not streams:
        raise DataError(f"{path} has no video in it" + (", only a cover image" if container.streams.video else ""))
    return max(streams, key=_rank)


def _rank(stream: av.VideoStream) -> tuple[bool, int]:
    import av

    is_default = bool(stream.disposition & av.stream.Disposition.default)
    pixels = stream.codec_context.width * stream.codec_context.height
    return stream.frames != 1, pixels + DEFAULT_TRACK_PIXELS * is_default


def _is_cover(stream: av.stream.Stream) -> bool:
    import av

    cover = av.stream.Disposition.attached_pic | av.stream.Disposition.timed_thumbnails
    return bool(stream.disposition & cover)


def _colors(context: av.VideoCodecContext) -> ColorProperties:
    """Return the file's colour coding; for an RGB file, with the matrix of BT.709."""
    matrix = int(context.colorspace)
    return ColorProperties(
        BT709 if matrix == RGB_MATRIX else matrix, int(context.color_primaries), int(context.color_trc)
    )
