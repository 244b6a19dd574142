"""Training batches: real pairs and physically darkened photographs, encoded by the robot's own ModelInput.

Every batch is a pure function of (seed, step), so a run that resumes at a step sees what an uninterrupted one would.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset

from lowlight_enhance.core.errors import ConfigError, DataError
from lowlight_enhance.core.inference.model_input import MAX_SIDE, ModelInput
from lowlight_enhance.core.metadata.capture import CaptureMetadata
from lowlight_enhance.simulation.low_light import SENSORS, WHITE_DN, DarkExposure, darken
from lowlight_enhance.training.config import check_range
from lowlight_enhance.training.data.pictures import DEFAULT_MEMORY_GB, LoadedPair, Picture, TrainingPictures

LIT_DRAWS = 8
"""How often a well-lit crop is drawn until one is as bright as wanted; the last one is taken as it is."""

SMALL_PHOTO = 320
"""Crops larger than this are taken from photographs that are large enough, where there are any."""

MOST_STOPS = 30.0
"""Under-exposure that leaves nothing of any photograph."""

MOST_VEIL_DN = 100.0
"""Strongest veil over the shadows: 19 of 255 in an otherwise black frame."""

SID_SONY_CAPTURES = (
    # ISO, long exposure in seconds, pairs: counted over SID's Sony training list (Chen et al. 2018, MIT licence)
    (50, 30, 10), (64, 30, 10), (80, 30, 30), (100, 30, 20), (160, 30, 88), (200, 10, 111), (200, 30, 39),
    (250, 10, 231), (250, 30, 89), (320, 10, 132), (320, 30, 60), (400, 10, 24), (400, 30, 50), (500, 10, 65),
    (500, 30, 108), (640, 10, 15), (640, 30, 30), (800, 10, 28), (800, 30, 40), (1000, 10, 12), (1000, 30, 59),
    (1250, 30, 70), (1600, 10, 36), (1600, 30, 30), (2000, 10, 12), (2000, 30, 20), (2500, 10, 15), (4000, 10, 42),
    (5000, 10, 14), (6400, 10, 14), (8000, 10, 100), (10000, 10, 111), (12800, 10, 44), (16000, 10, 14),
    (25600, 10, 92),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class BatchShape:
    """One kind of batch: square crops, and the smaller copies of them that the network sees.

    Attributes:
        full: side of the crops, in pixels.
        working: side of the network's copies, in pixels; a smaller crop is not enlarged.
        size: samples a batch.
    """

    full: int
    working: int
    size: int

    def __post_init__(self) -> None:
        check_range(self, 1, MAX_SIDE, "full", "working")
        check_range(self, 1, math.inf, "size")


@dataclass(frozen=True, slots=True)
class DataConfig:
    """What training sees.

    Attributes:
        shapes: kinds of batch, drawn with equal probability.
        darkened: share of samples made by darkening a photograph; the rest are real pairs. Without either of the two,
            all samples are of the other.
        stops: least and largest under-exposure, drawn evenly between.
        withhold: probability that both ISO and exposure time are withheld.
        withhold_one: probability that just one is.
        redarken: probability that the dark frame of a real pair is darkened further, with the noise of its ISO and as
            if exposed for less time; what is not known of its capture is drawn.
        well_lit: probability that a photograph is not darkened, only its noise is added: do no harm.
        sid_captures: probability that ISO and exposure time of a darkened sample come from SID's list; the others are
            drawn as a flying camera would choose them.
        well_lit_pairs: share of the real samples that come from pairs whose dark frame is as bright as its reference.
        dark_below: largest mean (0..255) of a crop that is to be brightened; a brighter one is darkened to below it,
            so that the network is told one thing about frames of middling brightness.
        lit_from: smallest mean (0..255) of a crop that is well lit; another one is drawn in place of a darker one.
        guessed_capture: probability that a real pair of unknown capture is told a plausible one: a low ISO, as on a
            tripod, and any exposure time. Otherwise, to know the capture would mean a darkened photograph.
        guessed_exposure: probability that a well-lit pair is told any exposure time in place of its own. Otherwise an
            exposure time as in those few scenes would mean that the frame is well lit.
        memory_gb: for decoded pictures, in 1e9 bytes; the others are decoded again each time that they are drawn.
        contrast: strongest S-shaped tone curve, which three in ten of the darkened samples get.
        black_offset: probability that the black of a darkened sample is not where the camera takes it to be.
        flip: probability that a sample is mirrored, left to right.
        turn: probability that a sample is turned by a random number of quarter turns; 0 in the paper.
    """

    shapes: tuple[BatchShape, ...] = (
        BatchShape(256, 256, 8),
        BatchShape(320, 224, 8),
        BatchShape(320, 192, 8),
        BatchShape(384, 256, 6),
        BatchShape(512, 320, 4),
    )
    darkened: float = 0.5
    stops: tuple[float, float] = (1.0, 7.5)
    withhold: float = 0.25
    withhold_one: float = 0.1
    redarken: float = 0.25
    well_lit: float = 0.1
    sid_captures: float = 0.4
    well_lit_pairs: float = 0.0
    dark_below: float = 255.0
    lit_from: float = 0.0
    guessed_capture: float = 0.0
    guessed_exposure: float = 0.0
    contrast: float = 0.4
    black_offset: float = 0.0
    flip: float = 0.5
    turn: float = 0.0
    memory_gb: float = DEFAULT_MEMORY_GB

    def __post_init__(self) -> None:
        if not self.shapes:
            raise ConfigError("shapes must list one kind of batch at least")
        check_range(self, 0.0, 1.0, "darkened", "withhold", "withhold_one", "redarken", "well_lit", "sid_captures")
        check_range(
            self, 0.0, 1.0, "well_lit_pairs", "guessed_capture", "guessed_exposure", "black_offset", "flip", "turn"
        )
        check_range(self, 1.0, 255.0, "dark_below")
        check_range(self, 0.0, 255.0, "lit_from")
        check_range(self, 0.0, math.inf, "contrast", "memory_gb")
        check_range(self, 0.0, MOST_STOPS, "stops")
        if self.stops[0] > self.stops[1]:
            raise ConfigError(f"stops must rise, found {list(self.stops)}")


def check_sizes(data: DataConfig, model_input: ModelInput, multiple: int) -> None:
    """Raise ConfigError unless every size that networks see is a multiple of theirs, and no batch would be padded.

    A frame in flight is padded, and the pad cut off the output; a batch is compared with its reference as it is.
    """
    padded_to = model_input.size_multiple
    if padded_to % multiple:
        raise ConfigError(
            f"model_input: size_multiple is {padded_to}: the networks halve their input until it must be a multiple "
            f"of {multiple}"
        )
    for i, shape in enumerate(data.shapes):
        name, pixels = min(("working", shape.working), ("full", shape.full), key=lambda side: side[1])
        if pixels % padded_to:
            raise ConfigError(
                f"data: shapes[{i}]: {name} is {pixels} pixels: what networks see must be a multiple of {padded_to} "
                "(model_input: size_multiple)"
            )


class Batches(Dataset[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]):
    """Item ``step`` is a whole batch: network input (B, 5, s, s), full-size dark and bright (B, 3, S, S) in 0..1."""

    def __init__(
        self, pictures: TrainingPictures, config: DataConfig, model_input: ModelInput, seed: int, steps: int
    ) -> None:
        if not pictures.pairs and not pictures.photos:
            raise DataError("no training pictures: give --pairs, --photos or both")
        if pictures.pairs and pictures.photos and config.darkened in (0.0, 1.0):
            unused = "--photos" if config.darkened == 0.0 else "the training pairs of --pairs"
            raise ConfigError(
                f"data: darkened is {config.darkened:g}, so {unused} would never be drawn: leave them out, or set the "
                "share of darkened photographs between 0 and 1"
            )
        self.pictures, self.config = pictures, config
        self.model_input, self.seed, self.steps = model_input, seed, steps
        every = range(len(pictures.pairs))
        self.lit = [i for i in every if as_bright(pictures.pairs[i])] if config.well_lit_pairs else []
        self.dark = sorted(set(every) - set(self.lit))
        self.large = _large(pictures, max(shape.full for shape in config.shapes))

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        cv2.setNumThreads(1)
        rng = np.random.Generator(np.random.SFC64([self.seed, step]))
        shape = self.config.shapes[rng.integers(len(self.config.shapes))]
        model_input = replace(self.model_input, working_size=shape.working)
        inputs, darks, brights = [], [], []
        for _ in range(shape.size):
            dark, bright, capture = self._sample(shape.full, rng)
            if self.config.turn and rng.random() < self.config.turn:
                quarters = int(rng.integers(1, 4))
                dark, bright = (np.ascontiguousarray(np.rot90(p, quarters)) for p in (dark, bright))
            inputs.append(model_input.encode(dark, self._withhold(capture, rng))[0])
            darks.append(dark)
            brights.append(bright)
        return torch.from_numpy(np.stack(inputs)), to_tensor(darks), to_tensor(brights)

    def _sample(self, size: int, rng: np.random.Generator) -> tuple[Picture, Picture, CaptureMetadata]:
        if self.pictures.pairs and (not self.pictures.photos or rng.random() >= self.config.darkened):
            return self._real(size, rng)
        if size > SMALL_PHOTO and self.large:
            photos, place = self.large[int(rng.integers(len(self.large)))]
            photo = photos[place]
        else:
            photo = self.pictures.photos[int(rng.integers(len(self.pictures.photos)))]
        (bright,) = crop((photo,), size, rng, self.config.flip)
        exposure = draw_exposure(self.config, rng)
        if exposure.stops == 0.0:
            if bright.mean() >= self.config.lit_from:
                return jpeg(darken(bright, exposure, rng), rng), bright, exposure.capture
            exposure = draw_exposure(replace(self.config, well_lit=0.0), rng)
        dark = darken(bright, exposure, rng)
        if dark.mean() > self.config.dark_below:
            exposure = replace(exposure, stops=exposure.stops + self._stops_to_dark(dark) + rng.uniform(0.0, 1.0))
            dark = darken(bright, exposure, rng)
        return jpeg(dark, rng), bright, exposure.capture

    def _real(self, size: int, rng: np.random.Generator) -> tuple[Picture, Picture, CaptureMetadata]:
        lit = bool(self.lit) and (not self.dark or rng.random() < self.config.well_lit_pairs)
        places = self.lit if lit else self.dark
        for _ in range(LIT_DRAWS):
            pair = self.pictures.pairs[places[int(rng.integers(len(places)))]]
            dark, bright = crop((pair.dark, pair.bright), size, rng, self.config.flip)
            if not lit or dark.mean() >= self.config.lit_from:
                break
        if lit:
            known = pair.capture.exposure_s is not None
            told = known and self.config.guessed_exposure and rng.random() < self.config.guessed_exposure
            return dark, bright, replace(pair.capture, exposure_s=_any_exposure_s(rng)) if told else pair.capture
        middling = bool(dark.mean() > self.config.dark_below)
        if middling or rng.random() < self.config.redarken:
            least = self._stops_to_dark(dark) if middling else 0.0
            exposure = replace(draw_exposure(self.config, rng), stops=least + rng.uniform(0.0, 2.0))
            capture = shortened(pair.capture, exposure.stops).filled_from(exposure.capture)
            return darken(dark, replace(exposure, capture=capture), rng), bright, capture
        guess = self.config.guessed_capture
        if guess and pair.capture == CaptureMetadata() and rng.random() < guess:
            return dark, bright, CaptureMetadata(100.0 * 2.0 ** rng.uniform(-0.7, 3.0), _any_exposure_s(rng))
        return dark, bright, pair.capture

    def _stops_to_dark(self, picture: Picture) -> float:
        """Stops that bring the mean to ``dark_below``: one divides that of an sRGB frame by about 2 ** (1 / 2.2)."""
        return 2.2 * float(np.log2(picture.mean() / self.config.dark_below))

    def _withhold(self, capture: CaptureMetadata, rng: np.random.Generator) -> CaptureMetadata:
        draw = rng.random() - self.config.withhold
        if draw < 0.0:
            return CaptureMetadata()
        if draw < self.config.withhold_one:
            return replace(capture, iso=None) if rng.random() < 0.5 else replace(capture, exposure_s=None)
        return capture


def shortened(capture: CaptureMetadata, stops: float) -> CaptureMetadata:
    """The same capture with ``stops`` less exposure time; what is not known stays so."""
    exposure_s = None if capture.exposure_s is None else capture.exposure_s * 2.0**-stops
    return CaptureMetadata(capture.iso, exposure_s)


def _any_exposure_s(rng: np.random.Generator) -> float:
    """From 1/2048 s to 2 s, as often in each stop."""
    return float(2.0 ** rng.uniform(-11.0, 1.0))


def _large(pictures: TrainingPictures, size: int) -> list[tuple[Sequence[Picture], int]]:
    """Photographs and references of at least ``size`` pixels on the shorter side; none where no crop needs them."""
    if size <= SMALL_PHOTO:
        return []
    both = (pictures.photos, pictures.references)
    return [(some, i) for some in both for i in range(len(some)) if min(some[i].shape[:2]) >= size]


def as_bright(pair: LoadedPair) -> bool:
    """Whether the dark frame of a pair is no darker than its reference, within a tenth of its mean."""
    return bool(pair.dark.mean() > 0.9 * pair.bright.mean())


def crop(pictures: Sequence[Picture], size: int, rng: np.random.Generator, flip: float = 0.5) -> list[Picture]:
    """The same random square window of each picture, mirrored with probability ``flip``; ``size`` x ``size`` pixels.

    The window is between ``size`` and the whole shorter side, then area-averaged down: the network learns from whole
    scenes as well as from details. A smaller picture is enlarged.
    """
    height, width = pictures[0].shape[:2]
    window = int(rng.integers(min(size, height, width), min(height, width) + 1))
    top, left = int(rng.integers(height - window + 1)), int(rng.integers(width - window + 1))
    mirrored = rng.random() < flip
    out = []
    for picture in pictures:
        part = picture[top : top + window, left : left + window]
        if window != size:
            way = cv2.INTER_AREA if window > size else cv2.INTER_CUBIC
            part = np.asarray(cv2.resize(part, (size, size), interpolation=way), dtype=np.uint8)
        out.append(np.ascontiguousarray(part[:, ::-1] if mirrored else part))
    return out


def draw_exposure(config: DataConfig, rng: np.random.Generator) -> DarkExposure:
    """A dark exposure: ISO and exposure time from SID's captures, or as a flying camera would choose them."""
    lit = rng.random() < config.well_lit
    stops = 0.0 if lit else rng.uniform(*config.stops)
    if rng.random() < config.sid_captures:
        weights = np.array([row[2] for row in SID_SONY_CAPTURES], np.float64)
        iso, long_s, _ = SID_SONY_CAPTURES[rng.choice(len(weights), p=weights / weights.sum())]
        capture = CaptureMetadata(float(iso), long_s * 2.0**-stops)
    else:
        capture = CaptureMetadata(100.0 * 2.0 ** rng.uniform(0.0, 8.0), 2.0 ** rng.uniform(-11.0, -2.0))
    exposure = DarkExposure(
        stops=stops,
        capture=capture,
        sensor=list(SENSORS.values())[rng.integers(len(SENSORS))],
        white_balance=(rng.uniform(1.3, 2.4), rng.uniform(1.3, 2.4)),
        bayer=rng.random() < 0.6,
        tukey=rng.random() < 0.5,
        contrast=rng.uniform(0.0, config.contrast) if rng.random() < 0.3 and not lit else 0.0,
    )
    if config.black_offset and not lit and rng.random() < config.black_offset:
        return replace(exposure, black_offset=draw_black_offset(stops, exposure.white_balance, rng))
    return exposure


