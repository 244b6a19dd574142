"""Measure the tables of docs/detectors.md and write them there, with one command.

    python test/helpers/detector_tables.py --photos photos.csv --labels labels.json --detector yolox_nano.onnx \
        --out out/detectors [--model MODEL] [--limit N] [--clip-frames N] [--strength S] [--full-well N]

Runs `lowlight evaluate --detector` with the detectors, KLT tracking and ORB on the photographs at 3, 4 and 5 stops of
under-exposure, and replaces the text between the markers in docs/detectors.md. If OUT holds the results of the same
model and options already, they are not measured again.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

from lowlight_enhance import cli
from lowlight_enhance.core.inference.model_file import read_model
from lowlight_enhance.core.inference.model_zoo import find_model
from lowlight_enhance.core.pipeline import PROFILES

DOCUMENT = Path(__file__).parents[2] / "docs" / "detectors.md"
RESULTS = re.compile(r"(?<=<!-- results -->\n).*?(?=<!-- /results -->)", re.DOTALL)

LIGHTS = ("3:800", "4:3200", "5:6400")
"""Stops of under-exposure and ISO."""

COLUMNS = {
    "boxes": ("mAP50", "mAP", "recall small", "recall medium", "recall large", "false boxes"),
    "tracking": ("correct %", "alive %", "drift px"),
    "words": ("words read",),
    "known motion": ("inliers", "tracked %"),
    "against the reference": ("inliers",),
}
"""Columns that the document shows, by measure."""

FRACTIONS = ("mAP50", "mAP", "recall small", "recall medium", "recall large", "words read")


def main() -> int:
    """Measure and write; returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--photos", type=Path, required=True, help="manifest of photographs")
    parser.add_argument("--labels", type=Path, required=True, help="their labels")
    parser.add_argument("--detector", action="append", required=True, dest="detectors", help="ONNX file; repeatable")
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--model", default="student_int8")
    parser.add_argument("--limit", default="64", help="photographs (default: %(default)s)")
    parser.add_argument("--clip-frames", default="8", help="frames of a clip (default: %(default)s)")
    parser.add_argument(
        "--strength", default=str(PROFILES["detection"]), help="strength of the enhancement (default: %(default)s)"
    )
    parser.add_argument(
        "--full-well", default="10000", help="electrons of the sensor at ISO 100 (default: %(default)s)"
    )
    options = parser.parse_args()
    found = measure(options, find_model(options.model))
    if isinstance(found, int):
        return found
    document = DOCUMENT.read_text(encoding="utf-8")
    DOCUMENT.write_text(RESULTS.sub(lambda _: markdown(found, options.strength), document), encoding="utf-8")
    return 0


def measure(options: argparse.Namespace, model: Path) -> dict[str, Any] | int:
    """Content of ``summary.json``, or the exit status of the evaluation that failed."""
    arguments = ["evaluate", str(model), "--photos", str(options.photos), "--labels", str(options.labels)]
    for detector in (*options.detectors, "klt", "orb"):
        arguments += ["--detector", detector]
    for light in LIGHTS:
        arguments += ["--light", light]
    arguments += ["--split", "all", "--limit", options.limit, "--clip-frames", options.clip_frames]
    arguments += ["--full-well", options.full_well, "--strength", options.strength, "--out", str(options.out)]
    done, wanted = options.out / "arguments.json", [*arguments, read_model(model).sha256]
    if not done.is_file() or json.loads(done.read_text(encoding="utf-8")) != wanted:
        status = cli.main(arguments)
        if status:
            return status
        done.write_text(json.dumps(wanted), encoding="utf-8")
    content: dict[str, Any] = json.loads((options.out / "summary.json").read_text(encoding="utf-8"))
    return content


def markdown(found: dict[str, Any], strength: str) -> str:
    """Return the tables as Markdown."""
    settings = found["settings"]
    parts = [
        f"`{settings['model']}` ({settings['sha256'][:12]}), clips of {settings['clip_frames']} frames, "
        f"sensor of {settings['full_well']:g} electrons at ISO 100, strength {float(strength):g}:\n"
    ]
    return "\n".join(parts + [_table(table) for table in found["tables"]])


def _table(table: dict[str, Any]) -> str:
    columns = [column for column in COLUMNS[table["measure"]] if column in table["columns"]]
    title = f"{table['detector']}, {table['measure']}, {table['condition']} ({table['frames']})"
    lines = [f"| {title} | {' | '.join(columns)} | stream, difference in {table['compared']} |"]
    lines.append("|---" * (len(columns) + 2) + "|")
    for rendering, values in table["rows"].items():
        cells = [_cell(column, values[table["columns"].index(column)]) for column in columns]
        lines.append(f"| {rendering} | {' | '.join(cells)} | {_difference(table, rendering)} |")
    return "\n".join(lines) + "\n"


def _cell(column: str, value: float | None) -> str:
    return "" if value is None else f"{value:.{3 if column in FRACTIONS else 1}f}"


def _difference(table: dict[str, Any], rendering: str) -> str:
    found = table["differences"].get(rendering)
    if found is None:
        return ""
    digits = 3 if table["compared"] in FRACTIONS else 1
    if found["low"] is None:
        return f"{found['value']:+.{digits}f}"
    bounds = f"({found['low']:+.{digits}f} to {found['high']:+.{digits}f})"
    return f"{found['value']:+.{digits}f} {bounds}"


if __name__ == "__main__":
    sys.exit(main())
