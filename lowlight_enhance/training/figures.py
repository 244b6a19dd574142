"""The paper's figures: losses and PSNR over epochs, scores by ISO, inference times, and strips of pictures."""

from __future__ import annotations

import json
import math
import statistics
import time
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import matplotlib
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lowlight_enhance.core.enhancement.enhancer import Enhance
from lowlight_enhance.core.errors import DataError
from lowlight_enhance.core.files import atomic_file, make_folder
from lowlight_enhance.core.metadata.capture import CaptureMetadata
from lowlight_enhance.evaluation.binning import ISO_BINS
from lowlight_enhance.evaluation.metrics import psnr_db
from lowlight_enhance.evaluation.scoring import EvaluationImage
from lowlight_enhance.training.data.pictures import Picture
from lowlight_enhance.training.evaluate import load_enhance

DPI = 120
SHOWN_PIXELS = 480
"""Longer side of a picture in a strip."""

NO_LOSSES = ("psnr", "learning_rate", "s_per_step")
TITLES = {
    "loss": "whole loss (validation: L1 and SSIM)",
    "l1": "L1",
    "ssim": "1 - SSIM",
    "adversarial": "adversarial loss of the generator",
    "discriminator": "hinge loss of the discriminator",
    "teacher_l1": "L1 to the teacher",
}
SCORES = {"psnr": "PSNR in dB", "ssim": "SSIM", "l1": "L1", "hue_deg": "hue error in degrees"}

Curve = dict[int, float]
"""Values by step."""


@dataclass(frozen=True, slots=True)
class Run:
    """What the ``log.jsonl`` of a training run tells.

    Attributes:
        name: for the legend.
        steps_per_epoch: steps up to the first validation; 1 before there was one.
        curves: by their names in the log; a validation's begin with ``val_``.
    """

    name: str
    steps_per_epoch: int
    curves: dict[str, Curve]


@dataclass(frozen=True, slots=True)
class Strip:
    """A row of pictures, (H, W, 3) uint8 RGB of one shape.

    Attributes:
        label: of the frame.
        dark: as the camera saw it.
        reference: as it should look.
        outputs: (picture, its PSNR in dB) of each model.
    """

    label: str
    dark: Picture
    reference: Picture
    outputs: Sequence[tuple[Picture, float]]


@dataclass(frozen=True, slots=True)
class Comparison:
    """How models are compared.

    Attributes:
        scenes: strips of each ISO bin.
        size: height and width in pixels of the frame that is timed.
        rounds: calls of each model.
        threads: of the CPU; None where the frameworks decide.
    """

    scenes: int = 1
    size: int = 256
    rounds: int = 30
    threads: int | None = None


def of_runs(folders: Sequence[Path], out: Path) -> list[str]:
    """Draw ``losses.png`` and, where there was a validation, ``psnr.png`` into ``out``; returns a line for each.

    Raises:
        DataError: a folder without the log of a run, or one without a loss.
    """
    runs = [read_run(folder, name) for folder, name in zip(folders, short_names(folders), strict=True)]
    make_folder(out)
    draw_losses(runs, out / "losses.png")
    if not any("val_psnr" in run.curves for run in runs):
        return [f"{out / 'losses.png'} (no psnr.png: these runs have no validation pairs)"]
    draw_psnr(runs, out / "psnr.png")
    return [str(out / name) for name in ("losses.png", "psnr.png")]


def of_evaluation(folder: Path, out: Path) -> list[str]:
    """Draw ``evaluation.png`` into ``out``; returns a line about it.

    Raises:
        DataError: ``folder`` is not what ``lowlight evaluate --out`` wrote.
    """
    make_folder(out)
    draw_evaluation(folder, out / "evaluation.png")
    return [str(out / "evaluation.png")]


