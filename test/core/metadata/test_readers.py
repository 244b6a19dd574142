import json
import math
import re
from types import SimpleNamespace

import message_kinds
import numpy as np
import pytest

from lowlight_enhance.core.errors import ConfigError, MetadataError
from lowlight_enhance.core.metadata.capture import UNKNOWN, CaptureMetadata
from lowlight_enhance.core.metadata.message_values import MAX_JSON_BRACKETS, MAX_JSON_CHARACTERS
from lowlight_enhance.core.metadata.readers import READERS, MetadataSettings, Reading, read_fields, reader_for_type

STAMP_NS = 1_700_000_000_123_456_789
REALSENSE = "realsense2_camera_msgs/msg/Metadata"
ORBBEC = "orbbec_camera_msgs/msg/Metadata"
FLIR = "flir_camera_msgs/msg/ImageMetaData"
DIAGNOSTICS = "diagnostic_msgs/msg/DiagnosticArray"
ARAVIS = "camera_aravis2_msgs/msg/CameraDiagnostics"
PYLON = "pylon_ros2_camera_interfaces/msg/CurrentParams"
DEFAULTS = MetadataSettings()


def json_message(values, stamp_ns=STAMP_NS, frame_id="camera_color_optical_frame"):
    text = values if isinstance(values, str) else json.dumps(values)
    return SimpleNamespace(header=message_kinds.header("plain", stamp_ns, frame_id), json_data=text)


def flir_message(exposure_time=20_000, gain=12.0):
    header = message_kinds.header("plain", STAMP_NS)
    return SimpleNamespace(
        header=header, camera_time=1, brightness=-1, exposure_time=exposure_time, max_exposure_time=0, gain=gain
    )


def diagnostics(kind, *statuses, frame_id="camera"):
    """``statuses``: (hardware_id, level, values)."""
    return message_kinds.message(
        kind,
        DIAGNOSTICS,
        header=message_kinds.header(kind, STAMP_NS, frame_id),
        status=[
            message_kinds.message(
                kind,
                "diagnostic_msgs/msg/DiagnosticStatus",
                level=bytes([level]) if kind == "rclpy" else level,
                name="",
                message="",
                hardware_id=hardware_id,
                values=[
                    message_kinds.message(kind, "diagnostic_msgs/msg/KeyValue", key=key, value=value)
                    for key, value in values.items()
                ],
            )
            for hardware_id, level, values in statuses
        ],
    )


def test_realsense_infrared_message():
    text = (
        '{"frame_number":131,"clock_domain":"global_time","frame_timestamp":1700000000123.4567,"sensor_timestamp":'
        '7511829,"actual_exposure":8500,"gain_level":16,"auto_exposure":1,"time_of_arrival":1700000000130,'
        '"actual_fps":30000,"exposure_priority":0}'
    )
    settings = MetadataSettings(gain_unity=16.0, stale_under_auto_exposure=False)
    reading = READERS[REALSENSE](json_message(text), settings)
    assert reading.stamp_ns == STAMP_NS
    assert reading.capture.iso == pytest.approx(100.0)
    assert reading.capture.exposure_s == pytest.approx(0.0085)


def test_realsense_colour_exposure_is_in_units_of_100_us():
    message = json_message({"actual_exposure": 166, "gain_level": 64, "auto_exposure": 0})
    capture = READERS[REALSENSE](message, MetadataSettings(exposure_unit_s=1e-4, gain_unity=16.0)).capture
    assert capture.exposure_s == pytest.approx(0.0166)
    assert capture.iso == pytest.approx(400.0)


@pytest.mark.parametrize("auto_exposure", [1, 1.0, True, "1", "on", math.nan, [0], ""])
def test_realsense_is_unknown_while_auto_exposure_repeats_the_manual_settings(auto_exposure):
    message = json_message({"actual_exposure": 166, "gain_level": 4, "auto_exposure": auto_exposure})
    assert READERS[REALSENSE](message, DEFAULTS) == Reading(STAMP_NS, UNKNOWN)
    live = READERS[REALSENSE](message, MetadataSettings(stale_under_auto_exposure=False))
    assert live.capture.exposure_s == pytest.approx(166e-6)


