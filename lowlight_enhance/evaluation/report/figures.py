"""Figures of a chapter: means, tables, and the few numbers that stand at its top."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from lowlight_enhance.evaluation.binning import EXPOSURE_BINS_S, ISO_BINS, by_bin
from lowlight_enhance.evaluation.report.content import Chapter, FrameFigures, Table

DASH = "-"
WORST = 5
"""Frames that are named as the least alike."""

Value = Callable[[FrameFigures], float | None]


@dataclass(frozen=True, slots=True)
class Tile:
    """One number, of the dark frames and of the enhanced ones.

    Attributes:
        label: what it is.
        after: of the enhanced frames.
        before: of the dark ones; "": there is no such.
        unit: of both.
        note: what it means.
    """

    label: str
    after: str
    before: str = ""
    unit: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Measure:
    """A value of a frame before and after."""

    label: str
    before: Value
    after: Value
    digits: int


def _of_looks(name: str) -> tuple[Value, Value]:
    return (lambda frame: getattr(frame.before, name)), (lambda frame: getattr(frame.after, name))


def _of_likeness(name: str) -> tuple[Value, Value]:
    def before(frame: FrameFigures) -> float | None:
        return getattr(frame.likeness_before, name, None)

    def after(frame: FrameFigures) -> float | None:
        return getattr(frame.likeness_after, name, None)

    return before, after


def _grain_before(frame: FrameFigures) -> float | None:
    """Noise of the dark frame in percent of its brightness."""
    return 100 * frame.before.noise / frame.before.mean if frame.before.mean > 0 else None


def _grain_after(frame: FrameFigures) -> float | None:
    """The same of the enhanced frame."""
    return 100 * frame.after.noise / frame.after.mean if frame.after.mean > 0 else None


LIKENESS = (
    Measure("PSNR dB", *_of_likeness("psnr_db"), 2),
    Measure("SSIM", *_of_likeness("ssim"), 3),
    Measure("hue error °", *_of_likeness("hue_deg"), 1),
)
LOOKS = (
    Measure("brightness", *_of_looks("mean"), 1),
    Measure("noise", *_of_looks("noise"), 2),
    Measure("noise % of brightness", _grain_before, _grain_after, 1),
    Measure("sharpness (Laplacian)", *_of_looks("laplacian"), 0),
    Measure("sharpness (Tenengrad)", *_of_looks("tenengrad"), 0),
)


def has_likeness(frames: Iterable[FrameFigures]) -> bool:
    """Whether any frame has a reference."""
    return any(frame.likeness_after is not None for frame in frames)


def mean(frames: Iterable[FrameFigures], value: Value) -> float | None:
    """Mean over the frames of a scene, then over the scenes, without NaN and None; None where nothing is left."""
    scenes: dict[str, list[float]] = {}
    for frame in frames:
        found = value(frame)
        if found is not None and not math.isnan(found):
            scenes.setdefault(frame.scene, []).append(found)
    return statistics.fmean(map(statistics.fmean, scenes.values())) if scenes else None


def rms(values: Iterable[float | None]) -> float | None:
    """Root mean square; None where there is nothing."""
    kept = [value for value in values if value is not None]
    return math.sqrt(statistics.fmean(value * value for value in kept)) if kept else None


def quantile(values: Sequence[float], share: float) -> float:
    """The value that this share of them does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1 if share > 0 else 0)]


def number(value: float | None, digits: int) -> str:
    """A number as text."""
    return DASH if value is None or math.isnan(value) else f"{value:,.{digits}f}"


def exposure(seconds: float | None) -> str:
    """An exposure time as photographers write it."""
    if seconds is None:
        return DASH
    return f"1/{1 / seconds:.0f} s" if 0.0 < seconds < 0.3 else f"{seconds:.3g} s"


def iso(value: float | None) -> str:
    """An ISO value as text."""
    return DASH if value is None else f"{value:.0f}"


