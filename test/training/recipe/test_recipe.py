"""`lowlight train`: all stages of a recipe, with networks of a few hundred parameters.

An export takes seconds, a training of these networks less than one: most tests copy a finished run, or train alone.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from tiny_data import write_tiny_data

from lowlight_enhance import cli
from lowlight_enhance.core.enhancement.enhancer import Enhancer
from lowlight_enhance.core.errors import ConfigError, DataError
from lowlight_enhance.core.inference.model_zoo import INCLUDED_MODELS
from lowlight_enhance.training.data.dataset import Batch, Batches
from lowlight_enhance.training.data.verification import make_manifest
from lowlight_enhance.training.engine import checkpoint
from lowlight_enhance.training.networks import load_checkpoint
from lowlight_enhance.training.recipe import pipeline
from lowlight_enhance.training.recipe.config import RecipeConfig, load_recipe
from lowlight_enhance.training.recipe.pipeline import run_recipe
from lowlight_enhance.training.recipe.stages import run_stage

CONFIG = Path(__file__).parents[3] / "config/train"
STAGES = ("teacher", "student", "tiny", "models", "evaluation")

RUN = """\
network: {kind: affine, affine: {unshuffle: 2, channels: [4, 8], head: 4}}
data: {shapes: [{crop_size: 32, working_size: 32, batch_size: 2}]}
fit: {epochs: 2, steps_per_epoch: 3, workers: 0, ema_decay: 0.9, seed: 3}
model_input: {working_size: 32, size_multiple: 16}
validation_max_mean: 255.0
"""

RECIPE = """\
data: {pairs: [pairs.csv], photos: [photos.csv], unlabelled: [dark.csv]}
networks:
  - {name: teacher, command: train-teacher, config: teacher.yaml}
  - {name: student, command: distill, teacher: teacher, config: student.yaml}
  - {name: tiny, command: distill, teacher: teacher, config: student.yaml}
export:
  models:
    - {name: student_int8, precision: int8}
    - {name: tiny, network: tiny, working_size: 16}
  weights: [student, tiny]
  limits: {min_psnr_db: 10.0, max_loss_db: 10.0}
evaluation: {pairs: [pairs.csv], photos: [photos.csv], split: val, exposures: [{stops: 2.0, iso: 400.0}]}
"""


def write_recipe(data: Path) -> Path:
    """Write a recipe into a folder in ``data`` whose manifests list the pictures in ``data``; return its file."""
    folder = data / "recipe"
    folder.mkdir()
    (data / "dark_index.csv").write_text("file,split\n0_dark.png,train\n")
    for index, name in (("pairs", "pairs"), ("photos", "photos"), ("dark_index", "dark")):
        make_manifest(data / f"{index}.csv", folder / f"{name}.csv", data)
    (folder / "teacher.yaml").write_text(RUN + "losses: {adversarial: 0.0}\ndiscriminator: {channels: [4, 8]}\n")
    mixed = RUN.replace("batch_size: 2}]}", "batch_size: 2}], unlabelled: 0.2}")
    (folder / "student.yaml").write_text(mixed + "teacher: 0.5\nlosses: {l1: 0.5}\n")
    (folder / "recipe.yaml").write_text(RECIPE)
    return folder / "recipe.yaml"


@pytest.fixture
def recipe(data: Path) -> Path:
    """A recipe that has not run."""
    return write_recipe(data)


@pytest.fixture(scope="module")
def finished_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    recipe = write_recipe(write_tiny_data(tmp_path_factory.mktemp("finished")))
    run(recipe, "run")
    return recipe.parents[1]


@pytest.fixture
def finished(finished_folder: Path, tmp_path: Path) -> Path:
    """A recipe that has run, in a folder of its own; the folder of the run is ``run``."""
    shutil.copytree(finished_folder, tmp_path, dirs_exist_ok=True)
    return tmp_path / "recipe/recipe.yaml"


@pytest.fixture
def training_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip export and evaluation."""
    for name in ("_export", "_evaluate"):
        monkeypatch.setattr(pipeline, name, lambda *_: Path("table.md"))


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def command(recipe: Path, out: str) -> list[str]:
    """Return the command that runs the recipe into a folder beside it."""
    root = recipe.parents[1]
    return ["train", "--config", str(recipe), "--data-root", str(root), "--out", str(root / out)]