@pytest.mark.parametrize("auto_exposure", [0, 0.0, False, None, "0"])
def test_realsense_manual_exposure_is_used(auto_exposure):
    message = json_message({"actual_exposure": 166, "auto_exposure": auto_exposure})
    assert READERS[REALSENSE](message, DEFAULTS).capture.exposure_s == pytest.approx(166e-6)


def test_orbbec_exposure_is_used_under_auto_exposure():
    message = json_message({"exposure": 10_000, "gain": 8, "auto_exposure": 1})
    capture = READERS[ORBBEC](message, MetadataSettings(base_iso=50.0)).capture
    assert (capture.iso, capture.exposure_s) == (400.0, pytest.approx(0.01))


def test_keys_can_be_configured():
    message = json_message({"exposure": 1, "gain": 1, "us": 5000, "iso_gain": 2})
    capture = READERS[ORBBEC](message, MetadataSettings(exposure_key="us", gain_key="iso_gain")).capture
    assert (capture.iso, capture.exposure_s) == (200.0, pytest.approx(0.005))


@pytest.mark.parametrize(
    ("exposure_time", "gain", "iso", "exposure_s"),
    [(20_000, 20.0, 1000.0, 0.02), (100, 0.0, 100.0, 1e-4), (0, 6.0, 100 * 10**0.3, None), (20_000, -6.0, 50.1, 0.02)],
)
def test_flir_gain_is_in_decibels_and_zero_exposure_unknown(exposure_time, gain, iso, exposure_s):
    reading = READERS[FLIR](flir_message(exposure_time, gain), DEFAULTS)
    assert reading.stamp_ns == STAMP_NS
    assert reading.capture.iso == pytest.approx(iso, rel=1e-3)
    assert reading.capture.exposure_s == (None if exposure_s is None else pytest.approx(exposure_s))


def test_flir_without_chunk_data_is_unknown():
    assert READERS[FLIR](flir_message(0, 0.0), DEFAULTS) == Reading(STAMP_NS, UNKNOWN)


CAMERA_ROS = {
    "ExposureTime": "33000",
    "AnalogueGain": "8.0",
    "DigitalGain": "1.5",
    "Lux": "3.2",
    "AeState": "2",
    "SensorTimestamp": "123456789",
}


@pytest.mark.parametrize("kind", message_kinds.KINDS)
def test_camera_ros_diagnostics(kind):
    message = diagnostics(kind, ("/base/soc/i2c0mux/i2c@1/imx708@1a", 0, CAMERA_ROS))
    reading = READERS[DIAGNOSTICS](message, DEFAULTS)
    assert reading == Reading(STAMP_NS, CaptureMetadata(1200.0, pytest.approx(0.033)))


@pytest.mark.parametrize("kind", message_kinds.KINDS)
def test_diagnostics_of_other_nodes_are_ignored(kind):
    message = diagnostics(
        kind,
        ("battery", 0, {"Voltage": "12.1"}),
        ("left", 0, {**CAMERA_ROS, "ExposureTime": "1000"}),
        ("right", 2, {**CAMERA_ROS, "ExposureTime": "2000"}),
        ("right", 1, {**CAMERA_ROS, "ExposureTime": "4000"}),
    )

    def exposure_s(**options):
        reading = READERS[DIAGNOSTICS](message, MetadataSettings(**options))
        return reading and reading.capture.exposure_s

    assert exposure_s() == pytest.approx(0.001)
    assert exposure_s(hardware_id="right") == pytest.approx(0.004)
    assert exposure_s(hardware_id="battery") is None
    assert exposure_s(frame_id="camera") == pytest.approx(0.001)
    assert exposure_s(frame_id="another_camera") is None
    assert READERS[DIAGNOSTICS](diagnostics(kind), DEFAULTS) is None


def test_a_camera_in_error_is_unknown_and_another_node_in_error_is_ignored():
    camera, battery = ("left", 2, CAMERA_ROS), ("battery", 2, {"Voltage": "12.1"})
    assert READERS[DIAGNOSTICS](diagnostics("plain", battery, camera), DEFAULTS) == Reading(STAMP_NS, UNKNOWN)
    assert READERS[DIAGNOSTICS](diagnostics("plain", battery), DEFAULTS) is None
    assert READERS[DIAGNOSTICS](diagnostics("plain", camera), MetadataSettings(hardware_id="right")) is None


