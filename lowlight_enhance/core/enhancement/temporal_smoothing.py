"""Brightness and colour that stay steady from frame to frame while the scene does.

The network judges each frame alone, and its gain is high in the dark, so the noise of a frame's rows and regions comes
out as flicker of whole parts of the picture; and what a tone becomes depends on what else is in view. ``Steady`` takes
the flicker out of the network's maps before they are applied. On a coarse grid it keeps what the output looked like,
moves that along with the picture, and leads the new output back to it, region by region, by as much as the time
between the frames allows. It holds on to a region only while the *input* there looks as before: where light, exposure
or things in view change, and all over after a cut, the new frame counts at once. docs/steadiness.md has the figures.
"""

from __future__ import annotations

import functools
import math

import cv2
import numpy as np

from lowlight_enhance.core.enhancement.upsampling import small_picture
from lowlight_enhance.core.inference.model_input import Tensor

SMOOTHING_S = 0.1
"""Time constant: what takes the flicker of 30 frames a second down to less than half."""

COARSE = 96
"""Cells, about, on the shorter side of the grid on which frames are compared."""

LEAST_SIDE = 16
"""With fewer cells on the shorter side motion is not looked for."""

LEAST_MOTION, LARGEST_MOTION = 0.05, 16.0
"""Motion between two frames that is followed, in cells."""

REGION = 3
"""Corrections are means of so many blocks of 2x2 cells each way: finer ones would smear what moves."""

ODD_SCALE, ODD_FLOOR, ODD_MOST = 3.0, 0.06, 0.3
"""A block is odd where its change of colour (R + G + B, 0..3) differs from that of the picture by more than the floor
and this many times the usual difference, or by the most. It then counts less, and at twice that not at all."""

CHANGE = 0.06
"""Relative change of a region's input luma up to which it counts as noise; at twice that nothing is held on to."""

DARK = 0.02
"""Input luma, 0..1, added to a block's before its change is judged: below it there is little but noise."""

LEAST_SUPPORT = 0.25
"""Part of a region's blocks that must count for a correction in full."""

LEAST_UNCHANGED = 0.5
"""Where less than this part of the picture is unchanged, the scene is another: nothing is held on to."""

LEAST_KEPT = 0.02
"""After a gap so long that less than this would remain of the frame before, it is forgotten."""

SAMPLE = 2
"""Medians are those of every so many blocks each way."""

COMMON_SCALE, COMMON_FLOOR = 4.0, 0.01
"""What a cell may contribute to the difference of two frames when a shift is judged: the floor and so many times the
usual difference. So a light that is switched on, or a thing with a motion of its own, does not pass for a shift."""

LEAST_SLOPE = np.diag(np.array([1e-4, 1e-4, 1e-4], np.float32))
"""Keeps the equations for a shift solvable where the picture is flat."""

GREEN = 1
"""The channel of a look by which motion is found."""

LUMA = np.array([0.299, 0.587, 0.114], np.float32)


class Steady:
    """The memory of one stream. Not for several threads at once."""

    def __init__(self) -> None:
        self._look: Tensor | None = None
        self._stamp_ns = 0

    def __call__(self, maps: Tensor, small: Tensor, stamp_ns: int, smoothing_s: float) -> Tensor | None:
        """Look at the next frame.

        Args:
            maps: (6, h, w) gain R, G, B and offset R, G, B, or (3, h, w) enhanced picture; 0..1 of full scale.
            small: (3, h, w) the network's copy of the frame in 0..1.
            stamp_ns: the frame's stamp. One that jumps back, stands still, or leaves a gap begins anew.
            smoothing_s: time constant, above 0: after it a difference has shrunk to 1/e.

        Returns:
            (3, rows, columns) what is to be added to R, G, B of the enhanced frame, in 0..1, on a coarse grid; None
            where that is nothing.
        """
        elapsed_s = (stamp_ns - self._stamp_ns) / 1e9
        kept = math.exp(-elapsed_s / smoothing_s) if elapsed_s > 0.0 else 0.0
        before, self._look, self._stamp_ns = self._look, _seen(maps, small), stamp_ns
        if before is None or before.shape != self._look.shape or kept < LEAST_KEPT:
            return None
        correction = _correction(before, self._look, kept)
        if correction is None:
            return None
        rows, columns = self._look.shape[:2]
        self._look += cv2.resize(correction, (columns, rows), interpolation=cv2.INTER_LINEAR)
        return np.asarray(cv2.split(correction)[:3])


