"""The node's parameters on a rclpy node: declared with their descriptors, and read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.exceptions import ParameterException
from rclpy.node import Node

from lowlight_enhance.core.errors import ConfigError
from lowlight_enhance.ros.parameters import NAMES, NodeParams, nearest


def declare(node: Node) -> None:
    """Declare every parameter on a rclpy node, with its descriptor.

    A number may be given as an integer (``default_iso: 3200``), which rclpy refuses for a statically typed double:
    hence dynamic typing there, and the check of the type in ``read``.

    Raises:
        ConfigError: the value given at start has the wrong type or is out of range.
    """
    for entry in fields(NodeParams):
        limits, choices, default = entry.metadata["limits"], entry.metadata["choices"], entry.default
        descriptor = ParameterDescriptor(
            description=entry.metadata["description"],
            read_only=entry.metadata["when"] == "start",
            dynamic_typing=isinstance(default, float),
        )
        if choices:
            descriptor.additional_constraints = "one of " + ", ".join(map(repr, choices))
        if limits and isinstance(default, float):
            low, high = limits
            descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=high)]
        elif limits:
            low, high = limits
            descriptor.integer_range = [IntegerRange(from_value=int(low), to_value=int(high))]
        try:
            node.declare_parameter(entry.name, list(default) if isinstance(default, tuple) else default, descriptor)
        except ParameterException as error:
            raise ConfigError(f"parameter '{entry.name}': {error}. {entry.metadata['description']}") from error


def given(node: Node) -> dict[str, Any]:
    """Value by name of every parameter that the node was started with, declared or not."""
    overrides: Mapping[str, Any] = getattr(node, "_parameter_overrides", {})
    return {name: parameter.value for name, parameter in overrides.items()}


def unknown(node: Node) -> list[str]:
    """A sentence on each misspelt parameter that the node was started with: ROS ignores them in silence."""
    names = [name for name in given(node) if not node.has_parameter(name) and nearest(name)]
    return [f"unknown parameter '{name}' is ignored{nearest(name)}" for name in names]


def read(node: Node) -> NodeParams:
    """The values that the node's parameters have now.

    Raises:
        ConfigError: a value that is not allowed.
    """
    return NodeParams.of({name: node.get_parameter(name).value for name in NAMES})
