"""Plots of a section for plotly.js. Colours are names of CSS variables of the page, such as ``--enhanced``."""

from __future__ import annotations

import html
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lowlight_enhance.evaluation.report.aggregation import (
    BRIGHTNESS,
    FLICKER,
    LAPLACIAN,
    REFERENCE_METRICS,
    RELATIVE_NOISE,
    Metric,
    exposure_text,
    has_references,
    iso_text,
    quantile,
    total_ms,
)
from lowlight_enhance.evaluation.report.content import FrameMetrics, Section

MAX_POINTS = 4000
"""Points of one line. Longer recordings are drawn at regular intervals."""

MAX_BARS = 60
SHOWN_SHARE = 0.99
"""Share of the latencies in the histogram, because a few long ones would compress the rest."""

MAX_TICKS = 5
"""Ticks of an axis in stops."""

ISO_STOPS = tuple(25.0 * 2**stop for stop in range(15))
EXPOSURE_STOPS_S = (*(1 / n for n in (8000, 4000, 2000, 1000, 500, 250, 125, 60, 30, 15, 8, 4, 2)), 1, 2, 4, 8, 15, 30)

MATCHES = {
    "none": "unknown",
    "fallback": "configured",
    "last": "last",
    "nearest": "nearest",
    "exact": "exact",
}
"""Labels of the sources of metadata, from worst to best."""


@dataclass(frozen=True, slots=True)
class Plot:
    """One plot.

    Attributes:
        title: title of the figure.
        alt: description for screen readers.
        data: plotly.js traces.
        layout: plotly.js layout, added to the common layout of the page.
        note: text below the plot.
        is_tall: whether the plot is higher than the others.
    """

    title: str
    alt: str
    data: list[dict[str, Any]]
    layout: dict[str, Any]
    note: str = ""
    is_tall: bool = False


def plots(section: Section) -> list[Plot]:
    """Return every plot of a section."""
    frames = section.frames[:: max(1, math.ceil(len(section.frames) / MAX_POINTS))]
    is_recording = any(frame.time_s is not None for frame in frames)
    found = _over_time(frames) if is_recording else _over_darkness(frames)
    if total_ms(section.frames):
        found.append(_latency(section.frames))
    if is_recording and any(frame.iso or frame.exposure_s for frame in frames):
        found.append(_metadata(frames))
    return found


def _over_time(frames: Sequence[FrameMetrics]) -> list[Plot]:
    psnr, ssim, hue = REFERENCE_METRICS
    found = []
    if has_references(frames):
        found += [_line(frames, "PSNR", "dB to the reference", psnr), _line(frames, "SSIM", "to the reference", ssim)]
        found.append(_line(frames, "Hue error", "degrees", hue))
    found += [
        _line(frames, "Brightness", "mean luma, 0 to 255", BRIGHTNESS),
        _line(frames, "Noise", "estimate, % of the brightness", RELATIVE_NOISE),
        _line(frames, "Sharpness", "variance of the Laplacian", LAPLACIAN),
    ]
    if any(frame.flicker is not None for frame in frames):
        found.append(_line(frames, "Flicker", "change of 8x8 blocks", FLICKER))
    return found


def _line(frames: Sequence[FrameMetrics], title: str, unit: str, metric: Metric) -> Plot:
    times = [_round(frame.time_s) for frame in frames]
    names = ("input x gain" if metric is FLICKER else "input", "output")
    data = [
        {
            "type": "scatter",
            "mode": "lines" if len(frames) > 1 else "markers",
            "name": name,
            "x": times,
            "y": [_round(value(frame)) for frame in frames],
            "line": {"color": colour, "width": 1.8},
            "hovertemplate": "%{y:.4g}<extra>" + name + "</extra>",
        }
        for name, value, colour in zip(names, (metric.input, metric.output), ("--input", "--enhanced"), strict=True)
    ]
    note = ""
    if metric is FLICKER:
        note = "Motion in the scene counts too, equally in both lines: compare the two. docs/steadiness.md defines it."
    alt = f"{title} of input and output over the time of the recording; the tables hold the means."
    return Plot(title, alt, data, {"xaxis": _seconds(), "yaxis": _axis(unit), "hovermode": "x unified"}, note)


def _over_darkness(frames: Sequence[FrameMetrics]) -> list[Plot]:
    psnr, ssim, hue = REFERENCE_METRICS
    found = []
    if has_references(frames):
        found += [
            _scatter(frames, "PSNR by darkness", "PSNR dB", psnr),
            _scatter(frames, "SSIM by darkness", "SSIM", ssim),
            _scatter(frames, "Hue error by darkness", "hue error °", hue),
        ]
    found.append(_scatter(frames, "Brightness", "mean luma, 0 to 255", BRIGHTNESS))
    found.append(_scatter(frames, "Noise", "estimate, % of the brightness", RELATIVE_NOISE))
    return found


def _scatter(frames: Sequence[FrameMetrics], title: str, unit: str, metric: Metric) -> Plot:
    darkness = [_round(frame.input.mean_luma) for frame in frames]
    data = [
        {
            "type": "scatter",
            "mode": "markers",
            "name": name,
            "x": darkness,
            "y": [_round(value(frame)) for frame in frames],
            "text": [html.escape(frame.name) for frame in frames],
            "marker": {"color": colour, "size": 8, "opacity": 0.8, "symbol": symbol},
            "hovertemplate": "%{text}<br>input brightness %{x:.1f}, %{y:.4g}<extra>" + name + "</extra>",
        }
        for name, value, colour, symbol in (
            ("input", metric.input, "--input", "circle-open"),
            ("output", metric.output, "--enhanced", "circle"),
        )
    ]
    alt = f"{title}: one point per frame for input and output, against the brightness of the input."
    layout = {"xaxis": _axis("brightness of the input, 0 to 255"), "yaxis": _axis(unit), "hovermode": "closest"}
    return Plot(title, alt, data, layout)


