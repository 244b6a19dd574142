"""Settings of the network that the commands for bags and videos share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lowlight_enhance.core.enhancement.enhancer import Enhancer, OutputResolution
from lowlight_enhance.core.inference.session import DEFAULT_PROVIDERS, Precision, Runtime


@dataclass(frozen=True, slots=True)
class NetworkSettings:
    """Which model runs, and how.

    Attributes:
        model: ONNX file; None: the default model.
        runtime: library that runs it.
        precision: arithmetic of OpenVINO.
        providers: execution providers of ONNX Runtime, in order of preference.
        threads: CPU threads of one inference; None: the runtime decides.
        working_size: shorter side in pixels of the network's input; None: as stored in the model; 0: full size.
        output_resolution: ``input`` or ``model``, the size of the result.
    """

    model: Path | None = None
    runtime: Runtime = "onnxruntime"
    precision: Precision = "float32"
    providers: tuple[str, ...] = DEFAULT_PROVIDERS
    threads: int | None = None
    working_size: int | None = None
    output_resolution: OutputResolution = "input"

    def open(self) -> Enhancer:
        """Load the model. The caller closes the result.

        Raises:
            ConfigError: the runtime is not installed, or a value is out of range.
            ModelError: the model cannot be used.
        """
        return Enhancer(
            self.model,
            self.providers,
            self.threads,
            self.working_size,
            self.output_resolution,
            runtime=self.runtime,
            precision=self.precision,
        )
