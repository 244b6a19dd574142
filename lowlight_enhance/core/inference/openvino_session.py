"""Session of OpenVINO. docs/runtimes.md compares its speed with that of ONNX Runtime.

OpenVINO is an optional dependency (``pip install openvino``), imported when the first session is opened.
"""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np

from lowlight_enhance.core.errors import ConfigError, ModelError
from lowlight_enhance.core.inference.model_file import ModelFile
from lowlight_enhance.core.inference.model_input import Tensor
from lowlight_enhance.core.inference.session import Precision, inference_error, one_line
from lowlight_enhance.core.inference.signal_stack import preserve_signal_stack

MAX_FIXED_SHAPES = 4
"""Largest number of networks that are compiled for one input shape."""

STALE_AFTER_RUNS = 100
"""A network for one input shape can be replaced when it has not been used for this many runs."""

TELEMETRY_MODULE = "openvino_telemetry"
"""Module that ``import openvino`` uses to send usage data."""

_PRECISIONS = {"float32": "f32", "bfloat16": "bf16"}


@dataclass
class _Compiled:
    """A network compiled for one input shape or for any shape, and the number of the last run that used it."""

    request: Any
    last_run: int


class OpenVinoSession:
    """A ``Session`` of OpenVINO on the CPU.

    A network for a fixed shape is faster than one for any shape, but compiling it takes as long as several frames.
    Therefore the first ``MAX_FIXED_SHAPES`` shapes get one network each. Further shapes share a network for any shape
    until an old network is stale, so that a stream of changing sizes does not compile for each frame.
    """

    def __init__(self, model: ModelFile, threads: int, precision: Precision) -> None:
        """Load a model. Arguments and errors are those of ``runtimes.open_session``."""
        if precision not in _PRECISIONS:
            raise ConfigError(f"precision '{precision}' is not known; choose one of {', '.join(_PRECISIONS)}")
        openvino = import_openvino()
        self._path = model.path
        self._core: Any = openvino.Core()
        self._core.set_property({"FORCE_TBB_TERMINATE": True})  # otherwise the threads remain after close
        self.providers: tuple[str, ...] = ("OpenVINO CPU",)
        self.fallback = ""
        if precision == "bfloat16" and not self._computes_in_bfloat16():
            precision = "float32"
            self.fallback = "this processor does not compute in bfloat16: running in float32"
        self._options: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
            "ENABLE_CPU_PINNING": False,
            "INFERENCE_PRECISION_HINT": _PRECISIONS[precision],
        }
        if threads:
            self._options["INFERENCE_NUM_THREADS"] = threads
        self._compiled: dict[tuple[int, ...], _Compiled] = {}
        self._any_shape: _Compiled | None = None
        self._runs = 0
        self._is_cancelled = False
        try:
            self._model: Any = self._core.read_model(model.content)
        except Exception as error:  # OpenVINO raises RuntimeError and exceptions without a public base class
            raise ModelError(
                f"{self._path}: this OpenVINO cannot load it ({one_line(error)}); upgrade openvino, set runtime to "
                "'onnxruntime', or export it again"
            ) from error

    def run(self, tensor: Tensor) -> Tensor:
        """Return the output of the network."""
        if self._core is None:
            raise ModelError(f"{self._path}: the session is closed; open the model again")
        try:
            request = self._request(tensor.shape)
            if self._is_cancelled:
                raise RuntimeError("it was cancelled")
            # Only a run that was started in this way ends when it is cancelled.
            request.start_async({0: tensor}, share_inputs=True)
            request.wait()
            return np.array(request.get_output_tensor(0).data)
        except Exception as error:  # OpenVINO raises RuntimeError and exceptions without a public base class
            raise inference_error(self._path, tensor, error) from error

    def cancel(self) -> None:
        """End runs early, as in ``Session``."""
        self._is_cancelled = True
        for compiled in (*self._compiled.copy().values(), self._any_shape):
            if compiled is not None:
                compiled.request.cancel()

    def close(self) -> None:
        """Free the network. The threads of OpenVINO end unless another session of this process uses them."""
        self._compiled.clear()
        self._any_shape = self._model = self._core = None

    def _computes_in_bfloat16(self) -> bool:
        with preserve_signal_stack():
            return "BF16" in self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")

    def _request(self, shape: tuple[int, ...]) -> Any:
        """Return the inference request for tensors of ``shape``."""
        self._runs += 1
        compiled = self._compiled.get(shape)
        if compiled is None and self._has_room():
            compiled = self._compiled[shape] = self._compile(shape)
        elif compiled is None:
            compiled = self._any_shape = self._any_shape or self._compile(None)
        compiled.last_run = self._runs
        return compiled.request

    def _has_room(self) -> bool:
        """Return whether one more shape may be compiled, after dropping the oldest network if it is stale."""
        if len(self._compiled) < MAX_FIXED_SHAPES:
            return True
        oldest = min(self._compiled, key=lambda shape: self._compiled[shape].last_run)
        if self._runs - self._compiled[oldest].last_run <= STALE_AFTER_RUNS:
            return False
        del self._compiled[oldest]
        return True

    def _compile(self, shape: tuple[int, ...] | None) -> _Compiled:
        """Compile the network for one shape, or for any shape if ``shape`` is None."""
        model = self._model
        if shape is not None:
            model = model.clone()
            model.reshape(list(shape))
        with preserve_signal_stack():
            compiled = self._core.compile_model(model, "CPU", self._options)
        return _Compiled(compiled.create_infer_request(), self._runs)


def import_openvino() -> Any:
    """Import openvino without its telemetry.

    ``import openvino`` sends usage data if openvino_telemetry can be imported, and works without it. The import has no
    option for this, so the module is None in ``sys.modules`` while openvino is imported, which raises ImportError.

    Raises:
        ConfigError: openvino is not installed or cannot be imported.
    """
    absent = TELEMETRY_MODULE not in sys.modules
    if absent:
        sys.modules[TELEMETRY_MODULE] = None  # type: ignore[assignment]
    try:
        return importlib.import_module("openvino")
    except ImportError as error:
        raise ConfigError(
            f"runtime 'openvino' needs the Python module openvino ({error}): pip install openvino, or set runtime to "
            "'onnxruntime'"
        ) from error
    finally:
        if absent:
            del sys.modules[TELEMETRY_MODULE]
