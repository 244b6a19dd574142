"""Evaluate a model on the cameras of a recording: measure every frame, for a report."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lowlight_enhance.core.enhancement.enhancer import Enhance
from lowlight_enhance.core.errors import ConfigError
from lowlight_enhance.core.pipeline import PipelineConfig
from lowlight_enhance.evaluation.camera_evaluation import CameraEvaluation
from lowlight_enhance.evaluation.report.content import Section
from lowlight_enhance.tools.background import prefetch
from lowlight_enhance.tools.bags.camera_stream import read_camera_data
from lowlight_enhance.tools.bags.cameras import Camera, find_cameras
from lowlight_enhance.tools.bags.recording import Bag, MessageTypes
from lowlight_enhance.tools.bags.reference_images import RecordedImages
from lowlight_enhance.tools.bags.settings import CameraReport
from lowlight_enhance.tools.bags.topics import TopicOptions

OnProgress = Callable[[int], object]
"""Called with the number of frames that were finished since the last call."""


@dataclass(frozen=True, slots=True)
class BagEvaluationConfig:
    """Which frames of a bag are evaluated, and how.

    Attributes:
        images: topics of dark images; empty: every camera.
        metadata: topics of capture metadata, as in ``TopicOptions``.
        reference_topic: topic of well-lit images with the stamps of the dark ones, of one camera; "": none.
        enhanced_topic: topic of images that are already enhanced; "": the model enhances them.
        stream: settings of the pipeline.
        every: evaluate every n-th frame.
        max_frames: largest number of frames of each camera; None: no limit.

    Raises:
        ConfigError: a number is below 1.
    """

    images: tuple[str, ...] = ()
    metadata: tuple[str, ...] = ()
    reference_topic: str = ""
    enhanced_topic: str = ""
    stream: PipelineConfig = field(default_factory=PipelineConfig)
    every: int = 1
    max_frames: int | None = None

    def __post_init__(self) -> None:
        if self.every < 1 or (self.max_frames is not None and self.max_frames < 1):
            raise ConfigError(f"every {self.every}, max_frames {self.max_frames}: must be 1 or more")

    def frame_count(self, camera: Camera) -> int:
        """Return how many frames of a camera are evaluated."""
        count = -(-camera.frames // self.every)
        return count if self.max_frames is None else min(count, self.max_frames)


def find_evaluated_cameras(source: Path, config: BagEvaluationConfig) -> list[Camera]:
    """Return the cameras of a bag that ``evaluate_bag`` evaluates.

    Raises:
        LowlightError: there is no bag or no camera, or several cameras for one reference or enhanced topic.
    """
    with Bag(source) as bag:
        return _find_cameras(bag, MessageTypes(), config)


def evaluate_bag(
    source: Path, enhance: Enhance | None, config: BagEvaluationConfig, on_progress: OnProgress
) -> list[Section]:
    """Measure every frame of the cameras of a bag.

    Args:
        source: the bag.
        enhance: the model; may be None if ``config`` names an enhanced topic.
        config: selection of frames, and settings of the pipeline.
        on_progress: called after every frame.

    Returns:
        One section per camera. Except for latencies, the result is the same on every run.

    Raises:
        ConfigError: a topic is unknown.
        DataError: the bag is damaged, has no readable frame, or its references have another size.
        ModelError: the network fails.
    """
    types = MessageTypes()
    with contextlib.ExitStack() as stack:
        bag = stack.enter_context(Bag(source))
        cameras = _find_cameras(bag, types, config)

        def recorded(topic: str) -> RecordedImages | None:
            """Open the bag again, because a bag is read at one position at a time."""
            other = stack.enter_context(Bag(source)) if topic else None
            return RecordedImages(other, types, topic, config.stream) if other else None

        reference, enhanced = recorded(config.reference_topic), recorded(config.enhanced_topic)
        pairs = read_camera_data(bag, types, [CameraReport(camera) for camera in cameras])
        evaluations = {
            report.camera.image: CameraEvaluation(
                report, data, types, enhance, config.stream, reference, enhanced, config.frame_count(report.camera)
            )
            for report, data in pairs
        }
        _evaluate_frames(bag, evaluations, config, on_progress)
    note = (f"one frame in {config.every}; flicker is measured between these frames",) if config.every > 1 else ()
    return [evaluation.section(note) for evaluation in evaluations.values()]


def total_frames(cameras: Sequence[Camera], config: BagEvaluationConfig) -> int:
    """Return how many frames of all cameras are evaluated."""
    return sum(config.frame_count(camera) for camera in cameras)


def _find_cameras(bag: Bag, types: MessageTypes, config: BagEvaluationConfig) -> list[Camera]:
    choice = TopicOptions(images=config.images, metadata=config.metadata, replace=True)
    found = find_cameras(bag, types, choice, config.stream.metadata).cameras
    others = {config.reference_topic, config.enhanced_topic}
    cameras = [camera for camera in found if camera.image in config.images or camera.image not in others]
    if len(cameras) != 1 and others != {""}:
        names = ", ".join(camera.image for camera in found)
        raise ConfigError(
            f"a reference or enhanced topic belongs to one camera, and the bag has {names}: choose one with --topic"
        )
    return cameras


def _evaluate_frames(
    bag: Bag, evaluations: Mapping[str, CameraEvaluation], config: BagEvaluationConfig, on_progress: OnProgress
) -> None:
    """Pass every selected message of the bag to the evaluation of its camera."""
    remaining = {topic: evaluation.expected for topic, evaluation in evaluations.items()}
    counts = {topic: itertools.count() for topic in evaluations}
    connections = [connection for connection in bag.connections if connection.topic in evaluations]
    with contextlib.closing(prefetch(bag.messages(connections))) as messages:
        for connection, received_ns, raw in messages:
            topic = connection.topic
            if next(counts[topic]) % config.every or not remaining[topic]:
                continue
            evaluations[topic].add(raw, received_ns)
            on_progress(1)
            remaining[topic] -= 1
            if not any(remaining.values()):
                return
