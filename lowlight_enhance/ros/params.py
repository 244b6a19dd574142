"""NodeParams: every parameter of the node once, with its default, range, choices and description.

Reading and checking values needs no ROS; ``declare`` does what talks to a node.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args

from lowlight_enhance.core.capture import GAIN_KINDS, CaptureMetadata
from lowlight_enhance.core.compressed import FILE_FORMATS, JPEG_QUALITY
from lowlight_enhance.core.errors import ConfigError
from lowlight_enhance.core.image_messages import OUTPUT_ENCODINGS
from lowlight_enhance.core.metadata_messages import READERS, MetadataSettings, reader_of
from lowlight_enhance.core.sessions import DEFAULT_PROVIDERS, Precision, Runtime
from lowlight_enhance.core.stream import StreamConfig

_STREAM, _METADATA = StreamConfig(), MetadataSettings()

Value = bool | int | float | str | tuple[str, ...]


When = Literal["live", "configure", "start"]
"""A parameter may be changed at any time, while the node is unconfigured, or not after its start."""


def _param(
    default: Value,
    description: str,
    *,
    limits: tuple[float, float] | None = None,
    choices: tuple[str, ...] = (),
    when: When = "live",
) -> Any:
    """A field that is a ROS parameter; ``limits`` are inclusive."""
    metadata = {"description": description, "limits": limits, "choices": choices, "when": when}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class NodeParams:
    """Values of the node's parameters, checked.

    Raises:
        ConfigError: a value of the wrong type, outside its range or choices; names the parameter and what is allowed.
    """

    model: str = _param("", "Path of the ONNX model file; empty: the model shipped with the package.")
    providers: tuple[str, ...] = _param(
        DEFAULT_PROVIDERS,
        "ONNX Runtime execution providers, in order of preference; one that does not start is left out, with a word.",
    )
    runtime: str = _param("onnxruntime", "Library that runs the network.", choices=get_args(Runtime))
    precision: str = _param(
        "float32", "Arithmetic of OpenVINO; bfloat16 where the processor has it.", choices=get_args(Precision)
    )
    threads: int = _param(0, "CPU threads for the network; 0: the runtime decides.", limits=(0, 256))
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
    strength: float = _param(
        1.0, "How much of the enhancement is applied, from 0 (the input) to 1 (all of it).", limits=(0.0, 1.0)
    )
    bypass_above: float = _param(
        0.0,
        "A frame of this mean brightness or more (0 to 255) passes through untouched; 0: none does.",
        limits=(0.0, 255.0),
    )
    bypass_hysteresis: float = _param(
        10.0, "Frames pass untouched until one is darker than bypass_above by more than this.", limits=(0.0, 255.0)
    )
    smoothing_s: float = _param(
        0.0,
        "Time constant in seconds with which brightness and colour follow from frame to frame; 0: at once.",
        limits=(0.0, 10.0),
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
    image_transport: str = _param(
        "raw",
        "Which images to take: 'raw', or 'compressed' (sensor_msgs/msg/CompressedImage on the topic /compressed).",
        choices=("raw", "compressed"),
    )
    compressed_output: str = _param(
        "none",
        "Format of a compressed image to publish beside the raw one, on its topic /compressed.",
        choices=("none", *FILE_FORMATS),
        when="configure",
    )
    jpeg_quality: int = _param(JPEG_QUALITY, "Quality of compressed_output as JPEG.", limits=(1, 100))
    lazy: bool = _param(True, "Take no images while nobody listens to an output.")
    image_reliability: str = _param(
        "auto",
        "QoS reliability of the image subscription; 'auto': reliable while every publisher offers it.",
        choices=("auto", "reliable", "best_effort"),
    )
    metadata_type: str = _param(
        "",
        f"ROS type of the capture-metadata topic: {', '.join(READERS)}, or any with metadata_exposure_field or "
        "metadata_gain_field; empty: none, the defaults below are used.",
    )
    metadata_tolerance_s: float = _param(
        _STREAM.metadata_tolerance_s,
        "Largest difference in seconds between the stamps of an image and of its metadata.",
        limits=(0.0, 10.0),
    )
    metadata_wait_s: float = _param(
        0.0,
        "Longest time in seconds that an image waits for metadata which its driver sends after it; 0: none. Keep it "
        "below the time between two frames.",
        limits=(0.0, 0.5),
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
    metadata_gain_min_db: float = _param(
        _METADATA.gain_min_db, "Gain in dB that a normalised gain of 0 stands for (pylon).", limits=(-200.0, 200.0)
    )
    metadata_gain_max_db: float = _param(
        _METADATA.gain_max_db,
        "Gain in dB that a normalised gain of 1 stands for (pylon); equal to metadata_gain_min_db: ISO unknown.",
        limits=(-200.0, 200.0),
    )
    metadata_exposure_key: str = _param(
        _METADATA.exposure_key, "JSON or diagnostics key of the exposure value; empty: the type's own."
    )
    metadata_gain_key: str = _param(
        _METADATA.gain_key, "JSON or diagnostics key of the gain value; empty: the type's own."
    )
    metadata_exposure_field: str = _param(
        _METADATA.exposure_field,
        "Path of the exposure value in a message of any type, like status[0].values[ExposureTime].value; empty: as "
        "metadata_type says.",
    )
    metadata_exposure_scale_s: float = _param(
        _METADATA.exposure_scale_s,
        "Seconds in one unit of the value at metadata_exposure_field.",
        limits=(1e-12, 1.0),
    )
    metadata_gain_field: str = _param(
        _METADATA.gain_field, "Path of the gain value in a message of any type; empty: as metadata_type says."
    )
    metadata_gain_kind: str = _param(
        _METADATA.gain_kind, "What the value at metadata_gain_field counts.", choices=GAIN_KINDS
    )
    metadata_stamp_field: str = _param(
        _METADATA.stamp_field,
        "Path of the stamp beside metadata_exposure_field and metadata_gain_field; empty: the message has none.",
    )
    metadata_frame_id: str = _param(
        _METADATA.frame_id, "Only metadata with this frame_id is this camera's; empty: any."
    )
    metadata_hardware_id: str = _param(
        _METADATA.hardware_id, "Only diagnostics with this hardware_id are this camera's; empty: any."
    )
    metadata_stale_under_auto_exposure: bool = _param(
        _METADATA.stale_under_auto_exposure,
        "Take exposure and gain as unknown while the camera says that auto exposure is on (RealSense colour and the "
        "ROS parameters of camera nodes repeat the manual settings then).",
    )
    autostart: bool = _param(True, "Configure and activate at start, without a lifecycle manager.", when="start")
    malloc_tuning: bool = _param(
        True,
        "Keep freed image buffers in the process instead of returning them to the kernel (glibc only; also switched "
        "off by LOWLIGHT_MALLOC_TUNING=0).",
        when="start",
    )

    def __post_init__(self) -> None:
        for entry in fields(self):
            object.__setattr__(self, entry.name, _checked(entry.name, getattr(self, entry.name)))
        self._check_metadata()

    def _check_metadata(self) -> None:
        try:
            settings = self.metadata_settings()
            if self.metadata_type:
                reader_of(self.metadata_type, settings)
        except ConfigError as error:
            raise ConfigError(f"parameter 'metadata_type' or one of 'metadata_*': {error}") from error

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
        same = {entry.name: getattr(self, entry.name) for entry in fields(StreamConfig) if entry.name in _FIELDS}
        fallback = CaptureMetadata.of(self.default_iso, self.default_exposure_s)
        return StreamConfig(**same, fallback=fallback, metadata=self.metadata_settings())

    def metadata_settings(self) -> MetadataSettings:
        """The ``metadata_`` parameters as the readers take them."""
        prefix = "metadata_"
        return MetadataSettings(
            **{entry.name: getattr(self, prefix + entry.name) for entry in fields(MetadataSettings)}
        )


NAMES = tuple(entry.name for entry in fields(NodeParams))
_FIELDS = {entry.name: entry for entry in fields(NodeParams)}

MODEL_PARAMETERS = ("model", "runtime", "precision", "providers", "threads", "output_resolution")
"""A change of any of these loads a model."""


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
