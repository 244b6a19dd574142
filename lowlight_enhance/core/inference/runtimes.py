"""Sessions of ONNX Runtime and OpenVINO."""

from __future__ import annotations

from collections.abc import Sequence

from lowlight_enhance.core.errors import ConfigError
from lowlight_enhance.core.inference.model_file import ModelFile
from lowlight_enhance.core.inference.onnxruntime_session import OnnxRuntimeSession
from lowlight_enhance.core.inference.session import CPU_PROVIDER, DEFAULT_PROVIDERS, Precision, Runtime, Session


def open_session(
    model: ModelFile,
    runtime: Runtime,
    providers: Sequence[str],
    threads: int,
    precision: Precision,
    probe: tuple[int, ...],
) -> Session:
    """Load a model.

    Args:
        model: a checked file.
        runtime: library that computes the network.
        providers: execution providers of ONNX Runtime.
        threads: threads of one inference; 0 lets the runtime decide.
        precision: arithmetic of OpenVINO.
        probe: shape of the tensor on which providers other than the CPU are tested.

    Raises:
        ConfigError: the runtime is not installed, or the settings do not fit it.
        ModelError: the runtime rejects the model.
    """
    if runtime == "onnxruntime":
        if precision != "float32":
            raise ConfigError(
                f"precision '{precision}' is only for OpenVINO: set runtime to 'openvino', or leave it 'float32'"
            )
        return OnnxRuntimeSession(model, providers, threads, probe)
    if runtime != "openvino":
        raise ConfigError(f"runtime '{runtime}' is unknown; choose 'onnxruntime' or 'openvino'")
    if tuple(providers) != DEFAULT_PROVIDERS:
        raise ConfigError(
            f"providers {', '.join(providers)} are for ONNX Runtime only: with runtime 'openvino', which uses the "
            f"CPU, leave them at {CPU_PROVIDER}"
        )
    from lowlight_enhance.core.inference.openvino_session import OpenVinoSession

    return OpenVinoSession(model, threads, precision)


def runtime_version(runtime: Runtime) -> str:
    """Return name and version of an installed runtime."""
    if runtime == "onnxruntime":
        import onnxruntime

        return f"onnxruntime {onnxruntime.__version__}"
    from lowlight_enhance.core.inference.openvino_session import import_openvino

    return f"openvino {import_openvino().__version__.partition('-')[0]}"
