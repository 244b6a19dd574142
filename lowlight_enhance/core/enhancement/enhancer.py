"""Enhancer: load a model file and turn frames into enhanced frames."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import cv2
import numpy as np
from numpy.typing import NDArray

from lowlight_enhance.core.enhancement.maps import EnhancementMaps
from lowlight_enhance.core.enhancement.tone_preservation import preserve_tones
from lowlight_enhance.core.enhancement.upsampling import AffineRenderer, Upsampling, render
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
from lowlight_enhance.core.inference.model_zoo import find_model
from lowlight_enhance.core.inference.runtimes import open_session
from lowlight_enhance.core.inference.session import DEFAULT_PROVIDERS, Precision, Runtime, Session
from lowlight_enhance.core.metadata.capture import UNKNOWN, CaptureMetadata

Enhance = Callable[[Rgb, CaptureMetadata], NDArray[np.uint8]]
"""Function from an (H, W, 3) uint8 or uint16 frame and its capture metadata to the enhanced (h, w, 3) uint8 frame."""


@runtime_checkable
class FrameEnhancer(Protocol):
    """Enhancement in two steps. The pipeline changes the maps between them."""

    def maps(self, rgb: Rgb, capture: CaptureMetadata, frame_count: Tensor | None = None) -> EnhancementMaps:
        """Run the network.

        Args:
            rgb: (H, W, 3) uint8 or uint16, a frame or the average of several.
            capture: ISO and exposure time of one frame.
            frame_count: (rows, columns) number of averaged frames on a grid of any size; None for a single frame.
        """

    def apply(self, maps: EnhancementMaps, rgb: Rgb, correction: Tensor | None = None) -> NDArray[np.uint8]:
        """Apply maps to the full-size frame.

        Args:
            maps: of ``maps``, possibly changed.
            rgb: the frame that was given there.
            correction: (3, rows, columns) to add to the enhanced R, G, B, in 0..1, on any coarser grid.
        """

    def unchanged(self, rgb: Rgb) -> NDArray[np.uint8]:
        """Return the frame as it is, 8 bits, at the size of enhanced frames."""


class FunctionEnhancer:
    """A ``FrameEnhancer`` around an ``Enhance`` function: its maps have gain 0 and the enhanced frame as offset."""

    def __init__(self, function: Enhance) -> None:
        self.function = function
        self._renderer = AffineRenderer()

    def maps(
        self,
        rgb: Rgb,
        capture: CaptureMetadata,
        frame_count: Tensor | None = None,  # noqa: ARG002  (a function takes single frames only)
    ) -> EnhancementMaps:
        """Call the function and turn its result into maps."""
        enhanced = self.function(rgb, capture)
        offset = np.ascontiguousarray(enhanced.transpose(2, 0, 1), dtype=np.float32) / np.float32(255.0)
        frame = self._resized(rgb, enhanced.shape[:2])
        planes = np.ascontiguousarray(frame.transpose(2, 0, 1), dtype=np.float32) / np.float32(np.iinfo(rgb.dtype).max)
        return EnhancementMaps(np.zeros_like(offset), offset, planes)

    def apply(self, maps: EnhancementMaps, rgb: Rgb, correction: Tensor | None = None) -> NDArray[np.uint8]:
        """Apply maps at the size of the function's result."""
        return self._renderer(maps, self._resized(rgb, maps.size), correction)

    def unchanged(self, rgb: Rgb) -> NDArray[np.uint8]:
        """Return the frame with 8 bits."""
        return to_8_bit(rgb)

    @staticmethod
    def _resized(rgb: Rgb, size: tuple[int, ...]) -> Rgb:
        if rgb.shape[:2] == size:
            return rgb
        return cv2.resize(rgb, (size[1], size[0]), interpolation=cv2.INTER_AREA)  # type: ignore[return-value]


OutputResolution = Literal["input", "model"]

TYPICAL_HEIGHT, TYPICAL_WIDTH = 480, 640
"""Size of the frame on which a model is tested."""


