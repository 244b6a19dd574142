import math

import pytest

from lowlight_enhance.core.errors import ConfigError, MetadataError
from lowlight_enhance.core.metadata.capture import UNKNOWN, CaptureMetadata
from lowlight_enhance.core.metadata.driver_parameters import (
    DRIVERS,
    ParameterCache,
    ParameterSource,
    explain_unknown,
    parameter_source,
    read_parameters,
)
from lowlight_enhance.core.metadata.readers import MetadataSettings

DEFAULTS = MetadataSettings()

SERVICE_DEPTH = 10
"""Default queue depth of a ROS service; all parameters are requested at once."""

MANUAL = {
    "v4l2_camera": {"exposure_time_absolute": 330, "gain": 64, "auto_exposure": 1, "gain_automatic": False},
    "usb_cam": {"exposure": 330, "gain": 64, "autoexposure": False},
    "depthai": {"rgb.r_exposure": 33_000, "rgb.r_iso": 400, "rgb.r_set_man_exposure": True},
    "zed": {
        "video.exposure_time": 33_000,
        "video.analog_gain": 6021,
        "video.digital_gain": 2,
        "video.auto_exposure": False,
        "video.auto_analog_gain": False,
    },
    "camera_ros": {
        "ExposureTime": 33_000,
        "AnalogueGain": 4.0,
        "AeEnable": False,
        "ExposureTimeMode": 1,
        "AnalogueGainMode": 1,
    },
}
"""Parameters of each driver in manual mode at 33 ms and ISO 400 (V4L2: gain_unity 16)."""

AUTOMATIC = {
    "v4l2_camera": {"auto_exposure": 3},
    "usb_cam": {"autoexposure": True},
    "depthai": {"rgb.r_set_man_exposure": False},
    "zed": {"video.auto_exposure": True, "video.auto_analog_gain": True},
    "camera_ros": {"AeEnable": True},
}


def settings_of(driver):
    return MetadataSettings(gain_unity=16.0 if driver in ("v4l2_camera", "usb_cam") else 1.0)


def test_every_driver_is_tested():
    assert MANUAL.keys() == AUTOMATIC.keys() == DRIVERS.keys()


@pytest.mark.parametrize("driver", DRIVERS)
def test_manual_settings_of_each_driver(driver):
    capture = read_parameters(MANUAL[driver], parameter_source(driver), settings_of(driver))
    assert capture.exposure_s == pytest.approx(0.033)
    assert capture.iso == pytest.approx(400.0, rel=1e-3)
    assert explain_unknown(MANUAL[driver], parameter_source(driver), settings_of(driver)) == ""


@pytest.mark.parametrize("driver", DRIVERS)
def test_values_are_unknown_while_automatic_controls_are_on(driver):
    values, source = {**MANUAL[driver], **AUTOMATIC[driver]}, parameter_source(driver)
    assert read_parameters(values, source, settings_of(driver)) == UNKNOWN
    expected = explain_unknown(values, source, settings_of(driver))
    assert "automatic exposure is on" in expected
    assert "automatic gain is on" in expected
    believed = MetadataSettings(gain_unity=settings_of(driver).gain_unity, stale_under_auto_exposure=False)
    assert read_parameters(values, source, believed).exposure_s == pytest.approx(0.033)


@pytest.mark.parametrize("driver", DRIVERS)
def test_names_have_no_duplicates(driver):
    names = parameter_source(driver).names
    assert len(set(names)) == len(names) <= SERVICE_DEPTH
    assert set(MANUAL[driver]) | set(AUTOMATIC[driver]) <= set(names)


def test_control_names_of_older_kernels():
    values = {"exposure_absolute": 156, "gain": 2, "exposure_auto": 1}
    capture = read_parameters(values, parameter_source("v4l2_camera"), DEFAULTS)
    assert capture == CaptureMetadata(200.0, pytest.approx(0.0156))
    assert read_parameters({**values, "exposure_auto": 3}, parameter_source("v4l2_camera"), DEFAULTS) == UNKNOWN


