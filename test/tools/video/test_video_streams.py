"""Which stream of a file is enhanced, how it is oriented, and how its colours are coded."""

from __future__ import annotations

import itertools
import struct
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("av", reason="makes and reads the videos")

import av
from video_maker import HEIGHT, TIME_BASE, WIDTH, changed, frames_of, picture, run, write_video

from lowlight_enhance.core.errors import DataError
from lowlight_enhance.core.pipeline import PipelineConfig
from lowlight_enhance.tools.video.enhance import VideoSettings
from lowlight_enhance.tools.video.sources import open_source


def corners(rgb: np.ndarray) -> str:
    """Return the quarter of ``picture_of_quarters`` in each corner: top left, top right, bottom left and right."""
    height, width = rgb.shape[:2]
    names = {(1, 0, 0): "R", (0, 1, 0): "G", (0, 0, 1): "B", (1, 1, 0): "Y"}
    points = itertools.product((height // 4, 3 * height // 4), (width // 4, 3 * width // 4))
    return "".join(names.get(tuple((rgb[point] > 100).astype(int)), "?") for point in points)


def picture_of_quarters() -> np.ndarray:
    rgb = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    rgb[: HEIGHT // 2, : WIDTH // 2, 0] = rgb[: HEIGHT // 2, WIDTH // 2 :, 1] = 200
    rgb[HEIGHT // 2 :, : WIDTH // 2, 2] = rgb[HEIGHT // 2 :, WIDTH // 2 :, :2] = 200
    return rgb


def write_oriented(path: Path, matrix: tuple[int, int, int, int], aspect: tuple[int, int] = (1, 1)) -> Path:
    """Write a file of ``picture_of_quarters`` whose track header has the display matrix ``a, b, c, d``."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(*aspect)
        for number in range(3):
            frame = av.VideoFrame.from_ndarray(picture_of_quarters(), format="rgb24")
            frame.pts, frame.time_base = 40 * number, TIME_BASE
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    content = bytearray(path.read_bytes())
    a, b, c, d = (value << 16 for value in matrix)
    at = content.index(b"tkhd") + 44
    content[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(bytes(content))
    return path


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        ((1, 0, 0, 1), "RGBY"),
        ((-1, 0, 0, 1), "GRYB"),
        ((1, 0, 0, -1), "BYRG"),
        ((-1, 0, 0, -1), "YBGR"),
        ((0, 1, 1, 0), "RBGY"),
        ((0, 1, -1, 0), "BRYG"),
        ((0, -1, 1, 0), "GYRB"),
        ((0, -1, -1, 0), "YGBR"),
    ],
)
def test_all_eight_orientations_become_upright(
    matrix: tuple[int, int, int, int], expected: str, tmp_path: Path, settings: VideoSettings
) -> None:
    source = write_oriented(tmp_path / "night.mp4", matrix)
    run(source, tmp_path / "out.mkv", changed(settings, pipeline=PipelineConfig(strength=0.0)))
    found = frames_of(tmp_path / "out.mkv")
    assert [corners(frame) for frame in found] == [expected] * 3
    assert found[0].shape == ((HEIGHT, WIDTH, 3) if matrix[0] else (WIDTH, HEIGHT, 3))


@pytest.mark.parametrize(("matrix", "expected"), [((1, 0, 0, 1), "4/3"), ((0, -1, 1, 0), "3/4")])
def test_the_pixel_aspect_turns_with_the_image(
    matrix: tuple[int, int, int, int], expected: str, tmp_path: Path, settings: VideoSettings
) -> None:
    source = write_oriented(tmp_path / "night.mp4", matrix, aspect=(4, 3))
    run(source, tmp_path / "out.mkv", settings)
    with av.open(str(tmp_path / "out.mkv")) as container:
        assert str(container.streams.video[0].sample_aspect_ratio) == expected


# Several streams


def write_streams(path: Path, sizes: list[tuple[int, int]], cover: bool = False) -> Path:
    """Write a file with a video stream of each (height, width), the first one a cover image if ``cover``."""
    with av.open(str(path), "w") as container:
        streams = []
        for number, (height, width) in enumerate(sizes):
            codec = "png" if cover and number == 0 else "libx264"
            stream = container.add_stream(codec, rate=25)
            stream.height, stream.width = height, width
            stream.pix_fmt = "rgb24" if codec == "png" else "yuv420p"
            if codec == "png":
                stream.disposition = av.stream.Disposition.attached_pic
            streams.append(stream)
        for stream in streams:
            for number in range(1 if stream.codec_context.name == "png" else 4):
                frame = av.VideoFrame.from_ndarray(picture(number, stream.height, stream.width), format="rgb24")
                frame.pts, frame.time_base = 40 * number, TIME_BASE
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    return path


def test_the_largest_video_stream_is_enhanced_and_the_others_are_reported(
    tmp_path: Path, settings: VideoSettings
) -> None:
    source = write_streams(tmp_path / "night.mkv", [(24, 32), (HEIGHT, WIDTH)])
    report = run(source, tmp_path / "out.mp4", settings)
    assert {frame.shape for frame in frames_of(tmp_path / "out.mp4")} == {(HEIGHT, WIDTH, 3)}
    assert "stream 1 enhanced, streams not kept: 0 (video)" in str(report)


def test_a_cover_image_is_no_video(tmp_path: Path, settings: VideoSettings) -> None:
    source = write_streams(tmp_path / "night.mp4", [(96, 128), (HEIGHT, WIDTH)], cover=True)
    report = run(source, tmp_path / "out.mp4", settings)
    assert report.frames == 4
    assert frames_of(tmp_path / "out.mp4")[0].shape == (HEIGHT, WIDTH, 3)
    with pytest.raises(DataError, match="no video in it, only a cover image"):
        open_source(str(write_streams(tmp_path / "cover.mp4", [(96, 128)], cover=True)))


# Colours


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
@pytest.mark.parametrize(("codec", "layout", "name"), [("png", "rgb24", "a.mov"), ("libx264rgb", "rgb24", "a.mkv")])
def test_rgb_becomes_yuv_with_a_matrix_of_yuv(
    codec: str, layout: str, name: str, suffix: str, tmp_path: Path, settings: VideoSettings
) -> None:
    source = write_video(tmp_path / name, sound="", codec=codec, layout=layout, space=0)
    run(source, tmp_path / f"out{suffix}", changed(settings, pipeline=PipelineConfig(strength=0.0)))
    with av.open(str(tmp_path / f"out{suffix}")) as container:
        context = container.streams.video[0].codec_context
        assert (context.pix_fmt, int(context.colorspace)) == ("yuv420p", 1)
    for before, after in zip(frames_of(source), frames_of(tmp_path / f"out{suffix}"), strict=True):
        assert np.abs(before.astype(int) - after)[4:-4, 4:28].max() <= 6


def test_a_colour_matrix_that_cannot_be_converted_is_named(tmp_path: Path, settings: VideoSettings) -> None:
    ictcp = 14
    source = write_video(tmp_path / "night.mp4", sound="", space=ictcp)
    with pytest.raises(DataError, match=r"cannot convert its colours .matrix 14 of"):
        run(source, tmp_path / "out.mp4", settings)
    assert [path.name for path in tmp_path.iterdir()] == ["night.mp4"]


def test_the_title_is_kept(tmp_path: Path, settings: VideoSettings) -> None:
    run(write_video(tmp_path / "night.mkv", title="At night"), tmp_path / "out.mp4", settings)
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.metadata["title"] == "At night"