@pytest.mark.parametrize("type_name", [REALSENSE, ORBBEC, FLIR])
def test_other_frame_ids_are_ignored(type_name):
    message = flir_message() if type_name == FLIR else json_message({"actual_exposure": 1000, "exposure": 1000})
    message.header.frame_id = "camera_color_optical_frame"
    reader = READERS[type_name]
    assert reader(message, MetadataSettings(frame_id="camera_color_optical_frame")) is not None
    assert reader(message, MetadataSettings(frame_id="camera_infra1_optical_frame")) is None


def test_a_frame_id_that_is_not_a_text_is_another_frame_id():
    message = flir_message()
    message.header.frame_id = np.zeros(3)
    assert READERS[FLIR](message, MetadataSettings(frame_id="camera")) is None


def test_a_stamp_of_zero_is_unset():
    assert READERS[ORBBEC](json_message({"exposure": 1000}, stamp_ns=0), DEFAULTS).stamp_ns is None


@pytest.mark.parametrize(
    "values", [{}, {"frame_number": 7}, {"exposure": 0, "gain": 0}, {"exposure": None}, {"exposure": " ", "gain": ""}]
)
def test_a_message_without_values_is_an_unknown_reading(values):
    assert READERS[ORBBEC](json_message(values), DEFAULTS) == Reading(STAMP_NS, UNKNOWN)


@pytest.mark.parametrize("value", [0, -1, -33000, math.nan, math.inf, -math.inf, "nan", "9" * 5000])
def test_an_exposure_of_zero_or_less_or_nan_is_unknown(value):
    assert READERS[ORBBEC](json_message({"exposure": value}), DEFAULTS) == Reading(STAMP_NS, UNKNOWN)
    reading = READERS[ORBBEC](json_message({"exposure": value, "gain": 4}), DEFAULTS)
    assert reading == Reading(STAMP_NS, CaptureMetadata(400.0, None))


@pytest.mark.parametrize("value", [math.nan, math.inf, "nan"])
def test_a_gain_that_is_not_finite_is_unknown(value):
    reading = READERS[ORBBEC](json_message({"exposure": 5000, "gain": value}), DEFAULTS)
    assert reading == Reading(STAMP_NS, CaptureMetadata(None, 0.005))


@pytest.mark.parametrize(
    ("values", "capture", "expected"),
    [
        ({"exposure": "soon", "gain": 4}, CaptureMetadata(400.0, None), "exposure is 'soon'"),
        ({"exposure": 1e300, "gain": 4}, CaptureMetadata(400.0, None), "exposure 1e.300 converts to"),
        ({"exposure": 5000, "gain": "n/a"}, CaptureMetadata(None, 0.005), "gain is 'n/a'"),
        ({"exposure": 5000, "gain": -2}, CaptureMetadata(None, 0.005), "gain -2 converts to"),
        ({"exposure": 5000, "gain": [4]}, CaptureMetadata(None, 0.005), r"gain is \[4\]"),
    ],
)
def test_an_invalid_value_is_a_problem_and_the_other_value_is_used(values, capture, expected):
    reading = READERS[ORBBEC](json_message(values), DEFAULTS)
    assert reading.capture == capture
    assert re.search(expected, reading.problem)


def test_the_error_of_two_invalid_values_is_that_of_the_exposure():
    with pytest.raises(MetadataError, match="exposure is 'soon'"):
        READERS[ORBBEC](json_message({"exposure": "soon", "gain": "high"}), DEFAULTS)


@pytest.mark.parametrize(
    ("key", "value"),
    [(key, value) for key in ("exposure", "gain") for value in (1e300, 10**400, "soon", [33000], {"us": 1}, True)]
    + [("gain", -33000)],
)
def test_implausible_values_are_errors_that_name_the_key(key, value):
    with pytest.raises(MetadataError, match=key) as caught:
        READERS[ORBBEC](json_message({key: value}), DEFAULTS)
    assert len(str(caught.value)) < 300
    assert "check" in str(caught.value)


@pytest.mark.parametrize(("exposure_time", "gain"), [(0, 1e30), (0, -9999.0), (2**62, 0.0), (2**62, 1e30)])
def test_implausible_flir_values_are_errors(exposure_time, gain):
    with pytest.raises(MetadataError, match=r"gain|exposure_time"):
        READERS[FLIR](flir_message(exposure_time, gain), DEFAULTS)


