"""Small data sets for the training tests."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np


def write_tiny_data(folder: Path) -> Path:
    """Write pairs.csv and photos.csv with three scenes of 64 pixels, the last for validation."""
    rng = np.random.default_rng(0)
    lines = ["scene,dark,bright,split"]
    for number in range(3):
        picture = cv2.resize(rng.integers(60, 256, (6, 6, 3), dtype=np.uint8), (64, 64))
        cv2.imwrite(str(folder / f"{number}.png"), picture)
        cv2.imwrite(str(folder / f"{number}_dark.png"), picture // 5)
        lines.append(f"{number},{number}_dark.png,{number}.png,{'val' if number == 2 else 'train'}")
    (folder / "pairs.csv").write_text("\n".join(lines))
    (folder / "photos.csv").write_text("file,split\n0.png,train\n1.png,train\n2.png,val\n")
    return folder
