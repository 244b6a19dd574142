"""How steady brightness and colour are from frame to frame, with and without smoothing.

Sequences are made of photographs: each frame is a window of one, darkened by the physics of a camera with noise of its
own. Without noise and with a perfect network every frame would show the photograph, so what changes between two frames
at one place of the photograph, beyond what the photograph itself does, is flicker. docs/steadiness.md has figures.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from lowlight_enhance.core.enhancement.bypass import LUMA
from lowlight_enhance.core.enhancement.enhancer import Enhancer, MapEnhance
from lowlight_enhance.core.enhancement.temporal_smoothing import SMOOTHING_S, Steady
from lowlight_enhance.core.errors import ConfigError
from lowlight_enhance.core.files import atomic_file
from lowlight_enhance.core.inference.model_input import to_8_bit
from lowlight_enhance.core.inference.model_zoo import default_model
from lowlight_enhance.simulation.sequences import SEQUENCES, Frame, Picture, SequenceOptions, sequence
from lowlight_enhance.tools.image import decode, read_bytes

BLOCKS = 8
"""The picture is judged by the means of so many blocks each way."""

SETTLED = 0.1
"""A change has been followed where less than this part of it remains."""


@dataclass(frozen=True, slots=True)
class Steadiness:
    """Figures of one kind of sequence; means over the photographs, of flicker and colour root mean squares.

    Attributes:
        flicker: change of a block's mean luma (0..255) from frame to frame beyond the reference's.
        colour: the same of its mean R, G and B, less the change of luma.
        psnr_db: against the photograph.
        response_frames: frames that a change needs until ``SETTLED``, counted from the first that shows it (0: at
            once); None where nothing changes.
    """

    flicker: float
    colour: float
    psnr_db: float
    response_frames: float | None


@dataclass(frozen=True, slots=True)
class FlickerReport:
    """Figures by kind of sequence, ``off`` without and ``on`` with smoothing, and what they were measured with.

    ``inherited`` is the flicker of the dark frames themselves times the mean gain in brightness.
    """

    model: str
    sha256: str
    photographs: int
    options: SequenceOptions
    smoothing_s: float
    inherited: dict[str, float]
    off: dict[str, Steadiness]
    on: dict[str, Steadiness]

    def to_json(self) -> str:
        """Everything."""
        return json.dumps(dataclasses.asdict(self), indent=2)

    def table(self) -> str:
        """The figures as text, one row a kind of sequence."""
        o = self.options
        lines = [
            f"{self.model} ({self.sha256[:12]}), {self.photographs} photographs, {o.frames} frames of "
            f"{o.width}x{o.height} at {o.rate_hz:g} Hz,",
            f"ISO {o.iso:g}, {o.stops:g} stops under; smoothing {self.smoothing_s:g} s",
            "",
            f"{'':16}{'input x gain':>14}{'flicker':>16}{'colour':>16}{'PSNR dB':>16}{'frames to follow':>18}",
            f"{'':16}{'':>14}" + f"{'off':>8}{'on':>8}" * 3 + f"{'on':>18}",
        ]
        for name, off in self.off.items():
            on = self.on[name]
            follow = "" if on.response_frames is None else f"{on.response_frames:.1f}"
            lines.append(
                f"{name:16}{self.inherited[name]:14.2f}{off.flicker:8.2f}{on.flicker:8.2f}{off.colour:8.2f}"
                f"{on.colour:8.2f}{off.psnr_db:8.2f}{on.psnr_db:8.2f}{follow:>18}"
            )
        return "\n".join(lines)


def run(
    photographs: Sequence[Path],
    options: SequenceOptions | None = None,
    smoothing_s: float = SMOOTHING_S,
    model: Path | None = None,
    threads: int | None = None,
) -> FlickerReport:
    """Measure a model on every kind of sequence of every photograph.

    Args:
        photographs: files of well-lit pictures.
        options: how sequences are made of them; None for the defaults.
        smoothing_s: time constant of the smoothing, as in ``StreamConfig``.
        model: ONNX file; None for the one that is shipped.
        threads: as in ``Enhancer``.

    Raises:
        ConfigError: no photograph, or a value out of range.
        ImageError: a file that is no picture.
        ModelError: no usable model.
    """
    options = options or SequenceOptions()
    if not photographs:
        raise ConfigError("no photographs: name at least one well-lit picture")
    if not (math.isfinite(smoothing_s) and smoothing_s > 0.0):
        raise ConfigError(f"smoothing_s {smoothing_s}: must be a finite number of seconds above 0")
    enhancer = Enhancer(model or default_model(), threads=threads)
    pictures = [to_8_bit(decode(read_bytes(path), path)) for path in photographs]
    kinds: dict[str, list[tuple[float, Steadiness, Steadiness]]] = {name: [] for name in SEQUENCES}
    for number, picture in enumerate(pictures):
        other = pictures[(number + 1) % len(pictures)]
        for name in SEQUENCES:
            frames = sequence(name, picture, other, options, number)
            kinds[name].append(judge(frames, enhancer, smoothing_s, options.rate_hz))
    return FlickerReport(
        model=enhancer.path.name,
        sha256=enhancer.sha256,
        photographs=len(pictures),
        options=options,
        smoothing_s=smoothing_s,
        inherited={name: float(np.mean([entry[0] for entry in each])) for name, each in kinds.items()},
        off={name: _mean([entry[1] for entry in each]) for name, each in kinds.items()},
        on={name: _mean([entry[2] for entry in each]) for name, each in kinds.items()},
    )


def write_json(report: FlickerReport, target: Path) -> None:
    """Write the figures for another program to read.

    Raises:
        DataError: the target cannot be written.
    """
    with atomic_file(target) as temporary:
        temporary.write_text(report.to_json() + "\n")


def judge(
    frames: Iterator[Frame], enhance: MapEnhance, smoothing_s: float, rate_hz: float
) -> tuple[float, Steadiness, Steadiness]:
    """Enhance a sequence with and without smoothing.

    Returns:
        Flicker of the dark frames times the mean gain in brightness; figures without smoothing; and with it.
    """
    steady, off, on, dark = Steady(), _Tally(), _Tally(), _Tally()
    stamp_ns = 1_000_000_000
    for frame in frames:
        maps, small = enhance.maps(frame.dark, frame.capture)
        correction = steady(maps, small, stamp_ns, smoothing_s)
        stamp_ns += round(1e9 / rate_hz)
        off.add(enhance.apply(maps, small, frame.dark), frame)
        on.add(enhance.apply(maps, small, frame.dark, correction), frame)
        dark.add(frame.dark, frame, is_output=False)
    gain = float(np.sum(off.means) / max(float(np.sum(dark.means)), 1e-6))
    response = response_frames(off.blocks, on.blocks, off.change_at)
    return dark.steadiness(None).flicker * gain, off.steadiness(None), on.steadiness(response)


class _Tally:
    """What is kept of a sequence's outputs."""

    def __init__(self) -> None:
        self.blocks: list[NDArray[np.float64]] = []
        self.means: list[float] = []
        self.change_at: int | None = None
        self._psnrs_db: list[float] = []
        self._changes: list[NDArray[np.float64]] = []
        self._before: tuple[Picture, Picture] | None = None

    def add(self, output: Picture, frame: Frame, is_output: bool = True) -> None:
        """Take the next frame; one that is no output is not expected to follow the reference."""
        reference = frame.reference if is_output else np.zeros_like(output)
        if frame.is_change:
            self.change_at = len(self.blocks)
        elif self._before is not None:
            own = change_of_blocks(self._before[0], output, frame.shift)
            self._changes.append(own - change_of_blocks(self._before[1], reference, frame.shift))
        self._before = (output, reference)
        self.blocks.append(block_means(output))
        self.means.append(float(self.blocks[-1].mean()))
        self._psnrs_db.append(psnr_db(output, reference))

    def steadiness(self, response: float | None) -> Steadiness:
        """The figures so far."""
        changes = np.array(self._changes)
        luma = changes @ LUMA
        colour = changes - luma[..., None]
        return Steadiness(_rms(luma), _rms(colour), float(np.mean(self._psnrs_db)), response)