@pytest.mark.parametrize("is_on", [True, "true", 1, "1", "on"])
def test_automatic_gain_of_v4l2_is_a_separate_control(is_on):
    values = {"exposure_time_absolute": 100, "gain": 32, "auto_exposure": 1, "gain_automatic": is_on}
    source, chosen = parameter_source("v4l2_camera"), settings_of("v4l2_camera")
    assert read_parameters(values, source, chosen) == CaptureMetadata(None, pytest.approx(0.01))
    assert explain_unknown(values, source, chosen) == "its automatic gain is on"


@pytest.mark.parametrize("is_off", [False, "false", "False", 0, "0"])
def test_automatic_gain_of_v4l2_is_off_at_false_or_zero(is_off):
    values = {"exposure_time_absolute": 100, "gain": 32, "auto_exposure": 1, "gain_automatic": is_off}
    source, chosen = parameter_source("v4l2_camera"), settings_of("v4l2_camera")
    assert read_parameters(values, source, chosen) == CaptureMetadata(200.0, pytest.approx(0.01))
    assert explain_unknown(values, source, chosen) == ""


def test_zero_is_automatic_for_the_exposure_mode_of_v4l2():
    """V4L2_CID_EXPOSURE_AUTO: 0 is automatic, 1 is manual."""
    values = {**MANUAL["v4l2_camera"], "auto_exposure": 0}
    assert read_parameters(values, parameter_source("v4l2_camera"), settings_of("v4l2_camera")) == UNKNOWN


def test_separate_modes_of_newer_libcamera():
    source = parameter_source("camera_ros")
    automatic_gain = read_parameters({**MANUAL["camera_ros"], "AnalogueGainMode": 0}, source, DEFAULTS)
    assert automatic_gain == CaptureMetadata(None, pytest.approx(0.033))
    automatic_exposure = read_parameters({**MANUAL["camera_ros"], "ExposureTimeMode": 0}, source, DEFAULTS)
    assert automatic_exposure == CaptureMetadata(400.0, None)
    older = {name: MANUAL["camera_ros"][name] for name in ("ExposureTime", "AnalogueGain", "AeEnable")}
    assert read_parameters(older, source, DEFAULTS) == CaptureMetadata(400.0, pytest.approx(0.033))


def test_the_manual_value_can_be_configured():
    values = {**MANUAL["v4l2_camera"], "auto_exposure": 9}
    chosen = settings_of("v4l2_camera")
    assert read_parameters(values, parameter_source("v4l2_camera", manual="9"), chosen).iso == pytest.approx(400.0)
    own = parameter_source("v4l2_camera", auto="gain_automatic", manual="true")
    assert read_parameters({**values, "gain_automatic": True}, own, chosen).iso == pytest.approx(400.0)
    assert read_parameters({**values, "gain_automatic": False}, own, chosen) == UNKNOWN


def test_automatic_exposure_and_gain_of_a_zed_x_one_are_separate():
    values = {**MANUAL["zed"], "video.auto_analog_gain": True}
    capture = read_parameters(values, parameter_source("zed"), DEFAULTS)
    assert (capture.iso, capture.exposure_s) == (None, pytest.approx(0.033))


@pytest.mark.parametrize("unset", [-1, 0, None])
def test_unset_values_are_unknown(unset):
    values = {**MANUAL["usb_cam"], "gain": unset}
    assert read_parameters(values, parameter_source("usb_cam"), DEFAULTS) == CaptureMetadata(
        None, pytest.approx(0.033)
    )
    assert "gain" in explain_unknown(values, parameter_source("usb_cam"), DEFAULTS)


@pytest.mark.parametrize("gain", [0, -6.0206])
def test_a_gain_in_decibels_may_be_zero_or_less(gain):
    source = parameter_source(gain="Gain", gain_kind="db")
    iso = read_parameters({"Gain": gain}, source, DEFAULTS).iso
    assert iso == pytest.approx(100.0 * 10 ** (gain / 20))
    assert explain_unknown({"Gain": gain}, source, DEFAULTS) == ""


