"""Renderings of dark frames that are compared: unchanged, brightened, and enhanced alone or as a stream."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lowlight_enhance.core.enhancement.enhancer import Enhance, FrameEnhancer
from lowlight_enhance.core.errors import DataError
from lowlight_enhance.core.pipeline import Pipeline, PipelineConfig
from lowlight_enhance.evaluation.baselines import BASELINES
from lowlight_enhance.evaluation.detection.clips import ClipFrame
from lowlight_enhance.tools.image_message import image_message

Image = NDArray[np.uint8]

DARK, ALONE, STREAM, WELL_LIT = "dark", "enhanced alone", "enhanced stream", "well lit"
"""Names of the renderings beside the baselines."""

Renderer = Callable[[ClipFrame], Image]
"""Renders the frames of one clip in order."""


@dataclass(frozen=True, slots=True)
class Rendering:
    """One way to show the frames of a clip.

    Attributes:
        name: for reports.
        start: creates the renderer of a clip.
        needs_all_frames: whether the renderer must see every frame of the clip, not only scored ones.
    """

    name: str
    start: Callable[[], Renderer]
    needs_all_frames: bool = False


def renderings(enhance: Enhance | None, baselines: Iterable[str], config: PipelineConfig) -> list[Rendering]:
    """Return the renderings: the dark frame, baselines, the frame enhanced alone, and enhanced in the stream.

    Args:
        enhance: the model; None if the clips contain enhanced frames.
        baselines: names in ``BASELINES``.
        config: strength, smoothing and the other settings of the stream.
    """
    found = [Rendering(DARK, lambda: lambda frame: frame.dark)]
    for name in baselines:
        brighten = BASELINES[name]
        found.append(Rendering(name, lambda brighten=brighten: lambda frame: brighten(frame.dark)))  # type: ignore[misc]
    if enhance is not None:
        found.append(Rendering(ALONE, lambda: lambda frame: StreamRenderer(enhance, config).enhance(frame)))
    return [*found, Rendering(STREAM, lambda: StreamRenderer(enhance, config), needs_all_frames=True)]


class StreamRenderer:
    """Enhances the frames of a clip in order, as the node does."""

    def __init__(self, enhance: FrameEnhancer | Enhance | None, config: PipelineConfig) -> None:
        self._config = replace(config, output_encoding="rgb8")
        self._stream = None if enhance is None else Pipeline(enhance, self._config)

    def __call__(self, frame: ClipFrame) -> Image:
        """Return the enhanced frame of the source, or else enhance the next frame.

        Raises:
            DataError: there is no model, and the source has no enhanced frame.
        """
        return self.enhance(frame) if frame.enhanced is None else frame.enhanced

    def enhance(self, frame: ClipFrame) -> Image:
        """Enhance the next frame.

        Raises:
            DataError: there is no model.
        """
        if self._stream is None:
            raise DataError("a frame has no enhanced image, and no model is given")
        self._stream.add_capture(frame.stamp_ns, frame.capture)
        return np.array(self._stream.process(image_message(frame.dark, frame.stamp_ns), frame.stamp_ns).rgb)
