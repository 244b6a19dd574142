"""Exposure and gain from the ROS parameters of a camera node: names and units by driver.

Drivers that publish no metadata still have their settings as parameters. Parameters are the requested values, so they
are valid only while the automatic controls of the camera are off.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lowlight_enhance.core.errors import ConfigError
from lowlight_enhance.core.metadata import message_values
from lowlight_enhance.core.metadata.capture import GAIN_KINDS, CaptureMetadata, GainKind
from lowlight_enhance.core.metadata.readers import MetadataSettings

DB_KINDS = ("db", "milli_db")
"""Gain units in which 0 and negative values are valid."""


@dataclass(frozen=True, slots=True)
class ParameterSource:
    """Parameters of a camera node with exposure and gain.

    Of several names, the first parameter that the node has is used. Of the automatic controls, all are used.

    Attributes:
        exposure: names of the exposure time.
        exposure_unit_s: seconds per unit of the exposure time.
        gain: names of the gain.
        gain_kind: unit of the gain.
        digital_gain: names of a factor that is applied in addition to the gain.
        exposure_auto: names of the controls of automatic exposure.
        gain_auto: names of the controls of automatic gain.
        manual: value of these controls, as text in lower case, that means manual.
        manual_by_name: values that mean manual for controls with other values than ``manual``.
    """

    exposure: tuple[str, ...] = ()
    exposure_unit_s: float = 1e-6
    gain: tuple[str, ...] = ()
    gain_kind: GainKind = "linear"
    digital_gain: tuple[str, ...] = ()
    exposure_auto: tuple[str, ...] = ()
    gain_auto: tuple[str, ...] = ()
    manual: str = "false"
    manual_by_name: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all these parameters, without duplicates."""
        groups = (self.exposure, self.gain, self.digital_gain, self.exposure_auto, self.gain_auto)
        return tuple(dict.fromkeys(name for group in groups for name in group))


DRIVERS: dict[str, ParameterSource] = {
    # One parameter for each V4L2 control, with its name; names of newer kernels first. Exposure is in units of 100 us
    # (V4L2_CID_EXPOSURE_ABSOLUTE). Automatic exposure is a number (V4L2_CID_EXPOSURE_AUTO: 0 automatic, 1 manual),
    # automatic gain is a flag.
    "v4l2_camera": ParameterSource(
        exposure=("exposure_time_absolute", "exposure_absolute"),
        exposure_unit_s=1e-4,
        gain=("gain",),
        exposure_auto=("auto_exposure", "exposure_auto"),
        gain_auto=("auto_exposure", "exposure_auto", "gain_automatic"),
        manual="1",
        manual_by_name={"gain_automatic": ("false", "0")},
    ),
    # The same V4L2 control. -1 means that the driver does not set it.
    "usb_cam": ParameterSource(
        exposure=("exposure",),
        exposure_unit_s=1e-4,
        gain=("gain",),
        exposure_auto=("autoexposure",),
        gain_auto=("autoexposure",),
    ),
    "depthai": ParameterSource(
        exposure=("rgb.r_exposure",),
        gain=("rgb.r_iso",),
        gain_kind="iso",
        exposure_auto=("rgb.r_set_man_exposure",),
        gain_auto=("rgb.r_set_man_exposure",),
        manual="true",
    ),
    # ZED X and ZED X One. USB cameras have exposure and gain of 0 to 100 without a documented unit.
    "zed": ParameterSource(
        exposure=("video.exposure_time",),
        gain=("video.analog_gain",),
        gain_kind="milli_db",
        digital_gain=("video.digital_gain",),
        exposure_auto=("video.auto_exposure", "video.auto_exposure_gain"),
        gain_auto=("video.auto_analog_gain", "video.auto_digital_gain", "video.auto_exposure_gain"),
    ),
    # Releases of camera_ros without metadata. From libcamera 0.5 on, exposure and gain have separate modes.
    "camera_ros": ParameterSource(
        exposure=("ExposureTime",),
        gain=("AnalogueGain",),
        exposure_auto=("AeEnable", "ExposureTimeMode"),
        gain_auto=("AeEnable", "AnalogueGainMode"),
        manual_by_name={"ExposureTimeMode": ("1",), "AnalogueGainMode": ("1",)},
    ),
}
"""Parameters by driver."""


def parameter_source(
    driver: str = "",
    *,
    exposure: str = "",
    exposure_unit_s: float = 0.0,
    gain: str = "",
    gain_kind: str = "",
    digital_gain: str = "",
    auto: str = "",
    manual: str = "",
) -> ParameterSource:
    """Return the parameters of a driver, with replacements. "" and 0 keep those of the driver.

    Args:
        driver: one of ``DRIVERS``; "": another driver, whose parameters are all given.
        exposure: name of the exposure time.
        exposure_unit_s: seconds per unit of the exposure time.
        gain: name of the gain.
        gain_kind: unit of the gain: ``iso``, ``db``, ``linear`` or ``milli_db``.
        digital_gain: name of a factor that is applied in addition to the gain.
        auto: name of the control of automatic exposure and gain.
        manual: value of the control, as text, that means manual. Without ``auto`` it applies to the controls of the
            driver that are not in ``manual_by_name``.

    Raises:
        ConfigError: the driver or gain unit is unknown, the exposure unit is invalid, or there is neither an exposure
            nor a gain.
    """
    _check_arguments(driver, exposure_unit_s, gain_kind)
    given: dict[str, Any] = {
        "exposure": exposure and (exposure,),
        "exposure_unit_s": exposure_unit_s,
        "gain": gain and (gain,),
        "gain_kind": gain_kind,
        "digital_gain": digital_gain and (digital_gain,),
        "exposure_auto": auto and (auto,),
        "gain_auto": auto and (auto,),
        "manual": manual.lower(),
    }
    source = dataclasses.replace(
        DRIVERS.get(driver, ParameterSource()), **{name: value for name, value in given.items() if value}
    )
    if auto and manual:
        source = dataclasses.replace(source, manual_by_name={})
    if not (source.exposure or source.gain):
        raise ConfigError("no parameters to read from the camera's node: name its driver, or its exposure and gain")
    return source


