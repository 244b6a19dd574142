"""A session of OpenVINO: on most x86 processors faster than ONNX Runtime; docs/runtimes.md has the figures.

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
"""Input shapes that have a network compiled for them alone."""

STALE_AFTER_RUNS = 100
"""A compiled shape gives way to a new one once it has not been met for so many frames."""

TELEMETRY_MODULE = "openvino_telemetry"
"""A module through which ``import openvino`` reports to its maker."""

_PRECISIONS = {"float32": "f32", "bfloat16": "bf16"}


@dataclass
class _Compiled:
    """A network for one input shape, or for every one, and the run in which it was last used."""

    request: Any
    last_run: int


class OpenVinoSession:
    """A ``Session`` of OpenVINO on the CPU.

    A network for a fixed shape runs faster than one for any shape, but compiling it takes as long as some frames. So
    the first ``MAX_FIXED_SHAPES`` shapes get one each, and further shapes share one for any shape until an old one is
    stale: frames that change their size all the time never pay for a compilation each.
    """

    def __init__(self, model: ModelFile, threads: int, precision: Precision) -> None:
        """Load ``model``; arguments and errors as in ``runtimes.open_session``."""
        if precision not in _PRECISIONS:
            raise ConfigError(f"precision '{precision}' is not known; choose one of {', '.join(_PRECISIONS)}")
        openvino = import_openvino()
        self._path = model.path
        self._core: Any = openvino.Core()
        self._core.set_property({"FORCE_TBB_TERMINATE": True})  # else closing leaves the threads behind
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
        except Exception as error:  # OpenVINO raises RuntimeError and its own kinds
            raise ModelError(
                f"{self._path}: this OpenVINO cannot load it ({one_line(error)}); upgrade openvino, set runtime to "
                "'onnxruntime', or export it again"
            ) from error

    def run(self, tensor: Tensor) -> Tensor:
        """The network's output."""
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
        except Exception as error:  # OpenVINO raises RuntimeError and its own kinds
            raise inference_error(self._path, tensor, error) from error

    def cancel(self) -> None:
        """End runs early, as in ``Session``."""
        self._is_cancelled = True
        for compiled in (*self._compiled.copy().values(), self._any_shape):
            if compiled is not None:
                compiled.request.cancel()

    def close(self) -> None:
        """Free the network and end OpenVINO's threads, unless another session of this process uses them."""
        self._compiled.clear()
        self._any_shape = self._model = self._core = None

    def _computes_in_bfloat16(self) -> bool:
        with preserve_signal_stack():
            return "BF16" in self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")

    def _request(self, shape: tuple[int, ...]) -> Any:
        """What infers a tensor of ``shape``."""
        self._runs += 1
        compiled = self._compiled.get(shape)
        if compiled is None and self._has_room():
            compiled = self._compiled[shape] = self._compile(shape)
        elif compiled is None:
            compiled = self._any_shape = self._any_shape or self._compile(None)
        compiled.last_run = self._runs
        return compiled.request

    def _has_room(self) -> bool:
        """Whether one more shape may be compiled; drops the one that has not been met for longest, if it is stale."""
        if len(self._compiled) < MAX_FIXED_SHAPES:
            return True
        oldest = min(self._compiled, key=lambda shape: self._compiled[shape].last_run)
        if self._runs - self._compiled[oldest].last_run <= STALE_AFTER_RUNS:
            return False
        del self._compiled[oldest]
        return True

    def _compile(self, shape: tuple[int, ...] | None) -> _Compiled:
        """The network for one shape; None: for any."""
        model = self._model
        if shape is not None:
            model = model.clone()
            model.reshape(list(shape))
        with preserve_signal_stack():
            compiled = self._core.compile_model(model, "CPU", self._options)
        return _Compiled(compiled.create_infer_request(), self._runs)


def import_openvino() -> Any:
    """The module ``openvino``, without the telemetry that its import would start.

    Raises:
        ConfigError: it is not installed, or does not load.
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
