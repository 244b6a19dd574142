"""Capture metadata out of the drivers' own messages: one reader a message type, named in READERS.

Messages are read by attribute, so no driver package is needed and recorded messages serve as well as live ones. A new
driver is one function and one line in READERS.
"""

from __future__ import annotations

import json
import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lowlight_enhance.core.capture import (
    EXPOSURE_LIMITS_S,
    ISO_LIMITS,
    CaptureMetadata,
    iso_from_db_gain,
    iso_from_linear_gain,
    plausible,
)
from lowlight_enhance.core.errors import ConfigError, ImageError, MetadataError
from lowlight_enhance.core.image_messages import stamp_ns

MAX_JSON_CHARACTERS = 64 * 1024
"""Longer metadata texts are refused unread; a driver's own has about one thousandth of that."""

DIAGNOSTIC_ERROR_LEVEL = 2
"""diagnostic_msgs/DiagnosticStatus.ERROR; a status at this level or above (STALE) is not believed."""


@dataclass(frozen=True, slots=True)
class MetadataSettings:
    """What a driver's message does not say about its own values.

    Attributes:
        exposure_unit_s: seconds per unit of the driver's exposure value; 1e-4 for a RealSense D400's colour stream.
        base_iso: ISO at a gain of one (0 dB).
        gain_unity: reading of a linear gain at which the sensor amplifies by one.
        exposure_key: key of the exposure value in JSON and diagnostics; "" = what the driver is known to write.
        gain_key: key of the gain; "" = what the driver is known to write.
        frame_id: only messages with this header.frame_id count; "" = all.
        hardware_id: only diagnostic statuses with this hardware_id count; "" = all.
        stale_under_auto_exposure: a RealSense exposure counts as unknown while auto exposure is on, because the
            colour stream then repeats the manual setting. Set it to False for depth and infrared streams, which
            report the live value.
    """

    exposure_unit_s: float = 1e-6
    base_iso: float = 100.0
    gain_unity: float = 1.0
    exposure_key: str = ""
    gain_key: str = ""
    frame_id: str = ""
    hardware_id: str = ""
    stale_under_auto_exposure: bool = True

    def __post_init__(self) -> None:
        for name in ("exposure_unit_s", "base_iso", "gain_unity"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0.0):
                raise ConfigError(f"MetadataSettings: {name} ({value}) must be a finite number above 0")


@dataclass(frozen=True, slots=True)
class Reading:
    """What one message says.

    Attributes:
        stamp_ns: the header's stamp, which is that of the image; None where the driver left it at zero.
        capture: ISO and exposure time, each None where the message does not tell.
    """

    stamp_ns: int | None
    capture: CaptureMetadata


Reader = Callable[[Any, MetadataSettings], Reading | None]
"""Returns None for a message that is not about this camera or tells neither value; raises MetadataError."""


def read_realsense(msg: Any, settings: MetadataSettings) -> Reading | None:
    """realsense2_camera_msgs/msg/Metadata: ``actual_exposure`` and the device's own linear ``gain_level``."""
    if not _is_of_frame(msg, settings):
        return None
    values = _json_values(msg)
    keys = (settings.exposure_key or "actual_exposure", settings.gain_key or "gain_level")
    auto_exposure = values.get("auto_exposure")
    if settings.stale_under_auto_exposure and (auto_exposure is True or _number(auto_exposure)):
        values = {key: value for key, value in values.items() if key != keys[0]}
    return _linear_reading(msg, values, keys, settings)


def read_orbbec(msg: Any, settings: MetadataSettings) -> Reading | None:
    """orbbec_camera_msgs/msg/Metadata: ``exposure`` and the device's own linear ``gain``."""
    if not _is_of_frame(msg, settings):
        return None
    keys = (settings.exposure_key or "exposure", settings.gain_key or "gain")
    return _linear_reading(msg, _json_values(msg), keys, settings)


def read_flir(msg: Any, settings: MetadataSettings) -> Reading | None:
    """flir_camera_msgs/msg/ImageMetaData: ``exposure_time`` and ``gain`` in dB.

    The driver leaves both at 0 where the camera's chunk data is off, so a gain of 0 dB counts only beside an
    exposure time.
    """
    if not _is_of_frame(msg, settings):
        return None
    exposure, gain_db = _field(msg, "exposure_time"), _field(msg, "gain")
    exposure_s = _exposure_s(exposure, "exposure_time", settings)
    gain = _known(gain_db, "gain")
    if gain is None and exposure_s is not None:
        gain = 0.0
    iso = None if gain is None else _in_limits(iso_from_db_gain(gain, settings.base_iso), ISO_LIMITS, "gain", gain_db)
    return _reading(msg, iso, exposure_s)


def read_diagnostics(msg: Any, settings: MetadataSettings) -> Reading | None:
    """diagnostic_msgs/msg/DiagnosticArray of camera_ros: ``ExposureTime``, ``AnalogueGain`` and ``DigitalGain``.

    /diagnostics is shared with every other node: the first status that carries one of the keys, is of the wanted
    hardware_id and not in error is taken.
    """
    if not _is_of_frame(msg, settings):
        return None
    keys = (settings.exposure_key or "ExposureTime", settings.gain_key or "AnalogueGain")
    for status in _items(msg, "status"):
        if settings.hardware_id and _field(status, "hardware_id") != settings.hardware_id:
            continue
        if _diagnostic_level(status) >= DIAGNOSTIC_ERROR_LEVEL:
            continue
        values = {str(_field(pair, "key")): _field(pair, "value") for pair in _items(status, "values")}
        if not values.keys() & set(keys):
            continue
        return _linear_reading(msg, values, keys, settings, factor=_known(values.get("DigitalGain"), "DigitalGain"))
    return None


