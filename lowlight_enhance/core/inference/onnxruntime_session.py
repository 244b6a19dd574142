"""Session of ONNX Runtime."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import cast

import numpy as np
import onnxruntime as ort

from lowlight_enhance.core.errors import ConfigError, ModelError
from lowlight_enhance.core.inference.model_file import ModelFile
from lowlight_enhance.core.inference.model_input import Tensor
from lowlight_enhance.core.inference.session import CPU_PROVIDER, DEFAULT_PROVIDERS, inference_error, one_line

NONEXISTENT_FOLDER = os.path.join(os.devnull, "no-external-data")  # noqa: PTH118 - must stay a path that cannot exist
"""Folder for external data. ``model_file`` rejects files with external data; this is a second barrier."""


class OnnxRuntimeSession:
    """A ``Session`` of ONNX Runtime on the first requested provider that starts, else on the CPU."""

    def __init__(
        self, model: ModelFile, providers: Sequence[str], threads: int, probe: tuple[int, ...] = (1, 5, 32, 32)
    ) -> None:
        """Load a model. Arguments and errors are those of ``runtimes.open_session``."""
        self._path = model.path
        self._input = model.inputs[0].name
        wanted, self._reasons = _available(providers)
        self._run_options = ort.RunOptions()
        self._session: ort.InferenceSession | None = self._start(model.content, wanted, threads, probe)
        self._started_providers = tuple(self._session.get_providers())

    @property
    def providers(self) -> tuple[str, ...]:
        """Execution providers in use, in order of preference."""
        return self._started_providers if self._session is None else tuple(self._session.get_providers())

    @property
    def fallback(self) -> str:
        """Requested providers that are not in use, with the reasons; empty if all are."""
        lost = [f"{name} failed while it ran" for name in self._started_providers if name not in self.providers]
        reasons = [*self._reasons, *lost]
        return f"{'; '.join(reasons)}: running on {', '.join(self.providers)}" if reasons else ""

    def run(self, tensor: Tensor) -> Tensor:
        """Return the output of the network."""
        if self._session is None:
            raise ModelError(f"{self._path}: the session is closed; open the model again")
        try:
            return cast(Tensor, self._session.run(None, {self._input: tensor}, self._run_options)[0])
        except Exception as error:  # the exceptions of ONNX Runtime have no public base class
            raise inference_error(self._path, tensor, error) from error

    def cancel(self) -> None:
        """End running inferences early, as in ``Session``."""
        self._run_options.terminate = True

    def close(self) -> None:
        """Free the network; ONNX Runtime ends its threads with it."""
        self._session = None

    def _start(
        self, content: bytes, providers: list[str], threads: int, probe: tuple[int, ...]
    ) -> ort.InferenceSession:
        """Return a session on the first provider that starts.

        Providers other than the CPU run once on zeros, because some fail only at the first inference.
        """
        try:
            session = ort.InferenceSession(content, _options(threads), providers=providers, enable_fallback=0)
            started = session.get_providers()
            if tuple(started) != DEFAULT_PROVIDERS:
                session.run(None, {self._input: np.zeros(probe, np.float32)})
                session.enable_fallback()
            missing = [name for name in providers if name not in started]
            self._reasons += [f"{name} did not start (see the log of ONNX Runtime)" for name in missing]
            return session
        except Exception as error:  # the exceptions of ONNX Runtime have no public base class
            if providers == [CPU_PROVIDER]:
                raise ModelError(
                    f"{self._path} is not a loadable ONNX model ({one_line(error)}); export it again"
                ) from error
            self._reasons.append(f"{providers[0]} did not start ({one_line(error)})")
        return self._start(content, providers[1:], threads, probe)


def _available(providers: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the providers that this build has, the CPU last, and reasons for those that it lacks.

    Raises:
        ConfigError: a provider is unknown, or there is none.
    """
    available, known = ort.get_available_providers(), ort.get_all_providers()
    unknown = [name for name in providers if name not in available and name not in known]
    if unknown or not providers:
        raise ConfigError(
            f"execution provider {', '.join(unknown) or '(none given)'} is unknown to ONNX Runtime; "
            f"available: {', '.join(available)}"
        )
    wanted = [name for name in providers if name in available and name != CPU_PROVIDER]
    reasons = [f"{name} is not in this build of ONNX Runtime" for name in providers if name not in available]
    return [*wanted, CPU_PROVIDER], reasons


def _options(threads: int) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Spinning threads keep the cores from the camera driver and the detector.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.load_model_format", "ONNX")
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", NONEXISTENT_FOLDER)
    return options
