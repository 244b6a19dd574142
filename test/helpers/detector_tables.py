"""Measures what docs/detectors.md shows, and writes it there.

    python test/helpers/detector_tables.py DATA --out OUT [--model MODEL] [--limit N]

DATA holds the folders ``clean`` (photographs, ``photos.csv``), ``sice`` (``pairs.csv``), ``brackets`` (``frames.csv``)
and ``dark_video`` (pictures); sets that are not there are left out. A set whose figures of the same model lie in OUT
already is not measured again, so an interrupted run goes on where it was.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lowlight_enhance import cli
from lowlight_enhance.core.inference.model_file import read_model
from lowlight_enhance.core.inference.model_zoo import find_model

DOCUMENT = Path(__file__).parents[2] / "docs" / "detectors.md"
FIGURES = re.compile(r"(?<=<!-- figures -->\n).*?(?=<!-- /figures -->)", re.DOTALL)
KEYPOINTS, BOXES = ("--detector=orb", "--detector=sift"), ("--detector=hog", "--detector=face")
SHOWN = ("dark", "gamma", "auto_gamma", "clahe", "enhanced", "reference")
LEAST_CORRELATION = 0.5
"""Of a bracket's frame with its reference: below it is too dark, or moved."""

TITLES = {
    "against the reference": "Inliers a frame, against its reference",
    "known motion": "Inliers a pair of consecutive frames, known motion",
    "unknown motion": "Inliers a pair of consecutive frames, unknown motion",
    "boxes": "F1 of boxes; the truth is what the detector finds on the reference",
}


def main() -> int:
    """Measure and write; the exit code of the first set that fails, else 0."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, metavar="DATA")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", default="student_int8")
    parser.add_argument("--limit", default="30", help="photographs for keypoints; boxes, which are rare, get all")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    model = read_model(find_model(options.model))
    found: dict[str, dict[tuple[str, str], dict[str, Any]]] = {}
    for title, arguments in sets(options.data, options.out, options.limit):
        folder = options.out / re.sub(r"\W+", "_", f"{title} {arguments[0]}")
        if not measured(folder, model.sha256):
            print(f"== {title}", flush=True)
            code = cli.main(["evaluate", str(find_model(options.model)), *arguments, "--out", str(folder)])
            if code:
                return code
        for table in json.loads((folder / "summary.json").read_text())["tables"]:
            found.setdefault(title, {})[table["detector"], table["measure"]] = table
    text = f"`{model.path.name}` ({model.sha256[:12]}):\n\n{markdown(found)}"
    document = DOCUMENT.read_text(encoding="utf-8")
    DOCUMENT.write_text(FIGURES.sub(lambda _: text, document), encoding="utf-8")
    return 0


def sets(data: Path, out: Path, limit: str) -> Iterator[tuple[str, list[str]]]:
    """Name of a set, and arguments of `lowlight evaluate`."""
    photos = ["--photos", str(data / "clean" / "photos.csv")]
    if (data / "clean" / "photos.csv").is_file():
        for stops, iso in (("3", "800"), ("5", "6400")):
            title, light = f"photographs, {stops} stops, ISO {iso}", ["--stops", stops, "--iso", iso]
            yield title, [*KEYPOINTS, *photos, *light, "--limit", limit]
            yield title, [*BOXES, *photos, *light]
    if (data / "sice" / "pairs.csv").is_file():
        yield "SICE", [*KEYPOINTS, *BOXES, "--pairs", str(data / "sice" / "pairs.csv"), "--max-mean", "40"]
    if (data / "brackets" / "frames.csv").is_file():
        pairs = bracket_pairs(data / "brackets" / "frames.csv", out / "brackets.csv")
        yield "exposure brackets", [*KEYPOINTS, "--pairs", str(pairs), "--split", "all"]
    if (data / "dark_video").is_dir():
        yield "dark video", [*KEYPOINTS, "--sequence", str(data / "dark_video")]


def bracket_pairs(frames: Path, index: Path) -> Path:
    """``index``, written: each frame of a bracket that can be scored, with the reference of its scene."""
    with frames.open(newline="") as file:
        rows = list(csv.DictReader(file))
    references = {row["scene"]: row["file"] for row in rows if row["is_reference"] == "1"}
    with index.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["dark", "bright", "iso", "exposure_s", "scene"])
        for row in rows:
            if row["is_reference"] != "1" and float(row["correlation_to_reference"]) >= LEAST_CORRELATION:
                files = [str((frames.parent / name).resolve()) for name in (row["file"], references[row["scene"]])]
                table.writerow([*files, row["iso"], row["exposure_s"], row["scene"]])
    return index


def measured(folder: Path, sha256: str) -> bool:
    """Whether figures of that model lie in the folder."""
    path = folder / "summary.json"
    return path.is_file() and json.loads(path.read_text())["settings"]["sha256"] == sha256


def markdown(found: dict[str, dict[tuple[str, str], dict[str, Any]]]) -> str:
    """Tables of the main figures, one a measure; a row for each set and detector."""
    parts = []
    for measure, title in TITLES.items():
        lines = [
            f"| {title} | n | {' | '.join(SHOWN)} | gain over dark | over gamma | over auto_gamma | over CLAHE |",
            "|---" * (len(SHOWN) + 6) + "|",
        ]
        for name, tables in found.items():
            lines += [_row(name, table) for table in tables.values() if table["measure"] == measure]
        parts += ["\n".join(lines) + "\n"] if len(lines) > 2 else []
    return "\n".join(parts)


def _row(name: str, table: dict[str, Any]) -> str:
    column = table["columns"].index(table["gain_in"])
    figures = {shown: row[column] for shown, row in table["rows"].items()}
    form = "{:.2f}" if table["measure"] == "boxes" else "{:.0f}"
    cells = [form.format(figures[shown]) if figures.get(shown) is not None else "" for shown in SHOWN]
    cells[SHOWN.index("enhanced")] = f"**{cells[SHOWN.index('enhanced')]}**"
    gains = {gain["over"]: gain for gain in table["gains"]}
    told = [_gain(gains[over]) for over in SHOWN[:4]]
    return f"| {name}: {table['detector']} | {table['frames']} | {' | '.join([*cells, *told])} |"


def _gain(gain: dict[str, Any]) -> str:
    if gain["factor"] is None:
        return ""
    interval = "" if gain["low"] is None else f" ({gain['low']:.2f} to {gain['high']:.2f})"
    return f"{gain['factor']:.2f}{interval}"


if __name__ == "__main__":
    sys.exit(main())
