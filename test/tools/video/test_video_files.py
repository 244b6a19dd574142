"""Video files: times, sound, size, colour and depth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("av", reason="makes and reads the videos")

import av
from video_maker import (
    HEIGHT,
    TIMES_MS,
    WIDTH,
    assert_doubled,
    changed,
    frames_of,
    packets_of,
    picture,
    run,
    times_ms,
    write_video,
)

from lowlight_enhance.core.pipeline import PipelineConfig
from lowlight_enhance.tools.video.enhance import VideoSettings
from lowlight_enhance.tools.video.sources import open_source


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
def test_frames_are_enhanced_at_their_times_and_the_sound_is_the_same_bytes(
    suffix: str, tmp_path: Path, settings: VideoSettings
) -> None:
    source = write_video(tmp_path / "night.mp4")
    target = tmp_path / f"out{suffix}"
    report = run(source, target, settings)
    assert_doubled(target, range(len(TIMES_MS)))
    shift = times_ms(target)[0]  # Matroska begins with the first sound, which may come before the picture
    assert np.abs(np.array(times_ms(target)) - shift - TIMES_MS).max() <= 1
    assert packets_of(target) == packets_of(source)
    assert (report.frames, report.skipped, report.audio) == (6, 0, "sound kept (aac)")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["night.mp4", f"out{suffix}"]


def test_avi_stores_frames_at_a_constant_rate(tmp_path: Path, settings: VideoSettings) -> None:
    steady = [0, 40, 80, 120, 160]
    target = tmp_path / "out.avi"
    run(write_video(tmp_path / "night.mp4", steady), target, settings)
    assert_doubled(target, range(5), within=16)
    assert times_ms(target) == steady


def test_sound_that_does_not_fit_is_reported(tmp_path: Path, settings: VideoSettings) -> None:
    source = write_video(tmp_path / "night.mkv", sound="pcm_s16le")
    assert run(source, tmp_path / "kept.mkv", settings).audio == "sound kept (pcm_s16le)"
    assert packets_of(tmp_path / "kept.mkv") == packets_of(source)
    report = run(source, tmp_path / "out.webm", changed(settings, codec="libvpx-vp9"))
    assert report.audio == "sound not kept: pcm_s16le does not fit into .webm, but into .mkv"
    assert len(frames_of(tmp_path / "out.webm")) == len(TIMES_MS)


def test_a_video_without_sound(tmp_path: Path, settings: VideoSettings) -> None:
    report = run(write_video(tmp_path / "night.mp4", sound=""), tmp_path / "out.mp4", settings)
    assert (report.frames, report.audio) == (6, "")


@pytest.mark.parametrize(("limit", "numbers"), [({"max_frames": 2}, [0, 1]), ({"max_seconds": 0.2}, [0, 1, 2])])
def test_sound_ends_with_the_frames_of_a_cut_video(
    limit: dict[str, Any], numbers: list[int], tmp_path: Path, settings: VideoSettings
) -> None:
    source, target = write_video(tmp_path / "night.mp4"), tmp_path / "out.mp4"
    run(source, target, changed(settings, **limit))
    assert_doubled(target, numbers)
    kept = packets_of(target)
    assert kept == packets_of(source)[: len(kept)]
    assert len(kept) * 1024 / 48_000 == pytest.approx(0.04 * (len(numbers)), abs=0.1)


@pytest.mark.parametrize("space", [1, 2, 6])
def test_the_colour_matrix_is_kept(space: int, tmp_path: Path, settings: VideoSettings) -> None:
    source = write_video(tmp_path / "night.mp4", sound="", space=space)
    target = tmp_path / "out.mp4"
    run(source, target, changed(settings, pipeline=PipelineConfig(strength=0.0)))
    for before, after in zip(frames_of(source), frames_of(target), strict=True):
        assert np.abs(before.astype(int) - after)[4:-4, 4:28].max() <= 3
    with av.open(str(target)) as container:
        assert int(container.streams.video[0].codec_context.colorspace) == space


def test_more_than_8_bits_reach_the_network(tmp_path: Path) -> None:
    source = write_video(tmp_path / "night.mkv", codec="ffv1", layout="yuv420p10le")
    with open_source(str(source)) as opened:
        frame = next(iter(opened.frames()))
    assert frame.rgb.dtype == np.uint16
    assert np.abs(frame.rgb[10, 10] / 257.0 - picture()[10, 10]).max() < 3.0


def test_a_rotated_video_becomes_upright(tmp_path: Path, settings: VideoSettings) -> None:
    source = write_video(tmp_path / "night.mp4", rotation=90)
    run(source, tmp_path / "out.mp4", settings)
    found = frames_of(tmp_path / "out.mp4")[0]
    assert found.shape == (WIDTH, HEIGHT, 3)
    expected = np.rot90(picture(), 1).astype(int) * 2  # 90 degrees against the clock, as FFmpeg counts
    assert np.abs(found[40:60, 4:-4] - expected[40:60, 4:-4]).max() <= 12


def test_dark_and_enhanced_side_by_side_and_odd_sizes(tmp_path: Path, settings: VideoSettings) -> None:
    source = write_video(tmp_path / "night.mkv", codec="ffv1", layout="bgr0", size=(47, 65), sound="")
    target = tmp_path / "out.mp4"
    run(source, target, changed(settings, side_by_side=True))
    found = frames_of(target)[0]
    assert found.shape == (48, 130, 3), "H.264 wants even sizes: the last row stands there twice"
    for left, factor in ((0, 1), (65, 2)):
        expected = picture(0, 47, 65).astype(int)[4:40, 4:24] * factor
        assert np.abs(found[4:40, left + 4 : left + 24] - expected).max() <= 12


def test_a_truncated_file_is_enhanced_up_to_its_end(tmp_path: Path, settings: VideoSettings) -> None:
    source = write_video(tmp_path / "night.mkv", range(0, 4000, 40), codec="ffv1", layout="bgr0")
    source.write_bytes(source.read_bytes()[: source.stat().st_size // 2])
    report = run(source, tmp_path / "out.mkv", settings)
    assert 20 < report.frames < 80
    assert_doubled(tmp_path / "out.mkv", range(report.frames), within=300)
