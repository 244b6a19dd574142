"""Frames, and what every source of them has."""

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

GUESSED_RATE = Fraction(30)
"""Frames a second of a file or a camera that tells none."""

NOMINAL_DENOMINATOR = 1001
"""Rates are fractions such as 30000/1001; what a camera says as a decimal number is brought to the closest."""

STEADY_SUFFIXES = (".avi",)
"""Video files that know frames by their number instead of their time."""


@dataclass(frozen=True, slots=True)
class Colours:
    """How a video's numbers mean colours: codes of ITU-T H.273, by which FFmpeg names them too; 2: not said."""

    space: int = 1
    primaries: int = 1
    transfer: int = 1


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame.

    Attributes:
        rgb: (H, W, 3) uint8 or uint16, contiguous.
        ticks: its time in steps of the source's ``tick``; greater than that of the frame before.
        capture: its ISO and exposure time, as far as known.
        name: of the file into which it is written where the target is a folder.
    """

    rgb: Rgb
    ticks: int
    capture: CaptureMetadata
    name: str


class Source(ABC):
    """Frames one after the other; a context manager, open from the start.

    Attributes:
        name: for people.
        tick: seconds of one step of the frames' time.
        rate: frames a second, about.
        total: how many frames there are; None where nobody knows.
        is_live: frames come as they happen, without an end.
        path: file whose sound belongs to the frames, or None.
        colours: of the new video.
        pixel_aspect: width of a pixel by its height.
        left_out: frames so far that could not be read.
        last_error: why the last of them could not.
    """

    def __init__(self, name: str, tick: Fraction, rate: Fraction, total: int | None = None) -> None:
        self.name, self.tick, self.rate, self.total = name, tick, rate, total
        self.is_live = False
        self.path: Path | None = None
        self.colours, self.pixel_aspect = Colours(), Fraction(1)
        self.left_out, self.last_error = 0, ""
        self._stop = Event()

    @abstractmethod
    def frames(self) -> Iterator[Frame]:
        """The frames; those that cannot be read are left out and counted."""

    def stop(self) -> None:
        """End after the frame that is being read; from any thread or signal handler."""
        self._stop.set()

    @property
    def is_stopped(self) -> bool:
        """Whether it was told to."""
        return self._stop.is_set()

    def _leave_out(self, error: object) -> None:
        self.left_out += 1
        self.last_error = str(error)

    def __enter__(self) -> Source:
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:  # noqa: B027 (not every source holds something open)
        """Let go of the file or camera."""
