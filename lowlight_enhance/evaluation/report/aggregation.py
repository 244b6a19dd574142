"""Means and other aggregates over the frames of a section, and values as text."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from lowlight_enhance.evaluation.report.content import FrameMetrics, Section

MISSING = "-"
"""Text of a value that does not exist."""

Value = Callable[[FrameMetrics], float | None]


@dataclass(frozen=True, slots=True)
class Metric:
    """A value of the input and of the output of a frame.

    Attributes:
        label: name and unit.
        input: value of the dark frame.
        output: value of the enhanced frame.
        digits: decimals that are shown.
    """

    label: str
    input: Value
    output: Value
    digits: int


def _statistic(name: str) -> tuple[Value, Value]:
    return (lambda frame: getattr(frame.input, name)), (lambda frame: getattr(frame.output, name))


def _reference_metric(name: str) -> tuple[Value, Value]:
    return (
        lambda frame: getattr(frame.input_metrics, name, None),
        lambda frame: getattr(frame.output_metrics, name, None),
    )


def _relative_noise_input(frame: FrameMetrics) -> float | None:
    return 100 * frame.input.noise_sigma / frame.input.mean_luma if frame.input.mean_luma > 0 else None


def _relative_noise_output(frame: FrameMetrics) -> float | None:
    return 100 * frame.output.noise_sigma / frame.output.mean_luma if frame.output.mean_luma > 0 else None


PSNR = Metric("PSNR dB", *_reference_metric("psnr_db"), 2)
SSIM = Metric("SSIM", *_reference_metric("ssim"), 3)
HUE_ERROR = Metric("hue error °", *_reference_metric("hue_error_deg"), 1)
BRIGHTNESS = Metric("brightness", *_statistic("mean_luma"), 1)
NOISE = Metric("noise", *_statistic("noise_sigma"), 2)
RELATIVE_NOISE = Metric("noise % of brightness", _relative_noise_input, _relative_noise_output, 1)
LAPLACIAN = Metric("sharpness (Laplacian)", *_statistic("laplacian_variance"), 0)
TENENGRAD = Metric("sharpness (Tenengrad)", *_statistic("tenengrad"), 0)
FLICKER = Metric("flicker", lambda frame: frame.flicker_input, lambda frame: frame.flicker, 2)

REFERENCE_METRICS = (PSNR, SSIM, HUE_ERROR)
STATISTICS = (BRIGHTNESS, NOISE, RELATIVE_NOISE, LAPLACIAN, TENENGRAD)


def has_references(frames: Iterable[FrameMetrics]) -> bool:
    """Return whether any frame has a reference."""
    return any(frame.output_metrics is not None for frame in frames)


def mean(frames: Iterable[FrameMetrics], value: Value) -> float | None:
    """Return the mean over the frames of each scene, then over the scenes.

    None and NaN are ignored. The result is None if nothing is left.
    """
    scenes: dict[str, list[float]] = {}
    for frame in frames:
        found = value(frame)
        if found is not None and not math.isnan(found):
            scenes.setdefault(frame.scene, []).append(found)
    return statistics.fmean(map(statistics.fmean, scenes.values())) if scenes else None


def rms(values: Iterable[float | None]) -> float | None:
    """Return the root mean square, ignoring None; None if nothing is left."""
    kept = [value for value in values if value is not None]
    return math.sqrt(statistics.fmean(value * value for value in kept)) if kept else None


def quantile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least ``share`` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1 if share > 0 else 0)]


def total_ms(frames: Iterable[FrameMetrics]) -> list[float]:
    """Return the total latencies of the frames in which a model ran."""
    return [frame.latency_ms["total"] for frame in frames if "total" in frame.latency_ms]


def section_summary(section: Section) -> dict[str, Any]:
    """Return the means of a section as plain values, with None for missing ones."""
    frames = section.frames
    metrics = (*REFERENCE_METRICS, *STATISTICS)
    latencies = total_ms(frames)
    return {
        "title": section.title,
        "frames": len(frames),
        "input": {metric.label: mean(frames, metric.input) for metric in metrics},
        "output": {metric.label: mean(frames, metric.output) for metric in metrics},
        "flicker": {name: rms(getattr(frame, name) for frame in frames) for name in ("flicker_input", "flicker")},
        "metadata": dict(sorted(Counter(frame.match for frame in frames).items())),
        "bypassed": sum(frame.bypassed for frame in frames),
        "latency_ms": _latency(latencies),
        "notes": list(section.notes),
    }


def _latency(latencies: Sequence[float]) -> dict[str, float] | None:
    return {"median": statistics.median(latencies), "p95": quantile(latencies, 0.95)} if latencies else None


def number_text(value: float | None, digits: int) -> str:
    """Format a number; ``MISSING`` for None and NaN."""
    return MISSING if value is None or math.isnan(value) else f"{value:,.{digits}f}"


def exposure_text(seconds: float | None) -> str:
    """Format an exposure time in the notation of photography, such as ``1/50 s``."""
    if seconds is None:
        return MISSING
    return f"1/{1 / seconds:.0f} s" if 0.0 < seconds < 0.3 else f"{seconds:.3g} s"


def iso_text(value: float | None) -> str:
    """Format an ISO value."""
    return MISSING if value is None else f"{value:.0f}"


def frame_label(frame: FrameMetrics) -> str:
    """Return the time of a frame in a recording, or its name."""
    return frame.name if frame.time_s is None else f"{frame.time_s:.2f} s"
