"""Figure of the simulated noise: measured variance against the signal, with the line of the noise model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from lowlight_enhance.core.errors import ConfigError
from lowlight_enhance.core.files import atomic_file
from lowlight_enhance.core.metadata.capture import ISO_LIMITS, CaptureMetadata, plausible
from lowlight_enhance.simulation.low_light import DarkExposure, sense
from lowlight_enhance.simulation.sensors import SENSORS, SensorNoise

SIGNALS_DN = np.geomspace(1.0, 8000.0, 14)
FLAT_FIELD = (1200, 96)
"""Rows and columns of a measurement. There are many rows because all pixels of a row share the row noise."""

ROUNDING = 1.0 / 12.0
"""Variance of rounding to whole DN."""


def median_sensor(sensor: SensorNoise) -> SensorNoise:
    """Return ``sensor`` with the median noise scales for every exposure."""
    return replace(sensor, read=replace(sensor.read, sigma=0.0), row=replace(sensor.row, sigma=0.0))


def model_variance(sensor: SensorNoise, iso: float, signal_dn: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the variance in DN^2 at a mean of ``signal_dn``: gain * signal + read^2 + row^2 + 1/12 (Gaussian)."""
    gain = sensor.gain(iso)
    return gain * signal_dn + sensor.read.median(gain) ** 2 + sensor.row.median(gain) ** 2 + ROUNDING


def measured_variance(sensor: SensorNoise, iso: float, signal_dn: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the variance in DN^2 of a simulated flat field for each of ``signal_dn``."""
    exposure = DarkExposure(0.0, CaptureMetadata(iso), median_sensor(sensor))
    rng = np.random.default_rng(0)
    fields = (sense(np.full(FLAT_FIELD, signal, np.float32), exposure, rng) for signal in signal_dn)
    return np.array([field.var(dtype=np.float64) for field in fields])


def draw(target: Path, iso: float) -> float:
    """Draw all sensors at ``iso`` and write the picture ``target``.

    Returns:
        The largest relative difference between a measured variance and that of the model.

    Raises:
        ConfigError: ``iso`` is not plausible, or the suffix of the target is not that of an image format.
        DataError: ``target`` cannot be written.
    """
    if plausible(iso, ISO_LIMITS) is None:
        raise ConfigError(f"--iso {iso:g} is not plausible: give a number between {ISO_LIMITS[0]:g} and 1e7")
    figure = Figure(figsize=(7.0, 5.0), layout="constrained")
    formats = figure.canvas.get_supported_filetypes()
    if target.suffix.lower().lstrip(".") not in formats:
        raise ConfigError(f"cannot write {target}: the name must end in one of .{', .'.join(sorted(formats))}")
    axes = figure.add_subplot(xscale="log", yscale="log")
    axes.set(
        title=f"Noise of the sensors at ISO {iso:g}", xlabel="mean signal in DN above black", ylabel="variance in DN²"
    )
    largest = 0.0
    for number, sensor in enumerate(SENSORS.values()):
        expected, measured = (of(sensor, iso, SIGNALS_DN) for of in (model_variance, measured_variance))
        colour = matplotlib.colormaps["tab10"](number)
        axes.plot(SIGNALS_DN, expected, color=colour, label=f"{sensor.name}, {sensor.gain(iso):.1f} DN per electron")
        axes.plot(SIGNALS_DN, measured, "o", color=colour, markersize=4)
        largest = max(largest, float(np.abs(measured / expected - 1.0).max()))
    axes.legend(title="lines: model, points: measured")
    axes.grid(visible=True, alpha=0.3)
    with atomic_file(target) as temporary:
        figure.savefig(temporary, dpi=120)
    return largest
