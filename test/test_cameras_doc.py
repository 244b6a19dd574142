"""The parameters, values, message types and drivers in docs/cameras.md exist in the code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from lowlight_enhance.core.metadata.driver_parameters import DRIVERS, ParameterSource
from lowlight_enhance.core.metadata.readers import READERS
from lowlight_enhance.ros.parameters import SPECS, NodeParameters

yaml = pytest.importorskip("yaml", reason="reads the values as ROS does")

TEXT = (Path(__file__).parents[1] / "docs/cameras.md").read_text(encoding="utf-8")
SETTING = re.compile(r"`([a-z]+\.\w+): ([^`]+)`")
NODE_PARAMETERS = [
    "camera.exposure_parameter",
    "camera.exposure_unit",
    "camera.gain_parameter",
    "camera.gain_kind",
    "camera.digital_gain_parameter",
    "camera.auto_parameter",
    "camera.manual_value",
]
"""Parameters that replace a driver's defaults, in the order of the table."""


def table_after(heading: str) -> list[list[str]]:
    """Return the cells of the first table below a heading, without the table's head."""
    lines = TEXT.partition(f"# {heading}\n")[2].splitlines()
    rows = [line.strip().strip("|").split("|") for line in lines if line.startswith("|")]
    count = next((i for i, line in enumerate(lines) if line.startswith("|")), 0)
    length = next(i for i, line in enumerate([*lines[count:], ""]) if not line.startswith("|"))
    return [[cell.strip() for cell in row] for row in rows[2:length]]


def settings_in(text: str) -> dict[str, Any]:
    return {name: yaml.safe_load(value) for name, value in SETTING.findall(text)}


ROWS = table_after("Settings for camera drivers")


def test_the_table_is_found() -> None:
    assert len(ROWS) >= 14
    assert all(settings_in(row[2]) for row in ROWS)


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_the_settings_of_a_driver_are_accepted(row: list[str]) -> None:
    settings = settings_in(row[2])
    NodeParameters.from_values(settings)
    assert bool(row[1]) == ("metadata.type" in settings)
    assert ("camera.driver" in settings) == ("camera.node" in settings)


def test_every_reader_and_every_driver_has_a_row() -> None:
    settings = [settings_in(row[2]) for row in ROWS]
    assert set(READERS) <= {values.get("metadata.type") for values in settings}
    assert set(DRIVERS) == {values["camera.driver"] for values in settings if "camera.driver" in values}


def test_every_parameter_named_exists_and_none_about_metadata_is_left_out() -> None:
    counts = {f"metadata.{match}" for match in ("exact", "nearest", "last", "fallback", "none")}
    named = set(re.findall(r"`((?:metadata|camera)\.\w+)\b", TEXT)) - counts
    assert named == {name for name in SPECS if name.startswith(("metadata.", "camera."))}


def cells_of(source: ParameterSource) -> list[set[str]]:
    """Return what the table of node parameters must contain for a driver, row by row."""
    return [
        set(source.exposure),
        {f"{source.exposure_unit_s:.1e}".replace("e-0", "e-")},
        set(source.gain),
        {source.gain_kind},
        set(source.digital_gain),
        {*source.exposure_auto, *source.gain_auto},
        {source.manual},
    ]


def test_switches_with_a_manual_value_of_their_own_are_documented() -> None:
    sentence = re.search(r"manual value of their own: (.*)", TEXT.replace("\n  ", " "))
    assert sentence is not None
    switches = {name for source in DRIVERS.values() for name in source.manual_by_name}
    assert switches == set(re.findall(r"`(\w+)`", sentence[1].partition("camera.manual_value")[0]))


@pytest.mark.parametrize(("column", "driver"), list(enumerate(DRIVERS, start=2)))
def test_the_table_of_node_parameters_is_the_codes(column: int, driver: str) -> None:
    head = next(line for line in TEXT.splitlines() if line.startswith("| node parameter |"))
    assert head.strip("|").split("|")[column].strip() == driver
    rows = table_after("Parameters of the driver's node")
    assert [set(row[column].replace("`", "").split()) for row in rows] == cells_of(DRIVERS[driver])
    assert [row[0].strip("`") for row in rows] == NODE_PARAMETERS


def test_times_are_those_of_the_code() -> None:
    pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")
    from lowlight_enhance.ros.camera_parameter_client import PERIOD_S, REFRESH_PERIOD_S

    assert f"reported every {PERIOD_S:g} s" in TEXT
    assert f"noticed within {REFRESH_PERIOD_S:g} s" in TEXT
