"""Enhance, the one seam of this package, and Enhancer, which fulfils it with a session of some runtime."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from lowlight_enhance.core.enhancement.tone_preservation import keep_tones
from lowlight_enhance.core.enhancement.upsampling import LocalAffine, Upsampling, enlarge
from lowlight_enhance.core.errors import ConfigError, ModelError
from lowlight_enhance.core.inference.model_file import FLOAT, ModelFile, read_model
from lowlight_enhance.core.inference.model_input import (
    CHANNELS,
    METADATA_KEY,
    ModelInput,
    Rgb,
    Tensor,
    check_rgb,
    to_8_bit,
)
from lowlight_enhance.core.inference.model_zoo import default_model
from lowlight_enhance.core.inference.sessions import DEFAULT_PROVIDERS, Precision, Runtime, Session, open_session
from lowlight_enhance.core.metadata.capture import UNKNOWN, CaptureMetadata

Enhance = Callable[[Rgb, CaptureMetadata], NDArray[np.uint8]]
"""(H, W, 3) uint8 or uint16 and its capture metadata -> enhanced (h, w, 3) uint8. A lambda satisfies it in a test."""


@runtime_checkable
class MapEnhance(Protocol):
    """An ``Enhance`` in two halves, between which the network's maps may be changed."""

    def maps(self, rgb: Rgb, capture: CaptureMetadata) -> tuple[Tensor, Tensor]:
        """First half.

        Returns:
            (6, h, w) gain R, G, B and offset R, G, B, or (3, h, w) enhanced picture in 0..1, the caller's own to
            change; and (3, h, w) the network's copy of the frame in 0..1.
        """

    def apply(self, maps: Tensor, small: Tensor, rgb: Rgb, correction: Tensor | None = None) -> NDArray[np.uint8]:
        """Second half: the enhanced frame.

        Args:
            maps: what ``maps`` returned first.
            small: what it returned second.
            rgb: the full-size frame.
            correction: (3, rows, columns) to add to the enhanced R, G, B, in 0..1, on any coarser grid.
        """

    def untouched(self, rgb: Rgb) -> NDArray[np.uint8]:
        """The frame as it is, at the size of enhanced ones."""


OutputResolution = Literal["input", "model"]

TYPICAL_HEIGHT, TYPICAL_WIDTH = 480, 640
"""Size of a frame on which a model proves that it runs."""


