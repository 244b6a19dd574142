"""Session: the interface of a loaded network, and what all runtimes share."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Protocol

from lowlight_enhance.core.errors import ModelError
from lowlight_enhance.core.inference.model_input import Tensor

Runtime = Literal["onnxruntime", "openvino"]
Precision = Literal["float32", "bfloat16"]
"""Arithmetic for float32 weights. An int8 file computes in int8 in every runtime."""

CPU_PROVIDER = "CPUExecutionProvider"
DEFAULT_PROVIDERS = (CPU_PROVIDER,)


class Session(Protocol):
    """A loaded network. Only one thread at a time may call ``run``."""

    @property
    def providers(self) -> tuple[str, ...]:
        """Providers in use, in order of preference."""

    @property
    def fallback(self) -> str:
        """Requested provider or precision that is not in use, with the reason; empty if there is none."""

    def run(self, tensor: Tensor) -> Tensor:
        """Return the output of the network, as a copy that the next run does not change.

        Raises:
            ModelError: the runtime fails on this tensor, or the session is closed.
        """

    def cancel(self) -> None:
        """End a run in another thread, and every later run, with ModelError. Call it from any thread.

        A run ends after the operator that it computes; the rest of the network is not computed.
        """

    def close(self) -> None:
        """Free the network and end its threads. Closing again does nothing."""


def one_line(error: Exception) -> str:
    """Return the message of a runtime, which may have many lines, as one line of at most 500 characters."""
    return " ".join(str(error).split())[:500] or type(error).__name__


def inference_error(path: Path, tensor: Tensor, error: Exception) -> ModelError:
    """Return the error for a runtime that fails on ``tensor``."""
    return ModelError(f"{path}: inference on a tensor of shape {tensor.shape} failed: {one_line(error)}")
