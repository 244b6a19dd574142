"""Read run settings from YAML. A file holds only what differs from the defaults, which are in the dataclasses."""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import yaml

from lowlight_enhance.core.errors import ConfigError

T = TypeVar("T")


def load_config(cls: type[T], path: Path | None, default: T | None = None) -> T:
    """Return the settings in a YAML file.

    Args:
        cls: dataclass of the settings.
        path: YAML file; None: ``default`` as it is.
        default: values of what the file leaves out; None: the defaults of ``cls``.

    Raises:
        ConfigError: a file is missing or not YAML, a key is unknown, or a value has the wrong type or is out of range.
    """
    if default is None:
        default = cls()
    if path is None:
        return default
    return typing.cast(T, build(cls, _read_yaml(path), str(path), default))


def _read_yaml(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from error


def build(kind: Any, value: Any, where: str, default: Any = None) -> Any:
    """Convert a value of YAML or JSON to an annotated type.

    A mapping for a dataclass changes ``default`` where that is an instance, so what the mapping leaves out keeps its
    value; None changes nothing. A float may be a text such as 1e-5, which YAML reads as text for want of a point.

    Args:
        kind: the type.
        value: the value.
        where: position in the settings, for messages.
        default: current value.

    Raises:
        ConfigError: the value does not fit the type.
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
    """Check that fields of a dataclass lie within ``low``..``high``; of a tuple, all its values.

    A tuple must hold at least one value. ``high`` may be infinite, a value may not.

    Raises:
        ConfigError: a field does not.
    """
    wanted = f"{low:g} or more" if math.isinf(high) else f"from {low:g} to {high:g}"
    _check_values(config, names, lambda value: low <= value <= high and math.isfinite(value), wanted)


def check_below(config: Any, limit: float, *names: str) -> None:
    """Check that fields of a dataclass lie below ``limit``; of a tuple, all its values.

    Raises:
        ConfigError: a field does not.
    """
    _check_values(config, names, lambda value: value < limit, f"below {limit:g}")


def _check_values(config: Any, names: Iterable[str], is_valid: Callable[[float], bool], wanted: str) -> None:
    for name in names:
        value = getattr(config, name)
        values = value if isinstance(value, tuple) else (value,)
        if not values or not all(map(is_valid, values)):
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
    """Return an instance with all defaults; None if a field has no default."""
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
