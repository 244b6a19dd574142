"""Orientation: the eight display orientations of a video file.

A display matrix maps stored to shown coordinates: ``x' = a x + c y`` and ``y' = b x + d y`` (ISO/IEC 14496-12, 6.2.2).
The angle that FFmpeg derives from it is the same for a mirrored and a rotated image, so the matrix is used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from lowlight_enhance.core.inference.model_input import Rgb

if TYPE_CHECKING:
    import av


@dataclass(frozen=True, slots=True)
class Orientation:
    """Steps that turn a stored image upright: transpose first, then flip.

    Attributes:
        is_transposed: rows become columns.
        is_mirrored: left and right are swapped.
        is_flipped: top and bottom are swapped.
    """

    is_transposed: bool = False
    is_mirrored: bool = False
    is_flipped: bool = False

    def apply(self, rgb: Rgb) -> Rgb:
        """Return the image upright, (H, W, 3) and contiguous."""
        upright = rgb.transpose(1, 0, 2) if self.is_transposed else rgb
        rows, columns = (slice(None, None, -1 if flip else None) for flip in (self.is_flipped, self.is_mirrored))
        return cast(Rgb, np.ascontiguousarray(upright[rows, columns]))


def orientation_of(frame: av.VideoFrame) -> Orientation:
    """Return the orientation of a decoded frame; angles between the quarters are rounded to the nearest."""
    side_data: Any = frame.side_data
    matrix = next((bytes(data) for data in side_data if data.type.name == "DISPLAYMATRIX"), b"")
    if len(matrix) != 36:
        return Orientation()
    a, b, _, c, d = (int(value) for value in np.frombuffer(matrix, np.int32)[:5])
    if abs(b) + abs(c) > abs(a) + abs(d):
        return Orientation(is_transposed=True, is_mirrored=c < 0, is_flipped=b < 0)
    return Orientation(is_mirrored=a < 0, is_flipped=d < 0)