def block_means(picture: Picture) -> NDArray[np.float64]:
    """(BLOCKS, BLOCKS, 3) means of equal blocks of an (H, W, 3) picture."""
    means = cv2.resize(picture.astype(np.float64), (BLOCKS, BLOCKS), interpolation=cv2.INTER_AREA)
    return np.asarray(means, dtype=np.float64)


def change_of_blocks(before: Picture, after: Picture, shift: tuple[int, int]) -> NDArray[np.float64]:
    """Change of the block means of what both pictures show, when the camera moved by ``shift`` (x, y) between them.

    Args:
        before: (H, W, 3).
        after: (H, W, 3); its pixel (0, 0) shows what ``before`` has at ``shift``, which is 0 or more each way.
        shift: in pixels.
    """
    x, y = shift
    height, width = before.shape[:2]
    return block_means(after[: height - y, : width - x]) - block_means(before[y:, x:])


def response_frames(
    plain: Sequence[NDArray[np.float64]], smoothed: Sequence[NDArray[np.float64]], change_at: int | None
) -> float | None:
    """Frames after a change until the smoothed output is what the change asks for.

    Args:
        plain: block means of the outputs without smoothing.
        smoothed: with it.
        change_at: index of the first frame after the change.

    Returns:
        The number of frames from ``change_at`` on until the smoothed output first is as close to the plain one as
        ``SETTLED`` of the plain one's jump, or as in the last quarter of the sequence where that is further away:
        there the distance is no more than the flicker that smoothing takes out. None where nothing changes.
    """
    if change_at is None:
        return None
    distances = [_rms((a - b) @ LUMA) for a, b in zip(plain, smoothed, strict=True)]
    jump = _rms((plain[change_at] - plain[change_at - 1]) @ LUMA)
    settled = max(distances[-max(1, len(distances) // 4) :])
    allowed = max(SETTLED * jump, settled)
    return float(next(frames for frames, distance in enumerate(distances[change_at:]) if distance <= allowed))


def psnr_db(picture: Picture, reference: Picture) -> float:
    """Peak signal-to-noise ratio; at most 100, which stands for equality."""
    error = float(np.mean(np.square(picture.astype(np.float64) - reference)))
    return min(100.0, 10.0 * math.log10(255.0**2 / error)) if error > 0.0 else 100.0


def _rms(values: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def _mean(each: Sequence[Steadiness]) -> Steadiness:
    responses = [entry.response_frames for entry in each if entry.response_frames is not None]
    return Steadiness(
        _rms(np.array([entry.flicker for entry in each])),
        _rms(np.array([entry.colour for entry in each])),
        float(np.mean([entry.psnr_db for entry in each])),
        float(np.mean(responses)) if responses else None,
    )