def of_models(models: Sequence[Path], frames: Sequence[EvaluationImage], how: Comparison, out: Path) -> list[str]:
    """Draw ``strips.png`` and ``times.png`` of ``models`` into ``out``; returns a line for each, with the medians.

    Raises:
        DataError: a checkpoint that cannot be read, or no frames.
        ModelError: a damaged ONNX file.
    """
    if how.threads:
        torch.set_num_threads(how.threads)
    named = zip(short_names(models), models, strict=True)
    enhance = {name: load_enhance(path, threads=how.threads) for name, path in named}
    shown = first_frames(frames, how.scenes)
    if not shown:
        raise DataError("no frames to show: check the index, --split and --max-mean")
    make_folder(out)
    draw_strips([strip(frame, enhance.values()) for frame in shown], list(enhance), out / "strips.png")
    times = time_enhance(enhance, square(shown[0].load().dark, how.size), shown[0].capture, how.rounds)
    draw_times(times, f"a frame of {how.size}x{how.size}, {how.rounds} interleaved rounds", out / "times.png")
    medians = ", ".join(f"{name} {statistics.median(found):.1f} ms" for name, found in times.items())
    return [str(out / "strips.png"), f"{out / 'times.png'} (a frame of {how.size}x{how.size}: {medians})"]


def read_run(folder: Path, name: str) -> Run:
    """The run in ``folder``; what a resumed run did again counts as it came out last.

    Raises:
        DataError: no log there, or not the log of a run.
    """
    file = folder / "log.jsonl"
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise DataError(f"cannot read {file} ({error.strerror}); name the folder that a training wrote") from error
    curves: dict[str, Curve] = {}
    validated: list[int] = []
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
            step = int(row.pop("step"))
            values = {key: float(value) for key, value in row.items()}
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise DataError(f"{file}, line {number} is not what a training writes: remove that line") from error
        if "s_per_step" not in values:
            validated.append(step)
        for key, value in values.items():
            curves.setdefault(key, {})[step] = value
    return Run(name, min(validated, default=1), curves)


def short_names(paths: Sequence[Path]) -> list[str]:
    """The ends of ``paths`` by which they can be told apart; of a checkpoint at least its run and its own name."""
    parts = [path.resolve().parts for path in paths]
    names: list[str] = []
    for count in range(1, max(map(len, parts), default=0) + 1):
        names = ["/".join(p[-max(count, 2 if p[-1].endswith(".pt") else 1) :]) for p in parts]
        if len(set(names)) == len(set(parts)):
            break
    return names


def draw_losses(runs: Sequence[Run], target: Path) -> None:
    """A panel for each loss in any of ``runs``: its mean in training as a line, in validation as a dashed one.

    Raises:
        DataError: the logs hold no loss yet.
    """
    names = dict.fromkeys(name.removeprefix("val_") for run in runs for name in run.curves)
    losses = [name for name in names if name not in NO_LOSSES]
    if not losses:
        raise DataError("the logs of these runs hold no loss yet: wait for their first epoch")
    figure, panels = _panels(len(losses))
    for axes, name in zip(panels, losses, strict=True):
        axes.set(title=TITLES.get(name, name), xlabel=_epoch(runs))
        for number, run in enumerate(runs):
            for key, style, kind in ((name, "-", "training"), (f"val_{name}", "--", "validation")):
                _plot(axes, run, key, number, style, f"{run.name}, {kind}")
    _legend(figure, panels)
    _save(figure, target)


def draw_psnr(runs: Sequence[Run], target: Path) -> None:
    """Validation PSNR over epochs, a line for each run."""
    figure, panels = _panels(1)
    panels[0].set(title="validation", xlabel=_epoch(runs), ylabel="PSNR in dB")
    for number, run in enumerate(runs):
        _plot(panels[0], run, "val_psnr", number, "-", run.name)
    _legend(figure, panels)
    _save(figure, target)


