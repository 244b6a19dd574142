"""Frames out of video files, by PyAV."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from lowlight_enhance.core.errors import DataError
from lowlight_enhance.core.inference.model_input import Rgb
from lowlight_enhance.core.metadata.capture import CaptureMetadata
from lowlight_enhance.tools.video.frames import GUESSED_RATE, Colours, Frame, Source

if TYPE_CHECKING:
    import av


class FileSource(Source):
    """A video file, upright, each frame at its own time; more than 8 bits where the file has them.

    Raises:
        DataError: no file that FFmpeg reads, or none with a picture.
    """

    def __init__(self, path: Path, given: CaptureMetadata) -> None:
        import av

        try:
            self._container = av.open(str(path))
        except (av.FFmpegError, OSError) as error:
            _unreadable(path, error)
        if not self._container.streams.video:
            self._container.close()
            raise DataError(f"{path} has no video in it; name another file")
        self._video: av.VideoStream = self._container.streams.video[0]
        rate = self._video.average_rate or self._video.guessed_rate or GUESSED_RATE
        super().__init__(str(path), self._video.time_base or 1 / rate, rate, self._count(rate))
        self.path = path
        context = self._video.codec_context
        self.colours = Colours(int(context.colorspace), int(context.color_primaries), int(context.color_trc))
        self.pixel_aspect = self._video.sample_aspect_ratio or Fraction(1)
        self._given = given

    def _count(self, rate: Fraction) -> int | None:
        if self._video.frames:
            return int(self._video.frames)
        seconds = None if self._container.duration is None else self._container.duration / 1e6
        return round(seconds * rate) if seconds else None

    def frames(self) -> Iterator[Frame]:
        """The frames in the order in which they are shown; damaged packets are left out."""
        last: int | None = None
        step = max(1, round(1 / (self.rate * self.tick)))
        for number, frame in enumerate(self._decoded()):
            if self.is_stopped:
                return
            ticks = frame.pts
            if ticks is None:
                ticks = 0 if last is None else last + step
            last = ticks if last is None else max(ticks, last + 1)
            yield Frame(_upright(frame), last, self._given, f"frame_{number:06d}.png")

    def _decoded(self) -> Iterator[av.VideoFrame]:
        import av

        packets = self._container.demux(self._video)
        while True:
            try:
                packet = next(packets, None)
                decoded = [] if packet is None else packet.decode()
            except av.FFmpegError as error:
                self._leave_out(error)
                if isinstance(error, av.error.InvalidDataError):
                    continue
                return
            if packet is None:
                return
            yield from (frame for frame in decoded if isinstance(frame, av.VideoFrame))

    def close(self) -> None:
        """Close the file."""
        self._container.close()


def _unreadable(path: Path, error: Exception) -> NoReturn:
    reason = getattr(error, "strerror", None) or error
    raise DataError(f"cannot read {path} as a video ({reason}); check the file, or convert it with ffmpeg") from error


def _upright(frame: av.VideoFrame) -> Rgb:
    """(H, W, 3) uint8, or uint16 of a video of more than 8 bits, turned as the file asks."""
    deep = max(component.bits for component in frame.format.components) > 8
    rgb: Any = frame.to_ndarray(format="rgb48" if deep else "rgb24")
    return np.ascontiguousarray(np.rot90(rgb, round(frame.rotation / 90)))
