"""Summarise scored images: as plain values, as CSV and JSON files, and as a text table."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from lowlight_enhance.core.files import atomic_file, make_folder, write_text
from lowlight_enhance.evaluation.binning import EXPOSURE_BINS_S, ISO_BINS, by_bin
from lowlight_enhance.evaluation.json_values import without_nan
from lowlight_enhance.evaluation.scoring import (
    METADATA_TEST,
    ScoredImage,
    Scores,
    darkest_fifth,
    mean_over_scenes,
    metadata_groups,
    nan_mean,
)

_VARIANTS = ("before", "after", "withheld", "shuffled")


def summarize_scores(scored: Sequence[ScoredImage]) -> dict[str, Any]:
    """Return means over scenes and over images, by ISO and by exposure time, and of the metadata test."""
    iso, exposure = _by_iso(scored), _by_exposure(scored)
    return {
        "frames": len(scored),
        "scenes": len({entry.image.scene for entry in scored}),
        "input": asdict(mean_over_scenes(scored, "before")),
        "output": asdict(mean_over_scenes(scored)),
        "output_over_frames": {
            field.name: nan_mean(getattr(entry.after, field.name) for entry in scored) for field in fields(Scores)
        },
        "output_of_darkest_fifth": asdict(mean_over_scenes(darkest_fifth(scored))),
        "by_iso": {label: asdict(mean_over_scenes(inside)) for label, inside in iso.items()},
        "by_exposure_s": {label: asdict(mean_over_scenes(inside)) for label, inside in exposure.items()},
        "metadata": {
            label: {name: asdict(mean_over_scenes(inside, which)) for name, which in METADATA_TEST.items()}
            for label, inside in metadata_groups(scored).items()
        },
    }


def write_scores(scored: Sequence[ScoredImage], folder: Path) -> None:
    """Write ``frames.csv`` with the scores of every image and ``summary.json`` into ``folder``, which is created.

    Raises:
        DataError: the folder cannot be written.
    """
    make_folder(folder)
    names = [field.name for field in fields(Scores)]
    with atomic_file(folder / "frames.csv") as path, path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        columns = [f"{variant}_{name}" for variant in _VARIANTS for name in names]
        table.writerow(["name", "scene", "iso", "exposure_s", *columns])
        for entry in scored:
            scores = [getattr(getattr(entry, variant), name, "") for variant in _VARIANTS for name in names]
            table.writerow([entry.image.name, entry.image.scene, entry.iso, entry.exposure_s, *scores])
    write_text(folder / "summary.json", json.dumps(without_nan(summarize_scores(scored)), indent=1))


def describe(name: str, scored: Sequence[ScoredImage]) -> str:
    """Return the summary as a text table."""
    lines = [
        f"{name}: {len(scored)} frames of {len({entry.image.scene for entry in scored})} scenes; means over scenes",
        f"{'':<24} {'PSNR dB':>8} {'GT-mean':>8} {'SSIM':>7} {'L1':>7} {'hue deg':>8}",
        _line("input", mean_over_scenes(scored, "before")),
        _line("output", mean_over_scenes(scored)),
    ]
    for title, bins in (("ISO", _by_iso(scored)), ("exposure s", _by_exposure(scored))):
        if set(bins) != {"unknown"}:
            lines += [_line(f"{title} {label}", mean_over_scenes(inside)) for label, inside in bins.items()]
    for label, inside in metadata_groups(scored).items():
        lines += [_line(f"ISO {label}, {n}", mean_over_scenes(inside, w)) for n, w in METADATA_TEST.items()]
    lines += [
        "",
        f"{'':<24} {'cast a*':>8} {'cast b*':>8} {'hue deg':>8} {'dark SSIM':>9} {'noise':>6} {'clipped':>8}",
        _artifact_line("input", mean_over_scenes(scored, "before")),
        _artifact_line("output", mean_over_scenes(scored)),
        _artifact_line("output, darkest fifth", mean_over_scenes(darkest_fifth(scored))),
    ]
    return "\n".join(lines)


def _by_iso(scored: Sequence[ScoredImage]) -> dict[str, list[ScoredImage]]:
    return by_bin(scored, lambda entry: entry.iso, ISO_BINS)


def _by_exposure(scored: Sequence[ScoredImage]) -> dict[str, list[ScoredImage]]:
    return by_bin(scored, lambda entry: entry.exposure_s, EXPOSURE_BINS_S)


def _line(label: str, s: Scores) -> str:
    return f"{label:<24} {s.psnr:8.2f} {s.psnr_gt_mean:8.2f} {s.ssim:7.3f} {s.l1:7.4f} {s.hue_deg:8.1f}"


def _artifact_line(label: str, s: Scores) -> str:
    return (
        f"{label:<24} {s.cast_a:+8.2f} {s.cast_b:+8.2f} {s.hue_deg:8.1f} {s.dark_ssim:9.3f} {s.noise_ratio:6.2f} "
        f"{s.clipped_excess:+8.4f}"
    )