def _plot(axes: Axes, run: Run, key: str, number: int, style: str, label: str) -> None:
    curve = sorted(run.curves.get(key, {}).items())
    if curve:
        values = [1.0 - value if key.endswith("ssim") else value for _, value in curve]
        epochs = [step / run.steps_per_epoch for step, _ in curve]
        axes.plot(epochs, values, style, marker=".", markersize=4, color=_colour(number), label=label)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _epoch(runs: Iterable[Run]) -> str:
    lengths = {run.steps_per_epoch for run in runs}
    if lengths == {1}:
        return "step"
    return f"epoch of {lengths.pop()} steps" if len(lengths) == 1 else "epoch"


def draw_evaluation(folder: Path, target: Path) -> None:
    """Scores by ISO as bars; with the metadata test true, withheld and shuffled ISO and exposure side by side.

    Args:
        folder: what ``lowlight evaluate --out`` wrote.
        target: picture to write.

    Raises:
        DataError: no ``summary.json`` of an evaluation in ``folder``.
    """
    file = folder / "summary.json"
    try:
        summary = json.loads(file.read_text(encoding="utf-8"))
        groups = summary["metadata"] or {label: {"output": found} for label, found in summary["by_iso"].items()}
        figure, panels = _panels(len(SCORES))
        for axes, (score, title) in zip(panels, SCORES.items(), strict=True):
            axes.set(title=title, xlabel="ISO")
            _grouped_bars(axes, {label: _score_of_each(found, score) for label, found in groups.items()})
        _legend(figure, panels)
    except OSError as error:
        raise DataError(f"cannot read {file} ({error.strerror}); name what 'lowlight evaluate --out' wrote") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(f"{file} is not what 'lowlight evaluate --out' writes: evaluate again") from error
    _save(figure, target)


def _score_of_each(found: Mapping[str, Any], score: str) -> dict[str, float]:
    return {kind: math.nan if scores[score] is None else float(scores[score]) for kind, scores in found.items()}


def _grouped_bars(axes: Axes, groups: Mapping[str, Mapping[str, float]]) -> None:
    kinds = list(dict.fromkeys(kind for group in groups.values() for kind in group))
    width = 0.8 / max(len(kinds), 1)
    for number, kind in enumerate(kinds):
        places = [group + (number - (len(kinds) - 1) / 2.0) * width for group in range(len(groups))]
        heights = [group.get(kind, math.nan) for group in groups.values()]
        axes.bar(places, heights, width, color=_colour(number), label=kind)
    axes.set_xticks(range(len(groups)), [label.replace(" to ", "\nto ") for label in groups])


def time_enhance(
    models: Mapping[str, Enhance], rgb: Picture, capture: CaptureMetadata, rounds: int
) -> dict[str, list[float]]:
    """Milliseconds of each call: ``rounds`` of one call of every model in turn, so that a slow moment slows all alike.

    The whole call is timed: picture to network input, network, and back to the picture's size.
    """
    for enhance in models.values():
        enhance(rgb, capture)
    times: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(rounds):
        for name, enhance in models.items():
            begin = time.perf_counter()
            enhance(rgb, capture)
            times[name].append(1000.0 * (time.perf_counter() - begin))
    return times


def draw_times(times: Mapping[str, Sequence[float]], title: str, target: Path) -> None:
    """Median milliseconds as bars; a line from the lower to the upper quartile."""
    figure, (axes,) = _panels(1)
    axes.set(title=title, ylabel="milliseconds a frame, median and quartiles")
    for number, found in enumerate(times.values()):
        middle = statistics.median(found)
        low, high = np.percentile(found, [25.0, 75.0])
        bar = axes.bar(number, middle, 0.6, color=_colour(number), yerr=[[middle - low], [high - middle]], capsize=4.0)
        axes.bar_label(bar, [f"{middle:.1f}"], padding=3.0)
    axes.set_xticks(range(len(times)), list(times))
    axes.margins(y=0.1)
    _save(figure, target)


