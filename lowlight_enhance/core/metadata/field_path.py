"""Paths to a field inside a message, such as ``status[0].values[ExposureTime].value``: read once, followed often.

A path is names joined by dots. A number in brackets takes an item of a list (negative: from its end), other text in
brackets the item of a list of diagnostic_msgs/msg/KeyValue with that key. Nothing in a path is executed.
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
"""Of a path."""

MAX_FOUND = 12
"""Names that an error shows, of those that a message has instead of the wanted one."""

SHOWN_CHARACTERS = 200
"""Of these names together."""

_STEP = re.compile(r"(?P<dot>\.?)(?P<name>[A-Za-z][A-Za-z0-9_]*)|\[(?P<index>-?[0-9]{1,9})\]|\[(?P<key>[^\[\]]+)\]")


@dataclass(frozen=True, slots=True)
class _Step:
    """One step from a value into it: the field ``name``, the item at ``index``, or the item with ``key``.

    Attributes:
        start: characters of the path before this step.
    """

    start: int
    name: str = ""
    index: int | None = None
    key: str = ""


@dataclass(frozen=True, slots=True)
class FieldPath:
    """A path that has been read; make one with ``field_path``."""

    text: str
    steps: tuple[_Step, ...]

    def resolve(self, msg: Any) -> Any:
        """What lies at the end of the path in ``msg``.

        Raises:
            MetadataError: the message has no such thing; names the path, how far it led and what is there instead.
        """
        value = msg
        for step in self.steps:
            found = _missing
            if step.name:
                found = getattr(value, step.name, _missing)
            elif _is_list(value):
                found = _item(value, step)
            if found is _missing:
                raise MetadataError(self._complaint(msg, value, step))
            value = found
        return value

    def _complaint(self, msg: Any, value: Any, step: _Step) -> str:
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
    """Read a path.

    Raises:
        ConfigError: it is none; says where it goes wrong.
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
    """What ``value`` has instead: its keys, the number of its items, its fields, or itself."""
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
