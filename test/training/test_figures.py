"""`lowlight figures`: values in the figures, and the files."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from tiny_model import write_tiny_model

from lowlight_enhance import cli
from lowlight_enhance.core.errors import DataError
from lowlight_enhance.core.inference.model_input import ModelInput
from lowlight_enhance.core.metadata.capture import CaptureMetadata
from lowlight_enhance.evaluation.metrics import MAX_PSNR_DB, psnr_db
from lowlight_enhance.evaluation.score_summary import write_scores
from lowlight_enhance.evaluation.scoring import EvaluationImage, ImagePair, score_images
from lowlight_enhance.training.figures import canvas, model_comparison, score_bars, training_curves

GREY = np.full((32, 48, 3), 128, np.uint8)

LOG: list[dict[str, Any]] = [
    {"step": 5, "loss": 0.4, "l1": 0.2, "ssim": 0.3, "s_per_step": 0.1},
    {"step": 5, "val_psnr": 12.0, "val_ssim": 0.4, "val_l1": 0.25},
    {"step": 10, "loss": 0.3, "l1": 0.1, "ssim": 0.5, "adversarial": 0.2, "s_per_step": 0.1},
    {"step": 10, "val_psnr": 14.0, "val_ssim": 0.6, "val_l1": 0.15},
]


def frame(scene: str, iso: float | None, exposure_s: float | None = 0.04) -> EvaluationImage:
    capture = CaptureMetadata(iso, exposure_s)
    return EvaluationImage(scene, scene, capture, lambda: ImagePair(GREY // 4, GREY, capture))


def write_log(folder: Path, rows: Sequence[dict[str, Any]] = LOG) -> Path:
    folder.mkdir(parents=True)
    (folder / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def lines_of(figure: Any) -> dict[str, dict[str, tuple[list[float], list[float]]]]:
    """Panels by title, in each (x, y) of every line by its label."""
    return {
        axes.get_title(): {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in axes.lines}
        for axes in figure.axes
    }


@pytest.fixture
def saved(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every figure that is saved."""
    found: list[Any] = []
    save = canvas.save

    def remember(figure: Any, target: Path) -> None:
        found.append(figure)
        save(figure, target)

    monkeypatch.setattr(canvas, "save", remember)
    return found


def test_a_run_is_read_with_its_epochs_and_repeated_steps_count_last(tmp_path: Path) -> None:
    again = {"step": 10, "loss": 0.25, "s_per_step": 0.1}
    run = training_curves.read_run(write_log(tmp_path / "run", [*LOG, again]), "run")
    assert run.steps_per_epoch == 5
    assert run.curves["loss"] == {5: 0.4, 10: 0.25}
    assert run.curves["val_psnr"] == {5: 12.0, 10: 14.0}


@pytest.mark.parametrize("line", ['{"step": 1, "loss"', "[1]", '{"loss": 1}', '{"step": 1, "loss": "low"}', "null"])
def test_a_damaged_log_is_an_error_with_its_line(tmp_path: Path, line: str) -> None:
    write_log(tmp_path / "run")
    with (tmp_path / "run" / "log.jsonl").open("a") as file:
        file.write(line)
    with pytest.raises(DataError, match=r"log\.jsonl, line 5"):
        training_curves.read_run(tmp_path / "run", "run")


def test_losses_of_training_and_validation_over_epochs(tmp_path: Path, saved: list[Any]) -> None:
    run = training_curves.read_run(write_log(tmp_path / "run"), "run")
    training_curves.draw_losses([run], tmp_path / "losses.png")
    panels = lines_of(saved[0])
    assert set(panels) == {
        "total loss (validation: L1 and SSIM)",
        "L1",
        "1 - SSIM",
        "adversarial loss of the generator",
    }
    assert panels["L1"] == {
        "run, training": ([1.0, 2.0], [0.2, 0.1]),
        "run, validation": ([1.0, 2.0], [0.25, 0.15]),
    }
    assert panels["1 - SSIM"]["run, validation"][1] == pytest.approx([0.6, 0.4])
    assert panels["adversarial loss of the generator"] == {"run, training": ([2.0], [0.2])}
    assert {axes.get_xlabel() for axes in saved[0].axes} == {"epoch of 5 steps"}


def test_several_runs_are_drawn_with_names_that_differ(tmp_path: Path, saved: list[Any]) -> None:
    runs = [write_log(tmp_path / name / "run") for name in ("a", "b")]
    drawn = training_curves.draw_runs(runs, tmp_path / "out" / "deep")
    assert drawn == [str(tmp_path / "out" / "deep" / name) for name in ("losses.png", "psnr.png")]
    assert lines_of(saved[1])["validation"] == {name: ([1.0, 2.0], [12.0, 14.0]) for name in ("a/run", "b/run")}


