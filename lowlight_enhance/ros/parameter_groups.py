"""The grouped parameters of the node, such as ``metadata.type``, and their conversion to the package's settings.

Times are in seconds unless the description says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass

from lowlight_enhance.core.enhancement.temporal_fusion import MAX_FRAMES
from lowlight_enhance.core.errors import ConfigError
from lowlight_enhance.core.imaging.compressed import FILE_FORMATS, JPEG_QUALITY
from lowlight_enhance.core.imaging.messages import OUTPUT_ENCODINGS
from lowlight_enhance.core.metadata.capture import GAIN_KINDS, CaptureMetadata
from lowlight_enhance.core.metadata.driver_parameters import DRIVERS, ParameterSource, parameter_source
from lowlight_enhance.core.metadata.readers import READERS, MetadataSettings, reader_for_type
from lowlight_enhance.core.pipeline import PipelineConfig
from lowlight_enhance.ros.parameter_spec import parameter

_CONFIG, _METADATA = PipelineConfig(), MetadataSettings()


@dataclass(frozen=True)
class OutputParameters:
    """``output.*``: what is published."""

    encoding: str = parameter(
        _CONFIG.output_encoding,
        "Encoding of the output image. 'same': the channels of the input, with 8 bits each.",
        choices=OUTPUT_ENCODINGS,
    )
    resolution: str = parameter(
        "input",
        "Size of the output image. 'input': the size of the input. 'model': the size that the network works at; "
        "camera_info is rescaled.",
        choices=("input", "model"),
    )
    compressed_format: str = parameter(
        "none",
        "Format of the compressed image that is published on <output topic>/compressed. 'none': no such topic.",
        choices=("none", *FILE_FORMATS),
        changeable="unconfigured",
    )
    jpeg_quality: int = parameter(JPEG_QUALITY, "JPEG quality of the compressed image.", limits=(1, 100))


@dataclass(frozen=True)
class BypassParameters:
    """``bypass.*``: frames that are bright enough to stay unchanged."""

    threshold: float = parameter(
        _CONFIG.bypass_above,
        "Mean brightness (0 to 255) from which a frame is published unchanged. 0: every frame is enhanced.",
        limits=(0.0, 255.0),
    )
    hysteresis: float = parameter(
        _CONFIG.bypass_hysteresis,
        "How far (0 to 255) the brightness must drop below bypass.threshold before frames are enhanced again.",
        limits=(0.0, 255.0),
    )


@dataclass(frozen=True)
class TemporalParameters:
    """``temporal.*``: use of earlier frames."""

    fusion: bool = parameter(
        _CONFIG.fusion,
        "Average each frame with the frames before it, aligned by the motion of the camera. The network receives the "
        "level of the remaining noise.",
    )
    max_frames: int = parameter(
        _CONFIG.fusion_max_frames,
        "Number of frames that temporal.fusion averages: a new frame has a weight of at least 1 / max_frames.",
        limits=(1, MAX_FRAMES),
    )
    time_constant: float = parameter(
        _CONFIG.smoothing_s,
        "Time constant in seconds of the filter that smooths brightness and colour over frames. 0: no filter.",
        limits=(0.0, 10.0),
    )


@dataclass(frozen=True)
class MetadataParameters:
    """``metadata.*``: where ISO and exposure time of a frame come from, and how a driver's message is read."""

    type: str = parameter(
        "",
        f"ROS type of the capture metadata topic: {', '.join(READERS)}, or any other type if metadata.exposure_field "
        "or metadata.gain_field is set. Empty: no metadata topic.",
    )
    sync_tolerance: float = parameter(
        _CONFIG.metadata_tolerance_s,
        "Largest difference in seconds between the stamps of an image and of its metadata.",
        limits=(0.0, 10.0),
    )
    max_wait: float = parameter(
        0.0,
        "Longest time in seconds that an image waits for metadata that the driver publishes after it. 0: images do "
        "not wait. Keep it below the frame period.",
        limits=(0.0, 0.5),
    )
    max_age: float = parameter(
        _CONFIG.metadata_max_age_s,
        "Age in seconds up to which the last metadata is used for an image that has none within "
        "metadata.sync_tolerance.",
        limits=(0.0, 3600.0),
    )
    default_iso: float = parameter(0.0, "ISO of frames without metadata. 0: unknown.", limits=(0.0, 1e7))
    default_exposure: float = parameter(
        0.0, "Exposure time in seconds of frames without metadata. 0: unknown.", limits=(0.0, 86400.0)
    )
    base_iso: float = parameter(_METADATA.base_iso, "ISO of the sensor at unity gain.", limits=(1.0, 1e6))
    unity_gain: float = parameter(
        _METADATA.gain_unity,
        "Value of the driver's linear gain at which the sensor amplifies by one.",
        limits=(1e-6, 1e6),
    )
    exposure_unit: float = parameter(
        _METADATA.exposure_unit_s,
        "Seconds in one unit of the driver's exposure value. 1.0e-4 for the colour stream of a RealSense.",
        limits=(1e-9, 1.0),
    )
    gain_min_db: float = parameter(
        _METADATA.gain_min_db, "Gain in dB at a normalised gain of 0 (pylon).", limits=(-200.0, 200.0)
    )
    gain_max_db: float = parameter(
        _METADATA.gain_max_db,
        "Gain in dB at a normalised gain of 1 (pylon). If it equals metadata.gain_min_db, the ISO is unknown.",
        limits=(-200.0, 200.0),
    )
    exposure_key: str = parameter(
        _METADATA.exposure_key, "JSON or diagnostics key of the exposure value. Empty: the default of the type."
    )
    gain_key: str = parameter(
        _METADATA.gain_key, "JSON or diagnostics key of the gain value. Empty: the default of the type."
    )
    exposure_field: str = parameter(
        _METADATA.exposure_field,
        "Path of the exposure value in a message of any type, such as status[0].values[ExposureTime].value. Empty: "
        "the reader of metadata.type finds it.",
    )
    exposure_field_unit: float = parameter(
        _METADATA.exposure_scale_s,
        "Seconds in one unit of the value at metadata.exposure_field.",
        limits=(1e-12, 1.0),
    )
    gain_field: str = parameter(
        _METADATA.gain_field,
        "Path of the gain value in a message of any type. Empty: the reader of metadata.type finds it.",
    )
    gain_kind: str = parameter(
        _METADATA.gain_kind,
        "Meaning of the value at metadata.gain_field: ISO, decibels, a linear factor, or thousandths of a decibel.",
        choices=GAIN_KINDS,
    )
    stamp_field: str = parameter(
        _METADATA.stamp_field,
        "Path of the stamp that belongs to metadata.exposure_field and metadata.gain_field. Empty: the time of "
        "receipt is used.",
    )
    frame_id: str = parameter(
        _METADATA.frame_id, "Use only metadata with this frame_id. Empty: metadata with any frame_id."
    )
    hardware_id: str = parameter(
        _METADATA.hardware_id, "Use only diagnostics with this hardware_id. Empty: diagnostics with any hardware_id."
    )
    ignore_under_auto_exposure: bool = parameter(
        _METADATA.stale_under_auto_exposure,
        "Treat exposure and gain as unknown while the camera reports auto exposure. The colour stream of a RealSense "
        "and the parameters of camera nodes repeat the manual settings then.",
    )

    @property
    def fallback(self) -> CaptureMetadata:
        """ISO and exposure time of frames without metadata."""
        return CaptureMetadata.sanitized(self.default_iso, self.default_exposure)

    def settings(self) -> MetadataSettings:
        """Return the settings of the metadata readers.

        Raises:
            ConfigError: the values contradict each other, or there is no reader for ``type``.
        """
        try:
            settings = MetadataSettings(
                exposure_unit_s=self.exposure_unit,
                base_iso=self.base_iso,
                gain_unity=self.unity_gain,
                gain_min_db=self.gain_min_db,
                gain_max_db=self.gain_max_db,
                exposure_key=self.exposure_key,
                gain_key=self.gain_key,
                exposure_field=self.exposure_field,
                exposure_scale_s=self.exposure_field_unit,
                gain_field=self.gain_field,
                gain_kind=self.gain_kind,  # type: ignore[arg-type]
                stamp_field=self.stamp_field,
                frame_id=self.frame_id,
                hardware_id=self.hardware_id,
                stale_under_auto_exposure=self.ignore_under_auto_exposure,
            )
            if self.type:
                reader_for_type(self.type, settings)
        except ConfigError as error:
            raise ConfigError(f"parameter 'metadata.type' or another of 'metadata.*': {error}") from error
        return settings


