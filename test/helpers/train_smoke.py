"""``make train-smoke``: run every training command once, from raw files to figures, on a generated data set.

The networks are those of the paper and of the models that ship, at small sizes. They train for seconds: this shows
that all commands work together, not how good the result is.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from synthetic_sid import Scene, write_sid

SIZE = (128, 160)
"""Rows and columns of the raw files."""

ISOS = {"train": (200, 800, 2000, 6400), "val": (200, 6400), "test": (200, 800, 6400, 25600)}
"""A scene for each."""

RUN_YAML = """\
data: {shapes: [{crop_size: 64, working_size: 64, batch_size: 4}], simulated: 0.0, darken_pairs: 0.0}
fit: {epochs: 2, steps_per_epoch: 20}
model_input: {working_size: 64, size_multiple: 32}
"""

CONFIGS = {
    "teacher.yaml": RUN_YAML
    + """\
network: {paper: {channels: [8, 16, 32], head: 8}}
discriminator: {channels: [8, 16, 32]}
phases: {warmup: 1}
""",
    "student.yaml": RUN_YAML + "network: {kind: paper, paper: {channels: [4, 8, 16], head: 4}}\n",
    "tiny.yaml": RUN_YAML
    + """\
network: {kind: affine, affine: {channels: [8, 16, 32], head: 8}}
losses: {l1: 0.5, ssim: 0.0}
""",
    "recipe.yaml": """\
data: {pairs: [sony.csv]}
networks:
  - {name: teacher, command: train-teacher, config: teacher.yaml}
  - {name: student, command: distill, teacher: teacher, config: student.yaml}
  - {name: tiny, command: distill, teacher: teacher, config: tiny.yaml}
export:
  models: [{name: student}, {name: tiny_int8, network: tiny, precision: int8}]
  weights: [tiny]
  limits: {min_psnr_db: 20.0, max_loss_db: 3.0}
evaluation: {pairs: [sony.csv]}
""",
    "fine_tune.yaml": """\
data: {shapes: [{crop_size: 64, working_size: 64, batch_size: 4}]}
fit: {epochs: 1, steps_per_epoch: 5, freeze_norm: 1.0}
""",
}
"""The paper's networks, losses and phases at small sizes, a student of the kind that ships, and the recipe of all."""


def light(seed: int) -> NDArray[np.float64]:
    """Return (H, W, 3) linear light in 0..1: coloured boxes before a wall that is lit from one side."""
    rng = np.random.default_rng(seed)
    height, width = SIZE
    scene = rng.uniform(0.3, 0.6, 3) * np.linspace(0.4, 1.0, width)[None, :, None] * np.ones((height, 1, 1))
    for _ in range(12):
        top, left = (int(rng.integers(0, side - 16)) for side in SIZE)
        scene[top : top + int(rng.integers(8, 48)), left : left + int(rng.integers(8, 48))] = rng.uniform(
            0.05, 0.95, 3
        )
    return scene


def scenes() -> list[Scene]:
    """Return the scenes of ``ISOS``, each with two short exposures, numbered as in See-in-the-Dark."""
    first = {"train": 0, "test": 10000, "val": 20000}
    return [
        Scene(f"{first[split] + number:05d}", split, (0.1, 0.4), iso, light(first[split] + number))
        for split, isos in ISOS.items()
        for number, iso in enumerate(isos, start=1)
    ]


def lowlight(*arguments: str | int | Path) -> None:
    """Run a command of the package. If it fails, this script ends with its exit status."""
    words = list(map(str, arguments))
    print("\n$ lowlight", *words, flush=True)
    begin = time.monotonic()
    code = subprocess.run([sys.executable, "-m", "lowlight_enhance.cli", *words], check=False).returncode
    if code:
        sys.exit(code)
    print(f"({time.monotonic() - begin:.0f} s)", flush=True)


def chain(out: Path) -> None:
    """Write everything below ``out``, a folder that does not exist yet."""
    out.mkdir(parents=True)
    for name, text in CONFIGS.items():
        (out / name).write_text(text)
    write_sid(out / "raw", scenes())
    sid, pairs, run, scores = out / "sid", out / "sony.csv", out / "run", out / "evaluation"
    teacher, student, model = run / "teacher/last.pt", run / "student/last.pt", run / "models/student.onnx"
    data = ("--pairs", pairs, "--data-root", sid)

    lowlight("prepare-sid", out / "raw", "--camera", "sony", "--out", sid)
    lowlight("dataset", "make", sid / "sony.csv", pairs, "--data-root", sid)
    lowlight("dataset", "check", pairs, "--data-root", sid)
    lowlight("train-teacher", *data, "--config", out / "teacher.yaml", "--out", teacher.parent)
    lowlight("distill", teacher, *data, "--config", out / "student.yaml", "--out", student.parent)
    # The recipe takes over both checkpoints, and trains the other student.
    lowlight("train", "--config", out / "recipe.yaml", "--data-root", sid, "--out", run)
    lowlight(
        "train-student", "--init", run / "models/tiny.safetensors", *data,
        "--config", out / "fine_tune.yaml", "--out", out / "fine_tuned",
    )  # fmt: skip
    lowlight("export", out / "fine_tuned/last.pt", out / "fine_tuned.onnx")
    lowlight("evaluate", model, *data, "--split", "test", "--metadata-test", "--out", scores)
    lowlight(
        "figures", "--run", teacher.parent, student.parent, "--evaluation", scores, "--models", teacher, model,
        *data, "--split", "test", "--threads", 1, "--out", out / "figures",
    )  # fmt: skip


WHAT = {
    "raw": "raw files and lists, made here",
    "sony.csv": "manifest of the developed pairs, with hashes",
    "run/teacher": "the teacher's run: last.pt, best.pt, log.jsonl, tensorboard/",
    "run/student": "the run of the paper's student",
    "run/tiny": "the run of a student of the kind that ships",
    "run/models/student.onnx": "the paper's student",
    "run/models/tiny_int8.onnx": "the other student in int8",
    "run/models/tiny.safetensors": "its float32 weights",
    "run/evaluation/table.md": "scores of both on the test split",
    "fine_tuned.onnx": "fine-tuned from those weights",
    "evaluation": "frames.csv and summary.json, with the metadata test",
    "figures": "losses, PSNR, scores by ISO, strips, times",
}


def main() -> None:
    """Run all commands in the folder that the command line names."""
    (out,) = map(Path, sys.argv[1:])
    begin = time.monotonic()
    chain(out)
    print(f"\nall commands: {time.monotonic() - begin:.0f} s")
    for name, what in WHAT.items():
        if not (out / name).exists():
            sys.exit(f"{out / name} is missing")
        print(f"  {out / name!s:<48} {what}")


if __name__ == "__main__":
    main()