class Enhancer:
    """A ``FrameEnhancer`` and ``Enhance`` backed by a model file. For one thread at a time.

    Attributes:
        path: the model file.
        sha256: hexadecimal digest of that file.
        runtime: the library that runs it.
        model_input: how frames and capture metadata are encoded for it.
        output_resolution: ``input`` for frames of the input's size, ``model`` for the network's own smaller size.
        upsampling: method that brings the result to full size.
    """

    def __init__(
        self,
        model: Path | str | ModelFile | None = None,
        providers: Sequence[str] = DEFAULT_PROVIDERS,
        threads: int | None = None,
        working_size: int | None = None,
        output_resolution: OutputResolution = "input",
        upsampling: Upsampling = "local_affine",
        runtime: Runtime = "onnxruntime",
        precision: Precision = "float32",
    ) -> None:
        """Load ``model``.

        Args:
            model: name of an included model (``INCLUDED_MODELS``), path of an ONNX file written by
                ``lowlight export``, or a file that was read before; None: the default model.
            providers: ONNX Runtime execution providers in order of preference. Providers that fail to start are
                skipped, and ``fallback`` gives the reason.
            threads: threads of one inference; None lets the runtime decide.
            working_size: shorter side in pixels of the frame as the network sees it, instead of the model's own; 0:
                the size of the frame.
            output_resolution: size of the result.
            upsampling: method that brings the result to full size.
            runtime: library that computes the network.
            precision: arithmetic of OpenVINO; ``bfloat16`` where the processor has it.

        Raises:
            ModelError: the file is missing, damaged, not from this package, or holds more than a network.
            ConfigError: the runtime is not installed, a provider or the name of a model is unknown, or a value is out
                of range.
        """
        if output_resolution not in ("input", "model"):
            raise ConfigError(f"output_resolution '{output_resolution}': choose 'input' or 'model'")
        if threads is not None and threads < 0:
            raise ConfigError(f"threads {threads}: give 0 (the runtime decides) or more")
        file = model if isinstance(model, ModelFile) else read_model(find_model(model))
        self.path, self.sha256, self.runtime = file.path, file.sha256, runtime
        self.output_resolution, self.upsampling = output_resolution, upsampling
        self._own_input = self.model_input = _model_input(file)
        self.working_size = working_size
        grid = self.model_input.grid(TYPICAL_HEIGHT, TYPICAL_WIDTH)
        probe = (1, CHANNELS, grid.padded_height, grid.padded_width)
        self._session: Session = open_session(file, runtime, providers, threads or 0, precision, probe)
        self._renderer = AffineRenderer()

    @property
    def name(self) -> str:
        """Name of the model file without suffix."""
        return self.path.stem

    @property
    def providers(self) -> tuple[str, ...]:
        """Execution providers in use, in order of preference."""
        return self._session.providers

    @property
    def fallback(self) -> str:
        """Requested provider or precision that is not in use, with the reason; empty if there is none."""
        return self._session.fallback

    @property
    def working_size(self) -> int:
        """Shorter side in pixels of the frame as the network sees it; 0: the size of the frame."""
        return self.model_input.working_size

    @working_size.setter
    def working_size(self, value: int | None) -> None:
        """Set the working size from the next frame on; None: the model's own.

        Raises:
            ConfigError: out of range.
        """
        self.model_input = self._own_input if value is None else replace(self._own_input, working_size=value)

    def cancel(self) -> None:
        """End the frame that another thread enhances, and every later one, with ModelError."""
        self._session.cancel()

    def close(self) -> None:
        """Free the network and end its threads. Frames after that raise ModelError; closing again does nothing."""
        self._session.close()

    def __call__(self, rgb: Rgb, capture: CaptureMetadata) -> NDArray[np.uint8]:
        """Enhance one frame.

        Args:
            rgb: (H, W, 3) uint8 or uint16, R, G, B.
            capture: ISO and exposure time, as far as known.

        Returns:
            (H, W, 3) uint8, or (h, w, 3) at the working size if ``output_resolution`` is ``model``.

        Raises:
            ImageError: ``rgb`` is not such an array.
            ModelError: the network fails.
        """
        return self.apply(self.maps(rgb, capture), rgb)

    def maps(self, rgb: Rgb, capture: CaptureMetadata, frame_count: Tensor | None = None) -> EnhancementMaps:
        """Run the network, as in ``FrameEnhancer``; raises the errors of ``__call__``."""
        tensor = self.encode(rgb, capture, frame_count)
        return decode_maps(self.model_input, self.infer(tensor), tensor, rgb)

    def encode(self, rgb: Rgb, capture: CaptureMetadata, frame_count: Tensor | None = None) -> Tensor:
        """Return the (1, 5, h, w) input of the network."""
        return self.model_input.encode(rgb, capture, frame_count)

    def infer(self, tensor: Tensor) -> Tensor:
        """Return the (1, C, h, w) output of the network.

        Raises:
            ModelError: the runtime fails, the output is not finite, or the enhancer is closed.
        """
        output = self._session.run(tensor)
        if not np.isfinite(output).all():
            raise ModelError(f"{self.path}: the network returned values that are not finite; use another model")
        return output

    def apply(self, maps: EnhancementMaps, rgb: Rgb, correction: Tensor | None = None) -> NDArray[np.uint8]:
        """Apply maps to the full-size frame, as in ``FrameEnhancer``."""
        if self.output_resolution == "model" and maps.size != rgb.shape[:2]:
            rgb = self.model_input.downscale(rgb)
        return render(maps, rgb, self.upsampling, self._renderer, correction)

    def unchanged(self, rgb: Rgb) -> NDArray[np.uint8]:
        """Return the frame as it is, 8 bits, at the size of enhanced frames.

        Raises:
            ImageError: ``rgb`` is not an (H, W, 3) uint8 or uint16 array.
        """
        check_rgb(rgb)
        return to_8_bit(self.model_input.downscale(rgb) if self.output_resolution == "model" else rgb)

    def warm_up(self, height: int = TYPICAL_HEIGHT, width: int = TYPICAL_WIDTH) -> None:
        """Run one black frame. It tests that the model runs, and lets the runtime plan its memory.

        Raises:
            ModelError: the network cannot run.
        """
        self(np.zeros((height, width, 3), np.uint8), UNKNOWN)


