"""Result of `lowlight flicker`: metrics for each kind of sequence, as JSON and as a table."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass

from lowlight_enhance.simulation.sequences import SequenceOptions


@dataclass(frozen=True, slots=True)
class FlickerMetrics:
    """Metrics of one kind of sequence: root mean squares of flicker and colour, means of the others.

    Attributes:
        flicker: change of the mean luma (0..255) of a block from frame to frame, minus that of the reference.
        colour: the same for R, G and B, minus the change of luma.
        psnr_db: PSNR against the photograph.
        response_frames: frames until the output follows a change (0: immediately), see ``response_frames``; None for
            a sequence without a change.
    """

    flicker: float
    colour: float
    psnr_db: float
    response_frames: float | None


@dataclass(frozen=True, slots=True)
class FlickerReport:
    """Results by kind of sequence.

    Attributes:
        model: file name of the model.
        sha256: digest of the model file.
        photographs: number of photographs.
        options: options of the sequences.
        smoothing_s: time constant of the smoothing.
        input_flicker: flicker of the dark frames multiplied by the mean gain in brightness.
        alone: each frame alone.
        smoothed: with temporal smoothing.
        fused: with temporal smoothing and temporal fusion, as in the node.
    """

    model: str
    sha256: str
    photographs: int
    options: SequenceOptions
    smoothing_s: float
    input_flicker: dict[str, float]
    alone: dict[str, FlickerMetrics]
    smoothed: dict[str, FlickerMetrics]
    fused: dict[str, FlickerMetrics]

    def to_json(self) -> str:
        """Return all values as JSON."""
        return json.dumps(dataclasses.asdict(self), indent=2)

    def table(self) -> str:
        """Return the results as a text table with one row per kind of sequence."""
        o = self.options
        lines = [
            f"{self.model} ({self.sha256[:12]}), {self.photographs} photographs, {o.frames} frames of "
            f"{o.width}x{o.height} at {o.rate_hz:g} Hz,",
            f"ISO {o.iso:g}, {o.stops:g} stops under; smoothing {self.smoothing_s:g} s",
            "",
            f"{'':16}{'input x gain':>14}{'flicker':>24}{'colour':>24}{'PSNR dB':>24}{'response frames':>18}",
            f"{'':16}{'':>14}" + f"{'alone':>8}{'smooth':>8}{'fused':>8}" * 3 + f"{'smooth':>10}{'fused':>8}",
        ]
        for name in self.alone:
            each = [self.alone[name], self.smoothed[name], self.fused[name]]
            cells = [value for key in ("flicker", "colour", "psnr_db") for value in (getattr(m, key) for m in each)]
            responses = ["" if m.response_frames is None else f"{m.response_frames:.1f}" for m in each[1:]]
            lines.append(
                f"{name:16}{self.input_flicker[name]:14.2f}"
                + "".join(f"{cell:8.2f}" for cell in cells)
                + f"{responses[0]:>10}{responses[1]:>8}"
            )
        return "\n".join(lines)
