"""What the options of several commands share: types of values, the model's options."""

from __future__ import annotations

import argparse
from fractions import Fraction
from pathlib import Path

Commands = argparse._SubParsersAction  # argparse names the type of its command list only so

MODEL_HELP = "name of a shipped model or path of an ONNX file (default: student_int8)"


def add_model_options(parser: argparse.ArgumentParser, threads: str = "the runtime decides") -> None:
    """``--model`` and ``--threads``."""
    parser.add_argument("--model", type=model, help=MODEL_HELP)
    parser.add_argument("--threads", type=positive, help=f"CPU threads (default: {threads})")


def add_runtime_option(parser: argparse.ArgumentParser) -> None:
    """``--runtime``."""
    parser.add_argument(
        "--runtime",
        choices=("onnxruntime", "openvino"),
        default="onnxruntime",
        help="library that runs the network; docs/runtimes.md compares them (default: %(default)s)",
    )


def seconds(text: str) -> float:
    """A time in seconds as photographers write it: ``0.03`` or ``1/30``."""
    try:
        return float(Fraction(text))
    except (ValueError, ZeroDivisionError, OverflowError):
        raise argparse.ArgumentTypeError(f"'{text}' is not a time in seconds, such as 0.03 or 1/30") from None


def model(text: str) -> Path:
    """The file of a shipped model's name, or of a path."""
    from lowlight_enhance.core.errors import ConfigError
    from lowlight_enhance.core.shipped import find_model

    try:
        return find_model(text)
    except ConfigError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


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
