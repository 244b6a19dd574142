"""Result of `lowlight bench`: times for each frame size, as JSON and as a table."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SizeTimings:
    """Medians for one frame size, in milliseconds.

    Attributes:
        width: columns of the frame.
        height: rows of the frame.
        tensor: shape of the network's input.
        stages_ms: by name of the stage, in the order in which they run.
        total_ms: from an image message to the filled output message, through ``Pipeline``.
        inference_ms: inference alone, with the same session on the same array.
        onnxruntime_ms: inference in ONNX Runtime, if another runtime is measured; else None.
        upsampling_ms: each of ``pipeline_benchmark.OTHER_UPSAMPLING`` in place of the stage ``upsample``.
        opencv_ms: methods of OpenCV that brighten or denoise, for comparison.
    """

    width: int
    height: int
    tensor: tuple[int, ...]
    stages_ms: dict[str, float]
    total_ms: float
    inference_ms: float
    onnxruntime_ms: float | None
    upsampling_ms: dict[str, float]
    opencv_ms: dict[str, float]

    @property
    def ratio(self) -> float:
        """Total time divided by inference alone."""
        return self.total_ms / self.inference_ms

    @property
    def speed_up(self) -> float | None:
        """ONNX Runtime's inference time divided by this runtime's."""
        return None if self.onnxruntime_ms is None else self.onnxruntime_ms / self.inference_ms

    @property
    def frames_per_s(self) -> float:
        """Frames per second if frames are processed one after the other."""
        return 1000.0 / self.total_ms


@dataclass(frozen=True, slots=True)
class PipelineBenchmark:
    """Timings of all sizes, and the model, runtime and machine that were measured."""

    model: str
    sha256: str
    runtime: str
    providers: tuple[str, ...]
    threads: int
    rounds: int
    machine: str
    sizes: tuple[SizeTimings, ...]

    def to_json(self) -> str:
        """Return all values, with ratios and frames per second."""
        values = dataclasses.asdict(self)
        for entry, size in zip(values["sizes"], self.sizes, strict=True):
            entry |= {"ratio": size.ratio, "speed_up": size.speed_up, "frames_per_s": size.frames_per_s}
        return json.dumps(values, indent=2)

    def table(self) -> str:
        """Return the results as a text table, one column per size."""
        sizes = self.sizes
        rows: list[tuple[str, list[str]]] = [
            ("median ms per frame", [f"{size.width}x{size.height}" for size in sizes]),
            *_rows([size.stages_ms for size in sizes]),
            ("total", [f"{size.total_ms:.2f}" for size in sizes]),
            ("inference alone", [f"{size.inference_ms:.2f}" for size in sizes]),
            ("total / inference", [f"{size.ratio:.2f}" for size in sizes]),
            ("frames per second", [f"{size.frames_per_s:.1f}" for size in sizes]),
            ("network input", ["x".join(str(side) for side in size.tensor[2:][::-1]) for size in sizes]),
        ]
        if any(size.onnxruntime_ms is not None for size in sizes):
            rows += [
                ("inference in onnxruntime", [_two_digits(size.onnxruntime_ms) for size in sizes]),
                ("onnxruntime / this runtime", [_two_digits(size.speed_up) for size in sizes]),
            ]
        rows += _rows([size.upsampling_ms for size in sizes], "upsample by ")
        rows += _rows([size.opencv_ms for size in sizes], "OpenCV ")
        label = max(len(row[0]) for row in rows)
        lines = [f"{name:<{label}}" + "".join(f"{cell:>12}" for cell in cells) for name, cells in rows]
        head = f"{self.model} ({self.sha256[:12]}), {', '.join(self.providers)}, {self.threads} threads, "
        return "\n".join([head + f"{self.runtime}, {self.rounds} interleaved rounds, {self.machine}", "", *lines])


def _rows(columns: Sequence[dict[str, float]], prefix: str = "") -> list[tuple[str, list[str]]]:
    names = columns[0] if columns else {}
    return [(prefix + name, [f"{column[name]:.2f}" for column in columns]) for name in names]


def _two_digits(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
