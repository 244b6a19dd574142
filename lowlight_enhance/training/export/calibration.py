"""Frames that calibrate int8 files and measure what float16 and int8 files lose."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from lowlight_enhance.core.errors import DataError
from lowlight_enhance.core.inference.model_input import ModelInput, Rgb, Tensor
from lowlight_enhance.core.metadata.capture import UNKNOWN, CaptureMetadata
from lowlight_enhance.training.data.config import DataConfig
from lowlight_enhance.training.data.manifest import ListedFrame, Pair, read_frames, read_pairs, read_photos
from lowlight_enhance.training.data.pictures import LazySequence, Picture, Sources, load_rgb
from lowlight_enhance.training.data.samples import simulate

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class CalibrationFrame:
    """A dark frame.

    Attributes:
        rgb: (H, W, 3) uint8 or uint16.
        capture: ISO and exposure time, as far as known.
        reference: the well-exposed picture, of the same size; None if there is none.
    """

    rgb: Rgb
    capture: CaptureMetadata
    reference: Picture | None = None


def load_frame(listed: ListedFrame) -> CalibrationFrame:
    """Read a frame and its reference.

    Raises:
        DataError: a picture cannot be read.
    """
    reference = None if listed.reference is None else load_rgb(listed.reference)
    return CalibrationFrame(load_rgb(listed.path), listed.capture, reference)


def listed_frames(manifest: Path, root: Path | None = None) -> Sequence[CalibrationFrame]:
    """Return the frames of a manifest, each read when it is used.

    Raises:
        DataError: the manifest cannot be read.
    """
    return LazySequence(read_frames(manifest, root), load_frame)


def training_frames(sources: Sources, data: DataConfig, count: int, seed: int) -> Sequence[CalibrationFrame]:
    """Return dark frames from the ``train`` rows of manifests: half of real pairs, half simulated from photographs.

    The same sources, settings and seed give the same frames. Where there are no pairs or no photographs, all frames
    come from the other.

    Args:
        sources: manifests.
        data: how dark frames are simulated; every simulated frame is a single frame.
        count: largest number of frames.
        seed: of the simulation.

    Raises:
        DataError: a manifest cannot be read, or none has a ``train`` row.
    """
    pairs = [p for manifest in sources.pairs for p in read_pairs(manifest, sources.root) if p.split == "train"]
    rows = [row for manifest in sources.photos for row in read_photos(manifest, sources.root)]
    photos = [path for path, split in rows if split == "train"]
    if not pairs and not photos:
        raise DataError("no frames to calibrate on: the manifests have no row with the split 'train'")
    real = spread(pairs, count // 2 if photos else count)
    dark = spread(photos, count - len(real))
    single = replace(data, averaged=0.0)

    def load(item: Pair | tuple[int, Path]) -> CalibrationFrame:
        if isinstance(item, Pair):
            return load_frame(ListedFrame(item.dark, item.capture, item.bright))
        number, path = item
        sample = simulate(load_rgb(path), single, np.random.default_rng([seed, number]))
        return CalibrationFrame(sample.dark, sample.capture, sample.bright)

    items: list[Pair | tuple[int, Path]] = [*real, *enumerate(dark)]
    return LazySequence(items, load)


def spread(items: Sequence[T], count: int) -> list[T]:
    """Return at most ``count`` of the items, at even distances."""
    count = min(len(items), count)
    return [items[i * len(items) // count] for i in range(count)]


def network_inputs(model_input: ModelInput, frames: Iterable[CalibrationFrame]) -> Iterator[Tensor]:
    """Return the network inputs of frames: each with its own metadata, without any, and with the highest.

    The quantised network cuts off values outside the range that it was calibrated on. A robot may lose its metadata,
    or see higher values than these frames have.
    """
    highest = CaptureMetadata(model_input.iso_range[1], model_input.exposure_range_s[1])
    for frame in frames:
        for capture in (frame.capture, UNKNOWN, highest):
            yield model_input.encode(frame.rgb, capture)
