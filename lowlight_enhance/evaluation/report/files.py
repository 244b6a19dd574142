"""A report's figures as files for other programs: ``frames.csv`` and ``summary.json``."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from lowlight_enhance.core.files import atomic_file, make_folder
from lowlight_enhance.evaluation.report.content import Chapter, FrameFigures, Likeness, Looks
from lowlight_enhance.evaluation.report.figures import summary

_PLAIN = ("name", "time_s", "iso", "exposure_s", "match", "metadata_age_s", "bypassed", "flicker_input", "flicker")
_PARTS = (("before", Looks), ("after", Looks), ("likeness_before", Likeness), ("likeness_after", Likeness))


def write_files(chapters: Sequence[Chapter], folder: Path) -> None:
    """Write both into ``folder``, which is made where it is not there.

    Raises:
        DataError: it cannot be written into.
    """
    make_folder(folder)
    stages = list(dict.fromkeys(s for chapter in chapters for frame in chapter.frames for s in frame.latency_ms))
    with atomic_file(folder / "frames.csv") as path, path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["camera", *_PLAIN, *_names(), *(f"{stage}_ms" for stage in stages)])
        for chapter in chapters:
            for frame in chapter.frames:
                table.writerow(
                    [chapter.title, *_values(frame), *(frame.latency_ms.get(stage, "") for stage in stages)]
                )
    with atomic_file(folder / "summary.json") as path:
        path.write_text(json.dumps([summary(chapter) for chapter in chapters], indent=1) + "\n", encoding="utf-8")


def _names() -> list[str]:
    return [f"{part}_{field.name}" for part, kind in _PARTS for field in fields(kind)]


def _values(frame: FrameFigures) -> list[Any]:
    """In the order of the headers; what is not known is empty."""
    values = [getattr(frame, name) for name in _PLAIN]
    for part, kind in _PARTS:
        found = getattr(frame, part)
        values += ["" for _ in fields(kind)] if found is None else asdict(found).values()
    return ["" if value is None else value for value in values]
