"""Training samples: well-exposed targets and simulated or real dark inputs.

The target is always the well-exposed picture. The input is a camera frame of it with 0 to 7 stops less light, evenly
or unevenly, as a single frame or as the average of several. At 0 stops the network learns to keep the tones and to
remove noise, whatever the mean of the scene.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from lowlight_enhance.core.inference.model_input import Rgb
from lowlight_enhance.core.metadata.capture import CaptureMetadata
from lowlight_enhance.simulation.lighting import draw_illumination, draw_lamps
from lowlight_enhance.simulation.low_light import Map, darken, develop, develop_16_bit, expose, linearise
from lowlight_enhance.training.data import augment
from lowlight_enhance.training.data.config import DataConfig
from lowlight_enhance.training.data.pictures import Picture, TrainingPictures

SMALL_PHOTO = 320
"""Crops larger than this are taken from photographs that are large enough, if there are any."""

LIT_AS_REFERENCE = 0.9
"""A real pair whose dark frame has at least this share of the mean of its reference counts as well lit."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One training sample.

    Attributes:
        dark: (H, W, 3) uint8, or uint16 of averaged frames.
        bright: (H, W, 3) uint8 target; of an unlabelled sample the dark picture.
        capture: ISO and exposure time of a single frame, as far as known.
        frame_counts: (H, W) averaged frames, or None for a single frame.
        labelled: whether ``bright`` is a target.
    """

    dark: Rgb
    bright: Picture
    capture: CaptureMetadata
    frame_counts: Map | None = None
    labelled: bool = True


class SampleSource:
    """Draws samples from pictures, with the probabilities of a ``DataConfig``."""

    def __init__(self, pictures: TrainingPictures, config: DataConfig) -> None:
        self.pictures, self.config = pictures, config
        every = range(len(pictures.pairs))
        self.lit = [i for i in every if _is_lit(pictures, i)] if config.well_lit_pairs else []
        self.dark = sorted(set(every) - set(self.lit))
        self.large = _large(pictures, max(shape.crop_size for shape in config.shapes))

    def draw(self, size: int, rng: np.random.Generator) -> Sample:
        """Draw a sample of ``size`` x ``size`` pixels."""
        unlabelled = self.pictures.unlabelled
        if unlabelled and rng.random() < self.config.unlabelled:
            return self._unlabelled(size, rng)
        if self.pictures.pairs and (not self.pictures.photos or rng.random() >= self.config.simulated):
            return self._real(size, rng)
        (bright,) = self._crop((self._photo(size, rng),), size, rng)
        return simulate(bright, self.config, rng)

    def _crop(self, pictures: Sequence[Picture], size: int, rng: np.random.Generator) -> list[Picture]:
        return augment.crop(pictures, size, rng, self.config.hflip, self.config.keep_white)

    def _photo(self, size: int, rng: np.random.Generator) -> Picture:
        if size > SMALL_PHOTO and self.large:
            photos, place = self.large[int(rng.integers(len(self.large)))]
            return photos[place]
        both = len(self.pictures.photos) + self.config.reference_photos * len(self.pictures.references)
        place = int(rng.integers(both))
        photos = self.pictures.photos
        return photos[place] if place < len(photos) else self.pictures.references[place - len(photos)]

    def _real(self, size: int, rng: np.random.Generator) -> Sample:
        config = self.config
        lit = bool(self.lit) and (not self.dark or rng.random() < config.well_lit_pairs)
        places = self.lit if lit else self.dark
        pair = self.pictures.pairs[places[int(rng.integers(len(places)))]]
        dark, bright = self._crop((pair.dark, pair.bright), size, rng)
        if rng.random() < config.darken_pairs:
            stops = rng.uniform(0.0, 2.0)
            drawn = augment.draw_capture(stops, config.sid_captures, rng)
            capture = augment.reduce_exposure(pair.capture, stops).filled_from(drawn)
            exposure = augment.draw_exposure(stops, capture, config.small_sensors, rng)
            return Sample(darken(dark, exposure, rng), bright, exposure.capture)
        if pair.capture == CaptureMetadata() and rng.random() < config.impute_captures:
            return Sample(dark, bright, augment.draw_tripod_capture(rng))
        if lit and pair.capture.exposure_s is not None and rng.random() < config.impute_captures:
            # The few scenes of a data set share few exposure times: the exposure time must not identify the data set.
            exposure_s = augment.draw_tripod_capture(rng).exposure_s
            return Sample(dark, bright, replace(pair.capture, exposure_s=exposure_s))
        return Sample(dark, bright, pair.capture)

    def _unlabelled(self, size: int, rng: np.random.Generator) -> Sample:
        frames = self.pictures.unlabelled
        (dark,) = self._crop((frames[int(rng.integers(len(frames)))],), size, rng)
        return Sample(dark, dark, CaptureMetadata(), labelled=False)


def simulate(bright: Picture, config: DataConfig, rng: np.random.Generator) -> Sample:
    """Simulate a sample from a well-exposed picture.

    Args:
        bright: (H, W, 3) uint8.
        config: ranges and probabilities.
        rng: source of all draws.
    """
    height, width = bright.shape[:2]
    linear = linearise(bright)
    stops = _draw_stops(height, width, config, rng)
    least = float(np.min(stops))
    mean = float(np.mean(stops))
    if rng.random() < config.lamps:
        lamps = draw_lamps(height, width, rng)
        bright = develop(linear + lamps)
        # Lamps emit light: they are as bright as in the best lit part of the frame.
        linear = linear + lamps * np.exp2(np.asarray(stops - least, np.float32)[..., None])
    capture = augment.draw_capture(mean, config.sid_captures, rng)
    exposure = augment.draw_exposure(stops, capture, config.small_sensors, rng)
    if mean > 0.0 and rng.random() < config.black_offset:
        offset = augment.draw_black_offset(mean, exposure.white_balance, rng)
        exposure = replace(exposure, black_offset=offset)
    if rng.random() < config.averaged:
        counts = augment.draw_frame_counts(height, width, config.max_frames, rng)
        if rng.random() < config.misaligned:
            linear = augment.misaligned(linear, counts, rng)
        bias = augment.draw_black_bias(rng)
        average = develop_16_bit(expose(linear, exposure, rng, counts, bias))
        return Sample(average, bright, exposure.capture, counts)
    dark = develop(expose(linear, exposure, rng))
    if mean > 0.0 and rng.random() < 0.25:
        dark = _with_contrast(dark, rng.uniform(0.0, config.contrast))
    return Sample(augment.jpeg(dark, rng, config.jpeg), bright, exposure.capture)


def _draw_stops(height: int, width: int, config: DataConfig, rng: np.random.Generator) -> float | Map:
    if rng.random() < config.uneven:
        least = 0.0 if rng.random() < 0.5 else rng.uniform(0.0, 3.0)
        most = config.stops[1] + 0.5
        stops = draw_illumination(height, width, rng) + np.float32(least)
        return np.asarray(np.minimum(stops, np.float32(most)), dtype=np.float32)
    return 0.0 if rng.random() < config.well_exposed else float(rng.uniform(*config.stops))


def _with_contrast(picture: Picture, contrast: float) -> Picture:
    """Apply an S-shaped tone curve, as cameras do."""
    x = np.arange(256) / 255.0
    curve = x + contrast * x * (1.0 - x) * (2.0 * x - 1.0)
    return np.asarray(cv2.LUT(picture, np.rint(255.0 * curve.clip(0.0, 1.0)).astype(np.uint8)), dtype=np.uint8)


def _is_lit(pictures: TrainingPictures, place: int) -> bool:
    pair = pictures.pairs[place]
    return bool(pair.dark.mean() > LIT_AS_REFERENCE * pair.bright.mean())


def _large(pictures: TrainingPictures, size: int) -> list[tuple[Sequence[Picture], int]]:
    """Return photographs and references with a shorter side of at least ``size`` pixels, if crops need them."""
    if size <= SMALL_PHOTO:
        return []
    both = (pictures.photos, pictures.references)
    return [(some, i) for some in both for i in range(len(some)) if min(some[i].shape[:2]) >= size]