def decode_maps(model_input: ModelInput, output: Tensor, tensor: Tensor, rgb: Rgb) -> EnhancementMaps:
    """Return the maps in the output of a network, without padding, with the tones of a well-lit frame preserved.

    Args:
        model_input: of the network.
        output: (1, C, h, w) output of the network.
        tensor: (1, 5, h, w) its input.
        rgb: the full-size frame.

    Raises:
        ModelError: the output has another size or number of channels.
    """
    picture = model_input.decode(output, *rgb.shape[:2])
    frame = tensor[0, :3, : picture.shape[1], : picture.shape[2]]
    return preserve_tones(EnhancementMaps.from_output(picture, frame))


def _model_input(file: ModelFile) -> ModelInput:
    """Return the ModelInput that ``file`` holds.

    Raises:
        ModelError: it holds none, or another kind of network.
    """
    text = file.metadata.get(METADATA_KEY)
    if text is None:
        raise ModelError(
            f"{file.path} carries no '{METADATA_KEY}': it was not exported by this package; use 'lowlight export'"
        )
    dims = [port.dims for port in (*file.inputs, *file.outputs) if port.element_type == FLOAT and len(port.dims) == 4]
    if len(file.inputs) != 1 or len(file.outputs) != 1 or len(dims) != 2 or dims[0][1] != CHANNELS:
        found = ", ".join(f"{port.name} {port.dims}" for port in (*file.inputs, *file.outputs))
        raise ModelError(
            f"{file.path} has inputs and outputs {found}: expected one input of shape (1, {CHANNELS}, height, width) "
            "and one output (1, 3 or 6, height, width), both float; use 'lowlight export'"
        )
    return ModelInput.from_json(text)