def test_missing_parameters_are_named():
    expected = explain_unknown({"gain": 3}, parameter_source("v4l2_camera"), DEFAULTS)
    assert expected == "it has no parameter exposure_time_absolute or exposure_absolute"
    assert read_parameters({}, parameter_source("v4l2_camera"), DEFAULTS) == UNKNOWN


@pytest.mark.parametrize("value", [True, "long", math.nan, math.inf, 1e30, [330], (1, 2), "a list"])
@pytest.mark.parametrize("name", ["exposure_time_absolute", "gain"])
def test_implausible_values_are_errors_that_name_the_parameter(name, value):
    with pytest.raises(MetadataError, match=name):
        read_parameters({**MANUAL["v4l2_camera"], name: value}, parameter_source("v4l2_camera"), DEFAULTS)


@pytest.mark.parametrize("value", [-3, 0, None])
def test_an_unset_digital_gain_is_one(value):
    values = {**MANUAL["zed"], "video.digital_gain": value}
    assert read_parameters(values, parameter_source("zed"), DEFAULTS).iso == pytest.approx(200.0, rel=1e-3)


def test_each_field_of_a_driver_can_be_replaced():
    source = parameter_source(
        "zed",
        exposure="left.exposure",
        exposure_unit_s=1e-3,
        gain="left.gain",
        gain_kind="linear",
        digital_gain="left.isp",
        auto="left.mode",
        manual="MANUAL",
    )
    assert source == ParameterSource(
        exposure=("left.exposure",),
        exposure_unit_s=1e-3,
        gain=("left.gain",),
        gain_kind="linear",
        digital_gain=("left.isp",),
        exposure_auto=("left.mode",),
        gain_auto=("left.mode",),
        manual="manual",
    )
    values = {"left.exposure": 20, "left.gain": 3, "left.isp": 2, "left.mode": "Manual"}
    assert read_parameters(values, source, DEFAULTS) == CaptureMetadata(600.0, pytest.approx(0.02))
    assert read_parameters({**values, "left.mode": "Auto"}, source, DEFAULTS) == UNKNOWN


def test_one_field_is_enough():
    source = parameter_source("depthai", exposure="left.r_exposure")
    assert (source.exposure, source.gain) == (("left.r_exposure",), ("rgb.r_iso",))
    assert parameter_source("depthai") == DRIVERS["depthai"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"driver": "v4l_camera"}, "did you mean 'v4l2_camera'"),
        ({}, "name its driver, or its exposure and gain"),
        ({"gain": "gain", "gain_kind": "mdb"}, "milli_db"),
        ({"driver": "zed", "exposure_unit_s": -1.0}, "exposure unit"),
        ({"driver": "zed", "exposure_unit_s": math.nan}, "exposure unit"),
    ],
)
def test_invalid_sources_are_rejected(arguments, expected):
    with pytest.raises(ConfigError, match=expected):
        parameter_source(**arguments)


def test_values_are_complete_after_all_responses():
    values = ParameterCache(("exposure", "gain"))
    values.start_request()
    values.set_response("exposure", 1)
    assert not values.is_complete
    values.set_response("gain", None)
    assert values.is_complete
    assert values.values == {"exposure": 1, "gain": None}


def test_a_change_is_newer_than_a_pending_response():
    values = ParameterCache(("exposure", "gain"))
    values.start_request()
    values.set_changed("exposure", 2)
    values.set_response("gain", 5)
    values.set_response("exposure", 1)
    assert values.is_complete
    assert values.values == {"exposure": 2, "gain": 5}
    values.start_request()
    assert values.is_complete
    values.set_response("exposure", 3)
    assert values.values["exposure"] == 3


def test_changes_do_not_replace_responses():
    values = ParameterCache(("exposure", "gain"))
    values.set_changed("exposure", 2)
    values.set_changed("gain", 2)
    assert not values.is_complete


def test_clear_drops_all_values():
    values = ParameterCache(("exposure",))
    values.start_request()
    values.set_response("exposure", 1)
    values.clear()
    assert not values.is_complete
    assert values.values == {}
