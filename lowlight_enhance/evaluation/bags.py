"""How a model does on the cameras of a recording: measures of every frame, for a report."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lowlight_enhance.core.enhancement.enhancer import Enhance, MapEnhance
from lowlight_enhance.core.errors import ConfigError, DataError, ImageError
from lowlight_enhance.core.imaging.messages import decode, stamp_ns
from lowlight_enhance.core.inference.model_input import Rgb, to_8_bit
from lowlight_enhance.core.pipeline import NS_PER_S, EnhancedFrame, StreamConfig
from lowlight_enhance.evaluation.report.content import Chapter, FrameFigures, Picture, Sample
from lowlight_enhance.evaluation.report.measures import change_of_luma, likeness, looks
from lowlight_enhance.evaluation.stopwatch import Stopwatch
from lowlight_enhance.tools.background import ahead
from lowlight_enhance.tools.bags.camera_stream import Known, Lane, read_ahead
from lowlight_enhance.tools.bags.cameras import Camera, TopicChoice, find_cameras
from lowlight_enhance.tools.bags.recording import Bag, MessageTypes
from lowlight_enhance.tools.bags.reference_images import RecordedPictures
from lowlight_enhance.tools.bags.settings import CameraReport

SAMPLES = 5
"""Frames of each camera that are shown, evenly over the recording, besides the darkest."""

Tell = Callable[[int], object]
"""Is told how many more frames are done."""


@dataclass(frozen=True, slots=True)
class BagQuestions:
    """What is to be evaluated.

    Attributes:
        images: topics of dark images; empty: every camera that is found.
        metadata: topics of capture metadata, as in ``TopicChoice``.
        reference_topic: topic of well-lit images of the same stamps, of one camera; "": none.
        enhanced_topic: topic of images that are enhanced already; "": the model enhances them.
        stream: how frames are matched and enhanced.
        every: only every so many frames.
        max_frames: at most so many of each camera; None: all.

    Raises:
        ConfigError: a number below 1.
    """

    images: tuple[str, ...] = ()
    metadata: tuple[str, ...] = ()
    reference_topic: str = ""
    enhanced_topic: str = ""
    stream: StreamConfig = field(default_factory=StreamConfig)
    every: int = 1
    max_frames: int | None = None

    def __post_init__(self) -> None:
        if self.every < 1 or (self.max_frames is not None and self.max_frames < 1):
            raise ConfigError(f"every {self.every}, max_frames {self.max_frames}: must be 1 or more")

    def frames_of(self, camera: Camera) -> int:
        """How many frames of a camera are looked at."""
        chosen = -(-camera.frames // self.every)
        return chosen if self.max_frames is None else min(chosen, self.max_frames)


def cameras_of(source: Path, questions: BagQuestions) -> list[Camera]:
    """The cameras of a bag that would be evaluated.

    Raises:
        LowlightError: no bag, no camera, or several for one reference or enhanced topic.
    """
    with Bag(source) as bag:
        return _cameras(bag, MessageTypes(), questions)


def evaluate_bag(source: Path, enhance: Enhance | None, questions: BagQuestions, tell: Tell) -> list[Chapter]:
    """Measure every frame of the cameras of a bag.

    Args:
        source: the bag.
        enhance: the model; not used, and may be None, where ``questions`` names an enhanced topic.
        questions: what to look at.
        tell: is told of every frame.

    Returns:
        One chapter a camera. The same on every run, but for the latencies.

    Raises:
        ConfigError: topics that are not there.
        DataError: a damaged bag, no frame that can be read, or references of another size.
        ModelError: the network fails.
    """
    types = MessageTypes()
    with contextlib.ExitStack() as stack:
        bag = stack.enter_context(Bag(source))
        cameras = _cameras(bag, types, questions)

        def recorded(topic: str) -> RecordedPictures | None:
            """Opened anew: a bag is read at one place at a time."""
            other = stack.enter_context(Bag(source)) if topic else None
            return RecordedPictures(other, types, topic, questions.stream) if other else None

        reference, enhanced = recorded(questions.reference_topic), recorded(questions.enhanced_topic)
        pairs = read_ahead(bag, types, [CameraReport(camera) for camera in cameras])
        judges = {
            own.camera.image: _Judge(own, known, types, enhance, questions, reference, enhanced)
            for own, known in pairs
        }
        _read_through(bag, judges, questions, tell)
    return [judge.chapter() for judge in judges.values()]


def _cameras(bag: Bag, types: MessageTypes, questions: BagQuestions) -> list[Camera]:
    choice = TopicChoice(images=questions.images, metadata=questions.metadata, replaces=True)
    found = find_cameras(bag, types, choice, questions.stream.metadata).cameras
    others = {questions.reference_topic, questions.enhanced_topic}
    cameras = [camera for camera in found if camera.image in questions.images or camera.image not in others]
    if len(cameras) != 1 and others != {""}:
        names = ", ".join(camera.image for camera in found)
        raise ConfigError(
            f"a reference or enhanced topic belongs to one camera, and the bag has {names}: name it with --topic"
        )
    return cameras


def _read_through(bag: Bag, judges: Mapping[str, _Judge], questions: BagQuestions, tell: Tell) -> None:
    """Let each judge see its camera's frames, as many as are asked for."""
    waiting = {topic: judge.wanted for topic, judge in judges.items()}
    counts = {topic: itertools.count() for topic in judges}
    connections = [connection for connection in bag.connections if connection.topic in judges]
    with contextlib.closing(ahead(bag.messages(connections))) as messages:
        for connection, received_ns, raw in messages:
            topic = connection.topic
            if next(counts[topic]) % questions.every or not waiting[topic]:
                continue
            judges[topic].see(raw, received_ns)
            tell(1)
            waiting[topic] -= 1
            if not any(waiting.values()):
                return


