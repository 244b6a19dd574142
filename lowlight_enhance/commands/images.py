"""`lowlight image` enhances one image file; `lowlight flicker` measures flicker on simulated sequences."""

from __future__ import annotations

import argparse
from pathlib import Path

from lowlight_enhance.commands.arguments import (
    Commands,
    add_model_options,
    add_runtime_option,
    non_negative,
    positive,
    seconds,
    size,
)


def add_image(commands: Commands[argparse.ArgumentParser]) -> None:
    """Declare `lowlight image`."""
    parser = commands.add_parser("image", help="enhance one image file")
    parser.add_argument("source", type=Path, metavar="DARK", help="image file to read; camera raw files need rawpy")
    parser.add_argument("target", type=Path, metavar="OUT", help="image file to write; its suffix is the format")
    parser.add_argument("--iso", type=float, help="ISO of the exposure (default: from EXIF, else unknown)")
    parser.add_argument(
        "--exposure",
        type=seconds,
        metavar="SECONDS",
        dest="exposure_s",
        help="exposure time, e.g. 0.03 or 1/30 (default: from EXIF, else unknown)",
    )
    add_model_options(parser)
    add_runtime_option(parser)
    parser.add_argument(
        "--working-size", type=non_negative, help="shorter side in pixels of the network's input; 0: full size"
    )
    parser.add_argument(
        "--max-pixels",
        type=positive,
        default=argparse.SUPPRESS,
        metavar="N",
        help="reject larger images before they are decoded (default: that of the node)",
    )
    parser.set_defaults(run=_run_image)


def _run_image(options: argparse.Namespace) -> int:
    from lowlight_enhance.tools.image import enhance_file

    capture = enhance_file(
        options.source,
        options.target,
        options.iso,
        options.exposure_s,
        options.model,
        options.working_size,
        options.threads,
        options.runtime,
        **({"max_pixels": options.max_pixels} if "max_pixels" in options else {}),
    )
    iso = "unknown" if capture.iso is None else f"{capture.iso:g}"
    exposure = "unknown" if capture.exposure_s is None else f"{capture.exposure_s:.4g} s"
    print(f"{options.target} (ISO {iso}, exposure {exposure})")
    return 0


def add_flicker(commands: Commands[argparse.ArgumentParser]) -> None:
    """Declare `lowlight flicker`."""
    parser = commands.add_parser("flicker", help="measure the flicker of brightness and colour")
    parser.add_argument("photographs", type=Path, nargs="+", metavar="PHOTO", help="well-lit photographs")
    parser.add_argument(
        "--size", type=size, default=(640, 480), metavar="WIDTHxHEIGHT", help="size of the frames (default: 640x480)"
    )
    parser.add_argument("--frames", type=positive, default=24, help="frames of each sequence (default: %(default)s)")
    parser.add_argument(
        "--rate", type=float, default=30.0, metavar="HZ", help="frames per second (default: %(default)g)"
    )
    parser.add_argument("--iso", type=float, default=3200.0, help="ISO of the simulated camera (default: %(default)g)")
    parser.add_argument("--stops", type=float, default=3.0, help="underexposure in stops (default: %(default)g)")
    parser.add_argument(
        "--step", type=float, default=1.0, metavar="STOPS", help="size of the exposure step (default: %(default)g)"
    )
    parser.add_argument(
        "--smoothing",
        type=float,
        metavar="SECONDS",
        help="time constant of the temporal smoothing to compare with none (default: that of the node)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the results to this file")
    add_model_options(parser)
    parser.set_defaults(run=_run_flicker)


def _run_flicker(options: argparse.Namespace) -> int:
    from lowlight_enhance.core.enhancement.temporal_smoothing import SMOOTHING_S
    from lowlight_enhance.core.files import write_text
    from lowlight_enhance.evaluation import flicker
    from lowlight_enhance.simulation.sequences import SequenceOptions

    width, height = options.size
    sequence_options = SequenceOptions(
        width, height, options.frames, options.rate, options.iso, options.stops, options.step
    )
    smoothing_s = SMOOTHING_S if options.smoothing is None else options.smoothing
    report = flicker.measure_flicker(
        options.photographs, sequence_options, smoothing_s, options.model, options.threads
    )
    print(report.table())
    if options.json:
        write_text(options.json, f"{report.to_json()}\n")
    return 0
