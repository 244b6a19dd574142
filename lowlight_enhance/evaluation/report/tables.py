"""Tables of a section, and the tiles with the main values at its top."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lowlight_enhance.evaluation.binning import EXPOSURE_BINS_S, ISO_BINS, by_bin
from lowlight_enhance.evaluation.report.aggregation import (
    BRIGHTNESS,
    HUE_ERROR,
    PSNR,
    REFERENCE_METRICS,
    RELATIVE_NOISE,
    SSIM,
    STATISTICS,
    Metric,
    Value,
    exposure_text,
    frame_label,
    has_references,
    iso_text,
    mean,
    number_text,
    quantile,
    rms,
    total_ms,
)
from lowlight_enhance.evaluation.report.content import FrameMetrics, Section, Table

WORST_FRAMES = 5
"""Rows of the table of the frames with the lowest PSNR."""


@dataclass(frozen=True, slots=True)
class Tile:
    """One main value of the enhanced frames and of the dark ones.

    Attributes:
        label: name of the value.
        output: value of the enhanced frames.
        input: value of the dark frames; "": none.
        unit: of both.
        note: explanation.
    """

    label: str
    output: str
    input: str = ""
    unit: str = ""
    note: str = ""


def tiles(section: Section) -> list[Tile]:
    """Return the main values of a section."""
    frames = section.frames
    found = []
    if has_references(frames):
        found.append(_tile("PSNR", PSNR, frames, "dB", "against the reference; higher is better"))
        found.append(_tile("SSIM", SSIM, frames, "", "against the reference; at most 1"))
        found.append(_tile("hue error", HUE_ERROR, frames, "°", "against the reference; lower is better"))
    found.append(_tile("brightness", BRIGHTNESS, frames, "", "mean luma, 0 to 255"))
    found.append(_tile("noise", RELATIVE_NOISE, frames, "%", "estimate, relative to the brightness"))
    flicker = rms(frame.flicker for frame in frames)
    if flicker is not None:
        of_input = number_text(rms(frame.flicker_input for frame in frames), 2)
        found.append(Tile("flicker", number_text(flicker, 2), of_input, "", "input x gain → output"))
    latencies = total_ms(frames)
    if latencies:
        note = f"median; 95 % within {quantile(latencies, 0.95):.1f} ms"
        found.append(Tile("latency", number_text(statistics.median(latencies), 1), "", "ms", note))
    return found


def _tile(label: str, metric: Metric, frames: Sequence[FrameMetrics], unit: str, note: str) -> Tile:
    before, after = (number_text(mean(frames, value), metric.digits) for value in (metric.input, metric.output))
    return Tile(label, after, before, unit, note)


def section_tables(section: Section) -> list[Table]:
    """Return every table of a section."""
    frames = section.frames
    found = []
    if has_references(frames):
        known = [bins for bins in _BINS if any(bins.value(frame) is not None for frame in frames)]
        found += [_reference_table(bins, frames) for bins in known or [_UNKNOWN]]
        found.append(_worst_frames(frames))
    found.append(_statistics(frames))
    if any(frame.match for frame in frames):
        found.append(_metadata_matches(frames))
    found += [_latency(frames)] if total_ms(frames) else []
    return [table for table in found if table.rows] + list(section.tables)


@dataclass(frozen=True, slots=True)
class _Bins:
    """A value, the edges of its bins, and the format of an edge."""

    title: str
    value: Value
    edges: Sequence[float]
    text: Callable[[float], str]


_BINS = (
    _Bins("By ISO", lambda frame: frame.iso, ISO_BINS, "{:.0f}".format),
    _Bins("By exposure time", lambda frame: frame.exposure_s, EXPOSURE_BINS_S, exposure_text),
)
_UNKNOWN = _Bins("Against the reference; ISO and exposure time unknown", lambda _: None, (), "{}".format)


def _reference_table(binning: _Bins, frames: Sequence[FrameMetrics]) -> Table:
    scored = [frame for frame in frames if frame.output_metrics]
    has_scenes = len({frame.scene for frame in scored}) < len(scored)
    bins = {"all": scored}
    if binning is not _UNKNOWN:
        bins |= by_bin(scored, binning.value, binning.edges, binning.text)
    return Table(
        binning.title,
        ("", "frames / scenes" if has_scenes else "frames", *("input", "output") * len(REFERENCE_METRICS)),
        tuple(_reference_row(label, inside, has_scenes) for label, inside in bins.items()),
        ("Means over scenes. " if has_scenes else "") + "PSNR and SSIM: higher is better; hue error: lower is better.",
        (("", 2), *((metric.label, 2) for metric in REFERENCE_METRICS)),
    )


def _reference_row(label: str, frames: Sequence[FrameMetrics], has_scenes: bool) -> tuple[str, ...]:
    count = f"{len(frames)} / {len({frame.scene for frame in frames})}" if has_scenes else f"{len(frames)}"
    sides = ((metric, side) for metric in REFERENCE_METRICS for side in (metric.input, metric.output))
    return (label, count, *(number_text(mean(frames, side), metric.digits) for metric, side in sides))


def _worst_frames(frames: Sequence[FrameMetrics]) -> Table:
    scored = [(frame.output_metrics.psnr_db, frame) for frame in frames if frame.output_metrics]
    worst = sorted(scored, key=lambda pair: pair[0])[:WORST_FRAMES]
    rows = tuple(
        (
            frame_label(frame),
            iso_text(frame.iso),
            exposure_text(frame.exposure_s),
            number_text(frame.input.mean_luma, 1),
            *(number_text(value, 2) for value in (PSNR.input(frame), psnr)),
            *(number_text(side(frame), 3) for side in (SSIM.input, SSIM.output)),
        )
        for psnr, frame in worst
    )
    columns = ("frame", "ISO", "exposure", "brightness", "input", "output", "input", "output")
    return Table("Lowest PSNR", columns, rows, groups=(("", 4), ("PSNR dB", 2), ("SSIM", 2)))


def _statistics(frames: Sequence[FrameMetrics]) -> Table:
    rows = [
        (metric.label, *(number_text(mean(frames, side), metric.digits) for side in (metric.input, metric.output)))
        for metric in STATISTICS
    ]
    flicker = [rms(getattr(frame, name) for frame in frames) for name in ("flicker_input", "flicker")]
    if flicker[1] is not None:
        rows.append(("flicker (input x gain, output)", *(number_text(value, 2) for value in flicker)))
    note = (
        "Statistics of luma, 0 to 255. The noise estimate counts fine texture as noise. Sharpness rises with contrast "
        "and with noise, so compare it at equal noise."
    )
    return Table("Without a reference", ("", "input", "output"), tuple(rows), note)


_MATCH_TEXTS = {
    "exact": "stamp of the image",
    "nearest": "nearest stamp within the tolerance",
    "last": "latest message within the maximum age",
    "fallback": "configured values, because no message matched",
    "none": "unknown",
}


def _metadata_matches(frames: Sequence[FrameMetrics]) -> Table:
    counts = Counter(frame.match for frame in frames)
    rows = [(f"{match}: {text}", f"{counts[match]}") for match, text in _MATCH_TEXTS.items() if counts[match]]
    bypassed = sum(frame.bypassed for frame in frames)
    if bypassed:
        rows.append(("passed through unchanged", f"{bypassed}"))
    return Table("Source of the metadata", ("source", "frames"), tuple(rows))


def _latency(frames: Sequence[FrameMetrics]) -> Table:
    stages: dict[str, list[float]] = {}
    for frame in frames:
        for stage, milliseconds in frame.latency_ms.items():
            stages.setdefault(stage, []).append(milliseconds)
    rows = tuple(
        (stage, *(number_text(value, 1) for value in (statistics.median(times), *_tail(times))))
        for stage, times in stages.items()
    )
    note = "Milliseconds per frame on this machine, which also read and measured the frames."
    return Table("Latency", ("stage", "median", "95 %", "99 %", "longest"), rows, note)


def _tail(times: Sequence[float]) -> tuple[float, float, float]:
    return quantile(times, 0.95), quantile(times, 0.99), max(times)
