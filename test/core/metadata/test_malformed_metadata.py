"""Property tests: any metadata message gives a plausible reading, None or MetadataError."""

import contextlib
import itertools
import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lowlight_enhance.core.errors import ConfigError, MetadataError
from lowlight_enhance.core.metadata.capture import EXPOSURE_LIMITS_S, GAIN_KINDS, ISO_LIMITS
from lowlight_enhance.core.metadata.driver_parameters import DRIVERS, explain_unknown, read_parameters
from lowlight_enhance.core.metadata.field_path import parse_field_path
from lowlight_enhance.core.metadata.readers import READERS, MetadataSettings, read_fields, reader_for_type

WITH_JSON = ("realsense2_camera_msgs/msg/Metadata", "orbbec_camera_msgs/msg/Metadata")


def cases(count):
    return settings(deadline=None, max_examples=count, database=None)


tricky = st.sampled_from(
    [0, -1, 1, -9999, 2**31, 2**63, 10**400, 1e-320, 1e308, -1e308, math.nan, math.inf, -math.inf, "1_0", "٣", "0x1"]
)
plausible = st.floats(1.0, 64.0) | st.integers(1, 64)
texts = st.text(max_size=8) | plausible.map(str) | st.sampled_from(["nan", "-inf", " 8.0 ", "9" * 5000, "1e400"])
json_scalars = plausible | tricky | st.integers() | st.floats() | st.booleans() | st.none() | texts
others = st.lists(json_scalars, max_size=2) | st.builds(lambda: np.zeros(3)) | st.builds(SimpleNamespace)
anything = json_scalars | others | st.builds(dict) | st.binary(max_size=3)


@st.composite
def mostly(draw, sensible, otherwise=anything):
    """Return a strategy for plausible values, and for other values in one of eight cases."""
    return draw(sensible if draw(st.integers(0, 7)) else otherwise)


numbers = mostly(plausible | plausible.map(str))
stamps = st.builds(SimpleNamespace, sec=mostly(st.integers(-1, 2**31)), nanosec=mostly(st.integers(0, 2**32)))
headers = mostly(st.builds(SimpleNamespace, stamp=stamps, frame_id=mostly(st.just("camera"))))
names = ("ExposureTime", "AnalogueGain", "DigitalGain", "Gain", "exposure", "gain", "actual_exposure", "gain_level")
nested = st.recursive(
    json_scalars, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts, inner), max_leaves=4
)
json_texts = mostly(
    st.dictionaries(st.sampled_from((*names, "auto_exposure")), mostly(plausible, nested)).map(json.dumps),
    st.text(alphabet='{}[]":,0123456789eE.-+ntfalsru\x00é', max_size=30)
    | st.sampled_from([1, 255, 257, 70_000]).map(lambda depth: "[" * depth)
    | st.integers(1, 300).map(lambda depth: '{"exposure":' * depth + "1" + "}" * depth)
    | anything,
)
pairs = mostly(
    st.lists(mostly(st.builds(SimpleNamespace, key=mostly(st.sampled_from(names)), value=numbers)), max_size=4)
)
statuses = st.builds(
    SimpleNamespace, level=mostly(st.sampled_from([0, b"\x00"])), hardware_id=mostly(st.just("camera")), values=pairs
)
messages = st.builds(
    SimpleNamespace,
    header=headers,
    json_data=json_texts,
    exposure_time=numbers,
    exposure=numbers,
    gain=mostly(st.floats(0.0, 1.0), numbers),
    success=mostly(st.just(True)),
    status=mostly(st.lists(mostly(statuses), max_size=3)),
    data=pairs,
)
chosen = st.builds(
    MetadataSettings,
    exposure_unit_s=mostly(st.sampled_from([1e-6, 1e-4]), st.sampled_from([1e-300, 1e300])),
    base_iso=mostly(st.just(100.0), st.sampled_from([1e-300, 1e300])),
    gain_unity=mostly(st.sampled_from([1.0, 16.0]), st.just(1e-300)),
    gain_max_db=st.sampled_from([0.0, 24.0]),
    frame_id=st.sampled_from(["", "camera"]),
    hardware_id=st.sampled_from(["", "camera"]),
    stale_under_auto_exposure=st.booleans(),
)
paths = st.sampled_from(
    [
        *("exposure", "gain", "data[0].value", "data[Gain].value", "data[-1]", "status[0].values[ExposureTime].value"),
        *("header.stamp.sec", "success", "header", "json_data[0]", "exposure_time.real"),
    ]
)
by_fields = st.builds(
    MetadataSettings,
    exposure_field=paths | st.just(""),
    exposure_scale_s=mostly(st.sampled_from([1e-6, 1.0]), st.just(1e300)),
    gain_field=paths,
    gain_kind=st.sampled_from(GAIN_KINDS),
    stamp_field=st.sampled_from(["", "header", "header.stamp", "gain", "data[0]"]),
)


