"""A video, a folder of pictures or a camera, enhanced as the node would: the same ``Pipeline``, fed with frames."""

from __future__ import annotations

import contextlib
import itertools
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from numpy.typing import NDArray

from lowlight_enhance.core.enhancement.enhancer import Enhancer
from lowlight_enhance.core.errors import ConfigError, DataError, ImageError
from lowlight_enhance.core.health import Health
from lowlight_enhance.core.malloc import keep_image_buffers
from lowlight_enhance.core.pipeline import NS_PER_S, EnhancedFrame, Pipeline, PipelineConfig
from lowlight_enhance.tools.background import Behind, ahead
from lowlight_enhance.tools.network import NetworkSettings
from lowlight_enhance.tools.video.frames import Frame, Source
from lowlight_enhance.tools.video.targets import Target, writing

Tell = Callable[[int], object]
"""Is told how many more frames are done."""


@dataclass(frozen=True, slots=True)
class VideoSettings(NetworkSettings):
    """How videos are enhanced; the network's attributes are those of ``NetworkSettings``.

    Attributes:
        stream: how frames are enhanced. Its fallback is the capture of frames of which nothing else is known.
        side_by_side: the dark frame left of the enhanced one.
        max_frames: end after so many.
        max_seconds: end after so much time of the video.
        codec: of FFmpeg, for the new file; None: what fits its suffix.
        force: what is there already may be replaced.
    """

    stream: PipelineConfig = field(default_factory=PipelineConfig)
    side_by_side: bool = False
    max_frames: int | None = None
    max_seconds: float | None = None
    codec: str | None = None
    force: bool = False

    def __post_init__(self) -> None:
        if self.max_seconds is not None and not self.max_seconds > 0.0:
            raise ConfigError(f"--seconds {self.max_seconds:g}: give a number above 0")


@dataclass(slots=True)
class VideoReport:
    """What became of a video.

    Attributes:
        frames: how many were written, bypassed ones included.
        bypassed: frames among them that passed through untouched.
        left_out: frames that could not be read.
        last_error: why the last of them could not.
        seconds: time from the first frame read to the last one written.
        audio: what became of the sound; "" where there was none.
        fallback: what of the model's settings could not be had; "" where all could.
    """

    frames: int = 0
    bypassed: int = 0
    left_out: int = 0
    last_error: str = ""
    seconds: float = 0.0
    audio: str = ""
    fallback: str = ""

    def __str__(self) -> str:
        parts = [f"{self.frames} frames enhanced in {self.seconds:.1f} s"]
        if self.bypassed:
            parts.append(f"{self.bypassed} of them passed through untouched")
        if self.audio:
            parts.append(self.audio)
        if self.left_out:
            parts.append(f"{self.left_out} damaged frames left out")
        if self.last_error:
            parts.append(f"the last error: {self.last_error}")
        return "; ".join(parts)


def expected_frames(source: Source, settings: VideoSettings) -> int | None:
    """About how many frames there will be; None where nobody knows."""
    counts = [source.total, settings.max_frames]
    if settings.max_seconds is not None:
        counts.append(round(settings.max_seconds * source.rate))
    return min((count for count in counts if count is not None), default=None)


def enhance_video(source: Source, target: Path, settings: VideoSettings, tell: Tell) -> VideoReport:
    """Write the enhanced ``source`` as ``target``, whole or not at all.

    Args:
        source: open; what it gives until it is told to stop is written.
        target: file with one of the suffixes of videos, or folder; ``check_target`` has looked at it.
        settings: how.
        tell: is told of every frame.

    Raises:
        ConfigError: a codec that there is not, or a runtime.
        DataError: no frame, frames of several sizes in one file, or a target that cannot be written.
        ModelError: no usable model, or the network fails.
    """
    keep_image_buffers()
    enhancer = settings.open()
    try:
        report = _through(source, target, enhancer, settings, tell)
    finally:
        enhancer.close()
    report.fallback = enhancer.fallback
    return report


def _through(source: Source, target: Path, enhance: Enhancer, settings: VideoSettings, tell: Tell) -> VideoReport:
    """Only enhancing happens on this thread, so that the network waits for the disk as little as may be."""
    report, lane = VideoReport(), Lane(enhance, settings.stream, source.tick)
    start = time.perf_counter()
    is_cut = settings.max_frames is not None or settings.max_seconds is not None
    with writing(target, source, settings.codec, is_cut) as writer:
        with contextlib.closing(ahead(_limited(source, settings))) as frames, Behind() as behind:
            for frame in frames:
                try:
                    enhanced = lane.process(frame)
                except ImageError as error:
                    report.left_out += 1
                    report.last_error = str(error)
                    continue
                report.frames += 1
                report.bypassed += enhanced.bypassed
                behind(_write, writer, frame, enhanced.rgb, enhance if settings.side_by_side else None)
                tell(1)
        report.left_out += source.left_out
        report.last_error = report.last_error or source.last_error
        if not report.frames:
            raise DataError(f"{source.name} gave no frame ({report.last_error or 'it is empty'}); nothing is written")
        report.audio = writer.finish()
    report.seconds = time.perf_counter() - start
    return report


def _limited(source: Source, settings: VideoSettings) -> Iterator[Frame]:
    """The frames up to where the settings end them."""
    first: int | None = None
    for frame in itertools.islice(source.frames(), settings.max_frames):
        first = frame.ticks if first is None else first
        if settings.max_seconds is not None and float((frame.ticks - first) * source.tick) >= settings.max_seconds:
            return
        yield frame


def _write(writer: Target, frame: Frame, rgb: NDArray[np.uint8], beside: Enhancer | None) -> None:
    """Have a frame written; with the dark one at its left, made by ``beside`` where that is given."""
    writer.write(rgb if beside is None else np.hstack((beside.unchanged(frame.rgb), rgb)), frame)


class Lane:
    """Frames on their way through a ``Pipeline``, which takes them for messages of a camera.

    Attributes:
        tick: seconds of one step of the frames' time.
    """

    def __init__(self, enhance: Enhancer, config: PipelineConfig, tick: Fraction) -> None:
        self.tick = tick
        self._stream = Pipeline(enhance, config, Health())

    def process(self, frame: Frame) -> EnhancedFrame:
        """The enhanced frame.

        Raises:
            ImageError: more pixels than are allowed.
            ModelError: the network fails.
        """
        stamp_ns = round(frame.ticks * self.tick * NS_PER_S)
        self._stream.add_capture(stamp_ns, frame.capture)
        return self._stream.process(_message(frame, stamp_ns), stamp_ns)


def _message(frame: Frame, stamp_ns: int) -> SimpleNamespace:
    """What is read of a sensor_msgs/Image; its data are the frame's own."""
    height, width = frame.rgb.shape[:2]
    stamp = SimpleNamespace(sec=stamp_ns // NS_PER_S, nanosec=stamp_ns % NS_PER_S)
    return SimpleNamespace(
        header=SimpleNamespace(stamp=stamp, frame_id=""),
        height=height,
        width=width,
        encoding="rgb8" if frame.rgb.dtype == np.uint8 else "rgb16",
        is_bigendian=sys.byteorder == "big",
        step=frame.rgb.strides[0],
        data=frame.rgb.reshape(-1).view(np.uint8),
    )