def _latency(frames: Sequence[FrameMetrics]) -> Plot:
    taken = total_ms(frames)
    most = quantile(taken, SHOWN_SHARE)
    shown = [value for value in taken if value <= most]
    edges = np.histogram_bin_edges(shown, "auto")
    if len(edges) - 1 > MAX_BARS:
        edges = np.histogram_bin_edges(shown, MAX_BARS)
    counts, edges = np.histogram(shown, edges)
    middles, width = (edges[1:] + edges[:-1]) / 2, float(edges[1] - edges[0])
    bars = {
        "type": "bar",
        "name": "frames",
        "x": [_round(float(x)) for x in middles],
        "y": counts.tolist(),
        "width": width,
        "marker": {"color": "--enhanced", "line": {"width": 0}},
        "hovertemplate": f"%{{y}} frames at %{{x:.1f}} ± {width / 2:.1f} ms<extra></extra>",
        "showlegend": False,
    }
    marks = {"median": statistics.median(taken), "95 %": quantile(taken, 0.95)}
    lines = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": f"{name} {value:.1f} ms",
            "x": [_round(value)] * 2,
            "y": [0, int(counts.max())],
            "line": {"color": "--ink", "width": 1.5, "dash": dash},
            "hoverinfo": "name",
        }
        for (name, value), dash in zip(marks.items(), ("solid", "dot"), strict=True)
    ]
    left_out = len(taken) - len(shown)
    longer = f"{left_out} of {len(taken)} frames took longer than shown, at most {max(taken):.1f} ms."
    layout = {"xaxis": _axis("milliseconds per frame"), "yaxis": _axis("frames"), "bargap": 0, "hovermode": "closest"}
    alt = f"Histogram of the time a frame takes: median {marks['median']:.1f} ms, 95 % within {marks['95 %']:.1f} ms."
    return Plot("Latency", alt, [bars, *lines], layout, longer if left_out else "")


def _metadata(frames: Sequence[FrameMetrics]) -> Plot:
    times = [_round(frame.time_s) for frame in frames]
    steps: dict[str, Any] = {"type": "scatter", "mode": "lines+markers", "x": times, "showlegend": False}
    steps |= {"line": {"color": "--enhanced", "width": 1.5, "shape": "hv"}, "marker": {"size": 3}}
    steps["hovertemplate"] = "%{text}<extra></extra>"
    isos, exposures_s = [frame.iso for frame in frames], [frame.exposure_s for frame in frames]
    iso = steps | {"y": isos, "text": [f"ISO {iso_text(value)}" for value in isos]}
    exposure = steps | {"y": exposures_s, "text": [exposure_text(s) for s in exposures_s], "yaxis": "y2"}
    source: dict[str, Any] = {
        "type": "scatter",
        "mode": "markers",
        "x": times,
        "y": [MATCHES.get(frame.match, frame.match) for frame in frames],
        "yaxis": "y3",
        "text": [_age(frame) for frame in frames],
        "marker": {
            "size": 7,
            "color": ["--input" if frame.match in ("none", "fallback") else "--reference" for frame in frames],
            "symbol": ["x" if frame.bypassed else "line-ns-open" for frame in frames],
        },
        "hovertemplate": "%{y} %{text}<extra></extra>",
        "showlegend": False,
    }
    used = [name for kind, name in MATCHES.items() if any(frame.match == kind for frame in frames)]
    layout = {
        "xaxis": _seconds() | {"anchor": "y3"},
        "yaxis": _axis("ISO") | _stops(isos, ISO_STOPS, iso_text) | {"domain": [0.7, 1.0]},
        "yaxis2": _axis("exposure") | _stops(exposures_s, EXPOSURE_STOPS_S, exposure_text) | {"domain": [0.33, 0.63]},
        "yaxis3": _axis("source")
        | {"domain": [0.0, 0.26], "type": "category", "categoryorder": "array", "categoryarray": used},
        "hovermode": "x",
    }
    alt = "ISO, exposure time and source of the capture metadata of each frame over the time of the recording."
    note = "Source: how the metadata of a frame was found. A cross marks a frame that was passed through unchanged."
    return Plot("Metadata", alt, [iso, exposure, source], layout, note, is_tall=True)


def _stops(values: Sequence[float | None], stops: Sequence[float], text: Callable[[float], str]) -> dict[str, Any]:
    """Return a logarithmic axis with ticks at whole stops."""
    known = [value for value in values if value is not None] or [stops[0]]
    low, high = min(known) / 1.5, max(known) * 1.5
    marks = [stop for stop in stops if low <= stop <= high]
    marks = marks[:: max(1, math.ceil(len(marks) / MAX_TICKS))]
    ends = [math.log10(low), math.log10(high)]
    return {"type": "log", "range": ends, "tickvals": marks, "ticktext": [text(mark) for mark in marks]}


def _age(frame: FrameMetrics) -> str:
    """Return the hover text of the metadata of a frame."""
    age = "" if frame.metadata_age_s is None else f"{1e3 * frame.metadata_age_s:.1f} ms from the frame"
    return ", ".join(filter(None, (age, "passed through unchanged" if frame.bypassed else "")))


def _axis(title: str) -> dict[str, Any]:
    return {"title": {"text": title}}


def _seconds() -> dict[str, Any]:
    return _axis("seconds since the first frame")


def _round(value: float | None) -> float | None:
    """Round to six significant digits; None for NaN and infinity, which JSON does not have."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.6g}")
