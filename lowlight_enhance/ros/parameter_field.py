"""A ROS parameter as a field of a dataclass: default, description, limits, choices, and when it may change."""

from __future__ import annotations

import math
from dataclasses import Field, field
from typing import Any, Literal

from lowlight_enhance.core.errors import ConfigError

Value = bool | int | float | str | tuple[str, ...]

When = Literal["live", "configure", "start"]
"""A parameter may be changed at any time, while the node is unconfigured, or not after its start."""


def param(
    default: Value,
    description: str,
    *,
    limits: tuple[float, float] | None = None,
    choices: tuple[str, ...] = (),
    when: When = "live",
) -> Any:
    """A field that is a ROS parameter; ``limits`` are inclusive."""
    metadata = {"description": description, "limits": limits, "choices": choices, "when": when}
    return field(default=default, metadata=metadata)


def checked(entry: Field[Any], value: Any) -> Any:
    """``value`` as the field's type.

    Raises:
        ConfigError: another type, outside the limits or none of the choices; names the parameter and what is allowed.
    """
    name = entry.name
    kind: Any = type(entry.default)
    if kind is tuple and isinstance(value, (list, tuple)) and value and all(isinstance(part, str) for part in value):
        value = tuple(value)
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind:
        raise ConfigError(f"parameter '{name}': {value!r} is no {_KINDS[kind]}. {entry.metadata['description']}")
    limits, choices = entry.metadata["limits"], entry.metadata["choices"]
    if limits and not (math.isfinite(value) and limits[0] <= value <= limits[1]):
        raise ConfigError(f"parameter '{name}': {value} is outside {limits[0]:g} to {limits[1]:g}")
    if choices and value not in choices:
        raise ConfigError(f"parameter '{name}': '{value}' is none of {', '.join(map(repr, choices))}")
    return value


_KINDS = {
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    tuple: "list of one or more strings",
}
