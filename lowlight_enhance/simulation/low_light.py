"""A photograph as a camera would have seen it in too little light: the physics of shot, read and row noise.

After K. Wei, Y. Fu, J. Yang, H. Huang, "A Physics-based Noise Formation Model for Extreme Low-light Raw Denoising"
(CVPR 2020), whose calibration of five cameras stands below. A photo is linearised and un-white-balanced, scaled to the
dark exposure, sampled by the sensor and developed again. Signals are in DN (digital numbers) of a 14-bit raw file
above its black level.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from lowlight_enhance.core.metadata.capture import CaptureMetadata

WHITE_DN = 16383.0 - 512.0
"""Full scale of a 14-bit raw above a typical black level of 512 DN."""

CALIBRATION_ISO = 100.0
"""The ISO of a camera's lowest calibrated gain (``gain_at_100``)."""


@dataclass(frozen=True, slots=True)
class LogLine:
    """log(scale) as a line of log(gain) with Gaussian scatter: how a noise's scale grows with the system gain."""

    slope: float
    bias: float
    sigma: float

    def draw(self, gain: float, rng: np.random.Generator) -> float:
        """A scale in DN at system gain ``gain`` in DN per electron."""
        return math.exp(rng.normal(self.slope * math.log(gain) + self.bias, self.sigma))

    def median(self, gain: float) -> float:
        """The scale without scatter."""
        return math.exp(self.slope * math.log(gain) + self.bias)


@dataclass(frozen=True, slots=True)
class SensorNoise:
    """Noise of one camera (Wei et al. 2020).

    Attributes:
        gain_at_100: system gain in DN per electron at ISO 100; proportional to ISO.
        read: standard deviation of the Gaussian read noise.
        row: standard deviation of the offset that each row shares.
        read_tukey: scale of the Tukey-lambda read noise, which has the longer tails that were measured.
        tukey_shape: range of its shape parameter lambda.
    """

    name: str
    gain_at_100: float
    read: LogLine
    row: LogLine
    read_tukey: LogLine
    tukey_shape: tuple[float, float]

    def gain(self, iso: float) -> float:
        """System gain in DN per electron."""
        return self.gain_at_100 * iso / CALIBRATION_ISO


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


@dataclass(frozen=True, slots=True)
class DarkExposure:
    """One under-exposed capture of a well-exposed scene.

    Attributes:
        stops: how far below the good exposure, in powers of two (3 = an eighth of the light).
        capture: ISO (needed) and exposure time of the dark frame.
        sensor: whose noise.
        white_balance: gains of R and B over G that the camera applies; they multiply the noise of those channels.
        bayer: sample through a colour filter array and demosaic, which correlates neighbouring noise.
        tukey: Tukey-lambda read noise instead of Gaussian.
        contrast: strength of the S-shaped tone curve on top of sRGB, 0 = none.
        black_offset: by how many DN the raw black of R, G and B lies above what is taken for black: a veil over the
            shadows where it is positive, crushed shadows where it is negative, a cast where the three differ.
    """

    stops: float
    capture: CaptureMetadata
    sensor: SensorNoise
    white_balance: tuple[float, float] = (2.0, 1.6)
    bayer: bool = True
    tukey: bool = False
    contrast: float = 0.0
    black_offset: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        if self.capture.iso is None:
            raise ValueError("a DarkExposure needs an ISO value: the noise depends on it")


def srgb_to_linear(srgb: NDArray[np.float32]) -> NDArray[np.float32]:
    """IEC 61966-2-1 decoding, 0..1 to 0..1."""
    low, high = srgb / 12.92, np.power((srgb + 0.055) / 1.055, 2.4)
    return np.where(srgb <= 0.04045, low, high).astype(np.float32)


def linear_to_srgb(linear: NDArray[np.float32]) -> NDArray[np.float32]:
    """IEC 61966-2-1 encoding, 0..1 to 0..1; values outside are clipped."""
    x = np.clip(linear, 0.0, 1.0)
    return np.where(x <= 0.0031308, 12.92 * x, 1.055 * np.power(x, 1.0 / 2.4) - 0.055).astype(np.float32)


_LINEAR_OF_BYTE = srgb_to_linear(np.arange(256, dtype=np.float32) / 255.0)
_BYTE_STEPS = 1 << 14
_BYTE_OF_LINEAR = np.rint(255.0 * linear_to_srgb(np.linspace(0.0, 1.0, _BYTE_STEPS, dtype=np.float32))).astype(
    np.uint8
)


def tukey_lambda(shape: float, size: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float32]:
    """Samples of the Tukey-lambda distribution (unit scale): (u^s - (1-u)^s) / s, logistic at s = 0."""
    u = rng.random(size, dtype=np.float32).clip(1e-6, 1.0 - 1e-6)
    if abs(shape) < 1e-4:
        return np.asarray(np.log(u / (1.0 - u)), dtype=np.float32)
    return np.asarray((np.power(u, shape) - np.power(1.0 - u, shape)) / shape, dtype=np.float32)


