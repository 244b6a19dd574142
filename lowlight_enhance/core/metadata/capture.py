"""ISO and exposure time of a frame, and conversion of sensor gains to ISO."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

ISO_LIMITS = (1.0, 1e7)
"""ISO values outside this range are implausible: no camera has them."""

EXPOSURE_LIMITS_S = (1e-7, 86400.0)
"""Exposure times in seconds outside this range are implausible."""

GainKind = Literal["iso", "db", "linear", "milli_db"]
"""Unit of a gain: ISO, decibels of amplitude, a linear factor, or thousandths of a decibel."""

GAIN_KINDS: tuple[str, ...] = get_args(GainKind)


@dataclass(frozen=True, slots=True)
class CaptureMetadata:
    """ISO sensitivity and exposure time of one frame; ``None`` if unknown.

    Attributes:
        iso: ISO arithmetic sensitivity, e.g. ``3200.0``.
        exposure_s: exposure (shutter) time in seconds.
    """

    iso: float | None = None
    exposure_s: float | None = None

    @classmethod
    def sanitized(cls, iso: float | None, exposure_s: float | None) -> CaptureMetadata:
        """Return metadata in which implausible values (NaN, infinite, or outside the limits) are unknown."""
        return cls(plausible(iso, ISO_LIMITS), plausible(exposure_s, EXPOSURE_LIMITS_S))

    @property
    def is_unknown(self) -> bool:
        """True if neither value is known."""
        return self.iso is None and self.exposure_s is None

    def filled_from(self, other: CaptureMetadata) -> CaptureMetadata:
        """Return a copy in which unknown values are taken from ``other``."""
        return CaptureMetadata(
            other.iso if self.iso is None else self.iso,
            other.exposure_s if self.exposure_s is None else self.exposure_s,
        )


UNKNOWN = CaptureMetadata()


def plausible(value: float | None, limits: tuple[float, float]) -> float | None:
    """Return ``value`` as a float if it is finite and within ``limits`` (inclusive), else ``None``."""
    if value is None:
        return None
    number = float(value)
    if not math.isfinite(number) or not limits[0] <= number <= limits[1]:
        return None
    return number


def iso_from_linear_gain(gain: float, base_iso: float = 100.0, gain_unity: float = 1.0) -> float:
    """Return the ISO of a linear gain: ``base_iso * gain / gain_unity``.

    libcamera's convention is ISO 100 at unity gain (rpicam-apps writes it to EXIF). ``gain_unity`` is the value of a
    device-relative gain control at which the sensor amplifies by one.
    """
    return base_iso * gain / gain_unity


def iso_from_db_gain(gain_db: float, base_iso: float = 100.0) -> float:
    """Return the ISO of a gain in decibels of amplitude (GenICam, Spinnaker): ``base_iso * 10 ** (gain_db / 20)``."""
    return base_iso * math.pow(10.0, min(gain_db, 400.0) / 20.0)


def iso_from_gain(gain: float, kind: GainKind, base_iso: float = 100.0, gain_unity: float = 1.0) -> float:
    """Return the ISO of a gain.

    Args:
        gain: a finite value.
        kind: unit of the gain.
        base_iso: ISO at unity gain; not used for ``iso``.
        gain_unity: value of a ``linear`` gain at which the sensor amplifies by one; used only for ``linear``.
    """
    if kind == "iso":
        return gain
    if kind == "linear":
        return iso_from_linear_gain(gain, base_iso, gain_unity)
    return iso_from_db_gain(gain if kind == "db" else gain / 1000.0, base_iso)
