"""`lowlight video`: enhance a video file, a sequence of images or a camera."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lowlight_enhance.commands.arguments import (
    PIPELINE_PARAMETERS,
    Commands,
    add_network_options,
    add_node_parameters,
    network_settings,
    pipeline_config,
    positive,
    seconds,
    size,
)
from lowlight_enhance.commands.failures import EXIT_INCOMPLETE
from lowlight_enhance.core.signals import handle_signals

if TYPE_CHECKING:
    from lowlight_enhance.tools.video.enhance import VideoSettings
    from lowlight_enhance.tools.video.frames import FrameSource

FRAME_PARAMETERS = [name for name in PIPELINE_PARAMETERS if not name.startswith(("metadata.", "output."))]
"""Parameters of the node that apply to frames without ROS messages."""


def add_video(commands: Commands[argparse.ArgumentParser]) -> None:
    """Declare `lowlight video`."""
    parser = commands.add_parser("video", help="enhance a video file, a folder of images or a camera")
    parser.add_argument(
        "source",
        metavar="IN",
        help="video file, folder of images, numbered images (night/%%04d.png), or camera (0, /dev/video0)",
    )
    parser.add_argument(
        "target",
        type=Path,
        metavar="OUT",
        help="video file (.mp4, .mkv, .mov, .webm, .avi), or name of a new folder of images",
    )
    parser.add_argument("--force", action="store_true", help="replace an existing OUT")
    parser.add_argument("--side-by-side", action="store_true", help="write the dark frame left of the enhanced one")
    parser.add_argument("--iso", type=float, help="ISO of every frame (default: from an image's EXIF, else unknown)")
    parser.add_argument(
        "--exposure",
        type=seconds,
        metavar="SECONDS",
        dest="exposure_s",
        help="exposure time of every frame, e.g. 0.03 or 1/30 (default: from an image's EXIF, else unknown)",
    )
    parser.add_argument(
        "--fps",
        type=_rate,
        help="frames per second of images (default: 30) or of a raw video stream; rate to request from a camera",
    )
    parser.add_argument("--size", type=size, metavar="WIDTHxHEIGHT", help="resolution to request from a camera")
    parser.add_argument("--max-frames", type=positive, metavar="N", help="end after N frames")
    parser.add_argument("--seconds", type=seconds, metavar="S", help="end after S seconds of the video")
    parser.add_argument("--codec", help="FFmpeg's name of the encoder, e.g. libx265 (default: by the suffix of OUT)")
    add_network_options(parser)
    add_node_parameters(parser, FRAME_PARAMETERS)
    parser.set_defaults(run=_run_video)


def _rate(text: str) -> Fraction:
    """Parse frames per second: ``25``, ``29.97`` or ``30000/1001``."""
    try:
        rate = Fraction(text)
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if not 0 < rate <= 1000:
        raise argparse.ArgumentTypeError(f"'{text}' is not a frame rate, such as 25 or 30000/1001")
    return rate


def _settings(options: argparse.Namespace) -> VideoSettings:
    from lowlight_enhance.tools.video.enhance import VideoSettings

    return VideoSettings(
        pipeline=pipeline_config(options, options.iso, options.exposure_s),
        side_by_side=options.side_by_side,
        max_frames=options.max_frames,
        max_seconds=options.seconds,
        codec=options.codec,
        force=options.force,
        **network_settings(options),
    )


def _run_video(options: argparse.Namespace) -> int:
    from lowlight_enhance.tools.video import enhance
    from lowlight_enhance.tools.video.sources import open_source, source_files
    from lowlight_enhance.tools.video.writers import check_video_target

    from tqdm import tqdm  # isort: skip (if several extras are missing, the error names that of PyAV)

    settings = _settings(options)
    check_video_target(source_files(options.source), options.target, settings.codec, settings.force)
    pipeline = settings.pipeline
    with open_source(options.source, pipeline.fallback, options.fps, options.size, pipeline.max_pixels) as source:
        stop_on_signals = _stop_on_signals(source) if source.is_live else contextlib.nullcontext()
        total = enhance.expected_frames(source, settings)
        if source.is_live:
            print(f"recording {source.name} at {float(source.rate):g} Hz; Ctrl-C ends it", file=sys.stderr)
        with stop_on_signals, tqdm(total=total, unit="frame", disable=None) as progress:
            report = enhance.enhance_video(source, options.target, settings, progress.update)
    if report.fallback:
        print(f"{options.target}: {report.fallback}", file=sys.stderr)
    print(f"{options.target}: {report}")
    return EXIT_INCOMPLETE if report.last_error else 0


def _stop_on_signals(source: FrameSource) -> contextlib.AbstractContextManager[None]:
    """Return a context in which SIGINT or SIGTERM ends the recording and keeps it; a second signal discards it."""

    def stop(number: int, _frame: Any) -> None:
        if source.is_stopped:
            raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)
        source.stop()

    return handle_signals(stop, signal.SIGINT, signal.SIGTERM)