class Enhancer:
    """An ``Enhance`` backed by a network; the model file says how its input is made. For one thread at a time.

    Attributes:
        path: the model file.
        sha256: hexadecimal digest of that file.
        runtime: the library that runs it.
        model_input: how frames and capture metadata are encoded for it.
        output_resolution: ``input`` for frames of the input's size, ``model`` for the network's own smaller size.
        upsampling: way from the small result to the full size.
    """

    def __init__(
        self,
        model: Path | ModelFile,
        providers: Sequence[str] = DEFAULT_PROVIDERS,
        threads: int | None = None,
        working_size: int | None = None,
        output_resolution: OutputResolution = "input",
        upsampling: Upsampling = "auto",
        runtime: Runtime = "onnxruntime",
        precision: Precision = "float32",
    ) -> None:
        """Load ``model``.

        Args:
            model: ONNX file written by ``lowlight export``, or what was read from one before.
            providers: ONNX Runtime execution providers in order of preference; one that is missing or does not start
                is left out, and ``fallback`` says so.
            threads: threads of one inference; ``None`` lets the runtime take every core.
            working_size: shorter side in pixels of the network's copy instead of the model's own; 0 = full size.
            output_resolution: size of the result.
            upsampling: way from the small result to the full size.
            runtime: the library that runs it.
            precision: of OpenVINO's arithmetic; ``bfloat16`` where the processor has it.

        Raises:
            ModelError: missing, damaged or foreign file, or one with more in it than a network.
            ConfigError: a runtime that is not installed, an unknown provider, or a value out of range.
        """
        if output_resolution not in ("input", "model"):
            raise ConfigError(f"output_resolution '{output_resolution}': choose 'input' or 'model'")
        if threads is not None and threads < 0:
            raise ConfigError(f"threads {threads}: give 0 (the runtime decides) or more")
        file = model if isinstance(model, ModelFile) else read_model(Path(model))
        self.path, self.sha256, self.runtime = file.path, file.sha256, runtime
        self.output_resolution, self.upsampling = output_resolution, upsampling
        self._own_input = self.model_input = _model_input(file)
        self.working_size = working_size
        grid = self.model_input.grid(TYPICAL_HEIGHT, TYPICAL_WIDTH)
        probe = (1, CHANNELS, grid.padded_height, grid.padded_width)
        self._session: Session = open_session(file, runtime, providers, threads or 0, precision, probe)
        self._local_affine = LocalAffine()

    @property
    def name(self) -> str:
        """File name without suffix."""
        return self.path.stem

    @property
    def providers(self) -> tuple[str, ...]:
        """What computes, in order of preference."""
        return self._session.providers

    @property
    def fallback(self) -> str:
        """Which provider or precision was asked for and is not in use, and why; empty where there is none."""
        return self._session.fallback

    @property
    def working_size(self) -> int:
        """Shorter side in pixels of the network's copy; 0 = the frame's own size."""
        return self.model_input.working_size

    @working_size.setter
    def working_size(self, value: int | None) -> None:
        """Use another from the next frame on; None: the model's own.

        Raises:
            ConfigError: out of range.
        """
        self.model_input = self._own_input if value is None else replace(self._own_input, working_size=value)

    def close(self) -> None:
        """Free the network and end its threads; a frame after that is a ModelError. Closing twice is no error."""
        self._session.close()

    def __call__(self, rgb: Rgb, capture: CaptureMetadata) -> NDArray[np.uint8]:
        """The enhanced frame.

        Args:
            rgb: (H, W, 3) uint8 or uint16.
            capture: its ISO and exposure time, as far as known.

        Returns:
            (H, W, 3) uint8, or (h, w, 3) at the network's size where ``output_resolution`` is ``model``.

        Raises:
            ImageError: not such an image.
            ModelError: the network fails on it.
        """
        return self.apply(*self.maps(rgb, capture), rgb)

    def maps(self, rgb: Rgb, capture: CaptureMetadata) -> tuple[Tensor, Tensor]:
        """All up to the way up to full size, as in ``MapEnhance``; errors as of a call."""
        tensor = self.encode(rgb, capture)
        return toned(self.model_input, self.infer(tensor), tensor, rgb)

    def encode(self, rgb: Rgb, capture: CaptureMetadata) -> Tensor:
        """First stage: the (1, 5, h, w) input tensor."""
        return self.model_input.encode(rgb, capture)

    def infer(self, tensor: Tensor) -> Tensor:
        """Second stage: the network's (1, C, h, w) output.

        Raises:
            ModelError: the runtime refuses the tensor, or the enhancer is closed.
        """
        return self._session.run(tensor)

    def finish(self, output: Tensor, tensor: Tensor, rgb: Rgb) -> NDArray[np.uint8]:
        """Third stage: the enhanced frame from the network's output, its input tensor and the full-size frame."""
        return self.apply(*toned(self.model_input, output, tensor, rgb), rgb)

    def apply(self, maps: Tensor, small: Tensor, rgb: Rgb, correction: Tensor | None = None) -> NDArray[np.uint8]:
        """The enhanced frame from what ``maps`` returned, as in ``MapEnhance``."""
        if self.output_resolution == "model" and small.shape[1:] != rgb.shape[:2]:
            rgb = self.model_input.shrink(rgb)
        return enlarge(maps, small, rgb, self.upsampling, self._local_affine, correction)

    def untouched(self, rgb: Rgb) -> NDArray[np.uint8]:
        """The frame as it is, at the size of enhanced ones.

        Raises:
            ImageError: not an (H, W, 3) uint8 or uint16 array.
        """
        check_rgb(rgb)
        return to_8_bit(self.model_input.shrink(rgb) if self.output_resolution == "model" else rgb)

    def warm_up(self, height: int = TYPICAL_HEIGHT, width: int = TYPICAL_WIDTH) -> None:
        """Run one black frame, so that the first real one does not pay for memory planning.

        Raises:
            ModelError: the network cannot run.
        """
        self(np.zeros((height, width, 3), np.uint8), UNKNOWN)


def toned(model_input: ModelInput, output: Tensor, tensor: Tensor, rgb: Rgb) -> tuple[Tensor, Tensor]:
    """What ``MapEnhance.maps`` returns, from the network's output, its input tensor and the full-size frame.

    Both without what was added to fill the tensor; the camera's tones kept where the frame is bright enough.
    """
    maps = model_input.decode(output, *rgb.shape[:2])
    small = tensor[0, :3, : maps.shape[1], : maps.shape[2]]
    keep_tones(maps, small)
    return maps, small


def open_enhancer(
    runtime: Runtime = "onnxruntime",
    model: Path | ModelFile | None = None,
    providers: Sequence[str] = DEFAULT_PROVIDERS,
    threads: int | None = None,
    working_size: int | None = None,
    output_resolution: OutputResolution = "input",
    precision: Precision = "float32",
) -> Enhancer:
    """The ``Enhancer`` of a runtime; ``model`` is the shipped one where it is None. The rest as in ``Enhancer``."""
    return Enhancer(
        default_model() if model is None else model,
        providers=providers,
        threads=threads,
        working_size=working_size,
        output_resolution=output_resolution,
        runtime=runtime,
        precision=precision,
    )


def _model_input(file: ModelFile) -> ModelInput:
    """What ``file`` says of its input.

    Raises:
        ModelError: nothing, or another kind of network.
    """
    text = file.metadata.get(METADATA_KEY)
    if text is None:
        raise ModelError(
            f"{file.path} carries no '{METADATA_KEY}': it was not exported by this package; use 'lowlight export'"
        )
    dims = [port.dims for port in (*file.inputs, *file.outputs) if port.element == FLOAT and len(port.dims) == 4]
    if len(file.inputs) != 1 or len(file.outputs) != 1 or len(dims) != 2 or dims[0][1] != CHANNELS:
        found = ", ".join(f"{port.name} {port.dims}" for port in (*file.inputs, *file.outputs))
        raise ModelError(
            f"{file.path} has inputs and outputs {found}: expected one input of shape (1, {CHANNELS}, height, width) "
            "and one output (1, 3 or 6, height, width), both float; use 'lowlight export'"
        )
    return ModelInput.from_json(text)