@pytest.mark.parametrize("gain", [math.nan, math.inf, 1e30])
def test_an_implausible_flir_gain_keeps_the_exposure(gain):
    assert READERS[FLIR](flir_message(20_000, gain), DEFAULTS).capture == CaptureMetadata(None, pytest.approx(0.02))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "not JSON"),
        ("{'exposure': 1}", "not JSON"),
        ("[1, 2]", "not an object"),
        ("null", "not an object"),
        ("[" * 60_000, f"over the limit of {MAX_JSON_BRACKETS}"),
        ('{"exposure": ' + "1" * 60_000 + "}", "exposure|not JSON"),
        ('{"exposure": 1}' + " " * MAX_JSON_CHARACTERS, "over the limit of 65536"),
    ],
)
def test_unreadable_json_is_an_error(text, expected):
    with pytest.raises(MetadataError, match=expected):
        READERS[ORBBEC](json_message(text), DEFAULTS)


@pytest.mark.parametrize("data", [b"{}", None, 7])
def test_json_data_that_is_not_a_text_is_an_error(data):
    message = json_message({})
    message.json_data = data
    with pytest.raises(MetadataError, match="not text; check the metadata type"):
        READERS[REALSENSE](message, DEFAULTS)


@pytest.mark.parametrize("type_name", sorted(READERS))
def test_another_message_type_is_an_error_that_names_the_setting(type_name):
    with pytest.raises(MetadataError, match="metadata type"):
        READERS[type_name](SimpleNamespace(height=4), DEFAULTS)


def test_json_may_nest_as_deep_as_its_brackets_allow():
    values = {"exposure": 1000}
    for _ in range(MAX_JSON_BRACKETS - 2):
        values = {"exposure": 1000, "more": values}
    assert READERS[ORBBEC](json_message(values), DEFAULTS).capture.exposure_s == pytest.approx(0.001)
    with pytest.raises(MetadataError, match="over the limit"):
        READERS[ORBBEC](json_message({"a": {"b": values}}), DEFAULTS)


@pytest.mark.parametrize("stamp_ns", [-1, 2**63])
def test_a_stamp_out_of_range_is_an_error(stamp_ns):
    message = json_message({"exposure": 1000})
    message.header.stamp = SimpleNamespace(sec=0, nanosec=stamp_ns)
    with pytest.raises(MetadataError, match="stamp"):
        READERS[ORBBEC](message, DEFAULTS)


def test_a_header_without_stamp_is_an_error():
    message = json_message({"exposure": 1000})
    message.header = SimpleNamespace(frame_id="")
    with pytest.raises(MetadataError, match="stamp"):
        READERS[ORBBEC](message, DEFAULTS)


def test_an_unknown_type_names_the_known_ones():
    with pytest.raises(ConfigError, match=r"sensor_msgs/msg/Imu.*flir_camera_msgs/msg/ImageMetaData.*gain_field"):
        reader_for_type("sensor_msgs/msg/Imu")
    assert reader_for_type(FLIR) is READERS[FLIR]


def test_field_paths_have_precedence_over_the_reader_of_a_type():
    by_fields = MetadataSettings(gain_field="gain")
    assert reader_for_type("sensor_msgs/msg/Imu", by_fields) is read_fields
    assert reader_for_type(FLIR, by_fields) is read_fields
    assert reader_for_type(FLIR, DEFAULTS) is READERS[FLIR]


@pytest.mark.parametrize("type_name", ["", "sensor_msgs/Imu", "os.path/msg/Name", "a/b/msg/Name", "x/msg/Na-me"])
def test_an_invalid_type_name_has_no_reader(type_name):
    with pytest.raises(ConfigError, match="package_msgs/msg/Name"):
        reader_for_type(type_name, MetadataSettings(gain_field="gain"))


