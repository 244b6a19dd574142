"""Capture metadata from driver messages: one reader per message type, in ``READERS``.

Messages are read by attribute, so no driver package is needed, and recorded messages work too. A new driver needs one
function and one line in ``READERS``, or only parameters: ``read_fields`` reads any message by field paths.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lowlight_enhance.core.errors import ConfigError, MetadataError
from lowlight_enhance.core.metadata import message_values
from lowlight_enhance.core.metadata.capture import GAIN_KINDS, UNKNOWN, GainKind
from lowlight_enhance.core.metadata.field_path import parse_field_path
from lowlight_enhance.core.metadata.message_values import field, key_values, short
from lowlight_enhance.core.metadata.reading import Reading, Value, make_reading, value_or_error

DIAGNOSTIC_ERROR_LEVEL = 2
"""diagnostic_msgs/DiagnosticStatus.ERROR; a status at this level or above (STALE) is ignored."""

GAIN_DB_LIMIT = 200.0
"""Largest plausible gain in dB, positive or negative."""

TYPE_NAME = re.compile(r"[a-z][a-z0-9_]*/msg/[A-Z][A-Za-z0-9]*")
"""Name of a ROS message type."""

NORMALISED_SLACK = 1e-3
"""A normalised gain may exceed 1 by this much, because of rounding."""


@dataclass(frozen=True, slots=True)
class MetadataSettings:
    """Settings for values whose unit and scale driver messages do not contain.

    Attributes:
        exposure_unit_s: seconds per unit of the driver's exposure value; 1e-4 for a RealSense D400's colour stream.
        base_iso: ISO at a gain of one (0 dB).
        gain_unity: value of a linear gain at which the sensor amplifies by one.
        gain_min_db: gain in dB of a Basler camera at the normalised gain 0.
        gain_max_db: gain in dB at the normalised gain 1. If it equals ``gain_min_db``, the ISO is unknown.
        exposure_key: key of the exposure value in JSON and diagnostics; "": the key of the driver.
        gain_key: key of the gain; "": the key of the driver.
        exposure_field: path of the exposure value in a message of any type, e.g. ``shutter`` or
            ``status[0].values[ExposureTime].value``. If this or ``gain_field`` is set, ``read_fields`` reads the
            message, even if its type has a reader.
        exposure_scale_s: seconds per unit of the value at ``exposure_field``.
        gain_field: path of the gain value.
        gain_kind: unit of the value at ``gain_field``: ``iso``, ``db``, ``linear`` or ``milli_db``.
        stamp_field: path of the stamp (or header) for ``exposure_field`` and ``gain_field``; "": the message has none,
            and the time of receipt is used.
        frame_id: messages with another header.frame_id are ignored; "": none is ignored.
        hardware_id: diagnostic statuses with another hardware_id are ignored; "": none is ignored.
        stale_under_auto_exposure: values are unknown while auto exposure is on, for drivers that then report the
            manual settings: the colour stream of RealSense (librealsense #2549), and the ROS parameters of camera
            nodes. Set it to False for the depth and infrared streams of RealSense, which report live values.

    Raises:
        ConfigError: a value is out of range, or a path is invalid.
    """

    exposure_unit_s: float = 1e-6
    base_iso: float = 100.0
    gain_unity: float = 1.0
    gain_min_db: float = 0.0
    gain_max_db: float = 0.0
    exposure_key: str = ""
    gain_key: str = ""
    exposure_field: str = ""
    exposure_scale_s: float = 1e-6
    gain_field: str = ""
    gain_kind: GainKind = "linear"
    stamp_field: str = "header.stamp"
    frame_id: str = ""
    hardware_id: str = ""
    stale_under_auto_exposure: bool = True

    def __post_init__(self) -> None:
        for name in ("exposure_unit_s", "exposure_scale_s", "base_iso", "gain_unity"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0.0):
                raise ConfigError(f"MetadataSettings: {name} ({value}) must be a finite number above 0")
        low, high = self.gain_min_db, self.gain_max_db
        if not -GAIN_DB_LIMIT <= low <= high <= GAIN_DB_LIMIT:
            raise ConfigError(
                f"MetadataSettings: gain_min_db ({low}) and gain_max_db ({high}) must be in ascending order and "
                f"within {-GAIN_DB_LIMIT:g}..{GAIN_DB_LIMIT:g}; set both at once"
            )
        if self.gain_kind not in GAIN_KINDS:
            raise ConfigError(f"MetadataSettings: gain_kind '{self.gain_kind}' is none of {', '.join(GAIN_KINDS)}")
        for name in ("exposure_field", "gain_field", "stamp_field"):
            if getattr(self, name):
                try:
                    parse_field_path(getattr(self, name))
                except ConfigError as error:
                    raise ConfigError(f"MetadataSettings: {name}: {error}") from error

    @property
    def has_fields(self) -> bool:
        """True if field paths are set, so that a message of any type can be read."""
        return bool(self.exposure_field or self.gain_field)


Reader = Callable[[Any, MetadataSettings], Reading | None]
"""Function from a message to its reading; None for a message about another camera. Raises MetadataError if no value is
valid."""


def read_realsense(msg: Any, settings: MetadataSettings) -> Reading | None:
    """Read a realsense2_camera_msgs/msg/Metadata: ``actual_exposure`` and the device-relative linear ``gain_level``.

    The colour stream reports its manual controls, which are valid only while ``auto_exposure`` is 0.
    """
    if not _has_frame_id(msg, settings):
        return None
    values = message_values.json_object(msg, "json_data")
    if settings.stale_under_auto_exposure and _is_on(values.get("auto_exposure")):
        return make_reading(field(msg, "header"), None, None)
    keys = (settings.exposure_key or "actual_exposure", settings.gain_key or "gain_level")
    return _linear_reading(msg, values, keys, settings)


def read_orbbec(msg: Any, settings: MetadataSettings) -> Reading | None:
    """Read an orbbec_camera_msgs/msg/Metadata: ``exposure`` and the device-relative linear ``gain``."""
    if not _has_frame_id(msg, settings):
        return None
    keys = (settings.exposure_key or "exposure", settings.gain_key or "gain")
    return _linear_reading(msg, message_values.json_object(msg, "json_data"), keys, settings)


def read_flir(msg: Any, settings: MetadataSettings) -> Reading | None:
    """Read a flir_camera_msgs/msg/ImageMetaData: ``exposure_time`` and ``gain`` in dB.

    The driver leaves both at 0 if the chunk data of the camera is off, so a gain of 0 dB is valid only together
    with an exposure time.
    """
    if not _has_frame_id(msg, settings):
        return None
    return _db_reading(msg, (field(msg, "exposure_time"), "exposure_time"), (field(msg, "gain"), "gain"), settings)


def read_diagnostics(msg: Any, settings: MetadataSettings) -> Reading | None:
    """Read a diagnostic_msgs/msg/DiagnosticArray of camera_ros: ``ExposureTime``, ``AnalogueGain``, ``DigitalGain``.

    All nodes publish on /diagnostics. The first status with one of the keys, the requested hardware_id and a level
    below ERROR is read. If all such statuses are errors, both values are unknown.
    """
    if not _has_frame_id(msg, settings):
        return None
    keys = (settings.exposure_key or "ExposureTime", settings.gain_key or "AnalogueGain")
    is_in_error = False
    for status in message_values.items(msg, "status"):
        if settings.hardware_id and not _is_text(field(status, "hardware_id"), settings.hardware_id):
            continue
        values = key_values(status, "values")
        if not values.keys() & set(keys):
            continue
        if message_values.diagnostic_level(status, otherwise=DIAGNOSTIC_ERROR_LEVEL) < DIAGNOSTIC_ERROR_LEVEL:
            return _linear_reading(msg, values, keys, settings, digital_key="DigitalGain")
        is_in_error = True
    return make_reading(field(msg, "header"), None, None) if is_in_error else None


def read_aravis(msg: Any, settings: MetadataSettings) -> Reading | None:
    """Read a camera_aravis2_msgs/msg/CameraDiagnostics: the GenICam features ``ExposureTime`` and ``Gain`` (dB).

    By default the driver publishes it every ten seconds with the current time instead of the stamp of a frame. Its
    ``frame_id`` is the name of the driver's node.
    """
    if not _has_frame_id(msg, settings):
        return None
    values = key_values(msg, "data")
    exposure_key, gain_key = settings.exposure_key or "ExposureTime", settings.gain_key or "Gain"
    return _db_reading(
        msg, (values.get(exposure_key), exposure_key), (values.get(gain_key), gain_key), settings, allow_zero=True
    )


def read_pylon(msg: Any, settings: MetadataSettings) -> Reading | None:
    """Read a pylon_ros2_camera_interfaces/msg/CurrentParams: ``exposure`` and a normalised ``gain`` of 0 to 1.

    The message has no header, so the setting ``frame_id`` is not used. Values below 0 (-9999, -10000, -20000) mean
    that the camera does not give them. All values are unknown if ``success`` is not set.
    """
    if not message_values.is_set(field(msg, "success")):
        return Reading(None, UNKNOWN)
    exposure_s = value_or_error(
        message_values.exposure_s, field(msg, "exposure"), "exposure", settings.exposure_unit_s
    )
    return make_reading(None, value_or_error(_iso_of_normalised_gain, field(msg, "gain"), settings), exposure_s)


def _iso_of_normalised_gain(value: Any, settings: MetadataSettings) -> float | None:
    """Return the ISO of a gain of 0 to 1 if the range in dB is known; errors as ``message_values.iso``."""
    low_db, high_db = settings.gain_min_db, settings.gain_max_db
    gain = message_values.number(value, "gain")
    if gain is None or not 0.0 <= gain < math.inf or high_db <= low_db:
        return None
    if gain > 1.0 + NORMALISED_SLACK:
        raise MetadataError(f"metadata message: gain {gain:g} is normalised and cannot be above 1; check the driver")
    gain_db = low_db + gain * (high_db - low_db)
    return message_values.iso(gain_db, "gain", "db", settings.base_iso, allow_zero=True)


def read_fields(msg: Any, settings: MetadataSettings) -> Reading | None:
    """Read a message of any type by the field paths in ``settings``.

    As with FLIR, a gain of 0 dB is unknown if the exposure field gives no exposure.
    """
    if not _has_frame_id(msg, settings):
        return None
    exposure_path, gain_path = settings.exposure_field, settings.gain_field
    exposure_s: Value = None
    iso: Value = None
    if exposure_path:
        exposure_s = value_or_error(
            lambda: message_values.exposure_s(
                parse_field_path(exposure_path).resolve(msg), exposure_path, settings.exposure_scale_s
            )
        )
    if gain_path:
        allow_zero = settings.gain_kind in ("db", "milli_db") and (not exposure_path or isinstance(exposure_s, float))
        iso = value_or_error(
            lambda: message_values.iso(
                parse_field_path(gain_path).resolve(msg),
                gain_path,
                settings.gain_kind,
                settings.base_iso,
                settings.gain_unity,
                allow_zero=allow_zero,
            )
        )
    stamp = parse_field_path(settings.stamp_field).resolve(msg) if settings.stamp_field else None
    return make_reading(stamp, iso, exposure_s)


READERS: dict[str, Reader] = {
    "realsense2_camera_msgs/msg/Metadata": read_realsense,
    "orbbec_camera_msgs/msg/Metadata": read_orbbec,
    "flir_camera_msgs/msg/ImageMetaData": read_flir,
    "diagnostic_msgs/msg/DiagnosticArray": read_diagnostics,
    "camera_aravis2_msgs/msg/CameraDiagnostics": read_aravis,
    "pylon_ros2_camera_interfaces/msg/CurrentParams": read_pylon,
}
"""Reader by ROS type name."""


def reader_for_type(type_name: str, settings: MetadataSettings | None = None) -> Reader:
    """Return the reader of a message type: ``read_fields`` for any type if ``settings`` have field paths.

    Raises:
        ConfigError: there is no reader.
    """
    if settings is not None and settings.has_fields and TYPE_NAME.fullmatch(type_name):
        return read_fields
    try:
        return READERS[type_name]
    except KeyError:
        raise ConfigError(
            f"no reader for metadata messages of type {short(type_name)}; it must be one of {', '.join(READERS)}, or "
            "another type like package_msgs/msg/Name with exposure_field or gain_field set"
        ) from None


def _linear_reading(
    msg: Any,
    values: dict[str, Any],
    keys: tuple[str, str],
    settings: MetadataSettings,
    digital_key: str = "",
) -> Reading:
    """Return the reading of exposure and linear gain (times digital gain) by key; absent and 0 are unknown."""
    exposure_key, gain_key = keys

    def total_iso() -> float | None:
        iso = message_values.iso(values.get(gain_key), gain_key, "linear", settings.base_iso, settings.gain_unity)
        if iso is None or not digital_key:
            return iso
        return message_values.with_digital_gain(iso, values.get(digital_key), digital_key)

    exposure_s = value_or_error(
        message_values.exposure_s, values.get(exposure_key), exposure_key, settings.exposure_unit_s
    )
    return make_reading(field(msg, "header"), value_or_error(total_iso), exposure_s)


def _db_reading(
    msg: Any,
    exposure: tuple[Any, str],
    gain: tuple[Any, str],
    settings: MetadataSettings,
    *,
    allow_zero: bool = False,
) -> Reading:
    """Return the reading of exposure and gain in dB, each as (value, name).

    A gain of 0 dB is valid with ``allow_zero`` or with an exposure.
    """
    exposure_s = value_or_error(message_values.exposure_s, *exposure, settings.exposure_unit_s)
    allow_zero = allow_zero or isinstance(exposure_s, float)
    iso = value_or_error(message_values.iso, *gain, "db", settings.base_iso, allow_zero=allow_zero)
    return make_reading(field(msg, "header"), iso, exposure_s)


def _has_frame_id(msg: Any, settings: MetadataSettings) -> bool:
    return not settings.frame_id or _is_text(field(field(msg, "header"), "frame_id"), settings.frame_id)


def _is_text(value: Any, text: str) -> bool:
    """Return whether ``value`` is this text. In another message type it can be an array, for which == is an array."""
    return isinstance(value, str) and value == text


def _is_on(auto_exposure: Any) -> bool:
    """Return whether auto exposure is on, or its value is not understood."""
    return not (auto_exposure is None or auto_exposure is False or message_values.to_number(auto_exposure) == 0.0)
