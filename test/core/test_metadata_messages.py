import contextlib
import json
import math
from types import SimpleNamespace

import message_kinds
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lowlight_enhance.core.capture import EXPOSURE_LIMITS_S, ISO_LIMITS, CaptureMetadata
from lowlight_enhance.core.errors import ConfigError, LowlightError, MetadataError
from lowlight_enhance.core.metadata_messages import MAX_JSON_CHARACTERS, READERS, MetadataSettings, Reading, reader_of

STAMP_NS = 1_700_000_000_123_456_789
REALSENSE = "realsense2_camera_msgs/msg/Metadata"
ORBBEC = "orbbec_camera_msgs/msg/Metadata"
FLIR = "flir_camera_msgs/msg/ImageMetaData"
DIAGNOSTICS = "diagnostic_msgs/msg/DiagnosticArray"
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


def test_realsense_infrared_as_its_driver_writes_it():
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


def test_realsense_colour_counts_units_of_100_microseconds():
    message = json_message({"actual_exposure": 166, "gain_level": 64, "auto_exposure": 0})
    capture = READERS[REALSENSE](message, MetadataSettings(exposure_unit_s=1e-4, gain_unity=16.0)).capture
    assert capture.exposure_s == pytest.approx(0.0166)
    assert capture.iso == pytest.approx(400.0)


@pytest.mark.parametrize("auto_exposure", [1, 1.0, True, "1"])
def test_realsense_exposure_is_unknown_while_auto_exposure_repeats_the_manual_one(auto_exposure):
    message = json_message({"actual_exposure": 166, "gain_level": 4, "auto_exposure": auto_exposure})
    assert READERS[REALSENSE](message, DEFAULTS).capture == CaptureMetadata(400.0, None)
    live = READERS[REALSENSE](message, MetadataSettings(stale_under_auto_exposure=False))
    assert live.capture.exposure_s == pytest.approx(166e-6)


@pytest.mark.parametrize("auto_exposure", [0, 0.0, False, None, "0"])
def test_realsense_manual_exposure_is_believed(auto_exposure):
    message = json_message({"actual_exposure": 166, "auto_exposure": auto_exposure})
    assert READERS[REALSENSE](message, DEFAULTS).capture.exposure_s == pytest.approx(166e-6)


def test_orbbec_believes_its_exposure_under_auto_exposure():
    message = json_message({"exposure": 10_000, "gain": 8, "auto_exposure": 1})
    capture = READERS[ORBBEC](message, MetadataSettings(base_iso=50.0)).capture
    assert (capture.iso, capture.exposure_s) == (400.0, pytest.approx(0.01))


def test_other_keys_can_be_named():
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


def test_flir_without_chunk_data_tells_nothing():
    assert READERS[FLIR](flir_message(0, 0.0), DEFAULTS) is None


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
def test_diagnostics_of_others_are_passed_over(kind):
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


@pytest.mark.parametrize("type_name", [REALSENSE, ORBBEC, FLIR])
def test_only_the_wanted_frame_counts(type_name):
    message = flir_message() if type_name == FLIR else json_message({"actual_exposure": 1000, "exposure": 1000})
    message.header.frame_id = "camera_color_optical_frame"
    reader = READERS[type_name]
    assert reader(message, MetadataSettings(frame_id="camera_color_optical_frame")) is not None
    assert reader(message, MetadataSettings(frame_id="camera_infra1_optical_frame")) is None


def test_a_stamp_of_zero_is_no_stamp():
    assert READERS[ORBBEC](json_message({"exposure": 1000}, stamp_ns=0), DEFAULTS).stamp_ns is None


@pytest.mark.parametrize("values", [{}, {"frame_number": 7}, {"exposure": 0, "gain": 0}, {"exposure": None}])
def test_a_message_that_tells_neither_value_is_passed_over(values):
    assert READERS[ORBBEC](json_message(values), DEFAULTS) is None


@pytest.mark.parametrize(
    "value", [math.nan, math.inf, -33000, 1e300, 10**400, "soon", [33000], {"us": 1}, True, "9" * 5000]
)
@pytest.mark.parametrize("key", ["exposure", "gain"])
def test_absurd_values_are_errors_that_name_the_key(key, value):
    with pytest.raises(MetadataError, match=key) as caught:
        READERS[ORBBEC](json_message({key: value}), DEFAULTS)
    assert len(str(caught.value)) < 300
    assert "check" in str(caught.value)


