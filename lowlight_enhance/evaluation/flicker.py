"""Measure flicker, the change of brightness and colour from frame to frame, without and with temporal processing.

Three variants are compared: each frame alone, with temporal smoothing, and with smoothing and temporal fusion.

The sequences are made of photographs (``simulation.sequences``): each frame is a window of a photograph, darkened with
its own noise. A perfect network on noiseless frames would show the photograph in every frame. Flicker is therefore the
change between two frames at one place of the photograph, minus the change of the photograph itself.
docs/steadiness.md shows results.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from lowlight_enhance.core.enhancement.enhancer import Enhancer, FrameEnhancer
from lowlight_enhance.core.enhancement.temporal_smoothing import SMOOTHING_S, TemporalSmoother
from lowlight_enhance.core.errors import ConfigError
from lowlight_enhance.core.inference.model_input import to_8_bit
from lowlight_enhance.core.inference.model_zoo import default_model
from lowlight_enhance.core.pipeline import PipelineConfig
from lowlight_enhance.evaluation.detection.clips import ClipFrame
from lowlight_enhance.evaluation.detection.renderings import StreamRenderer
from lowlight_enhance.evaluation.flicker_report import FlickerMetrics, FlickerReport
from lowlight_enhance.evaluation.metrics import LUMA_WEIGHTS, psnr_db
from lowlight_enhance.simulation.sequences import SEQUENCES, Picture, SequenceFrame, SequenceOptions, simulate_sequence
from lowlight_enhance.tools.image_file import decode_image, read_file

LUMA = np.array(LUMA_WEIGHTS)

BLOCKS = 8
"""Blocks per row and per column whose means are compared."""

SETTLED = 0.1
"""Share of a change below which the remaining difference counts as settled."""


def measure_flicker(
    photographs: Sequence[Path],
    options: SequenceOptions | None = None,
    smoothing_s: float = SMOOTHING_S,
    model: Path | None = None,
    threads: int | None = None,
) -> FlickerReport:
    """Measure the flicker of a model on every kind of sequence of every photograph.

    Args:
        photographs: files of well-lit photographs.
        options: options of the sequences; None for the defaults.
        smoothing_s: time constant of the smoothing in seconds, as in ``PipelineConfig``.
        model: ONNX file; None for the default model.
        threads: as in ``Enhancer``.

    Raises:
        ConfigError: there is no photograph, or a value is out of range.
        ImageError: a file is not an image.
        ModelError: the model cannot be used.
    """
    options = options or SequenceOptions()
    _check_arguments(photographs, smoothing_s)
    enhancer = Enhancer(model or default_model(), threads=threads)
    pictures = [to_8_bit(decode_image(read_file(path), path)) for path in photographs]
    kinds: dict[str, list[SequenceFlicker]] = {name: [] for name in SEQUENCES}
    for number, picture in enumerate(pictures):
        second_picture = pictures[(number + 1) % len(pictures)]
        for name in SEQUENCES:
            frames = simulate_sequence(name, picture, second_picture, options, number)
            kinds[name].append(measure_sequence(frames, enhancer, smoothing_s, options.rate_hz))
    return FlickerReport(
        model=enhancer.path.name,
        sha256=enhancer.sha256,
        photographs=len(pictures),
        options=options,
        smoothing_s=smoothing_s,
        input_flicker={name: float(np.mean([entry.input_flicker for entry in each])) for name, each in kinds.items()},
        alone={name: _mean([entry.alone for entry in each]) for name, each in kinds.items()},
        smoothed={name: _mean([entry.smoothed for entry in each]) for name, each in kinds.items()},
        fused={name: _mean([entry.fused for entry in each]) for name, each in kinds.items()},
    )


def _check_arguments(photographs: Sequence[Path], smoothing_s: float) -> None:
    if not photographs:
        raise ConfigError("no photographs: give at least one well-lit photograph")
    if not (math.isfinite(smoothing_s) and smoothing_s > 0.0):
        raise ConfigError(f"smoothing_s {smoothing_s}: must be a finite number of seconds above 0")


@dataclass(frozen=True, slots=True)
class SequenceFlicker:
    """Metrics of one sequence.

    Attributes:
        input_flicker: flicker of the dark frames multiplied by the mean gain in brightness.
        alone: each frame alone.
        smoothed: with temporal smoothing.
        fused: with temporal smoothing and temporal fusion.
    """

    input_flicker: float
    alone: FlickerMetrics
    smoothed: FlickerMetrics
    fused: FlickerMetrics


def measure_sequence(
    frames: Iterable[SequenceFrame], enhance: FrameEnhancer, smoothing_s: float, rate_hz: float
) -> SequenceFlicker:
    """Enhance a sequence in the three variants and measure each."""
    alone, smoothed, fused, dark = _FrameChanges(), _FrameChanges(), _FrameChanges(), _FrameChanges()
    smoother, stream = (
        TemporalSmoother(),
        StreamRenderer(enhance, PipelineConfig(strength=1.0, smoothing_s=smoothing_s)),
    )
    stamp_ns = 1_000_000_000
    for frame in frames:
        maps = enhance.maps(frame.dark, frame.capture)
        alone.add(enhance.apply(maps, frame.dark), frame)
        smoothed.add(enhance.apply(maps, frame.dark, smoother(maps, stamp_ns, smoothing_s)), frame)
        fused.add(stream.enhance(ClipFrame(frame.dark, frame.capture, stamp_ns)), frame)
        dark.add(frame.dark, frame, is_output=False)
        stamp_ns += round(1e9 / rate_hz)
    gain = float(np.sum(alone.means) / max(float(np.sum(dark.means)), 1e-6))
    responses = [response_frames(alone.blocks, each.blocks, alone.change_at) for each in (smoothed, fused)]
    return SequenceFlicker(
        dark.metrics(None).flicker * gain,
        alone.metrics(None),
        smoothed.metrics(responses[0]),
        fused.metrics(responses[1]),
    )


class _FrameChanges:
    """Block means and changes of the frames of one sequence."""

    def __init__(self) -> None:
        self.blocks: list[NDArray[np.float64]] = []
        self.means: list[float] = []
        self.change_at: int | None = None
        self._psnrs_db: list[float] = []
        self._changes: list[NDArray[np.float64]] = []
        self._previous: tuple[Picture, Picture] | None = None

    def add(self, output: Picture, frame: SequenceFrame, is_output: bool = True) -> None:
        """Add the next frame. The change of the reference is subtracted from that of outputs alone."""
        reference = frame.reference if is_output else np.zeros_like(output)
        if frame.is_change:
            self.change_at = len(self.blocks)
        elif self._previous is not None:
            change = block_change(self._previous[0], output, frame.shift)
            self._changes.append(change - block_change(self._previous[1], reference, frame.shift))
        self._previous = (output, reference)
        self.blocks.append(block_means(output))
        self.means.append(float(self.blocks[-1].mean()))
        self._psnrs_db.append(psnr_db(output, reference))

    def metrics(self, response: float | None) -> FlickerMetrics:
        """Return the metrics of the frames so far."""
        changes = np.array(self._changes)
        luma = changes @ LUMA
        colour = changes - luma[..., None]
        return FlickerMetrics(rms(luma), rms(colour), float(np.mean(self._psnrs_db)), response)


def block_means(picture: Picture) -> NDArray[np.float64]:
    """Return the (BLOCKS, BLOCKS, 3) means of equal blocks of an (H, W, 3) image."""
    means = cv2.resize(picture.astype(np.float64), (BLOCKS, BLOCKS), interpolation=cv2.INTER_AREA)
    return np.asarray(means, dtype=np.float64)


def block_change(before: Picture, after: Picture, shift: tuple[int, int]) -> NDArray[np.float64]:
    """Return the change of the block means of the area that both images show.

    Args:
        before: (H, W, 3) image.
        after: (H, W, 3) image; its pixel (0, 0) shows what ``before`` shows at ``shift``.
        shift: (x, y) motion of the camera in pixels, not negative.
    """
    x, y = shift
    height, width = before.shape[:2]
    return block_means(after[: height - y, : width - x]) - block_means(before[y:, x:])


def response_frames(
    plain: Sequence[NDArray[np.float64]], smoothed: Sequence[NDArray[np.float64]], change_at: int | None
) -> float | None:
    """Return how many frames the smoothed output needs to follow a change.

    Args:
        plain: block means of the outputs without smoothing.
        smoothed: block means of the outputs with smoothing.
        change_at: index of the first frame after the change; None: no change.

    Returns:
        Frames from ``change_at`` until the distance between both outputs is at most ``SETTLED`` times the jump of the
        plain one, or at most the largest distance in the last quarter of the sequence: there the distance is the
        flicker that smoothing removes. None without a change.
    """
    if change_at is None:
        return None
    distances = [rms((a - b) @ LUMA) for a, b in zip(plain, smoothed, strict=True)]
    jump = rms((plain[change_at] - plain[change_at - 1]) @ LUMA)
    settled = max(distances[-max(1, len(distances) // 4) :])
    allowed = max(SETTLED * jump, settled)
    return float(next(frames for frames, distance in enumerate(distances[change_at:]) if distance <= allowed))


def luma_change(before: Picture, after: Picture) -> NDArray[np.float64]:
    """Return the (BLOCKS, BLOCKS) change of the mean luma of equal blocks between two (H, W, 3) images."""
    change: NDArray[np.float64] = (block_means(after) - block_means(before)) @ LUMA
    return change


def rms(values: NDArray[np.float64]) -> float:
    """Return the root mean square."""
    return float(np.sqrt(np.mean(np.square(values))))


def _mean(each: Sequence[FlickerMetrics]) -> FlickerMetrics:
    responses = [entry.response_frames for entry in each if entry.response_frames is not None]
    return FlickerMetrics(
        rms(np.array([entry.flicker for entry in each])),
        rms(np.array([entry.colour for entry in each])),
        float(np.mean([entry.psnr_db for entry in each])),
        float(np.mean(responses)) if responses else None,
    )
