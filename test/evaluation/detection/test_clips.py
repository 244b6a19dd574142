"""Clips of photographs, folders, videos and pairs."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from lowlight_enhance.core.errors import DataError
from lowlight_enhance.core.metadata.capture import CaptureMetadata
from lowlight_enhance.evaluation.detection import clips
from lowlight_enhance.simulation.low_light import DarkExposure
from lowlight_enhance.simulation.sensors import SENSORS

EXPOSURE = DarkExposure(3.0, CaptureMetadata(1600.0, 1 / 60), SENSORS["SonyA7S2"])


def save(path: Path, image: np.ndarray) -> Path:
    cv2.imwrite(str(path), image[:, :, ::-1])
    return path


def textured() -> np.ndarray:
    coarse = np.random.default_rng(0).integers(60, 230, (12, 16, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(coarse, (160, 120), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)


def test_a_clip_of_a_photograph_ends_with_it_and_scores_it_alone(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", textured())
    clip = clips.photograph_clip(path, EXPOSURE, clips.ClipSettings(frames=5, rate_hz=20.0), (0, 0), "3 stops")
    frames = list(clip.load())
    assert [frame.is_scored for frame in frames] == [False] * 4 + [True]
    assert np.array_equal(frames[-1].reference, textured())
    assert frames[-1].files == (path,)
    assert np.diff([frame.stamp_ns for frame in frames]).tolist() == [50_000_000] * 4
    assert (clip.condition, len(clip.views), len(clip.motions)) == ("3 stops", 5, 4)
    for frame in frames:
        assert frame.reference is not None
        assert frame.dark.mean() < 0.6 * frame.reference.mean()
        assert frame.capture.iso == 1600.0


def test_frames_have_their_own_noise_and_repeat(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", np.full((120, 160, 3), 120, np.uint8))
    clip = clips.photograph_clip(path, EXPOSURE, clips.ClipSettings(2, "static"), (0, 1), "")
    first, second = clip.load()
    assert not np.array_equal(first.dark, second.dark)
    assert np.array_equal(list(clip.load())[1].dark, second.dark)


def test_sequences_in_a_folder_differ_in_their_last_number(tmp_path: Path) -> None:
    for name in ("a_1_", "a_2_", "a_10_", "b_1_", "b_2_"):
        save(tmp_path / f"{name}.png", np.full((8, 8, 3), int(name.split("_")[1]), np.uint8))
    found = clips.folder_clips(tmp_path)
    assert [len(list(clip.load())) for clip in found] == [3, 2]
    frames = list(found[0].load())
    assert [int(frame.dark.max()) for frame in frames] == [1, 2, 10]
    assert frames[0].stamp_ns < frames[1].stamp_ns < frames[2].stamp_ns


def test_names_that_are_times_are_one_sequence(tmp_path: Path) -> None:
    for name in ("17.25", "17.58", "18.01"):
        save(tmp_path / f"{name}.png", np.zeros((8, 8, 3), np.uint8))
    (clip,) = clips.folder_clips(tmp_path)
    assert len(list(clip.load())) == 3


def test_a_folder_without_frames_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="at least two"):
        clips.folder_clips(tmp_path)
    with pytest.raises(DataError, match="not a folder"):
        clips.folder_clips(tmp_path / "nowhere")


def test_a_pair_must_have_one_size(tmp_path: Path) -> None:
    dark, bright = (save(tmp_path / f"{n}.png", np.zeros((n, 9, 3), np.uint8)) for n in (8, 9))
    with pytest.raises(DataError, match="differ in size"):
        clips.pair_clip(dark, bright, CaptureMetadata(None, None), "a").load()


def test_frames_of_a_video_have_its_times_and_numbered_names(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    path = tmp_path / "night.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=Fraction(10))
        stream.width, stream.height = 160, 120
        for number in range(3):
            frame = av.VideoFrame.from_ndarray(np.full((120, 160, 3), 40 * number, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    frames = list(clips.video_clip(path).load())
    assert [frame.files[0].name for frame in frames] == [f"night_00000{n}.png" for n in range(3)]
    assert np.diff([frame.stamp_ns for frame in frames]).tolist() == pytest.approx([1e8, 1e8])
    assert frames[0].dark.shape == (120, 160, 3)
    assert frames[2].dark.mean() > frames[1].dark.mean() > frames[0].dark.mean()
    with pytest.raises(DataError, match="does not exist"):
        clips.video_clip(tmp_path / "none.mp4")
