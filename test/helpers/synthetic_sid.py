"""A See-in-the-Dark folder in miniature: its layout, names and lists, with DNG files in place of the cameras' own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from dng import mosaic_of, write_dng

LONG_S = 10.0


@dataclass(frozen=True)
class Scene:
    """A scene with one long exposure and a short one for each of ``shorts_s`` (seconds)."""

    name: str
    split: str
    shorts_s: Sequence[float] = (0.04, 0.1)
    iso: int = 200
    light: np.ndarray = field(default_factory=lambda: np.full((48, 64, 3), (0.5, 0.6, 0.7)))

    def short(self, shot: int, camera: str = "Sony", suffix: str = "ARW") -> str:
        return f"{camera}/short/{self.name}_{shot:02d}_{self.shorts_s[shot]:g}s.{suffix}"

    def long(self, camera: str = "Sony", suffix: str = "ARW") -> str:
        return f"{camera}/long/{self.name}_00_{LONG_S:g}s.{suffix}"


SCENES = (
    Scene("00001", "train"),
    Scene("00002", "train", (0.1,), iso=1600),
    Scene("10003", "test", (0.033,), iso=640),
    Scene("20005", "val", (0.1, 0.1)),
)
"""Four scenes, six shorts, ten raw files."""


def write_sid(
    folder: Path, scenes: Sequence[Scene] = SCENES, camera: str = "Sony", suffix: str = "ARW", f_number: str = "F8"
) -> None:
    """Write the raw files and lists of ``scenes``; the light of a short is in proportion to its exposure time."""
    for kind in ("short", "long"):
        (folder / camera / kind).mkdir(parents=True, exist_ok=True)
    lists: dict[str, list[str]] = {}
    for scene in scenes:
        long = scene.long(camera, suffix)
        write_dng(folder / long, mosaic_of(scene.light), scene.iso, LONG_S)
        for shot, exposure_s in enumerate(scene.shorts_s):
            short = scene.short(shot, camera, suffix)
            write_dng(folder / short, mosaic_of(scene.light * exposure_s / LONG_S), scene.iso, exposure_s)
            lists.setdefault(scene.split, []).append(f"./{short} ./{long} ISO{scene.iso} {f_number}")
    for split, lines in lists.items():
        (folder / f"{camera}_{split}_list.txt").write_text("\n".join(lines) + "\n")
