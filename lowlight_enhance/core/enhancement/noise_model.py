"""Noise of a camera stream, measured from the differences between aligned frames.

The model: a pixel holds max(0, X). X is Gaussian with mean u, the light (1 = full scale), and variance r^2 + g u.
g is the shot noise (the share of full scale of one electron), r the read noise. ISO says little about g: at ISO 100
cameras hold from 4,000 to 170,000 electrons. Therefore g is measured in the stream itself.

Clipping at black makes dark pixels too bright on average: E[max(0, X)] is 0.4 r where there is no light. An average of
n frames keeps that bias. One exposure as long as n frames has a bias of only 1 / sqrt(n) of it, and networks are
trained on such exposures. ``black_bias`` returns the bias. Subtracting the part that a long exposure would not have
gives +2.8 dB (mean scaled) at 5 stops, ISO 6400.
"""

from __future__ import annotations

import functools
import math

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]
Curve = NDArray[np.float64]

BINS = 32
LOWEST_LEVEL = 2e-5
"""Lowest level of the logarithmic bins that collect samples; they reach up to full scale."""

MEMORY = 0.85
"""Factor by which the weight of earlier samples shrinks with each new frame."""

MIN_BIN_SAMPLES, MIN_SAMPLES = 64.0, 500.0
"""Samples that a bin, and all bins together, need before they are used."""

MAX_BIN_WEIGHT = 1500.0
"""Largest weight of a bin in samples, so that the model also holds in small bright regions."""

GAINS = np.geomspace(2e-6, 0.08, 64)
"""Candidates for g: from full wells of 500,000 electrons down to 12."""

READ_ELECTRONS = np.concatenate([[0.0], np.geomspace(0.05, 20.0, 28)])
"""Candidates for r / g, the read noise in electrons."""

GRID_START, GRID_STEP, GRID_POINTS = math.log(1e-4), 0.2, 120
"""Logarithmic grid of the mean in electrons on which variances are tabulated."""


class NoiseModel:
    """Shot and read noise of one stream. Not thread-safe.

    Attributes:
        gain: g, in full scale per electron; 0 while unknown.
        read: r, in full scale.
    """

    def __init__(self) -> None:
        self.gain, self.read = 0.0, 0.0
        self._sums = np.zeros((3, BINS))

    @property
    def is_known(self) -> bool:
        """Whether enough samples were added for a first fit."""
        return self.gain > 0.0

    def update(self, level: Plane, squared_difference: Plane) -> None:
        """Add the samples of one frame and fit the model anew.

        Args:
            level: (N,) mean level around each sample, 0..1 linear.
            squared_difference: (N,) squared difference between the present and the past, divided by the variance
                that it has in units of that of one frame (1 + 1 / n for an average of n).
        """
        scale = np.float32(BINS / -math.log(LOWEST_LEVEL))
        position = np.log(np.maximum(level, np.float32(LOWEST_LEVEL))) * scale + np.float32(BINS)
        index = np.clip(position, 0, BINS - 1).astype(np.intp)
        sums = [np.bincount(index, weights, BINS) for weights in (None, level, squared_difference)]
        self._sums = MEMORY * self._sums + np.asarray(sums)
        self._fit()

    def _fit(self) -> None:
        """Least squares of log variance over a grid of both parameters, refined by a parabola in log g."""
        count, level, variance = self._sums[:, self._sums[0] >= MIN_BIN_SAMPLES]
        if count.sum() < MIN_SAMPLES:
            return
        weight = np.minimum(count, MAX_BIN_WEIGHT)
        measured = np.log(np.maximum(variance / count, 1e-14))
        mean = np.maximum(level / count, 1e-9)
        error = np.square(_log_variance(mean) - measured) @ (weight / weight.sum())
        read, gain = np.unravel_index(int(np.argmin(error)), error.shape)
        offset = 0.0
        if 0 < gain < len(GAINS) - 1:
            before, at, after = error[read, gain - 1 : gain + 2]
            curvature = before - 2.0 * at + after
            offset = 0.5 * (before - after) / curvature if curvature > 0.0 else 0.0
        step = math.log(GAINS[1] / GAINS[0])
        self.gain = float(GAINS[gain] * math.exp(min(max(offset, -0.5), 0.5) * step))
        self.read = float(READ_ELECTRONS[read]) * self.gain

    def variance(self, level: Plane) -> Plane:
        """Return the variance of a pixel in one frame whose mean after clipping is ``level``; any shape."""
        _, mean, variance = _clipped_moments(self.read / self.gain)
        return np.asarray(np.interp(level / np.float32(self.gain), mean, variance) * self.gain**2, np.float32)

    def black_bias(self, level: Plane) -> Plane:
        """Return by how much clipping at black raises a mean of ``level``; any shape."""
        light, mean, _ = _clipped_moments(self.read / self.gain)
        return np.asarray(level - np.interp(level / np.float32(self.gain), mean, light) * self.gain, np.float32)


@functools.lru_cache(maxsize=64)
def _clipped_moments(read: float) -> tuple[Curve, Curve, Curve]:
    """Return light, mean and variance of max(0, X) in electrons, by mean, for ``read`` electrons of noise."""
    below = -read * np.linspace(3.0, 0.0, 24, endpoint=False) if read > 0.0 else np.empty(0)
    light = np.concatenate([below, [0.0], np.geomspace(0.02, 6e5, 96)])
    sigma = np.sqrt(np.maximum(read**2 + np.maximum(light, 0.0), 1e-12))
    z = light / sigma
    probability = np.array([0.5 * math.erfc(-value / math.sqrt(2.0)) for value in z])
    density = np.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi)
    mean = light * probability + sigma * density
    square = (light**2 + sigma**2) * probability + light * sigma * density
    return light, mean, np.maximum(square - mean**2, 0.0)


@functools.lru_cache(maxsize=1)
def _log_variance_table() -> Curve:
    """Return the (read noise, mean) log variance in electrons."""
    means = np.exp(GRID_START + GRID_STEP * np.arange(GRID_POINTS))
    curves = [_clipped_moments(float(read)) for read in READ_ELECTRONS]
    return np.log([np.maximum(np.interp(means, mean, variance), 1e-12) for _, mean, variance in curves])


def _log_variance(level: Curve) -> Curve:
    """Return the (read noise, gain, level) log variance, in full scale, of every candidate model at each ``level``."""
    table, log_gain = _log_variance_table(), np.log(GAINS)[:, None]
    position = (np.log(level)[None] - log_gain - GRID_START) / GRID_STEP
    position = np.clip(position, 0.0, GRID_POINTS - 1.001)
    index = position.astype(np.intp)
    part = position - index
    return np.asarray(table[:, index] * (1.0 - part) + table[:, index + 1] * part + 2.0 * log_gain)