def first_frames(frames: Iterable[EvaluationImage], count: int) -> list[EvaluationImage]:
    """The first frame of each of the first ``count`` scenes in every ISO bin, from low ISO to high, then unknown.

    So no frame is picked by its looks.
    """
    bins: dict[int, dict[str, EvaluationImage]] = {}
    for frame in frames:
        iso = frame.capture.iso
        scenes = bins.setdefault(len(ISO_BINS) if iso is None else bisect_left(ISO_BINS, iso), {})
        if len(scenes) < count:
            scenes.setdefault(frame.scene, frame)
    return [frame for _, scenes in sorted(bins.items()) for frame in scenes.values()]


def strip(frame: EvaluationImage, models: Iterable[Enhance]) -> Strip:
    """``frame`` enhanced by each of ``models``; PSNR is of the full size, the pictures are shrunk to be shown."""
    pair = frame.load()
    outputs = [np.asarray(enhance(pair.dark, frame.capture), dtype=np.uint8) for enhance in models]
    scores = [psnr_db(output, pair.bright) for output in outputs]
    shown = [(_shrunk(output), score) for output, score in zip(outputs, scores, strict=True)]
    return Strip(described(frame.capture), _shrunk(pair.dark), _shrunk(pair.bright), shown)


def described(capture: CaptureMetadata) -> str:
    """ISO and exposure time in two lines."""
    iso = "ISO unknown" if capture.iso is None else f"ISO {capture.iso:g}"
    return iso if capture.exposure_s is None else f"{iso}\n{capture.exposure_s:.3g} s"


def _shrunk(picture: Picture) -> Picture:
    height, width = picture.shape[:2]
    scale = SHOWN_PIXELS / max(height, width)
    if scale >= 1.0:
        return picture
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def square(picture: Picture, size: int) -> Picture:
    """The middle of ``picture`` as ``size`` x ``size`` pixels."""
    height, width = picture.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    middle = picture[top : top + side, left : left + side]
    return np.asarray(cv2.resize(middle, (size, size), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def draw_strips(strips: Sequence[Strip], models: Sequence[str], target: Path) -> None:
    """A row for each strip: dark, reference, and what each of ``models`` made."""
    columns = ["dark", "reference", *models]
    heights = [2.5 * found.dark.shape[0] / found.dark.shape[1] + 0.4 for found in strips]
    figure = Figure(figsize=(2.6 * len(columns) + 0.6, sum(heights) + 0.4), layout="constrained")
    grid = figure.subplots(len(strips), len(columns), squeeze=False, height_ratios=heights)
    for row, found in zip(grid, strips, strict=True):
        pictures = [(found.dark, ""), (found.reference, ""), *((p, f"{psnr:.1f} dB") for p, psnr in found.outputs)]
        for axes, (picture, caption) in zip(row, pictures, strict=True):
            axes.imshow(picture)
            axes.set(xticks=[], yticks=[], xlabel=caption)
        row[0].set_ylabel(found.label)
    for axes, title in zip(grid[0], columns, strict=True):
        axes.set_title(title, fontsize="medium")
    _save(figure, target)


def _panels(count: int) -> tuple[Figure, list[Axes]]:
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    size = (7.0, 4.5) if count == 1 else (4.5 * columns, 3.4 * rows)
    figure = Figure(figsize=size, layout="constrained")
    panels = [figure.add_subplot(rows, columns, number + 1) for number in range(count)]
    for axes in panels:
        axes.grid(visible=True, alpha=0.3)
        axes.set_axisbelow(True)
    return figure, panels


def _legend(figure: Figure, panels: Iterable[Axes]) -> None:
    """One for all panels, above them."""
    found = {label: handle for axes in panels for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(found.values(), found.keys(), loc="outside upper center", ncols=min(len(found), 4), fontsize="small")


def _colour(number: int) -> Any:
    return matplotlib.colormaps["tab10"](number % 10)


def _save(figure: Figure, target: Path) -> None:
    with atomic_file(target) as temporary:
        figure.savefig(temporary, dpi=DPI)
