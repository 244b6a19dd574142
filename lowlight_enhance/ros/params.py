"""NodeParams: every parameter of the node once, with its default, range, choices and description.

Reading and checking values needs no ROS; only ``declare`` talks to a node.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from lowlight_enhance.core.capture import CaptureMetadata
from lowlight_enhance.core.errors import ConfigError
from lowlight_enhance.core.image_messages import OUTPUT_ENCODINGS
from lowlight_enhance.core.metadata_messages import READERS, MetadataSettings
from lowlight_enhance.core.stream import StreamConfig

_STREAM, _METADATA = StreamConfig(), MetadataSettings()

Value = bool | int | float | str | tuple[str, ...]


def _param(
    default: Value,
    description: str,
    *,
    limits: tuple[float, float] | None = None,
    choices: tuple[str, ...] = (),
    read_only: bool = False,
) -> Any:
    """A field that is a ROS parameter; ``limits`` are inclusive, ``read_only`` means fixed when the node starts."""
    metadata = {"description": description, "limits": limits, "choices": choices, "read_only": read_only}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class NodeParams:
    """Values of the node's parameters, checked.

    Read when the node configures; ``read_only`` ones only when it starts.

    Raises:
        ConfigError: a value of the wrong type, outside its range or choices; names the parameter and what is allowed.
    """

    model: str = _param("", "Path of the ONNX model file; empty: the model shipped with the package.")
    providers: tuple[str, ...] = _param(
        ("CPUExecutionProvider",), "ONNX Runtime execution providers, in order of preference."
    )
    threads: int = _param(0, "CPU threads for the network; 0: ONNX Runtime decides.", limits=(0, 256))
    working_size: int = _param(
        -1,
        "Shorter side in pixels of the copy that the network sees; 0: the frame's own, -1: as the model file says.",
        limits=(-1, 8192),
    )
    output_resolution: str = _param(
        "input",
        "Size of the output: 'input' (the input's own) or 'model' (the network's, with camera_info rescaled).",
        choices=("input", "model"),
    )
    output_encoding: str = _param(
        _STREAM.output_encoding,
        "Encoding of the output image; 'same': the input's channels at 8 bit.",
        choices=OUTPUT_ENCODINGS,
    )
    max_pixels: int = _param(
        _STREAM.max_pixels,
        "Frames of more pixels than this are refused, so that a corrupt header cannot exhaust the memory.",
        limits=(1, 2**31 - 1),
    )
    image_reliability: str = _param(
        "auto",
        "QoS reliability of the image subscription; 'auto': reliable while every publisher offers it.",
        choices=("auto", "reliable", "best_effort"),
    )
    metadata_type: str = _param(
        "",
        "ROS type of the capture-metadata topic; empty: none, the defaults below are used.",
        choices=("", *READERS),
    )
    metadata_tolerance_s: float = _param(
        _STREAM.metadata_tolerance_s,
        "Largest difference in seconds between the stamps of an image and of its metadata.",
        limits=(0.0, 10.0),
    )
    metadata_max_age_s: float = _param(
        _STREAM.metadata_max_age_s,
        "Without metadata within the tolerance, the last one is used while it is at most this many seconds old.",
        limits=(0.0, 3600.0),
    )
    default_iso: float = _param(0.0, "ISO where no metadata gives one; 0: unknown.", limits=(0.0, 1e7))
    default_exposure_s: float = _param(
        0.0, "Exposure time in seconds where no metadata gives one; 0: unknown.", limits=(0.0, 86400.0)
    )
    metadata_exposure_unit_s: float = _param(
        _METADATA.exposure_unit_s,
        "Seconds in one unit of the exposure value of JSON metadata; 1e-4 for RealSense colour.",
        limits=(1e-9, 1.0),
    )
    metadata_base_iso: float = _param(_METADATA.base_iso, "ISO of the sensor at unity gain.", limits=(1.0, 1e6))
    metadata_gain_unity: float = _param(
        _METADATA.gain_unity,
        "Reading of a device-relative gain at which the sensor amplifies by one.",
        limits=(1e-6, 1e6),
    )
    metadata_exposure_key: str = _param(
        _METADATA.exposure_key, "JSON or diagnostics key of the exposure value; empty: the type's own."
    )
    metadata_gain_key: str = _param(
        _METADATA.gain_key, "JSON or diagnostics key of the gain value; empty: the type's own."
    )
    metadata_frame_id: str = _param(
        _METADATA.frame_id, "Only metadata with this frame_id is this camera's; empty: any."
    )
    metadata_hardware_id: str = _param(
        _METADATA.hardware_id, "Only diagnostics with this hardware_id are this camera's; empty: any."
    )
    metadata_stale_under_auto_exposure: bool = _param(
        _METADATA.stale_under_auto_exposure,
        "Take the exposure as unknown while the camera says that auto exposure is on (RealSense colour repeats the "
        "manual setting then).",
    )
    autostart: bool = _param(True, "Configure and activate at start, without a lifecycle manager.", read_only=True)
    malloc_tuning: bool = _param(
        True,
        "Keep freed image buffers in the process instead of returning them to the kernel (glibc only; also switched "
        "off by LOWLIGHT_MALLOC_TUNING=0).",
        read_only=True,
    )

    def __post_init__(self) -> None:
        for entry in fields(self):
            object.__setattr__(self, entry.name, _checked(entry.name, getattr(self, entry.name)))

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> NodeParams:
        """The parameters with ``values`` in place of their defaults.

        Raises:
            ConfigError: an unknown name (names the nearest known one), or a value that is not allowed.
        """
        for name in values:
            if name not in NAMES:
                raise ConfigError(f"unknown parameter '{name}'{nearest(name)}")
        return cls(**values)

    @property
    def model_path(self) -> Path | None:
        """The model file; ``None``: the shipped one."""
        return Path(self.model).expanduser() if self.model else None

    def stream_config(self) -> StreamConfig:
        """What ``FrameStream`` needs of these parameters."""
        return StreamConfig(
            metadata_tolerance_s=self.metadata_tolerance_s,
            metadata_max_age_s=self.metadata_max_age_s,
            fallback=CaptureMetadata.of(self.default_iso, self.default_exposure_s),
            metadata=self.metadata_settings(),
            output_encoding=self.output_encoding,
            max_pixels=self.max_pixels,
        )

    def metadata_settings(self) -> MetadataSettings:
        """The ``metadata_`` parameters as the readers take them."""
        prefix = "metadata_"
        return MetadataSettings(
            **{entry.name: getattr(self, prefix + entry.name) for entry in fields(MetadataSettings)}
        )


NAMES = tuple(entry.name for entry in fields(NodeParams))
_FIELDS = {entry.name: entry for entry in fields(NodeParams)}


def nearest(name: str) -> str:
    """A hint at the known parameter that ``name`` resembles, to append to a message; empty where none does."""
    close = difflib.get_close_matches(name, NAMES, 1)
    return f"; did you mean '{close[0]}'?" if close else ""


def _checked(name: str, value: Any) -> Any:
    entry = _FIELDS[name]
    kind: Any = type(entry.default)
    if kind is tuple and isinstance(value, (list, tuple)) and value and all(isinstance(part, str) for part in value):
        value = tuple(value)
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind:
        raise ConfigError(f"parameter '{name}': {value!r} is no {_KINDS[kind]}. {entry.metadata['description']}")
    limits, choices = entry.metadata["limits"], entry.metadata["choices"]
    if limits and not (math.isfinite(value) and limits[0] <= value <= limits[1]):
        raise ConfigError(f"parameter '{name}': {value} is outside {limits[0]:g} to {limits[1]:g}")
    if choices and value not in choices:
        raise ConfigError(f"parameter '{name}': '{value}' is none of {', '.join(map(repr, choices))}")
    return value


_KINDS = {
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    tuple: "list of one or more strings",
}


def declare(node: Any) -> None:
    """Declare every parameter on a rclpy node, with its descriptor.

    A number may be given as an integer (``default_iso: 3200``), which rclpy refuses for a statically typed double:
    hence dynamic typing there, and the check of the type in ``read``.

    Raises:
        ConfigError: the value given at start has the wrong type or is out of range.
    """
    from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
    from rclpy.exceptions import ParameterException

    for name, entry in _FIELDS.items():
        limits, choices, default = entry.metadata["limits"], entry.metadata["choices"], entry.default
        descriptor = ParameterDescriptor(
            description=entry.metadata["description"],
            read_only=entry.metadata["read_only"],
            dynamic_typing=isinstance(default, float),
        )
        if choices:
            descriptor.additional_constraints = "one of " + ", ".join(map(repr, choices))
        if limits and isinstance(default, float):
            low, high = limits
            descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=high)]
        elif limits:
            low, high = limits
            descriptor.integer_range = [IntegerRange(from_value=int(low), to_value=int(high))]
        try:
            node.declare_parameter(name, list(default) if isinstance(default, tuple) else default, descriptor)
        except ParameterException as error:
            raise ConfigError(f"parameter '{name}': {error}. {entry.metadata['description']}") from error


def read(node: Any) -> NodeParams:
    """The values that the node's parameters have now.

    Raises:
        ConfigError: a value that is not allowed.
    """
    return NodeParams.of({name: node.get_parameter(name).value for name in NAMES})
