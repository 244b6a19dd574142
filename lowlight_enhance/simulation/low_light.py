"""Simulate the frame that a camera delivers of a scene in low light, from a well-exposed photograph.

The photograph is linearised, divided by the white balance, scaled to the exposure, sampled by the sensor with shot,
read and row noise, and developed to sRGB again. The noise model is that of K. Wei, Y. Fu, J. Yang, H. Huang, "A
Physics-based Noise Formation Model for Extreme Low-light Raw Denoising" (CVPR 2020).

The exposure may differ from pixel to pixel (``DarkExposure.stops`` as a map), and the frame may be the average of
several aligned frames (``frame_count``), as temporal fusion delivers it. Signals are in DN (digital numbers) of a
14-bit raw file above its black level.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from lowlight_enhance.core.errors import ConfigError
from lowlight_enhance.core.metadata.capture import CaptureMetadata
from lowlight_enhance.simulation.sensors import SENSORS, WHITE_DN, SensorNoise

Map = NDArray[np.float32]
Linear = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class DarkExposure:
    """One capture of a scene in low light.

    Attributes:
        stops: under-exposure in powers of two (3 = an eighth of the light); a number, or an (H, W) map.
        capture: ISO (required) and exposure time of the frame.
        sensor: noise model.
        white_balance: gains of R and B relative to G that the camera applies. They multiply the noise of R and B.
        bayer: sample through a colour filter array and demosaic, which correlates the noise of neighbours.
        tukey: Tukey-lambda read noise instead of Gaussian.
        black_offset: offset in DN of the raw black of R, G and B from the assumed black level. Positive offsets veil
            the shadows, negative ones crush them, different ones tint them.
    """

    stops: float | Map
    capture: CaptureMetadata
    sensor: SensorNoise
    white_balance: tuple[float, float] = (2.0, 1.6)
    bayer: bool = True
    tukey: bool = False
    black_offset: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        iso = self.capture.iso
        if iso is None:
            raise ValueError("a DarkExposure needs an ISO value: the noise depends on it")
        if not (math.isfinite(iso) and iso > 0.0):
            raise ConfigError(f"the ISO of a simulated frame must be above 0, found {iso:g}")
        if isinstance(self.stops, float | int) and not math.isfinite(self.stops):
            raise ConfigError(f"the under-exposure of a simulated frame must be finite, found {self.stops:g} stops")


def srgb_to_linear(srgb: NDArray[np.float32]) -> NDArray[np.float32]:
    """IEC 61966-2-1 decoding, 0..1 to 0..1."""
    low, high = srgb / 12.92, np.power((srgb + 0.055) / 1.055, 2.4)
    return np.where(srgb <= 0.04045, low, high).astype(np.float32)


def linear_to_srgb(linear: NDArray[np.float32]) -> NDArray[np.float32]:
    """IEC 61966-2-1 encoding, 0..1 to 0..1; values outside are clipped."""
    x = np.clip(linear, 0.0, 1.0)
    return np.where(x <= 0.0031308, 12.92 * x, 1.055 * np.power(x, 1.0 / 2.4) - 0.055).astype(np.float32)


# Tables, because the power functions would take more time than the rest of the simulation.
_LINEAR_OF_BYTE = srgb_to_linear(np.arange(256, dtype=np.float32) / 255.0)
_BYTE_STEPS, _UINT16_STEPS = 1 << 14, 1 << 16
_BYTE_OF_LINEAR = np.rint(255.0 * linear_to_srgb(np.linspace(0.0, 1.0, _BYTE_STEPS, dtype=np.float32))).astype(
    np.uint8
)
_UINT16_OF_LINEAR = np.rint(
    65535.0 * linear_to_srgb(np.linspace(0.0, 1.0, _UINT16_STEPS, dtype=np.float32)).astype(np.float64)
).astype(np.uint16)


def linearise(rgb: NDArray[np.uint8]) -> Linear:
    """Convert (H, W, 3) uint8 sRGB to linear light, float32 in 0..1."""
    return np.asarray(cv2.LUT(np.ascontiguousarray(rgb), _LINEAR_OF_BYTE), dtype=np.float32)


def develop(linear: Linear) -> NDArray[np.uint8]:
    """Convert linear light to (H, W, 3) uint8 sRGB; values outside 0..1 are clipped."""
    index = np.clip(linear, 0.0, 1.0) * np.float32(_BYTE_STEPS - 1) + np.float32(0.5)
    return np.asarray(_BYTE_OF_LINEAR[index.astype(np.int32)], dtype=np.uint8)


def develop_16_bit(linear: Linear) -> NDArray[np.uint16]:
    """Convert linear light to (H, W, 3) uint16 sRGB; values outside 0..1 are clipped."""
    index = np.clip(linear, 0.0, 1.0) * np.float32(_UINT16_STEPS - 1) + np.float32(0.5)
    return np.asarray(_UINT16_OF_LINEAR[index.astype(np.int32)], dtype=np.uint16)


def tukey_lambda(shape: float, size: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float32]:
    """Return the samples of the Tukey-lambda distribution (unit scale): (u^s - (1-u)^s) / s, logistic at s = 0."""
    u = rng.random(size, dtype=np.float32).clip(1e-6, 1.0 - 1e-6)
    if abs(shape) < 1e-4:
        return np.asarray(np.log(u / (1.0 - u)), dtype=np.float32)
    return np.asarray((np.power(u, shape) - np.power(1.0 - u, shape)) / shape, dtype=np.float32)


def shot_noise(electrons: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Draw photon counts for expected counts: Poisson below 20 electrons, its Gaussian limit above."""
    # Drawing Poisson numbers is slow, and above 20 electrons the Gaussian limit is close enough.
    noisy = electrons + np.sqrt(electrons) * rng.standard_normal(electrons.shape, dtype=np.float32)
    few = electrons < 20.0
    noisy[few] = rng.poisson(electrons[few])
    return np.asarray(noisy, dtype=np.float32)


