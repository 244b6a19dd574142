"""Paths to a field in a message, for example ``status[0].values[ExposureTime].value``.

A path is a list of names joined by dots. A number in brackets is the index of a list item (negative: from the end).
Other text in brackets is the key of an item in a list of diagnostic_msgs/msg/KeyValue.

glom and JMESPath read such paths too, but are further dependencies of the robot, and both evaluate more than field
access. Names cannot begin with an underscore, so a parameter cannot reach Python internals.
"""

from __future__ import annotations

import functools
import re
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from lowlight_enhance.core.errors import ConfigError, MetadataError
from lowlight_enhance.core.metadata.message_values import cut, short

MAX_CHARACTERS = 200
"""Longest path."""

MAX_FOUND = 12
"""Number of existing names that an error message lists."""

SHOWN_CHARACTERS = 200
"""Characters of these names together."""

_STEP = re.compile(r"(?P<dot>\.?)(?P<name>[A-Za-z][A-Za-z0-9_]*)|\[(?P<index>-?[0-9]{1,9})\]|\[(?P<key>[^\[\]]+)\]")


@dataclass(frozen=True, slots=True)
class _Step:
    """One step of a path: the field ``name``, the item at ``index``, or the item with ``key``.

    Attributes:
        start: offset of the step in the path.
    """

    start: int
    name: str = ""
    index: int | None = None
    key: str = ""


@dataclass(frozen=True, slots=True)
class FieldPath:
    """A parsed path; ``parse_field_path`` returns one."""

    text: str
    steps: tuple[_Step, ...]

    def resolve(self, msg: Any) -> Any:
        """Return the value at the path in ``msg``.

        Raises:
            MetadataError: there is no such value. The error names the last value found and its fields.
        """
        value = msg
        for step in self.steps:
            found = _missing
            if step.name:
                found = getattr(value, step.name, _missing)
            elif _is_list(value):
                found = _item(value, step)
            if found is _missing:
                raise MetadataError(self._error_text(msg, value, step))
            value = found
        return value

    def _error_text(self, msg: Any, value: Any, step: _Step) -> str:
        if step.name:
            wanted = f"no field '{step.name}'"
        elif not _is_list(value):
            wanted = "no items"
        else:
            wanted = f"no item {step.index}" if step.index is not None else f"no key '{step.key}'"
        where = f"'{self.text[: step.start]}'" if step.start else "the message"
        return (
            f"metadata message {type(msg).__name__}: path '{self.text}': {where} has {wanted}; found {_found(value)}"
        )


_missing = object()


@functools.lru_cache(maxsize=64)
def parse_field_path(text: str) -> FieldPath:
    """Parse a path.

    Raises:
        ConfigError: the path is invalid. The error names the position.
    """
    if len(text) > MAX_CHARACTERS:
        raise ConfigError(f"field path of {len(text)} characters is over the limit of {MAX_CHARACTERS}")
    steps: list[_Step] = []
    at = 0
    while at < len(text):
        match = _STEP.match(text, at)
        if match is None or (match["name"] and bool(match["dot"]) != bool(steps)):
            break
        index = int(match["index"]) if match["index"] else None
        steps.append(_Step(at, match["name"] or "", index, match["key"] or ""))
        at = match.end()
    if at < len(text) or not steps or not steps[0].name:
        raise ConfigError(
            f"field path '{text}' cannot be read from '{text[at : at + 20]}' on; write names, [numbers] and [keys], "
            "like status[0].values[ExposureTime].value"
        )
    return FieldPath(text, tuple(steps))


def _is_list(value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return value.ndim > 0
    return isinstance(value, (Sequence, array)) and not isinstance(value, (str, bytes))


def _item(values: Sequence[Any], step: _Step) -> Any:
    if step.index is not None:
        return values[step.index] if -len(values) <= step.index < len(values) else _missing
    for item in values:
        key = getattr(item, "key", None)
        if isinstance(key, str) and key == step.key:
            return item
    return _missing


def _found(value: Any) -> str:
    """Describe ``value``: its keys, the number of its items, its fields, or itself."""
    if _is_list(value):
        keys = [key for item in islice(value, MAX_FOUND) if isinstance(key := getattr(item, "key", None), str)]
        return cut(f"the keys {', '.join(keys)}", SHOWN_CHARACTERS) if keys else f"{len(value)} items"
    names = (
        getattr(value, "_fields_and_field_types", None)  # rclpy
        or getattr(value, "__dataclass_fields__", None)  # rosbags
        or getattr(value, "__dict__", {})
    )
    fields = ", ".join(islice((name for name in names if not name.startswith("_")), MAX_FOUND))
    return cut(f"the fields {fields}", SHOWN_CHARACTERS) if fields else f"{type(value).__name__} {short(value)}"
