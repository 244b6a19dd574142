"""Losses and validation PSNR of training runs over epochs, from their ``log.jsonl``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from lowlight_enhance.core.errors import DataError
from lowlight_enhance.core.files import make_folder
from lowlight_enhance.training.figures import canvas

NO_LOSSES = ("psnr", "learning_rate", "s_per_step")
"""Entries of the log that are not losses."""

TITLES = {
    "loss": "total loss (validation: L1 and SSIM)",
    "l1": "L1",
    "ssim": "1 - SSIM",
    "adversarial": "adversarial loss of the generator",
    "discriminator": "hinge loss of the discriminator",
    "teacher_l1": "L1 to the teacher",
}

Curve = dict[int, float]
"""Values by step."""


@dataclass(frozen=True, slots=True)
class Run:
    """Content of the log of a training run.

    Attributes:
        name: for the legend.
        steps_per_epoch: steps until the first validation; 1 before there was one.
        curves: by name in the log; names of validation begin with ``val_``.
    """

    name: str
    steps_per_epoch: int
    curves: dict[str, Curve]


def draw_runs(folders: Sequence[Path], out: Path) -> list[str]:
    """Draw ``losses.png`` and, with a validation, ``psnr.png`` into ``out``. Returns a line of text about each.

    Raises:
        DataError: a folder has no log of a run, or no losses.
    """
    names = canvas.short_names(folders)
    runs = [read_run(folder, name) for folder, name in zip(folders, names, strict=True)]
    make_folder(out)
    draw_losses(runs, out / "losses.png")
    if not any("val_psnr" in run.curves for run in runs):
        return [f"{out / 'losses.png'} (no psnr.png: these runs have no validation pairs)"]
    draw_psnr(runs, out / "psnr.png")
    return [str(out / name) for name in ("losses.png", "psnr.png")]


def read_run(folder: Path, name: str) -> Run:
    """Read the log of a run. Of steps that a resumed run repeated, the last values count.

    Raises:
        DataError: no log, or a line that is not an entry of a log.
    """
    file = folder / "log.jsonl"
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise DataError(f"cannot read {file} ({error.strerror}); give the folder of a training run") from error
    curves: dict[str, Curve] = {}
    validated: list[int] = []
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
            step = int(row.pop("step"))
            values = {key: float(value) for key, value in row.items()}
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise DataError(f"{file}, line {number} is not an entry of a training log: remove that line") from error
        if "s_per_step" not in values:
            validated.append(step)
        for key, value in values.items():
            curves.setdefault(key, {})[step] = value
    return Run(name, min(validated, default=1), curves)


def draw_losses(runs: Sequence[Run], target: Path) -> None:
    """Draw a panel for each loss: solid lines for training, dashed ones for validation.

    Raises:
        DataError: the logs have no losses yet.
    """
    names = dict.fromkeys(name.removeprefix("val_") for run in runs for name in run.curves)
    losses = [name for name in names if name not in NO_LOSSES]
    if not losses:
        raise DataError("the logs of these runs have no losses yet: wait for the first epoch")
    figure, panels = canvas.create_panels(len(losses))
    for axes, name in zip(panels, losses, strict=True):
        axes.set(title=TITLES.get(name, name), xlabel=_epoch_label(runs))
        for number, run in enumerate(runs):
            for key, style, kind in ((name, "-", "training"), (f"val_{name}", "--", "validation")):
                _plot(axes, run, key, number, style, f"{run.name}, {kind}")
    canvas.add_legend(figure, panels)
    canvas.save(figure, target)


def draw_psnr(runs: Sequence[Run], target: Path) -> None:
    """Draw the validation PSNR of each run over epochs."""
    figure, panels = canvas.create_panels(1)
    panels[0].set(title="validation", xlabel=_epoch_label(runs), ylabel="PSNR in dB")
    for number, run in enumerate(runs):
        _plot(panels[0], run, "val_psnr", number, "-", run.name)
    canvas.add_legend(figure, panels)
    canvas.save(figure, target)


def _plot(axes: Axes, run: Run, key: str, number: int, style: str, label: str) -> None:
    curve = sorted(run.curves.get(key, {}).items())
    if curve:
        values = [1.0 - value if key.endswith("ssim") else value for _, value in curve]
        epochs = [step / run.steps_per_epoch for step, _ in curve]
        axes.plot(epochs, values, style, marker=".", markersize=4, color=canvas.color(number), label=label)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _epoch_label(runs: Iterable[Run]) -> str:
    lengths = {run.steps_per_epoch for run in runs}
    if lengths == {1}:
        return "step"
    return f"epoch of {lengths.pop()} steps" if len(lengths) == 1 else "epoch"