def label(frame: FrameFigures) -> str:
    """A frame's name, or its time in a recording."""
    return frame.name if frame.time_s is None else f"{frame.time_s:.2f} s"


def total_ms(frames: Iterable[FrameFigures]) -> list[float]:
    """Total latencies, where something was computed."""
    return [frame.latency_ms["total"] for frame in frames if "total" in frame.latency_ms]


def tiles(chapter: Chapter) -> list[Tile]:
    """What to see first."""
    frames = chapter.frames
    found = []
    if has_likeness(frames):
        notes = ("likeness to the reference; more is better", "likeness of structure, to 1", "less is better")
        for measure, unit, note in zip(LIKENESS, ("dB", "", "°"), notes, strict=True):
            found.append(_tile(measure.label.removesuffix(" dB").removesuffix(" °"), measure, frames, unit, note))
    found.append(_tile("brightness", LOOKS[0], frames, "", "mean luma, 0 to 255"))
    found.append(_tile("noise", LOOKS[2], frames, "%", "estimate, of the brightness"))
    flicker = rms(frame.flicker for frame in frames)
    if flicker is not None:
        inherited = number(rms(frame.flicker_input for frame in frames), 2)
        found.append(Tile("flicker", number(flicker, 2), inherited, "", "input x gain → output"))
    taken = total_ms(frames)
    if taken:
        late = f"median; 95 % within {quantile(taken, 0.95):.1f} ms"
        found.append(Tile("latency", number(statistics.median(taken), 1), "", "ms", late))
    return found


def _tile(label: str, measure: Measure, frames: Sequence[FrameFigures], unit: str, note: str) -> Tile:
    before, after = (number(mean(frames, value), measure.digits) for value in (measure.before, measure.after))
    return Tile(label, after, before, unit, note)


def tables(chapter: Chapter) -> list[Table]:
    """Every table of a chapter."""
    frames = chapter.frames
    found = []
    if has_likeness(frames):
        known = [bins for bins in _BINS if any(bins.value(frame) is not None for frame in frames)]
        found += [_binned(bins, frames) for bins in known or [_UNKNOWN]]
        found.append(_worst(frames))
    found.append(_looks(frames))
    if any(frame.match for frame in frames):
        found.append(_matches(frames))
    found += [_latency(frames)] if total_ms(frames) else []
    return [table for table in found if table.rows] + list(chapter.tables)


@dataclass(frozen=True, slots=True)
class _Bins:
    """What frames are sorted by: a value, the edges of the bins, and an edge as text."""

    title: str
    value: Value
    edges: Sequence[float]
    text: Callable[[float], str]


_BINS = (
    _Bins("By ISO", lambda frame: frame.iso, ISO_BINS, "{:.0f}".format),
    _Bins("By exposure time", lambda frame: frame.exposure_s, EXPOSURE_BINS_S, exposure),
)


_UNKNOWN = _Bins("Likeness to the reference; ISO and exposure time unknown", lambda _: None, (), "{}".format)


def _binned(how: _Bins, frames: Sequence[FrameFigures]) -> Table:
    scored = [frame for frame in frames if frame.likeness_after]
    are_scenes = len({frame.scene for frame in scored}) < len(scored)
    bins = by_bin(scored, how.value, how.edges, how.text)
    bins = {"all": scored} | (bins if how is not _UNKNOWN else {})
    rows = tuple(
        (
            label,
            f"{len(inside)} / {len({frame.scene for frame in inside})}" if are_scenes else f"{len(inside)}",
            *(
                number(mean(inside, side), measure.digits)
                for measure in LIKENESS
                for side in (measure.before, measure.after)
            ),
        )
        for label, inside in bins.items()
    )
    return Table(
        how.title,
        ("", "frames / scenes" if are_scenes else "frames", *("input", "output") * len(LIKENESS)),
        rows,
        ("Means over scenes. " if are_scenes else "") + "PSNR and SSIM: more is better; hue error: less.",
        (("", 2), *((measure.label, 2) for measure in LIKENESS)),
    )