def _check_arguments(driver: str, exposure_unit_s: float, gain_kind: str) -> None:
    if driver and driver not in DRIVERS:
        close = difflib.get_close_matches(driver, DRIVERS, 1)
        hint = f"; did you mean '{close[0]}'?" if close else ""
        raise ConfigError(f"camera driver '{driver}' is none of {', '.join(DRIVERS)}{hint}")
    if gain_kind and gain_kind not in GAIN_KINDS:
        raise ConfigError(f"gain kind '{gain_kind}' is none of {', '.join(GAIN_KINDS)}")
    if not (math.isfinite(exposure_unit_s) and exposure_unit_s >= 0.0):
        raise ConfigError(
            f"exposure unit {exposure_unit_s} must be a finite number of seconds, or 0 for that of the driver"
        )


def read_parameters(values: Mapping[str, Any], source: ParameterSource, settings: MetadataSettings) -> CaptureMetadata:
    """Return the capture metadata in the parameters of a camera node.

    Args:
        values: parameters by name; missing or None: the node does not have the parameter.
        source: names and units.
        settings: for ``base_iso``, ``gain_unity`` and ``stale_under_auto_exposure``.

    Returns:
        ISO and exposure time. A value is unknown if the node does not have the parameter, if it is 0 or less (drivers
        use this for "not set"; valid for a gain in dB), or if an automatic control is on.

    Raises:
        MetadataError: a value is implausible.
    """
    exposure_s = iso = None
    name, value = _first(values, source.exposure)
    if value is not None and not _is_automatic(values, source.exposure_auto, source, settings):
        exposure_s = message_values.exposure_s(_above_zero(value, name), name, source.exposure_unit_s)
    name, value = _first(values, source.gain)
    if value is not None and not _is_automatic(values, source.gain_auto, source, settings):
        in_db = source.gain_kind in DB_KINDS
        gain = message_values.finite(value, name) if in_db else _above_zero(value, name)
        iso = message_values.iso(
            gain, name, source.gain_kind, settings.base_iso, settings.gain_unity, allow_zero=in_db
        )
        name, value = _first(values, source.digital_gain)
        iso = iso and message_values.with_digital_gain(iso, _above_zero(value, name), name)
    return CaptureMetadata(iso, exposure_s)


def explain_unknown(values: Mapping[str, Any], source: ParameterSource, settings: MetadataSettings) -> str:
    """Return why exposure or gain is unknown after ``read_parameters``, for the user; "" if both are known."""
    found = []
    for what, names, switches in (
        ("exposure", source.exposure, source.exposure_auto),
        ("gain", source.gain, source.gain_auto),
    ):
        name, value = _first(values, names)
        if not names:
            continue
        if value is None:
            found.append(f"it has no parameter {' or '.join(names)}")
        elif _is_automatic(values, switches, source, settings):
            found.append(f"its automatic {what} is on")
        elif not _above_zero(value, name) and not (what == "gain" and source.gain_kind in DB_KINDS):
            found.append(f"its {name} is not set")
    return "; ".join(found)


def _first(values: Mapping[str, Any], names: tuple[str, ...]) -> tuple[str, Any]:
    """Return name and value of the first of these parameters that the node has, else ("", None)."""
    return next(((name, values[name]) for name in names if values.get(name) is not None), ("", None))


def _above_zero(value: Any, name: str) -> float | None:
    number = message_values.finite(value, name)
    return number if number is not None and number > 0.0 else None


def _is_automatic(
    values: Mapping[str, Any], names: tuple[str, ...], source: ParameterSource, settings: MetadataSettings
) -> bool:
    """Return whether one of these controls is automatic."""
    found = ((name, str(values[name]).lower()) for name in names if values.get(name) is not None)
    return settings.stale_under_auto_exposure and any(
        text not in source.manual_by_name.get(name, (source.manual,)) for name, text in found
    )


class ParameterCache:
    """Parameters of a camera node, from the responses of its parameter service and from its parameter events."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names
        self.values: dict[str, Any] = {}
        self.is_complete = False
        """True once a response for every parameter has arrived, until ``clear``."""
        self._awaited: set[str] = set()

    def start_request(self) -> None:
        """Begin a request for all parameters. Changes from now on are newer than its responses."""
        self._awaited = set(self.names)

    def set_response(self, name: str, value: Any) -> None:
        """Store the response for one parameter, unless a newer change arrived; None: the node does not have it."""
        if name in self._awaited:
            self._awaited.discard(name)
            self.values[name] = value
        self.is_complete = self.is_complete or not self._awaited

    def set_changed(self, name: str, value: Any) -> None:
        """Store the value of a parameter event; None: the parameter was deleted."""
        self._awaited.discard(name)
        self.values[name] = value

    def clear(self) -> None:
        """Drop all values: the node is gone."""
        self.values.clear()
        self._awaited.clear()
        self.is_complete = False
