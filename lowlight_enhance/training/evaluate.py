"""Scores of any ``Enhance`` at native size: by ISO, by exposure time, and with the capture metadata true or not."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

from lowlight_enhance.core.enhancement.enhancer import Enhance, Enhancer
from lowlight_enhance.core.enhancement.upsampling import Upsampling
from lowlight_enhance.core.errors import DataError
from lowlight_enhance.core.files import atomic_file, make_folder
from lowlight_enhance.core.metadata.capture import UNKNOWN, CaptureMetadata
from lowlight_enhance.evaluation.binning import EXPOSURE_BINS_S, ISO_BINS, by_bin
from lowlight_enhance.evaluation.colour import hue_error_deg
from lowlight_enhance.simulation.low_light import SENSORS, DarkExposure, darken
from lowlight_enhance.training import artifact_metrics
from lowlight_enhance.training.data.manifest import read_pairs, read_photos
from lowlight_enhance.training.data.pictures import LoadedPair, Picture, load_pairs, load_rgb
from lowlight_enhance.training.networks import enhance_by, load_checkpoint

MAX_PSNR_DB = 100.0
"""Of identical pictures, so that means stay finite."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A picture to enhance, opened when its turn comes."""

    name: str
    scene: str
    capture: CaptureMetadata
    load: Callable[[], LoadedPair]


@dataclass(frozen=True, slots=True)
class Scores:
    """Of one picture against its reference, or means of these.

    Attributes:
        psnr: dB.
        ssim: torchmetrics' default (Gaussian window 11, sigma 1.5) on RGB, data range 1.
        l1: mean absolute difference of R, G and B, 0..1.
        hue_deg: ``colour.hue_error_deg``.
        cast_a: ``artifact_metrics.cast``: mean difference in CIELAB a*.
        cast_b: the same in b*.
        dark_ssim: ``artifact_metrics.dark_ssim``: of the reference's darkest quarter.
        noise_ratio: ``artifact_metrics.noise_ratio``.
        clipped_excess: ``artifact_metrics.clipped_excess``.
    """

    psnr: float
    ssim: float
    l1: float
    hue_deg: float
    cast_a: float
    cast_b: float
    dark_ssim: float
    noise_ratio: float
    clipped_excess: float


@dataclass(frozen=True, slots=True)
class Row:
    """One frame: scores of the dark input and of the output; ``withheld`` and ``shuffled`` in the metadata test.

    ``dark_mean`` is the mean of the dark input, 0..255.
    """

    frame: Frame
    dark_mean: float
    before: Scores
    after: Scores
    withheld: Scores | None = None
    shuffled: Scores | None = None


def measure(picture: Picture, reference: Picture) -> Scores:
    """Scores of an (H, W, 3) uint8 picture."""
    a, b = (
        torch.from_numpy(np.ascontiguousarray(p.transpose(2, 0, 1)))[None].float() / 255 for p in (picture, reference)
    )
    cast_a, cast_b = artifact_metrics.cast(picture, reference)
    return Scores(
        psnr=min(float(peak_signal_noise_ratio(a, b, data_range=1.0)), MAX_PSNR_DB),
        ssim=float(structural_similarity_index_measure(a, b, data_range=1.0)),  # type: ignore[arg-type]
        l1=float((a - b).abs().mean()),
        hue_deg=hue_error_deg(picture, reference),
        cast_a=cast_a,
        cast_b=cast_b,
        dark_ssim=artifact_metrics.dark_ssim(picture, reference),
        noise_ratio=artifact_metrics.noise_ratio(picture, reference),
        clipped_excess=artifact_metrics.clipped_excess(picture, reference),
    )


def evaluate(frames: Sequence[Frame], enhance: Enhance, metadata_test: bool = False, seed: int = 0) -> list[Row]:
    """Score ``enhance`` on every frame.

    Args:
        frames: what to enhance.
        enhance: how.
        metadata_test: frames whose capture is known also with it withheld, and with that of another frame.
        seed: of the draw of other frames.

    Raises:
        DataError: no frames, or a metadata test of frames that were all captured alike.
    """
    if not frames:
        raise DataError("no frames to evaluate: check the index, --split and --max-mean")
    others = other_captures([frame.capture for frame in frames], seed) if metadata_test else [None] * len(frames)
    rows = []
    for frame, other in zip(frames, others, strict=True):
        pair = frame.load()

        def scores(capture: CaptureMetadata, pair: LoadedPair = pair) -> Scores:
            return measure(enhance(pair.dark, capture), pair.bright)

        rows.append(
            Row(
                frame,
                float(pair.dark.mean()),
                measure(pair.dark, pair.bright),
                scores(frame.capture),
                None if other is None else scores(UNKNOWN),
                None if other is None else scores(other),
            )
        )
    return rows


