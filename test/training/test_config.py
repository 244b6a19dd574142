import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from lowlight_enhance.core.errors import ConfigError
from lowlight_enhance.training.config import check_range, load_config
from lowlight_enhance.training.data.config import check_sizes
from lowlight_enhance.training.distill import DistillConfig
from lowlight_enhance.training.train_student import TrainStudentConfig
from lowlight_enhance.training.train_teacher import TrainTeacherConfig


@dataclass(frozen=True)
class Inner:
    rate: float = 0.5
    widths: tuple[int, ...] = (1, 2)
    limits: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        check_range(self, 0.0, 9.0, "rate")
        check_range(self, 1, math.inf, "widths")


@dataclass(frozen=True)
class Needed:
    width: int
    height: int
    depth: int = 1


@dataclass(frozen=True)
class Outer:
    steps: int = 10
    name: str | None = None
    fast: bool = False
    inner: Inner = field(default_factory=Inner)
    boxes: tuple[Needed, ...] = ()


def read(tmp_path: Path, text: str) -> Outer:
    path = tmp_path / "run.yaml"
    path.write_text(text)
    return load_config(Outer, path)


def test_a_file_holds_only_differences(tmp_path: Path) -> None:
    assert read(tmp_path, "") == Outer()
    assert load_config(Outer, None) == Outer()
    got = read(tmp_path, "steps: 3\nname: a\ninner: {rate: 1, widths: [4, 5, 6]}")
    assert got == Outer(steps=3, name="a", inner=Inner(rate=1.0, widths=(4, 5, 6)))
    assert read(tmp_path, "inner:\nsteps: 3") == Outer(steps=3)


