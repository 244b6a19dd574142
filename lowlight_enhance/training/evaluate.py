"""Scores of the file that ships: PSNR and SSIM of any ``Enhance`` at native size, beside those of the dark input."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

from lowlight_enhance.core.capture import CaptureMetadata
from lowlight_enhance.core.darken import SENSORS, DarkExposure, darken
from lowlight_enhance.core.enhancer import Enhance
from lowlight_enhance.training.dataset import LoadedPair, Picture, load_pairs, load_rgb, read_pairs, read_photos


@dataclass(frozen=True, slots=True)
class Score:
    """Mean PSNR in dB and mean SSIM (data range 1) of some pictures against their references."""

    psnr: float
    ssim: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Means over scenes: first over the frames of a scene, then over the scenes, so that no scene counts twice."""

    frames: int
    scenes: int
    before: Score
    after: Score


def score(picture: Picture, reference: Picture) -> tuple[float, float]:
    """(PSNR in dB, SSIM) of two (H, W, 3) uint8 pictures; torchmetrics' functionals with data range 1."""
    a, b = (_tensor(p) for p in (picture, reference))
    psnr = float(peak_signal_noise_ratio(a, b, data_range=1.0))
    return min(psnr, 100.0), float(structural_similarity_index_measure(a, b, data_range=1.0))  # type: ignore[arg-type]


def evaluate(frames: Iterable[tuple[str, LoadedPair]], enhance: Enhance) -> Evaluation:
    """Score ``enhance`` on (scene, pair) frames."""
    before: dict[str, list[tuple[float, float]]] = {}
    after: dict[str, list[tuple[float, float]]] = {}
    for scene, pair in frames:
        before.setdefault(scene, []).append(score(pair.dark, pair.bright))
        after.setdefault(scene, []).append(score(enhance(pair.dark, pair.capture), pair.bright))
    return Evaluation(sum(map(len, after.values())), len(after), _over_scenes(before), _over_scenes(after))


def real_frames(index: Path, split: str = "val", max_mean: float = 255.0) -> Iterator[tuple[str, LoadedPair]]:
    """(scene, pair) of the pairs in a CSV that belong to ``split`` and whose dark frame's mean is small enough."""
    pairs = [pair for pair in read_pairs(index) if split in (pair.split, "all")]
    for pair in pairs:
        (loaded,) = load_pairs([pair])
        if loaded.dark.mean() <= max_mean:
            yield pair.scene, loaded


def darkened_frames(
    index: Path,
    stops: float,
    iso: float,
    split: str = "val",
    sensor: str = "SonyA7S2",
    exposure_s: float = 1 / 60,
    seed: int = 0,
) -> Iterator[tuple[str, LoadedPair]]:
    """(file, pair) of photographs in a CSV, each darkened by ``stops`` with the noise of ``iso``."""
    capture = CaptureMetadata(iso, exposure_s)
    exposure = DarkExposure(stops, capture, SENSORS[sensor])
    for number, (path, belongs) in enumerate(read_photos(index)):
        if split in (belongs, "all"):
            bright = load_rgb(path)
            yield (
                path.name,
                LoadedPair(darken(bright, exposure, np.random.default_rng([seed, number])), bright, capture),
            )


def table(rows: Sequence[tuple[str, Evaluation]], write: Callable[[str], None] = print) -> None:
    """One line a set: frames, scenes, PSNR and SSIM before and after."""
    write(
        f"{'set':<28} {'frames':>6} {'scenes':>6}   {'input':>13}   {'enhanced':>13}   (PSNR dB / SSIM, over scenes)"
    )
    for name, result in rows:
        before, after = (f"{s.psnr:7.2f} /{s.ssim:.3f}" for s in (result.before, result.after))
        write(f"{name:<28} {result.frames:>6} {result.scenes:>6}   {before:>13}   {after:>13}")


def _over_scenes(scores: dict[str, list[tuple[float, float]]]) -> Score:
    means = np.array([np.mean(values, axis=0) for values in scores.values()])
    psnr, ssim = means.mean(axis=0) if len(means) else (float("nan"),) * 2
    return Score(float(psnr), float(ssim))


def _tensor(picture: Picture) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))[None].float() / 255.0
