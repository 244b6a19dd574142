"""Cameras of a bag as clips, enhanced with their metadata as the node does."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from lowlight_enhance.core.enhancement.enhancer import Enhance
from lowlight_enhance.core.errors import DataError
from lowlight_enhance.core.imaging.messages import decode, stamp_ns
from lowlight_enhance.core.inference.model_input import to_8_bit
from lowlight_enhance.core.pipeline import NS_PER_S
from lowlight_enhance.evaluation.bags import BagEvaluationConfig, find_evaluated_cameras
from lowlight_enhance.evaluation.detection.clips import Clip, ClipFrame
from lowlight_enhance.tools.bags.camera_stream import CameraStream, read_camera_data
from lowlight_enhance.tools.bags.cameras import Camera
from lowlight_enhance.tools.bags.recording import Bag, MessageTypes
from lowlight_enhance.tools.bags.reference_images import RecordedImages
from lowlight_enhance.tools.bags.settings import CameraReport


def bag_clips(source: Path, config: BagEvaluationConfig, enhance: Enhance | None) -> list[Clip]:
    """Return one clip per camera of a bag.

    Args:
        source: the bag.
        config: topics, and settings of the enhancement.
        enhance: the model; may be None if ``config`` names an enhanced topic.

    Raises:
        LowlightError: there is no bag, or it has no camera.
    """

    def clip(camera: Camera) -> Clip:
        return Clip(camera.image, camera.image, lambda: _frames(source, camera, config, enhance))

    return [clip(camera) for camera in find_evaluated_cameras(source, config)]


def _frames(source: Path, camera: Camera, config: BagEvaluationConfig, enhance: Enhance | None) -> Iterator[ClipFrame]:
    """Yield frames in the order of the bag. Skip unreadable frames and those without an enhanced image."""
    types, report = MessageTypes(), CameraReport(camera)
    with contextlib.ExitStack() as stack:
        bag = stack.enter_context(Bag(source))
        reference, enhanced = (
            RecordedImages(stack.enter_context(Bag(source)), types, topic, config.stream) if topic else None
            for topic in (config.reference_topic, config.enhanced_topic)
        )
        ((_, data),) = read_camera_data(bag, types, [report])
        frame_enhance: Enhance = (
            enhance if enhance is not None and enhanced is None else (lambda rgb, _: to_8_bit(rgb))
        )
        camera_stream = CameraStream(report, data, types, frame_enhance, config.stream)
        remaining = config.frame_count(camera)
        for number, (_, received_ns, raw) in enumerate(bag.messages(bag.connections_of(camera.image))):
            if number % config.every:
                continue
            if not remaining:
                return
            remaining -= 1
            message, frame = camera_stream.process(raw, received_ns)
            if frame is None:
                continue
            stamp = stamp_ns(message)
            after = enhanced.image_at(stamp) if enhanced else np.array(frame.rgb)
            if after is None:
                continue
            dark = to_8_bit(decode(message, "same", config.stream.max_pixels)[0])
            bright = reference.image_at(stamp) if reference else None
            for other in (after, bright):
                if other is not None and other.shape != dark.shape:
                    name = f"{stamp // NS_PER_S}.{stamp % NS_PER_S:09d}"
                    raise DataError(f"{camera.image}: frame {name} and its partner differ in size or in channels")
            yield ClipFrame(dark, frame.capture, stamp, bright, after, (Path(f"{stamp}.png"),))
