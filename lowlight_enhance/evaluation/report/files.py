"""Write the measurements of a report for other programs: ``frames.csv`` and ``summary.json``."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from lowlight_enhance.core.files import atomic_file, make_folder, write_text
from lowlight_enhance.evaluation.image_statistics import ImageStatistics
from lowlight_enhance.evaluation.metrics import ReferenceMetrics
from lowlight_enhance.evaluation.report.aggregation import section_summary
from lowlight_enhance.evaluation.report.content import FrameMetrics, Section

_PLAIN = ("name", "time_s", "iso", "exposure_s", "match", "metadata_age_s", "bypassed", "flicker_input", "flicker")
_PARTS = (
    ("input", "input", ImageStatistics),
    ("output", "output", ImageStatistics),
    ("input_metrics", "input", ReferenceMetrics),
    ("output_metrics", "output", ReferenceMetrics),
)
"""Attribute of ``FrameMetrics``, prefix of its columns, and its class."""


def write_files(sections: Sequence[Section], folder: Path) -> None:
    """Write both files into ``folder``, which is created if it does not exist.

    Raises:
        DataError: the folder cannot be written.
    """
    make_folder(folder)
    stages = list(dict.fromkeys(s for section in sections for frame in section.frames for s in frame.latency_ms))
    with atomic_file(folder / "frames.csv") as path, path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["camera", *_PLAIN, *_columns(), *(f"{stage}_ms" for stage in stages)])
        for section in sections:
            for frame in section.frames:
                latencies = [frame.latency_ms.get(stage, "") for stage in stages]
                table.writerow([section.title, *_values(frame), *latencies])
    summaries = [section_summary(section) for section in sections]
    write_text(folder / "summary.json", json.dumps(summaries, indent=1) + "\n")


def _columns() -> list[str]:
    return [f"{prefix}_{field.name}" for _, prefix, kind in _PARTS for field in fields(kind)]


def _values(frame: FrameMetrics) -> list[Any]:
    """Return the values in the order of the columns; "" for unknown ones."""
    values = [getattr(frame, name) for name in _PLAIN]
    for attribute, _, kind in _PARTS:
        found = getattr(frame, attribute)
        values += ["" for _ in fields(kind)] if found is None else asdict(found).values()
    return ["" if value is None else value for value in values]
