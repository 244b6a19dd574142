import math
from pathlib import Path

import pytest

from lowlight_enhance.core.errors import ConfigError
from lowlight_enhance.core.metadata.readers import READERS, MetadataSettings
from lowlight_enhance.core.pipeline import PROFILES, PipelineConfig
from lowlight_enhance.ros import parameter_docs
from lowlight_enhance.ros.parameters import SPECS, NodeParameters, flat_values

ROOT = Path(__file__).parents[2]
from_values = NodeParameters.from_values


def test_each_parameter_has_a_description_in_full_sentences():
    for spec in SPECS.values():
        assert spec.description.endswith(".")
        assert spec.description[0].isupper() or spec.description[0] == "'"


def test_metadata_defaults_are_those_of_the_readers():
    assert NodeParameters().metadata.settings() == MetadataSettings()


def test_defaults_are_those_of_the_pipeline():
    assert NodeParameters().pipeline_config() == PipelineConfig()


def test_the_defaults_pass_the_validation():
    assert from_values(dict(flat_values(NodeParameters()))) == NodeParameters()


def test_values_reach_the_pipeline():
    config = from_values(
        {
            "metadata.default_iso": 800.0,
            "metadata.default_exposure": 0.02,
            "max_pixels": 100,
            "metadata.gain_key": "g",
            "bypass.threshold": 90.0,
            "temporal.time_constant": 0.25,
        }
    ).pipeline_config()
    assert (config.fallback.iso, config.fallback.exposure_s) == (800.0, 0.02)
    assert config.max_pixels == 100
    assert config.metadata.gain_key == "g"
    assert (config.bypass_above, config.smoothing_s) == (90.0, 0.25)


def test_a_strength_below_0_stands_for_that_of_the_profile():
    config = NodeParameters.from_values({"profile": "detection"}).pipeline_config()
    assert (config.profile, config.strength) == ("detection", None)
    assert config.effective_strength == PROFILES["detection"]
    assert NodeParameters.from_values({"strength": 0.25}).pipeline_config().effective_strength == 0.25
    with pytest.raises(ConfigError, match="strength"):
        NodeParameters.from_values({"strength": -0.5})


def test_every_metadata_setting_can_be_set():
    """Each parameter of the group that is a reader's setting changes exactly one field of MetadataSettings."""
    other = {
        "gain_min_db": -5.0,
        "gain_max_db": 5.0,
        "gain_kind": "db",
        "exposure_field": "shutter",
        "gain_field": "gain",
        "stamp_field": "stamp",
        "ignore_under_auto_exposure": False,
    }
    elsewhere = {"type", "sync_tolerance", "max_wait", "max_age", "default_iso", "default_exposure"}
    names = [name.partition(".")[2] for name in SPECS if name.startswith("metadata.")]
    changed = set()
    for name in set(names) - elsewhere:
        default = SPECS[f"metadata.{name}"].default
        value = other.get(name, "key" if default == "" else 0.5 if name.endswith("unit") else 2.0)
        settings = from_values({f"metadata.{name}": value}).metadata.settings()
        (field,) = [f for f in MetadataSettings.__slots__ if getattr(settings, f) != getattr(MetadataSettings(), f)]
        changed.add(field)
    assert changed == set(MetadataSettings.__slots__)


def test_zero_is_unknown():
    values = {"metadata.default_iso": 0, "metadata.default_exposure": 0.0}
    assert from_values(values).pipeline_config().fallback.is_unknown


def test_integers_become_numbers_and_lists_become_tuples():
    params = from_values({"metadata.default_iso": 3200, "providers": ["A", "B"]})
    assert (type(params.metadata.default_iso), params.metadata.default_iso) == (float, 3200.0)
    assert params.providers == ("A", "B")


@pytest.mark.parametrize("type_name", ["", *READERS])
def test_every_reader_can_be_chosen(type_name):
    assert from_values({"metadata.type": type_name}).metadata.type == type_name


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("threads", -1),
        ("threads", 1.0),
        ("threads", True),
        ("threads", []),
        ("autostart", 1),
        ("metadata.default_iso", -1.0),
        ("metadata.default_iso", math.nan),
        ("metadata.default_exposure", math.inf),
        ("metadata.default_exposure", "0.1"),
        ("image_reliability", "Reliable"),
        ("output.encoding", "bgr16"),
        ("metadata.type", "realsense2_camera_msgs/Metadata"),
        ("metadata.sync_tolerance", -0.1),
        ("providers", []),
        ("providers", "CPUExecutionProvider"),
        ("providers", [1]),
        ("model", None),
        ("model", []),
    ],
)
def test_a_wrong_value_is_rejected_by_name(name, value):
    with pytest.raises(ConfigError, match=f"parameter '{name}'"):
        from_values({name: value})