@dataclass(slots=True)
class _Seen:
    """What a frame leaves for the next: the pictures between which change is measured."""

    before: Picture
    after: Picture
    reference: Picture | None


class _Judge:
    """Measures one camera's frames, in the order of the bag."""

    def __init__(
        self,
        report: CameraReport,
        known: Known,
        types: MessageTypes,
        enhance: Enhance | None,
        questions: BagQuestions,
        reference: RecordedPictures | None,
        enhanced: RecordedPictures | None,
    ) -> None:
        self.wanted = questions.frames_of(report.camera)
        self._report, self._stream, self._reference, self._enhanced = report, questions.stream, reference, enhanced
        self._stopwatch = Stopwatch(enhance) if isinstance(enhance, MapEnhance) and enhanced is None else None
        chosen: Enhance | None = self._stopwatch or (enhance if enhanced is None else _unchanged)
        if chosen is None:
            raise ConfigError("no model and no enhanced topic: nothing to evaluate")
        self._lane = Lane(report, known, types, chosen, questions.stream)
        self._every = questions.every
        self._frames: list[FrameFigures] = []
        self._samples: dict[int, Sample] = {}
        self._darkest: tuple[int, Sample] | None = None
        self._shown = {round(n) for n in np.linspace(0, max(self.wanted - 1, 0), SAMPLES)}
        self._last: _Seen | None = None
        self._first_ns: int | None = None
        self._number, self._without_partner = -1, 0

    def see(self, raw: bytes, received_ns: int) -> None:
        """Enhance and measure the next frame; one that cannot be read is counted.

        Raises:
            DataError: its reference has another size, or the bag is damaged.
            ModelError: the network fails.
        """
        self._number += 1
        message, frame = self._lane.process(raw, received_ns)
        if frame is None:
            return
        stamp = stamp_ns(message)
        rgb, _ = decode(message, "same", self._stream.max_pixels)
        after: Picture | None = frame.rgb if self._enhanced is None else self._enhanced.at(stamp)
        if after is None:
            self._without_partner += 1
            return
        self._first_ns = stamp if self._first_ns is None else self._first_ns
        seen = _Seen(to_8_bit(rgb), np.array(after), self._reference.at(stamp) if self._reference else None)
        try:
            figures = self._measured(seen, frame, stamp)
        except ImageError as error:
            raise DataError(f"{self._report.camera.image}: {error}") from error
        self._keep(Sample(figures, seen.before, seen.after, seen.reference))
        self._last = seen

    def _measured(self, seen: _Seen, frame: EnhancedFrame, stamp: int) -> FrameFigures:
        flicker, flicker_input = self._flicker(seen)
        reference, is_recorded = seen.reference, self._enhanced is not None
        return FrameFigures(
            name=f"{stamp // NS_PER_S}.{stamp % NS_PER_S:09d}",
            scene=f"{self._number}",
            before=looks(seen.before),
            after=looks(seen.after),
            iso=frame.capture.iso,
            exposure_s=frame.capture.exposure_s,
            likeness_before=None if reference is None else likeness(seen.before, reference),
            likeness_after=None if reference is None else likeness(seen.after, reference),
            time_s=(stamp - (self._first_ns or 0)) / NS_PER_S,
            match=frame.match,
            metadata_age_s=None if frame.metadata_age_ns is None else frame.metadata_age_ns / NS_PER_S,
            bypassed=frame.bypassed and not is_recorded,
            flicker=flicker,
            flicker_input=flicker_input,
            latency_ms={} if is_recorded else self._latency_ms(frame),
        )

    def _latency_ms(self, frame: EnhancedFrame) -> dict[str, float]:
        stages = {name: ns / 1e6 for name, ns in frame.timings_ns.items()}
        total = sum(stages.values())
        if self._stopwatch is not None:
            parts = {name: ns / 1e6 for name, ns in self._stopwatch.lap_ns().items()}
            rest = stages.pop("enhance") - sum(parts.values())
            stages |= parts | {"steady": max(rest, 0.0)}
        return {**stages, "total": total}

    def _flicker(self, seen: _Seen) -> tuple[float | None, float | None]:
        """Of the enhanced frame, and of the dark one times the gain."""
        last = self._last
        if last is None or last.before.shape != seen.before.shape or last.after.shape != seen.after.shape:
            return None, None
        brightness = [float(p.mean()) for p in (last.after, seen.after, last.before, seen.before)]
        gain = sum(brightness[:2]) / max(sum(brightness[2:]), 1e-6)
        change = change_of_luma(last.after, seen.after)
        change_input = change_of_luma(last.before, seen.before) * gain
        if last.reference is not None and seen.reference is not None:
            own = change_of_luma(last.reference, seen.reference)
            change, change_input = change - own, change_input - own
        return _rms(change), _rms(change_input)

    def _keep(self, sample: Sample) -> None:
        self._frames.append(sample.frame)
        if self._number in self._shown:
            self._samples[self._number] = sample
        if self._darkest is None or sample.frame.before.mean < self._darkest[1].frame.before.mean:
            self._darkest = self._number, sample

    def chapter(self) -> Chapter:
        """All that was found.

        Raises:
            DataError: nothing.
        """
        camera, report = self._report.camera, self._report
        if self._darkest is None:
            why = report.last_error or "none has a partner of its stamp on the enhanced topic"
            raise DataError(f"{camera.image} has no frame that can be evaluated ({why})")
        samples = {**self._samples, self._darkest[0]: self._darkest[1]}
        return Chapter(
            camera.image,
            tuple(self._frames),
            tuple(samples[number] for number in sorted(samples)),
            tuple(self._notes()),
        )

    def _notes(self) -> list[str]:
        camera, report = self._report.camera, self._report
        notes = [f"capture metadata from {camera.metadata}" if camera.metadata else "no capture metadata in the bag"]
        if self._every > 1:
            notes.append(f"one frame in {self._every}; flicker is between these")
        if report.left_out:
            notes.append(f"damaged frames left out: {report.left_out} ({report.last_error})")
        if report.unread:
            notes.append(f"unusable messages of metadata or calibration: {report.unread} ({report.last_error})")
        if self._without_partner:
            notes.append(f"frames left out for want of an enhanced image of their stamp: {self._without_partner}")
        without = sum(frame.likeness_after is None for frame in self._frames)
        if self._reference is not None and without:
            notes.append(f"frames without a reference of their stamp: {without}")
        return notes


def _unchanged(rgb: Rgb, _capture: object) -> NDArray[np.uint8]:
    return to_8_bit(rgb)


def _rms(values: NDArray[np.float64]) -> float:
    return math.sqrt(float(np.mean(np.square(values))))


def frames_in(cameras: Sequence[Camera], questions: BagQuestions) -> int:
    """How many frames will be looked at in all."""
    return sum(questions.frames_of(camera) for camera in cameras)