def is_sane(capture):
    iso, exposure_s = capture.iso, capture.exposure_s
    return (iso is None or (type(iso) is float and ISO_LIMITS[0] <= iso <= ISO_LIMITS[1])) and (
        exposure_s is None
        or (type(exposure_s) is float and EXPOSURE_LIMITS_S[0] <= exposure_s <= EXPOSURE_LIMITS_S[1])
    )


def check(read):
    """Check that readings are plausible, and that errors and problems are short."""
    problem = reading = None
    try:
        reading = read()
    except MetadataError as error:
        problem = str(error)
    assert problem is None or 10 < len(problem) < 800
    if reading is not None:
        assert is_sane(reading.capture)
        assert not reading.problem or (10 < len(reading.problem) < 800 and not reading.capture.is_unknown)
        assert reading.stamp_ns is None or (type(reading.stamp_ns) is int and 0 < reading.stamp_ns < 2**63)
    return reading


@cases(500)
@given(message=messages, chosen=chosen, by_fields=by_fields)
def test_arbitrary_messages_for_every_reader(message, chosen, by_fields):
    for read in READERS.values():
        check(lambda read=read: read(message, chosen))
    check(lambda: read_fields(message, by_fields))


@cases(100)
@given(anything)
def test_other_objects_instead_of_messages(message):
    for read in READERS.values():
        assert check(lambda read=read: read(message, MetadataSettings())) is None


@cases(200)
@given(json_texts)
def test_arbitrary_json(text):
    stamp = SimpleNamespace(sec=1, nanosec=0)
    message = SimpleNamespace(header=SimpleNamespace(stamp=stamp, frame_id=""), json_data=text)
    for type_name in WITH_JSON:
        check(lambda type_name=type_name: READERS[type_name](message, MetadataSettings()))


@cases(100)
@given(exposure_us=st.floats(1.0, 1e6), gain=st.floats(1.0, 64.0))
def test_plausible_values_are_always_read(exposure_us, gain):
    """Plausible values are never rejected."""
    seconds = exposure_us * 1e-6
    for kind, scale in itertools.product(GAIN_KINDS, (1e-6, 1e-4, 1.0)):
        chosen = MetadataSettings(
            exposure_field="exposure", exposure_scale_s=scale, gain_field="gain", gain_kind=kind, stamp_field=""
        )
        message = SimpleNamespace(exposure=seconds / scale, gain=gain)
        reading = check(lambda message=message, chosen=chosen: read_fields(message, chosen))
        assert reading.capture.exposure_s == pytest.approx(seconds)
        assert reading.capture.iso is not None


@cases(200)
@given(values=st.lists(mostly(plausible | st.booleans()), min_size=8, max_size=8), chosen=chosen)
def test_arbitrary_parameter_values(values, chosen):
    for source in DRIVERS.values():
        found = dict(zip(source.names, values, strict=False))
        with contextlib.suppress(MetadataError):
            assert is_sane(read_parameters(found, source, chosen))
            assert isinstance(explain_unknown(found, source, chosen), str)


@cases(200)
@given(st.text(max_size=30) | st.text(alphabet="ab_.[]0-9 ", max_size=20))
def test_arbitrary_text_is_a_path_or_rejected(text):
    path = None
    with contextlib.suppress(ConfigError):
        path = parse_field_path(text)
    if path is not None:
        assert path.text == text
        with pytest.raises(MetadataError, match="found"):
            path.resolve(SimpleNamespace(nothing=1))


@cases(100)
@given(st.text(max_size=30))
def test_text_that_is_not_a_type_is_rejected(text):
    with pytest.raises(ConfigError):
        reader_for_type(text, MetadataSettings(gain_field="gain"))
