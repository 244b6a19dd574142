"""Folders of images, and the pipeline that their frames go through."""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("av", reason="makes and reads the videos")

from video_maker import HEIGHT, WIDTH, assert_doubled, changed, picture, run, times_ms, write_pictures, write_video

from lowlight_enhance.core.enhancement.enhancer import Enhancer
from lowlight_enhance.core.errors import DataError
from lowlight_enhance.core.metadata.capture import UNKNOWN, CaptureMetadata
from lowlight_enhance.core.pipeline import PipelineConfig
from lowlight_enhance.tools.video.enhance import FramePipeline, VideoSettings
from lowlight_enhance.tools.video.frames import SourceFrame
from lowlight_enhance.tools.video.sources import open_source


def test_a_folder_is_read_in_numeric_order(tmp_path: Path, settings: VideoSettings) -> None:
    names = ["n1.png", "n2.png", "n10.png", "n11.png"]
    folder = write_pictures(tmp_path / "night", names)
    (folder / "notes.txt").touch()
    (folder / ".n0.png").touch()
    run(folder, tmp_path / "out.mp4", settings, rate=Fraction(10))
    assert_doubled(tmp_path / "out.mp4", range(4))
    assert times_ms(tmp_path / "out.mp4") == [0, 100, 200, 300]
    run(folder, tmp_path / "out", settings)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(names)
    for number, name in enumerate(names):
        found = cv2.imread(str(tmp_path / "out" / name))
        assert np.array_equal(found[:, :, ::-1], picture(number) * 2)


def test_numbered_images(tmp_path: Path, settings: VideoSettings) -> None:
    folder = write_pictures(tmp_path / "night", ["a_008.png", "a_009.png", "a_011.png", "b_010.png"])
    run(folder / "a_%03d.png", tmp_path / "out.mkv", settings)
    assert_doubled(tmp_path / "out.mkv", [0, 1, 2])


def test_a_video_becomes_a_folder_of_images(tmp_path: Path, settings: VideoSettings) -> None:
    run(write_video(tmp_path / "night.mp4"), tmp_path / "out", settings)
    assert sorted(path.name for path in (tmp_path / "out").iterdir())[:2] == ["frame_000000.png", "frame_000001.png"]


def test_16_bits_of_an_image_reach_the_network(tmp_path: Path, settings: VideoSettings) -> None:
    (tmp_path / "night").mkdir()
    deep = np.full((HEIGHT, WIDTH, 3), 257 * 3 + 128, np.uint16)  # 3.5 of 255
    assert cv2.imwrite(str(tmp_path / "night" / "a.png"), deep)
    run(tmp_path / "night", tmp_path / "out", settings)
    assert np.unique(cv2.imread(str(tmp_path / "out" / "a.png"))).tolist() == [7]


def test_exif_of_each_image_is_read_and_options_take_precedence(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image", reason="Pillow writes the EXIF")
    (tmp_path / "night").mkdir()
    for number, iso in enumerate((800, 3200)):
        exif = image.Exif()
        exif.get_ifd(0x8769).update({0x8827: iso, 0x829A: 0.02})
        image.fromarray(picture(number)).save(tmp_path / "night" / f"{number}.jpg", exif=exif)
    image.fromarray(picture(2)).save(tmp_path / "night" / "2.jpg")

    def captures(fallback: CaptureMetadata) -> list[CaptureMetadata]:
        seen: list[CaptureMetadata] = []

        class Seeing:
            def __call__(self, rgb: np.ndarray, capture: CaptureMetadata) -> np.ndarray:
                seen.append(capture)
                return rgb

        with open_source(str(tmp_path / "night"), fallback) as source:
            pipeline = FramePipeline(Seeing(), PipelineConfig(fallback=fallback), source.time_base)  # type: ignore[arg-type]
            for frame in source.frames():
                pipeline.process(frame)
        return seen

    assert captures(UNKNOWN) == [CaptureMetadata(800.0, 0.02), CaptureMetadata(3200.0, 0.02), UNKNOWN]
    fallback = CaptureMetadata(100.0, None)
    assert captures(fallback) == [CaptureMetadata(100.0, 0.02), CaptureMetadata(100.0, 0.02), fallback]


def test_a_damaged_image_is_skipped_and_reported(tmp_path: Path, settings: VideoSettings) -> None:
    folder = write_pictures(tmp_path / "night", ["0.png", "1.png", "2.png"])
    (folder / "1.png").write_bytes(b"damaged")
    report = run(folder, tmp_path / "out.mp4", settings, rate=Fraction(10))
    assert (report.frames, report.skipped) == (2, 1)
    assert "1 damaged frames skipped; last error: cannot decode" in str(report)
    assert times_ms(tmp_path / "out.mp4") == [0, 200], "the others stay at their times"


def test_images_of_several_sizes_fit_into_a_folder_but_not_into_a_video(
    tmp_path: Path, settings: VideoSettings
) -> None:
    folder = write_pictures(tmp_path / "night", ["0.png"])
    assert cv2.imwrite(str(folder / "1.png"), picture(1, 32)[:, :, ::-1])
    with pytest.raises(DataError, match=r"1\.png has 64x32 pixels and 0\.png 64x48; .* write a folder of images"):
        run(folder, tmp_path / "out.mp4", settings)
    assert [path.name for path in tmp_path.iterdir()] == ["night"]
    assert run(folder, tmp_path / "out", settings).frames == 2


def test_temporal_smoothing_uses_the_times_of_the_frames(tiny_model: Path) -> None:
    enhancer = Enhancer(tiny_model, threads=1)
    config = PipelineConfig(smoothing_s=0.2, strength=0.9)
    rng = np.random.default_rng(3)
    frames = [
        SourceFrame(np.clip(picture(0, 96, 128) + shift, 0, 255).astype(np.uint8), number * 3, UNKNOWN, "")
        for number, shift in enumerate(rng.integers(-2, 3, 4))
    ]

    def through(time_base: Fraction, config: PipelineConfig) -> list[np.ndarray]:
        pipeline = FramePipeline(enhancer, config, time_base)
        return [pipeline.process(frame).rgb.copy() for frame in frames]

    soon, late = through(Fraction(1, 90), config), through(Fraction(100), config)
    alone = through(Fraction(1, 90), dataclasses.replace(config, smoothing_s=0.0))
    assert all(np.array_equal(one, other) for one, other in zip(late, alone, strict=True))
    assert not np.array_equal(soon[-1], alone[-1])


def test_bright_frames_pass_through_unchanged(tmp_path: Path, settings: VideoSettings) -> None:
    folder = write_pictures(tmp_path / "night", ["0.png", "1.png"])
    report = run(folder, tmp_path / "out", changed(settings, pipeline=PipelineConfig(bypass_above=1.0)))
    assert report.bypassed == 2
    assert "2 of them passed through unchanged" in str(report)
    assert np.array_equal(cv2.imread(str(tmp_path / "out" / "1.png")), cv2.imread(str(folder / "1.png")))
