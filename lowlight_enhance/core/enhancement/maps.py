"""EnhancementMaps: the result of the network, as every later step takes and returns it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lowlight_enhance.core.errors import ModelError
from lowlight_enhance.core.inference.model_input import Tensor

GUIDED_RADIUS = 1
GUIDED_EPS = 1e-4


@dataclass(frozen=True, slots=True)
class EnhancementMaps:
    """A local affine map of colours: ``enhanced = gain * rgb + offset`` for each pixel and channel.

    Steps return new maps; nothing changes these arrays.

    Attributes:
        gain: (3, h, w) float32, R, G, B.
        offset: (3, h, w) float32, R, G, B, in 0..1 of full scale.
        frame: (3, h, w) float32 in 0..1, the frame as the network saw it.
    """

    gain: Tensor
    offset: Tensor
    frame: Tensor

    @classmethod
    def from_output(cls, output: Tensor, frame: Tensor) -> EnhancementMaps:
        """Interpret the output of a network.

        Args:
            output: (6, h, w) gain and offset, or (3, h, w) enhanced picture in 0..1, which is converted to maps.
            frame: (3, h, w) the frame as the network saw it, in 0..1.

        Raises:
            ModelError: the output has another number of channels.
        """
        if output.shape[0] == 6:
            return cls(output[:3], output[3:], frame)
        if output.shape[0] == 3:
            return cls.guided(frame, output)
        raise ModelError(
            f"the output of the network has {output.shape[0]} channels: expected 6 (gain and offset) or 3 (picture)"
        )

    @classmethod
    def guided(cls, frame: Tensor, picture: Tensor) -> EnhancementMaps:
        """Return maps that turn each channel of ``frame`` into ``picture``, both (3, h, w) in 0..1.

        They are the coefficients of the fast guided filter (K. He, J. Sun, "Fast Guided Filter", 2015).
        """
        size = (2 * GUIDED_RADIUS + 1,) * 2

        def mean(plane: NDArray[np.floating[Any]]) -> Tensor:
            blurred = cv2.blur(plane.astype(np.float32), size, borderType=cv2.BORDER_REFLECT)
            return np.asarray(blurred, dtype=np.float32)

        gains, offsets = np.empty_like(frame), np.empty_like(frame)
        for channel in range(3):
            x, y = np.ascontiguousarray(frame[channel]), np.ascontiguousarray(picture[channel])
            mean_x, mean_y = mean(x), mean(y)
            gain = (mean(x * y) - mean_x * mean_y) / (mean(x * x) - mean_x * mean_x + GUIDED_EPS)
            gains[channel], offsets[channel] = mean(gain), mean(mean_y - gain * mean_x)
        return cls(gains, offsets, frame)

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of the maps."""
        return self.frame.shape[1], self.frame.shape[2]

    def picture(self) -> Tensor:
        """Return the enhanced picture at the size of the maps, (3, h, w), not clipped."""
        return self.gain * self.frame + self.offset

    def at_strength(self, strength: float) -> EnhancementMaps:
        """Return maps that apply a share of the enhancement, 0..1; 0 leaves frames unchanged."""
        if strength == 1.0:
            return self
        part = np.float32(strength)
        return replace(self, gain=self.gain * part + np.float32(1.0 - strength), offset=self.offset * part)
