"""What the options of several commands share: types of values, the model's options."""

from __future__ import annotations

import argparse
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lowlight_enhance.core.pipeline import PipelineConfig

Commands = argparse._SubParsersAction  # argparse names the type of its command list only so

PIPELINE_OPTIONS: dict[str, type] = {
    "strength": float,
    "bypass_above": float,
    "bypass_hysteresis": float,
    "smoothing_s": float,
    "output_encoding": str,
    "max_pixels": int,
    "metadata_tolerance_s": float,
    "metadata_max_age_s": float,
}
"""Fields of ``PipelineConfig`` that are options by their names."""

METADATA_OPTIONS: dict[str, type] = {
    "exposure_unit_s": float,
    "base_iso": float,
    "gain_unity": float,
    "gain_min_db": float,
    "gain_max_db": float,
    "exposure_key": str,
    "gain_key": str,
    "exposure_field": str,
    "exposure_scale_s": float,
    "gain_field": str,
    "gain_kind": str,
    "stamp_field": str,
    "frame_id": str,
    "hardware_id": str,
    "stale_under_auto_exposure": bool,
}
"""Fields of ``MetadataSettings`` that are options by their names behind ``metadata_``."""

EXIT_LEFT_OUT = 1
EXIT_USER_ERROR = 2

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


def add_network_options(parser: argparse.ArgumentParser) -> None:
    """A group with the fields of ``NetworkSettings``."""
    network = parser.add_argument_group("network")
    network.add_argument("--model", type=model, help=MODEL_HELP)
    network.add_argument("--runtime", choices=("onnxruntime", "openvino"), default="onnxruntime")
    network.add_argument("--precision", choices=("float32", "bfloat16"), default="float32", help="of OpenVINO")
    network.add_argument(
        "--provider", action="append", dest="providers", help="of ONNX Runtime; repeatable, in order of preference"
    )
    network.add_argument("--threads", type=positive, help="CPU threads (default: the runtime decides)")
    network.add_argument(
        "--working-size", type=natural, metavar="PIXELS", help="shorter side of the copy that the network sees"
    )
    network.add_argument("--output-resolution", choices=("input", "model"), default="input", help="size of the output")


def network_settings(options: argparse.Namespace) -> dict[str, Any]:
    """Keywords of ``NetworkSettings`` that the options of ``add_network_options`` give."""
    fields = ("model", "runtime", "precision", "threads", "working_size", "output_resolution")
    providers = {} if options.providers is None else {"providers": tuple(options.providers)}
    return {name: getattr(options, name) for name in fields} | providers


def add_fields(group: argparse._ArgumentGroup, names: dict[str, type], prefix: str) -> None:
    """An option for each; absent from the parsed options where it is not given, so that defaults exist once."""
    for name, kind in names.items():
        option = f"--{prefix}{name}".replace("_", "-")
        how: dict[str, Any] = {"action": argparse.BooleanOptionalAction}
        if kind is not bool:
            how = {"type": positive if kind is int else kind, "metavar": "TEXT" if kind is str else "NUMBER"}
        group.add_argument(option, dest=prefix + name, default=argparse.SUPPRESS, **how)


def seconds(text: str) -> float:
    """A time in seconds as photographers write it: ``0.03`` or ``1/30``."""
    try:
        return float(Fraction(text))
    except (ValueError, ZeroDivisionError, OverflowError):
        raise argparse.ArgumentTypeError(f"'{text}' is not a time in seconds, such as 0.03 or 1/30") from None


def model(text: str) -> Path:
    """The file of a shipped model's name, or of a path."""
    from lowlight_enhance.core.errors import ConfigError
    from lowlight_enhance.core.inference.model_zoo import find_model

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


def pipeline_config(options: argparse.Namespace, iso: float | None, exposure_s: float | None) -> PipelineConfig:
    """What those of ``PIPELINE_OPTIONS`` and ``METADATA_OPTIONS`` say that a command has and was given.

    Args:
        options: of the command.
        iso: where nothing else tells it.
        exposure_s: likewise.

    Raises:
        LowlightError: a value out of range.
    """
    from lowlight_enhance.core.metadata.readers import MetadataSettings
    from lowlight_enhance.core.pipeline import PipelineConfig
    from lowlight_enhance.tools.image import capture_from_options

    given = vars(options)
    metadata = MetadataSettings(**{k: given[f"metadata_{k}"] for k in METADATA_OPTIONS if f"metadata_{k}" in given})
    stream = {name: given[name] for name in PIPELINE_OPTIONS if name in given}
    return PipelineConfig(**stream, fallback=capture_from_options(iso, exposure_s), metadata=metadata)
