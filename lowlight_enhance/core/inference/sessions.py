"""Sessions: what runs a network. ONNX Runtime's stands here, OpenVINO's in ``openvino_session``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Protocol, cast

import numpy as np
import onnxruntime as ort

from lowlight_enhance.core.errors import ConfigError, ModelError
from lowlight_enhance.core.inference.model_file import ModelFile
from lowlight_enhance.core.inference.model_input import Tensor

Runtime = Literal["onnxruntime", "openvino"]
Precision = Literal["float32", "bfloat16"]
"""Of the arithmetic where the file's weights are float32; an int8 file computes in int8 in every runtime."""

CPU_PROVIDER = "CPUExecutionProvider"
DEFAULT_PROVIDERS = (CPU_PROVIDER,)

NO_FOLDER = os.path.join(os.devnull, "no-external-data")  # noqa: PTH118 - must stay a path that cannot exist
"""Where ONNX Runtime looks for files beside the model. One that names any is refused before; this is a second door."""


class Session(Protocol):
    """A network that is loaded; for one thread at a time."""

    @property
    def providers(self) -> tuple[str, ...]:
        """What computes, in order of preference."""

    @property
    def fallback(self) -> str:
        """Why it is not what was asked for; empty where it is."""

    def run(self, tensor: Tensor) -> Tensor:
        """The network's output; the caller's own.

        Raises:
            ModelError: it fails on this tensor, or the session is closed.
        """

    def close(self) -> None:
        """Free the network and end its threads. Closing twice is no error."""


def open_session(
    model: ModelFile,
    runtime: Runtime,
    providers: Sequence[str],
    threads: int,
    precision: Precision,
    probe: tuple[int, ...],
) -> Session:
    """Load ``model``.

    Args:
        model: a file that may be opened.
        runtime: which library runs it.
        providers: execution providers of ONNX Runtime.
        threads: threads of one inference; 0 lets the runtime decide.
        precision: of OpenVINO's arithmetic.
        probe: shape of a tensor on which a provider other than the CPU must show that it works.

    Raises:
        ConfigError: a runtime that is not installed, or a combination of settings that does not exist.
        ModelError: the runtime refuses the model.
    """
    if runtime == "onnxruntime":
        if precision != "float32":
            raise ConfigError(
                f"precision '{precision}' is OpenVINO's: set runtime to 'openvino', or leave it 'float32'"
            )
        return OnnxRuntimeSession(model, providers, threads, probe)
    if runtime != "openvino":
        raise ConfigError(f"runtime '{runtime}' is not known; choose 'onnxruntime' or 'openvino'")
    if tuple(providers) != DEFAULT_PROVIDERS:
        raise ConfigError(
            f"providers {', '.join(providers)} are ONNX Runtime's: with runtime 'openvino', which uses the CPU, "
            f"leave them at {CPU_PROVIDER}"
        )
    from lowlight_enhance.core.inference.openvino_session import OpenVinoSession

    return OpenVinoSession(model, threads, precision)


def runtime_version(runtime: Runtime) -> str:
    """Name and version of a runtime that is installed."""
    if runtime == "onnxruntime":
        return f"onnxruntime {ort.__version__}"
    from lowlight_enhance.core.inference.openvino_session import import_openvino

    return f"openvino {import_openvino().__version__.partition('-')[0]}"


class OnnxRuntimeSession:
    """A ``Session`` of ONNX Runtime on whatever of the wanted providers starts, and on the CPU where none does."""

    def __init__(
        self, model: ModelFile, providers: Sequence[str], threads: int, probe: tuple[int, ...] = (1, 5, 32, 32)
    ) -> None:
        """Start the first of ``providers`` that can be started; arguments and errors as in ``open_session``."""
        self._path = model.path
        self._input = model.inputs[0].name
        wanted, self._reasons = _available(providers)
        self._session: ort.InferenceSession | None = self._start(model.content, wanted, threads, probe)
        self._begun = tuple(self._session.get_providers())

    @property
    def providers(self) -> tuple[str, ...]:
        """Execution providers in use, in order."""
        return self._begun if self._session is None else tuple(self._session.get_providers())

    @property
    def fallback(self) -> str:
        """Which wanted provider is not in use, and why; empty where all are."""
        lost = [f"{name} failed while it ran" for name in self._begun if name not in self.providers]
        reasons = [*self._reasons, *lost]
        return f"{'; '.join(reasons)}: running on {', '.join(self.providers)}" if reasons else ""

    def run(self, tensor: Tensor) -> Tensor:
        """The network's output."""
        if self._session is None:
            raise ModelError(f"{self._path}: its session is closed; open the model again")
        try:
            return cast(Tensor, self._session.run(None, {self._input: tensor})[0])
        except Exception as error:  # ONNX Runtime's own exceptions share no public base
            raise failed(self._path, tensor, error) from error

    def close(self) -> None:
        """Free the network; ONNX Runtime ends its threads with it."""
        self._session = None

    def _start(
        self, content: bytes, providers: list[str], threads: int, probe: tuple[int, ...]
    ) -> ort.InferenceSession:
        """A session on the first provider that starts; one beside the CPU has run once, as some fail only then."""
        try:
            session = ort.InferenceSession(content, _options(threads), providers=providers, enable_fallback=0)
            started = session.get_providers()
            if tuple(started) != DEFAULT_PROVIDERS:
                session.run(None, {self._input: np.zeros(probe, np.float32)})
                session.enable_fallback()
            silent = [name for name in providers if name not in started]
            self._reasons += [f"{name} did not start (ONNX Runtime's log says why)" for name in silent]
            return session
        except Exception as error:  # ONNX Runtime's own exceptions share no public base
            if providers == [CPU_PROVIDER]:
                raise ModelError(
                    f"{self._path} is not a loadable ONNX model ({in_one_line(error)}); export it again"
                ) from error
            self._reasons.append(f"{providers[0]} did not start ({in_one_line(error)})")
        return self._start(content, providers[1:], threads, probe)


def _available(providers: Sequence[str]) -> tuple[list[str], list[str]]:
    """The providers that this ONNX Runtime has, the CPU last, and reasons for those that it lacks.

    Raises:
        ConfigError: names that no ONNX Runtime knows, or none at all.
    """
    here, known = ort.get_available_providers(), ort.get_all_providers()
    unknown = [name for name in providers if name not in here and name not in known]
    if unknown or not providers:
        raise ConfigError(
            f"execution provider {', '.join(unknown) or '(none given)'} is not known to ONNX Runtime; "
            f"available: {', '.join(here)}"
        )
    wanted = [name for name in providers if name in here and name != CPU_PROVIDER]
    reasons = [f"{name} is not in this build of ONNX Runtime" for name in providers if name not in here]
    return [*wanted, CPU_PROVIDER], reasons


def _options(threads: int) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # leave the cores to camera and detector
    options.add_session_config_entry("session.load_model_format", "ONNX")
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", NO_FOLDER)
    return options


def in_one_line(error: Exception) -> str:
    """A runtime's message, which may be many lines long, for the log."""
    return " ".join(str(error).split())[:500] or type(error).__name__


def failed(path: Path, tensor: Tensor, error: Exception) -> ModelError:
    """What to raise where a runtime fails on ``tensor``."""
    return ModelError(f"{path}: inference on a tensor of shape {tensor.shape} failed: {in_one_line(error)}")