@dataclass(frozen=True)
class CameraParameters:
    """``camera.*``: exposure and gain from the parameters of the camera driver's node."""

    node: str = parameter(
        "", "Node of the camera driver whose parameters give exposure and gain, if it publishes no metadata."
    )
    driver: str = parameter(
        "", "Driver of camera.node, whose parameter names are known. Empty: another driver.", choices=("", *DRIVERS)
    )
    exposure_parameter: str = parameter(
        "", "Parameter of camera.node that holds the exposure time. Empty: the driver's default."
    )
    exposure_unit: float = parameter(
        0.0,
        "Seconds in one unit of camera.exposure_parameter. 0: the driver's default, or a microsecond.",
        limits=(0.0, 1.0),
    )
    gain_parameter: str = parameter("", "Parameter of camera.node that holds the gain. Empty: the driver's default.")
    gain_kind: str = parameter(
        "",
        "Meaning of camera.gain_parameter. Empty: the driver's default, or linear.",
        choices=("", *GAIN_KINDS),
    )
    digital_gain_parameter: str = parameter(
        "", "Parameter of camera.node that holds an additional gain factor. Empty: the driver's default."
    )
    auto_parameter: str = parameter(
        "",
        "Parameter of camera.node that switches automatic exposure and gain; both are unknown while it is on. Empty: "
        "the driver's default.",
    )
    manual_value: str = parameter(
        "", "Value of camera.auto_parameter while automatic control is off. Empty: the driver's default, or false."
    )

    def source(self) -> ParameterSource:
        """Return which parameters of ``node`` are read.

        Raises:
            ConfigError: neither an exposure nor a gain parameter is known.
        """
        try:
            return parameter_source(
                self.driver,
                exposure=self.exposure_parameter,
                exposure_unit_s=self.exposure_unit,
                gain=self.gain_parameter,
                gain_kind=self.gain_kind,
                digital_gain=self.digital_gain_parameter,
                auto=self.auto_parameter,
                manual=self.manual_value,
            )
        except ConfigError as error:
            raise ConfigError(f"parameter 'camera.node' or another of 'camera.*': {error}") from error
