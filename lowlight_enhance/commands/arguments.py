"""Options that several commands share: argument types, network options, and parameters of the node as options."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lowlight_enhance.core.pipeline import PipelineConfig

Commands = argparse._SubParsersAction  # argparse has no public name for the type of a list of commands

PIPELINE_PARAMETERS: dict[str, tuple[str, type]] = {
    "profile": ("profile", str),
    "strength": ("strength", float),
    "bypass.threshold": ("bypass_above", float),
    "bypass.hysteresis": ("bypass_hysteresis", float),
    "temporal.time_constant": ("smoothing_s", float),
    "temporal.fusion": ("fusion", bool),
    "temporal.max_frames": ("fusion_max_frames", int),
    "output.encoding": ("output_encoding", str),
    "max_pixels": ("max_pixels", int),
    "metadata.sync_tolerance": ("metadata_tolerance_s", float),
    "metadata.max_age": ("metadata_max_age_s", float),
}
"""Field of ``PipelineConfig`` and type by the name of the node's parameter."""

METADATA_PARAMETERS: dict[str, tuple[str, type]] = {
    "metadata.exposure_unit": ("exposure_unit_s", float),
    "metadata.base_iso": ("base_iso", float),
    "metadata.unity_gain": ("gain_unity", float),
    "metadata.gain_min_db": ("gain_min_db", float),
    "metadata.gain_max_db": ("gain_max_db", float),
    "metadata.exposure_key": ("exposure_key", str),
    "metadata.gain_key": ("gain_key", str),
    "metadata.exposure_field": ("exposure_field", str),
    "metadata.exposure_field_unit": ("exposure_scale_s", float),
    "metadata.gain_field": ("gain_field", str),
    "metadata.gain_kind": ("gain_kind", str),
    "metadata.stamp_field": ("stamp_field", str),
    "metadata.frame_id": ("frame_id", str),
    "metadata.hardware_id": ("hardware_id", str),
    "metadata.ignore_under_auto_exposure": ("stale_under_auto_exposure", bool),
}
"""Field of ``MetadataSettings`` and type by the name of the node's parameter."""

MODEL_HELP = "name of a shipped model or path of an ONNX file (default: student_int8)"


def add_model_options(parser: argparse.ArgumentParser, threads: str = "the runtime decides") -> None:
    """Declare ``--model`` and ``--threads``."""
    parser.add_argument("--model", type=model, help=MODEL_HELP)
    parser.add_argument("--threads", type=positive, help=f"CPU threads (default: {threads})")


def add_runtime_option(parser: argparse.ArgumentParser) -> None:
    """Declare ``--runtime``."""
    parser.add_argument(
        "--runtime",
        choices=("onnxruntime", "openvino"),
        default="onnxruntime",
        help="library that runs the network; docs/runtimes.md compares them (default: %(default)s)",
    )


def add_network_options(parser: argparse.ArgumentParser) -> None:
    """Declare a group of options for the fields of ``NetworkSettings``."""
    network = parser.add_argument_group("network")
    network.add_argument("--model", type=model, help=MODEL_HELP)
    network.add_argument(
        "--runtime", choices=("onnxruntime", "openvino"), default="onnxruntime", help="library that runs the network"
    )
    network.add_argument(
        "--precision", choices=("float32", "bfloat16"), default="float32", help="arithmetic of OpenVINO"
    )
    network.add_argument(
        "--provider",
        action="append",
        dest="providers",
        help="execution provider of ONNX Runtime; repeatable, in order of preference",
    )
    network.add_argument("--threads", type=positive, help="CPU threads (default: the runtime decides)")
    network.add_argument(
        "--working-size", type=non_negative, metavar="PIXELS", help="shorter side of the network's input"
    )
    network.add_argument("--output-resolution", choices=("input", "model"), default="input", help="size of the output")


def network_settings(options: argparse.Namespace) -> dict[str, Any]:
    """Return the keyword arguments of ``NetworkSettings`` from the options of ``add_network_options``."""
    fields = ("model", "runtime", "precision", "threads", "working_size", "output_resolution")
    providers = {} if options.providers is None else {"providers": tuple(options.providers)}
    return {name: getattr(options, name) for name in fields} | providers


def add_node_parameters(parser: argparse.ArgumentParser, names: Iterable[str]) -> None:
    """Declare options with the names and meanings of parameters of the node, e.g. ``--bypass-threshold``.

    An option that is not given is absent from the parsed options, so that each default exists in one place.

    Args:
        parser: parser of the command.
        names: parameters, each in ``PIPELINE_PARAMETERS`` or ``METADATA_PARAMETERS``.
    """
    group = parser.add_argument_group("as the node's parameters of these names (docs/parameters.md)")
    for name in names:
        value_type = (PIPELINE_PARAMETERS | METADATA_PARAMETERS)[name][1]
        parsing: dict[str, Any] = {"action": argparse.BooleanOptionalAction}
        if value_type is not bool:
            parsing = {
                "type": positive if value_type is int else value_type,
                "metavar": "TEXT" if value_type is str else "NUMBER",
            }
        option = "--" + name.replace(".", "-").replace("_", "-")
        group.add_argument(option, dest=name, default=argparse.SUPPRESS, **parsing)


def pipeline_config(options: argparse.Namespace, iso: float | None, exposure_s: float | None) -> PipelineConfig:
    """Return the configuration from those options of ``add_node_parameters`` that were given.

    Args:
        options: parsed options of the command.
        iso: ISO of frames without metadata; None: unknown.
        exposure_s: exposure time of frames without metadata; None: unknown.

    Raises:
        LowlightError: a value is out of range.
    """
    from lowlight_enhance.core.metadata.readers import MetadataSettings
    from lowlight_enhance.core.pipeline import PipelineConfig
    from lowlight_enhance.tools.image import capture_from_options

    values = vars(options)
    metadata = {field: values[name] for name, (field, _) in METADATA_PARAMETERS.items() if name in values}
    pipeline = {field: values[name] for name, (field, _) in PIPELINE_PARAMETERS.items() if name in values}
    return PipelineConfig(
        **pipeline, fallback=capture_from_options(iso, exposure_s), metadata=MetadataSettings(**metadata)
    )


def seconds(text: str) -> float:
    """Parse a time in seconds, as a decimal or a fraction: ``0.03`` or ``1/30``."""
    try:
        return float(Fraction(text))
    except (ValueError, ZeroDivisionError, OverflowError):
        raise argparse.ArgumentTypeError(f"'{text}' is not a time in seconds, such as 0.03 or 1/30") from None


def model(text: str) -> Path:
    """Parse the name of a shipped model or a path; return the path of the file."""
    from lowlight_enhance.core.errors import ConfigError
    from lowlight_enhance.core.inference.model_zoo import find_model

    try:
        return find_model(text)
    except ConfigError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def size(text: str) -> tuple[int, int]:
    """Parse ``WIDTHxHEIGHT``; return (width, height)."""
    width, _, height = text.partition("x")
    try:
        return positive(width), positive(height)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a size such as 640x480") from None


def positive(text: str) -> int:
    """Parse an integer of at least 1."""
    number = non_negative(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


def non_negative(text: str) -> int:
    """Parse an integer of at least 0."""
    try:
        number = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number") from None
    if number < 0:
        raise argparse.ArgumentTypeError("must be 0 or more")
    return number
