"""The demo's side-by-side picture and video."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from lowlight_enhance.core.errors import DataError
from lowlight_enhance.core.files import replacing
from lowlight_enhance.tools.demo.scene import Clip, Picture


def write_picture(clip: Clip, enhanced: dict[int, Path], target: Path) -> None:
    """One row a frame: dark, enhanced, photograph.

    Args:
        clip: what was shown.
        enhanced: ``.npy`` files of (H, W, 3) RGB by frame index.
        target: PNG file.

    Raises:
        DataError: it cannot be written.
    """
    rows = [
        beside(
            (clip.dark(index), f"camera: {clip.take(index)}"),
            (np.load(path), "enhanced"),
            (clip.reference(index), "photograph"),
        )
        for index, path in enhanced.items()
    ]
    with replacing(target) as temporary:
        if not cv2.imwrite(str(temporary), np.vstack(rows)[:, :, ::-1]):
            raise DataError(f"cannot write {target}; free some space or name another folder")


def write_video(clip: Clip, enhanced: dict[int, Path], rate_hz: float, target: Path) -> None:
    """Dark beside enhanced, at the speed of the run.

    Args:
        clip: what was shown.
        enhanced: ``.npy`` files of (H, W, 3) RGB by frame index.
        rate_hz: frames a second.
        target: MP4 file.

    Raises:
        DataError: this OpenCV has no MPEG-4 encoder, or the file cannot be written.
    """
    with replacing(target) as temporary:
        writer: cv2.VideoWriter | None = None
        try:
            for index, path in enhanced.items():
                dark = (clip.dark(index), f"camera: {clip.take(index)}")
                frame = beside(dark, (np.load(path), "enhanced"))
                if writer is None:
                    code = cv2.VideoWriter.fourcc(*"mp4v")
                    writer = cv2.VideoWriter(str(temporary), code, rate_hz, frame.shape[1::-1])
                if not writer.isOpened():
                    raise DataError(f"cannot write {target}: this OpenCV has no MPEG-4 encoder; install another build")
                writer.write(np.ascontiguousarray(frame[:, :, ::-1]))
        finally:
            if writer is not None:
                writer.release()
        if temporary.stat().st_size == 0:
            raise DataError(f"cannot write {target}: nothing was encoded; free some space or name another folder")


def beside(*panels: tuple[Picture, str]) -> Picture:
    """Pictures of one height side by side, each with its label."""
    return np.concatenate([labelled(picture, text) for picture, text in panels], axis=1)


def labelled(picture: Picture, text: str) -> Picture:
    """A copy with ``text`` in the top left corner, readable on any ground."""
    out: Picture = picture.copy()
    strokes: Sequence[tuple[tuple[int, int, int], int]] = (((0, 0, 0), 4), ((255, 255, 255), 1))
    for colour, thickness in strokes:
        cv2.putText(out, text, (10, 24), cv2.FONT_HERSHEY_SIMPLEX, 0.6, colour, thickness, cv2.LINE_AA)
    return out
