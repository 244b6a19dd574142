"""Every detector on every rendering of every frame: what is found, as counts that may be added up."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from lowlight_enhance.core.enhancement.enhancer import Enhance
from lowlight_enhance.core.errors import DataError
from lowlight_enhance.evaluation.baselines import BASELINES
from lowlight_enhance.evaluation.detection.boxes import BoxDetector, Boxes, correct
from lowlight_enhance.evaluation.detection.clips import Clip, Picture, Shot
from lowlight_enhance.evaluation.detection.keypoints import Features, Keypoints
from lowlight_enhance.evaluation.detection.labels import Labels
from lowlight_enhance.evaluation.detection.mean_precision import MeanPrecision, mean_precision

DARK, ENHANCED, REFERENCE = "dark", "enhanced", "reference"
"""Renderings beside the baselines."""

ALIGNED, MOVING, RECORDED, BOXES = "against the reference", "known motion", "unknown motion", "boxes"
"""What is measured: keypoints in a frame and its reference, in consecutive frames, and boxes."""

Render = Callable[[Shot], Picture]


@dataclass(frozen=True, slots=True)
class Entry:
    """What one detector found in one rendering of a frame, or of two that follow each other.

    Attributes:
        detector: its name.
        measure: ``ALIGNED``, ``MOVING``, ``RECORDED`` or ``BOXES``.
        frame: name of the frame.
        scene: what it shows.
        rendering: ``DARK``, a baseline, ``ENHANCED`` or ``REFERENCE``.
        counts: of keypoints as in ``Keypoints.against``; of boxes ``frames`` (1), ``found``, ``truth``, ``correct``.
    """

    detector: str
    measure: str
    frame: str
    scene: str
    rendering: str
    counts: Mapping[str, float]


@dataclass(slots=True)
class Comparison:
    """All that was found.

    Attributes:
        entries: counts.
        precisions: by detector and rendering, where there are labels.
        unlabelled: frames that were left out, as they have no labels.
    """

    entries: list[Entry] = field(default_factory=list)
    precisions: dict[str, dict[str, MeanPrecision]] = field(default_factory=dict)
    unlabelled: int = 0


def renderings(enhance: Enhance, baselines: Iterable[str]) -> dict[str, Render]:
    """The dark frame, some of ``BASELINES``, and the enhanced frame."""
    made: dict[str, Render] = {DARK: lambda shot: shot.dark}
    for name in baselines:
        made[name] = lambda shot, brighten=BASELINES[name]: brighten(shot.dark)  # type: ignore[misc]
    return made | {ENHANCED: lambda s: enhance(s.dark, s.capture) if s.enhanced is None else s.enhanced}


def compare(
    clips: Iterable[Clip],
    shown: Mapping[str, Render],
    keypoints: Sequence[Keypoints] = (),
    detectors: Sequence[BoxDetector] = (),
    labels: Labels | None = None,
) -> Comparison:
    """Run detectors.

    Args:
        clips: frames; those with a reference or labels are judged one by one, those that follow each other by two.
        shown: renderings; the reference is added where there is one.
        keypoints: detectors of keypoints.
        detectors: detectors of boxes.
        labels: where boxes are; without them those on the reference are the truth.

    Raises:
        DataError: nothing that could be measured.
        ImageError: a picture cannot be read.
    """
    comparison = Comparison()
    found: dict[tuple[str, str], dict[str, Boxes]] = {}
    truths: dict[str, dict[str, Boxes]] = {}
    for number, clip in enumerate(clips):
        before: dict[str, dict[str, Features]] = {}
        for at, shot in enumerate(clip.load()):
            pictures = _pictures(shot, shown)
            place = _Place(clip, f"{clip.name} {at}" if at else clip.name, at)
            for keypoint_detector in keypoints:
                seen = {name: keypoint_detector.features(picture) for name, picture in pictures.items()}
                comparison.entries += _aligned(place, seen, keypoint_detector)
                last = before.setdefault(keypoint_detector.kind, {})
                comparison.entries += _between(place, last, seen, keypoint_detector)
                before[keypoint_detector.kind] = seen
            for detector in detectors if clip.by_frame else ():
                truth = _truth(shot, pictures, detector, labels)
                if truth is None:
                    comparison.unlabelled += 1
                    continue
                key = f"{number} {place.frame}"
                truths.setdefault(detector.name, {})[key] = truth
                for name, boxes, entry in _boxes(place, pictures, detector, truth, labels is not None):
                    comparison.entries.append(entry)
                    found.setdefault((detector.name, name), {})[key] = boxes
    if not comparison.entries:
        raise DataError("nothing could be measured: give frames with references or labels, or consecutive frames")
    if labels is not None:
        for (detector_name, name), boxes_of in found.items():
            figures = comparison.precisions.setdefault(detector_name, {})
            figures[name] = mean_precision(boxes_of, truths[detector_name])
    return comparison


@dataclass(frozen=True, slots=True)
class _Place:
    """Which frame of which clip."""

    clip: Clip
    frame: str
    number: int


def _pictures(shot: Shot, shown: Mapping[str, Render]) -> dict[str, Picture]:
    pictures = {name: render(shot) for name, render in shown.items()}
    return pictures if shot.reference is None else pictures | {REFERENCE: shot.reference}


def _aligned(place: _Place, seen: Mapping[str, Features], detector: Keypoints) -> Iterator[Entry]:
    """Keypoints of a frame against those of its reference."""
    if not place.clip.by_frame or REFERENCE not in seen:
        return
    for name, features in seen.items():
        if name != REFERENCE:
            counts = detector.against(features, seen[REFERENCE], np.eye(3))
            yield Entry(detector.kind, ALIGNED, place.frame, place.clip.scene, name, counts)


def _between(
    place: _Place, before: Mapping[str, Features], after: Mapping[str, Features], detector: Keypoints
) -> Iterator[Entry]:
    """Keypoints of a frame against those of the one before."""
    motions = place.clip.motions
    motion = motions[place.number - 1] if motions and place.number else None
    for name, features in after.items():
        if name in before:
            counts = detector.against(before[name], features, motion)
            measure = MOVING if motions else RECORDED
            yield Entry(detector.kind, measure, place.frame, place.clip.scene, name, counts)


def _truth(shot: Shot, pictures: Mapping[str, Picture], detector: BoxDetector, labels: Labels | None) -> Boxes | None:
    """Boxes that should be found: labels, else what is found on the reference; None where there is neither."""
    if labels is not None:
        height, width = shot.dark.shape[:2]
        truth = labels.of(shot.files, width, height)
        return None if truth is None else truth.of(detector.classes)
    return detector(pictures[REFERENCE]).sure(detector.sure) if REFERENCE in pictures else None


def _boxes(
    place: _Place, pictures: Mapping[str, Picture], detector: BoxDetector, truth: Boxes, with_reference: bool
) -> Iterator[tuple[str, Boxes, Entry]]:
    single = truth.single()
    for name, picture in pictures.items():
        if name == REFERENCE and not with_reference:
            continue
        boxes = detector(picture)
        sure = boxes.sure(detector.sure)
        counts = {"frames": 1.0, "found": float(len(sure)), "truth": float(len(single))}
        counts["correct"] = float(correct(sure, single))
        yield name, boxes, Entry(detector.name, BOXES, place.frame, place.clip.scene, name, counts)
