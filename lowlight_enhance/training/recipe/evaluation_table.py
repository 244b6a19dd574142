"""Table of the scores of several models on several data sets."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from lowlight_enhance.core.errors import DataError
from lowlight_enhance.core.files import write_text
from lowlight_enhance.evaluation.json_values import without_nan
from lowlight_enhance.evaluation.scoring import EvaluationImage, Scores, mean_over_scenes, score_images
from lowlight_enhance.training import evaluate
from lowlight_enhance.training.recipe.config import INPUT, EvaluationConfig

Results = Mapping[str, Mapping[str, Scores]]
"""Scores by data set and model."""


def check_evaluation(config: EvaluationConfig, root: Path | None) -> None:
    """Check before the trainings that the manifests can be read and have rows of the split.

    Args:
        config: data of the table. Without any manifest there is nothing to check.
        root: folder to which the files in the manifests are relative; None: the folder of each manifest.

    Raises:
        DataError: a manifest cannot be read, or none has rows of the split.
    """
    if config.has_manifests:
        _data_sets(config, root)


def write_evaluation(config: EvaluationConfig, root: Path | None, models: Sequence[Path], out: Path) -> None:
    """Score models, and write ``table.md`` and ``scores.json`` into ``out``.

    Args:
        config: data of the table.
        root: folder to which the files in the manifests are relative; None: the folder of each manifest.
        models: ONNX files.
        out: existing folder.

    Raises:
        DataError: as ``check_evaluation``, an image cannot be read, or ``out`` cannot be written.
        ModelError: a model cannot be used.
    """
    results: dict[str, dict[str, Scores]] = {}
    for name, images in _data_sets(config, root).items():
        row: dict[str, Scores] = {}
        for model in models:
            scored = score_images(images, evaluate.load_enhance(model))
            row.setdefault(INPUT, mean_over_scenes(scored, "before"))
            row[model.stem] = mean_over_scenes(scored)
        results[name] = row
    values = {name: {model: asdict(scores) for model, scores in row.items()} for name, row in results.items()}
    write_text(out / "scores.json", json.dumps(without_nan(values), indent=1) + "\n")
    write_text(out / "table.md", f"{markdown_table(results)}\n")


def markdown_table(results: Results) -> str:
    """Return PSNR in dB and SSIM of each model on each data set as a Markdown table."""
    models = list(next(iter(results.values())))
    lines = [f"| PSNR dB / SSIM | {' | '.join(models)} |", f"|---|{'---|' * len(models)}"]
    for name, row in results.items():
        cells = [f"{row[model].psnr:.2f} / {row[model].ssim:.3f}" for model in models]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _data_sets(config: EvaluationConfig, root: Path | None) -> dict[str, Sequence[EvaluationImage]]:
    """Return the data sets that have rows of the split, by their names in the table.

    Raises:
        DataError: a manifest cannot be read, or none has rows of the split.
    """
    found: dict[str, Sequence[EvaluationImage]] = {}
    for manifest in config.pairs:
        found[config.pairs_name(manifest)] = evaluate.real_images(Path(manifest), config.split, root=root)
    for manifest in config.photos:
        for light in config.exposures:
            images = evaluate.darkened_images(Path(manifest), light.stops, [light.iso], config.split, root=root)
            found[config.photos_name(manifest, light)] = images
    found = {name: images for name, images in found.items() if images}
    if not found:
        raise DataError(
            f"no images to evaluate: no manifest of the evaluation has rows of the split '{config.split}'; choose "
            "another split, or list no manifests to skip the evaluation"
        )
    return found
