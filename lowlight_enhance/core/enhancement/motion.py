"""Global motion between two small pictures that are mostly noise.

Phase correlation (Kuglin and Hines, 1975) finds a shift of any length. A robust affine Lucas-Kanade fit (Baker and
Matthews, 2004) refines it to a fraction of a cell and adds rotation and zoom. Both work on pictures from which the
local mean is removed, so a change of brightness does not pass for motion.

``cv2.findTransformECC`` reaches the same accuracy in 14 to 60 ms, this in about 1 ms.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]
Affine = NDArray[np.float64]

HIGH_PASS_CELLS = 15
"""Width of the mean that is removed."""

SMOOTHING_SIGMA = 0.8
"""Gaussian blur before the fit, in cells; it keeps the gradient usable in noise."""

COARSE_STEPS, FINE_STEPS = 2, 2
"""Iterations at half of the size and at the full size."""

OUTLIER_SCALE = 2.5
"""A residual of this many standard deviations counts a quarter, larger ones hardly at all (Geman and McClure, 1987):
a bright object with a motion of its own must not pull the fit."""

START_CLIP = 1.5
"""Standard deviations at which residuals are clipped when starting points are compared, for the same reason."""

MAX_SHIFT_SHARE = 0.25
"""Largest shift that is followed, as a share of the shorter side."""

TOWARDS_CORNER = 0.7
"""Point at which the uncertainty is computed, as a share of the way from the centre to a corner."""

MIN_SIDE = 16
"""Smaller pictures are not searched for motion."""

PRIOR_SHIFT_CELLS, PRIOR_LINEAR = 8.0, 0.02
"""Standard deviations of the shift beyond its first guess, and of the linear part (0.02: 1 degree or 2 % of zoom).
They decide where the picture has no texture."""


@dataclass(frozen=True, slots=True)
class Motion:
    """Position of each cell of the present in the past.

    Attributes:
        matrix: (2, 3) affine map from present to past cell coordinates (x, y).
        uncertainty: standard deviation of the displacement near the corners, in cells.
    """

    matrix: Affine
    uncertainty: float

    def displacement(self, height: int, width: int) -> float:
        """Largest displacement in cells over the four corners of a ``height`` x ``width`` picture."""
        corners = np.array([[0, 0, 1], [width - 1, 0, 1], [0, height - 1, 1], [width - 1, height - 1, 1]], np.float64)
        return float(np.abs(corners @ self.matrix.T - corners[:, :2]).max())

    def scaled(self, factor_x: float, factor_y: float) -> Affine:
        """Return the same motion for pictures enlarged by these factors."""
        return scaled(self.matrix, factor_x, factor_y)


def scaled(matrix: Affine, factor_x: float, factor_y: float) -> Affine:
    """Return ``matrix`` for pictures enlarged by these factors, pixel centres aligned as in ``cv2.resize``."""
    scale = np.array([factor_x, factor_y])
    result: Affine = matrix.copy()
    result[:, :2] = matrix[:, :2] * scale[:, None] / scale[None, :]
    # cell u is pixel (u + 0.5) * s - 0.5
    half = 0.5 * scale - 0.5
    result[:, 2] = scale * matrix[:, 2] + half - result[:, :2] @ half
    return result


IDENTITY = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


def prepared(gray: Plane) -> Plane:
    """Return ``gray`` less its local mean, slightly blurred: the input of ``estimate``."""
    mean = cv2.blur(gray, (HIGH_PASS_CELLS, HIGH_PASS_CELLS), borderType=cv2.BORDER_REFLECT_101)
    blurred = cv2.GaussianBlur(gray, (5, 5), SMOOTHING_SIGMA, borderType=cv2.BORDER_REFLECT_101)
    return np.asarray(cv2.subtract(blurred, mean), dtype=np.float32)


def estimate(past: Plane, present: Plane, guess: Affine | None = None) -> Motion | None:
    """Return the affine motion from ``present`` to ``past``, both from ``prepared``; None if it cannot be estimated.

    Args:
        past: (h, w) the past, preferably an average with little noise: its gradient is used.
        present: (h, w) the new frame.
        guess: the previous motion, tried in addition to no motion and to the phase correlation's shift.
    """
    height, width = present.shape
    if min(height, width) < MIN_SIDE:
        return None
    small_past, small_present = _halved(past), _halved(present)
    start = _best_start(small_past, small_present, guess)
    fit = _Fit(small_past, small_present)
    matrix = scaled(start, 0.5, 0.5)
    for _ in range(COARSE_STEPS):
        matrix = fit.step(matrix)
    matrix = scaled(matrix, 2.0, 2.0)
    fit = _Fit(past, present)
    for _ in range(FINE_STEPS):
        matrix = fit.step(matrix)
    shift = matrix @ np.array([width / 2, height / 2, 1.0]) - np.array([width / 2, height / 2])
    if not np.isfinite(matrix).all() or np.abs(shift).max() > MAX_SHIFT_SHARE * min(height, width):
        return None
    return Motion(matrix, fit.uncertainty)


def _halved(plane: Plane) -> Plane:
    return np.asarray(
        cv2.resize(plane, (plane.shape[1] // 2, plane.shape[0] // 2), interpolation=cv2.INTER_AREA), dtype=np.float32
    )


def _best_start(past: Plane, present: Plane, guess: Affine | None) -> Affine:
    """Return no motion, the guess or the phase correlation's shift: the one with the smallest residual.

    The pictures have half of the size that the matrices are for.
    """
    height, width = present.shape
    (x, y), _ = cv2.phaseCorrelate(present.copy(), past.copy(), _window(height, width))
    found: Affine = IDENTITY.copy()
    found[:, 2] = 2.0 * x, 2.0 * y
    starts = [IDENTITY, found] if guess is None else [IDENTITY, guess, found]
    differences = []
    for start in starts:
        matrix = scaled(start, 0.5, 0.5)
        difference = cv2.absdiff(warped(past, matrix), present)
        differences.append(np.asarray(difference, dtype=np.float32)[overlap(matrix, height, width)])
    if not all(difference.size for difference in differences):
        return IDENTITY
    most = np.float32(START_CLIP * min(_robust_sigma(difference) for difference in differences))
    costs = [float(np.square(np.minimum(difference, most)).mean()) for difference in differences]
    return starts[costs.index(min(costs))]


def warped(picture: Plane, matrix: Affine) -> Plane:
    """Return ``picture``, (h, w) or (h, w, C), warped by ``matrix``: bilinear, with replicated edges."""
    size = (picture.shape[1], picture.shape[0])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    moved = cv2.warpAffine(picture, matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, dtype=np.float32)


def inside(matrix: Affine, height: int, width: int) -> Plane:
    """Return (h, w): 1 where ``matrix`` maps into a picture of that size, less at its border, 0 outside."""
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(_ones(height, width), matrix, (width, height), flags=flags), dtype=np.float32)


@functools.lru_cache(maxsize=8)
def _ones(height: int, width: int) -> Plane:
    return np.ones((height, width), np.float32)


def overlap(matrix: Affine, height: int, width: int) -> tuple[slice, slice]:
    """Return the rows and columns of the largest rectangle that ``matrix`` maps into a picture of that size."""
    corners = np.array([[0, 0, 1], [width - 1, 0, 1], [0, height - 1, 1], [width - 1, height - 1, 1]], np.float64)
    low_x, low_y = (corners @ matrix.T - corners[:, :2]).min(axis=0)
    high_x, high_y = (corners @ matrix.T - corners[:, :2]).max(axis=0)
    top, bottom = math.ceil(max(0.0, -low_y)), height - math.ceil(max(0.0, high_y))
    left, right = math.ceil(max(0.0, -low_x)), width - math.ceil(max(0.0, high_x))
    return slice(top, max(top, bottom)), slice(left, max(left, right))


@functools.lru_cache(maxsize=8)
def _monomials(height: int, width: int) -> tuple[Plane, float]:
    """Return (6, h * w) 1, x, y, x^2, x y, y^2 of the cells, centred and divided by a unit, and that unit."""
    unit = max(height, width) / 2.0
    y, x = (np.mgrid[:height, :width] - np.array([(height - 1) / 2.0, (width - 1) / 2.0])[:, None, None]) / unit
    return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y]).reshape(6, -1).astype(np.float32), unit


@functools.lru_cache(maxsize=8)
def _window(height: int, width: int) -> Plane:
    return np.asarray(cv2.createHanningWindow((width, height), cv2.CV_32F), dtype=np.float32)


class _Fit:
    """Gauss-Newton steps for one pair of pictures of one size.

    Parameters are the shift and the linear part of x, then those of y, in cells per unit. All sums over the picture
    are products with monomials of the coordinates: the Hessian of an affine fit has 18 different ones.

    Attributes:
        uncertainty: standard deviation of the displacement towards the corners, in cells, at the last step.
    """

    def __init__(self, past: Plane, present: Plane) -> None:
        self._past, self._present = past, present
        self._monomials, self._unit = _monomials(*present.shape)
        self._prior = np.diag([PRIOR_SHIFT_CELLS**-2, *[(PRIOR_LINEAR * self._unit) ** -2] * 2] * 2)
        self._products = np.empty((5, *present.shape), np.float32)
        self.uncertainty = np.inf

    def step(self, matrix: Affine) -> Affine:
        """Return ``matrix`` after one step."""
        moved = warped(self._past, matrix)
        dx, dy = _gradients(moved)
        residual = self._present - moved
        variance = max(_robust_sigma(residual) ** 2, 1e-12)
        weight = residual * residual
        weight *= np.float32(1.0 / (OUTLIER_SCALE**2 * variance))
        weight += np.float32(1.0)
        np.divide(np.float32(1.0 / variance), np.multiply(weight, weight, out=weight), out=weight)
        _clear_outside(weight, overlap(matrix, *weight.shape))
        weighted_x, weighted_y = weight * dx, weight * dy
        factors = (
            (weighted_x, dx),
            (weighted_x, dy),
            (weighted_y, dy),
            (weighted_x, residual),
            (weighted_y, residual),
        )
        for target, (one, other) in zip(self._products, factors, strict=True):
            np.multiply(one, other, out=target)
        sums = (self._products.reshape(5, -1) @ self._monomials.T).astype(np.float64)
        xx, xy, yy = (sums[i][[[0, 1, 2], [1, 3, 4], [2, 4, 5]]] for i in range(3))
        covariance = np.linalg.inv(np.block([[xx, xy], [xy, yy]]) + self._prior)
        variances = np.diag(covariance) * ([1.0, TOWARDS_CORNER**2, TOWARDS_CORNER**2] * 2)
        self.uncertainty = math.sqrt(max(variances[:3].sum(), variances[3:].sum()))
        return self._updated(matrix, covariance @ np.concatenate([sums[3, :3], sums[4, :3]]))

    def _updated(self, matrix: Affine, update: NDArray[np.float64]) -> Affine:
        """Return ``matrix`` after an update of the warped past; such an update composes inside ``matrix``."""
        height, width = self._present.shape
        linear = update.reshape(2, 3)[:, 1:] / self._unit
        inner = np.eye(3)
        inner[:2, :2] += linear
        inner[:2, 2] = update.reshape(2, 3)[:, 0] - linear @ np.array([(width - 1) / 2.0, (height - 1) / 2.0])
        full = np.vstack([matrix, [0.0, 0.0, 1.0]])
        return np.asarray((full @ inner)[:2])


def _clear_outside(plane: Plane, kept: tuple[slice, slice]) -> None:
    rows, columns = kept
    plane[: rows.start] = plane[rows.stop :] = 0.0
    plane[:, : columns.start] = plane[:, columns.stop :] = 0.0


def _gradients(plane: Plane) -> tuple[Plane, Plane]:
    """Return the central differences in x and y."""
    kernel, one = np.array([-0.5, 0.0, 0.5], np.float32), np.ones(1, np.float32)
    dx = cv2.sepFilter2D(plane, cv2.CV_32F, kernel, one, borderType=cv2.BORDER_REPLICATE)
    dy = cv2.sepFilter2D(plane, cv2.CV_32F, one, kernel, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(dx, dtype=np.float32), np.asarray(dy, dtype=np.float32)


def _robust_sigma(residual: Plane) -> float:
    """Return the standard deviation, estimated from the median of every third absolute residual each way."""
    sample = np.abs(residual[::3, ::3]).ravel()
    middle = len(sample) // 2
    return 1.4826 * float(np.partition(sample, middle)[middle])
