"""A frame of a video, and the interface of all sources of frames."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from threading import Event
from types import TracebackType

from lowlight_enhance.core.inference.model_input import Rgb
from lowlight_enhance.core.metadata.capture import CaptureMetadata

DEFAULT_RATE = Fraction(30)
"""Frames per second of a file or camera that does not report its rate."""

MAX_RATE_DENOMINATOR = 1001
"""Frame rates are fractions such as 30000/1001; decimal numbers are rounded to the nearest such fraction."""

UNSPECIFIED, BT709 = 2, 1
"""Codes of ITU-T H.273."""


@dataclass(frozen=True, slots=True)
class ColorProperties:
    """Colour coding of a video, in the codes of ITU-T H.273, which FFmpeg uses too.

    Attributes:
        matrix: matrix of YUV; never 0 (RGB), because the new video is YUV.
        primaries: primaries of R, G and B.
        transfer: transfer function.
    """

    matrix: int = BT709
    primaries: int = BT709
    transfer: int = BT709


@dataclass(frozen=True, slots=True)
class SourceFrame:
    """One frame.

    Attributes:
        rgb: (H, W, 3) uint8 or uint16, contiguous.
        pts: presentation time in units of the source's ``time_base``, 0 or more, increasing from frame to frame.
        capture: ISO and exposure time, as far as known.
        name: file name of the frame in a folder of images.
    """

    rgb: Rgb
    pts: int
    capture: CaptureMetadata
    name: str


class FrameSource(ABC):
    """A source of frames. A context manager that is open after construction.

    Attributes:
        name: name in messages.
        time_base: seconds of one unit of the frames' ``pts``.
        rate: mean frames per second.
        peak_rate: frames per second at which every frame has a time of its own; above ``rate`` if the rate varies.
        total: expected number of frames; None if it is unknown.
        is_live: frames arrive as they are captured, without an end.
        path: file whose sound belongs to the frames, or None.
        start_s: time in that file at which ``pts`` is 0.
        colors: colour coding of the new video.
        pixel_aspect: width of a pixel divided by its height.
        metadata: title, date and similar values for the new file.
        note: parts of the source that are not enhanced or kept, for the report; "" if there are none.
        skipped: number of frames so far that could not be read.
        last_error: why the last one of them could not be read.
    """

    def __init__(self, name: str, time_base: Fraction, rate: Fraction, total: int | None = None) -> None:
        self.name, self.time_base, self.rate, self.total = name, time_base, rate, total
        self.peak_rate = rate
        self.is_live = False
        self.path: Path | None = None
        self.start_s = Fraction(0)
        self.colors, self.pixel_aspect = ColorProperties(), Fraction(1)
        self.metadata: dict[str, str] = {}
        self.note = ""
        self.skipped, self.last_error = 0, ""
        self._stop = Event()

    @abstractmethod
    def frames(self) -> Iterator[SourceFrame]:
        """Yield the frames. Those that cannot be read are skipped and counted."""

    def stop(self) -> None:
        """End after the frame that is being read. May be called from any thread or signal handler."""
        self._stop.set()

    @property
    def is_stopped(self) -> bool:
        """Whether ``stop`` was called."""
        return self._stop.is_set()

    def _skip(self, error: object) -> None:
        self.skipped += 1
        self.last_error = str(error)

    def __enter__(self) -> FrameSource:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:  # noqa: B027 (not every source has something to close)
        """Release the file or camera."""
