"""Noise calibrations of five cameras.

Source: K. Wei, Y. Fu, J. Yang, H. Huang, "A Physics-based Noise Formation Model for Extreme Low-light Raw Denoising"
(CVPR 2020). Signals are in DN (digital numbers) of a 14-bit raw file above its black level.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from lowlight_enhance.core.errors import ConfigError

WHITE_DN = 16383.0 - 512.0
"""Full scale of a 14-bit raw file above a typical black level of 512 DN."""

CALIBRATION_ISO = 100.0
"""ISO of the lowest calibrated gain of a camera (``gain_at_100``)."""


@dataclass(frozen=True, slots=True)
class LogLine:
    """Log-linear model of a noise scale: log(scale) = slope * log(gain) + bias, with Gaussian scatter ``sigma``."""

    slope: float
    bias: float
    sigma: float

    def draw(self, gain: float, rng: np.random.Generator) -> float:
        """Draw a scale in DN for the system gain ``gain`` in DN per electron."""
        return math.exp(rng.normal(self.slope * math.log(gain) + self.bias, self.sigma))

    def median(self, gain: float) -> float:
        """Return the scale in DN without scatter."""
        return math.exp(self.slope * math.log(gain) + self.bias)


@dataclass(frozen=True, slots=True)
class SensorNoise:
    """Noise model of one camera (Wei et al. 2020).

    Attributes:
        name: name of the camera.
        gain_at_100: system gain in DN per electron at ISO 100; the gain is proportional to ISO.
        read: standard deviation of the Gaussian read noise.
        row: standard deviation of the offset of each row.
        read_tukey: scale of the Tukey-lambda read noise, which has the long tails that were measured.
        tukey_shape: range of the shape parameter lambda.
    """

    name: str
    gain_at_100: float
    read: LogLine
    row: LogLine
    read_tukey: LogLine
    tukey_shape: tuple[float, float]

    def gain(self, iso: float) -> float:
        """Return the system gain in DN per electron."""
        return self.gain_at_100 * iso / CALIBRATION_ISO

    def with_full_well(self, electrons: float) -> SensorNoise:
        """Return the model of a sensor that holds ``electrons`` at ISO 100.

        The five calibrated sensors are large and hold 35,000 to 170,000 electrons. The sensors of drones and robots
        hold about 10,000. The read noise follows the gain as in the calibration.
        """
        return replace(self, gain_at_100=WHITE_DN / electrons)


SENSORS: dict[str, SensorNoise] = {
    sensor.name: sensor
    for sensor in (
        SensorNoise(
            "SonyA7S2",
            0.09392,
            LogLine(0.54075, 1.21824, 0.26751),
            LogLine(0.52754, -0.59170, 0.29429),
            LogLine(0.46210, 0.56571, 0.26337),
            (-0.143, 0.129),
        ),
        SensorNoise(
            "CanonEOS5D4",
            0.21819,
            LogLine(0.67713, 1.51219, 0.24641),
            LogLine(0.47128, -0.80790, 0.24362),
            LogLine(0.65588, 1.09269, 0.28605),
            (0.014, 0.200),
        ),
        SensorNoise(
            "CanonEOS700D",
            0.44763,
            LogLine(0.65245, 2.07986, 0.25782),
            LogLine(0.62206, -0.77565, 0.24848),
            LogLine(0.59824, 1.53704, 0.38882),
            (-0.157, 0.129),
        ),
        SensorNoise(
            "CanonEOS70D",
            0.40750,
            LogLine(0.56812, 1.99827, 0.24870),
            LogLine(0.72922, -0.93706, 0.25022),
            LogLine(0.48681, 1.46427, 0.38201),
            (-0.171, 0.143),
        ),
        SensorNoise(
            "NikonD850",
            0.41504,
            LogLine(0.56346, 0.79941, 0.21408),
            LogLine(0.44829, -1.79771, 0.23218),
            LogLine(0.47739, -0.09045, 0.23920),
            (-0.243, -0.100),
        ),
    )
}


def find_sensor(name: str, full_well_electrons: float | None = None) -> SensorNoise:
    """Return a calibrated sensor by name.

    Args:
        name: key of ``SENSORS``.
        full_well_electrons: electrons that the sensor holds at ISO 100 instead of the calibrated number; None: as
            calibrated.

    Raises:
        ConfigError: the name is unknown, or the number is not above 0.
    """
    if name not in SENSORS:
        raise ConfigError(f"sensor '{name}' is not calibrated; choose one of {', '.join(SENSORS)}")
    if full_well_electrons is None:
        return SENSORS[name]
    if not (math.isfinite(full_well_electrons) and full_well_electrons > 0.0):
        raise ConfigError(f"full well of {full_well_electrons} electrons: must be a finite number above 0")
    return SENSORS[name].with_full_well(full_well_electrons)