@pytest.mark.parametrize("name", ["exposure_unit_s", "exposure_scale_s", "base_iso", "gain_unity"])
@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_invalid_settings_are_rejected(name, value):
    with pytest.raises(ConfigError, match=name):
        MetadataSettings(**{name: value})


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"gain_min_db": 6.0}, "set both at once"),
        ({"gain_max_db": 201.0}, "gain_max_db"),
        ({"gain_max_db": math.nan}, "gain_max_db"),
        ({"gain_kind": "mdb"}, "milli_db"),
        ({"exposure_field": "a..b"}, "exposure_field"),
        ({"gain_field": "__class__"}, "gain_field"),
        ({"stamp_field": "[0]"}, "stamp_field"),
    ],
)
def test_invalid_paths_and_units_are_rejected(settings, expected):
    with pytest.raises(ConfigError, match=expected):
        MetadataSettings(**settings)


def test_a_negative_digital_gain_is_an_error_not_a_factor():
    message = diagnostics("plain", ("", 0, {"AnalogueGain": "-8.0", "DigitalGain": "-1.0"}))
    with pytest.raises(MetadataError, match="AnalogueGain"):
        READERS[DIAGNOSTICS](message, DEFAULTS)
    message = diagnostics("plain", ("", 0, {"AnalogueGain": "8.0", "DigitalGain": "-1.0"}))
    with pytest.raises(MetadataError, match="DigitalGain"):
        READERS[DIAGNOSTICS](message, DEFAULTS)


def aravis_message(kind="plain", **features):
    """Return a message whose ``data`` has GenICam features by name, all as text."""
    pairs = [
        message_kinds.message(kind, "diagnostic_msgs/msg/KeyValue", key=key, value=value)
        for key, value in features.items()
    ]
    return SimpleNamespace(header=message_kinds.header(kind, STAMP_NS, "camera_driver_gv"), data=pairs)


@pytest.mark.parametrize("kind", message_kinds.KINDS)
def test_aravis_features_are_text_in_microseconds_and_decibels(kind):
    message = aravis_message(kind, DeviceTemperature="41.5", ExposureTime="20000.000000", Gain="20.000000")
    reading = READERS[ARAVIS](message, DEFAULTS)
    assert reading == Reading(STAMP_NS, CaptureMetadata(pytest.approx(1000.0), pytest.approx(0.02)))


@pytest.mark.parametrize(
    ("features", "capture"),
    [
        ({"Gain": "0"}, CaptureMetadata(100.0, None)),
        ({"ExposureTime": "1000"}, CaptureMetadata(None, 0.001)),
        ({"ExposureTimeAbs": "1000", "GainRaw": "6.0206"}, UNKNOWN),
        ({"Gain": "nan"}, UNKNOWN),
    ],
)
def test_aravis_features_that_are_not_listed_are_unknown(features, capture):
    reading = READERS[ARAVIS](aravis_message(**features), DEFAULTS)
    assert reading == Reading(STAMP_NS, capture)


def test_a_missing_aravis_feature_keeps_the_other():
    reading = READERS[ARAVIS](aravis_message(ExposureTime="20000.0", Gain="n/a"), DEFAULTS)
    assert reading.capture == CaptureMetadata(None, pytest.approx(0.02))
    assert "Gain is 'n/a'" in reading.problem
    reading = READERS[ARAVIS](aravis_message(ExposureTime="n/a", Gain="20.0"), DEFAULTS)
    assert reading.capture == CaptureMetadata(pytest.approx(1000.0), None)


def test_aravis_features_can_be_configured():
    settings = MetadataSettings(exposure_key="ExposureTimeAbs", gain_key="GainDB")
    reading = READERS[ARAVIS](aravis_message(ExposureTimeAbs="1000", GainDB="20"), settings)
    assert reading.capture == CaptureMetadata(pytest.approx(1000.0), pytest.approx(0.001))


@pytest.mark.parametrize("gain", ["high", "400", "-9999"])
def test_implausible_aravis_values_are_errors(gain):
    with pytest.raises(MetadataError, match="Gain"):
        READERS[ARAVIS](aravis_message(Gain=gain), DEFAULTS)


def pylon_message(exposure=10_000.0, gain=0.5, success=True):
    return SimpleNamespace(offset_x=0, exposure=exposure, gain=gain, brightness=-9999.0, success=success, message="")


PYLON_RANGE = MetadataSettings(gain_min_db=0.0, gain_max_db=24.0)