def other_captures(captures: Sequence[CaptureMetadata], seed: int) -> list[CaptureMetadata | None]:
    """For each capture one of the others that differs from it, drawn at random; None where it is unknown.

    Raises:
        DataError: fewer than two different captures are known.
    """
    known = [capture for capture in captures if not capture.is_unknown]
    if len(set(known)) < 2:
        raise DataError(
            f"a metadata test compares frames of different ISO or exposure time; of these {len(captures)}, "
            f"{len(known)} tell theirs, and no two differ: give --photos several values (--iso 200 800 6400), or "
            "--pairs whose index tells them"
        )
    rng = np.random.default_rng(seed)

    def other(mine: CaptureMetadata) -> CaptureMetadata | None:
        different = [capture for capture in known if capture != mine]
        return None if mine.is_unknown else different[rng.integers(len(different))]

    return [other(mine) for mine in captures]


def over_scenes(rows: Iterable[Row], which: str = "after") -> Scores:
    """Means first over the frames of a scene, then over the scenes, so that no scene counts twice; NaN is left out."""
    scenes: dict[str, list[Scores]] = {}
    for row in rows:
        found = getattr(row, which)
        if found is not None:
            scenes.setdefault(row.frame.scene, []).append(found)
    names = [field.name for field in fields(Scores)]
    means = {name: _mean(_mean(getattr(s, name) for s in of_one) for of_one in scenes.values()) for name in names}
    return Scores(**means)