def test_a_run_without_validation_has_no_psnr(tmp_path: Path) -> None:
    run = write_log(tmp_path / "run", [LOG[0], {"step": 5}])
    (line,) = training_curves.draw_runs([run], tmp_path)
    assert "no psnr.png" in line
    assert not (tmp_path / "psnr.png").exists()


def test_short_names() -> None:
    given = [Path("a/x/best.pt"), Path("b/x/best.pt"), Path("s.onnx")]
    assert canvas.short_names(given) == ["a/x/best.pt", "b/x/best.pt", "/".join([*Path.cwd().parts[-2:], "s.onnx"])]
    assert canvas.short_names([Path("run/best.pt"), Path("s.onnx")]) == ["run/best.pt", "s.onnx"]
    assert canvas.short_names([]) == []
    assert canvas.short_names([Path("a/s.onnx"), Path("b/t.onnx")]) == ["s.onnx", "t.onnx"]
    assert canvas.short_names([Path("s.onnx"), Path("s.onnx")]) == ["s.onnx", "s.onnx"]


def heights(axes: Any) -> dict[str, list[float]]:
    return {bars.get_label(): [bar.get_height() for bar in bars] for bars in axes.containers}


def test_an_evaluation_is_drawn_by_iso_with_the_metadata_test(tmp_path: Path, saved: list[Any]) -> None:
    def brighter_with_metadata(rgb: Any, capture: CaptureMetadata) -> Any:
        return rgb * (3 if capture.iso else 2)

    frames = [frame("a", 200.0), frame("b", 6400.0)]
    rows = score_images(frames, brighter_with_metadata, metadata_test=True)
    write_scores(rows, tmp_path / "told")
    score_bars.draw_evaluation(tmp_path / "told", tmp_path)
    psnr = heights(saved[0].axes[0])
    assert set(psnr) == {"true", "withheld", "shuffled"}
    scores = [row.after.psnr for row in rows]
    assert psnr["true"] == pytest.approx([*scores, sum(scores) / 2])  # the last bars are those of all
    assert min(psnr["true"]) > max(psnr["withheld"])
    write_scores(score_images(frames, brighter_with_metadata), tmp_path / "plain")
    score_bars.draw_evaluation(tmp_path / "plain", tmp_path)
    assert heights(saved[1].axes[0]) == {"output": pytest.approx(scores)}


@pytest.mark.parametrize("text", [None, "", "[]", '{"by_iso": {}}', '{"by_iso": {"a": {}}, "metadata": {}}'])
def test_a_folder_without_an_evaluation_is_an_error(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "summary.json").write_text(text)
    with pytest.raises(DataError, match=r"summary\.json.*lowlight evaluate --out"):
        score_bars.draw_evaluation(tmp_path, tmp_path)


def test_models_are_timed_in_turn_after_one_untimed_call() -> None:
    calls: list[str] = []
    models = {name: lambda rgb, capture, name=name: calls.append(name) or rgb for name in ("a", "b")}
    times = model_comparison.time_models(models, GREY, CaptureMetadata(), 3)  # type: ignore[arg-type]
    assert calls == ["a", "b"] * 4
    assert {name: len(found) for name, found in times.items()} == {"a": 3, "b": 3}
    assert all(found >= 0.0 for of_one in times.values() for found in of_one)


def test_bars_are_medians(tmp_path: Path, saved: list[Any]) -> None:
    model_comparison.draw_times({"a": [1.0, 2.0, 90.0], "b": [4.0]}, "title", tmp_path / "times.png")
    bars = [patch.get_height() for patch in saved[0].axes[0].patches]
    assert bars == [2.0, 4.0]


def test_strips_show_the_first_scenes_of_each_iso_bin_from_low_to_high() -> None:
    frames = [frame("a", 6400.0), frame("b", None), frame("c", 100.0), frame("c", 400.0), frame("d", 200.0)]
    one, two = (model_comparison.first_images(frames, count) for count in (1, 2))
    assert [f.scene for f in one] == ["c", "a", "b"]
    assert [(f.scene, f.capture.iso) for f in two] == [("c", 100.0), ("d", 200.0), ("a", 6400.0), ("b", None)]


