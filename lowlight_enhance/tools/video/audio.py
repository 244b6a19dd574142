"""Copy the sound of a video file into another file."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lowlight_enhance.tools.video.file_source import open_input, start_time_s

if TYPE_CHECKING:
    import av

MAX_OFFSET_S = Fraction(1, 10)
"""A larger delay of sound behind the image is noticeable."""


class AudioCopy:
    """Copies the sound of a file packet by packet, slightly ahead of the image, without decoding it.

    Attributes:
        outcome: which tracks were kept, for the report; "" if the file has no sound.
    """

    def __init__(
        self,
        source: Path,
        start_s: Fraction,
        container: av.container.OutputContainer,
        target: Path,
        has_time_stamps: bool,
    ) -> None:
        """Open the source.

        Args:
            source: file with the sound.
            start_s: time in that file that becomes 0.
            container: new file, open.
            target: name of the new file.
            has_time_stamps: whether its format stores times; in other formats every track begins with the file.
        """
        self.outcome = ""
        self._start_s, self._container, self._suffix = start_s, container, target.suffix
        self._has_time_stamps = has_time_stamps
        self._input = open_input(source)
        self._packets: Iterator[Any] = iter(())
        self._next: Any = None
        self._copies: dict[int, Any] = {}

    def declare(self) -> None:
        """Add the tracks to the new file. Call this before anything is written to it."""
        kept, problems = [], []
        for stream in self._input.streams.audio:
            name = stream.codec_context.codec.canonical_name
            begin_s = start_time_s(stream)
            late_s = Fraction(0) if begin_s is None else begin_s - self._start_s
            if name not in self._container.supported_codecs:
                problems.append(f"{name} does not fit into {self._suffix}, but into .mkv")
            elif late_s > MAX_OFFSET_S and not self._has_time_stamps:
                problems.append(f"{self._suffix} cannot start sound {float(late_s):.1f} s after the image, .mkv can")
            else:
                self._copies[stream.index] = self._container.add_stream_from_template(stream)
                kept.append(name)
        parts = [f"sound kept ({', '.join(kept)})"] if kept else []
        self.outcome = "; ".join(parts + [f"sound not kept: {problem}" for problem in problems])
        if self._copies:
            streams = [stream for stream in self._input.streams.audio if stream.index in self._copies]
            self._packets = self._input.demux(streams)
            self._next = self._read()

    def copy(self, until_s: float | None) -> None:
        """Copy the packets that begin before ``until_s`` seconds of the new file; None: all remaining ones."""
        while self._next is not None:
            packet = self._next
            assert packet.dts is not None
            if until_s is not None and packet.dts * packet.time_base >= until_s:
                return
            packet.stream = self._copies[packet.stream.index]
            self._container.mux_one(packet)
            self._next = self._read()

    def _read(self) -> Any:
        """Return the next packet, in the time of the new file; None at the end or at a damaged packet."""
        import av

        while True:
            try:
                packet = next(self._packets, None)
            except av.FFmpegError:
                return None
            if packet is None:
                return None
            if packet.dts is None:  # FFmpeg's mark of the end of a stream
                continue
            shift = round(self._start_s / packet.time_base)
            packet.dts -= shift
            packet.pts = packet.dts if packet.pts is None else packet.pts - shift
            # Without time stamps, sound before the image would delay the image.
            if packet.dts >= 0 or self._has_time_stamps:
                return packet

    def close(self) -> None:
        """Close the source."""
        self._input.close()
