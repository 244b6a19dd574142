"""NodeParams: every parameter of the node once, with its default, range, choices and description.

Reading and checking values needs no ROS; ``declare`` does what talks to a node.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, get_args

from lowlight_enhance.core.errors import ConfigError
from lowlight_enhance.core.imaging.compressed import FILE_FORMATS, JPEG_QUALITY
from lowlight_enhance.core.imaging.messages import OUTPUT_ENCODINGS
from lowlight_enhance.core.inference.model_zoo import DEFAULT, SHIPPED
from lowlight_enhance.core.inference.sessions import DEFAULT_PROVIDERS, Precision, Runtime
from lowlight_enhance.core.metadata.capture import GAIN_KINDS, CaptureMetadata
from lowlight_enhance.core.metadata.driver_parameters import DRIVERS, ParameterSource, parameter_source
from lowlight_enhance.core.metadata.readers import READERS, MetadataSettings, reader_of
from lowlight_enhance.core.pipeline import StreamConfig
from lowlight_enhance.ros.parameter_field import checked, param

_STREAM, _METADATA = StreamConfig(), MetadataSettings()


@dataclass(frozen=True)
class NodeParams:
    """Values of the node's parameters, checked.

    Raises:
        ConfigError: a value of the wrong type, outside its range or choices; names the parameter and what is allowed.
    """

    model: str = param(
        "", f"Path of an ONNX model file, or one that is shipped: {', '.join(SHIPPED)}; empty: {DEFAULT}."
    )
    providers: tuple[str, ...] = param(
        DEFAULT_PROVIDERS,
        "ONNX Runtime execution providers, in order of preference; one that does not start is left out, with a word.",
    )
    runtime: str = param("onnxruntime", "Library that runs the network.", choices=get_args(Runtime))
    precision: str = param(
        "float32", "Arithmetic of OpenVINO; bfloat16 where the processor has it.", choices=get_args(Precision)
    )
    threads: int = param(0, "CPU threads for the network; 0: the runtime decides.", limits=(0, 256))
    working_size: int = param(
        -1,
        "Shorter side in pixels of the copy that the network sees; 0: the frame's own, -1: as the model file says.",
        limits=(-1, 8192),
    )
    output_resolution: str = param(
        "input",
        "Size of the output: 'input' (the input's own) or 'model' (the network's, with camera_info rescaled).",
        choices=("input", "model"),
    )
    strength: float = param(
        _STREAM.strength,
        "How much of the enhancement is applied, from 0 (the input) to 1 (all of it).",
        limits=(0.0, 1.0),
    )
    bypass_above: float = param(
        _STREAM.bypass_above,
        "A frame of this mean brightness or more (0 to 255) passes through untouched; 0: none does.",
        limits=(0.0, 255.0),
    )
    bypass_hysteresis: float = param(
        _STREAM.bypass_hysteresis,
        "Frames pass untouched until one is darker than bypass_above by more than this.",
        limits=(0.0, 255.0),
    )
    smoothing_s: float = param(
        _STREAM.smoothing_s,
        "Time constant in seconds with which brightness and colour follow from frame to frame; 0: at once.",
        limits=(0.0, 10.0),
    )
    output_encoding: str = param(
        _STREAM.output_encoding,
        "Encoding of the output image; 'same': the input's channels at 8 bit.",
        choices=OUTPUT_ENCODINGS,
    )
    max_pixels: int = param(
        _STREAM.max_pixels,
        "Frames of more pixels than this are refused, so that a corrupt header cannot exhaust the memory.",
        limits=(1, 2**31 - 1),
    )
    image_transport: str = param(
        "raw",
        "Which images to take: 'raw', or 'compressed' (sensor_msgs/msg/CompressedImage on the topic /compressed).",
        choices=("raw", "compressed"),
    )
    compressed_output: str = param(
        "none",
        "Format of a compressed image to publish beside the raw one, on its topic /compressed.",
        choices=("none", *FILE_FORMATS),
        when="configure",
    )
    jpeg_quality: int = param(JPEG_QUALITY, "Quality of compressed_output as JPEG.", limits=(1, 100))
    lazy: bool = param(True, "Take no images while nobody listens to an output.")
    image_reliability: str = param(
        "auto",
        "QoS reliability of the image subscription; 'auto': reliable while every publisher offers it.",
        choices=("auto", "reliable", "best_effort"),
    )
    metadata_type: str = param(
        "",
        f"ROS type of the capture-metadata topic: {', '.join(READERS)}, or any with metadata_exposure_field or "
        "metadata_gain_field; empty: none, the defaults below are used.",
    )
    metadata_tolerance_s: float = param(
        _STREAM.metadata_tolerance_s,
        "Largest difference in seconds between the stamps of an image and of its metadata.",
        limits=(0.0, 10.0),
    )
    metadata_wait_s: float = param(
        0.0,
        "Longest time in seconds that an image waits for metadata which its driver sends after it; 0: none. Keep it "
        "below the time between two frames.",
        limits=(0.0, 0.5),
    )
    metadata_max_age_s: float = param(
        _STREAM.metadata_max_age_s,
        "Without metadata within the tolerance, the last one is used while it is at most this many seconds old.",
        limits=(0.0, 3600.0),
    )
    default_iso: float = param(0.0, "ISO where no metadata gives one; 0: unknown.", limits=(0.0, 1e7))
    default_exposure_s: float = param(
        0.0, "Exposure time in seconds where no metadata gives one; 0: unknown.", limits=(0.0, 86400.0)
    )
    metadata_exposure_unit_s: float = param(
        _METADATA.exposure_unit_s,
        "Seconds in one unit of the exposure value of JSON metadata; 1e-4 for RealSense colour.",
        limits=(1e-9, 1.0),
    )
    metadata_base_iso: float = param(_METADATA.base_iso, "ISO of the sensor at unity gain.", limits=(1.0, 1e6))
    metadata_gain_unity: float = param(
        _METADATA.gain_unity,
        "Reading of a device-relative gain at which the sensor amplifies by one.",
        limits=(1e-6, 1e6),
    )
    metadata_gain_min_db: float = param(
        _METADATA.gain_min_db, "Gain in dB that a normalised gain of 0 stands for (pylon).", limits=(-200.0, 200.0)
    )
    metadata_gain_max_db: float = param(
        _METADATA.gain_max_db,
        "Gain in dB that a normalised gain of 1 stands for (pylon); equal to metadata_gain_min_db: ISO unknown.",
        limits=(-200.0, 200.0),
    )
    metadata_exposure_key: str = param(
        _METADATA.exposure_key, "JSON or diagnostics key of the exposure value; empty: the type's own."
    )
    metadata_gain_key: str = param(
        _METADATA.gain_key, "JSON or diagnostics key of the gain value; empty: the type's own."
    )
    metadata_exposure_field: str = param(
        _METADATA.exposure_field,
        "Path of the exposure value in a message of any type, like status[0].values[ExposureTime].value; empty: as "
        "metadata_type says.",
    )
    metadata_exposure_scale_s: float = param(
        _METADATA.exposure_scale_s,
        "Seconds in one unit of the value at metadata_exposure_field.",
        limits=(1e-12, 1.0),
    )
    metadata_gain_field: str = param(
        _METADATA.gain_field, "Path of the gain value in a message of any type; empty: as metadata_type says."
    )
    metadata_gain_kind: str = param(
        _METADATA.gain_kind, "What the value at metadata_gain_field counts.", choices=GAIN_KINDS
    )
    metadata_stamp_field: str = param(
        _METADATA.stamp_field,
        "Path of the stamp beside metadata_exposure_field and metadata_gain_field; empty: the message has none.",
    )
    metadata_frame_id: str = param(
        _METADATA.frame_id, "Only metadata with this frame_id is this camera's; empty: any."
    )
    metadata_hardware_id: str = param(
        _METADATA.hardware_id, "Only diagnostics with this hardware_id are this camera's; empty: any."
    )
    metadata_stale_under_auto_exposure: bool = param(
        _METADATA.stale_under_auto_exposure,
        "Take exposure and gain as unknown while the camera says that auto exposure is on (RealSense colour and the "
        "ROS parameters of camera nodes repeat the manual settings then).",
    )
    camera_node: str = param(
        "", "Node whose ROS parameters tell exposure and gain, for drivers that publish none; empty: none."
    )
    camera_driver: str = param(
        "", "Its driver, of which the names below are known; empty: another.", choices=("", *DRIVERS)
    )
    camera_exposure: str = param("", "Name of its parameter of the exposure time; empty: the driver's.")
    camera_exposure_unit_s: float = param(
        0.0, "Seconds in one unit of it; 0: the driver's, else a microsecond.", limits=(0.0, 1.0)
    )
    camera_gain: str = param("", "Name of its parameter of the gain; empty: the driver's.")
    camera_gain_kind: str = param("", "What that counts; empty: the driver's, else linear.", choices=("", *GAIN_KINDS))
    camera_digital_gain: str = param("", "Name of a factor beside that gain; empty: the driver's.")
    camera_auto: str = param(
        "", "Name of what switches automatic exposure and gain, under which both are unknown; empty: the driver's."
    )
    camera_manual: str = param("", "Value of that while they are off; empty: the driver's, else false.")
    autostart: bool = param(True, "Configure and activate at start, without a lifecycle manager.", when="start")
    malloc_tuning: bool = param(
        True,
        "Keep freed image buffers in the process instead of returning them to the kernel (glibc only). "
        "LOWLIGHT_MALLOC_TUNING=0 switches this off, and the one arena that all threads share from the start.",
        when="start",
    )

    def __post_init__(self) -> None:
        for entry in fields(self):
            object.__setattr__(self, entry.name, checked(entry, getattr(self, entry.name)))
        self._check_metadata()
        if self.camera_node:
            self.camera_source()

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
    def model_working_size(self) -> int | None:
        """The working size; ``None``: as the model file says."""
        return None if self.working_size < 0 else self.working_size

    def stream_config(self) -> StreamConfig:
        """What ``FrameStream`` needs of these parameters."""
        same = {entry.name: getattr(self, entry.name) for entry in fields(StreamConfig) if entry.name in NAMES}
        fallback = CaptureMetadata.of(self.default_iso, self.default_exposure_s)
        return StreamConfig(**same, fallback=fallback, metadata=self.metadata_settings())

    def camera_source(self) -> ParameterSource:
        """Which parameters of ``camera_node`` count.

        Raises:
            ConfigError: they say neither exposure nor gain.
        """
        try:
            return parameter_source(
                self.camera_driver,
                exposure=self.camera_exposure,
                exposure_unit_s=self.camera_exposure_unit_s,
                gain=self.camera_gain,
                gain_kind=self.camera_gain_kind,
                digital_gain=self.camera_digital_gain,
                auto=self.camera_auto,
                manual=self.camera_manual,
            )
        except ConfigError as error:
            raise ConfigError(f"parameter 'camera_node' or one of 'camera_*': {error}") from error

    def metadata_settings(self) -> MetadataSettings:
        """The ``metadata_`` parameters as the readers take them."""
        prefix = "metadata_"
        return MetadataSettings(
            **{entry.name: getattr(self, prefix + entry.name) for entry in fields(MetadataSettings)}
        )


NAMES = tuple(entry.name for entry in fields(NodeParams))

MODEL_PARAMETERS = ("model", "runtime", "precision", "providers", "threads", "output_resolution")
"""A change of any of these loads a model."""

CAMERA_PARAMETERS = tuple(name for name in NAMES if name.startswith(("camera_", "metadata_")))
"""What the parameters of a camera's node are read by."""


def nearest(name: str) -> str:
    """A hint at the known parameter that ``name`` resembles, to append to a message; empty where none does."""
    close = difflib.get_close_matches(name, NAMES, 1)
    return f"; did you mean '{close[0]}'?" if close else ""
