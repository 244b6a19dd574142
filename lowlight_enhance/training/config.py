"""Settings from YAML: a file holds only what differs from the defaults, which stand once, in the dataclasses."""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
import typing
from pathlib import Path
from typing import Any, TypeVar

import yaml

from lowlight_enhance.core.errors import ConfigError

T = TypeVar("T")


def load_config(cls: type[T], path: Path | None) -> T:
    """The dataclass ``cls`` with the differences that the YAML file at ``path`` lists; its defaults for None.

    Raises:
        ConfigError: no such file, not YAML, an unknown key, or a value of the wrong kind or out of range.
    """
    if path is None:
        return cls()
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from error
    return typing.cast(T, build(cls, values, str(path), cls()))


def build(kind: Any, value: Any, where: str, default: Any = None) -> Any:
    """``value``, of YAML's or JSON's types, as the annotated type ``kind``.

    A mapping for a dataclass changes ``default`` where that is one, so what it leaves out stays as it is there; None
    changes nothing. A float may be a text such as 1e-5, which YAML reads as one for want of a point.

    Raises:
        ConfigError: it cannot be; the message starts with ``where``.
    """
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        return _dataclass(kind, value, where, default)
    if origin is tuple:
        return _tuple(arguments, value, where)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        return build(next(a for a in arguments if a is not type(None)), value, where)
    if origin is typing.Literal:
        if value not in arguments:
            raise ConfigError(f"{where}: '{value}' is not one of {', '.join(map(str, arguments))}")
        return value
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind is float and isinstance(value, str) and (number := _number(value)) is not None:
        return number
    if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
        raise ConfigError(f"{where}: expected {kind.__name__}, found {value!r}")
    return value


def check_range(config: Any, low: float, high: float, *names: str) -> None:
    """Raise ConfigError unless these fields of a dataclass lie within ``low``..``high``; of a tuple, all its values.

    A tuple must hold one value at least. ``high`` may be infinite, a value may not.
    """
    wanted = f"{low:g} or more" if math.isinf(high) else f"from {low:g} to {high:g}"
    for name in names:
        value = getattr(config, name)
        values = value if isinstance(value, tuple) else (value,)
        if not values or not all(low <= v <= high and math.isfinite(v) for v in values):
            raise ConfigError(f"{name} must be {wanted}, found {list(value) if value is values else value}")


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _dataclass(kind: Any, value: Any, where: str, default: Any) -> Any:
    value = {} if value is None else value
    if not isinstance(value, dict):
        raise ConfigError(f"{where}: expected a mapping of {kind.__name__}'s settings, found {value!r}")
    hints = typing.get_type_hints(kind)
    for key in value:
        if key not in hints:
            near = difflib.get_close_matches(str(key), hints, 1)
            known = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(hints)}"
            raise ConfigError(f"{where}: unknown key '{key}'; {known}")
    if default is None:
        default = _all_defaults(kind)
    changes = {
        key: build(hints[key], item, f"{where}: {key}", getattr(default, key, None)) for key, item in value.items()
    }
    missing = [f.name for f in dataclasses.fields(kind) if _needed(f) and f.name not in changes]
    if default is None and missing:
        raise ConfigError(f"{where}: {' and '.join(missing)} missing; it needs {', '.join(hints)}")
    try:
        return kind(**changes) if default is None else dataclasses.replace(default, **changes)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error


def _all_defaults(kind: Any) -> Any:
    """An instance made of defaults alone; None where a field has none."""
    return None if any(_needed(field) for field in dataclasses.fields(kind)) else kind()


def _needed(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _tuple(arguments: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        raise ConfigError(f"{where}: expected a list, found {value!r}")
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        return tuple(build(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if len(value) != len(arguments):
        raise ConfigError(f"{where}: expected {len(arguments)} values, found {len(value)}")
    return tuple(
        build(kind, item, f"{where}[{i}]") for i, (kind, item) in enumerate(zip(arguments, value, strict=True))
    )