def darkest_fifth(rows: Sequence[Row]) -> list[Row]:
    """The fifth of the rows, at least one, whose input has the lowest mean."""
    return sorted(rows, key=lambda row: row.dark_mean)[: max(1, len(rows) // 5)]


def iso_of(row: Row) -> float | None:
    """ISO of a row's frame."""
    return row.frame.capture.iso


def exposure_of(row: Row) -> float | None:
    """Exposure time in seconds of a row's frame."""
    return row.frame.capture.exposure_s


def summary(rows: Sequence[Row]) -> dict[str, Any]:
    """Means over scenes and over frames, by ISO and by exposure time, and of the metadata test, as plain values."""
    iso, exposure = by_bin(rows, iso_of, ISO_BINS), by_bin(rows, exposure_of, EXPOSURE_BINS_S)
    return {
        "frames": len(rows),
        "scenes": len({row.frame.scene for row in rows}),
        "input": asdict(over_scenes(rows, "before")),
        "output": asdict(over_scenes(rows)),
        "output_over_frames": {
            field.name: _mean(getattr(row.after, field.name) for row in rows) for field in fields(Scores)
        },
        "output_of_darkest_fifth": asdict(over_scenes(darkest_fifth(rows))),
        "by_iso": {label: asdict(over_scenes(inside)) for label, inside in iso.items()},
        "by_exposure_s": {label: asdict(over_scenes(inside)) for label, inside in exposure.items()},
        "metadata": {
            label: {name: asdict(over_scenes(inside, which)) for name, which in METADATA_TEST.items()}
            for label, inside in tested(rows).items()
        },
    }


METADATA_TEST = {"true": "after", "withheld": "withheld", "shuffled": "shuffled"}


def tested(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Rows of the metadata test by ISO, and ``all`` of them; without the test none."""
    inside = [row for row in rows if row.withheld]
    return {**by_bin(inside, iso_of, ISO_BINS), "all": inside} if inside else {}


def write(rows: Sequence[Row], out: Path) -> None:
    """``frames.csv`` with every frame's scores and ``summary.json``, in the folder ``out``."""
    make_folder(out)
    names = [field.name for field in fields(Scores)]
    parts = ["before", "after", "withheld", "shuffled"]
    with atomic_file(out / "frames.csv") as path, path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["name", "scene", "iso", "exposure_s", *(f"{part}_{name}" for part in parts for name in names)])
        for row in rows:
            scores = [getattr(getattr(row, part), name, "") for part in parts for name in names]
            table.writerow([row.frame.name, row.frame.scene, iso_of(row), exposure_of(row), *scores])
    with atomic_file(out / "summary.json") as path:
        path.write_text(json.dumps(_finite(summary(rows)), indent=1))


def describe(name: str, rows: Sequence[Row]) -> str:
    """The summary as a table to print."""
    lines = [
        f"{name}: {len(rows)} frames of {len({row.frame.scene for row in rows})} scenes; means over scenes",
        f"{'':<24} {'PSNR dB':>8} {'SSIM':>7} {'L1':>7} {'hue deg':>8}",
        _line("input", over_scenes(rows, "before")),
        _line("output", over_scenes(rows)),
    ]
    for title, bins in (
        ("ISO", by_bin(rows, iso_of, ISO_BINS)),
        ("exposure s", by_bin(rows, exposure_of, EXPOSURE_BINS_S)),
    ):
        if set(bins) != {"unknown"}:
            lines += [_line(f"{title} {label}", over_scenes(inside)) for label, inside in bins.items()]
    for label, inside in tested(rows).items():
        lines += [_line(f"ISO {label}, {n}", over_scenes(inside, w)) for n, w in METADATA_TEST.items()]
    lines += [
        "",
        f"{'':<24} {'cast a*':>8} {'cast b*':>8} {'hue deg':>8} {'dark SSIM':>9} {'noise':>6} {'clipped':>8}",
        _fault_line("input", over_scenes(rows, "before")),
        _fault_line("output", over_scenes(rows)),
        _fault_line("its darkest fifth", over_scenes(darkest_fifth(rows))),
    ]
    return "\n".join(lines)


def real_frames(index: Path, split: str = "val", max_mean: float = 255.0) -> list[Frame]:
    """Pairs in a CSV that belong to ``split`` (or all) and whose dark frame's mean is at most ``max_mean``."""
    return [
        Frame(pair.dark.name, pair.scene, pair.capture, lambda pair=pair: load_pairs([pair])[0])  # type: ignore[misc]
        for pair in read_pairs(index)
        if split in (pair.split, "all") and (max_mean >= 255.0 or load_rgb(pair.dark).mean() <= max_mean)
    ]


def darkened_frames(
    index: Path,
    stops: float,
    isos: Sequence[float],
    split: str = "val",
    sensor: str = "SonyA7S2",
    exposure_s: float = 1 / 60,
) -> list[Frame]:
    """Photographs in a CSV, each darkened by ``stops`` with the noise of one of ``isos`` in turn; always the same.

    Raises:
        DataError: an unreadable index, or a sensor that is not in ``SENSORS``.
    """
    if sensor not in SENSORS:
        raise DataError(f"sensor '{sensor}' is not calibrated; choose one of {', '.join(SENSORS)}")

    def frame(number: int, path: Path) -> Frame:
        capture = CaptureMetadata(isos[number % len(isos)], exposure_s)

        def load() -> LoadedPair:
            bright = load_rgb(path)
            exposure = DarkExposure(stops, capture, SENSORS[sensor])
            return LoadedPair(darken(bright, exposure, np.random.default_rng([0, number])), bright, capture)

        return Frame(path.name, path.name, capture, load)

    listed = [path for path, belongs in read_photos(index) if split in (belongs, "all")]
    return [frame(number, path) for number, path in enumerate(listed)]


def load_enhance(
    model: Path, working_size: int | None = None, threads: int | None = None, upsampling: Upsampling = "auto"
) -> Enhance:
    """An ``Enhance`` of an ONNX file, or of any checkpoint (.pt) run by torch.

    Raises:
        ModelError: not such an ONNX file.
        DataError: not such a checkpoint.
    """
    if model.suffix != ".pt":
        return Enhancer(model, threads=threads, working_size=working_size, upsampling=upsampling)
    if threads is not None:
        torch.set_num_threads(threads)
    return enhance_by(load_checkpoint(model), working_size, upsampling)


def _mean(values: Iterable[float]) -> float:
    kept = [value for value in values if not math.isnan(value)]
    return float(np.mean(kept)) if kept else math.nan


def _line(label: str, scores: Scores) -> str:
    return f"{label:<24} {scores.psnr:8.2f} {scores.ssim:7.3f} {scores.l1:7.4f} {scores.hue_deg:8.1f}"


def _fault_line(label: str, s: Scores) -> str:
    return (
        f"{label:<24} {s.cast_a:+8.2f} {s.cast_b:+8.2f} {s.hue_deg:8.1f} {s.dark_ssim:9.3f} {s.noise_ratio:6.2f} "
        f"{s.clipped_excess:+8.4f}"
    )


def _finite(value: Any) -> Any:
    """NaN, which JSON lacks, as None."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value
