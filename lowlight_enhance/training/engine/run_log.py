"""Log of a training run: lines on the screen, ``log.jsonl``, TensorBoard files and a progress bar."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from lowlight_enhance.core.files import translate_os_errors

Parts = Mapping[str, Tensor | float]
"""Losses of a batch by name."""


@dataclass(frozen=True, slots=True)
class Validation:
    """Result of a validation.

    Attributes:
        scores: by name. The state with the highest ``psnr`` is the best; without ``psnr`` it is the newest state.
        picture: (3, H, W) sample in 0..1.
    """

    scores: dict[str, float]
    picture: Tensor | None = None


class RunLog:
    """Log of a run. The first process writes means over all processes.

    Args:
        out: folder of the run.
        start: steps done before.
        steps: steps of the whole run.
        accelerator: of the run.
    """

    def __init__(self, out: Path, start: int, steps: int, accelerator: Accelerator) -> None:
        self.accelerator = accelerator
        self.main = accelerator.is_main_process
        self.file = out / "log.jsonl"
        self.writer = SummaryWriter(str(out / "tensorboard"), purge_step=start + 1) if self.main else None
        self.bar = tqdm(total=steps, initial=start, unit="step", disable=None if self.main else True)
        self._begin()

    def __enter__(self) -> RunLog:
        self._thread_hook = threading.excepthook
        threading.excepthook = self._on_thread_error
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()
        try:
            if self.writer:
                with translate_os_errors(self.file.parent):
                    self.writer.close()
        finally:
            threading.excepthook = self._thread_hook

    def _on_thread_error(self, error: threading.ExceptHookArgs) -> None:
        """Leave out the traceback of TensorBoard's thread on a full disk: the next call of the writer raises it."""
        if not (isinstance(error.exc_value, OSError) and type(error.thread).__module__.startswith("tensorboard.")):
            self._thread_hook(error)

    def _begin(self) -> None:
        self.totals: dict[str, Tensor] = {}
        self.counts: dict[str, int] = {}
        self.since, self.steps = time.monotonic(), 0

    def add(self, parts: Parts) -> None:
        """Add the losses of one step. They stay on the device until they are written."""
        for name, value in parts.items():
            value = torch.as_tensor(value, dtype=torch.float32, device=self.accelerator.device)
            self.totals[name] = self.totals.get(name, torch.zeros_like(value)) + value
            self.counts[name] = self.counts.get(name, 0) + 1
        self.steps += 1
        self.bar.update()

    def write_means(self, step: int) -> None:
        """Write the means of the losses since the last call, over all processes."""
        names = list(self.totals)
        means = torch.stack([self.totals[name] / self.counts[name] for name in names])
        means = self.accelerator.reduce(means, "mean")
        row = dict(zip(names, means.tolist(), strict=True))
        self._write(step, {**row, "s_per_step": (time.monotonic() - self.since) / self.steps})
        self._begin()

    def write_scores(self, step: int, validation: Validation) -> None:
        """Write the scores of a validation."""
        self._write(step, {f"val_{name}": value for name, value in validation.scores.items()})
        if self.writer and validation.picture is not None:
            with translate_os_errors(self.file.parent):
                self.writer.add_image("dark, enhanced, reference", validation.picture, step)
        self.since = time.monotonic()

    def print(self, text: str) -> None:
        """Print a line above the progress bar."""
        if self.main:
            self.bar.write(text)

    def _write(self, step: int, row: dict[str, float]) -> None:
        if not self.writer:
            return
        with translate_os_errors(self.file.parent):
            with self.file.open("a") as file:
                file.write(json.dumps({"step": step, **row}) + "\n")
            for name, value in row.items():
                self.writer.add_scalar(name, value, step)
        self.print("  ".join([f"step {step}", *(f"{name} {value:.4g}" for name, value in row.items())]))
