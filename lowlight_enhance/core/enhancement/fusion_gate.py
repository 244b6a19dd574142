"""Decide for each pixel whether its average continues: only where noise explains its difference from the frame.

Differences are tested on cells of a few pixels. In units of the variance that the noise model predicts, the square of
a cell's difference is 1 on average where nothing changed. Four tests detect larger values:

- one cell: a small light that is switched on;
- the mean of 3x3 cells: a change of brightness or colour too faint for one cell;
- the mean square of 5x5 cells, of both of the above: a textured object that moves, too faint for the other tests.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from lowlight_enhance.core.enhancement.noise_model import NoiseModel

Plane = NDArray[np.float32]

Limits = tuple[float, float]
"""The past counts in full up to the first value and not at all from the second one on."""

CELL: Limits = (5.5, 8.0)
MEAN: Limits = (4.0, 6.0)
CELL_ENERGY: Limits = (1.5, 2.0)
MEAN_ENERGY: Limits = (1.8, 2.6)
"""Limits of the four tests. Without any change fewer than 1 % of cells exceed them (3 channels, measured)."""

SMALL, LARGE = (3, 3), (5, 5)
"""Windows of the means, in cells."""

LEVEL_STEP = 3
"""Variances are computed for every third cell each way, because the level is a mean of 3x3 cells anyway."""

MISALIGNMENT = 0.08
"""Misalignment in cells that is tolerated: the gradient times this adds to the noise."""

FLICKER = 0.03
"""Relative change of brightness that is tolerated."""

MEDIAN_OF_CELL = 0.789
"""Median of the one-cell test where noise is Gaussian (chi-squared of 3 degrees of freedom over 3)."""

BLOCK = np.ones(SMALL, np.uint8)


class Comparison:
    """The differences of one frame and its aligned past.

    Attributes:
        level: (h, w, 3) mean level, 0..1 linear, averaged over 3x3 cells.
        correlation: median of the one-cell test over that of white noise. Above 1 where the noise of neighbouring
            pixels is correlated (demosaicing, compression), far above it after a cut.
    """

    def __init__(self, past: Plane, present: Plane, count: Plane) -> None:
        """Compute the differences.

        Args:
            past: (h, w, 3) the aligned past, means of cells, 0..1 linear.
            present: (h, w, 3) the present.
            count: (h, w) number of frames that the past averages.
        """
        self._past, self._difference = past, past - present
        self._factor = 1.0 + 1.0 / count
        share = np.float32(1.0) - np.float32(1.0) / self._factor  # of the present in the mean of all frames
        self.level: Plane = _blurred(past - self._difference * share[:, :, None], SMALL)
        self.correlation = 1.0
        self._cell, self._mean = np.zeros(count.shape, np.float32), np.zeros(count.shape, np.float32)

    def normalize(self, noise: NoiseModel, pixels_per_cell: float) -> None:
        """Express the differences in units of their variance under ``noise``."""
        height, width = self.level.shape[:2]
        coarse = _resized(self.level, -(-width // LEVEL_STEP), -(-height // LEVEL_STEP), cv2.INTER_AREA)
        variance = _resized(noise.variance(coarse), width, height, cv2.INTER_LINEAR)
        variance *= (self._factor / np.float32(pixels_per_cell))[:, :, None]
        slack = np.square(self.level * np.float32(FLICKER))
        for axes in ((1, 0), (0, 1)):
            gradient = cv2.Sobel(self._past, cv2.CV_32F, *axes, scale=MISALIGNMENT / 8.0)
            slack += np.square(gradient)
        total = variance + slack
        self._cell = _channel_mean(np.square(self._difference) / total)
        smoothed = _blurred(self._difference, SMALL)
        self._mean = _channel_mean(np.square(smoothed) / (variance / np.float32(SMALL[0] * SMALL[1]) + slack))
        sample = self._cell[::2, ::2].ravel()
        self.correlation = float(np.partition(sample, len(sample) // 2)[len(sample) // 2]) / MEDIAN_OF_CELL

    def gate(self, correlation: float) -> Plane:
        """Return (h, w) weights: 1 where the past counts in full, 0 where it does not count.

        Args:
            correlation: typical value of ``Comparison.correlation`` in this stream.
        """
        scale = 1.0 / correlation
        cell, mean = self._cell * np.float32(scale), self._mean * np.float32(scale)
        gate = np.asarray(cv2.erode(_ramp(cell, CELL), BLOCK), dtype=np.float32)
        for value, limits in (
            (mean, MEAN),
            (_blurred(cell, LARGE), CELL_ENERGY),
            (_blurred(mean, LARGE), MEAN_ENERGY),
        ):
            gate = np.minimum(gate, _ramp(value, limits))
        return _blurred(gate, SMALL)


def _ramp(value: Plane, limits: Limits) -> Plane:
    low, high = limits
    share: Plane = np.clip((np.float32(high) - value) * np.float32(1.0 / (high - low)), 0.0, 1.0)
    return share


def _blurred(plane: Plane, window: tuple[int, int]) -> Plane:
    return np.asarray(cv2.blur(plane, window, borderType=cv2.BORDER_REFLECT_101), dtype=np.float32)


def _channel_mean(planes: Plane) -> Plane:
    return np.asarray(cv2.transform(planes, np.full((1, 3), 1.0 / 3.0, np.float32)), dtype=np.float32)


def _resized(planes: Plane, width: int, height: int, interpolation: int) -> Plane:
    return np.asarray(cv2.resize(planes, (width, height), interpolation=interpolation), dtype=np.float32)