def _worst(frames: Sequence[FrameFigures]) -> Table:
    scored = [(frame.likeness_after.psnr_db, frame) for frame in frames if frame.likeness_after]
    worst = sorted(scored, key=lambda pair: pair[0])[:WORST]
    rows = tuple(
        (
            label(frame),
            iso(frame.iso),
            exposure(frame.exposure_s),
            number(frame.before.mean, 1),
            *(number(value, 2) for value in (LIKENESS[0].before(frame), psnr)),
            *(number(side(frame), 3) for side in (LIKENESS[1].before, LIKENESS[1].after)),
        )
        for psnr, frame in worst
    )
    columns = ("frame", "ISO", "exposure", "brightness", "input", "output", "input", "output")
    return Table("Least alike", columns, rows, groups=(("", 4), ("PSNR dB", 2), ("SSIM", 2)))


def _looks(frames: Sequence[FrameFigures]) -> Table:
    rows = [
        (measure.label, *(number(mean(frames, side), measure.digits) for side in (measure.before, measure.after)))
        for measure in LOOKS
    ]
    flicker = [rms(getattr(frame, name) for frame in frames) for name in ("flicker_input", "flicker")]
    if flicker[1] is not None:
        rows.append(("flicker (input x gain, output)", *(number(value, 2) for value in flicker)))
    note = (
        "Of luma, 0 to 255. The noise estimate takes fine texture for noise; sharpness rises with contrast and with "
        "noise, so compare it at equal noise."
    )
    return Table("Without a reference", ("", "input", "output"), tuple(rows), note)


def _matches(frames: Sequence[FrameFigures]) -> Table:
    told = {
        "exact": "of the image's own stamp",
        "nearest": "of the nearest stamp within the tolerance",
        "last": "the last one, not too old",
        "fallback": "what was given for want of any",
        "none": "nothing known",
    }
    counts = Counter(frame.match for frame in frames)
    rows = [(f"{kind}: {what}", f"{counts[kind]}") for kind, what in told.items() if counts[kind]]
    passed = sum(frame.bypassed for frame in frames)
    if passed:
        rows.append(("passed through untouched", f"{passed}"))
    return Table("Where metadata came from", ("source", "frames"), tuple(rows))


def _latency(frames: Sequence[FrameFigures]) -> Table:
    stages: dict[str, list[float]] = {}
    for frame in frames:
        for stage, taken in frame.latency_ms.items():
            stages.setdefault(stage, []).append(taken)
    rows = tuple(
        (
            stage,
            *(
                number(value, 1)
                for value in (statistics.median(taken), quantile(taken, 0.95), quantile(taken, 0.99), max(taken))
            ),
        )
        for stage, taken in stages.items()
    )
    note = "Milliseconds a frame on this machine, while it also read and measured the frames."
    return Table("Latency", ("stage", "median", "95 %", "99 %", "longest"), rows, note)


def summary(chapter: Chapter) -> dict[str, Any]:
    """Means of a chapter as plain values, None where there is none."""
    frames = chapter.frames
    measures = (*LIKENESS, *LOOKS)
    taken = total_ms(frames)
    return {
        "title": chapter.title,
        "frames": len(frames),
        "input": {measure.label: mean(frames, measure.before) for measure in measures},
        "output": {measure.label: mean(frames, measure.after) for measure in measures},
        "flicker": {name: rms(getattr(frame, name) for frame in frames) for name in ("flicker_input", "flicker")},
        "metadata": dict(sorted(Counter(frame.match for frame in frames).items())),
        "bypassed": sum(frame.bypassed for frame in frames),
        "latency_ms": {"median": statistics.median(taken), "p95": quantile(taken, 0.95)} if taken else None,
        "notes": list(chapter.notes),
    }