READERS: dict[str, Reader] = {
    "realsense2_camera_msgs/msg/Metadata": read_realsense,
    "orbbec_camera_msgs/msg/Metadata": read_orbbec,
    "flir_camera_msgs/msg/ImageMetaData": read_flir,
    "diagnostic_msgs/msg/DiagnosticArray": read_diagnostics,
}
"""Reader by ROS type name."""


def reader_of(type_name: str) -> Reader:
    """The reader of a message type.

    Raises:
        ConfigError: there is none.
    """
    try:
        return READERS[type_name]
    except KeyError:
        raise ConfigError(
            f"no reader for metadata messages of type '{type_name}'; metadata_type must be one of {', '.join(READERS)}"
        ) from None


def _linear_reading(
    msg: Any,
    values: dict[str, Any],
    keys: tuple[str, str],
    settings: MetadataSettings,
    factor: float | None = None,
) -> Reading | None:
    """Reading of an exposure and a linear gain (times ``factor``) under their keys; absent and 0 are unknown."""
    exposure_key, gain_key = keys
    exposure_s = _exposure_s(values.get(exposure_key), exposure_key, settings)
    gain = _known(values.get(gain_key), gain_key)
    if gain is None:
        return _reading(msg, None, exposure_s)
    iso = iso_from_linear_gain(gain * (factor or 1.0), settings.base_iso, settings.gain_unity)
    return _reading(msg, _in_limits(iso, ISO_LIMITS, gain_key, values[gain_key]), exposure_s)


def _reading(msg: Any, iso: float | None, exposure_s: float | None) -> Reading | None:
    capture = CaptureMetadata(iso, exposure_s)
    if capture.is_unknown:
        return None
    try:
        return Reading(stamp_ns(_field(msg, "header")) or None, capture)
    except ImageError as error:
        raise MetadataError(f"metadata message: {error}") from error


def _is_of_frame(msg: Any, settings: MetadataSettings) -> bool:
    return not settings.frame_id or _field(_field(msg, "header"), "frame_id") == settings.frame_id


def _json_values(msg: Any) -> dict[str, Any]:
    """The object in ``json_data``."""
    text = _field(msg, "json_data")
    if not isinstance(text, str):
        raise MetadataError(f"metadata message: json_data is {type(text).__name__}, not text; check metadata_type")
    if len(text) > MAX_JSON_CHARACTERS:
        raise MetadataError(
            f"metadata message: json_data of {len(text)} characters is over the limit of {MAX_JSON_CHARACTERS}; "
            "check that the metadata topic is the camera driver's"
        )
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise MetadataError(
            f"metadata message: json_data is no JSON text ({error}); check that the metadata topic is the driver's"
        ) from error
    if not isinstance(values, dict):
        raise MetadataError(
            f"metadata message: json_data is a JSON {type(values).__name__}, not an object of keys and values; "
            "check that the metadata topic is the camera driver's"
        )
    return values


def _exposure_s(value: Any, name: str, settings: MetadataSettings) -> float | None:
    exposure = _known(value, name)
    if exposure is None:
        return None
    return _in_limits(exposure * settings.exposure_unit_s, EXPOSURE_LIMITS_S, name, value)


def _known(value: Any, name: str) -> float | None:
    """A finite number; None where it is absent or 0, which is how drivers write that they do not know."""
    if value is None:
        return None
    number = _number(value)
    if number is None or not math.isfinite(number):
        raise MetadataError(
            f"metadata message: {name} is {_short(value)}, not a finite number; check the driver and the key"
        )
    return number or None


def _in_limits(number: float, limits: tuple[float, float], name: str, value: Any) -> float:
    if plausible(number, limits) is None:
        raise MetadataError(
            f"metadata message: {name} {_short(value)} comes to {number:g}, outside {limits[0]:g}..{limits[1]:g}; "
            "check exposure_unit_s, base_iso and gain_unity against the driver's units"
        )
    return number


def _number(value: Any) -> float | None:
    """``value`` (a number, or text that spells one) as a float."""
    if isinstance(value, bool):
        return None
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _diagnostic_level(status: Any) -> int:
    """The level as rclpy (one byte) or rosbags (an integer) gives it; what is neither counts as an error."""
    level = _field(status, "level")
    try:
        return level[0] if isinstance(level, bytes) else operator.index(level)
    except (TypeError, IndexError):
        return DIAGNOSTIC_ERROR_LEVEL


def _items(msg: Any, name: str) -> list[Any]:
    try:
        return list(_field(msg, name))
    except TypeError as error:
        raise MetadataError(f"metadata message: {name} is not a list; check metadata_type") from error


def _field(msg: Any, name: str) -> Any:
    try:
        return getattr(msg, name)
    except AttributeError as error:
        raise MetadataError(
            f"metadata message {type(msg).__name__} has no field '{name}'; metadata_type must be the topic's type"
        ) from error


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
