"""Settings of a recipe: data, networks in the order of their training, files to export, and the evaluation."""

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
from lowlight_enhance.training.train_student import TrainStudentConfig
from lowlight_enhance.training.train_teacher import TrainTeacherConfig

MODELS, EVALUATION = "models", "evaluation"
"""Folders of the last two stages below a run. Those of the trainings have the names of the networks."""

INPUT = "input"
"""Name of the dark images in the table of the evaluation."""

TrainingConfig = TrainTeacherConfig | DistillConfig | TrainStudentConfig

TRAINING_CONFIGS: dict[str, type[TrainingConfig]] = {
    "train-teacher": TrainTeacherConfig,
    "distill": DistillConfig,
    "train-student": TrainStudentConfig,
}
"""Settings of each training command."""


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
class TrainingStage:
    """Training of a network.

    Attributes:
        name: of the network, and of its folder below the run.
        command: command of ``lowlight`` that trains it.
        config: YAML file with the settings of that command; None: its defaults.
        teacher: ``distill``: name of the network that is distilled, which an earlier stage trains.
        init: name of the network whose weights the training starts from, which an earlier stage trains; None: random
            weights.
    """

    name: str
    command: Literal["train-teacher", "distill", "train-student"]
    config: str | None = None
    teacher: str | None = None
    init: str | None = None

    def __post_init__(self) -> None:
        if not self.name or Path(self.name).name != self.name or self.name in (MODELS, EVALUATION):
            raise ConfigError(f"name '{self.name}' must be a folder name other than {MODELS} and {EVALUATION}")
        if (self.command == "distill") != (self.teacher is not None):
            raise ConfigError(f"{self.name}: a teacher belongs to the command distill, and to no other")
        if self.init is not None and self.command == "train-teacher":
            raise ConfigError(f"{self.name}: train-teacher starts from random weights and takes no init")

    def settings(self) -> TrainingConfig:
        """Read the settings of the training.

        Raises:
            ConfigError: the file cannot be read, or a setting is invalid.
        """
        return load_config(TRAINING_CONFIGS[self.command], None if self.config is None else Path(self.config))


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """An ONNX file to export.

    Attributes:
        name: file name without suffix.
        network: name of the network in the file.
        precision: of weights and arithmetic.
        working_size: shorter side in pixels of the network's copy of a frame; None: as trained.
        float_tail: int8: convolutions at the end that stay in float32.
    """

    name: str
    network: str = "student"
    precision: Literal["fp32", "fp16", "int8"] = "fp32"
    working_size: int | None = None
    float_tail: int = 1

    def __post_init__(self) -> None:
        if not self.name or Path(self.name).name != self.name:
            raise ConfigError(f"name '{self.name}' must be a file name without a folder and suffix")
        if self.name == INPUT:
            raise ConfigError(f"name '{INPUT}' is that of the dark images in the table; choose another")
        check_range(self, 1, math.inf, "float_tail")
        if self.working_size is not None:
            check_range(self, 0, MAX_SIDE, "working_size")


@dataclass(frozen=True, slots=True)
class ExportConfig:
    """Files that the export writes.

    Attributes:
        models: ONNX files.
        weights: networks whose float32 weights are written as a safetensors file of the same name.
        limits: largest loss of files of reduced precision.
        calibration: manifest of the frames that calibrate int8 and measure the loss; None: frames of the training
            pictures.
        calibration_seed: seed of the frames that are simulated from the training pictures.
    """

    models: tuple[ModelConfig, ...] = ()
    weights: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)
    calibration: str | None = None
    calibration_seed: int = 0

    def __post_init__(self) -> None:
        names = [model.name for model in self.models]
        if len(set(names)) < len(names):
            raise ConfigError(f"models must have different names, found {names}")
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

    def __post_init__(self) -> None:
        names = [self.pairs_name(manifest) for manifest in self.pairs]
        names += [self.photos_name(manifest, light) for manifest in self.photos for light in self.exposures]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ConfigError(
                f"evaluation: two rows of the table would have the name '{twice[0]}'; list manifests with different "
                "file names, and each exposure once"
            )
        if self.photos and not self.exposures:
            raise ConfigError("evaluation: photos need at least one of exposures")

    @property
    def has_manifests(self) -> bool:
        """Whether there is anything to evaluate; otherwise the stage is skipped."""
        return bool(self.pairs or self.photos)

    def pairs_name(self, manifest: str) -> str:
        """Return the name of a manifest of pairs in the table."""
        return f"{Path(manifest).stem}, {self.split}"

    def photos_name(self, manifest: str, light: ExposureConfig) -> str:
        """Return the name of a manifest of photographs in one light in the table."""
        return f"{Path(manifest).stem}, {self.split}, {light.stops:g} stops, ISO {light.iso:g}"


@dataclass(frozen=True, slots=True)
class RecipeConfig:
    """A recipe.

    Attributes:
        data: training pictures.
        networks: trainings, in their order.
        export: files to write.
        evaluation: table of scores.
    """

    data: DataSourcesConfig = field(default_factory=DataSourcesConfig)
    networks: tuple[TrainingStage, ...] = ()
    export: ExportConfig = field(default_factory=ExportConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)

    def __post_init__(self) -> None:
        trained: set[str] = set()
        for stage in self.networks:
            if stage.name in trained:
                raise ConfigError(f"networks: there are two of the name '{stage.name}'")
            for role, name in (("teacher", stage.teacher), ("init", stage.init)):
                if name is not None and name not in trained:
                    raise ConfigError(f"networks: the {role} '{name}' of '{stage.name}' is not trained before it")
            trained.add(stage.name)
        for name in (*(model.network for model in self.export.models), *self.export.weights):
            if name not in trained:
                raise ConfigError(f"export: no network '{name}'; networks: {', '.join(sorted(trained)) or 'none'}")

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
        names = [*data.pairs, *data.photos, *data.unlabelled, *evaluation.pairs, *evaluation.photos]
        if self.export.calibration is not None:
            names.append(self.export.calibration)
        return [Path(name) for name in dict.fromkeys(names)]


def load_recipe(path: Path) -> RecipeConfig:
    """Return the recipe in a YAML file. Files that it names are relative to its folder.

    Raises:
        ConfigError: a file cannot be read, a setting is invalid, or the recipe exports no model.
    """
    config = load_config(RecipeConfig, path)
    if not config.export.models:
        raise ConfigError(f"{path}: export: models must list at least one file")

    def relative(names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(str(path.parent / name) for name in names)

    def located(stage: TrainingStage) -> TrainingStage:
        return stage if stage.config is None else replace(stage, config=str(path.parent / stage.config))

    data, export, evaluation = config.data, config.export, config.evaluation
    if export.calibration is not None:
        export = replace(export, calibration=str(path.parent / export.calibration))
    recipe = replace(
        config,
        data=DataSourcesConfig(relative(data.pairs), relative(data.photos), relative(data.unlabelled)),
        networks=tuple(map(located, config.networks)),
        export=export,
        evaluation=replace(evaluation, pairs=relative(evaluation.pairs), photos=relative(evaluation.photos)),
    )
    for stage in recipe.networks:
        stage.settings()  # so that an invalid setting is found before the first training
    return recipe
