"""Declare the parameters on an rclpy node and read them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.exceptions import ParameterException
from rclpy.node import Node

from lowlight_enhance.core.errors import ConfigError
from lowlight_enhance.ros.parameter_spec import ParameterSpec
from lowlight_enhance.ros.parameters import SPECS, NodeParameters, suggestion


def declare(node: Node) -> None:
    """Declare every parameter with its descriptor.

    Raises:
        ConfigError: a value given at start has the wrong type or is out of range.
    """
    for spec in SPECS.values():
        default = list(spec.default) if isinstance(spec.default, tuple) else spec.default
        try:
            node.declare_parameter(spec.name, default, descriptor(spec))
        except ParameterException as error:
            raise ConfigError(f"parameter '{spec.name}': {error}. {spec.description}") from error


def descriptor(spec: ParameterSpec) -> ParameterDescriptor:
    """Return the ROS description of a parameter.

    Numbers are dynamically typed: rclpy would reject an integer for a double (``metadata.default_iso: 3200``).
    ``ParameterSpec.validated`` checks the type instead.
    """
    is_number = isinstance(spec.default, float)
    result = ParameterDescriptor(
        description=spec.description, read_only=spec.changeable == "never", dynamic_typing=is_number
    )
    if spec.choices:
        result.additional_constraints = "one of " + ", ".join(map(repr, spec.choices))
    if spec.limits and is_number:
        low, high = spec.limits
        result.floating_point_range = [FloatingPointRange(from_value=low, to_value=high)]
    elif spec.limits:
        low, high = spec.limits
        result.integer_range = [IntegerRange(from_value=int(low), to_value=int(high))]
    return result


def startup_values(node: Node) -> dict[str, Any]:
    """Return the value by name of every parameter that the node was started with, declared or not.

    rclpy has no public access to them. Its option ``automatically_declare_parameters_from_overrides`` would declare
    them all, but raises if a parameter file holds an empty list, even one for another node.
    """
    overrides: Mapping[str, Any] = getattr(node, "_parameter_overrides", {})
    return {name: parameter.value for name, parameter in overrides.items()}


def unknown(node: Node) -> list[str]:
    """Return a warning for each misspelt parameter that the node was started with; ROS ignores them silently."""
    names = [name for name in startup_values(node) if not node.has_parameter(name) and suggestion(name)]
    return [f"unknown parameter '{name}' is ignored{suggestion(name)}" for name in names]


def read(node: Node, changes: Mapping[str, Any] | None = None) -> NodeParameters:
    """Return the validated values of the node's parameters, updated with ``changes``, which are values by name.

    Raises:
        ConfigError: a value is not allowed.
    """
    # An empty list in a parameter file has no type, so rclpy leaves the parameter unset: its value is None.
    present = {name: node.get_parameter_or(name).value for name in SPECS}
    return NodeParameters.from_values({**present, **(changes or {})})