@pytest.mark.parametrize(("text", "number"), [("1e-5", 1e-5), ("1.0e-5", 1e-5), ("5E-1", 0.5), (".5", 0.5)])
def test_numbers_are_read_as_they_are_written_elsewhere(tmp_path: Path, text: str, number: float) -> None:
    assert read(tmp_path, f"inner: {{rate: {text}}}").inner.rate == number


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("stepps: 3", "unknown key 'stepps'; did you mean 'steps'"),
        ("inner: {rates: 3}", "inner: unknown key 'rates'; did you mean 'rate'"),
        ("steps: many", "steps: expected int, found 'many'"),
        ("fast: 1", "fast: expected bool"),
        ("steps: true", "steps: expected int"),
        ("inner: 3", "inner: expected a mapping"),
        ("inner: {limits: [1, 2, 3]}", "limits: expected 2 values, found 3"),
        ("inner: {widths: [1, x]}", r"widths\[1\]: expected int"),
        ("inner: {rate: fast}", "inner: rate: expected float, found 'fast'"),
        ("inner: {rate: -1}", r"run\.yaml: inner: rate must be from 0 to 9, found -1"),
        ("inner: {rate: .nan}", "rate must be from 0 to 9, found nan"),
        ("inner: {widths: []}", r"widths must be 1 or more, found \[\]"),
        ("inner: {widths: [3, 0]}", r"widths must be 1 or more, found \[3, 0\]"),
        ("boxes: [{width: 3}]", r"run\.yaml: boxes\[0\]: height missing; it needs width, height, depth"),
        ("[]", "expected a mapping of Outer's settings"),
        ("a: [", "not valid YAML"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        read(tmp_path, text)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml"):
        load_config(Outer, tmp_path / "none.yaml")


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_bytes(b"name: \xe9t\xe9")
    with pytest.raises(ConfigError, match=r"run\.yaml is not valid YAML"):
        load_config(Outer, tmp_path / "run.yaml")


def test_what_an_outer_default_sets_stays_where_a_file_says_nothing_of_it(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Wide:
        inner: Inner = field(default_factory=lambda: Inner(widths=(8, 9)))

    path = tmp_path / "run.yaml"
    path.write_text("inner: {rate: 2}")
    assert load_config(Wide, path) == Wide(Inner(rate=2.0, widths=(8, 9)))


def test_other_defaults_may_be_given(tmp_path: Path) -> None:
    default = Outer(inner=Inner(rate=5.0))
    assert load_config(Outer, None, default) == default
    (tmp_path / "run.yaml").write_text("inner: {widths: [7]}")
    assert load_config(Outer, tmp_path / "run.yaml", default).inner == Inner(rate=5.0, widths=(7,))


CONFIG = Path(__file__).parents[2] / "config/train"
KINDS: dict[str, Any] = {
    "teacher.yaml": TrainTeacherConfig,
    "distill.yaml": DistillConfig,
    "tiny.yaml": DistillConfig,
    "paper_teacher.yaml": TrainTeacherConfig,
    "paper_student.yaml": DistillConfig,
    "fine_tune.yaml": TrainStudentConfig,
    "direct.yaml": TrainStudentConfig,
}
"""Class of the settings in each file for one run."""

SINGLE_RUNS = list(KINDS)
RECIPES = ("student.yaml", "student_direct.yaml")
"""Recipes of `lowlight train`, which test_recipe.py loads."""


def test_every_file_is_tested() -> None:
    assert {path.name for path in CONFIG.glob("*.yaml")} == {*SINGLE_RUNS, *RECIPES}


@pytest.mark.parametrize("name", SINGLE_RUNS)
def test_shipped_recipes_hold_nothing_but_differences(name: str) -> None:
    def leaves(values: Any, default: Any, where: str) -> Iterator[tuple[str, Any, Any]]:
        for key, value in values.items():
            if isinstance(value, dict):
                yield from leaves(value, getattr(default, key), f"{where}.{key}")
            else:
                yield f"{where}.{key}", value, getattr(default, key)

    kind = KINDS[name]
    assert load_config(kind, CONFIG / name) != kind()
    values = yaml.safe_load((CONFIG / name).read_text())
    assert [where for where, value, default in leaves(values, kind(), name) if value == default] == []


@pytest.mark.parametrize(
    ("kind", "text", "says"),
    [
        (TrainStudentConfig, "data: {shapes: []}", "data: shapes must list at least one kind of batch"),
        (TrainStudentConfig, "data: {shapes: [{crop_size: 8, working_size: 8}]}", r"shapes\[0\]: batch_size missing"),
        (
            TrainStudentConfig,
            "data: {shapes: [{crop_size: 0, working_size: 9, batch_size: 1}]}",
            r"shapes\[0\]: crop_size must be from 1",
        ),
        (TrainStudentConfig, "data: {simulated: 7}", "data: simulated must be from 0 to 1, found 7"),
        (TrainStudentConfig, "data: {stops: [4, 2]}", r"data: stops must rise, found \[4.0, 2.0\]"),
        (TrainStudentConfig, "data: {max_frames: 1}", "data: max_frames must be from 2 to 64"),
        (TrainStudentConfig, "losses: {l1: -1}", r"losses: l1 must be 0 or more, found -1"),
        (TrainStudentConfig, "losses: {ssim_stride: 0}", "losses: ssim_stride must be from 1 to 11"),
        (TrainStudentConfig, "validation_max_mean: 300", "validation_max_mean must be from 0 to 255"),
        (TrainStudentConfig, "network: {affine: {channels: []}}", "channels must be 1 or more"),
        (TrainStudentConfig, "network: {affine: {channels: [8]}}", "channels must be of two levels at least"),
        (TrainStudentConfig, "network: {affine: {dropout: 3}}", "dropout must be from 0 to 1, found 3"),
        (TrainStudentConfig, "network: {kind: other}", "kind: 'other' is not one of paper, affine"),
        (
            TrainStudentConfig,
            "optimizer: {learning_rate: .inf}",
            "learning_rate must be 0 or more, found inf",
        ),
        (TrainStudentConfig, "fit: {ema_decay: 2}", "fit: ema_decay must be from 0 to 1, found 2"),
        (TrainStudentConfig, "fit: {seed: -1}", "fit: seed must be 0 or more"),
        (TrainTeacherConfig, "fit: {epochs: -3}", "fit: epochs must be 1 or more, found -3"),
        (DistillConfig, "fit: {steps_per_epoch: 0}", "fit: steps_per_epoch must be 1 or more, found 0"),
        (TrainTeacherConfig, "losses: {reconstruction: {hue: -1}}", "losses: reconstruction: hue must be 0 or more"),
        (TrainTeacherConfig, "losses: {adversarial: -1}", "losses: adversarial must be 0 or more"),
        (TrainTeacherConfig, "optimizer: {betas: [0.5, 2]}", "optimizer: betas must be from 0 to 1"),
        (TrainTeacherConfig, "optimizer: {betas: [0.5, 1.0]}", "optimizer: betas must be below 1"),
        (TrainTeacherConfig, "discriminator_optimizer: {learning_rate: -1}", "learning_rate must be 0 or more"),
        (TrainTeacherConfig, "validation_max_mean: -1", "validation_max_mean must be from 0 to 255"),
        (DistillConfig, "teacher: -1", "teacher must be 0 or more"),
        (DistillConfig, "plateau: {factor: 2}", "plateau: factor must be from 0 to 1"),
        (DistillConfig, "plateau: {factor: 1.0}", "plateau: factor must be below 1"),
        (DistillConfig, "cosine: {t_max: 200, warmup: 200}", "cosine: t_max must be 0 or above warmup"),
        (DistillConfig, "optimizer: {weight_decay: -1}", "optimizer: weight_decay must be 0 or more"),
        (DistillConfig, "data: {unlabelled: 0.1}", "data: unlabelled needs 'network: {kind: affine}'"),
        (TrainTeacherConfig, "schedule: {t_max: -1}", "schedule: t_max must be 0 or more"),
        (TrainTeacherConfig, "network: {paper: {channels: [64, 0]}}", "channels must be 1 or more"),
        (TrainTeacherConfig, "discriminator: {channels: []}", "discriminator: channels must be 1 or more"),
    ],
)
def test_values_out_of_range_are_refused(tmp_path: Path, kind: type, text: str, says: str) -> None:
    (tmp_path / "run.yaml").write_text(text)
    with pytest.raises(ConfigError, match=says):
        load_config(kind, tmp_path / "run.yaml")


@pytest.mark.parametrize("name", SINGLE_RUNS)
def test_no_batch_of_a_shipped_recipe_is_padded(name: str) -> None:
    config = load_config(KINDS[name], CONFIG / name)
    check_sizes(config.data, config.model_input, config.network.size_multiple)