def sense(
    signal_dn: NDArray[np.float32],
    exposure: DarkExposure,
    rng: np.random.Generator,
    frame_count: Map | None = None,
) -> NDArray[np.float32]:
    """Simulate the raw values of a sensor.

    Args:
        signal_dn: expected signal in DN above black; rows are the first axis.
        exposure: sensor, ISO and the kind of read noise.
        rng: source of the noise.
        frame_count: number of averaged frames, of a shape that broadcasts to the signal. The average of n frames has
            the shot noise of n times the electrons and 1/sqrt(n) of the other noise.

    Returns:
        Raw values in DN above black, rounded for a single frame.
    """
    assert exposure.capture.iso is not None
    sensor, gain = exposure.sensor, exposure.sensor.gain(exposure.capture.iso)
    electrons = np.asarray(np.maximum(signal_dn, 0.0) / np.float32(gain), dtype=np.float32)
    if exposure.tukey:
        scale = sensor.read_tukey.draw(gain, rng)
        other = np.float32(scale) * tukey_lambda(rng.uniform(*sensor.tukey_shape), signal_dn.shape, rng)
    else:
        other = np.float32(sensor.read.draw(gain, rng)) * rng.standard_normal(signal_dn.shape, dtype=np.float32)
    rows = rng.standard_normal((signal_dn.shape[0], *([1] * (signal_dn.ndim - 1))), dtype=np.float32)
    other += np.float32(sensor.row.draw(gain, rng)) * rows
    if frame_count is None:
        raw = np.rint(np.float32(gain) * shot_noise(electrons, rng) + other)
    else:
        raw = np.float32(gain) * shot_noise(electrons * frame_count, rng) / frame_count
        raw += other / np.sqrt(frame_count)
    # A raw file stores no values below 0, which lies 512 DN below its black level.
    return np.asarray(np.clip(raw, -512.0, WHITE_DN), dtype=np.float32)


