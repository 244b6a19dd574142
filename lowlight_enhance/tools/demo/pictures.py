"""The demo's side-by-side picture and video."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np

from lowlight_enhance.core.errors import DataError
from lowlight_enhance.core.files import atomic_file
from lowlight_enhance.tools.demo.scene import DemoClip, Picture
from lowlight_enhance.tools.image_file import write_image

Panel = tuple[Picture, str]
"""A picture and its label."""


def clip_panels(clip: DemoClip, index: int, alone: Path, enhanced: Path) -> list[Panel]:
    """Return the panels of one frame: dark, enhanced alone, enhanced in the stream, original.

    Args:
        clip: clip of the frame.
        index: index of the frame.
        alone: ``.npy`` file of the frame enhanced alone, (H, W, 3) RGB.
        enhanced: ``.npy`` file of the frame that the node enhanced, (H, W, 3) RGB.
    """
    return [
        (clip.dark(index), f"camera: {clip.shot(index)}"),
        (np.load(alone), "one frame alone"),
        (np.load(enhanced), "in the stream"),
        (clip.reference(index), "photograph"),
    ]


def write_picture(rows: Iterable[Sequence[Panel]], target: Path) -> None:
    """Write a PNG file with one row of panels below the other.

    Raises:
        DataError: the file cannot be written.
    """
    write_image(np.vstack([side_by_side(panels) for panels in rows]), target)


def write_video(frames: Iterable[Sequence[Panel]], rate_hz: float, target: Path) -> None:
    """Write an MP4 file; each frame is one row of panels.

    Raises:
        DataError: this build of OpenCV has no MPEG-4 encoder, or the file cannot be written.
    """
    with atomic_file(target) as temporary:
        writer: cv2.VideoWriter | None = None
        try:
            for panels in frames:
                frame = side_by_side(panels)
                if writer is None:
                    code = cv2.VideoWriter.fourcc(*"mp4v")
                    writer = cv2.VideoWriter(str(temporary), code, rate_hz, frame.shape[1::-1])
                if not writer.isOpened():
                    raise DataError(f"cannot write {target}: this OpenCV has no MPEG-4 encoder; install another build")
                writer.write(np.ascontiguousarray(frame[:, :, ::-1]))
        finally:
            if writer is not None:
                writer.release()
        if temporary.stat().st_size == 0:  # VideoWriter does not report a failed write
            raise DataError(f"cannot write {target}: nothing was encoded; free some space or choose another folder")


def side_by_side(panels: Iterable[Panel]) -> Picture:
    """Return pictures of equal height side by side, each with its label."""
    return np.concatenate([draw_label(picture, text) for picture, text in panels], axis=1)


def draw_label(picture: Picture, text: str) -> Picture:
    """Return a copy with ``text`` in the top left corner, white with a black outline."""
    out: Picture = picture.copy()
    for colour, thickness in (((0, 0, 0), 4), ((255, 255, 255), 1)):
        cv2.putText(out, text, (10, 24), cv2.FONT_HERSHEY_SIMPLEX, 0.6, colour, thickness, cv2.LINE_AA)
    return out
