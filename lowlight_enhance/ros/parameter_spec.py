"""A ROS parameter described as a dataclass field: default, description, limits, choices and when it may change."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Literal

from lowlight_enhance.core.errors import ConfigError

Value = bool | int | float | str | tuple[str, ...]

Changeable = Literal["always", "unconfigured", "never"]
"""When a parameter may be set: at any time, only while the node is unconfigured, or only at start."""

_TYPE_NAMES: dict[type, str] = {
    bool: "a boolean",
    int: "an integer",
    float: "a number",
    str: "a string",
    tuple: "a non-empty list of strings",
}


def parameter(
    default: Value,
    description: str,
    *,
    limits: tuple[float, float] | None = None,
    choices: tuple[str, ...] = (),
    changeable: Changeable = "always",
) -> Any:
    """Return a dataclass field that is a ROS parameter. ``limits`` are inclusive."""
    metadata = {"description": description, "limits": limits, "choices": choices, "changeable": changeable}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class ParameterSpec:
    """Everything that is declared about one parameter.

    Attributes:
        name: dotted ROS name, such as ``bypass.threshold``.
        default: its type is the parameter's type.
        description: one or more sentences; the last one ends with a full stop.
        limits: inclusive range of a number, or None.
        choices: allowed strings; empty if any string is allowed.
        changeable: when the parameter may be set.
    """

    name: str
    default: Value
    description: str
    limits: tuple[float, float] | None
    choices: tuple[str, ...]
    changeable: Changeable

    def validated(self, value: Any) -> Any:
        """Return ``value`` converted to the parameter's type: an integer to a number, a list to a tuple.

        Raises:
            ConfigError: the type is wrong, or the value is outside the limits or not one of the choices.
        """
        expected: Any = type(self.default)
        if expected is tuple and isinstance(value, (list, tuple)) and value and all(type(v) is str for v in value):
            value = tuple(value)
        if expected is float and type(value) is int:
            value = float(value)
        if value is None:
            raise ConfigError(f"parameter '{self.name}': it has no value; use {_TYPE_NAMES[expected]}")
        if type(value) is not expected:  # not isinstance, because bool is a subclass of int
            raise ConfigError(f"parameter '{self.name}': {value!r} is not {_TYPE_NAMES[expected]}")
        if self.limits and not (math.isfinite(value) and self.limits[0] <= value <= self.limits[1]):
            low, high = self.limits
            raise ConfigError(f"parameter '{self.name}': {value} is not between {low:g} and {high:g}")
        if self.choices and value not in self.choices:
            allowed = ", ".join(map(repr, self.choices))
            raise ConfigError(f"parameter '{self.name}': '{value}' is not one of {allowed}")
        return value


def parameter_specs(parameters: Any, prefix: str = "") -> Iterator[ParameterSpec]:
    """Yield the spec of every parameter of a dataclass of defaults; nested dataclasses are dotted groups."""
    for entry in fields(parameters):
        value = getattr(parameters, entry.name)
        if is_dataclass(value):
            yield from parameter_specs(value, f"{prefix}{entry.name}.")
        else:
            yield ParameterSpec(name=f"{prefix}{entry.name}", default=value, **entry.metadata)