def _seen(maps: Tensor, small: Tensor) -> Tensor:
    """(rows, columns, 4) of the coarse grid: output R, G, B and input luma.

    The input is averaged over each cell, for its noise. Of the maps, which are smooth, two pixels stand for a cell, as
    reading all of them would take as long as half of the rest.
    """
    halvings = max(0, round(math.log2(min(maps.shape[1:]) / COARSE)))
    cell, rgb = 1 << halvings, small
    for _ in range(halvings):
        rgb = _halved(rgb)
    rows, columns = rgb.shape[1:]
    row = maps[:, cell // 2 :: cell][:, :rows]
    both = row[:, :, ::cell][:, :, :columns] + row[:, :, cell // 2 :: cell][:, :, :columns]
    picture = small_picture(both, rgb) * np.float32(0.5)
    luma = LUMA @ rgb.reshape(3, -1)
    return np.asarray(cv2.merge([*picture, luma.reshape(rows, columns)]), dtype=np.float32)


def _halved(planes: Tensor) -> Tensor:
    """Means of 2x2 pixels of (C, h, w); a last odd row or column is left out."""
    rows, columns = planes.shape[1] // 2, planes.shape[2] // 2
    even = planes[:, : 2 * rows, : 2 * columns]
    if even.flags.c_contiguous:  # one call does for all, as one ends where a block ends
        even = even.reshape(1, -1, 2 * columns)
    size = (columns, even.shape[1] // 2)
    return np.asarray([cv2.resize(plane, size, interpolation=cv2.INTER_AREA) for plane in even]).reshape(
        len(planes), rows, columns
    )


def _correction(before: Tensor, look: Tensor, kept: float) -> Tensor | None:
    """What to add to ``look``, on a grid of half its size, so that it leads over from ``before``.

    Args:
        before: (rows, columns, 4) the frame before as it was put out, and its input's luma.
        look: the same of this frame as the network would have it.
        kept: part of a difference that remains, 0..1.

    Returns:
        None where the scene is another.
    """
    if min(look.shape[:2]) < 2:
        return None
    before, motion = _moved(before, look)
    rows, columns = look.shape[0] // 2, look.shape[1] // 2
    change = (before - look)[: 2 * rows, : 2 * columns]
    change = np.asarray(cv2.resize(change, (columns, rows), interpolation=cv2.INTER_AREA), dtype=np.float32)
    luma = look[: 2 * rows : 2, : 2 * columns : 2, 3]
    counts, relative = _counts(change), change[:, :, 3] / (luma + np.float32(DARK))
    for plane in (counts, relative):
        _clear_uncovered(plane, motion)
    region = (REGION, REGION)
    support, relative = cv2.split(cv2.blur(cv2.merge([counts, relative]), region))
    unchanged = np.clip(np.float32(2.0) - np.abs(relative) / np.float32(CHANGE), 0.0, 1.0)
    if not float(np.mean(unchanged * counts)) >= LEAST_UNCHANGED:
        return None
    share = unchanged * np.float32(kept) / np.maximum(support, np.float32(LEAST_SUPPORT))
    correction = np.asarray(cv2.blur(change * counts[:, :, None], region) * share[:, :, None], dtype=np.float32)
    return correction if math.isfinite(cv2.norm(correction, cv2.NORM_L1)) else None


def _counts(change: Tensor) -> Tensor:
    """(rows, columns) 1 where a block's change of colour is that of the picture, 0 where it is a thing's own."""
    colour = change[:, :, :3]
    odd = np.abs(colour - _median(colour[::SAMPLE, ::SAMPLE].reshape(-1, 3))) @ np.ones(3, np.float32)
    limit = min(ODD_SCALE * float(_median(odd[::SAMPLE, ::SAMPLE].reshape(-1))) + ODD_FLOOR, ODD_MOST)
    counts: Tensor = np.clip(np.float32(2.0) - odd / np.float32(limit), 0.0, 1.0)
    return counts


def _median(values: Tensor) -> Tensor:
    """The (lower) median along the first axis; ``np.median`` takes three times as long."""
    middle = (len(values) - 1) // 2
    return np.asarray(np.partition(values, middle, axis=0)[middle])


def _moved(before: Tensor, look: Tensor) -> tuple[Tensor, tuple[float, float]]:
    """``before`` shifted onto ``look`` and the shift (x, y) in cells; as it is where no shift brings it closer."""
    height, width = look.shape[:2]
    still = before, (0.0, 0.0)
    if min(height, width) < LEAST_SIDE:
        return still
    old, new = before[:, :, GREEN].copy(), look[:, :, GREEN].copy()
    (x, y), _ = cv2.phaseCorrelate(old.copy(), new.copy(), _window(height, width))  # it may overwrite its input
    if not LEAST_MOTION <= max(abs(x), abs(y)) <= LARGEST_MOTION:
        return still
    standing = np.abs(_difference(old, new))
    most = COMMON_SCALE * float(_median(standing.ravel())) + COMMON_FLOOR
    shift = _refined((x, y), _shifted(old, (x, y)), new, most)
    moved = _shifted(before, shift)
    going = np.abs(_difference(moved[:, :, GREEN], new))
    return (moved, shift) if np.minimum(going, most).mean() < np.minimum(standing, most).mean() else still


def _shifted(picture: Tensor, shift: tuple[float, float]) -> Tensor:
    matrix = np.array([[1.0, 0.0, shift[0]], [0.0, 1.0, shift[1]]])
    size = (picture.shape[1], picture.shape[0])
    return np.asarray(cv2.warpAffine(picture, matrix, size, borderMode=cv2.BORDER_REPLICATE), dtype=np.float32)


def _difference(one: Tensor, other: Tensor) -> Tensor:
    """How two pictures differ beyond their usual difference in brightness, in every other cell each way."""
    difference = (one - other)[1:-1:SAMPLE, 1:-1:SAMPLE]
    return difference - _median(difference.ravel())


def _refined(shift: tuple[float, float], moved: Tensor, new: Tensor, most: float) -> tuple[float, float]:
    """``shift``, which made ``moved``, after one step of Lucas and Kanade (1981) towards ``new``.

    Phase correlation finds a shift of any length, but too short a one where the picture is smooth. ``most`` is what a
    cell may differ by at most, lest things with a motion of their own count too much.
    """
    slope_x = (moved[:, 2:] - moved[:, :-2])[1:-1:SAMPLE, ::SAMPLE].ravel() / np.float32(2.0)
    slope_y = (moved[2:] - moved[:-2])[::SAMPLE, 1:-1:SAMPLE].ravel() / np.float32(2.0)
    terms = np.stack((slope_x, slope_y, np.ones_like(slope_x)))
    differing = np.clip(_difference(moved, new).ravel(), -most, most)
    x, y, _ = np.linalg.solve(terms @ terms.T + LEAST_SLOPE, terms @ differing)
    return shift[0] + min(max(float(x), -1.0), 1.0), shift[1] + min(max(float(y), -1.0), 1.0)


@functools.lru_cache(maxsize=8)
def _window(height: int, width: int) -> Tensor:
    return np.asarray(cv2.createHanningWindow((width, height), cv2.CV_32F), dtype=np.float32)


def _clear_uncovered(plane: Tensor, motion: tuple[float, float]) -> None:
    """Set to 0 the blocks that have come into view by a shift (x, y) in cells."""
    x, y = motion[0] / 2.0, motion[1] / 2.0
    if x:
        plane[:, slice(0, math.ceil(x)) if x > 0 else slice(math.floor(x), None)] = 0.0
    if y:
        plane[slice(0, math.ceil(y)) if y > 0 else slice(math.floor(y), None)] = 0.0
