"""Scores of an evaluation by ISO as bars, from its ``summary.json``."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from lowlight_enhance.core.errors import DataError
from lowlight_enhance.core.files import make_folder
from lowlight_enhance.training.figures import canvas

SCORES = {"psnr": "PSNR in dB", "ssim": "SSIM", "l1": "L1", "hue_deg": "hue error in degrees"}


def draw_evaluation(folder: Path, out: Path) -> list[str]:
    """Draw ``evaluation.png`` into ``out``. Returns a line of text about it.

    With the metadata test, scores with true, withheld and shuffled metadata stand side by side.

    Args:
        folder: what ``lowlight evaluate --out`` wrote.
        out: folder of the figure.

    Raises:
        DataError: ``folder`` has no ``summary.json`` of an evaluation.
    """
    make_folder(out)
    draw_scores(folder / "summary.json", out / "evaluation.png")
    return [str(out / "evaluation.png")]


def draw_scores(file: Path, target: Path) -> None:
    """Draw the scores in a ``summary.json``.

    Raises:
        DataError: the file is not the summary of an evaluation.
    """
    try:
        summary = json.loads(file.read_text(encoding="utf-8"))
        groups = summary["metadata"] or {label: {"output": found} for label, found in summary["by_iso"].items()}
        figure, panels = canvas.create_panels(len(SCORES))
        for axes, (score, title) in zip(panels, SCORES.items(), strict=True):
            axes.set(title=title, xlabel="ISO")
            _draw_grouped_bars(axes, {label: _values(found, score) for label, found in groups.items()})
        canvas.add_legend(figure, panels)
    except OSError as error:
        raise DataError(
            f"cannot read {file} ({error.strerror}); give a folder that 'lowlight evaluate --out' wrote"
        ) from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(f"{file} was not written by 'lowlight evaluate --out': evaluate again") from error
    canvas.save(figure, target)


def _values(found: Mapping[str, Any], score: str) -> dict[str, float]:
    return {kind: math.nan if scores[score] is None else float(scores[score]) for kind, scores in found.items()}


def _draw_grouped_bars(axes: Axes, groups: Mapping[str, Mapping[str, float]]) -> None:
    kinds = list(dict.fromkeys(kind for group in groups.values() for kind in group))
    width = 0.8 / max(len(kinds), 1)
    for number, kind in enumerate(kinds):
        places = [group + (number - (len(kinds) - 1) / 2.0) * width for group in range(len(groups))]
        heights = [group.get(kind, math.nan) for group in groups.values()]
        axes.bar(places, heights, width, color=canvas.color(number), label=kind)
    axes.set_xticks(range(len(groups)), [label.replace(" to ", "\nto ") for label in groups])
