import math
from dataclasses import fields

import pytest

from lowlight_enhance.core.errors import ConfigError
from lowlight_enhance.core.metadata.readers import READERS, MetadataSettings
from lowlight_enhance.core.pipeline import StreamConfig
from lowlight_enhance.ros.parameters import NAMES, NodeParams


def test_each_parameter_has_one_sentence_of_description():
    for entry in fields(NodeParams):
        description = entry.metadata["description"]
        assert description.endswith(".")
        assert description[0].isupper()


def test_every_metadata_setting_is_a_parameter_with_the_same_default():
    assert NodeParams().metadata_settings() == MetadataSettings()


def test_defaults_are_those_of_the_stream():
    assert NodeParams().stream_config() == StreamConfig()


def test_values_reach_the_stream():
    config = NodeParams(
        default_iso=800.0, default_exposure_s=0.02, max_pixels=100, metadata_gain_key="g"
    ).stream_config()
    assert (config.fallback.iso, config.fallback.exposure_s) == (800.0, 0.02)
    assert config.max_pixels == 100
    assert config.metadata.gain_key == "g"


def test_zero_is_unknown():
    assert NodeParams(default_iso=0, default_exposure_s=0.0).stream_config().fallback.is_unknown


def test_whole_numbers_serve_as_numbers_and_lists_as_tuples():
    params = NodeParams.of({"default_iso": 3200, "providers": ["A", "B"]})
    assert (type(params.default_iso), params.default_iso, params.providers) == (float, 3200.0, ("A", "B"))


@pytest.mark.parametrize("type_name", ["", *READERS])
def test_every_reader_can_be_chosen(type_name):
    assert NodeParams(metadata_type=type_name).metadata_type == type_name


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("threads", -1),
        ("threads", 1.0),
        ("threads", True),
        ("autostart", 1),
        ("default_iso", -1.0),
        ("default_iso", math.nan),
        ("default_exposure_s", math.inf),
        ("default_exposure_s", "0.1"),
        ("image_reliability", "Reliable"),
        ("output_encoding", "bgr16"),
        ("metadata_type", "realsense2_camera_msgs/Metadata"),
        ("metadata_tolerance_s", -0.1),
        ("providers", []),
        ("providers", "CPUExecutionProvider"),
        ("providers", [1]),
        ("model", None),
    ],
)
def test_a_wrong_value_is_refused_by_name(name, value):
    with pytest.raises(ConfigError, match=f"parameter '{name}'"):
        NodeParams(**{name: value})


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'default_iso'"):
        NodeParams.of({"defualt_iso": 1.0})


class Recorder:
    """Takes declarations as a rclpy node does."""

    def __init__(self):
        self.declared = {}

    def declare_parameter(self, name, value, descriptor):
        self.declared[name] = (value, descriptor)


def test_declares_every_parameter_with_its_descriptor():
    pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")
    from lowlight_enhance.ros.parameter_declaration import declare

    node = Recorder()
    declare(node)
    assert tuple(node.declared) == NAMES
    value, iso = node.declared["default_iso"]
    assert value == 0.0
    assert (iso.floating_point_range[0].from_value, iso.floating_point_range[0].to_value) == (0.0, 1e7)
    assert not iso.read_only
    assert node.declared["autostart"][1].read_only
    assert node.declared["threads"][1].integer_range[0].to_value == 256
    assert "'best_effort'" in node.declared["image_reliability"][1].additional_constraints
    assert node.declared["providers"][0] == ["CPUExecutionProvider"]
