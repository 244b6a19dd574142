"""Frames by ISO and by exposure time."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TypeVar

T = TypeVar("T")

ISO_BINS = (0.0, 400.0, 1600.0, 3200.0, 12800.0, math.inf)
EXPOSURE_BINS_S = (0.0, 1 / 250, 1 / 30, 1 / 4, 2.0, math.inf)


def by_bin(
    items: Sequence[T],
    value: Callable[[T], float | None],
    edges: Sequence[float],
    text: Callable[[float], str] = "{:.5g}".format,
) -> dict[str, list[T]]:
    """Items by the bin (low, high] that ``value`` falls in, and those without one; empty bins are left out.

    Args:
        items: any.
        value: of an item; None: unknown.
        edges: rising; the last may be infinite.
        text: of an edge, for the name of its bin.
    """
    bins: dict[str, list[T]] = {}
    for low, high in pairwise(edges):
        inside = [item for item in items if (v := value(item)) is not None and low < v <= high]
        label = f"over {text(low)}" if math.isinf(high) else f"{text(low)} to {text(high)}"
        bins.update({label: inside} if inside else {})
    unknown = [item for item in items if value(item) is None]
    bins.update({"unknown": unknown} if unknown else {})
    return bins
