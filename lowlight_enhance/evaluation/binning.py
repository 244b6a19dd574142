"""Group items by ISO and by exposure time."""

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
    """Group items by the bin (low, high] of a value; items without a value are grouped as ``unknown``.

    Args:
        items: items to group.
        value: returns the value of an item; None: unknown.
        edges: increasing edges of the bins; the last may be infinite.
        text: formats an edge for the label of a bin.

    Returns:
        Items by the label of their bin, without empty bins.
    """
    bins: dict[str, list[T]] = {}
    for low, high in pairwise(edges):
        inside = [item for item in items if (v := value(item)) is not None and low < v <= high]
        label = f"over {text(low)}" if math.isinf(high) else f"{text(low)} to {text(high)}"
        bins.update({label: inside} if inside else {})
    unknown = [item for item in items if value(item) is None]
    bins.update({"unknown": unknown} if unknown else {})
    return bins