def draw_black_offset(
    stops: float, white_balance: tuple[float, float], rng: np.random.Generator
) -> tuple[float, float, float]:
    """Raw offsets of R, G and B in DN of a frame that is ``stops`` too dark.

    One part is the sensor's: a standard deviation of 1 to 8 DN, mostly alike in the three channels. Wei et al. (2020)
    calibrated up to 6 ("color bias"). The other has the colour of the light, as glare in the lens and a camera's
    treatment of shadows have: a veil of up to the dark frame's middle grey, at most 100 DN, or shadows crushed by as
    much.
    """
    sensor = 2.0 ** rng.uniform(0.0, 3.0)
    common = rng.normal(0.0, sensor)
    grey = 0.18 * WHITE_DN * 2.0**-stops
    neutral = min(grey * 2.0 ** rng.uniform(-4.0, 0.0), MOST_VEIL_DN)
    neutral = neutral if rng.random() < 0.5 else -neutral
    red, green, blue = (common + rng.normal(0.0, 0.5 * sensor) for _ in range(3))
    return red + neutral / white_balance[0], green + neutral, blue + neutral / white_balance[1]


def jpeg(picture: Picture, rng: np.random.Generator, probability: float = 0.2) -> Picture:
    """Now and then, what JPEG compression leaves of the picture."""
    if rng.random() >= probability:
        return picture
    quality = int(rng.integers(75, 98))
    _, data = cv2.imencode(".jpg", picture[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), dtype=np.uint8)
    return np.ascontiguousarray(decoded[:, :, ::-1])


def to_tensor(pictures: Sequence[Picture]) -> torch.Tensor:
    """(B, 3, H, W) float32 in 0..1."""
    stacked = np.stack(pictures).transpose(0, 3, 1, 2)
    return torch.from_numpy(stacked.astype(np.float32) / np.float32(255.0))