def run(recipe: Path, out: str) -> list[str]:
    """Run the recipe into a folder beside it, and return its log."""
    lines: list[str] = []
    run_recipe(load_recipe(recipe), recipe.parents[1], recipe.parents[1] / out, lines.append)
    return lines


def weights(recipe: Path, out: str, network: str = "student") -> dict[str, torch.Tensor]:
    """Return the weights at the end of a training of a run."""
    saved = checkpoint.load(recipe.parents[1] / out / network / "last.pt")
    found: dict[str, torch.Tensor] = saved["teacher" if network == "teacher" else "student"]
    return found


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(value, b[name]) for name, value in a.items())


def test_one_command_makes_all_models_and_a_table(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(command(recipe, "run")) == 0
    shown, out = capsys.readouterr().out, recipe.parents[1] / "run"
    assert "data: 6 files are as the manifests list them" in shown
    assert {path.name for path in out.iterdir()} == set(STAGES)
    assert {path.name for path in (out / "models").iterdir()} == {
        *("student_int8.onnx", "tiny.onnx", "student.safetensors", "tiny.safetensors", "stage.json")
    }
    table = (out / "evaluation/table.md").read_text()
    assert table in shown
    assert table.splitlines()[0] == "| PSNR dB / SSIM | input | student_int8 | tiny |"
    assert [line.split(" | ")[0] for line in table.splitlines()[2:]] == [
        "| pairs, val",
        "| photos, val, 2 stops, ISO 400",
    ]
    scores = json.loads((out / "evaluation/scores.json").read_text())
    assert scores["pairs, val"]["tiny"]["psnr"] > 0.0
    assert Enhancer(out / "models/tiny.onnx", threads=1).working_size == 16
    assert "QuantizeLinear" in {node.op_type for node in onnx.load(out / "models/student_int8.onnx").graph.node}


@pytest.mark.usefixtures("training_alone")
def test_the_same_seed_gives_the_same_weights(recipe: Path) -> None:
    for name in ("a", "b"):
        run(recipe, name)
    assert all(
        equal(weights(recipe, "a", name), weights(recipe, "b", name)) for name in ("teacher", "student", "tiny")
    )
    edit(recipe.parent / "student.yaml", "seed: 3", "seed: 4")
    run(recipe, "c")
    assert equal(weights(recipe, "a", "teacher"), weights(recipe, "c", "teacher"))
    assert not equal(weights(recipe, "a"), weights(recipe, "c"))


def test_finished_stages_are_not_repeated(finished: Path) -> None:
    out = finished.parents[1] / "run"
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    assert run(finished, "run")[1:] == [f"{name}: finished before" for name in STAGES]
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()} == before


