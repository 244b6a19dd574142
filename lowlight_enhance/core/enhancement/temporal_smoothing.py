"""Keep brightness and colour steady from frame to frame while the scene stays the same.

The network processes each frame alone, with a high gain in the dark, so the noise of the rows and regions of a frame
turns into flicker of whole parts of the picture. Also, the tone of a region depends on what else is in view.
``TemporalSmoother`` removes that flicker from the maps before they are applied. On a coarse grid it keeps the last
output, moves it along with the picture, and pulls the new output towards it, region by region, by an amount that
depends on the time between the frames. It does so only where the *input* is unchanged: where light, exposure or
objects change, and everywhere after a cut, the new frame counts at once. docs/steadiness.md has measurements.
"""

from __future__ import annotations

import functools
import math

import cv2
import numpy as np

from lowlight_enhance.core.enhancement.maps import EnhancementMaps
from lowlight_enhance.core.inference.model_input import Tensor

SMOOTHING_S = 0.1
"""Default time constant. At 30 frames per second it reduces flicker to less than half."""

COARSE = 96
"""Approximate number of cells on the shorter side of the grid on which frames are compared."""

LEAST_SIDE = 16
"""With fewer cells on the shorter side no motion is estimated."""

LEAST_MOTION, LARGEST_MOTION = 0.05, 16.0
"""Smallest and largest motion between two frames that is compensated, in cells."""

REGION = 3
"""Side of the regions over which corrections are averaged, in blocks of 2x2 cells. Finer ones smear moving objects."""

OUTLIER_SCALE, OUTLIER_FLOOR, OUTLIER_MOST = 3.0, 0.06, 0.3
"""A block is an outlier if its change of colour (R + G + B, 0..3) differs from that of the picture by more than
``OUTLIER_FLOOR`` plus ``OUTLIER_SCALE`` times the median difference, or by ``OUTLIER_MOST``. Its weight falls to 0 at
twice that."""

CHANGE = 0.06
"""Relative change of the input luma of a region that counts as noise; at twice that nothing is kept."""

DARK = 0.02
"""Added to the input luma (0..1) of a block before its change is judged: below this level there is mostly noise."""

LEAST_SUPPORT = 0.25
"""Share of the blocks of a region that must count for a full correction."""

LEAST_UNCHANGED = 0.5
"""If less than this share of the picture is unchanged, the scene has changed and nothing is kept."""

LEAST_KEPT = 0.02
"""After a gap so long that less than this share of the last frame would remain, it is forgotten."""

SAMPLE = 2
"""Medians use every second block in each direction."""

COMMON_SCALE, COMMON_FLOOR = 4.0, 0.01
"""Limit of a cell's contribution to the difference of two frames when a shift is judged: the floor plus this many
times the median difference. A light that is switched on, or an object that moves, is then not mistaken for a shift."""

LEAST_SLOPE = np.diag(np.array([1e-4, 1e-4, 1e-4], np.float32))
"""Regularisation that keeps the equations of a shift solvable in flat pictures."""

GREEN = 1
"""Channel of a summary in which motion is estimated."""

LUMA = np.array([0.299, 0.587, 0.114], np.float32)


class TemporalSmoother:
    """The state of one stream. For one thread at a time."""

    def __init__(self) -> None:
        self._summary: Tensor | None = None
        self._stamp_ns = 0

    def reset(self) -> None:
        """Forget the last frame."""
        self._summary = None

    def __call__(self, maps: EnhancementMaps, stamp_ns: int, time_constant_s: float) -> Tensor | None:
        """Return the correction of the next frame.

        Args:
            maps: of the frame.
            stamp_ns: stamp of the frame. A stamp that jumps back, repeats, or leaves a gap resets the state.
            time_constant_s: time above 0 after which a difference has shrunk to 1/e.

        Returns:
            (3, rows, columns) to add to R, G, B of the enhanced frame, in 0..1, on a coarse grid; None: no
            correction.
        """
        elapsed_s = (stamp_ns - self._stamp_ns) / 1e9
        kept = math.exp(-elapsed_s / time_constant_s) if elapsed_s > 0.0 else 0.0
        before, self._summary, self._stamp_ns = self._summary, _summary(maps), stamp_ns
        if before is None or before.shape != self._summary.shape or kept < LEAST_KEPT:
            return None
        correction = _correction(before, self._summary, kept)
        if correction is None:
            return None
        rows, columns = self._summary.shape[:2]
        self._summary += cv2.resize(correction, (columns, rows), interpolation=cv2.INTER_LINEAR)
        return np.asarray(cv2.split(correction)[:3])


def _summary(maps: EnhancementMaps) -> Tensor:
    """Return (rows, columns, 4) on the coarse grid: output R, G, B and input luma.

    The input is averaged over each cell, against its noise. The maps are smooth, so two of their pixels represent a
    cell: reading all of them would take half as long as everything else here.
    """
    halvings = max(0, round(math.log2(min(maps.size) / COARSE)))
    cell, rgb = 1 << halvings, maps.frame
    for _ in range(halvings):
        rgb = _halved(rgb)
    rows, columns = rgb.shape[1:]
    gain, offset = (_pairs(plane, cell, rows, columns) for plane in (maps.gain, maps.offset))
    picture = (gain * rgb + offset) * np.float32(0.5)
    luma = LUMA @ rgb.reshape(3, -1)
    return np.asarray(cv2.merge([*picture, luma.reshape(rows, columns)]), dtype=np.float32)


