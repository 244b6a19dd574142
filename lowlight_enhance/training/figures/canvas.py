"""Common parts of all figures: panels, legend, colours, saving, and labels."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lowlight_enhance.core.files import atomic_file

DPI = 120


def create_panels(count: int) -> tuple[Figure, list[Axes]]:
    """Create a figure with ``count`` panels in a nearly square grid."""
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    size = (7.0, 4.5) if count == 1 else (4.5 * columns, 3.4 * rows)
    figure = Figure(figsize=size, layout="constrained")
    panels = [figure.add_subplot(rows, columns, number + 1) for number in range(count)]
    for axes in panels:
        axes.grid(visible=True, alpha=0.3)
        axes.set_axisbelow(True)
    return figure, panels


def add_legend(figure: Figure, panels: Iterable[Axes]) -> None:
    """Add one legend for all panels above them."""
    found = {label: handle for axes in panels for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(found.values(), found.keys(), loc="outside upper center", ncols=min(len(found), 4), fontsize="small")


def color(number: int) -> Any:
    """Return the colour of the n-th curve or bar."""
    return matplotlib.colormaps["tab10"](number % 10)


def save(figure: Figure, target: Path) -> None:
    """Write a figure.

    Raises:
        DataError: the target cannot be written.
    """
    with atomic_file(target) as temporary:
        figure.savefig(temporary, dpi=DPI)


def short_names(paths: Sequence[Path]) -> list[str]:
    """Return the shortest ends of paths that differ; of a checkpoint at least the names of its folder and its file."""
    parts = [path.resolve().parts for path in paths]
    names: list[str] = []
    for count in range(1, max(map(len, parts), default=0) + 1):
        names = ["/".join(p[-max(count, 2 if p[-1].endswith(".pt") else 1) :]) for p in parts]
        if len(set(names)) == len(set(parts)):
            break
    return names
