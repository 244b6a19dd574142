"""Write the documentation of the node's parameters: ``docs/parameters.md`` and ``config/enhance.yaml``.

``python -m lowlight_enhance.ros.parameter_docs`` writes both files of a checkout from the parameters in the code.
"""

from __future__ import annotations

import argparse
import textwrap
from pathlib import Path
from typing import Any

from lowlight_enhance.ros.parameter_spec import Changeable, ParameterSpec
from lowlight_enhance.ros.parameters import SPECS

CHECKOUT = Path(__file__).parents[2]

YAML_WIDTH = 110

GROUP_TITLES = {
    "": "Model, input and process",
    "output": "Output",
    "bypass": "Bypass of bright frames",
    "temporal": "Temporal fusion and filter",
    "metadata": "Capture metadata",
    "camera": "Parameters of the camera driver's node",
}
"""Heading of each group, by the part of the name before the dot."""

CHANGEABLE: dict[Changeable, str] = {
    "always": "",
    "unconfigured": " Can be set only while the node is unconfigured.",
    "never": " Read-only: set it at start.",
}

PAGE_HEAD = """\
# Parameters

<!-- Written by `python -m lowlight_enhance.ros.parameter_docs`. Edit lowlight_enhance/ros/parameters.py instead. -->

Every parameter of the node. [config/enhance.yaml](../config/enhance.yaml) lists the same parameters with their
defaults: copy it, change what you need, and start the node with `params_file:=`. On a running node,
`ros2 param describe /lowlight_enhance NAME` prints the same text.

- Parameters can be set while the node runs, unless the table says otherwise. A change applies from the next frame
  on. Invalid changes are rejected with a reason.
- A new model is loaded in the background. If it cannot be used, the previous model stays in use and the node sets
  `model` and the other parameters of the model back to the values in use. This is the only case in which the node
  changes its own parameters.
- Times are in seconds. Write small numbers as `1.0e-4`: `ros2 param set` does not accept `1e-4` as a number.
- `qos_overrides.<topic>.<publisher or subscription>.<history, depth or reliability>` overrides the QoS of a topic.
  `<topic>` is the resolved name, such as `/camera/image_enhanced`. These parameters can be given only at start.
"""

YAML_HEAD = """\
# Every parameter of the node with its default. Written by `python -m lowlight_enhance.ros.parameter_docs`.
# Copy this file, change what you need, and give it to a launch file with params_file:=
# docs/cameras.md has the metadata settings of common camera drivers. Times are in seconds.
#
# QoS of a topic, by its resolved name:
#
#     qos_overrides:
#       /camera/image_enhanced:
#         publisher: {reliability: best_effort, depth: 5}

/**:
  ros__parameters:
"""


def parameters_page() -> str:
    """Return the text of ``docs/parameters.md``."""
    parts = [PAGE_HEAD]
    for group, title in GROUP_TITLES.items():
        rows = "".join(_row(spec) for spec in _specs(group))
        parts.append(f"\n## {title}\n\n| parameter | default | description |\n|---|---|---|\n{rows}")
    return "".join(parts)


def parameters_yaml() -> str:
    """Return the text of ``config/enhance.yaml``."""
    parts = [YAML_HEAD]
    for group in GROUP_TITLES:
        indent = " " * (6 if group else 4)
        if group:
            parts.append(f"    {group}:\n")
        for spec in _specs(group):
            comment = textwrap.wrap(_description(spec), YAML_WIDTH, break_on_hyphens=False)
            parts.extend(f"{indent}# {line}\n" for line in comment)
            parts.append(f"{indent}{spec.name.rpartition('.')[2]}: {yaml_value(spec.default)}\n")
    return "".join(parts)


def yaml_value(value: Any) -> str:
    """Return ``value`` as YAML that the ROS parameter parser reads back with the same type."""
    if isinstance(value, tuple):
        return "[" + ", ".join(value) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and "e" in str(value):
        mantissa, _, exponent = str(value).partition("e")
        return f"{mantissa if '.' in mantissa else mantissa + '.0'}e{int(exponent)}"
    return '""' if value == "" else str(value)


def _specs(group: str) -> list[ParameterSpec]:
    return [spec for name, spec in SPECS.items() if name.rpartition(".")[0] == group]


def _row(spec: ParameterSpec) -> str:
    description = _description(spec).replace("<", "&lt;").replace("|", "\\|")
    return f"| `{spec.name}` | `{yaml_value(spec.default)}` | {description} |\n"


def _description(spec: ParameterSpec) -> str:
    """Return the description with the allowed values and the times at which the parameter can be set."""
    allowed = ""
    if spec.choices:
        allowed = " One of " + ", ".join(map(yaml_value, spec.choices)) + "."
    elif spec.limits:
        low, high = spec.limits
        allowed = f" From {_plain(low)} to {_plain(high)}."
    return spec.description + allowed + CHANGEABLE[spec.changeable]


def _plain(value: float) -> str:
    return f"{value:.10g}" if value == int(value) else yaml_value(value)


def main() -> None:
    """Write both files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkout", type=Path, nargs="?", default=CHECKOUT)
    checkout: Path = parser.parse_args().checkout
    (checkout / "docs" / "parameters.md").write_text(parameters_page(), encoding="utf-8")
    (checkout / "config" / "enhance.yaml").write_text(parameters_yaml(), encoding="utf-8")


if __name__ == "__main__":
    main()