def _pairs(planes: Tensor, cell: int, rows: int, columns: int) -> Tensor:
    """Return the sum of two pixels of each cell, (C, rows, columns)."""
    row = planes[:, cell // 2 :: cell][:, :rows]
    return np.asarray(row[:, :, ::cell][:, :, :columns] + row[:, :, cell // 2 :: cell][:, :, :columns])


def _halved(planes: Tensor) -> Tensor:
    """Average 2x2 pixels of (C, h, w); a last odd row or column is left out."""
    rows, columns = planes.shape[1] // 2, planes.shape[2] // 2
    even = planes[:, : 2 * rows, : 2 * columns]
    if even.flags.c_contiguous:  # one call handles all planes: a plane ends where a block ends
        even = even.reshape(1, -1, 2 * columns)
    size = (columns, even.shape[1] // 2)
    return np.asarray([cv2.resize(plane, size, interpolation=cv2.INTER_AREA) for plane in even]).reshape(
        len(planes), rows, columns
    )


def _correction(before: Tensor, now: Tensor, kept: float) -> Tensor | None:
    """Return what to add to ``now``, on a grid of half its size, to pull it towards ``before``.

    Args:
        before: (rows, columns, 4) summary of the last frame, with its output as corrected.
        now: summary of this frame, with the output of the network.
        kept: share of a difference that remains, 0..1.

    Returns:
        None if the scene has changed.
    """
    if min(now.shape[:2]) < 2:
        return None
    before, motion = _aligned(before, now)
    rows, columns = now.shape[0] // 2, now.shape[1] // 2
    change = (before - now)[: 2 * rows, : 2 * columns]
    change = np.asarray(cv2.resize(change, (columns, rows), interpolation=cv2.INTER_AREA), dtype=np.float32)
    luma = now[: 2 * rows : 2, : 2 * columns : 2, 3]
    weights, relative = _inlier_weights(change), change[:, :, 3] / (luma + np.float32(DARK))
    for plane in (weights, relative):
        _clear_uncovered(plane, motion)
    region = (REGION, REGION)
    support, relative = cv2.split(cv2.blur(cv2.merge([weights, relative]), region))
    unchanged = np.clip(np.float32(2.0) - np.abs(relative) / np.float32(CHANGE), 0.0, 1.0)
    if not float(np.mean(unchanged * weights)) >= LEAST_UNCHANGED:
        return None
    share = unchanged * np.float32(kept) / np.maximum(support, np.float32(LEAST_SUPPORT))
    correction = np.asarray(cv2.blur(change * weights[:, :, None], region) * share[:, :, None], dtype=np.float32)
    return correction if math.isfinite(cv2.norm(correction, cv2.NORM_L1)) else None


def _inlier_weights(change: Tensor) -> Tensor:
    """Return (rows, columns) 1 where the change of colour of a block is that of the picture, 0 for outliers."""
    colour = change[:, :, :3]
    deviation = np.abs(colour - _median(colour[::SAMPLE, ::SAMPLE].reshape(-1, 3))) @ np.ones(3, np.float32)
    usual = float(_median(deviation[::SAMPLE, ::SAMPLE].reshape(-1)))
    limit = min(OUTLIER_SCALE * usual + OUTLIER_FLOOR, OUTLIER_MOST)
    weights: Tensor = np.clip(np.float32(2.0) - deviation / np.float32(limit), 0.0, 1.0)
    return weights


def _median(values: Tensor) -> Tensor:
    """Return the lower median along the first axis; ``np.median`` takes three times as long."""
    middle = (len(values) - 1) // 2
    return np.asarray(np.partition(values, middle, axis=0)[middle])


def _aligned(before: Tensor, now: Tensor) -> tuple[Tensor, tuple[float, float]]:
    """Return ``before`` shifted onto ``now``, and the shift (x, y) in cells, 0 if no shift brings it closer."""
    height, width = now.shape[:2]
    still = before, (0.0, 0.0)
    if min(height, width) < LEAST_SIDE:
        return still
    old, new = before[:, :, GREEN].copy(), now[:, :, GREEN].copy()
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
    """Return the difference of two pictures without its median, in every second cell in each direction."""
    difference = (one - other)[1:-1:SAMPLE, 1:-1:SAMPLE]
    return difference - _median(difference.ravel())


def _refined(shift: tuple[float, float], moved: Tensor, new: Tensor, most: float) -> tuple[float, float]:
    """Refine ``shift``, which made ``moved``, by one step of Lucas and Kanade (1981) towards ``new``.

    Phase correlation finds a shift of any length, but underestimates it in smooth pictures. ``most`` limits the
    difference of a cell, so that moving objects do not dominate.
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
    """Set blocks to 0 that came into view by a shift (x, y) in cells."""
    x, y = motion[0] / 2.0, motion[1] / 2.0
    if x:
        plane[:, slice(0, math.ceil(x)) if x > 0 else slice(math.floor(x), None)] = 0.0
    if y:
        plane[slice(0, math.ceil(y)) if y > 0 else slice(math.floor(y), None)] = 0.0