@pytest.mark.parametrize(
    ("exposure_time", "gain"), [(20_000, math.nan), (20_000, math.inf), (20_000, 1e30), (2**62, 0.0)]
)
def test_absurd_flir_values_are_errors(exposure_time, gain):
    with pytest.raises(MetadataError, match=r"gain|exposure_time"):
        READERS[FLIR](flir_message(exposure_time, gain), DEFAULTS)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no JSON"),
        ("{'exposure': 1}", "no JSON"),
        ("[1, 2]", "not an object"),
        ("null", "not an object"),
        ("[" * 60_000, "no JSON"),
        ('{"exposure": ' + "1" * 60_000 + "}", "exposure|no JSON"),
        ('{"exposure": 1}' + " " * MAX_JSON_CHARACTERS, "over the limit of 65536"),
    ],
)
def test_unreadable_json_is_an_error(text, told):
    with pytest.raises(MetadataError, match=told):
        READERS[ORBBEC](json_message(text), DEFAULTS)


@pytest.mark.parametrize("data", [b"{}", None, 7])
def test_json_data_that_is_no_text_is_an_error(data):
    message = json_message({})
    message.json_data = data
    with pytest.raises(MetadataError, match="not text; check metadata_type"):
        READERS[REALSENSE](message, DEFAULTS)


@pytest.mark.parametrize("type_name", sorted(READERS))
def test_a_foreign_message_is_an_error_that_names_the_setting(type_name):
    with pytest.raises(MetadataError, match="metadata_type"):
        READERS[type_name](SimpleNamespace(height=4), DEFAULTS)


def test_a_header_without_stamp_is_an_error():
    message = json_message({"exposure": 1000})
    message.header = SimpleNamespace(frame_id="")
    with pytest.raises(MetadataError, match="stamp"):
        READERS[ORBBEC](message, DEFAULTS)


def test_an_unknown_type_names_the_known_ones():
    with pytest.raises(ConfigError, match=r"sensor_msgs/msg/Imu.*flir_camera_msgs/msg/ImageMetaData"):
        reader_of("sensor_msgs/msg/Imu")
    assert reader_of(FLIR) is READERS[FLIR]


@pytest.mark.parametrize("name", ["exposure_unit_s", "base_iso", "gain_unity"])
@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_senseless_settings_are_refused(name, value):
    with pytest.raises(ConfigError, match=name):
        MetadataSettings(**{name: value})


numbers = st.integers() | st.floats() | st.booleans() | st.none() | st.text(max_size=5)
json_values = st.recursive(numbers, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner))
keys = st.sampled_from(["exposure", "actual_exposure", "gain", "gain_level", "auto_exposure"])


def check_garbage(type_name, message):
    """Nothing but LowlightError, and no value that CaptureMetadata would not believe."""
    with contextlib.suppress(LowlightError):
        reading = READERS[type_name](message, DEFAULTS)
        if reading is not None:
            assert reading.capture.iso is None or ISO_LIMITS[0] <= reading.capture.iso <= ISO_LIMITS[1]
            low, high = EXPOSURE_LIMITS_S
            assert reading.capture.exposure_s is None or low <= reading.capture.exposure_s <= high


@settings(deadline=None, max_examples=150)
@given(st.sampled_from([REALSENSE, ORBBEC]), st.dictionaries(keys, json_values))
def test_garbage_in_json_values(type_name, values):
    check_garbage(type_name, json_message(values))


@settings(deadline=None, max_examples=100)
@given(st.sampled_from([REALSENSE, ORBBEC]), st.text(alphabet='{}[]":,0123456789eE.-+ntfalsru\x00é'))
def test_garbage_in_json_text(type_name, text):
    check_garbage(type_name, json_message(text))


@settings(deadline=None, max_examples=100)
@given(json_values, json_values)
def test_garbage_in_flir_fields(exposure_time, gain):
    check_garbage(FLIR, flir_message(exposure_time, gain))


@settings(deadline=None, max_examples=100)
@given(json_values, json_values, json_values, st.sampled_from(["status", "values", "level", "value", "header"]))
def test_garbage_in_diagnostics(first, second, third, where):
    message = diagnostics("plain", ("camera", 0, CAMERA_ROS))
    status = message.status[0]
    if where in ("status", "header"):
        setattr(message, where, first)
    elif where == "value":
        for pair, value in zip(status.values, (first, second, third), strict=False):
            pair.value = value
    else:
        setattr(status, where, first)
    check_garbage(DIAGNOSTICS, message)
