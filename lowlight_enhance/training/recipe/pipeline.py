"""Run a recipe: check the manifests, train the networks, export and evaluate.

Every stage writes a folder below that of the run. The same command continues a stopped run, also in the middle of a
training. A checkpoint that a single command such as ``lowlight train-teacher`` wrote with the same settings into the
folder of a stage is used as if the recipe had written it.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from accelerate.state import AcceleratorState

from lowlight_enhance.core.errors import ConfigError, DataError
from lowlight_enhance.training.data.pictures import Sources
from lowlight_enhance.training.data.verification import check_manifests, sha256_of
from lowlight_enhance.training.distill import DistillConfig, distill
from lowlight_enhance.training.export.calibration import CalibrationFrame, listed_frames, training_frames
from lowlight_enhance.training.export.onnx_export import export
from lowlight_enhance.training.export.reduced_precision import MAX_FRAMES, Limits, Reduction
from lowlight_enhance.training.export.weights import SUFFIX, write_weights
from lowlight_enhance.training.networks import load_checkpoint
from lowlight_enhance.training.recipe.config import EVALUATION, MODELS, ModelConfig, RecipeConfig, TrainingStage
from lowlight_enhance.training.recipe.evaluation_table import check_evaluation, write_evaluation
from lowlight_enhance.training.recipe.stages import run_stage
from lowlight_enhance.training.train_student import TrainStudentConfig, train_student
from lowlight_enhance.training.train_teacher import TrainTeacherConfig, train_teacher

Log = Callable[[str], None]

CHECKPOINT = "last.pt"
"""The averaged weights of the last step: the seed determines them, while ``best.pt`` depends on the validation."""


def run_recipe(config: RecipeConfig, root: Path | None, out: Path, log: Log = print) -> Path | None:
    """Run all stages of a recipe, or continue them.

    Args:
        config: the recipe.
        root: folder to which the files in the manifests are relative; None: the folder of each manifest.
        out: folder of the run.
        log: takes a line about each stage.

    Returns:
        The table of the evaluation, a Markdown file; None if the evaluation lists no manifest and is skipped.

    Raises:
        ConfigError: settings that do not fit each other, or several processes.
        DataError: files that differ from the manifests, an evaluation without rows of its split, or a folder of a run
            with other settings or data.
        ModelError: an exported file loses too much.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError("a recipe runs in one process; for several GPUs run the stages as commands of their own")
    _check_data(config, root, log)
    check_evaluation(config.evaluation, root)
    sources = config.sources(root)
    for stage in config.networks:
        _train(stage, sources, out, log)
    _export(config, sources, out, log)
    return _evaluate(config, root, out, log)


def _check_data(config: RecipeConfig, root: Path | None, log: Log) -> None:
    checked = check_manifests(config.manifests, root)
    for problem in checked.problems:
        log(problem)
    if count := len(checked.problems):
        more = f" and {count - 1} more" if count > 1 else ""
        raise DataError(
            f"{checked.problems[0]}{more}; restore the files, or write manifests with: lowlight dataset make"
        )
    log(f"data: {checked.files} files are as the manifests list them")


def _hashes(paths: Iterable[Path]) -> list[list[str]]:
    """Return name and hash of each file. Folders are left out, so a run may be moved together with its data."""
    return [[path.name, sha256_of(path)] for path in paths]


def _manifest_hashes(sources: Sources) -> list[list[str]]:
    return _hashes([*sources.pairs, *sources.photos, *sources.unlabelled])


def _train(stage: TrainingStage, sources: Sources, out: Path, log: Log) -> None:
    folder, settings = out / stage.name, stage.settings()
    if not (isinstance(settings, DistillConfig) and settings.data.unlabelled):
        sources = dataclasses.replace(sources, unlabelled=())
    inputs = {"config": dataclasses.asdict(settings), "manifests": _manifest_hashes(sources)}
    teacher, init = (None if name is None else out / name / CHECKPOINT for name in (stage.teacher, stage.init))
    inputs |= {role: sha256_of(path) for role, path in (("teacher", teacher), ("init", init)) if path is not None}

    def action() -> None:
        _prepare_training(folder, log)
        start = None if init is None else load_checkpoint(init)
        if isinstance(settings, TrainTeacherConfig):
            train_teacher(settings, sources, folder)
        elif isinstance(settings, TrainStudentConfig):
            train_student(settings, sources, folder, start)
        else:
            assert teacher is not None
            distill(settings, load_checkpoint(teacher), sources, folder, start)

    run_stage(folder, inputs, action, log)


def _prepare_training(out: Path, log: Log) -> None:
    """Log the checkpoint that a training continues from, and let the training choose its own precision.

    The checkpoint may come from a single command. Accelerate keeps the precision of
    the first ``Accelerator`` of a process.
    """
    if (out / CHECKPOINT).exists():
        log(f"{out.name}: continues from {out / CHECKPOINT}")
    AcceleratorState._reset_state(reset_partial_state=True)


def _export(config: RecipeConfig, sources: Sources, out: Path, log: Log) -> None:
    folder = out / MODELS
    checkpoints = {stage.name: out / stage.name / CHECKPOINT for stage in config.networks}
    data = {stage.name: stage.settings().data for stage in config.networks}
    calibration = None if config.export.calibration is None else Path(config.export.calibration)

    def action() -> None:
        listed = None if calibration is None else listed_frames(calibration, sources.root)
        for model in config.export.models:
            frames = listed
            if frames is None:
                frames = training_frames(sources, data[model.network], MAX_FRAMES, config.export.calibration_seed)
            log(_export_model(model, frames, config.export.limits, checkpoints[model.network], folder))
        for name in config.export.weights:
            write_weights(load_checkpoint(checkpoints[name]), folder / f"{name}{SUFFIX}")
            log(f"{folder / name}{SUFFIX}")

    inputs: dict[str, Any] = {
        "config": {**dataclasses.asdict(config.export), "calibration": None},  # the hash below stands for the path
        "manifests": _hashes([*sources.pairs, *sources.photos] if calibration is None else [calibration]),
        "networks": {name: sha256_of(path) for name, path in checkpoints.items()},
    }
    run_stage(folder, inputs, action, log, redo=True)


def _export_model(
    model: ModelConfig, frames: Sequence[CalibrationFrame], limits: Limits, checkpoint: Path, folder: Path
) -> str:
    """Write an ONNX file, and return a line about it."""
    reduction = None if model.precision == "fp32" else Reduction(model.precision, frames, limits, model.float_tail)
    target = folder / f"{model.name}.onnx"
    exported = export(load_checkpoint(checkpoint), target, reduction=reduction, working_size=model.working_size)
    return f"{target}" if exported.fidelity is None else f"{target}: {exported.fidelity}"


def _evaluate(config: RecipeConfig, root: Path | None, out: Path, log: Log) -> Path | None:
    folder = out / EVALUATION
    models = [out / MODELS / f"{model.name}.onnx" for model in config.export.models]
    evaluation = config.evaluation
    if not evaluation.has_manifests:
        log(f"{EVALUATION}: skipped, because the recipe lists no manifest for it")
        return None
    inputs = {
        "exposures": [dataclasses.asdict(exposure) for exposure in evaluation.exposures],
        "split": evaluation.split,
        "manifests": _hashes(map(Path, (*evaluation.pairs, *evaluation.photos))),
        "models": _hashes(models),
    }
    run_stage(folder, inputs, lambda: write_evaluation(evaluation, root, models, folder), log, redo=True)
    return folder / "table.md"