@pytest.mark.parametrize(("gain", "decibels"), [(0.0, 0.0), (0.5, 12.0), (1.0, 24.0), (1.0000001, 24.0)])
def test_pylon_gain_is_normalised_and_has_no_stamp(gain, decibels):
    reading = READERS[PYLON](pylon_message(gain=gain), PYLON_RANGE)
    assert reading.stamp_ns is None
    assert reading.capture.iso == pytest.approx(100.0 * 10 ** (decibels / 20.0), rel=1e-5)
    assert reading.capture.exposure_s == pytest.approx(0.01)


def test_pylon_gain_range_above_zero():
    settings = MetadataSettings(gain_min_db=6.0206, gain_max_db=18.0)
    assert READERS[PYLON](pylon_message(gain=0.0), settings).capture.iso == pytest.approx(200.0, rel=1e-4)


def test_pylon_gain_without_its_range_is_unknown():
    assert READERS[PYLON](pylon_message(), DEFAULTS).capture == CaptureMetadata(None, pytest.approx(0.01))


@pytest.mark.parametrize("unavailable", [-9999.0, -10_000.0, -20_000.0])
def test_pylon_values_below_zero_are_unknown(unavailable):
    assert READERS[PYLON](pylon_message(gain=unavailable), PYLON_RANGE).capture.iso is None
    assert READERS[PYLON](pylon_message(exposure=unavailable), PYLON_RANGE).capture.exposure_s is None
    assert READERS[PYLON](pylon_message(unavailable, unavailable), PYLON_RANGE) == Reading(None, UNKNOWN)


@pytest.mark.parametrize("success", [False, None, "yes", 0])
def test_pylon_without_success_is_unknown(success):
    assert READERS[PYLON](pylon_message(success=success), PYLON_RANGE) == Reading(None, UNKNOWN)


@pytest.mark.parametrize(
    ("exposure", "gain", "iso", "exposure_s", "problem"),
    [
        (math.nan, 0.5, 398.1, None, ""),
        (math.inf, 0.5, 398.1, None, ""),
        (1e30, 0.5, 398.1, None, "exposure"),
        (1e4, 7.5, None, 0.01, "gain"),
        (1e4, math.nan, None, 0.01, ""),
    ],
)
def test_an_implausible_pylon_value_keeps_the_other(exposure, gain, iso, exposure_s, problem):
    reading = READERS[PYLON](pylon_message(exposure, gain), PYLON_RANGE)
    assert reading.capture.iso == (iso and pytest.approx(iso, rel=1e-3))
    assert reading.capture.exposure_s == exposure_s
    assert problem in reading.problem
    assert bool(problem) == bool(reading.problem)


def test_implausible_pylon_values_are_errors():
    with pytest.raises(MetadataError, match="gain"):
        READERS[PYLON](pylon_message(0.0, 7.5), PYLON_RANGE)


def wfov_message(shutter=0.02, gain=12.0):
    """Return a message like wfov_camera_msgs/msg/WFOVImage, in seconds and decibels."""
    return SimpleNamespace(header=message_kinds.header("plain", STAMP_NS, "wfov"), shutter=shutter, gain=gain)


WFOV = {"exposure_field": "shutter", "exposure_scale_s": 1.0, "gain_field": "gain", "gain_kind": "db"}


def test_field_paths_read_any_message():
    reading = read_fields(wfov_message(), MetadataSettings(**WFOV))
    assert reading == Reading(STAMP_NS, CaptureMetadata(pytest.approx(398.1, rel=1e-3), pytest.approx(0.02)))


@pytest.mark.parametrize("kind", message_kinds.KINDS)
def test_field_paths_read_lists_and_key_values(kind):
    settings = MetadataSettings(
        exposure_field="status[1].values[ExposureTime].value", gain_field="status[-1].values[AnalogueGain].value"
    )
    message = diagnostics(kind, ("battery", 0, {"Voltage": "12.1"}), ("camera", 0, CAMERA_ROS))
    assert read_fields(message, settings) == Reading(STAMP_NS, CaptureMetadata(800.0, pytest.approx(0.033)))


@pytest.mark.parametrize(
    ("gain_kind", "gain", "iso"),
    [("iso", 1600, 1600.0), ("db", 20.0, 1000.0), ("milli_db", 20_000, 1000.0), ("linear", 64, 400.0)],
)
def test_gain_field_in_each_unit(gain_kind, gain, iso):
    settings = MetadataSettings(gain_field="gain", gain_kind=gain_kind, gain_unity=16.0)
    assert read_fields(wfov_message(gain=gain), settings).capture == CaptureMetadata(pytest.approx(iso), None)


