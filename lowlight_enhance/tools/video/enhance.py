"""`lowlight video`: a video, a sequence of images or a camera goes through the same ``Pipeline`` as in the node."""

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
from lowlight_enhance.core.malloc import reuse_image_buffers
from lowlight_enhance.core.pipeline import NS_PER_S, EnhancedFrame, Pipeline, PipelineConfig
from lowlight_enhance.tools.background import WriteBehind, prefetch
from lowlight_enhance.tools.network import NetworkSettings
from lowlight_enhance.tools.video.frames import Frame, FrameSource
from lowlight_enhance.tools.video.writers import FrameWriter, open_writer

OnProgress = Callable[[int], object]
"""Called with the number of frames that were enhanced since the last call."""


@dataclass(frozen=True, slots=True)
class VideoSettings(NetworkSettings):
    """How videos are enhanced; the network's attributes are those of ``NetworkSettings``.

    Attributes:
        pipeline: as in the node. Its fallback is the capture of frames of which nothing else is known.
        side_by_side: write the dark frame left of the enhanced one.
        max_frames: end after this many frames.
        max_seconds: end after this much time of the video.
        codec: FFmpeg's name of the encoder of the new file; None: what fits its suffix.
        force: an existing target may be replaced.

    Raises:
        ConfigError: ``max_seconds`` is not above 0.
    """

    pipeline: PipelineConfig = field(default_factory=PipelineConfig)
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
        frames: number of frames written, bypassed ones included.
        bypassed: frames among them that passed through unchanged.
        skipped: frames that could not be read.
        last_error: why the last of them could not.
        seconds: time from the first frame read to the last one written.
        audio: what became of the sound; "" where there was none.
        note: what of the source was not enhanced or kept; "" where that is nothing.
        fallback: which setting of the model was not available; "" where all were.
    """

    frames: int = 0
    bypassed: int = 0
    skipped: int = 0
    last_error: str = ""
    seconds: float = 0.0
    audio: str = ""
    note: str = ""
    fallback: str = ""

    def __str__(self) -> str:
        parts = [f"{self.frames} frames enhanced in {self.seconds:.1f} s"]
        if self.bypassed:
            parts.append(f"{self.bypassed} of them passed through unchanged")
        parts += [part for part in (self.audio, self.note) if part]
        if self.skipped:
            parts.append(f"{self.skipped} damaged frames skipped")
        if self.last_error:
            parts.append(f"last error: {self.last_error}")
        return "; ".join(parts)


def expected_frames(source: FrameSource, settings: VideoSettings) -> int | None:
    """The approximate number of frames; None where it is unknown."""
    counts = [source.total, settings.max_frames]
    if settings.max_seconds is not None:
        counts.append(round(settings.max_seconds * source.rate))
    return min((count for count in counts if count is not None), default=None)


def enhance_video(source: FrameSource, target: Path, settings: VideoSettings, on_progress: OnProgress) -> VideoReport:
    """Write the enhanced ``source`` as ``target``, which appears when it is complete.

    Args:
        source: an open source; its frames until ``stop`` is called are written.
        target: video file or folder, which ``check_target`` has accepted.
        settings: how.
        on_progress: called after every frame.

    Raises:
        ConfigError: an encoder or a runtime that is not available.
        DataError: no frame, frames of several sizes in one file, or a target that cannot be written.
        ModelError: no usable model, or inference fails.
    """
    reuse_image_buffers()
    enhancer = settings.open()
    try:
        report = _enhance_frames(source, target, enhancer, settings, on_progress)
    finally:
        enhancer.close()
    report.fallback = enhancer.fallback
    return report


def _enhance_frames(
    source: FrameSource, target: Path, enhance: Enhancer, settings: VideoSettings, on_progress: OnProgress
) -> VideoReport:
    """Enhance on this thread; reading and writing have threads of their own."""
    report, pipeline = VideoReport(), FramePipeline(enhance, settings.pipeline, source.time_base)
    start = time.perf_counter()
    is_cut = settings.max_frames is not None or settings.max_seconds is not None
    with open_writer(target, source, settings.codec, is_cut) as writer:
        with contextlib.closing(prefetch(_limited(source, settings))) as frames, WriteBehind() as write_behind:
            for frame in frames:
                try:
                    enhanced = pipeline.process(frame)
                except ImageError as error:
                    report.skipped += 1
                    report.last_error = str(error)
                    continue
                report.frames += 1
                report.bypassed += enhanced.bypassed
                write_behind(_write, writer, frame, enhanced.rgb, enhance if settings.side_by_side else None)
                on_progress(1)
        report.skipped += source.skipped
        report.last_error = report.last_error or source.last_error
        if not report.frames:
            raise DataError(f"{source.name} gave no frame ({report.last_error or 'it is empty'}); nothing is written")
        report.audio, report.note = writer.finish(), source.note
    report.seconds = time.perf_counter() - start
    return report


def _limited(source: FrameSource, settings: VideoSettings) -> Iterator[Frame]:
    """The frames up to the limits of the settings."""
    first: int | None = None
    for frame in itertools.islice(source.frames(), settings.max_frames):
        first = frame.pts if first is None else first
        if settings.max_seconds is not None and float((frame.pts - first) * source.time_base) >= settings.max_seconds:
            return
        yield frame


def _write(writer: FrameWriter, frame: Frame, rgb: NDArray[np.uint8], enhancer: Enhancer | None) -> None:
    """Write a frame, with the dark one at its left where ``enhancer`` is given to convert it."""
    writer.write(rgb if enhancer is None else np.hstack((enhancer.unchanged(frame.rgb), rgb)), frame)


class FramePipeline:
    """Sends frames through a ``Pipeline`` as if they were messages of a camera.

    Attributes:
        time_base: seconds of one unit of the frames' ``pts``.
    """

    def __init__(self, enhance: Enhancer, config: PipelineConfig, time_base: Fraction) -> None:
        self.time_base = time_base
        self._pipeline = Pipeline(enhance, config, Health())

    def process(self, frame: Frame) -> EnhancedFrame:
        """The enhanced frame.

        Raises:
            ImageError: more pixels than are allowed.
            ModelError: inference fails.
        """
        stamp_ns = round(frame.pts * self.time_base * NS_PER_S)
        self._pipeline.add_capture(stamp_ns, frame.capture)
        return self._pipeline.process(_message(frame, stamp_ns), stamp_ns)


def _message(frame: Frame, stamp_ns: int) -> SimpleNamespace:
    """A stand-in for sensor_msgs/Image. Its data are a view of the frame."""
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
