"""Images and models for ``lowlight evaluate``: manifests of pairs and photographs, ONNX files and checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lowlight_enhance.core.enhancement.enhancer import Enhance, Enhancer
from lowlight_enhance.core.enhancement.upsampling import Upsampling
from lowlight_enhance.core.metadata.capture import CaptureMetadata
from lowlight_enhance.evaluation.scoring import EvaluationImage, ImagePair
from lowlight_enhance.simulation.low_light import DarkExposure, darken
from lowlight_enhance.simulation.sensors import find_sensor
from lowlight_enhance.training.data.manifest import Pair, read_pairs, read_photos
from lowlight_enhance.training.data.pictures import load_pairs, load_rgb


def real_images(
    manifest: Path, split: str = "val", max_mean: float = 255.0, root: Path | None = None
) -> list[EvaluationImage]:
    """Return the pairs of a manifest.

    Args:
        manifest: CSV of pairs.
        split: ``train``, ``val``, ``test``, or ``all``.
        max_mean: largest mean (0..255) of the dark image.
        root: folder to which file names are relative; None: the folder of the manifest.

    Raises:
        DataError: the manifest or an image cannot be read.
    """

    def image(pair: Pair) -> EvaluationImage:
        def load() -> ImagePair:
            (loaded,) = load_pairs([pair])
            return ImagePair(loaded.dark, loaded.bright, loaded.capture)

        return EvaluationImage(pair.dark.name, pair.scene, pair.capture, load)

    return [
        image(pair)
        for pair in read_pairs(manifest, root)
        if split in (pair.split, "all") and (max_mean >= 255.0 or load_rgb(pair.dark).mean() <= max_mean)
    ]


def darkened_images(
    manifest: Path,
    stops: float,
    isos: Sequence[float],
    split: str = "val",
    sensor: str = "SonyA7S2",
    full_well_electrons: float | None = None,
    exposure_s: float = 1 / 60,
    root: Path | None = None,
) -> list[EvaluationImage]:
    """Return the photographs of a manifest, darkened with simulated noise that is the same in every run.

    Args:
        manifest: CSV of photographs.
        stops: under-exposure in powers of two.
        isos: ISO values, used in turn.
        split: ``train``, ``val``, ``test``, or ``all``.
        sensor: name of a sensor in ``SENSORS``.
        full_well_electrons: electrons that the sensor holds at ISO 100; None: as calibrated.
        exposure_s: exposure time in the metadata.
        root: folder to which file names are relative; None: the folder of the manifest.

    Raises:
        DataError: the manifest cannot be read.
        ConfigError: the sensor is unknown, an ISO is not above 0, or ``stops`` is not finite.
    """
    noise = find_sensor(sensor, full_well_electrons)

    def image(number: int, path: Path) -> EvaluationImage:
        capture = CaptureMetadata(isos[number % len(isos)], exposure_s)
        exposure = DarkExposure(stops, capture, noise)

        def load() -> ImagePair:
            bright = load_rgb(path)
            return ImagePair(darken(bright, exposure, np.random.default_rng([0, number])), bright, capture)

        return EvaluationImage(path.name, path.name, capture, load)

    listed = [path for path, belongs in read_photos(manifest, root) if split in (belongs, "all")]
    return [image(number, path) for number, path in enumerate(listed)]


def load_enhance(
    model: Path, working_size: int | None = None, threads: int | None = None, upsampling: Upsampling = "local_affine"
) -> Enhance:
    """Return an ``Enhance`` of an ONNX file, or of a checkpoint (.pt) or weights file (.safetensors) run by PyTorch.

    Raises:
        ModelError: the ONNX file cannot be used.
        DataError: the checkpoint cannot be used.
    """
    if model.suffix not in (".pt", ".safetensors"):
        return Enhancer(model, threads=threads, working_size=working_size, upsampling=upsampling)
    import torch

    from lowlight_enhance.training.networks import enhance_with, load_network

    if threads is not None:
        torch.set_num_threads(threads)
    return enhance_with(load_network(model), working_size, upsampling)
