"""Reports made by hand, small and quick."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from lowlight_enhance.evaluation.report.content import Card, Chapter, FrameFigures, Likeness, Looks, Report, Sample

HOSTILE = "/cam<script>document.title='taken'</script>&amp;"


def looks(mean: float) -> Looks:
    return Looks(mean, mean / 20, mean * 2, mean * 3)


def frame(number: int = 0, **changed: Any) -> FrameFigures:
    """Of a recording, 10 Hz, ISO 800 and then 6400, the first without flicker."""
    values: dict[str, Any] = {
        "name": f"frame {number}",
        "scene": f"{number}",
        "before": looks(20.0 + number),
        "after": looks(100.0 + number),
        "iso": 800.0 if number < 5 else 6400.0,
        "exposure_s": 1 / 50,
        "likeness_before": Likeness(10.0, 0.3, 20.0),
        "likeness_after": Likeness(20.0 + number, 0.8, math.nan),
        "time_s": number / 10,
        "match": "exact" if number % 3 else "last",
        "metadata_age_s": 0.0 if number % 3 else 0.1,
        "flicker": number / 10 if number else None,
        "flicker_input": number / 5 if number else None,
        "latency_ms": {"decode": 1.0, "total": 10.0 + number},
    }
    return FrameFigures(**(values | changed))


def sample(number: int = 0, side: int = 48) -> Sample:
    dark = np.full((side, side * 4 // 3, 3), 20, np.uint8)
    return Sample(frame(number), dark, dark * 5, dark * 6)


def report(frames: int = 10, title: str = "night", chapters: int = 1) -> Report:
    figures = tuple(frame(number) for number in range(frames))
    chapter = Chapter(f"{title} camera", figures, (sample(0), sample(1)), (f"metadata from {title}",))
    card = Card(title, (("sha256", "ab" * 32),), "# A model\n\n| a | b |\n|---|---|\n| 1 | <b>2</b> |\n")
    return Report(title, (("frames", f"{frames}"),), (chapter,) * chapters, card)
