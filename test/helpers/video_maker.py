"""Make small videos and image folders, enhance them, and read the results."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from lowlight_enhance.tools.video.enhance import VideoReport, VideoSettings, enhance_video
from lowlight_enhance.tools.video.sources import open_source, source_files
from lowlight_enhance.tools.video.writers import check_video_target

HEIGHT, WIDTH = 48, 64
TIME_BASE = Fraction(1, 1000)
TIMES_MS = [0, 40, 80, 200, 240, 1000]
"""Times of a video of varying rate."""


def changed(settings: VideoSettings, **fields: Any) -> VideoSettings:
    return dataclasses.replace(settings, **fields)


def picture(number: int = 0, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Return a smooth image, which no codec changes much; different for each number."""
    rgb = np.empty((height, width, 3), np.uint8)
    rgb[:, : width // 2], rgb[:, width // 2 :] = (100, 20 + 10 * number % 100, 30), (15, 90, 45)
    return rgb


def write_video(
    path: Path,
    times_ms: Sequence[int] = TIMES_MS,
    sound: str = "aac",
    codec: str = "libx264",
    layout: str = "yuv420p",
    rotation: int = 0,
    space: int = 2,
    size: tuple[int, int] = (HEIGHT, WIDTH),
    shift_ms: tuple[int, int] = (0, 0),
    title: str = "",
) -> Path:
    """Frames ``picture(0)``, ``picture(1)``... at their times, and a tone to the end of the last.

    ``shift_ms`` moves image and sound.
    """
    with av.open(str(path), "w", options={"avoid_negative_ts": "disabled"}) as container:
        container.metadata["title"] = title
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width, stream.pix_fmt = *size, layout
        stream.codec_context.time_base, stream.codec_context.colorspace = TIME_BASE, space
        stream.options = {"crf": "1"} if codec == "libx264" else {}
        if rotation:
            if not hasattr(stream, "set_display_rotation"):
                pytest.skip("this PyAV cannot write a rotation")
            stream.set_display_rotation(rotation)
        tone = container.add_stream(sound, rate=48_000) if sound else None
        if tone is not None:
            tone.layout = "mono"
        for number, time_ms in enumerate(times_ms):
            frame = av.VideoFrame.from_ndarray(picture(number, *size), format="rgb24")
            frame = frame.reformat(format=layout, dst_colorspace=space)
            frame.pts, frame.time_base = time_ms + shift_ms[0], TIME_BASE
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if tone is not None:
            for begin in range(0, 48 * (times_ms[-1] + 40), 960):
                wave = np.sin(np.arange(begin, begin + 960) / 20.0)[None]
                samples = wave.astype(np.float32) if sound == "aac" else (wave * 9000).astype(np.int16)
                part = av.AudioFrame.from_ndarray(samples, format="fltp" if sound == "aac" else "s16", layout="mono")
                part.sample_rate, part.pts = 48_000, begin + 48 * shift_ms[1]
                container.mux(tone.encode(part))
            container.mux(tone.encode(None))
    return path


def frames_of(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def times_ms(path: Path) -> list[int]:
    with av.open(str(path)) as container:
        return [round(frame.time * 1000) for frame in container.decode(video=0)]


def packets_of(path: Path) -> list[bytes]:
    """Return the packets of the first audio stream."""
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(container.streams.audio[0]) if packet.size]


def run(source: str | Path, target: Path, settings: VideoSettings, **how: Any) -> VideoReport:
    check_video_target(source_files(str(source)), target, settings.codec, settings.force)
    with open_source(str(source), settings.pipeline.fallback, **how) as opened:
        return enhance_video(opened, target, settings, lambda _: None)


def assert_doubled(path: Path, numbers: Sequence[int], within: int = 12) -> None:
    found = frames_of(path)
    assert len(found) == len(numbers)
    for frame, number in zip(found, numbers, strict=True):
        expected = picture(number).astype(int) * 2
        assert np.abs(frame[4:-4, 4:28] - expected[4:-4, 4:28]).max() <= within
        assert np.abs(frame[4:-4, 36:-4] - expected[4:-4, 36:-4]).max() <= within


def write_pictures(folder: Path, names: Sequence[str], height: int = HEIGHT) -> Path:
    folder.mkdir()
    for number, name in enumerate(names):
        assert cv2.imwrite(str(folder / name), picture(number, height)[:, :, ::-1])
    return folder
