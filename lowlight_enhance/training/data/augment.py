"""Random draws for training samples: crops, exposures, averaged frames, compression."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from lowlight_enhance.core.metadata.capture import CaptureMetadata
from lowlight_enhance.simulation.low_light import DarkExposure, Linear, Map
from lowlight_enhance.simulation.sensors import SENSORS, WHITE_DN, SensorNoise
from lowlight_enhance.training.data.pictures import Picture

MOST_VEIL_DN = 100.0
"""Largest veil in DN over the shadows: 19 of 255 in an otherwise black frame."""

SMALL_SENSOR_ELECTRONS = (3000.0, 60000.0)
"""Full well at ISO 100 of sensors smaller than the calibrated ones, drawn log-uniformly."""

LEAST_WHITE_ELECTRONS = 2.0
"""Electrons of white in the darkest drawn frame. With fewer, a network can only learn the mean scene."""

MISALIGNMENT_PIXELS = 0.3
"""Standard deviation of the shift between the present frame and the average of the frames before."""

SID_SONY_CAPTURES = (
    # ISO, long exposure in seconds, pairs: counted over SID's Sony training list (Chen et al. 2018, MIT licence)
    (50, 30, 10), (64, 30, 10), (80, 30, 30), (100, 30, 20), (160, 30, 88), (200, 10, 111), (200, 30, 39),
    (250, 10, 231), (250, 30, 89), (320, 10, 132), (320, 30, 60), (400, 10, 24), (400, 30, 50), (500, 10, 65),
    (500, 30, 108), (640, 10, 15), (640, 30, 30), (800, 10, 28), (800, 30, 40), (1000, 10, 12), (1000, 30, 59),
    (1250, 30, 70), (1600, 10, 36), (1600, 30, 30), (2000, 10, 12), (2000, 30, 20), (2500, 10, 15), (4000, 10, 42),
    (5000, 10, 14), (6400, 10, 14), (8000, 10, 100), (10000, 10, 111), (12800, 10, 44), (16000, 10, 14),
    (25600, 10, 92),
)  # fmt: skip


def crop(
    pictures: Sequence[Picture], size: int, rng: np.random.Generator, hflip: float = 0.5, keep_white: bool = True
) -> list[Picture]:
    """Cut the same random square window out of each picture.

    The side of the window is between ``size`` and the shorter side of the picture. The window is area-averaged to
    ``size`` x ``size``, so samples show whole scenes as well as details. A smaller picture is enlarged.

    Args:
        pictures: (H, W, 3) pictures of the same size.
        size: side of the result in pixels.
        rng: source of the window.
        hflip: probability that the window is mirrored left to right.
        keep_white: whether the window contains a brightest place of the first picture. At run time the network sees
            whole frames; a window without the white of its scene would look under-exposed to it.
    """
    height, width = pictures[0].shape[:2]
    window = int(rng.integers(min(size, height, width), min(height, width) + 1))
    if keep_white:
        y, x = _brightest_place(pictures[0], rng)
        top, left = (_start(place, window, side, rng) for place, side in ((y, height), (x, width)))
    else:
        top, left = int(rng.integers(height - window + 1)), int(rng.integers(width - window + 1))
    mirrored = rng.random() < hflip
    out = []
    for picture in pictures:
        part = picture[top : top + window, left : left + window]
        if window != size:
            interpolation = cv2.INTER_AREA if window > size else cv2.INTER_CUBIC
            part = np.asarray(cv2.resize(part, (size, size), interpolation=interpolation), dtype=np.uint8)
        out.append(np.ascontiguousarray(part[:, ::-1] if mirrored else part))
    return out


WHITE_CELL = 8
"""Side in pixels of the areas whose means are compared for the brightest place, as for the white level."""


def _brightest_place(picture: Picture, rng: np.random.Generator) -> tuple[int, int]:
    """Draw row and column of an area that is about as bright as the brightest one, in any channel."""
    height, width = picture.shape[:2]
    rows, columns = max(1, height // WHITE_CELL), max(1, width // WHITE_CELL)
    means = cv2.resize(picture, (columns, rows), interpolation=cv2.INTER_AREA).max(axis=2)
    found = np.argwhere(means >= 0.97 * means.max())
    row, column = found[rng.integers(len(found))]
    return int((row + 0.5) * height / rows), int((column + 0.5) * width / columns)


def _start(place: int, window: int, side: int, rng: np.random.Generator) -> int:
    """Draw the start of a window within 0..``side`` that contains ``place``."""
    return int(rng.integers(max(0, place - window + 1), min(place, side - window) + 1))


def draw_capture(stops: float, sid_share: float, rng: np.random.Generator) -> CaptureMetadata:
    """Draw ISO and exposure time: those of SID's Sony list, or those that a flying camera would choose.

    Args:
        stops: under-exposure; SID's long exposure is divided by 2**stops.
        sid_share: probability of SID's list.
        rng: source of the draw.
    """
    if rng.random() < sid_share:
        weights = np.array([row[2] for row in SID_SONY_CAPTURES], np.float64)
        iso, long_s, _ = SID_SONY_CAPTURES[rng.choice(len(weights), p=weights / weights.sum())]
        return CaptureMetadata(float(iso), long_s * 2.0**-stops)
    return CaptureMetadata(100.0 * 2.0 ** rng.uniform(0.0, 8.0), 2.0 ** rng.uniform(-11.0, -2.0))


def draw_sensor(small_share: float, rng: np.random.Generator) -> SensorNoise:
    """Draw one of the calibrated sensors, with probability ``small_share`` scaled down to a smaller full well."""
    sensor = list(SENSORS.values())[rng.integers(len(SENSORS))]
    if rng.random() >= small_share:
        return sensor
    low, high = np.log(SMALL_SENSOR_ELECTRONS)
    return sensor.with_full_well(float(np.exp(rng.uniform(low, high))))


def draw_exposure(
    stops: float | Map, capture: CaptureMetadata, small_share: float, rng: np.random.Generator
) -> DarkExposure:
    """Draw the sensor and the camera processing for a capture. ISO is lowered if white would be too few electrons."""
    sensor = draw_sensor(small_share, rng)
    assert capture.iso is not None
    white = WHITE_DN / sensor.gain(capture.iso) * 2.0 ** -float(np.mean(stops))
    if white < LEAST_WHITE_ELECTRONS:
        capture = replace(capture, iso=capture.iso * white / (LEAST_WHITE_ELECTRONS * rng.uniform(1.0, 4.0)))
    return DarkExposure(
        stops=stops,
        capture=capture,
        sensor=sensor,
        white_balance=(rng.uniform(1.0, 2.4), rng.uniform(1.0, 2.4)),
        bayer=rng.random() < 0.5,
        tukey=rng.random() < 0.4,
    )


def draw_black_offset(
    stops: float, white_balance: tuple[float, float], rng: np.random.Generator
) -> tuple[float, float, float]:
    """Draw raw offsets of R, G and B in DN of a frame that is ``stops`` too dark.

    One part is that of the sensor: a standard deviation of 1 to 8 DN, mostly common to the three channels. Wei et al.
    (2020) calibrated up to 6 ("color bias"). The other part has the colour of the light, as glare in the lens and the
    shadow processing of cameras have: a veil of up to the middle grey of the dark frame, at most 100 DN, or shadows
    that are lowered by as much.
    """
    sensor = 2.0 ** rng.uniform(0.0, 3.0)
    common = rng.normal(0.0, sensor)
    grey = 0.18 * WHITE_DN * 2.0**-stops
    neutral = min(grey * 2.0 ** rng.uniform(-4.0, 0.0), MOST_VEIL_DN)
    neutral = neutral if rng.random() < 0.5 else -neutral
    red, green, blue = (common + rng.normal(0.0, 0.5 * sensor) for _ in range(3))
    return red + neutral / white_balance[0], green + neutral, blue + neutral / white_balance[1]


def draw_frame_counts(height: int, width: int, most: int, rng: np.random.Generator) -> Map:
    """Draw a (height, width) map of the number of averaged frames, as temporal fusion makes it.

    A third of the maps are uniform. In the others, new content (a strip at a border) and moving content (an ellipse)
    has fewer frames, mostly one.
    """
    n = int(rng.integers(2, most + 1))
    counts = np.full((height, width), n, np.float32)
    if rng.random() < 0.35:
        return counts
    if rng.random() < 0.6:
        strip = int(rng.integers(1, max(2, min(height, width) // 3)))
        rotated = np.rot90(counts, int(rng.integers(4)))
        rotated[:strip] = np.minimum(np.linspace(1, rng.integers(1, n + 1), strip).round(), n)[:, None]
    for _ in range(int(rng.integers(0, 5))):
        centre = (int(rng.integers(width)), int(rng.integers(height)))
        axes = tuple(int(a) for a in rng.integers(4, max(5, min(height, width) // 4), 2))
        few = 1.0 if rng.random() < 0.7 else float(rng.integers(1, n + 1))
        cv2.ellipse(counts, centre, axes, float(rng.uniform(0, 180)), 0, 360, few, -1)
    return counts


def draw_black_bias(rng: np.random.Generator) -> float:
    """Draw the share of the black bias that temporal fusion leaves in an average: mostly none, at most half."""
    return 0.0 if rng.random() < 0.7 else float(rng.uniform(0.0, 0.5))


def misaligned(linear: Linear, counts: Map, rng: np.random.Generator) -> Linear:
    """Average a scene with copies of itself that are shifted by a fraction of a pixel, as after inexact alignment.

    Args:
        linear: (H, W, 3) scene in linear light.
        counts: (H, W) number of frames; all but the present one are shifted.
        rng: source of the shift.
    """
    x, y = rng.normal(0.0, MISALIGNMENT_PIXELS, 2)
    matrix = np.array([[1.0, 0.0, x], [0.0, 1.0, y]])
    size = (linear.shape[1], linear.shape[0])
    past = cv2.warpAffine(linear, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    share = ((counts - 1.0) / counts)[:, :, None]
    return np.asarray(linear + share * (past - linear), dtype=np.float32)


def jpeg(picture: Picture, rng: np.random.Generator, probability: float = 0.2) -> Picture:
    """Compress and decompress the picture as JPEG with a random quality of 75 to 97, with the given probability."""
    if rng.random() >= probability:
        return picture
    quality = int(rng.integers(75, 98))
    _, data = cv2.imencode(".jpg", picture[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), dtype=np.uint8)
    return np.ascontiguousarray(decoded[:, :, ::-1])


def reduce_exposure(capture: CaptureMetadata, stops: float) -> CaptureMetadata:
    """Return the same capture with ``stops`` less exposure time; unknown values stay unknown."""
    exposure_s = None if capture.exposure_s is None else capture.exposure_s * 2.0**-stops
    return CaptureMetadata(capture.iso, exposure_s)


def draw_tripod_capture(rng: np.random.Generator) -> CaptureMetadata:
    """Draw a low ISO and an exposure time from 1/2048 s to 2 s, as of a camera on a tripod."""
    return CaptureMetadata(100.0 * 2.0 ** rng.uniform(-0.7, 3.0), float(2.0 ** rng.uniform(-11.0, 1.0)))


def drop_metadata(capture: CaptureMetadata, both: float, one: float, rng: np.random.Generator) -> CaptureMetadata:
    """Drop both values with probability ``both``, one of them with probability ``one``."""
    draw = rng.random() - both
    if draw < 0.0:
        return CaptureMetadata()
    if draw < one:
        return replace(capture, iso=None) if rng.random() < 0.5 else replace(capture, exposure_s=None)
    return capture


def to_float(picture: NDArray[np.uint8] | NDArray[np.uint16]) -> NDArray[np.float32]:
    """Convert (H, W, 3) of 8 or 16 bits to (3, H, W) float32 in 0..1."""
    scale = np.float32(1.0 / np.iinfo(picture.dtype).max)
    return np.asarray(np.ascontiguousarray(picture.transpose(2, 0, 1), dtype=np.float32) * scale, dtype=np.float32)