def test_zero_decibels_are_unknown_with_an_exposure_of_zero():
    assert read_fields(wfov_message(gain=0.0), MetadataSettings(**WFOV)).capture.iso == 100.0
    assert read_fields(wfov_message(shutter=0.0, gain=0.0), MetadataSettings(**WFOV)).capture == UNKNOWN
    alone = MetadataSettings(gain_field="gain", gain_kind="milli_db")
    assert read_fields(wfov_message(gain=0), alone).capture.iso == 100.0
    by_iso = MetadataSettings(gain_field="gain", gain_kind="iso")
    assert read_fields(wfov_message(gain=0), by_iso) == Reading(STAMP_NS, UNKNOWN)


def test_a_message_without_header_is_read_without_a_stamp():
    message = SimpleNamespace(layout=None, data=[10_000.0, 8.0])
    fields = {"exposure_field": "data[0]", "gain_field": "data[1]"}
    reading = read_fields(message, MetadataSettings(**fields, stamp_field=""))
    assert reading == Reading(None, CaptureMetadata(800.0, pytest.approx(0.01)))
    with pytest.raises(MetadataError, match=r"'header.stamp'.*found the fields layout, data"):
        read_fields(message, MetadataSettings(**fields))


def test_stamp_field_can_be_configured():
    message = SimpleNamespace(gain=2, info=wfov_message(), time=wfov_message().header.stamp)
    for stamp_field in ("info.header.stamp", "info.header", "time"):
        assert read_fields(message, MetadataSettings(gain_field="gain", stamp_field=stamp_field)).stamp_ns == STAMP_NS
    with pytest.raises(MetadataError, match="stamp"):
        read_fields(message, MetadataSettings(gain_field="gain", stamp_field="gain"))


def test_field_paths_use_the_frame_id():
    assert read_fields(wfov_message(), MetadataSettings(**WFOV, frame_id="wfov")) is not None
    assert read_fields(wfov_message(), MetadataSettings(**WFOV, frame_id="other")) is None


@pytest.mark.parametrize("shutter", [1e9, "soon", True, [0.02], SimpleNamespace(), b"1"])
def test_implausible_fields_are_errors_that_name_the_path(shutter):
    for settings in (MetadataSettings(**WFOV), MetadataSettings(exposure_field="shutter", exposure_scale_s=1.0)):
        with pytest.raises(MetadataError, match="shutter"):
            read_fields(wfov_message(shutter, gain=math.nan), settings)
    reading = read_fields(wfov_message(shutter), MetadataSettings(**WFOV))
    assert reading.capture == CaptureMetadata(pytest.approx(398.1, rel=1e-3), None)
    assert "shutter" in reading.problem


def test_a_negative_shutter_keeps_the_iso():
    """WFOVImage has a negative shutter for an invalid one."""
    reading = read_fields(wfov_message(shutter=-1.0, gain=6.0), MetadataSettings(**WFOV))
    assert reading == Reading(STAMP_NS, CaptureMetadata(pytest.approx(199.5, rel=1e-3), None))
    for shutter in (-1.0, None, math.nan):
        assert read_fields(wfov_message(shutter, gain=0.0), MetadataSettings(**WFOV)) == Reading(STAMP_NS, UNKNOWN)


def test_an_implausible_gain_keeps_the_exposure():
    reading = read_fields(wfov_message(shutter=0.01, gain=-9999), MetadataSettings(**WFOV))
    assert reading.capture == CaptureMetadata(None, pytest.approx(0.01))
    assert "gain -9999 converts to" in reading.problem


def test_a_missing_field_is_a_problem_and_the_other_value_is_used():
    reading = read_fields(wfov_message(), MetadataSettings(**{**WFOV, "gain_field": "gian"}))
    assert reading.capture == CaptureMetadata(None, pytest.approx(0.02))
    assert "no field 'gian'" in reading.problem
    with pytest.raises(MetadataError, match="no field 'shuter'"):
        read_fields(wfov_message(), MetadataSettings(exposure_field="shuter", gain_field="gian"))
