"""``make train-smoke``: run every command of training once, from raw files to figures, on a generated data set.

The networks are tiny and learn for seconds: this shows that the chain holds, not what it can do.
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

TEACHER_YAML = """\
network: {paper: {channels: [8, 16, 32], head: 8}}
discriminator: {channels: [8, 16, 32]}
data: {shapes: [{crop_size: 64, working_size: 64, batch_size: 4}], simulated: 0.0, darken_pairs: 0.0}
fit: {epochs: 2, steps_per_epoch: 20}
model_input: {working_size: 64, size_multiple: 32}
phases: {warmup: 1}
"""

STUDENT_YAML = """\
network: {kind: affine, affine: {channels: [8, 16, 32], head: 8}}
data: {shapes: [{crop_size: 64, working_size: 64, batch_size: 4}], simulated: 0.0, darken_pairs: 0.0}
fit: {epochs: 2, steps_per_epoch: 20}
model_input: {working_size: 64, size_multiple: 32}
losses: {l1: 0.5, ssim: 0.0}
"""


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
    """Those of ``ISOS``, each with two short exposures, numbered as in See-in-the-Dark."""
    first = {"train": 0, "test": 10000, "val": 20000}
    return [
        Scene(f"{first[split] + number:05d}", split, (0.1, 0.4), iso, light(first[split] + number))
        for split, isos in ISOS.items()
        for number, iso in enumerate(isos, start=1)
    ]


def lowlight(*arguments: str | int | Path) -> None:
    """Run a command of the package; ends this script with its exit code where it fails."""
    given = list(map(str, arguments))
    print("\n$ lowlight", *given, flush=True)
    begin = time.monotonic()
    code = subprocess.run([sys.executable, "-m", "lowlight_enhance.cli", *given], check=False).returncode
    if code:
        sys.exit(code)
    print(f"({time.monotonic() - begin:.0f} s)", flush=True)


def chain(out: Path) -> None:
    """Write everything below ``out``, a folder that does not exist yet."""
    out.mkdir(parents=True)
    (out / "teacher.yaml").write_text(TEACHER_YAML)
    (out / "student.yaml").write_text(STUDENT_YAML)
    write_sid(out / "raw", scenes())
    pairs, teacher, student = out / "sid/sony.csv", out / "teacher/best.pt", out / "student/best.pt"
    model, scores = out / "student.onnx", out / "evaluation"

    lowlight("prepare-sid", out / "raw", "--camera", "sony", "--out", out / "sid")
    lowlight("train-teacher", "--pairs", pairs, "--config", out / "teacher.yaml", "--out", teacher.parent)
    lowlight("distill", teacher, "--pairs", pairs, "--config", out / "student.yaml", "--out", student.parent)
    lowlight("export", student, model)
    lowlight("evaluate", model, "--data", pairs, "--split", "test", "--metadata-test", "--out", scores)
    lowlight(
        "figures", "--run", teacher.parent, student.parent, "--evaluation", scores,
        "--models", teacher, model, "--data", pairs, "--split", "test", "--threads", 1, "--out", out / "figures",
    )  # fmt: skip


WHAT = {
    "raw": "raw files and lists, made here",
    "sid/sony.csv": "index of the developed pairs",
    "teacher": "the teacher's run: best.pt, last.pt, log.jsonl, tensorboard/",
    "student": "the student's run",
    "student.onnx": "the exported student",
    "evaluation": "frames.csv and summary.json, with the metadata test",
    "figures": "losses, PSNR, scores by ISO, strips, times",
}


def main() -> None:
    """Run the chain in the folder that the command line names."""
    (out,) = map(Path, sys.argv[1:])
    begin = time.monotonic()
    chain(out)
    print(f"\nthe whole chain: {time.monotonic() - begin:.0f} s")
    for name, what in WHAT.items():
        if not (out / name).exists():
            sys.exit(f"{out / name} is missing")
        print(f"  {out / name!s:<32} {what}")


if __name__ == "__main__":
    main()
