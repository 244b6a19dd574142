"""Frames of a recording for detectors: enhanced as the node would have, with smoothing and metadata."""

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
from lowlight_enhance.evaluation.detection.clips import Clip, Shot
from lowlight_enhance.tools.bags.camera_stream import Lane, read_ahead
from lowlight_enhance.tools.bags.cameras import Camera
from lowlight_enhance.tools.bags.recording import Bag, MessageTypes
from lowlight_enhance.tools.bags.reference_images import RecordedPictures
from lowlight_enhance.tools.bags.settings import CameraReport


def recordings(source: Path, questions: BagEvaluationConfig, enhance: Enhance) -> list[Clip]:
    """One clip a camera of a bag.

    Args:
        source: the bag.
        questions: which topics, and how they go through the stream.
        enhance: the model; not used where ``questions`` names an enhanced topic.

    Raises:
        LowlightError: no bag, or no camera.
    """

    def clip(camera: Camera) -> Clip:
        return Clip(camera.image, camera.image, lambda: _shots(source, camera, questions, enhance))

    return [clip(camera) for camera in find_evaluated_cameras(source, questions)]


def _shots(source: Path, camera: Camera, questions: BagEvaluationConfig, enhance: Enhance) -> Iterator[Shot]:
    """Frames in the order of the bag; those that cannot be read, or lack an enhanced partner, are left out."""
    types, report = MessageTypes(), CameraReport(camera)
    with contextlib.ExitStack() as stack:
        bag = stack.enter_context(Bag(source))
        reference, enhanced = (
            RecordedPictures(stack.enter_context(Bag(source)), types, topic, questions.stream) if topic else None
            for topic in (questions.reference_topic, questions.enhanced_topic)
        )
        ((_, known),) = read_ahead(bag, types, [report])
        chosen: Enhance = (lambda rgb, _: to_8_bit(rgb)) if enhanced else enhance
        lane = Lane(report, known, types, chosen, questions.stream)
        wanted = questions.frame_count(camera)
        for number, (_, received_ns, raw) in enumerate(bag.messages(bag.of_topic(camera.image))):
            if number % questions.every:
                continue
            if not wanted:
                return
            wanted -= 1
            message, frame = lane.process(raw, received_ns)
            after = None if frame is None else enhanced.at(stamp_ns(message)) if enhanced else np.array(frame.rgb)
            if frame is None or after is None:
                continue
            stamp = stamp_ns(message)
            dark = to_8_bit(decode(message, "same", questions.stream.max_pixels)[0])
            bright = reference.at(stamp) if reference else None
            for other in (after, bright):
                if other is not None and other.shape != dark.shape:
                    name = f"{stamp // NS_PER_S}.{stamp % NS_PER_S:09d}"
                    raise DataError(f"{camera.image}: frame {name} and its partner differ in size or in channels")
            yield Shot(dark, frame.capture, bright, after)
