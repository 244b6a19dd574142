"""Time stamps of containers: files that start before or after 0, formats without time stamps, raw streams."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("av", reason="makes and reads the videos")

import av
from video_maker import HEIGHT, TIMES_MS, WIDTH, picture, run, times_ms, write_video

from lowlight_enhance.core.errors import ConfigError
from lowlight_enhance.tools.video.enhance import VideoSettings
from lowlight_enhance.tools.video.sources import open_source


def sound_start_ms(path: Path) -> float:
    with av.open(str(path)) as container:
        packet = next(p for p in container.demux(container.streams.audio[0]) if p.pts is not None and p.pts >= 0)
        return float(packet.pts * packet.time_base * 1000)


@pytest.mark.parametrize("shift_ms", [-600, 0, 5000])
@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".avi"])
def test_all_frames_play_and_stay_in_step_with_the_sound(
    suffix: str, shift_ms: int, tmp_path: Path, settings: VideoSettings
) -> None:
    even_ms = range(0, 1200, 40)
    source = write_video(tmp_path / "night.ts", even_ms, sound="mp2", shift_ms=(shift_ms, shift_ms))
    assert times_ms(source)[0] == pytest.approx(shift_ms, abs=50)
    run(source, tmp_path / f"out{suffix}", settings)
    found = np.array(times_ms(tmp_path / f"out{suffix}"))
    assert len(found) == len(even_ms)
    assert np.abs(found - found[0] - even_ms).max() <= 2
    assert found[0] - sound_start_ms(tmp_path / f"out{suffix}") == pytest.approx(0, abs=60)


def test_frames_that_start_after_the_sound_keep_their_distance(tmp_path: Path, settings: VideoSettings) -> None:
    even_ms = range(0, 1200, 40)
    source = write_video(tmp_path / "late.mkv", even_ms, sound="mp2", shift_ms=(1000, 0))
    for suffix in (".mkv", ".avi"):
        run(source, tmp_path / f"out{suffix}", settings)
        second_ms = times_ms(tmp_path / f"out{suffix}")[1]
        assert second_ms - sound_start_ms(tmp_path / f"out{suffix}") == pytest.approx(1040, abs=60)


def test_sound_that_starts_after_the_image_is_left_out_where_the_format_cannot_delay_it(
    tmp_path: Path, settings: VideoSettings
) -> None:
    source = write_video(tmp_path / "late.mkv", range(0, 1200, 40), sound="mp2", shift_ms=(0, 1000))
    assert run(source, tmp_path / "out.mkv", settings).audio == "sound kept (mp2)"
    assert sound_start_ms(tmp_path / "out.mkv") == pytest.approx(1000, abs=60)
    report = run(source, tmp_path / "out.avi", settings)
    assert report.audio == "sound not kept: .avi cannot start sound 1.0 s after the image, .mkv can"


def test_avi_keeps_the_times_of_a_varying_rate(tmp_path: Path, settings: VideoSettings) -> None:
    run(write_video(tmp_path / "night.mp4", TIMES_MS, sound=""), tmp_path / "out.avi", settings)
    assert np.abs(np.array(times_ms(tmp_path / "out.avi")) - TIMES_MS).max() <= 20


def write_raw_stream(path: Path, times: Sequence[int], rate: int) -> Path:
    """Frames in H.264 without a container; only their rate is stored."""
    with av.open(str(path), "w", format="h264") as container:
        stream = container.add_stream("libx264", rate=rate)
        stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, "yuv420p"
        for number, _ in enumerate(times):
            frame = av.VideoFrame.from_ndarray(picture(number), format="rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("rate", [15, 60])
def test_a_raw_stream_has_the_rate_that_it_states(rate: int, tmp_path: Path, settings: VideoSettings) -> None:
    source = write_raw_stream(tmp_path / "night.h264", range(30), rate)
    run(source, tmp_path / "out.mp4", settings)
    expected = [round(1000 * number / rate) for number in range(30)]
    assert np.abs(np.array(times_ms(tmp_path / "out.mp4")) - expected).max() <= 1


def test_a_rate_can_be_given_for_a_raw_stream_only(tmp_path: Path, settings: VideoSettings) -> None:
    source = write_raw_stream(tmp_path / "night.h264", range(5), 60)
    run(source, tmp_path / "out.mp4", settings, rate=Fraction(10))
    assert times_ms(tmp_path / "out.mp4") == [0, 100, 200, 300, 400]
    with pytest.raises(ConfigError, match="has time stamps"):
        open_source(str(tmp_path / "out.mp4"), rate=Fraction(10))
