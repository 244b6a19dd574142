"""Small reports for tests of the report page."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from lowlight_enhance.evaluation.image_statistics import ImageStatistics
from lowlight_enhance.evaluation.metrics import ReferenceMetrics
from lowlight_enhance.evaluation.report.content import FrameMetrics, ModelCard, Report, SampleFrame, Section

HOSTILE = "/cam<script>document.title='taken'</script>&amp;"


def statistics(mean: float) -> ImageStatistics:
    return ImageStatistics(mean, mean / 20, mean * 2, mean * 3)


def frame(number: int = 0, **changed: Any) -> FrameMetrics:
    """Return a frame of a recording of 10 Hz: ISO 800, from frame 5 on ISO 6400; frame 0 has no flicker."""
    values: dict[str, Any] = {
        "name": f"frame {number}",
        "scene": f"{number}",
        "input": statistics(20.0 + number),
        "output": statistics(100.0 + number),
        "iso": 800.0 if number < 5 else 6400.0,
        "exposure_s": 1 / 50,
        "input_metrics": ReferenceMetrics(10.0, 0.3, 20.0),
        "output_metrics": ReferenceMetrics(20.0 + number, 0.8, math.nan),
        "time_s": number / 10,
        "match": "exact" if number % 3 else "last",
        "metadata_age_s": 0.0 if number % 3 else 0.1,
        "flicker": number / 10 if number else None,
        "flicker_input": number / 5 if number else None,
        "latency_ms": {"decode": 1.0, "total": 10.0 + number},
    }
    return FrameMetrics(**(values | changed))


def sample(number: int = 0, side: int = 48) -> SampleFrame:
    dark = np.full((side, side * 4 // 3, 3), 20, np.uint8)
    return SampleFrame(frame(number), dark, dark * 5, dark * 6)


def report(frames: int = 10, title: str = "night", sections: int = 1) -> Report:
    figures = tuple(frame(number) for number in range(frames))
    section = Section(f"{title} camera", figures, (sample(0), sample(1)), (f"metadata from {title}",))
    card = ModelCard(title, (("sha256", "ab" * 32),), "# A model\n\n| a | b |\n|---|---|\n| 1 | <b>2</b> |\n")
    return Report(title, (("frames", f"{frames}"),), (section,) * sections, card)
