"""Remove flicker: keep brightness and colour constant from frame to frame while the scene stays the same.

The network processes each frame alone, with a high gain in the dark, so the noise of the rows and regions of a frame
turns into flicker of whole parts of the picture. Also, the tone of a region depends on what else is in view.
``TemporalSmoother`` removes that flicker from the maps before they are applied. On a coarse grid it keeps the last
output, moves it along with the camera (by the motion that temporal fusion found, or its own estimate), and pulls the
new output towards it, region by region, by an amount that depends on the time between the frames. It does so only
where the *input* is unchanged: where light, exposure or objects change, and everywhere after a cut, the new frame
is used as it is. docs/steadiness.md has measurements.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from lowlight_enhance.core.enhancement import motion
from lowlight_enhance.core.enhancement.maps import EnhancementMaps
from lowlight_enhance.core.inference.model_input import Tensor

SMOOTHING_S = 0.2
"""Default time constant. At 30 frames per second it reduces flicker to less than half."""

COARSE = 96
"""Approximate number of cells on the shorter side of the grid on which frames are compared."""

MIN_MOTION_CELLS = 0.05
"""Smaller motion is not compensated."""

MAX_UNCERTAINTY_CELLS = 1.0
"""If the standard deviation of the displacement is larger, the camera counts as standing still."""

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

FULLY_COVERED = 0.999
"""Share of a block that must have been in view before, less a rounding error."""

SAMPLE = 2
"""Medians use every second block in each direction."""

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

    def __call__(
        self, maps: EnhancementMaps, stamp_ns: int, time_constant_s: float, camera_motion: motion.Affine | None = None
    ) -> Tensor | None:
        """Return the correction of the next frame.

        Args:
            maps: of the frame.
            stamp_ns: stamp of the frame. A stamp that jumps back, repeats, or leaves a gap resets the state.
            time_constant_s: time above 0 after which a difference has shrunk to 1/e.
            camera_motion: (2, 3) affine map from pixels (x, y) of ``maps`` to those of the frame before; None: it is
                estimated here.

        Returns:
            (3, rows, columns) to add to R, G, B of the enhanced frame, in 0..1, on a coarse grid; None: no
            correction.
        """
        elapsed_s = (stamp_ns - self._stamp_ns) / 1e9
        kept = math.exp(-elapsed_s / time_constant_s) if elapsed_s > 0.0 else 0.0
        before, self._summary, self._stamp_ns = self._summary, _summary(maps), stamp_ns
        if before is None or before.shape != self._summary.shape or kept < LEAST_KEPT:
            return None
        if camera_motion is not None:
            cells = 1.0 / _cell_size(maps)
            camera_motion = motion.scaled(camera_motion, cells, cells)
        correction = _correction(before, self._summary, kept, camera_motion)
        if correction is None:
            return None
        rows, columns = self._summary.shape[:2]
        self._summary += cv2.resize(correction, (columns, rows), interpolation=cv2.INTER_LINEAR)
        return np.asarray(cv2.split(correction)[:3])


def _cell_size(maps: EnhancementMaps) -> int:
    """Return the side of a cell in pixels of ``maps``, a power of 2."""
    return 1 << max(0, round(math.log2(min(maps.size) / COARSE)))


def _summary(maps: EnhancementMaps) -> Tensor:
    """Return (rows, columns, 4) on the coarse grid: output R, G, B and input luma.

    The input is averaged over each cell, against its noise. The maps are smooth, so two of their pixels represent a
    cell: reading all of them would add half of the time that everything else here takes.
    """
    cell, rgb = _cell_size(maps), maps.frame
    for _ in range(cell.bit_length() - 1):
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


def _correction(before: Tensor, now: Tensor, kept: float, camera_motion: motion.Affine | None) -> Tensor | None:
    """Return what to add to ``now``, on a grid of half its size, to pull it towards ``before``.

    Args:
        before: (rows, columns, 4) summary of the last frame, with its output as corrected.
        now: summary of this frame, with the output of the network.
        kept: share of a difference that remains, 0..1.
        camera_motion: (2, 3) affine map from cells of ``now`` to those of ``before``; None: it is estimated.

    Returns:
        None if the scene has changed.
    """
    if min(now.shape[:2]) < 2:
        return None
    before, covered = _aligned(before, now, camera_motion)
    rows, columns = now.shape[0] // 2, now.shape[1] // 2
    change = (before - now)[: 2 * rows, : 2 * columns]
    change = np.asarray(cv2.resize(change, (columns, rows), interpolation=cv2.INTER_AREA), dtype=np.float32)
    luma = now[: 2 * rows : 2, : 2 * columns : 2, 3]
    weights, relative = _inlier_weights(change), change[:, :, 3] / (luma + np.float32(DARK))
    if covered is not None:
        weights, relative = weights * covered, relative * covered
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


def _aligned(before: Tensor, now: Tensor, matrix: motion.Affine | None) -> tuple[Tensor, Tensor | None]:
    """Return ``before`` moved onto ``now``, and where it was in view, on a grid of half the size; None: everywhere."""
    rows, columns = now.shape[:2]
    if matrix is None:
        old, new = (motion.prepared(np.ascontiguousarray(picture[:, :, GREEN])) for picture in (before, now))
        found = motion.estimate(old, new)
    else:
        found = motion.Motion(matrix, 0.0)
    if found is None or not (
        found.uncertainty <= MAX_UNCERTAINTY_CELLS and found.displacement(rows, columns) >= MIN_MOTION_CELLS
    ):
        return before, None
    inside = motion.inside(found.matrix, rows, columns)[: rows // 2 * 2, : columns // 2 * 2]
    covered = cv2.resize(inside, (columns // 2, rows // 2), interpolation=cv2.INTER_AREA) > FULLY_COVERED
    return motion.warped(before, found.matrix), covered.astype(np.float32)
