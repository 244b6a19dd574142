"""What a run of the demo showed: counts, latencies, and pictures scored against the undarkened photograph."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lowlight_enhance.tools.demo.scene import TAKES, Clip, Picture

MUST_ARRIVE = 0.9


@dataclass(frozen=True, slots=True)
class Score:
    """Means over the scored frames, against the undarkened photograph."""

    psnr_db: float
    ssim: float

    def __str__(self) -> str:
        return f"PSNR {self.psnr_db:.2f} dB, SSIM {self.ssim:.3f}"


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What a run showed.

    Attributes:
        rate_hz: of the camera.
        sent: frames published by the camera.
        enhanced: frames that the node says it enhanced; None where its diagnostics did not come.
        received: of the sent frames, those that reached the listener.
        latencies_ms: from image stamp to receipt, one for each received frame.
        matches: frames by the way that the node found their capture metadata.
        before: score of the dark frames.
        after: score of the enhanced frames.
        scored: number of frames scored.
    """

    rate_hz: int
    sent: int
    enhanced: int | None
    received: int
    latencies_ms: tuple[float, ...]
    matches: dict[str, int]
    before: Score
    after: Score
    scored: int

    def report(self) -> str:
        """The figures as text."""
        enhanced = "unknown" if self.enhanced is None else str(self.enhanced)
        matches = ", ".join(f"{kind} {count}" for kind, count in self.matches.items() if count)
        return "\n".join(
            [
                f"frames    sent {self.sent}, enhanced {enhanced}, received {self.received}",
                f"metadata  {matches or 'unknown'}",
                f"latency   median {percentile(self.latencies_ms, 50):.1f} ms, "
                f"99th percentile {percentile(self.latencies_ms, 99):.1f} ms, from image stamp to receipt",
                f"input     {self.before}   (against the undarkened photograph, mean of {self.scored} frames)",
                f"output    {self.after}",
            ]
        )

    def failures(self) -> list[str]:
        """What must not be, in plain sentences; empty after a good run."""
        found = []
        if self.received < MUST_ARRIVE * self.sent:
            share = 100.0 * self.received / self.sent
            found.append(f"only {share:.0f} % of the frames arrived, and {100.0 * MUST_ARRIVE:.0f} % must.")
        if not self.after.psnr_db > self.before.psnr_db:
            found.append(
                f"the PSNR did not rise: {self.before.psnr_db:.2f} dB before, {self.after.psnr_db:.2f} dB after."
            )
        return found


def score(clip: Clip, enhanced: dict[int, Path]) -> tuple[Score, Score]:
    """(dark, enhanced) scores of frames stored by index, each against the photograph of exactly that frame."""

    def both(index: int) -> tuple[Score, Score]:
        reference = clip.reference(index)
        return quality(clip.dark(index), reference), quality(np.load(enhanced[index]), reference)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        pairs = list(pool.map(both, enhanced))
    return mean_score([dark for dark, _ in pairs]), mean_score([bright for _, bright in pairs])


def quality(picture: Picture, reference: Picture) -> Score:
    """PSNR in dB and SSIM of one frame, by scikit-image."""
    from skimage import metrics

    psnr: Callable[..., Any] = metrics.peak_signal_noise_ratio
    ssim: Callable[..., Any] = metrics.structural_similarity

    return Score(
        float(psnr(reference, picture, data_range=255)),
        float(ssim(reference, picture, channel_axis=2, data_range=255)),
    )


def mean_score(scores: Sequence[Score]) -> Score:
    """Frame by frame average."""
    return Score(float(np.mean([score.psnr_db for score in scores])), float(np.mean([score.ssim for score in scores])))


def percentile(values: Sequence[float], percent: float) -> float:
    """Linear between values; NaN of none."""
    return float(np.percentile(values, percent)) if values else math.nan


def spread(values: Sequence[int], count: int) -> list[int]:
    """At most ``count`` of the values, evenly spread."""
    if len(values) <= count:
        return list(values)
    return [values[int(position)] for position in np.linspace(0, len(values) - 1, count)]


def rows(clip: Clip, kept: dict[int, Path]) -> dict[int, Path]:
    """The kept frame nearest the middle of each take."""
    middles = [(2 * number + 1) * len(clip) / (2 * len(TAKES)) for number in range(len(TAKES))]
    chosen = sorted({min(kept, key=lambda index: abs(index - middle)) for middle in middles})
    return {index: kept[index] for index in chosen}
