"""Counts, latencies and image scores of one run of the demo."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lowlight_enhance.tools.demo.scene import SHOTS, DemoClip, Picture
from lowlight_enhance.tools.harness.harness import percentile

MIN_RECEIVED_SHARE = 0.9


@dataclass(frozen=True, slots=True)
class Score:
    """Mean metrics of the scored frames against the well-exposed originals."""

    psnr_db: float
    ssim: float

    def __str__(self) -> str:
        return f"PSNR {self.psnr_db:.2f} dB, SSIM {self.ssim:.3f}"


@dataclass(frozen=True, slots=True)
class DemoResult:
    """Result of one run.

    Attributes:
        rate_hz: frame rate of the camera.
        sent: frames that the camera published.
        enhanced: frames that the node counted as enhanced; None if its diagnostics did not arrive.
        received: sent frames that reached the listener.
        latencies_ms: time from image stamp to receipt of each received frame.
        matches: number of frames by source of their capture metadata.
        dark_score: score of the dark frames.
        alone_score: score of the frames enhanced without the frames before them.
        enhanced_score: score of the frames that the node enhanced.
        scored: number of scored frames.
    """

    rate_hz: int
    sent: int
    enhanced: int | None
    received: int
    latencies_ms: tuple[float, ...]
    matches: dict[str, int]
    dark_score: Score
    alone_score: Score
    enhanced_score: Score
    scored: int

    def report(self) -> str:
        """Return the results as text."""
        enhanced = "unknown" if self.enhanced is None else str(self.enhanced)
        matches = ", ".join(f"{kind} {count}" for kind, count in self.matches.items() if count)
        return "\n".join(
            [
                f"frames    sent {self.sent}, enhanced {enhanced}, received {self.received}",
                f"metadata  {matches or 'unknown'}",
                f"latency   median {percentile(self.latencies_ms, 50):.1f} ms, "
                f"99th percentile {percentile(self.latencies_ms, 99):.1f} ms, from image stamp to receipt",
                f"input     {self.dark_score}   (against the original photograph, mean of {self.scored} frames)",
                f"alone     {self.alone_score}   (each frame without the frames before it)",
                f"output    {self.enhanced_score}",
            ]
        )

    def failures(self) -> list[str]:
        """Return a sentence for each failed requirement."""
        found = []
        if self.received < MIN_RECEIVED_SHARE * self.sent:
            share, required = 100.0 * self.received / self.sent, 100.0 * MIN_RECEIVED_SHARE
            found.append(f"only {share:.0f} % of the frames arrived, at least {required:.0f} % are required")
        before_db, after_db = self.dark_score.psnr_db, self.enhanced_score.psnr_db
        if not after_db > before_db:
            found.append(f"the PSNR did not rise: {before_db:.2f} dB before, {after_db:.2f} dB after")
        return found


ScoreFrame = Callable[[Picture, Picture], Score]
"""Scores an (H, W, 3) uint8 RGB image against its reference."""


def score_frames(
    clip: DemoClip,
    indices: Iterable[int],
    alone: Mapping[int, Path],
    enhanced: Mapping[int, Path],
    score_frame: ScoreFrame,
) -> tuple[Score, Score, Score]:
    """Return the mean scores of the dark frames, of those enhanced alone, and of those that the node enhanced.

    Args:
        clip: clip of the frames.
        indices: indices of the frames to score.
        alone: ``.npy`` files of frames enhanced alone, (H, W, 3) RGB, by frame index.
        enhanced: ``.npy`` files of frames that the node enhanced, by frame index.
        score_frame: computes the metrics of one frame; a parameter because ``evaluation`` is a layer above ``tools``.
    """

    def scores(index: int) -> tuple[Score, Score, Score]:
        reference = clip.reference(index)
        return (
            score_frame(clip.dark(index), reference),
            score_frame(np.load(alone[index]), reference),
            score_frame(np.load(enhanced[index]), reference),
        )

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        dark, single, stream = zip(*pool.map(scores, indices), strict=True)
    return mean_score(dark), mean_score(single), mean_score(stream)


def mean_score(scores: Sequence[Score]) -> Score:
    """Return the mean of each metric."""
    return Score(float(np.mean([score.psnr_db for score in scores])), float(np.mean([score.ssim for score in scores])))


def evenly_spaced(values: Sequence[int], count: int) -> list[int]:
    """Return at most ``count`` of the values, evenly spaced."""
    if len(values) <= count:
        return list(values)
    return [values[int(position)] for position in np.linspace(0, len(values) - 1, count)]


def middle_frames(clip: DemoClip, saved: Sequence[int]) -> list[int]:
    """Return for each shot the saved frame that is nearest to its middle."""
    middles = [(2 * number + 1) * len(clip) / (2 * len(SHOTS)) for number in range(len(SHOTS))]
    return sorted({min(saved, key=lambda index: abs(index - middle)) for middle in middles})
