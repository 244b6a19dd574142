"""Checkpoints: states of networks and optimisers by name, and the settings that rebuild the networks."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import nn

from lowlight_enhance.core.errors import ConfigError, DataError
from lowlight_enhance.core.files import atomic_file
from lowlight_enhance.core.inference.session import one_line
from lowlight_enhance.training.config import build

T = TypeVar("T")
M = TypeVar("M", bound=nn.Module)


class Stateful(Protocol):
    """A network, an optimiser or a schedule."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> Any: ...


@dataclasses.dataclass(frozen=True)
class WeightsHash:
    """Identity of a frozen network, such as a teacher. A checkpoint holds this hash instead of the weights."""

    sha256: str

    @classmethod
    def of(cls, network: nn.Module) -> WeightsHash:
        """Return the hash of the names and values in the state of ``network``."""
        digest = hashlib.sha256()
        for name, value in network.state_dict().items():
            digest.update(name.encode())
            digest.update(value.cpu().numpy().tobytes())
        return cls(digest.hexdigest())

    def state_dict(self) -> dict[str, Any]:
        """Return the part of a checkpoint."""
        return dataclasses.asdict(self)


State = Mapping[str, Stateful | WeightsHash]
"""Parts of a checkpoint by name."""


def settings(config: Any) -> dict[str, Any]:
    """Return the values of a dataclass under the name of its class, as JSON values."""
    return {type(config).__name__: json.loads(json.dumps(dataclasses.asdict(config)))}


def save(path: Path, state: State, step: int, best: float, config: Any) -> None:
    """Write a checkpoint. The file is replaced atomically.

    Args:
        path: file to write.
        state: parts by name.
        step: training steps done.
        best: highest validation PSNR in dB so far.
        config: dataclass of the settings of the run.

    Raises:
        DataError: the file cannot be written.
    """
    content = {name: part.state_dict() for name, part in state.items()}
    with atomic_file(path) as temporary, temporary.open("wb") as file:
        try:
            torch.save({**content, "step": step, "best": best, "about": settings(config)}, file)
        except RuntimeError as error:
            # After an error of the disk, torch still completes its archive, and that error does not name the cause.
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise


def resume(path: Path, state: State, config: Any) -> tuple[int, float]:
    """Load the parts of a checkpoint into ``state``.

    A setting or a hash that the file lacks, because an earlier version wrote it, counts as the default or as equal.

    Returns:
        The steps done and the highest validation PSNR so far; (0, -inf) if the file does not exist.

    Raises:
        DataError: the file belongs to a run with other settings or another frozen network.
    """
    if not path.exists():
        return 0, -math.inf
    saved = load(path)
    try:
        theirs = read_config(type(config), saved, path)
    except ConfigError as error:
        raise DataError(f"{path} was written with other settings ({error}); give another --out") from error
    if theirs != config:
        raise DataError(
            f"{path} was written with other settings ({first_difference(theirs, config)}); "
            "give another --out, or remove it to start again"
        )
    for name, part in state.items():
        if not isinstance(part, WeightsHash):
            part.load_state_dict(saved[name])
        elif saved.get(name, part.state_dict()) != part.state_dict():
            raise DataError(f"{path} belongs to a run with another {name}; give that {name}, or another --out")
    return int(saved["step"]), float(saved["best"])


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU: parts by name, ``step``, ``best`` and ``about``, the settings.

    Raises:
        DataError: the file cannot be read, or is not a checkpoint.
    """
    try:
        saved: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        if not {"step", "about"} <= set(saved):
            raise ValueError("it has no settings")
    except (OSError, EOFError, TypeError, RuntimeError, ValueError, UnpicklingError) as error:
        raise DataError(f"{path} is not a checkpoint of this package ({one_line(error)})") from error
    return saved


def read_config(kind: type[T], saved: dict[str, Any], path: Path) -> T:
    """Return the settings of class ``kind`` in the checkpoint ``saved``.

    Raises:
        ConfigError: the checkpoint belongs to another kind of run, or a setting is invalid.
    """
    about = saved["about"]
    if kind.__name__ not in about:
        raise ConfigError(f"{path} holds {' and '.join(about)}, not {kind.__name__}")
    config: T = build(kind, about[kind.__name__], str(path))
    return config


def first_difference(a: Any, b: Any) -> str:
    """Return name and values of the first field in which two dataclasses of the same class differ."""
    for field in dataclasses.fields(a):
        mine, theirs = getattr(a, field.name), getattr(b, field.name)
        if mine != theirs:
            if dataclasses.is_dataclass(mine) and type(mine) is type(theirs):
                return f"{field.name}.{first_difference(mine, theirs)}"
            return f"{field.name} {mine} there, {theirs} here"
    return "none"


@dataclasses.dataclass(frozen=True)
class CheckpointKind(Generic[T, M]):
    """Checkpoints of one training command.

    Attributes:
        config: class of the settings.
        command: the command, for messages.
        weights: name of the part that holds the weights of the network.
        network: builds the network that the settings describe.
    """

    config: type[T]
    command: str
    weights: str
    network: Callable[[T], M]

    def matches(self, saved: dict[str, Any]) -> bool:
        """Return whether ``saved``, from ``load``, is a checkpoint of this kind."""
        return self.config.__name__ in saved["about"]

    def load(self, path: Path, saved: dict[str, Any] | None = None) -> tuple[M, T, int]:
        """Return the network in inference mode, the settings of its run and the steps done.

        Args:
            path: checkpoint.
            saved: content of the checkpoint; None: it is read.

        Raises:
            DataError: the file is not a checkpoint of this kind.
        """
        saved = load(path) if saved is None else saved
        try:
            config = read_config(self.config, saved, path)
        except ConfigError as error:
            raise DataError(f"{path} is not a checkpoint of '{self.command}' ({error})") from error
        return load_weights(self.network(config), saved.get(self.weights), path), config, int(saved["step"])


def load_weights(model: M, state: Any, path: Path) -> M:
    """Load weights into ``model``, and return it in inference mode.

    Raises:
        DataError: the weights do not fit the network.
    """
    try:
        model.load_state_dict(state)
    except (TypeError, RuntimeError) as error:
        raise DataError(
            f"the weights in {path} do not fit the network that it describes ({one_line(error)})"
        ) from error
    return model.eval()
