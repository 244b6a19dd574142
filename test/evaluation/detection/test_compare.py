"""Which frames of a clip reach the renderings, the detectors and the tracker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lowlight_enhance.core.errors import DataError
from lowlight_enhance.core.metadata.capture import UNKNOWN
from lowlight_enhance.evaluation.detection.boxes import NO_BOXES, Boxes, make_boxes
from lowlight_enhance.evaluation.detection.clips import Clip, ClipFrame
from lowlight_enhance.evaluation.detection.compare import (
    KNOWN_MOTION,
    TEXT,
    TRACKING,
    UNKNOWN_MOTION,
    Detectors,
    compare_renderings,
)
from lowlight_enhance.evaluation.detection.keypoints import Keypoints
from lowlight_enhance.evaluation.detection.labels import Labels
from lowlight_enhance.evaluation.detection.renderings import DARK, STREAM, WELL_LIT, Rendering
from lowlight_enhance.evaluation.tracking import TRACKED_FRAMES

FRAMES = TRACKED_FRAMES + 3


def clip(frames: int = FRAMES, known_motion: bool = True, reference: bool = True, name: str = "a.png") -> Clip:
    """Frame n has the value n, its reference 100 + n. With known motion the last frame alone is scored."""

    def load() -> list[ClipFrame]:
        return [
            ClipFrame(
                np.full((48, 64, 3), number, np.uint8),
                UNKNOWN,
                10**9 + number,
                np.full((48, 64, 3), 100 + number, np.uint8) if reference else None,
                files=(Path(name),),
                is_scored=not known_motion or number == frames - 1,
            )
            for number in range(frames)
        ]

    return Clip(name, name, load, "4 stops", tuple([np.eye(3)] * frames) if known_motion else ())


class Recorder:
    """Renders frames unchanged, and records the value of each."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def __call__(self, frame: ClipFrame) -> Any:
        self.seen.append(int(frame.dark[0, 0, 0]))
        return frame.dark


class Detector:
    """Finds one box on every image whose value is at least ``least``."""

    name, classes, confidence = "stub", ("car",), 0.25

    def __init__(self, least: int = 0) -> None:
        self.least = least
        self.seen: list[int] = []

    def __call__(self, image: Any) -> Boxes:
        self.seen.append(int(image[0, 0, 0]))
        return make_boxes([[1, 1, 20, 20]], [0.9], ["car"]) if self.seen[-1] >= self.least else NO_BOXES


def renderings() -> tuple[list[Rendering], Recorder, Recorder]:
    dark, stream = Recorder(), Recorder()
    return [Rendering(DARK, lambda: dark), Rendering(STREAM, lambda: stream, True)], dark, stream


def test_the_stream_sees_every_frame_and_detectors_the_scored_one() -> None:
    shown, dark, stream = renderings()
    detector = Detector()
    comparison = compare_renderings([clip()], shown, Detectors(boxes=[detector]))
    last = FRAMES - 1
    assert stream.seen == list(range(FRAMES))
    assert dark.seen == [last]
    assert sorted(set(detector.seen)) == [last, 100 + last]
    found = comparison.boxes["stub", "4 stops"]
    assert set(found.found) == {DARK, STREAM}, "without labels the well-lit image is the truth"
    assert (found.frames, found.scenes) == (["a.png"], ["a.png"])
    assert len(comparison.samples) == 1


def test_every_frame_of_a_recording_is_scored() -> None:
    shown, dark, _ = renderings()
    comparison = compare_renderings([clip(5, known_motion=False)], shown, Detectors(boxes=[Detector()]))
    assert dark.seen == [0, 1, 2, 3, 4]
    assert comparison.boxes["stub", "4 stops"].frames == ["a.png", "a.png 1", "a.png 2", "a.png 3", "a.png 4"]


def test_with_labels_the_well_lit_image_is_a_rendering(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    labels = Labels(tmp_path, folder=tmp_path, classes=("car",))
    shown, _, _ = renderings()
    clips = [clip(), clip(name="b.png")]
    comparison = compare_renderings(clips, shown, Detectors(boxes=[Detector()]), labels)
    found = comparison.boxes["stub", "4 stops"]
    assert set(found.found) == {DARK, STREAM, WELL_LIT}
    assert len(found.truth) == 1
    assert comparison.unlabelled == 1


def test_points_are_tracked_over_the_last_frames() -> None:
    shown, dark, _ = renderings()
    comparison = compare_renderings([clip()], shown, Detectors(tracks=True))
    assert dark.seen == list(range(FRAMES - TRACKED_FRAMES - 1, FRAMES))
    assert {(e.measure, e.rendering) for e in comparison.entries} == {
        (TRACKING, name) for name in (DARK, STREAM, WELL_LIT)
    }
    with pytest.raises(DataError, match="nothing could be measured"):
        compare_renderings([clip(TRACKED_FRAMES)], renderings()[0], Detectors(tracks=True))


def test_keypoints_are_compared_on_the_last_pair_or_on_every_pair() -> None:
    shown, dark, _ = renderings()
    comparison = compare_renderings([clip()], shown, Detectors(keypoints=[Keypoints("orb")]))
    assert dark.seen == [FRAMES - 2, FRAMES - 1]
    assert sum(e.measure == KNOWN_MOTION and e.rendering == DARK for e in comparison.entries) == 1
    recording = clip(4, known_motion=False, reference=False)
    comparison = compare_renderings([recording], renderings()[0], Detectors(keypoints=[Keypoints("orb")]))
    assert sum(e.measure == UNKNOWN_MOTION and e.rendering == DARK for e in comparison.entries) == 3


def test_words_are_those_of_the_well_lit_image() -> None:
    class Reader:
        name = "reader"

        def __call__(self, image: Any) -> list[tuple[str, float]]:
            return [("exit", 0.9)] if image[0, 0, 0] >= 100 else []

    comparison = compare_renderings([clip()], renderings()[0], Detectors(readers=[Reader()]))
    read = {e.rendering: (e.counts["read"], e.counts["words"]) for e in comparison.entries if e.measure == TEXT}
    assert read == {DARK: (0.0, 1.0), STREAM: (0.0, 1.0), WELL_LIT: (1.0, 1.0)}