def shot_noise(electrons: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Photon arrivals around an expected count: Poisson, and its Gaussian limit above 20 electrons."""
    noisy = electrons + np.sqrt(electrons) * rng.standard_normal(electrons.shape, dtype=np.float32)
    few = electrons < 20.0
    noisy[few] = rng.poisson(electrons[few])
    return np.asarray(noisy, dtype=np.float32)


def sense(signal_dn: NDArray[np.float32], exposure: DarkExposure, rng: np.random.Generator) -> NDArray[np.float32]:
    """Raw values, in DN above black, that a sensor reports for an expected ``signal_dn`` (rows first axis)."""
    assert exposure.capture.iso is not None
    sensor, gain = exposure.sensor, exposure.sensor.gain(exposure.capture.iso)
    electrons = np.asarray(np.maximum(signal_dn, 0.0) / np.float32(gain), dtype=np.float32)
    raw = np.float32(gain) * shot_noise(electrons, rng)
    if exposure.tukey:
        scale = sensor.read_tukey.draw(gain, rng)
        raw += np.float32(scale) * tukey_lambda(rng.uniform(*sensor.tukey_shape), signal_dn.shape, rng)
    else:
        raw += np.float32(sensor.read.draw(gain, rng)) * rng.standard_normal(signal_dn.shape, dtype=np.float32)
    rows = rng.standard_normal((signal_dn.shape[0], *([1] * (signal_dn.ndim - 1))), dtype=np.float32)
    raw += np.float32(sensor.row.draw(gain, rng)) * rows
    return np.asarray(np.clip(np.rint(raw), -512.0, WHITE_DN), dtype=np.float32)


def darken(rgb: NDArray[np.uint8], exposure: DarkExposure, rng: np.random.Generator) -> NDArray[np.uint8]:
    """The frame a camera would publish of this scene at ``exposure``.

    Args:
        rgb: (H, W, 3) uint8 sRGB, well exposed.
        exposure: how dark and how noisy.
        rng: source of the noise.

    Returns:
        (H, W, 3) uint8 sRGB.
    """
    balance = np.array([exposure.white_balance[0], 1.0, exposure.white_balance[1]], np.float32)
    linear = cv2.LUT(rgb, _LINEAR_OF_BYTE) if rgb.flags.c_contiguous else _LINEAR_OF_BYTE[rgb]
    signal = linear * (np.float32(WHITE_DN * 2.0**-exposure.stops) / balance)
    if exposure.bayer:
        developed = demosaic(sense(mosaic(signal), exposure, rng))
    else:
        developed = sense(signal, exposure, rng)
    if any(exposure.black_offset):
        developed = developed + np.array(exposure.black_offset, np.float32)
    dark = np.clip(developed * (balance / np.float32(WHITE_DN)), 0.0, 1.0)
    out = _BYTE_OF_LINEAR[(dark * np.float32(_BYTE_STEPS - 1) + np.float32(0.5)).astype(np.int32)]
    if exposure.contrast:
        x = np.arange(256) / 255.0
        curve = x + exposure.contrast * x * (1.0 - x) * (2.0 * x - 1.0)
        out = cv2.LUT(out, np.rint(255.0 * curve.clip(0.0, 1.0)).astype(np.uint8))
    return np.ascontiguousarray(out, dtype=np.uint8)


def dark_frame(width: int, height: int, capture: CaptureMetadata, seed: int = 0) -> NDArray[np.uint8]:
    """A dark, noisy (height, width, 3) frame of soft shapes, to measure on."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (max(2, height // 40), max(2, width // 40), 3), dtype=np.uint8)
    scene = np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)
    return darken(scene, DarkExposure(stops=3.0, capture=capture, sensor=SENSORS["SonyA7S2"]), rng)


def mosaic(rgb: NDArray[np.float32]) -> NDArray[np.float32]:
    """(H, W, 3) -> (H, W), an RGGB colour filter array."""
    raw: NDArray[np.float32] = rgb[:, :, 1].copy()
    raw[0::2, 0::2] = rgb[0::2, 0::2, 0]
    raw[1::2, 1::2] = rgb[1::2, 1::2, 2]
    return raw


def demosaic(raw: NDArray[np.float32]) -> NDArray[np.float32]:
    """RGGB (H, W) -> (H, W, 3) by bilinear interpolation; negative values survive."""
    levels = np.clip(raw + 512.0, 0.0, 65535.0).astype(np.uint16)
    rgb = cv2.cvtColor(levels, cv2.COLOR_BayerBG2RGB)  # OpenCV names patterns from the second row on: RGGB is BG
    return np.asarray(rgb - np.float32(512.0), dtype=np.float32)