def darken(rgb: NDArray[np.uint8], exposure: DarkExposure, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Simulate the frame that a camera publishes of this scene.

    Args:
        rgb: (H, W, 3) uint8 sRGB, well exposed.
        exposure: light, sensor and camera settings.
        rng: source of the noise.

    Returns:
        (H, W, 3) uint8 sRGB.
    """
    return np.ascontiguousarray(develop(expose(linearise(rgb), exposure, rng)))


def expose(
    linear: Linear,
    exposure: DarkExposure,
    rng: np.random.Generator,
    frame_count: Map | None = None,
    black_bias: float = 1.0,
) -> Linear:
    """Simulate one frame, or the average of several aligned frames, in linear light.

    Args:
        linear: (H, W, 3) scene in linear light; 1 is the white of the good exposure, lamps may be brighter.
        exposure: light, sensor and camera settings.
        rng: source of the noise.
        frame_count: (H, W) number of averaged frames of each pixel; None for one frame.
        black_bias: share of the black bias in an average. Each frame is clipped at black, as cameras do, so the
            shadows of a plain average are lifted by the mean of the clipped noise (1). Temporal fusion subtracts
            that bias, as far as it has measured the noise well; then the average is like one long exposure (0).

    Returns:
        (H, W, 3) linear light after white balance, not below 0.
    """
    balance = np.array([exposure.white_balance[0], 1.0, exposure.white_balance[1]], np.float32)
    scale = np.exp2(-np.asarray(exposure.stops, np.float32)) * np.float32(WHITE_DN)
    signal = linear * (scale[..., None] if scale.ndim else scale) / balance
    counts = None if frame_count is None else np.asarray(frame_count, np.float32)
    if exposure.bayer:
        developed = demosaic(sense(mosaic(signal), exposure, rng, counts), 1.0 if counts is None else AVERAGE_STEPS)
    else:
        developed = sense(signal, exposure, rng, None if counts is None else counts[:, :, None])
    if any(exposure.black_offset):
        developed = developed + np.array(exposure.black_offset, np.float32)
    if counts is not None and black_bias:
        long_exposure = np.maximum(developed, 0.0)
        lifted = _average_of_clipped(developed, exposure, counts[:, :, None])
        developed = long_exposure + np.float32(black_bias) * (lifted - long_exposure)
    return np.asarray(np.maximum(developed, 0.0) * (balance / np.float32(WHITE_DN)), dtype=np.float32)


_UNIT = np.linspace(-5.0, 5.0, 1001, dtype=np.float32)
_CUMULATIVE = np.array([0.5 * (1.0 + math.erf(u / math.sqrt(2.0))) for u in _UNIT], np.float32)
_CLIPPED_MEAN = _UNIT * _CUMULATIVE + np.exp(-_UNIT * _UNIT / 2.0) / np.float32(math.sqrt(2.0 * math.pi))
"""E[max(0, u + g)] of a standard normal g, at ``_UNIT``."""


def _average_of_clipped(average: Linear, exposure: DarkExposure, counts: Map) -> Linear:
    """Convert the average of unclipped frames to the average of frames that were clipped at 0.

    A frame is the average plus a residual of variance (1 - 1/n) of a single frame's. With a Gaussian residual of
    standard deviation s, E[max(0, a + s g)] = s f(a / s), where f is tabulated.
    """
    assert exposure.capture.iso is not None
    gain = exposure.sensor.gain(exposure.capture.iso)
    variance = np.float32(gain) * np.maximum(average, 0.0) + np.float32(exposure.sensor.read.median(gain) ** 2)
    residual = np.sqrt(variance * (1.0 - 1.0 / counts)) + np.float32(1e-6)
    unit = average / residual
    clipped = residual * np.interp(unit, _UNIT, _CLIPPED_MEAN).astype(np.float32)
    return np.asarray(np.where(unit > 5.0, average, clipped), dtype=np.float32)


def dark_frame(width: int, height: int, capture: CaptureMetadata, seed: int = 0) -> NDArray[np.uint8]:
    """Return a dark, noisy (height, width, 3) frame of soft shapes, for measurements."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (max(2, height // 40), max(2, width // 40), 3), dtype=np.uint8)
    scene = np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)
    return darken(scene, DarkExposure(stops=3.0, capture=capture, sensor=SENSORS["SonyA7S2"]), rng)


def mosaic(rgb: NDArray[np.float32]) -> NDArray[np.float32]:
    """Convert (H, W, 3) to the (H, W) samples of an RGGB colour filter array."""
    raw: NDArray[np.float32] = rgb[:, :, 1].copy()
    raw[0::2, 0::2] = rgb[0::2, 0::2, 0]
    raw[1::2, 1::2] = rgb[1::2, 1::2, 2]
    return raw


AVERAGE_STEPS = 4.0
"""OpenCV demosaics 16-bit integers. With 4 steps per DN the fractions of an average stay within that range."""


def demosaic(raw: NDArray[np.float32], steps: float = 1.0) -> NDArray[np.float32]:
    """Convert RGGB samples, (H, W), to (H, W, 3) by bilinear interpolation, truncated to ``1 / steps`` DN.

    Negative values down to -512 DN are kept.
    """
    levels = np.clip((raw + 512.0) * steps, 0.0, 65535.0).astype(np.uint16)
    rgb = cv2.cvtColor(levels, cv2.COLOR_BayerBG2RGB)  # OpenCV names patterns from the second row on: RGGB is BG
    return np.asarray(rgb / np.float32(steps) - np.float32(512.0), dtype=np.float32)
