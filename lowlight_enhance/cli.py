"""`lowlight`: parse, call, print. What a command needs is imported when it runs, so ``--help`` is instant."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

from lowlight_enhance import __version__
from lowlight_enhance.core.errors import LowlightError

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130

EXTRAS = {
    "rclpy": "ros",
    "rcl_interfaces": "ros",
    "sensor_msgs": "ros",
    "std_msgs": "ros",
    "diagnostic_msgs": "ros",
    "lifecycle_msgs": "ros",
    "skimage": "demo",
    "torch": "train",
    "torchmetrics": "train",
    "onnx": "train",
    "onnxscript": "train",
    "yaml": "train",
    "tqdm": "train",
}
"""Modules that an installation without extras lacks, and the extra that brings each."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 2 after an error that the user can mend, 130 when interrupted."""
    options = build_parser().parse_args(arguments)
    try:
        code: int = options.run(options)
    except LowlightError as error:
        print(f"lowlight: {error}", file=sys.stderr)
        return EXIT_USER_ERROR
    except ModuleNotFoundError as error:
        extra = EXTRAS.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        remedy = f"pip install 'lowlight_enhance[{extra}]'"
        if extra == "ros":
            remedy += ", or source a ROS 2 installation"
        print(f"lowlight: '{options.command}' needs the Python module {error.name}: {remedy}", file=sys.stderr)
        return EXIT_USER_ERROR
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    return code


def build_parser() -> argparse.ArgumentParser:
    """The parser with every command; each sets ``run``, a function from the parsed options to an exit code."""
    parser = argparse.ArgumentParser(prog="lowlight", description="Make dark images usable.")
    parser.add_argument("--version", action="version", version=f"lowlight_enhance {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _add_image(commands)
    _add_bench(commands)
    _add_demo(commands)
    return parser


Commands = argparse._SubParsersAction  # argparse names the type of its command list only so


def _add_image(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("image", help="enhance one picture file")
    parser.add_argument("source", type=Path, metavar="DARK", help="picture to read")
    parser.add_argument("target", type=Path, metavar="OUT", help="picture to write; its suffix names the format")
    parser.add_argument("--iso", type=float, help="ISO of the exposure (default: from EXIF, else unknown)")
    parser.add_argument(
        "--exposure",
        type=seconds,
        metavar="SECONDS",
        dest="exposure_s",
        help="exposure time, e.g. 0.03 or 1/30 (default: from EXIF, else unknown)",
    )
    _add_model_options(parser)
    parser.add_argument("--working-size", type=natural, help="shorter side in pixels of the copy the network sees")
    parser.set_defaults(run=_run_image)


def _run_image(options: argparse.Namespace) -> int:
    from lowlight_enhance.offline.image import enhance_file

    capture = enhance_file(
        options.source,
        options.target,
        options.iso,
        options.exposure_s,
        options.model,
        options.working_size,
        options.threads,
    )
    iso = "unknown" if capture.iso is None else f"{capture.iso:g}"
    exposure = "unknown" if capture.exposure_s is None else f"{capture.exposure_s:.4g} s"
    print(f"{options.target} (ISO {iso}, exposure {exposure})")
    return 0


def _add_bench(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("bench", help="time every stage of a frame's way through the node")
    parser.add_argument(
        "--sizes",
        type=size,
        nargs="+",
        default=[(640, 480), (1280, 720)],
        metavar="WIDTHxHEIGHT",
        help="frame sizes (default: 640x480 1280x720)",
    )
    parser.add_argument("--rounds", type=positive, default=60, help="frames of each size (default: %(default)s)")
    _add_model_options(parser, default_threads=2)
    parser.set_defaults(run=_run_bench)


def _run_bench(options: argparse.Namespace) -> int:
    from lowlight_enhance.offline import bench

    bench.run(options.sizes, options.rounds, options.threads, options.model)
    return 0


def _add_demo(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("demo", help="camera, node and consumer as three ROS 2 processes, with figures")
    parser.add_argument("--out", type=Path, default=Path("out/demo"), help="folder to write (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=15.0, help="length of the run (default: %(default)g)")
    parser.set_defaults(run=_run_demo)


def _run_demo(options: argparse.Namespace) -> int:
    from lowlight_enhance.ros import demo

    return demo.run(options.out, options.seconds)


def _add_model_options(parser: argparse.ArgumentParser, default_threads: int | None = None) -> None:
    shown = default_threads or "ONNX Runtime decides"
    parser.add_argument("--model", type=Path, help="ONNX model file (default: the one that is shipped)")
    parser.add_argument("--threads", type=positive, default=default_threads, help=f"CPU threads (default: {shown})")


def seconds(text: str) -> float:
    """A time in seconds as photographers write it: ``0.03`` or ``1/30``."""
    try:
        return float(Fraction(text))
    except (ValueError, ZeroDivisionError, OverflowError):
        raise argparse.ArgumentTypeError(f"'{text}' is not a time in seconds, such as 0.03 or 1/30") from None


def size(text: str) -> tuple[int, int]:
    """(width, height) of a text such as ``640x480``."""
    width, _, height = text.partition("x")
    try:
        return positive(width), positive(height)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a size such as 640x480") from None


def positive(text: str) -> int:
    """A whole number of at least 1."""
    number = natural(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


def natural(text: str) -> int:
    """A whole number of at least 0."""
    try:
        number = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number") from None
    if number < 0:
        raise argparse.ArgumentTypeError("must be 0 or more")
    return number


if __name__ == "__main__":
    sys.exit(main())
