"""`lowlight video`: enhance a video, a sequence of images or a camera with the ``Pipeline`` that the node uses."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lowlight_enhance.core.enhancement.enhancer import Enhancer
from lowlight_enhance.core.errors import ConfigError, DataError, ImageError
from lowlight_enhance.core.health import Health
from lowlight_enhance.core.malloc import reuse_image_buffers
from lowlight_enhance.core.pipeline import NS_PER_S, EnhancedFrame, Pipeline, PipelineConfig
from lowlight_enhance.tools.background import WriteBehind, prefetch
from lowlight_enhance.tools.image_message import image_message
from lowlight_enhance.tools.network import NetworkSettings
from lowlight_enhance.tools.video.frames import FrameSource, SourceFrame
from lowlight_enhance.tools.video.writers import FrameWriter, open_writer

OnProgress = Callable[[int], object]
"""Called with the number of frames that were enhanced since the last call."""


@dataclass(frozen=True, slots=True)
class VideoSettings(NetworkSettings):
    """Options of video enhancement. Those of the network are inherited from ``NetworkSettings``.

    Attributes:
        pipeline: settings of the pipeline. Its fallback is used for frames without ISO and exposure time.
        side_by_side: write the dark frame left of the enhanced one.
        max_frames: end after this many frames.
        max_seconds: end after this much time of the video.
        codec: FFmpeg's name of the encoder of the new file; None: by its suffix.
        force: whether an existing target may be replaced.

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
    """Result of enhancing a video.

    Attributes:
        frames: number of frames written, including bypassed ones.
        bypassed: frames among them that passed through unchanged.
        skipped: frames that could not be read.
        last_error: why the last one of them could not be read.
        seconds: time from the first frame read to the last one written.
        audio: which sound was kept; "" if there was none.
        note: parts of the source that were not enhanced or kept; "" if there were none.
        fallback: setting of the model that was not available; "" if all were.
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
    """Return the approximate number of frames; None if it is unknown."""
    counts = [source.total, settings.max_frames]
    if settings.max_seconds is not None:
        counts.append(round(settings.max_seconds * source.rate))
    return min((count for count in counts if count is not None), default=None)


def enhance_video(source: FrameSource, target: Path, settings: VideoSettings, on_progress: OnProgress) -> VideoReport:
    """Enhance ``source`` and write the result to ``target``, which is created when it is complete.

    Args:
        source: an open source. All frames until its ``stop`` is called are written.
        target: video file or folder that ``check_video_target`` has accepted.
        settings: options.
        on_progress: called after every frame.

    Raises:
        ConfigError: the encoder or the runtime is not available.
        DataError: there is no frame, the frames of one file differ in size, or the target cannot be written.
        ModelError: the model cannot be used, or inference fails.
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
            raise DataError(f"{source.name} has no readable frame ({report.last_error or 'it is empty'})")
        report.audio, report.note = writer.finish(), source.note
    report.seconds = time.perf_counter() - start
    return report


def _limited(source: FrameSource, settings: VideoSettings) -> Iterator[SourceFrame]:
    """Yield the frames up to the limits of the settings."""
    first: int | None = None
    for frame in itertools.islice(source.frames(), settings.max_frames):
        first = frame.pts if first is None else first
        if settings.max_seconds is not None and float((frame.pts - first) * source.time_base) >= settings.max_seconds:
            return
        yield frame


def _write(writer: FrameWriter, frame: SourceFrame, rgb: NDArray[np.uint8], enhancer: Enhancer | None) -> None:
    """Write a frame. If ``enhancer`` is given, it converts the dark frame, which is written at the left."""
    writer.write(rgb if enhancer is None else np.hstack((enhancer.unchanged(frame.rgb), rgb)), frame)


class FramePipeline:
    """Passes frames through a ``Pipeline`` as if they were messages of a camera.

    Attributes:
        time_base: seconds of one unit of the frames' ``pts``.
    """

    def __init__(self, enhance: Enhancer, config: PipelineConfig, time_base: Fraction) -> None:
        self.time_base = time_base
        self._pipeline = Pipeline(enhance, config, Health())

    def process(self, frame: SourceFrame) -> EnhancedFrame:
        """Return the enhanced frame.

        Raises:
            ImageError: the frame has more pixels than allowed.
            ModelError: inference fails.
        """
        stamp_ns = round(frame.pts * self.time_base * NS_PER_S)
        self._pipeline.add_capture(stamp_ns, frame.capture)
        return self._pipeline.process(image_message(frame.rgb, stamp_ns), stamp_ns)
