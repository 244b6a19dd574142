"""Comparison of models: strips of their output images, and their inference times."""

from __future__ import annotations

import statistics
import time
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from lowlight_enhance.core.enhancement.enhancer import Enhance
from lowlight_enhance.core.errors import DataError
from lowlight_enhance.core.files import make_folder
from lowlight_enhance.core.metadata.capture import CaptureMetadata
from lowlight_enhance.evaluation.binning import ISO_BINS
from lowlight_enhance.evaluation.metrics import psnr_db
from lowlight_enhance.evaluation.scoring import EvaluationImage
from lowlight_enhance.training.evaluate import load_enhance
from lowlight_enhance.training.figures import canvas

Image = NDArray[np.uint8]

SHOWN_PIXELS = 480
"""Longer side of an image in a strip."""


@dataclass(frozen=True, slots=True)
class Strip:
    """A row of images, (H, W, 3) uint8 RGB of one shape.

    Attributes:
        label: ISO and exposure time of the dark image.
        dark: dark image.
        reference: well-lit image.
        outputs: (image, its PSNR in dB) of each model.
    """

    label: str
    dark: Image
    reference: Image
    outputs: Sequence[tuple[Image, float]]


@dataclass(frozen=True, slots=True)
class ComparisonSettings:
    """How models are compared.

    Attributes:
        scenes: strips of each ISO bin.
        size: height and width in pixels of the timed frame.
        rounds: timed calls of each model.
        threads: CPU threads; None: the frameworks decide.
    """

    scenes: int = 1
    size: int = 256
    rounds: int = 30
    threads: int | None = None


def compare_models(
    models: Sequence[Path], images: Sequence[EvaluationImage], settings: ComparisonSettings, out: Path
) -> list[str]:
    """Draw ``strips.png`` and ``times.png`` into ``out``. Returns a line of text about each.

    Raises:
        DataError: a checkpoint cannot be read, or there are no images.
        ModelError: an ONNX file cannot be used.
    """
    if settings.threads:
        torch.set_num_threads(settings.threads)
    named = zip(canvas.short_names(models), models, strict=True)
    enhance = {name: load_enhance(path, threads=settings.threads) for name, path in named}
    shown = first_images(images, settings.scenes)
    if not shown:
        raise DataError("no images to show: check the manifest, --split and --max-mean")
    make_folder(out)
    draw_strips([make_strip(image, enhance.values()) for image in shown], list(enhance), out / "strips.png")
    size = f"{settings.size}x{settings.size}"
    frame = centre_square(shown[0].load().dark, settings.size)
    times = time_models(enhance, frame, shown[0].capture, settings.rounds)
    draw_times(times, f"a frame of {size}, {settings.rounds} interleaved rounds", out / "times.png")
    medians = ", ".join(f"{name} {statistics.median(found):.1f} ms" for name, found in times.items())
    return [str(out / "strips.png"), f"{out / 'times.png'} (a frame of {size}: {medians})"]


def time_models(
    models: Mapping[str, Enhance], rgb: Image, capture: CaptureMetadata, rounds: int
) -> dict[str, list[float]]:
    """Return milliseconds of each call, from the full-size input to the full-size output.

    Models take turns, so that a slow moment of the machine affects all of them. A first call of each is not timed.
    """
    for enhance in models.values():
        enhance(rgb, capture)
    times: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(rounds):
        for name, enhance in models.items():
            start = time.perf_counter()
            enhance(rgb, capture)
            times[name].append(1000.0 * (time.perf_counter() - start))
    return times


def draw_times(times: Mapping[str, Sequence[float]], title: str, target: Path) -> None:
    """Draw median milliseconds as bars with quartiles."""
    figure, (axes,) = canvas.create_panels(1)
    axes.set(title=title, ylabel="milliseconds per frame, median and quartiles")
    for number, found in enumerate(times.values()):
        middle = statistics.median(found)
        low, high = np.percentile(found, [25.0, 75.0])
        spread = [[middle - low], [high - middle]]
        bar = axes.bar(number, middle, 0.6, color=canvas.color(number), yerr=spread, capsize=4.0)
        axes.bar_label(bar, [f"{middle:.1f}"], padding=3.0)
    axes.set_xticks(range(len(times)), list(times))
    axes.margins(y=0.1)
    canvas.save(figure, target)


def first_images(images: Iterable[EvaluationImage], count: int) -> list[EvaluationImage]:
    """Return the first image of each of the first ``count`` scenes in every ISO bin, so that none is hand-picked.

    Bins are in rising order, unknown ISO last.
    """
    bins: dict[int, dict[str, EvaluationImage]] = {}
    for image in images:
        iso = image.capture.iso
        scenes = bins.setdefault(len(ISO_BINS) if iso is None else bisect_left(ISO_BINS, iso), {})
        if len(scenes) < count:
            scenes.setdefault(image.scene, image)
    return [image for _, scenes in sorted(bins.items()) for image in scenes.values()]


def make_strip(image: EvaluationImage, models: Iterable[Enhance]) -> Strip:
    """Enhance an image with each model. PSNR is that of the full size; shown images are smaller."""
    pair = image.load()
    outputs = [np.asarray(enhance(pair.dark, image.capture), dtype=np.uint8) for enhance in models]
    scored = [(_shrink(output), psnr_db(output, pair.bright)) for output in outputs]
    return Strip(capture_label(image.capture), _shrink(pair.dark), _shrink(pair.bright), scored)


def capture_label(capture: CaptureMetadata) -> str:
    """Return ISO and exposure time in two lines."""
    iso = "ISO unknown" if capture.iso is None else f"ISO {capture.iso:g}"
    return iso if capture.exposure_s is None else f"{iso}\n{capture.exposure_s:.3g} s"


def _shrink(image: Image) -> Image:
    height, width = image.shape[:2]
    scale = SHOWN_PIXELS / max(height, width)
    if scale >= 1.0:
        return image
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def centre_square(image: Image, size: int) -> Image:
    """Return the central square of an image, resized to ``size`` x ``size`` pixels."""
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    middle = image[top : top + side, left : left + side]
    return np.asarray(cv2.resize(middle, (size, size), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def draw_strips(strips: Sequence[Strip], models: Sequence[str], target: Path) -> None:
    """Draw a row for each strip: dark image, reference, and the output of each model."""
    columns = ["dark", "reference", *models]
    heights = [2.5 * strip.dark.shape[0] / strip.dark.shape[1] + 0.4 for strip in strips]
    figure = Figure(figsize=(2.6 * len(columns) + 0.6, sum(heights) + 0.4), layout="constrained")
    grid = figure.subplots(len(strips), len(columns), squeeze=False, height_ratios=heights)
    for row, strip in zip(grid, strips, strict=True):
        outputs = [(image, f"{psnr:.1f} dB") for image, psnr in strip.outputs]
        for axes, (image, caption) in zip(row, [(strip.dark, ""), (strip.reference, ""), *outputs], strict=True):
            axes.imshow(image)
            axes.set(xticks=[], yticks=[], xlabel=caption)
        row[0].set_ylabel(strip.label)
    for axes, title in zip(grid[0], columns, strict=True):
        axes.set_title(title, fontsize="medium")
    canvas.save(figure, target)
