from array import array
from dataclasses import dataclass
from types import SimpleNamespace

import message_kinds
import numpy as np
import pytest

from lowlight_enhance.core.errors import ConfigError, MetadataError
from lowlight_enhance.core.metadata.field_path import MAX_CHARACTERS, parse_field_path

KEY_VALUE = "diagnostic_msgs/msg/KeyValue"


@dataclass
class Leaf:
    shutter: int = 7
    wide: tuple = (1, 2)


def message(kind="plain"):
    pairs = [
        message_kinds.message(kind, KEY_VALUE, key="ExposureTime", value="33000"),
        message_kinds.message(kind, KEY_VALUE, key="Exposure Time, Absolute", value="330"),
        message_kinds.message(kind, KEY_VALUE, key="-1", value="minus one"),
    ]
    return SimpleNamespace(status=[SimpleNamespace(values=pairs)], leaf=Leaf(), numbers=array("I", [4, 5, 6]))


@pytest.mark.parametrize("kind", message_kinds.KINDS)
@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("status[0].values[ExposureTime].value", "33000"),
        ("status[0].values[Exposure Time, Absolute].value", "330"),
        ("status[-1].values[1].value", "330"),
        ("leaf.shutter", 7),
        ("leaf.wide[1]", 2),
        ("numbers[-1]", 6),
    ],
)
def test_paths_give_the_field(kind, path, value):
    assert parse_field_path(path).resolve(message(kind)) == value


def test_paths_into_numpy_arrays():
    assert parse_field_path("data[2]").resolve(SimpleNamespace(data=np.array([1.5, 2.5, 3.5]))) == 3.5


def test_a_number_in_brackets_is_always_an_index():
    assert parse_field_path("status[0].values[-1].value").resolve(message()) == "minus one"


def test_parsed_paths_are_cached():
    assert parse_field_path("leaf.shutter") is parse_field_path("leaf.shutter")


@pytest.mark.parametrize(
    "path",
    [
        "",
        ".",
        ".leaf",
        "leaf.",
        "leaf..shutter",
        "leaf shutter",
        "[0]",
        "[0].values",
        "status[",
        "status[]",
        "status[0]values",
        "status]0[",
        "status[[0]]",
        "__class__",
        "leaf.__class__",
        "leaf._hidden",
        "leaf.__init__.__globals__[os]",
        "print(1)",
        "numbers[1:2]x",
        "numbers.0",
        "sch\u00e4rfe",
        "a\nb",
        "a" * (MAX_CHARACTERS + 1),
    ],
)
def test_invalid_paths_are_rejected(path):
    with pytest.raises(ConfigError, match="field path") as caught:
        parse_field_path(path)
    assert len(str(caught.value)) < 2 * MAX_CHARACTERS


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("gain", r"path 'gain': the message has no field 'gain'; found the fields status, leaf, numbers"),
        ("leaf.gain", r"path 'leaf.gain': 'leaf' has no field 'gain'; found the fields shutter, wide"),
        ("status[3].values", r"'status' has no item 3; found 1 items"),
        ("status[-2].values", r"'status' has no item -2; found 1 items"),
        ("status[0].values[Gain].value", r"'status\[0\].values' has no key 'Gain'; found the keys ExposureTime, "),
        ("numbers[Gain]", r"'numbers' has no key 'Gain'; found 3 items"),
        ("leaf[0]", r"'leaf' has no items; found the fields shutter, wide"),
        ("leaf.shutter.value", r"'leaf.shutter' has no field 'value'; found int 7"),
        ("status[0].values[0].value[0]", r"value' has no items; found str '33000'"),
    ],
)
def test_an_error_names_the_existing_fields(path, expected):
    with pytest.raises(MetadataError, match=expected):
        parse_field_path(path).resolve(message())


@pytest.mark.parametrize("kind", message_kinds.KINDS)
def test_fields_of_every_kind_of_message_are_listed(kind):
    with pytest.raises(MetadataError, match="found the fields key, value"):
        parse_field_path("values").resolve(message_kinds.message(kind, KEY_VALUE, key="a", value="b"))


def test_errors_are_short():
    crowded = SimpleNamespace(
        pairs=[SimpleNamespace(key="k" * 1000, value=1)] * 1000,
        text="x" * 10**6,
        **{f"f{i}" * 50: 1 for i in range(99)},
    )
    for path in ("nothing", "pairs[nothing]", "text[0]", "text.nothing"):
        with pytest.raises(MetadataError) as caught:
            parse_field_path(path).resolve(crowded)
        assert len(str(caught.value)) < 400
