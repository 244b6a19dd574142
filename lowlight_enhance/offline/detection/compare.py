"""Every detector on every rendering of every frame: what is found, as counts that may be added up."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from lowlight_enhance.core.enhancer import Enhance
from lowlight_enhance.core.errors import DataError
from lowlight_enhance.offline.baselines import BASELINES
from lowlight_enhance.offline.detection.boxes import BoxDetector, Boxes, correct
from lowlight_enhance.offline.detection.clips import Clip, Picture, Shot
from lowlight_enhance.offline.detection.keypoints import Keypoints
from lowlight_enhance.offline.detection.labels import Labels
from lowlight_enhance.offline.detection.mean_precision import MeanPrecision, mean_precision

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
    return made | {ENHANCED: lambda shot: enhance(shot.dark, shot.capture)}


def compare(
    clips: Iterable[Clip],
    shown: Mapping[str, Render],
    keypoints: Sequence[Keypoints] = (),
    detectors: Sequence[BoxDetector] = (),
    labels: Labels | None = None,
) -> Comparison:
    """Run detectors.

    Args:
        clips: frames; single ones for boxes and for keypoints against a reference, more for those between frames.
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
        shots = clip.load()
        pictures = {name: [render(shot) for shot in shots] for name, render in shown.items()}
        references = [shot.reference for shot in shots if shot.reference is not None]
        if len(references) == len(shots):
            pictures[REFERENCE] = references
        if len(shots) > 1:
            comparison.entries += _between(clip, pictures, keypoints)
            continue
        singles = {name: of_clip[0] for name, of_clip in pictures.items()}
        comparison.entries += _aligned(clip, singles, keypoints)
        for detector in detectors:
            truth = _truth(clip, singles, detector, labels)
            if truth is None:
                comparison.unlabelled += 1
                continue
            frame = f"{number} {clip.name}"
            truths.setdefault(detector.name, {})[frame] = truth
            for name, boxes, entry in _boxes(clip, singles, detector, truth, with_reference=labels is not None):
                comparison.entries.append(entry)
                found.setdefault((detector.name, name), {})[frame] = boxes
    if not comparison.entries:
        raise DataError("nothing could be measured: give frames with references or labels, or consecutive frames")
    if labels is not None:
        for (detector_name, name), boxes_of in found.items():
            figures = comparison.precisions.setdefault(detector_name, {})
            figures[name] = mean_precision(boxes_of, truths[detector_name])
    return comparison


def _aligned(clip: Clip, pictures: Mapping[str, Picture], keypoints: Sequence[Keypoints]) -> Iterator[Entry]:
    """Keypoints of a frame against those of its reference."""
    if REFERENCE not in pictures:
        return
    for detector in keypoints:
        truth = detector.features(pictures[REFERENCE])
        for name, picture in pictures.items():
            if name != REFERENCE:
                counts = detector.against(detector.features(picture), truth, np.eye(3))
                yield Entry(detector.kind, ALIGNED, clip.name, clip.scene, name, counts)


def _between(clip: Clip, pictures: Mapping[str, Sequence[Picture]], keypoints: Sequence[Keypoints]) -> Iterator[Entry]:
    """Keypoints of each frame against those of the next."""
    measure = MOVING if clip.motions else RECORDED
    for detector in keypoints:
        for name, of_clip in pictures.items():
            features = [detector.features(picture) for picture in of_clip]
            for number, (before, after) in enumerate(pairwise(features)):
                counts = detector.against(before, after, clip.motions[number] if clip.motions else None)
                yield Entry(detector.kind, measure, f"{clip.name} {number}", clip.scene, name, counts)


def _truth(clip: Clip, pictures: Mapping[str, Picture], detector: BoxDetector, labels: Labels | None) -> Boxes | None:
    """Boxes that should be found: labels, else what is found on the reference; None where there is neither."""
    if labels is not None:
        height, width = pictures[DARK].shape[:2]
        truth = labels.of(clip.files, width, height)
        return None if truth is None else truth.of(detector.classes)
    return detector(pictures[REFERENCE]).sure(detector.sure) if REFERENCE in pictures else None


def _boxes(
    clip: Clip, pictures: Mapping[str, Picture], detector: BoxDetector, truth: Boxes, with_reference: bool
) -> Iterator[tuple[str, Boxes, Entry]]:
    single = truth.single()
    for name, picture in pictures.items():
        if name == REFERENCE and not with_reference:
            continue
        boxes = detector(picture)
        sure = boxes.sure(detector.sure)
        counts = {"frames": 1.0, "found": float(len(sure)), "truth": float(len(single))}
        counts["correct"] = float(correct(sure, single))
        yield name, boxes, Entry(detector.name, BOXES, clip.name, clip.scene, name, counts)
