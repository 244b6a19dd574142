"""Which network runs, and how: what every command over recordings offers alike."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lowlight_enhance.core.enhancement.enhancer import Enhancer, OutputResolution
from lowlight_enhance.core.inference.sessions import DEFAULT_PROVIDERS, Precision, Runtime


@dataclass(frozen=True, slots=True)
class NetworkSettings:
    """How frames go through the network.

    Attributes:
        model: ONNX file; None: the one that is shipped.
        runtime: as in ``Enhancer``, like the rest.
        precision: of OpenVINO.
        providers: of ONNX Runtime.
        threads: of one inference.
        working_size: of the network's copy.
        output_resolution: size of the result.
    """

    model: Path | None = None
    runtime: Runtime = "onnxruntime"
    precision: Precision = "float32"
    providers: tuple[str, ...] = DEFAULT_PROVIDERS
    threads: int | None = None
    working_size: int | None = None
    output_resolution: OutputResolution = "input"

    def open(self) -> Enhancer:
        """The network, to be closed by the caller.

        Raises:
            ConfigError: a runtime that is not installed, or a value out of range.
            ModelError: no usable model.
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
