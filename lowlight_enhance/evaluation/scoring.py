"""Score an ``Enhance`` on dark images with references, at full size, optionally with wrong capture metadata.

Checkpoints that need PyTorch arrive here as an ``Enhance`` like every other model, so this package does not import it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from lowlight_enhance.core.enhancement.enhancer import Enhance
from lowlight_enhance.core.errors import DataError
from lowlight_enhance.core.metadata.capture import UNKNOWN, CaptureMetadata
from lowlight_enhance.evaluation import artifact_metrics, metrics
from lowlight_enhance.evaluation.binning import ISO_BINS, by_bin

Image = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class ImagePair:
    """A dark image and its reference, both (H, W, 3) uint8 RGB, and the capture metadata of the dark one."""

    dark: Image
    bright: Image
    capture: CaptureMetadata


@dataclass(frozen=True, slots=True)
class EvaluationImage:
    """A dark image with a reference, loaded when it is needed.

    Attributes:
        name: for reports.
        scene: images of one scene count once together in means over scenes.
        capture: metadata of the dark image.
        load: reads both images.
    """

    name: str
    scene: str
    capture: CaptureMetadata
    load: Callable[[], ImagePair]


@dataclass(frozen=True, slots=True)
class Scores:
    """Metrics of one image against its reference, or means of them.

    Attributes:
        psnr: ``metrics.psnr_db``.
        psnr_gt_mean: ``metrics.gt_mean_psnr_db``.
        ssim: ``metrics.ssim``.
        l1: ``metrics.l1``.
        hue_deg: ``metrics.hue_error_deg``.
        cast_a: ``artifact_metrics.color_cast`` in CIELAB a*.
        cast_b: the same in b*.
        dark_ssim: ``artifact_metrics.dark_region_ssim``.
        noise_ratio: ``artifact_metrics.noise_ratio``.
        clipped_excess: ``artifact_metrics.clipped_excess``.
    """

    psnr: float
    psnr_gt_mean: float
    ssim: float
    l1: float
    hue_deg: float
    cast_a: float
    cast_b: float
    dark_ssim: float
    noise_ratio: float
    clipped_excess: float


@dataclass(frozen=True, slots=True)
class ScoredImage:
    """Scores of one image.

    Attributes:
        image: the image.
        dark_mean: mean of the dark image over all channels, 0..255.
        before: scores of the dark image.
        after: scores of the enhanced image.
        withheld: scores of the image enhanced without capture metadata; None outside the metadata test.
        shuffled: scores of the image enhanced with the metadata of another image; None outside the metadata test.
    """

    image: EvaluationImage
    dark_mean: float
    before: Scores
    after: Scores
    withheld: Scores | None = None
    shuffled: Scores | None = None

    @property
    def iso(self) -> float | None:
        """ISO of the dark image."""
        return self.image.capture.iso

    @property
    def exposure_s(self) -> float | None:
        """Exposure time of the dark image in seconds."""
        return self.image.capture.exposure_s


METADATA_TEST = {"true": "after", "withheld": "withheld", "shuffled": "shuffled"}
"""Variants of the metadata test and the attribute of ``ScoredImage`` that holds their scores."""


def score_image(image: Image, reference: Image) -> Scores:
    """Compute all metrics of an (H, W, 3) uint8 RGB image.

    Raises:
        ImageError: the images differ in size.
    """
    cast_a, cast_b = artifact_metrics.color_cast(image, reference)
    return Scores(
        psnr=metrics.psnr_db(image, reference),
        psnr_gt_mean=metrics.gt_mean_psnr_db(image, reference),
        ssim=metrics.ssim(image, reference),
        l1=metrics.l1(image, reference),
        hue_deg=metrics.hue_error_deg(image, reference),
        cast_a=cast_a,
        cast_b=cast_b,
        dark_ssim=artifact_metrics.dark_region_ssim(image, reference),
        noise_ratio=artifact_metrics.noise_ratio(image, reference),
        clipped_excess=artifact_metrics.clipped_excess(image, reference),
    )


def score_images(
    images: Sequence[EvaluationImage], enhance: Enhance, metadata_test: bool = False, seed: int = 0
) -> list[ScoredImage]:
    """Enhance and score every image.

    Args:
        images: dark images with references.
        enhance: the model.
        metadata_test: also enhance each image with known metadata without it, and with the metadata of another image.
        seed: seed of the choice of the other image.

    Raises:
        DataError: no images, or a metadata test of images whose metadata do not differ.
    """
    if not images:
        raise DataError("no images to evaluate: check the manifest, --split and --max-mean")
    shuffled = shuffled_captures([image.capture for image in images], seed) if metadata_test else [None] * len(images)
    return [_scored(image, capture, enhance) for image, capture in zip(images, shuffled, strict=True)]


def _scored(image: EvaluationImage, shuffled: CaptureMetadata | None, enhance: Enhance) -> ScoredImage:
    pair = image.load()

    def scores(capture: CaptureMetadata) -> Scores:
        return score_image(enhance(pair.dark, capture), pair.bright)

    return ScoredImage(
        image,
        float(pair.dark.mean()),
        score_image(pair.dark, pair.bright),
        scores(image.capture),
        None if shuffled is None else scores(UNKNOWN),
        None if shuffled is None else scores(shuffled),
    )


def shuffled_captures(captures: Sequence[CaptureMetadata], seed: int) -> list[CaptureMetadata | None]:
    """Draw for each capture a different one among the others; None where the capture is unknown.

    Raises:
        DataError: fewer than two different captures are known.
    """
    known = [capture for capture in captures if not capture.is_unknown]
    if len(set(known)) < 2:
        raise DataError(
            f"a metadata test compares images of different ISO or exposure time; {len(known)} of these "
            f"{len(captures)} images have known metadata, and no two differ: give --photos several values "
            "(--iso 200 800 6400), or --pairs with a manifest that holds them"
        )
    rng = np.random.default_rng(seed)

    def draw(capture: CaptureMetadata) -> CaptureMetadata | None:
        different = [candidate for candidate in known if candidate != capture]
        return None if capture.is_unknown else different[rng.integers(len(different))]

    return [draw(capture) for capture in captures]


def mean_over_scenes(scored: Iterable[ScoredImage], variant: str = "after") -> Scores:
    """Return the mean over the images of each scene, then over the scenes, so that no scene counts twice.

    NaN is left out.

    Args:
        scored: scored images.
        variant: attribute of ``ScoredImage``; images without that variant are left out.
    """
    scenes: dict[str, list[Scores]] = {}
    for entry in scored:
        found = getattr(entry, variant)
        if found is not None:
            scenes.setdefault(entry.image.scene, []).append(found)
    names = [field.name for field in fields(Scores)]
    return Scores(
        **{name: nan_mean(nan_mean(getattr(s, name) for s in of_one) for of_one in scenes.values()) for name in names}
    )


def nan_mean(values: Iterable[float]) -> float:
    """Return the mean without NaN; NaN if nothing is left."""
    kept = [value for value in values if not math.isnan(value)]
    return float(np.mean(kept)) if kept else math.nan


def darkest_fifth(scored: Sequence[ScoredImage]) -> list[ScoredImage]:
    """Return the fifth of the images, at least one, with the darkest input."""
    return sorted(scored, key=lambda entry: entry.dark_mean)[: max(1, len(scored) // 5)]


def metadata_groups(scored: Sequence[ScoredImage]) -> dict[str, list[ScoredImage]]:
    """Return the images of the metadata test by ISO bin, and all of them as ``all``; empty without the test."""
    tested = [entry for entry in scored if entry.withheld]
    return {**by_bin(tested, lambda entry: entry.iso, ISO_BINS), "all": tested} if tested else {}
