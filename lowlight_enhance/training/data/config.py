"""Settings of training samples and batches."""

from __future__ import annotations

import math
from dataclasses import dataclass

from lowlight_enhance.core.errors import ConfigError
from lowlight_enhance.core.inference.model_input import MAX_SIDE, ModelInput
from lowlight_enhance.training.config import check_range
from lowlight_enhance.training.data.pictures import DEFAULT_MEMORY_GB

MOST_STOPS = 30.0
"""Largest under-exposure in settings: nothing of any photograph remains."""


@dataclass(frozen=True, slots=True)
class BatchShape:
    """One kind of batch.

    Attributes:
        crop_size: side of the square crops in pixels.
        working_size: side in pixels of the copies that the network sees; smaller crops are not enlarged.
        batch_size: samples in a batch.
    """

    crop_size: int
    working_size: int
    batch_size: int

    def __post_init__(self) -> None:
        check_range(self, 1, MAX_SIDE, "crop_size", "working_size")
        check_range(self, 1, math.inf, "batch_size")


@dataclass(frozen=True, slots=True)
class DataConfig:
    """Settings of samples and batches. All probabilities are per sample.

    Attributes:
        shapes: kinds of batch, drawn with equal probability.
        simulated: share of samples simulated from photographs; the rest are real pairs. If there are no photographs
            or no pairs, all samples come from the other.
        reference_photos: whether the references of the pairs are used as photographs too.
        unlabelled: share of samples without reference, for distillation, if there are such pictures.
        stops: least and largest under-exposure, drawn uniformly. Unevenly lit frames have from 0 stops to half a stop
            more than the largest.
        well_exposed: probability of exactly 0 stops.
        uneven: probability that the under-exposure differs within the frame.
        lamps: probability that light sources are added.
        averaged: probability that the input is the average of several frames.
        max_frames: largest number of frames of an average.
        misaligned: probability that the frames of an average are a fraction of a pixel apart.
        small_sensors: probability that the sensor is smaller, and so noisier, than the calibrated ones.
        sid_captures: probability that ISO and exposure time come from the list of See-in-the-Dark.
        black_offset: probability that the black level of a simulated frame has an error.
        contrast: largest strength of an S-shaped tone curve, which a quarter of the single frames get.
        jpeg: probability that a single frame is compressed as JPEG.
        darken_pairs: probability that the dark frame of a real pair is darkened further by up to 2 stops.
        well_lit_pairs: share of the real samples whose dark frame is as bright as its reference.
        impute_captures: probability that a real pair gets a drawn capture in place of an unknown one, and a drawn
            exposure time if it is well lit. Otherwise known metadata would identify a simulated sample.
        metadata_dropout: probability that ISO and exposure time are withheld.
        metadata_dropout_single: probability that one of the two is withheld.
        keep_white: whether crops contain a brightest place of their picture, as the whole frames do that the network
            sees at run time.
        hflip: probability that a sample is mirrored left to right.
        rotate: probability that a sample is rotated by a random number of quarter turns.
        memory_gb: memory for decoded pictures in 1e9 bytes; other pictures are decoded at each use.
    """

    shapes: tuple[BatchShape, ...] = (
        BatchShape(256, 256, 8),
        BatchShape(320, 256, 8),
        BatchShape(320, 320, 5),
        BatchShape(384, 320, 5),
        BatchShape(512, 384, 4),
    )
    simulated: float = 0.5
    reference_photos: bool = True
    unlabelled: float = 0.0
    stops: tuple[float, float] = (0.0, 7.0)
    well_exposed: float = 0.1
    uneven: float = 0.4
    lamps: float = 0.15
    averaged: float = 0.4
    max_frames: int = 16
    misaligned: float = 0.6
    small_sensors: float = 0.6
    sid_captures: float = 0.3
    black_offset: float = 0.3
    contrast: float = 0.4
    jpeg: float = 0.2
    darken_pairs: float = 0.2
    well_lit_pairs: float = 0.1
    impute_captures: float = 0.6
    metadata_dropout: float = 0.3
    metadata_dropout_single: float = 0.1
    keep_white: bool = True
    hflip: float = 0.5
    rotate: float = 0.0
    memory_gb: float = DEFAULT_MEMORY_GB

    def __post_init__(self) -> None:
        if not self.shapes:
            raise ConfigError("shapes must list at least one kind of batch")
        check_range(self, 0.0, 1.0, "simulated", "unlabelled", "well_exposed", "uneven", "lamps", "averaged")
        check_range(self, 0.0, 1.0, "misaligned", "small_sensors", "sid_captures", "black_offset", "jpeg")
        check_range(self, 0.0, 1.0, "darken_pairs", "well_lit_pairs", "impute_captures", "metadata_dropout")
        check_range(self, 0.0, 1.0, "metadata_dropout_single", "hflip", "rotate")
        check_range(self, 2, 64, "max_frames")
        check_range(self, 0.0, math.inf, "contrast", "memory_gb")
        check_range(self, 0.0, MOST_STOPS, "stops")
        if self.stops[0] > self.stops[1]:
            raise ConfigError(f"stops must rise, found {list(self.stops)}")


def check_sizes(data: DataConfig, model_input: ModelInput, multiple: int) -> None:
    """Check that no batch needs padding.

    The runtime pads frames and crops the output; a batch is compared with its reference without cropping.

    Raises:
        ConfigError: a size is not a multiple of ``multiple``, or of ``size_multiple`` in ``model_input``.
    """
    padded_to = model_input.size_multiple
    if padded_to % multiple:
        raise ConfigError(
            f"model_input: size_multiple is {padded_to}: the networks halve their input until it must be a multiple "
            f"of {multiple}"
        )
    for i, shape in enumerate(data.shapes):
        sides = ("working_size", shape.working_size), ("crop_size", shape.crop_size)
        name, pixels = min(sides, key=lambda side: side[1])
        if pixels % padded_to:
            raise ConfigError(
                f"data: shapes[{i}]: {name} is {pixels} pixels: what networks see must be a multiple of {padded_to} "
                "(model_input: size_multiple)"
            )