def test_a_run_that_fails_in_each_stage_continues_to_the_same_result(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("stopped here")

    for stage in ("train_teacher", "distill", "export", "write_evaluation"):
        with monkeypatch.context() as patch:
            patch.setattr(pipeline, stage, fail)
            with pytest.raises(RuntimeError, match="stopped here"):
                run(finished, "resumed")
    assert run(finished, "resumed")[1:] == [
        *(f"{name}: finished before" for name in STAGES[:-1]),
        "evaluation: continued",
        "evaluation: finished",
    ]
    for name in ("models/student.safetensors", "models/tiny.safetensors", "evaluation/table.md"):
        whole, resumed = ((finished.parents[1] / out / name).read_bytes() for out in ("run", "resumed"))
        assert whole == resumed


@pytest.mark.usefixtures("training_alone")
def test_a_signal_saves_the_training_and_the_same_command_continues(
    finished: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = finished.parents[1] / "stopped"
    with monkeypatch.context() as patch:
        patch.setattr("lowlight_enhance.training.distill.Batches", stopping_batches(4))
        assert cli.main(command(finished, "stopped")) == 130
    assert checkpoint.load(out / "student/last.pt")["step"] < 6
    assert not (out / "tiny").exists()
    capsys.readouterr()
    lines = run(finished, "stopped")
    assert lines[1:4] == [
        "teacher: finished before",
        "student: continued",
        f"student: continues from {out / 'student/last.pt'}",
    ]
    assert equal(weights(finished, "stopped"), weights(finished, "run"))


def stopping_batches(step: int) -> Callable[..., Any]:
    """Return batches that send SIGTERM to this process when batch ``step`` is read."""

    class Stopping(Batches):
        def __getitem__(self, number: int) -> Batch:
            if number == step:
                os.kill(os.getpid(), signal.SIGTERM)
            return super().__getitem__(number)

    return Stopping


@pytest.mark.usefixtures("training_alone")
def test_checkpoints_of_single_commands_are_used_by_the_recipe(finished: Path) -> None:
    """A folder with a checkpoint of the same settings needs no record of the recipe, finished or not."""
    out = finished.parents[1] / "run"
    for stage in ("teacher", "student"):
        (out / stage / "stage.json").unlink()
    before = {stage: weights(finished, "run", stage) for stage in ("teacher", "student")}
    lines = run(finished, "run")
    assert lines[1:7] == [
        "teacher: started",
        f"teacher: continues from {out / 'teacher/last.pt'}",
        "teacher: finished",
        "student: started",
        f"student: continues from {out / 'student/last.pt'}",
        "student: finished",
    ]
    assert all(equal(weights(finished, "run", stage), before[stage]) for stage in before)
    (out / "teacher/stage.json").unlink()
    edit(finished.parent / "teacher.yaml", "seed: 3", "seed: 4")
    with pytest.raises(
        DataError, match=r"teacher/last\.pt was written with other settings \(fit\.seed 3 there, 4 here"
    ):
        run(finished, "run")


def test_changed_pictures_are_found_before_the_training(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = recipe.parents[1] / "1.png"
    picture.write_bytes(picture.read_bytes() + b"x")
    assert cli.main(command(recipe, "run")) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith(f"lowlight: changed: {picture} has the SHA-256 ")
    assert shown.err.endswith("; restore the files, or write manifests with: lowlight dataset make\n")
    assert shown.err.count("\n") == 1
    assert not (recipe.parents[1] / "run").exists()


def test_other_settings_or_data_are_not_mixed_into_a_run(finished: Path) -> None:
    edit(finished.parent / "student.yaml", "seed: 3", "seed: 4")
    with pytest.raises(DataError, match=r"student was written with other inputs \(config\)"):
        run(finished, "run")
    edit(finished.parent / "student.yaml", "seed: 4", "seed: 3")
    edit(finished.parent / "dark.csv", "\n", "\n\n")
    with pytest.raises(DataError, match=r"student was written with other inputs \(manifests\)"):
        run(finished, "run")
    edit(finished.parent / "photos.csv", "\n", "\n\n")
    with pytest.raises(DataError, match=r"teacher was written with other inputs \(manifests\)"):
        run(finished, "run")


def test_other_settings_of_export_and_evaluation_repeat_these_stages(finished: Path) -> None:
    edit(finished, "    - {name: student_int8, precision: int8}\n", "")
    edit(finished, "stops: 2.0", "stops: 3.0")
    lines = run(finished, "run")
    assert "student: finished before" in lines
    assert "models: started" in lines
    table = (finished.parents[1] / "run/evaluation/table.md").read_text()
    assert "3 stops" in table
    assert "student_int8" not in table


def test_rows_of_the_test_split_are_read_by_the_evaluation_alone(recipe: Path) -> None:
    """An unreadable picture of the split test stops the evaluation, and no stage before it."""
    root = recipe.parents[1]
    (root / "broken.png").write_bytes(b"not a picture")
    (root / "index.csv").write_text("file,split\n0.png,train\n2.png,val\nbroken.png,test\n")
    make_manifest(root / "index.csv", recipe.parent / "photos.csv", root)
    edit(recipe, "split: val", "split: test")
    edit(recipe, "    - {name: tiny, network: tiny, working_size: 16}\n", "")
    with pytest.raises(DataError, match=r"cannot read .*broken\.png"):
        run(recipe, "run")
    assert json.loads((root / "run/models/stage.json").read_text())["finished"]


def test_an_evaluation_without_rows_of_its_split_is_found_before_the_training(
    recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = recipe.parents[1]
    (root / "index.csv").write_text("file,split\n0.png,train\n2.png,val\n")
    make_manifest(root / "index.csv", recipe.parent / "photos.csv", root)
    edit(
        recipe,
        "evaluation: {pairs: [pairs.csv], photos: [photos.csv], split: val",
        "evaluation: {photos: [photos.csv]",
    )
    assert cli.main(command(recipe, "run")) == 2
    shown = capsys.readouterr().err
    assert "no manifest of the evaluation has rows of the split 'test'" in shown
    assert shown.count("\n") == 1
    assert not (root / "run").exists()


def test_a_recipe_without_manifests_for_the_evaluation_skips_it(
    recipe: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for stage in ("_train", "_export"):
        monkeypatch.setattr(pipeline, stage, lambda *_: None)
    edit(recipe, "evaluation: {pairs: [pairs.csv], photos: [photos.csv], split: val", "evaluation: {split: val")
    assert cli.main(command(recipe, "run")) == 0
    assert capsys.readouterr().out.splitlines()[1:] == [
        "evaluation: skipped, because the recipe lists no manifest for it"
    ]


def test_a_student_may_be_trained_without_a_teacher(recipe: Path) -> None:
    (recipe.parent / "direct.yaml").write_text(RUN + "schedule: {warmup: 1}\n")
    recipe.write_text(
        "data: {pairs: [pairs.csv], photos: [photos.csv]}\n"
        "networks: [{name: student, command: train-student, config: direct.yaml}]\n"
        "export: {models: [{name: student_int8, precision: int8}], limits: {min_psnr_db: 10.0, max_loss_db: 10.0}}\n"
        "evaluation: {pairs: [pairs.csv], split: val}\n"
    )
    lines = run(recipe, "run")
    out = recipe.parents[1] / "run"
    assert {path.name for path in out.iterdir()} == {"student", "models", "evaluation"}
    assert load_checkpoint(out / "student/last.pt").kind == "student"
    assert "evaluation: finished" in lines


@pytest.mark.usefixtures("training_alone")
def test_a_training_may_start_from_an_earlier_network(recipe: Path) -> None:
    (recipe.parent / "still.yaml").write_text(
        RUN.replace("epochs: 2, steps_per_epoch: 3", "epochs: 1, steps_per_epoch: 1, freeze_norm: 1.0")
        + "optimizer: {learning_rate: 1.0e-12}\ncosine: {eta_min: 0.0}\nschedule: cosine\n"
    )
    edit(
        recipe,
        "teacher: teacher, config: student.yaml}\nexport",
        "teacher: teacher, init: student, config: still.yaml}\nexport",
    )
    lines = run(recipe, "run")
    assert "tiny: finished" in lines
    student, tiny = weights(recipe, "run", "student"), weights(recipe, "run", "tiny")
    assert all(torch.allclose(value.float(), tiny[name].float(), atol=1e-6) for name, value in student.items())
    (recipe.parents[1] / "run/student/last.pt").write_bytes((recipe.parents[1] / "run/teacher/last.pt").read_bytes())
    with pytest.raises(DataError, match=r"tiny was written with other inputs \(init\)"):
        run(recipe, "run")


def test_int8_is_calibrated_on_the_listed_frames(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    edit(finished, "  weights: [student, tiny]\n", "  weights: [student]\n  calibration: calibration.csv\n")
    rows = (finished.parent / "pairs.csv").read_text().splitlines()
    (finished.parent / "calibration.csv").write_text("\n".join(rows[:2]) + "\n")
    seen: list[int] = []
    monkeypatch.setattr(pipeline, "_export_model", lambda _model, frames, *_: seen.append(len(frames)))
    monkeypatch.setattr(pipeline, "_evaluate", lambda *_: Path("table.md"))
    assert "models: started" in run(finished, "run")
    assert seen == [1, 1]


def test_a_network_may_be_distilled_from_a_student(recipe: Path) -> None:
    edit(recipe, "name: tiny, command: distill, teacher: teacher", "name: tiny, command: distill, teacher: student")
    assert [stage.teacher for stage in load_recipe(recipe).networks] == [None, "teacher", "student"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("export: {models: []}", "at least one file"),
        ("export: {models: [{name: a}, {name: a}]}", "different names"),
        ("export: {models: [{name: a}]}", "no network 'student'; networks: none"),
        ("networks: [{name: a, command: distill}]", "a: a teacher belongs to the command distill"),
        ("networks: [{name: a, command: train-student, teacher: b}]", "a: a teacher belongs to the command distill"),
        ("networks: [{name: a, command: distill, teacher: b}]", "the teacher 'b' of 'a' is not trained before it"),
        ("networks: [{name: a, command: train-student, init: b}]", "the init 'b' of 'a' is not trained before it"),
        ("networks: [{name: a, command: train-teacher, init: b}]", "a: train-teacher starts from random weights"),
        ("networks: [{name: models, command: train-teacher}]", "must be a folder name other than models"),
        (
            "networks: [{name: a, command: train-teacher}, {name: a, command: train-teacher}]",
            "there are two of the name 'a'",
        ),
        ("export: {models: [{name: a/b}]}", "must be a file name"),
        ("export: {models: [{name: a, float_tail: 0}]}", "float_tail must be 1 or more"),
        ("evaluation: {exposures: [{stops: -1}]}", "stops must be from 0"),
        ("evaluation: {pairs: [a/frames.csv, b/frames.csv]}", "two rows of the table .* 'frames, test'"),
        ("evaluation: {photos: [a/x.csv, b/x.csv]}", "two rows of the table .* 'x, test, 3 stops, ISO 800'"),
        ("evaluation: {photos: [x.csv], exposures: [{iso: 400}, {iso: 400}]}", "each exposure once"),
        ("evaluation: {photos: [x.csv], exposures: []}", "photos need at least one of exposures"),
        ("export: {models: [{name: input}]}", "'input' is that of the dark images"),
        ("evaluation: {split: train}", "'train' is not one of val, test"),
        (
            "networks: [{name: student, command: train-student, config: none.yaml}]\nexport: {models: [{name: a}]}",
            r"cannot read .*none\.yaml",
        ),
    ],
)
def test_invalid_settings_are_named(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_recipe(tmp_path / "recipe.yaml")


def test_several_processes_are_rejected(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="one process"):
        run_recipe(RecipeConfig(), None, tmp_path)


def test_a_stage_with_a_damaged_record_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "stage.json").write_text("{}")
    with pytest.raises(DataError, match="not a record of a stage"):
        run_stage(tmp_path, {}, lambda: None, print)


@pytest.mark.usefixtures("training_alone")
def test_stages_may_have_different_precisions(recipe: Path) -> None:
    edit(recipe.parent / "teacher.yaml", "seed: 3", "seed: 3, precision: bf16")
    assert "student: finished" in run(recipe, "run")
    assert all(value.dtype != torch.bfloat16 for value in weights(recipe, "run").values())


@pytest.mark.parametrize(
    ("name", "models"),
    [
        ("student.yaml", set(INCLUDED_MODELS)),
        ("student_direct.yaml", {"student", "student_int8", "quality"}),
    ],
)
def test_the_recipes_in_the_repository_fit_together(name: str, models: set[str]) -> None:
    config = load_recipe(CONFIG / name)
    assert all(manifest.is_file() for manifest in config.manifests)
    settings = {stage.name: stage.settings() for stage in config.networks}
    for stage in config.networks:
        if stage.teacher is not None:
            for key in ("iso_range", "exposure_range_s", "unknown"):
                ours, theirs = (getattr(settings[network].model_input, key) for network in (stage.name, stage.teacher))
                assert ours == theirs
    assert {model.name for model in config.export.models} == models
    assert config.evaluation.split == "test"
