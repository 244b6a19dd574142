"""The sound of a video file, copied into another."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lowlight_enhance.tools.video.frames import STEADY_SUFFIXES

if TYPE_CHECKING:
    import av


class Sound:
    """The sound of a file, copied into a new one as it is, kept just ahead of the picture.

    Attributes:
        outcome: what became of it, for people; "" where there is none.
    """

    def __init__(self, source: Path, container: av.container.OutputContainer, target: Path) -> None:
        import av

        self.outcome = ""
        self._container, self._target = container, target
        self._knows_before_zero = target.suffix.lower() not in STEADY_SUFFIXES
        self._input = av.open(str(source))
        self._packets: Iterator[Any] = iter(())
        self._next: Any = None
        self._copies: dict[int, Any] = {}

    def begin(self) -> None:
        """Declare it in the new file, before anything is written there."""
        taken, refused = [], []
        for stream in self._input.streams.audio:
            name = stream.codec_context.codec.canonical_name
            if name in self._container.supported_codecs:
                self._copies[stream.index] = self._container.add_stream_from_template(stream)
                taken.append(name)
            else:
                refused.append(name)
        said = [f"sound kept ({', '.join(taken)})"] if taken else []
        if refused:
            said.append(f"sound not kept: {', '.join(refused)} does not fit into {self._target.suffix}, but into .mkv")
        self.outcome = "; ".join(said)
        if self._copies:
            streams = [stream for stream in self._input.streams.audio if stream.index in self._copies]
            self._packets = self._input.demux(streams)
            self._next = self._following()

    def copy(self, until_s: float | None) -> None:
        """Copy what begins before ``until_s`` seconds of the source; None: all that is left."""
        while self._next is not None:
            packet = self._next
            assert packet.dts is not None
            if until_s is not None and packet.dts * packet.time_base >= until_s:
                return
            packet.stream = self._copies[packet.stream.index]
            self._container.mux_one(packet)
            self._next = self._following()

    def _following(self) -> Any:
        """The next packet; None at the end, which damage is too."""
        import av

        try:
            return next(filter(self._is_wanted, self._packets), None)
        except av.FFmpegError:
            return None

    def _is_wanted(self, packet: Any) -> bool:
        """Not the mark of the end; and not what comes before the picture where that would push the picture back."""
        return packet.dts is not None and (packet.dts >= 0 or self._knows_before_zero)

    def close(self) -> None:
        """Let go of the source."""
        self._input.close()
