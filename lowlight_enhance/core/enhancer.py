"""Enhance, the one seam of this package, and Enhancer, which fulfils it with an ONNX Runtime session."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, cast

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from lowlight_enhance.core.capture import UNKNOWN, CaptureMetadata
from lowlight_enhance.core.errors import ConfigError, ModelError
from lowlight_enhance.core.model_input import CHANNELS, METADATA_KEY, ModelInput, Rgb, Tensor
from lowlight_enhance.core.resources import resource
from lowlight_enhance.core.upsample import LocalAffine, Upsampling, enlarge

Enhance = Callable[[Rgb, CaptureMetadata], NDArray[np.uint8]]
"""(H, W, 3) uint8 or uint16 and its capture metadata -> enhanced (h, w, 3) uint8. A lambda satisfies it in a test."""

OutputResolution = Literal["input", "model"]

DEFAULT_PROVIDERS = ("CPUExecutionProvider",)


def default_model() -> Path:
    """The student that this package ships.

    Raises:
        ConfigError: the package is not installed with its models.
    """
    return resource("models/student.onnx")


class Enhancer:
    """An ``Enhance`` backed by ONNX Runtime; the model file says how its input is made. For one thread at a time.

    Attributes:
        path: the model file.
        sha256: hexadecimal digest of that file.
        model_input: how frames and capture metadata are encoded for it.
        providers: execution providers in use, in order.
        output_resolution: ``input`` for frames of the input's size, ``model`` for the network's own smaller size.
    """

    def __init__(
        self,
        model: Path,
        providers: Sequence[str] = DEFAULT_PROVIDERS,
        threads: int | None = None,
        working_size: int | None = None,
        output_resolution: OutputResolution = "input",
        upsampling: Upsampling = "auto",
    ) -> None:
        """Load ``model``.

        Args:
            model: ONNX file written by ``lowlight export``.
            providers: ONNX Runtime execution providers in order of preference.
            threads: threads of one inference; ``None`` lets ONNX Runtime take every core.
            working_size: shorter side in pixels of the network's copy instead of the model's own; 0 = full size.
            output_resolution: size of the result.
            upsampling: way from the small result to the full size.

        Raises:
            ModelError: missing, damaged or foreign file.
            ConfigError: a provider that this ONNX Runtime does not have, or a value out of range.
        """
        if output_resolution not in ("input", "model"):
            raise ConfigError(f"output_resolution '{output_resolution}': choose 'input' or 'model'")
        self.path = Path(model)
        self.output_resolution = output_resolution
        self.upsampling = upsampling
        content = _read(self.path)
        self.sha256 = hashlib.sha256(content).hexdigest()
        self._session = _open(content, self.path, providers, threads)
        self.providers: tuple[str, ...] = tuple(self._session.get_providers())
        self.model_input = _model_input(self._session, self.path)
        if working_size is not None:
            self.model_input = replace(self.model_input, working_size=working_size)
        self._input = self._session.get_inputs()[0].name
        self._local_affine = LocalAffine()

    @property
    def name(self) -> str:
        """File name without suffix."""
        return self.path.stem

    @property
    def working_size(self) -> int:
        """Shorter side in pixels of the network's copy; 0 = the frame's own size."""
        return self.model_input.working_size

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
        tensor = self.encode(rgb, capture)
        return self.finish(self.infer(tensor), tensor, rgb)

    def encode(self, rgb: Rgb, capture: CaptureMetadata) -> Tensor:
        """First stage: the (1, 5, h, w) input tensor."""
        return self.model_input.encode(rgb, capture)

    def infer(self, tensor: Tensor) -> Tensor:
        """Second stage: the network's (1, C, h, w) output.

        Raises:
            ModelError: ONNX Runtime refuses the tensor.
        """
        try:
            return cast(Tensor, self._session.run(None, {self._input: tensor})[0])
        except Exception as error:  # ONNX Runtime's own exceptions share no public base
            raise ModelError(f"{self.path}: inference on a tensor of shape {tensor.shape} failed: {error}") from error

    def finish(self, output: Tensor, tensor: Tensor, rgb: Rgb) -> NDArray[np.uint8]:
        """Third stage: the enhanced frame from the network's output, its input tensor and the full-size frame."""
        height, width = rgb.shape[:2]
        maps = self.model_input.decode(output, height, width)
        small = tensor[0, :3, : maps.shape[1], : maps.shape[2]]
        if self.output_resolution == "model" and small.shape[1:] != (height, width):
            rgb = self.model_input.shrink(rgb)
        return enlarge(maps, small, rgb, self.upsampling, self._local_affine)

    def warm_up(self, height: int = 480, width: int = 640) -> None:
        """Run one black frame, so that the first real one does not pay for memory planning.

        Raises:
            ModelError: the network cannot run.
        """
        self(np.zeros((height, width, 3), np.uint8), UNKNOWN)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelError(
            f"cannot read the model {path}: {error.strerror}; set the parameter 'model' (or --model) to an ONNX file "
            "written by 'lowlight export', or leave it empty for the one that is shipped"
        ) from error


def _open(content: bytes, path: Path, providers: Sequence[str], threads: int | None) -> ort.InferenceSession:
    missing = [p for p in providers if p not in ort.get_available_providers()]
    if missing or not providers:
        raise ConfigError(
            f"execution provider {', '.join(missing) or '(none given)'} is not in this ONNX Runtime; "
            f"available: {', '.join(ort.get_available_providers())}"
        )
    if threads is not None and threads < 0:
        raise ConfigError(f"threads {threads}: give 0 (ONNX Runtime decides) or more")
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or 0
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # leave the cores to camera and detector
    try:
        return ort.InferenceSession(content, options, providers=list(providers))
    except Exception as error:  # ONNX Runtime's own exceptions share no public base
        raise ModelError(f"{path} is not a loadable ONNX model ({error}); export it again") from error


def _model_input(session: ort.InferenceSession, path: Path) -> ModelInput:
    inputs, outputs = session.get_inputs(), session.get_outputs()
    text = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
    if text is None:
        raise ModelError(
            f"{path} carries no '{METADATA_KEY}': it was not exported by this package; use 'lowlight export'"
        )
    if len(inputs) != 1 or len(outputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].shape[1] != CHANNELS:
        found = [(i.name, i.shape) for i in inputs]
        raise ModelError(f"{path} takes {found}: expected one input of shape (1, {CHANNELS}, height, width)")
    return ModelInput.from_json(text)