def test_a_strip_is_scored_at_full_size_and_shown_smaller() -> None:
    bright = np.random.default_rng(0).integers(0, 255, (500, 960, 3), dtype=np.uint8)
    capture = CaptureMetadata(800.0, 1 / 30)
    big = EvaluationImage("a", "a", capture, lambda: ImagePair(bright // 2, bright, capture))
    found = model_comparison.make_strip(big, [lambda rgb, _: bright, lambda rgb, _: bright + 1])
    assert found.label == "ISO 800\n0.0333 s"
    assert {p.shape for p in (found.dark, found.reference, found.outputs[0][0])} == {(250, 480, 3)}
    assert found.outputs[0][1] == MAX_PSNR_DB
    assert found.outputs[1][1] == pytest.approx(psnr_db(bright + 1, bright), abs=1e-3)


def test_the_timed_frame_is_the_central_square() -> None:
    picture = np.zeros((10, 30, 3), np.uint8)
    picture[:, 10:20] = 200
    assert np.array_equal(model_comparison.centre_square(picture, 5), np.full((5, 5, 3), 200))


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    lines = ["dark,bright,iso,scene,split"]
    for number, iso in enumerate(("200", "6400", "")):
        cv2.imwrite(str(tmp_path / f"{number}.png"), GREY + number)
        cv2.imwrite(str(tmp_path / f"{number}_dark.png"), GREY // 4)
        lines.append(f"{number}_dark.png,{number}.png,{iso},{number},val")
    (tmp_path / "pairs.csv").write_text("\n".join(lines))
    return tmp_path / "pairs.csv"


def test_the_command_draws_every_figure(
    tmp_path: Path, pairs: Path, saved: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    write_log(tmp_path / "run")
    write_scores(score_images([frame("a", 200.0)], lambda rgb, _: rgb), tmp_path / "evaluation")
    models = [
        write_tiny_model(tmp_path / name, gain, 0.0, ModelInput(0))
        for name, gain in (("a.onnx", 2.0), ("b.onnx", 4.0))
    ]
    given = ["--run", tmp_path / "run", "--evaluation", tmp_path / "evaluation", "--models", *models, "--data", pairs]
    given += ["--size", 32, "--rounds", 2, "--threads", 1, "--out", tmp_path / "out"]
    assert cli.main(["figures", *map(str, given)]) == 0
    names = ["losses.png", "psnr.png", "evaluation.png", "strips.png", "times.png"]
    said = capsys.readouterr().out.splitlines()
    assert [line.partition(" ")[0] for line in said] == [str(tmp_path / "out" / name) for name in names]
    assert "a frame of 32x32: a.onnx" in said[-1]
    assert {path.name for path in (tmp_path / "out").iterdir()} == set(names)
    assert all(cv2.imread(str(tmp_path / "out" / name)).std() > 5.0 for name in names)
    grid = saved[3].axes
    assert len(grid) == 3 * 4
    assert [axes.get_title() for axes in grid[:4]] == ["dark", "reference", "a.onnx", "b.onnx"]
    assert [axes.get_ylabel() for axes in grid[::4]] == ["ISO 200", "ISO 6400", "ISO unknown"]
    better, worse = (float(axes.get_xlabel().removesuffix(" dB")) for axes in (grid[3], grid[2]))
    assert better > 30.0 > worse


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "nothing to draw"),
        (["--models", "m.onnx"], "--models needs one of --pairs and --photos"),
        (["--models", "m.onnx", "--data", "a.csv", "--photos", "b.csv"], "--models needs one of --pairs and --photos"),
        (["--run", "nowhere"], "nowhere/log.jsonl"),
        (["--evaluation", "nowhere"], "nowhere/summary.json"),
    ],
)
def test_user_errors_are_one_line(
    tmp_path: Path, given: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["figures", *given, "--out", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err


def test_darkened_photographs_show_every_iso(tmp_path: Path, pairs: Path, saved: list[Any]) -> None:
    (tmp_path / "photos.csv").write_text("file,split\n0.png,val\n1.png,val\n2.png,train\n")
    model = write_tiny_model(tmp_path / "tiny.onnx", model_input=ModelInput(0))
    given = ["--models", model, "--photos", tmp_path / "photos.csv", "--iso", 6400, 100, "--size", 32, "--rounds", 1]
    assert cli.main(["figures", *map(str, given), "--out", str(tmp_path / "out")]) == 0
    assert [axes.get_ylabel() for axes in saved[0].axes[::3]] == ["ISO 100\n0.0167 s", "ISO 6400\n0.0167 s"]


def test_a_split_without_pairs_is_an_error(tmp_path: Path, pairs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = write_tiny_model(tmp_path / "tiny.onnx")
    given = ["--models", model, "--data", pairs, "--split", "test", "--out", tmp_path / "out"]
    assert cli.main(["figures", *map(str, given)]) == 2
    assert "no images to show" in capsys.readouterr().err
