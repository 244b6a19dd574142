"""Settings of a recipe: one section for each stage."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from lowlight_enhance.core.errors import ConfigError
from lowlight_enhance.core.inference.model_input import MAX_SIDE
from lowlight_enhance.training.config import check_range, load_config
from lowlight_enhance.training.data.config import MOST_STOPS
from lowlight_enhance.training.data.pictures import Sources
from lowlight_enhance.training.distill import DistillConfig
from lowlight_enhance.training.export.reduced_precision import Limits
from lowlight_enhance.training.train_teacher import TrainTeacherConfig

Student = Literal["student", "tiny"]
"""A stage that trains a network to export."""


@dataclass(frozen=True, slots=True)
class DataSourcesConfig:
    """Manifests of the training pictures.

    Attributes:
        pairs: manifests of real pairs.
        photos: manifests of well-exposed photographs.
        unlabelled: manifests of dark pictures without reference, for distillation.
    """

    pairs: tuple[str, ...] = ()
    photos: tuple[str, ...] = ()
    unlabelled: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """An ONNX file to export.

    Attributes:
        name: file name without suffix.
        network: stage whose network it holds.
        precision: of weights and arithmetic.
        working_size: shorter side in pixels of the network's copy of a frame; None: as trained.
        float_tail: int8: convolutions at the end that stay in float32.
    """

    name: str
    network: Student = "student"
    precision: Literal["fp32", "fp16", "int8"] = "fp32"
    working_size: int | None = None
    float_tail: int = 1

    def __post_init__(self) -> None:
        if not self.name or Path(self.name).name != self.name:
            raise ConfigError(f"name '{self.name}' must be a file name without a folder and suffix")
        check_range(self, 1, math.inf, "float_tail")
        if self.working_size is not None:
            check_range(self, 0, MAX_SIDE, "working_size")


@dataclass(frozen=True, slots=True)
class ExportConfig:
    """Files that the export writes.

    Attributes:
        models: ONNX files.
        weights: stages whose float32 weights are written as a safetensors file, named after the stage.
        limits: largest loss of files of reduced precision.
        calibration_seed: seed of the simulated frames that calibrate int8.
    """

    models: tuple[ModelConfig, ...] = (ModelConfig("student"), ModelConfig("student_int8", precision="int8"))
    weights: tuple[Student, ...] = ("student",)
    limits: Limits = field(default_factory=Limits)
    calibration_seed: int = 0

    def __post_init__(self) -> None:
        names = [model.name for model in self.models]
        if not names or len(set(names)) < len(names):
            raise ConfigError(f"models must list at least one file, each with its own name, found {names}")
        check_range(self, 0, math.inf, "calibration_seed")


@dataclass(frozen=True, slots=True)
class ExposureConfig:
    """Simulated light of an evaluation: under-exposure in stops, and ISO."""

    stops: float = 3.0
    iso: float = 800.0

    def __post_init__(self) -> None:
        check_range(self, 0.0, MOST_STOPS, "stops")
        check_range(self, 1.0, 1e7, "iso")


@dataclass(frozen=True, slots=True)
class EvaluationConfig:
    """Data of the evaluation table.

    Attributes:
        pairs: manifests of real pairs.
        photos: manifests of photographs, which are darkened.
        split: rows that are evaluated. ``test`` is read here and nowhere before.
        exposures: light of the darkened photographs.
    """

    pairs: tuple[str, ...] = ()
    photos: tuple[str, ...] = ()
    split: Literal["val", "test"] = "test"
    exposures: tuple[ExposureConfig, ...] = (ExposureConfig(),)


@dataclass(frozen=True, slots=True)
class RecipeConfig:
    """All models of a recipe.

    Attributes:
        data: training pictures.
        teacher: first stage, as ``lowlight train-teacher``.
        student: second stage, as ``lowlight distill``.
        tiny: a smaller student of the same teacher; None: no such stage.
        export: files to write.
        evaluation: table of scores.
    """

    data: DataSourcesConfig = field(default_factory=DataSourcesConfig)
    teacher: TrainTeacherConfig = field(default_factory=TrainTeacherConfig)
    student: DistillConfig = field(default_factory=DistillConfig)
    tiny: DistillConfig | None = None
    export: ExportConfig = field(default_factory=ExportConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)

    def __post_init__(self) -> None:
        used = {model.network for model in self.export.models} | set(self.export.weights)
        if self.tiny is None and "tiny" in used:
            raise ConfigError("export: there is no network 'tiny' without a section tiny")

    def sources(self, root: Path | None) -> Sources:
        """Return the manifests of the training pictures, whose files are relative to ``root``."""
        pairs, photos, unlabelled = (
            [Path(name) for name in names] for names in (self.data.pairs, self.data.photos, self.data.unlabelled)
        )
        return Sources(pairs, photos, unlabelled, root)

    @property
    def manifests(self) -> list[Path]:
        """All manifests, each once."""
        data, evaluation = self.data, self.evaluation
        names = (*data.pairs, *data.photos, *data.unlabelled, *evaluation.pairs, *evaluation.photos)
        return [Path(name) for name in dict.fromkeys(names)]


def load_recipe(path: Path) -> RecipeConfig:
    """Return the recipe in a YAML file, with the manifests relative to the folder of that file.

    Raises:
        ConfigError: the file cannot be read, or a setting is invalid.
    """
    config = load_config(RecipeConfig, path)

    def relative(names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(str(path.parent / name) for name in names)

    data, evaluation = config.data, config.evaluation
    return replace(
        config,
        data=DataSourcesConfig(relative(data.pairs), relative(data.photos), relative(data.unlabelled)),
        evaluation=replace(evaluation, pairs=relative(evaluation.pairs), photos=relative(evaluation.photos)),
    )
