"""Self-contained checkpoints: every state by name and the settings that rebuild what it belongs to."""

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
from lowlight_enhance.training.config import build

T = TypeVar("T")
M = TypeVar("M", bound=nn.Module)


class Stateful(Protocol):
    """A network, an optimiser, a schedule."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> Any: ...


@dataclasses.dataclass(frozen=True)
class Origin:
    """A network that a run learns from and leaves as it is: its checkpoints hold the hash of the weights alone."""

    sha256: str

    @classmethod
    def of(cls, network: nn.Module) -> Origin:
        """That of ``network`` as it is now."""
        digest = hashlib.sha256()
        for name, value in network.state_dict().items():
            digest.update(name.encode())
            digest.update(value.cpu().numpy().tobytes())
        return cls(digest.hexdigest())

    def state_dict(self) -> dict[str, Any]:
        """What ``save`` writes."""
        return dataclasses.asdict(self)


State = Mapping[str, Stateful | Origin]
"""All that a checkpoint holds of a run, by name."""


def settings(config: Any) -> dict[str, Any]:
    """A dataclass as plain values by class name, for a checkpoint that rebuilds what made it."""
    return {type(config).__name__: json.loads(json.dumps(dataclasses.asdict(config)))}


def save(path: Path, state: State, step: int, best: float, config: Any) -> None:
    """Write ``state`` and what it belongs to; readers find the old file or the whole new one."""
    content = {name: part.state_dict() for name, part in state.items()}
    # Given a path instead of a file, torch reports a full disk as a RuntimeError that does not say so.
    with atomic_file(path) as temporary, temporary.open("wb") as file:
        torch.save({**content, "step": step, "best": best, "about": settings(config)}, file)


def resume(path: Path, state: State, config: Any) -> tuple[int, float]:
    """Load what ``save`` wrote; returns the step to go on with and the best score so far. Without a file: (0, -inf).

    A setting that the file lacks, because it is younger than the file, counts as its default; an origin, as the same.

    Raises:
        DataError: the file belongs to a run with other settings or another origin.
    """
    if not path.exists():
        return 0, -math.inf
    saved = load(path)
    try:
        theirs = rebuild(type(config), saved, path)
    except ConfigError as error:
        raise DataError(f"{path} was written with other settings ({error}); give another --out") from error
    if theirs != config:
        raise DataError(
            f"{path} was written with other settings ({first_difference(theirs, config)}); "
            "give another --out, or remove it to start anew"
        )
    for name, part in state.items():
        if not isinstance(part, Origin):
            part.load_state_dict(saved[name])
        elif saved.get(name, part.state_dict()) != part.state_dict():
            raise DataError(f"{path} is of a run with another {name}: give that one, or another --out")
    return int(saved["step"]), float(saved["best"])


def load(path: Path) -> dict[str, Any]:
    """What ``save`` wrote, on the CPU.

    Raises:
        DataError: no such file, or not a checkpoint.
    """
    try:
        saved: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        if not {"step", "about"} <= set(saved):
            raise ValueError("it holds no settings")
    except (OSError, EOFError, TypeError, RuntimeError, ValueError, UnpicklingError) as error:
        raise DataError(f"{path} is not a checkpoint of this package ({error})") from error
    return saved


def rebuild(kind: type[T], saved: dict[str, Any], path: Path) -> T:
    """The settings of class ``kind`` in a checkpoint.

    Raises:
        ConfigError: it holds settings of another kind of run.
    """
    about = saved["about"]
    if kind.__name__ not in about:
        raise ConfigError(f"{path} holds {' and '.join(about)}, not {kind.__name__}")
    config: T = build(kind, about[kind.__name__], str(path))
    return config


def first_difference(a: Any, b: Any) -> str:
    """Name and both values of the first field in which two dataclasses of one class differ."""
    for field in dataclasses.fields(a):
        mine, theirs = getattr(a, field.name), getattr(b, field.name)
        if mine != theirs:
            if dataclasses.is_dataclass(mine) and type(mine) is type(theirs):
                return f"{field.name}.{first_difference(mine, theirs)}"
            return f"{field.name} {mine} there, {theirs} here"
    return "none"


@dataclasses.dataclass(frozen=True)
class Trained(Generic[T, M]):
    """How a command's checkpoint becomes a network that runs.

    Attributes:
        config: class of the run's settings.
        command: what writes such checkpoints.
        weights: name of the state that is the network's.
        network: makes the network that the settings describe.
    """

    config: type[T]
    command: str
    weights: str
    network: Callable[[T], M]

    def wrote(self, saved: dict[str, Any]) -> bool:
        """Whether ``saved``, of ``load``, is such a checkpoint."""
        return self.config.__name__ in saved["about"]

    def load(self, path: Path, saved: dict[str, Any] | None = None) -> tuple[M, T, int]:
        """The network in inference mode, the settings of its run and its step.

        Args:
            path: the checkpoint.
            saved: its content, where it has been read already.

        Raises:
            DataError: not such a checkpoint.
        """
        saved = load(path) if saved is None else saved
        try:
            config = rebuild(self.config, saved, path)
        except ConfigError as error:
            raise DataError(f"{path} is not a checkpoint of '{self.command}' ({error})") from error
        return load_weights(self.network(config), saved.get(self.weights), path), config, int(saved["step"])


def load_weights(model: M, state: Any, path: Path) -> M:
    """``model`` with the weights of a checkpoint, ready to run.

    Raises:
        DataError: they do not fit.
    """
    try:
        model.load_state_dict(state)
    except (TypeError, RuntimeError) as error:
        raise DataError(f"the weights in {path} do not fit the network that it describes ({error})") from error
    return model.eval()
