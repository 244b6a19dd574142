"""Run detectors on every rendering of clips and collect their results."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lowlight_enhance.core.errors import DataError
from lowlight_enhance.evaluation.detection.average_precision import DetectionResults
from lowlight_enhance.evaluation.detection.boxes import BoxDetector, Boxes
from lowlight_enhance.evaluation.detection.clips import Clip, ClipFrame
from lowlight_enhance.evaluation.detection.keypoints import Features, Keypoints
from lowlight_enhance.evaluation.detection.labels import Labels
from lowlight_enhance.evaluation.detection.renderings import WELL_LIT, Rendering
from lowlight_enhance.evaluation.detection.text import TextReader, word_counts
from lowlight_enhance.evaluation.tracking import TRACKED_FRAMES, track_counts

Image = NDArray[np.uint8]

AGAINST_REFERENCE, KNOWN_MOTION, UNKNOWN_MOTION = "against the reference", "known motion", "unknown motion"
TRACKING, TEXT, BOXES = "tracking", "words", "boxes"
"""Measures: keypoints in a frame and its reference, or in consecutive frames; tracks; words; boxes."""

TRACKER = "klt"
"""Name of the tracker in reports."""

SAMPLES = 3
"""Frames of which the report shows the boxes."""


@dataclass(frozen=True, slots=True)
class FrameCounts:
    """Counts of one detector on one rendering of a frame, of two consecutive frames, or of a clip.

    Attributes:
        detector: name of the detector.
        measure: one of the measures above.
        condition: light of simulated frames; "" for real ones.
        frame: name of the frame.
        scene: name of the scene.
        rendering: name of the rendering.
        counts: counts as ``Keypoints.compare``, ``track_counts`` or ``word_counts`` return them.
    """

    detector: str
    measure: str
    condition: str
    frame: str
    scene: str
    rendering: str
    counts: Mapping[str, float]


@dataclass(slots=True)
class BoxFrames:
    """Boxes of one detector under one condition.

    Attributes:
        confidence: lowest score of a box that counts.
        frames: names of the frames.
        scenes: scene of each frame.
        truth: labels, or the boxes found on the reference.
        found: by rendering, the boxes of each frame.
    """

    confidence: float
    frames: list[str] = field(default_factory=list)
    scenes: list[str] = field(default_factory=list)
    truth: list[Boxes] = field(default_factory=list)
    found: dict[str, list[Boxes]] = field(default_factory=dict)

    def results(self) -> dict[str, DetectionResults]:
        """Return the matched detections of each rendering that exists for all frames."""
        return {
            name: DetectionResults(found, self.truth, self.confidence)
            for name, found in self.found.items()
            if len(found) == len(self.truth)
        }


@dataclass(frozen=True, slots=True)
class BoxSample:
    """A frame that the report shows: its renderings with the boxes found on each."""

    detector: str
    condition: str
    frame: str
    truth: Boxes
    confidence: float
    shown: Mapping[str, tuple[Image, Boxes]]


@dataclass(slots=True)
class DetectorComparison:
    """Results of all detectors on all clips.

    Attributes:
        entries: counts of keypoints, tracks and words.
        boxes: boxes by detector and condition.
        samples: frames with their boxes, for the report.
        has_labels: whether boxes are compared with labels; else with the boxes found on the reference.
        unlabelled: number of frames that were skipped, because they have neither labels nor a reference.
    """

    entries: list[FrameCounts] = field(default_factory=list)
    boxes: dict[tuple[str, str], BoxFrames] = field(default_factory=dict)
    samples: list[BoxSample] = field(default_factory=list)
    has_labels: bool = False
    unlabelled: int = 0


@dataclass(frozen=True, slots=True)
class Detectors:
    """The detectors that run on the frames.

    Attributes:
        keypoints: detectors of keypoints.
        boxes: detectors of boxes.
        readers: readers of text.
        tracks: whether points are tracked.
    """

    keypoints: Sequence[Keypoints] = ()
    boxes: Sequence[BoxDetector] = ()
    readers: Sequence[TextReader] = ()
    tracks: bool = False


def compare_renderings(
    clips: Iterable[Clip], renderings: Sequence[Rendering], detectors: Detectors, labels: Labels | None = None
) -> DetectorComparison:
    """Run detectors on every rendering of every clip.

    Args:
        clips: frames; scored ones are measured by themselves, consecutive ones in pairs.
        renderings: renderings to compare; the well-lit reference is added if there is one.
        detectors: detectors to run.
        labels: true boxes; None: the boxes found on the reference are taken as true.

    Raises:
        DataError: nothing could be measured.
        ImageError: an image cannot be read.
    """
    comparison = DetectorComparison(has_labels=labels is not None)
    for clip in clips:
        _ClipComparison(clip, renderings, detectors, labels, comparison).run()
    if not comparison.entries and not comparison.boxes:
        raise DataError("nothing could be measured: give frames with references or labels, or consecutive frames")
    return comparison


class _ClipComparison:
    """The measurements of one clip."""

    def __init__(
        self,
        clip: Clip,
        renderings: Sequence[Rendering],
        detectors: Detectors,
        labels: Labels | None,
        comparison: DetectorComparison,
    ) -> None:
        self._clip, self._detectors, self._labels, self._comparison = clip, detectors, labels, comparison
        self._renderers = {rendering.name: (rendering.start(), rendering.needs_all_frames) for rendering in renderings}
        self._previous: dict[str, dict[str, Features]] = {}
        self._tracked: dict[str, list[Image]] = {}
        is_tracked = detectors.tracks and len(clip.views) > TRACKED_FRAMES
        self._first_tracked = len(clip.views) - 1 - TRACKED_FRAMES if is_tracked else sys.maxsize
        self._motions = clip.motions

    def run(self) -> None:
        """Measure every frame in order."""
        for index, frame in enumerate(self._clip.load()):
            images = self._render(frame, index)
            if not images:
                continue
            name = f"{self._clip.name} {index}" if index and not self._clip.views else self._clip.name
            if self._is_paired(index):
                self._measure_keypoints(frame, images, index, name)
            if index >= self._first_tracked:
                for rendering, image in images.items():
                    self._tracked.setdefault(rendering, []).append(image)
            if frame.is_scored:
                self._measure_text(images, name)
                for detector in self._detectors.boxes:
                    self._detect_boxes(frame, images, detector, name)
        for rendering, tracked in self._tracked.items():
            counts = track_counts(tracked, self._clip.views[self._first_tracked :])
            self._add(TRACKER, TRACKING, self._clip.name, rendering, counts)

    def _render(self, frame: ClipFrame, index: int) -> dict[str, Image]:
        """Return the images of a frame by rendering; empty if the frame only feeds the stream."""
        is_needed = frame.is_scored or self._is_paired(index) or index >= self._first_tracked
        images = {
            name: renderer(frame) for name, (renderer, needs_all) in self._renderers.items() if is_needed or needs_all
        }
        if not is_needed:
            return {}
        return images if frame.reference is None else images | {WELL_LIT: frame.reference}

    def _is_paired(self, index: int) -> bool:
        """Return whether keypoints are measured: on all frames of a recording, on the last two of a simulated clip.

        The last view is the whole photograph, so the mirrored borders of earlier views do not count.
        """
        return bool(self._detectors.keypoints) and (not self._clip.views or index >= len(self._clip.views) - 2)

    def _measure_keypoints(self, frame: ClipFrame, images: Mapping[str, Image], index: int, name: str) -> None:
        for detector in self._detectors.keypoints:
            features = {rendering: detector.features(image) for rendering, image in images.items()}
            before = self._previous.get(detector.kind, {})
            motion = self._motions[index - 1] if self._motions and index else None
            measure = KNOWN_MOTION if self._motions else UNKNOWN_MOTION
            for rendering, current in features.items():
                if rendering in before:
                    counts = detector.compare(before[rendering], current, motion)
                    self._add(detector.kind, measure, name, rendering, counts)
                if frame.is_scored and rendering != WELL_LIT and WELL_LIT in features:
                    counts = detector.compare(current, features[WELL_LIT], np.eye(3))
                    self._add(detector.kind, AGAINST_REFERENCE, name, rendering, counts)
            self._previous[detector.kind] = features

    def _measure_text(self, images: Mapping[str, Image], name: str) -> None:
        for reader in self._detectors.readers if WELL_LIT in images else ():
            truth = reader(images[WELL_LIT])
            for rendering, image in images.items():
                found = truth if rendering == WELL_LIT else reader(image)
                self._add(reader.name, TEXT, name, rendering, word_counts(found, truth))

    def _detect_boxes(self, frame: ClipFrame, images: Mapping[str, Image], detector: BoxDetector, name: str) -> None:
        truth = self._truth(frame, images, detector)
        if truth is None:
            self._comparison.unlabelled += 1
            return
        key = (detector.name, self._clip.condition)
        boxes = self._comparison.boxes.setdefault(key, BoxFrames(detector.confidence))
        boxes.frames.append(name)
        boxes.scenes.append(self._clip.scene)
        boxes.truth.append(truth)
        found = {rendering: detector(image) for rendering, image in self._images_for_boxes(images)}
        for rendering, found_boxes in found.items():
            boxes.found.setdefault(rendering, []).append(found_boxes)
        shown_before = [s for s in self._comparison.samples if (s.detector, s.condition) == key]
        if len(shown_before) < SAMPLES and len(truth):
            shown = {rendering: (np.array(images[rendering]), found_boxes) for rendering, found_boxes in found.items()}
            sample = BoxSample(detector.name, self._clip.condition, name, truth, detector.confidence, shown)
            self._comparison.samples.append(sample)

    def _images_for_boxes(self, images: Mapping[str, Image]) -> Iterator[tuple[str, Image]]:
        """Yield the renderings on which boxes are detected. Without labels, the reference is not one of them."""
        for rendering, image in images.items():
            if rendering != WELL_LIT or self._labels is not None:
                yield rendering, image

    def _truth(self, frame: ClipFrame, images: Mapping[str, Image], detector: BoxDetector) -> Boxes | None:
        """Return the labels, or else the boxes found on the reference; None if there is neither."""
        if self._labels is not None:
            height, width = frame.dark.shape[:2]
            truth = self._labels.find(frame.files, width, height)
            return None if truth is None else truth.with_class(detector.classes)
        if WELL_LIT not in images:
            return None
        return detector(images[WELL_LIT]).with_score(detector.confidence)

    def _add(self, detector: str, measure: str, name: str, rendering: str, counts: Mapping[str, float]) -> None:
        clip = self._clip
        entry = FrameCounts(detector, measure, clip.condition, name, clip.scene, rendering, counts)
        self._comparison.entries.append(entry)