def test_values_that_contradict_each_other_are_rejected():
    with pytest.raises(ConfigError, match=r"metadata\.\*"):
        from_values({"metadata.gain_min_db": 3.0, "metadata.gain_max_db": 1.0})
    with pytest.raises(ConfigError, match=r"camera\.\*"):
        from_values({"camera.node": "/camera"})


def test_an_unknown_name_is_rejected_with_the_nearest():
    with pytest.raises(ConfigError, match=r"did you mean 'metadata\.default_iso'"):
        from_values({"metadata.defualt_iso": 1.0})


class Recorder:
    """Records declarations like an rclpy node."""

    def __init__(self):
        self.declared = {}

    def declare_parameter(self, name, value, descriptor):
        self.declared[name] = (value, descriptor)


def test_declares_every_parameter_with_its_descriptor():
    pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")
    from lowlight_enhance.ros.parameter_declaration import declare

    node = Recorder()
    declare(node)
    assert list(node.declared) == list(SPECS)
    value, iso = node.declared["metadata.default_iso"]
    assert value == 0.0
    assert (iso.floating_point_range[0].from_value, iso.floating_point_range[0].to_value) == (0.0, 1e7)
    assert not iso.read_only
    assert node.declared["autostart"][1].read_only
    assert node.declared["threads"][1].integer_range[0].to_value == 256
    assert "'best_effort'" in node.declared["image_reliability"][1].additional_constraints
    assert node.declared["providers"][0] == ["CPUExecutionProvider"]


# The documentation


WRITE_THEM = "run: python -m lowlight_enhance.ros.parameter_docs"


def test_the_parameters_page_is_up_to_date():
    assert (ROOT / "docs/parameters.md").read_text(encoding="utf-8") == parameter_docs.parameters_page(), WRITE_THEM


def test_the_parameters_file_is_up_to_date():
    assert (ROOT / "config/enhance.yaml").read_text(encoding="utf-8") == parameter_docs.parameters_yaml(), WRITE_THEM


def test_every_parameter_is_on_the_page_and_in_the_file():
    yaml = pytest.importorskip("yaml", reason="reads the file as ROS does")
    assert [name for name in SPECS if f"| `{name}` |" not in parameter_docs.parameters_page()] == []
    listed = yaml.safe_load(parameter_docs.parameters_yaml())["/**"]["ros__parameters"]
    flat = {}
    for name, value in listed.items():
        flat.update({f"{name}.{key}": v for key, v in value.items()} if isinstance(value, dict) else {name: value})
    assert from_values(flat) == NodeParameters()
    types = {name: type(value) for name, value in flat.items()}
    assert types == {name: list if type(s.default) is tuple else type(s.default) for name, s in SPECS.items()}


def test_rcl_reads_the_file_with_the_defaults():
    rclpy = pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")
    context = rclpy.Context()
    rclpy.init(args=["--ros-args", "--params-file", str(ROOT / "config/enhance.yaml")], context=context)
    node = rclpy.create_node("reader", context=context, automatically_declare_parameters_from_overrides=True)
    try:
        values = {name: node.get_parameter(name).value for name in SPECS}
    finally:
        node.destroy_node()
        rclpy.try_shutdown(context=context)
    assert from_values(values) == NodeParameters()
    assert {name: type(value) for name, value in values.items() if type(value) is int} == {
        name: int for name, spec in SPECS.items() if type(spec.default) is int
    }


def test_descriptions_write_numbers_as_the_command_line_takes_them():
    """`ros2 param set` reads 1e-4 as text."""
    text = parameter_docs.parameters_page() + parameter_docs.parameters_yaml()
    text = text.replace("`1e-4` as a number", "")
    assert [word for word in text.split() if word.strip("`.,()|").replace("-", "").startswith("1e")] == []
