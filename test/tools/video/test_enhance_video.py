"""Videos, folders of pictures and cameras, enhanced: what comes out of the files that FFmpeg made for it."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("av", reason="makes and reads the videos")

import av

from lowlight_enhance import cli
from lowlight_enhance.core.enhancement.enhancer import Enhancer
from lowlight_enhance.core.errors import ConfigError, DataError, LowlightError
from lowlight_enhance.core.metadata.capture import UNKNOWN, CaptureMetadata
from lowlight_enhance.core.pipeline import PipelineConfig
from lowlight_enhance.tools.video import sources
from lowlight_enhance.tools.video.enhance import Lane, VideoReport, VideoSettings, enhance_video
from lowlight_enhance.tools.video.frames import Frame
from lowlight_enhance.tools.video.sources import CameraSource, open_source, source_files
from lowlight_enhance.tools.video.targets import check_target

HEIGHT, WIDTH = 48, 64
TICK = Fraction(1, 1000)
TIMES_MS = [0, 40, 80, 200, 240, 1000]
"""Of a camera whose frames come when they like."""


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that doubles every pixel."""
    pytest.importorskip("onnx", reason="the onnx package writes the tests' models")
    from tiny_model import write_tiny_model

    return write_tiny_model(tmp_path_factory.mktemp("model") / "tiny.onnx")


@pytest.fixture
def settings(tiny_model: Path) -> VideoSettings:
    return VideoSettings(stream=PipelineConfig(smoothing_s=0.0), model=tiny_model, threads=1)


def changed(settings: VideoSettings, **fields: Any) -> VideoSettings:
    return dataclasses.replace(settings, **fields)


def picture(number: int = 0, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Smooth, so that no codec changes it much, and another for each number."""
    rgb = np.empty((height, width, 3), np.uint8)
    rgb[:, : width // 2], rgb[:, width // 2 :] = (100, 20 + 10 * number % 100, 30), (15, 90, 45)
    return rgb


def write_video(
    path: Path,
    times_ms: Sequence[int] = TIMES_MS,
    sound: str = "aac",
    codec: str = "libx264",
    layout: str = "yuv420p",
    rotation: int = 0,
    space: int = 2,
    size: tuple[int, int] = (HEIGHT, WIDTH),
) -> Path:
    """Frames ``picture(0)``, ``picture(1)``... at their times, and a tone to the end of the last."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width, stream.pix_fmt = *size, layout
        stream.codec_context.time_base, stream.codec_context.colorspace = TICK, space
        stream.options = {"crf": "1"} if codec == "libx264" else {}
        if rotation:
            if not hasattr(stream, "set_display_rotation"):
                pytest.skip("this PyAV cannot write a rotation")
            stream.set_display_rotation(rotation)
        tone = container.add_stream(sound, rate=48_000) if sound else None
        if tone is not None:
            tone.layout = "mono"
        for number, time_ms in enumerate(times_ms):
            frame = av.VideoFrame.from_ndarray(picture(number, *size), format="rgb24")
            frame = frame.reformat(format=layout, dst_colorspace=space)
            frame.pts, frame.time_base = time_ms, TICK
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if tone is not None:
            for begin in range(0, 48 * (times_ms[-1] + 40), 960):
                wave = np.sin(np.arange(begin, begin + 960) / 20.0)[None]
                samples = wave.astype(np.float32) if sound == "aac" else (wave * 9000).astype(np.int16)
                part = av.AudioFrame.from_ndarray(samples, format="fltp" if sound == "aac" else "s16", layout="mono")
                part.sample_rate, part.pts = 48_000, begin
                container.mux(tone.encode(part))
            container.mux(tone.encode(None))
    return path


def frames_of(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def times_ms(path: Path) -> list[int]:
    with av.open(str(path)) as container:
        return [round(frame.time * 1000) for frame in container.decode(video=0)]


def packets_of(path: Path) -> list[bytes]:
    """The sound as it lies in the file."""
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(container.streams.audio[0]) if packet.size]


def run(source: str | Path, target: Path, settings: VideoSettings, **how: Any) -> VideoReport:
    check_target(source_files(str(source)), target, settings.codec, settings.force)
    with open_source(str(source), settings.stream.fallback, **how) as opened:
        return enhance_video(opened, target, settings, lambda _: None)


def assert_doubled(path: Path, numbers: Sequence[int], within: int = 12) -> None:
    found = frames_of(path)
    assert len(found) == len(numbers)
    for frame, number in zip(found, numbers, strict=True):
        expected = picture(number).astype(int) * 2
        assert np.abs(frame[4:-4, 4:28] - expected[4:-4, 4:28]).max() <= within
        assert np.abs(frame[4:-4, 36:-4] - expected[4:-4, 36:-4]).max() <= within


# Video files


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
    assert (report.frames, report.left_out, report.audio) == (6, 0, "sound kept (aac)")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["night.mp4", f"out{suffix}"]


def test_avi_shows_frames_at_a_steady_rate(tmp_path: Path, settings: VideoSettings) -> None:
    steady = [0, 40, 80, 120, 160]
    target = tmp_path / "out.avi"
    run(write_video(tmp_path / "night.mp4", steady), target, settings)
    assert_doubled(target, range(5), within=16)
    assert times_ms(target) == steady


def test_sound_that_does_not_fit_is_told_of(tmp_path: Path, settings: VideoSettings) -> None:
    source = write_video(tmp_path / "night.mkv", sound="pcm_s16le")
    assert run(source, tmp_path / "kept.mkv", settings).audio == "sound kept (pcm_s16le)"
    assert packets_of(tmp_path / "kept.mkv") == packets_of(source)
    report = run(source, tmp_path / "out.webm", changed(settings, codec="libvpx-vp9"))
    assert report.audio == "sound not kept: pcm_s16le does not fit into .webm, but into .mkv"
    assert len(frames_of(tmp_path / "out.webm")) == len(TIMES_MS)


def test_a_silent_video(tmp_path: Path, settings: VideoSettings) -> None:
    report = run(write_video(tmp_path / "night.mp4", sound=""), tmp_path / "out.mp4", settings)
    assert (report.frames, report.audio) == (6, "")


@pytest.mark.parametrize(("limit", "numbers"), [({"max_frames": 2}, [0, 1]), ({"max_seconds": 0.2}, [0, 1, 2])])
def test_a_cut_video_has_no_longer_sound(
    limit: dict[str, Any], numbers: list[int], tmp_path: Path, settings: VideoSettings
) -> None:
    source, target = write_video(tmp_path / "night.mp4"), tmp_path / "out.mp4"
    run(source, target, changed(settings, **limit))
    assert_doubled(target, numbers)
    kept = packets_of(target)
    assert kept == packets_of(source)[: len(kept)]
    assert len(kept) * 1024 / 48_000 == pytest.approx(0.04 * (len(numbers)), abs=0.1)


@pytest.mark.parametrize("space", [1, 2, 6])
def test_colours_survive_whether_the_file_says_how_it_writes_them_or_not(
    space: int, tmp_path: Path, settings: VideoSettings
) -> None:
    source = write_video(tmp_path / "night.mp4", sound="", space=space)
    target = tmp_path / "out.mp4"
    run(source, target, changed(settings, stream=PipelineConfig(strength=0.0)))
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


def test_a_telephones_video_is_turned_upright(tmp_path: Path, settings: VideoSettings) -> None:
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


def test_a_file_cut_short_is_enhanced_up_to_there(tmp_path: Path, settings: VideoSettings) -> None:
    source = write_video(tmp_path / "night.mkv", range(0, 4000, 40), codec="ffv1", layout="bgr0")
    source.write_bytes(source.read_bytes()[: source.stat().st_size // 2])
    report = run(source, tmp_path / "out.mkv", settings)
    assert 20 < report.frames < 80
    assert_doubled(tmp_path / "out.mkv", range(report.frames), within=300)


# Folders of pictures


def write_pictures(folder: Path, names: Sequence[str], height: int = HEIGHT) -> Path:
    folder.mkdir()
    for number, name in enumerate(names):
        assert cv2.imwrite(str(folder / name), picture(number, height)[:, :, ::-1])
    return folder


def test_a_folder_is_read_in_the_order_of_its_numbers(tmp_path: Path, settings: VideoSettings) -> None:
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


def test_numbered_pictures(tmp_path: Path, settings: VideoSettings) -> None:
    folder = write_pictures(tmp_path / "night", ["a_008.png", "a_009.png", "a_011.png", "b_010.png"])
    run(folder / "a_%03d.png", tmp_path / "out.mkv", settings)
    assert_doubled(tmp_path / "out.mkv", [0, 1, 2])


def test_a_video_becomes_a_folder(tmp_path: Path, settings: VideoSettings) -> None:
    run(write_video(tmp_path / "night.mp4"), tmp_path / "out", settings)
    assert sorted(path.name for path in (tmp_path / "out").iterdir())[:2] == ["frame_000000.png", "frame_000001.png"]


def test_16_bits_of_a_picture_reach_the_network(tmp_path: Path, settings: VideoSettings) -> None:
    (tmp_path / "night").mkdir()
    deep = np.full((HEIGHT, WIDTH, 3), 257 * 3 + 128, np.uint16)  # 3.5 of 255
    assert cv2.imwrite(str(tmp_path / "night" / "a.png"), deep)
    run(tmp_path / "night", tmp_path / "out", settings)
    assert np.unique(cv2.imread(str(tmp_path / "out" / "a.png"))).tolist() == [7]


def test_exif_tells_of_each_picture_and_the_user_goes_first(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image", reason="Pillow writes the EXIF")
    (tmp_path / "night").mkdir()
    for number, iso in enumerate((800, 3200)):
        exif = image.Exif()
        exif.get_ifd(0x8769).update({0x8827: iso, 0x829A: 0.02})
        image.fromarray(picture(number)).save(tmp_path / "night" / f"{number}.jpg", exif=exif)
    image.fromarray(picture(2)).save(tmp_path / "night" / "2.jpg")

    def captures(given: CaptureMetadata) -> list[CaptureMetadata]:
        seen: list[CaptureMetadata] = []

        class Seeing:
            def __call__(self, rgb: np.ndarray, capture: CaptureMetadata) -> np.ndarray:
                seen.append(capture)
                return rgb

        with open_source(str(tmp_path / "night"), given) as source:
            lane = Lane(Seeing(), PipelineConfig(fallback=given), source.tick)  # type: ignore[arg-type]
            for frame in source.frames():
                lane.process(frame)
        return seen

    assert captures(UNKNOWN) == [CaptureMetadata(800.0, 0.02), CaptureMetadata(3200.0, 0.02), UNKNOWN]
    given = CaptureMetadata(100.0, None)
    assert captures(given) == [CaptureMetadata(100.0, 0.02), CaptureMetadata(100.0, 0.02), given]


def test_a_damaged_picture_is_left_out_and_told_of(tmp_path: Path, settings: VideoSettings) -> None:
    folder = write_pictures(tmp_path / "night", ["0.png", "1.png", "2.png"])
    (folder / "1.png").write_bytes(b"damaged")
    report = run(folder, tmp_path / "out.mp4", settings, rate=Fraction(10))
    assert (report.frames, report.left_out) == (2, 1)
    assert "1 damaged frames left out; the last error: cannot decode" in str(report)
    assert times_ms(tmp_path / "out.mp4") == [0, 200], "the others stay at their times"


def test_pictures_of_several_sizes_fit_into_a_folder_but_not_into_a_video(
    tmp_path: Path, settings: VideoSettings
) -> None:
    folder = write_pictures(tmp_path / "night", ["0.png"])
    assert cv2.imwrite(str(folder / "1.png"), picture(1, 32)[:, :, ::-1])
    with pytest.raises(DataError, match=r"1\.png has 64x32 pixels and 0\.png 64x48; .* write into a folder"):
        run(folder, tmp_path / "out.mp4", settings)
    assert [path.name for path in tmp_path.iterdir()] == ["night"]
    assert run(folder, tmp_path / "out", settings).frames == 2


# The stream


def test_frames_are_steadied_by_their_times(tiny_model: Path) -> None:
    enhancer = Enhancer(tiny_model, threads=1)
    config = PipelineConfig(smoothing_s=0.2, strength=0.9)
    rng = np.random.default_rng(3)
    frames = [
        Frame(np.clip(picture(0, 96, 128) + shift, 0, 255).astype(np.uint8), number * 3, UNKNOWN, "")
        for number, shift in enumerate(rng.integers(-2, 3, 4))
    ]

    def through(tick: Fraction, config: PipelineConfig) -> list[np.ndarray]:
        lane = Lane(enhancer, config, tick)
        return [lane.process(frame).rgb.copy() for frame in frames]

    soon, late = through(Fraction(1, 90), config), through(Fraction(100), config)
    alone = through(Fraction(1, 90), dataclasses.replace(config, smoothing_s=0.0))
    assert all(np.array_equal(one, other) for one, other in zip(late, alone, strict=True))
    assert not np.array_equal(soon[-1], alone[-1])


def test_bright_frames_pass(tmp_path: Path, settings: VideoSettings) -> None:
    folder = write_pictures(tmp_path / "night", ["0.png", "1.png"])
    report = run(folder, tmp_path / "out", changed(settings, stream=PipelineConfig(bypass_above=1.0)))
    assert report.bypassed == 2
    assert "2 of them passed through untouched" in str(report)
    assert np.array_equal(cv2.imread(str(tmp_path / "out" / "1.png")), cv2.imread(str(folder / "1.png")))


# Cameras


class FakeCamera:
    """Stands in for ``cv2.VideoCapture``."""

    clock_ms: Sequence[float] = (0.0,) * 6
    is_there = True
    asked: dict[int, float] = {}  # noqa: RUF012 (each test has a class of its own)

    def __init__(self, camera: int | str) -> None:
        self.shown = -1
        self.camera = camera

    def isOpened(self) -> bool:  # noqa: N802 (OpenCV's name)
        return self.is_there

    def set(self, setting: int, value: float) -> bool:
        self.asked[setting] = value
        return True

    def get(self, setting: int) -> float:
        return 30.0 if setting == cv2.CAP_PROP_FPS else self.clock_ms[self.shown]

    def read(self) -> tuple[bool, np.ndarray | None]:
        self.shown += 1
        return (True, picture(self.shown)[:, :, ::-1]) if self.shown < len(self.clock_ms) else (False, None)

    def release(self) -> None:
        pass


@pytest.fixture
def camera(monkeypatch: pytest.MonkeyPatch) -> type[FakeCamera]:
    kind = type("Camera", (FakeCamera,), {"asked": {}})
    monkeypatch.setattr(sources.cv2, "VideoCapture", kind)
    return kind


def test_a_camera_is_recorded_by_its_own_clock_until_it_is_told_to_stop(
    camera: type[FakeCamera], tmp_path: Path, settings: VideoSettings
) -> None:
    camera.clock_ms = tuple(5000.0 + time_ms for time_ms in [*TIMES_MS, 2000, 3000, 4000])
    done = itertools.count(1)
    with open_source("0", rate=Fraction(30), size=(64, 48)) as source:

        def stop_at_six(_: int) -> None:
            if next(done) == 6:
                source.stop()

        report = enhance_video(source, tmp_path / "out.mp4", settings, stop_at_six)
    assert 6 <= report.frames <= len(camera.clock_ms), "what was read before it stopped is kept"
    assert times_ms(tmp_path / "out.mp4")[:6] == TIMES_MS
    assert_doubled(tmp_path / "out.mp4", range(report.frames))
    wishes = {cv2.CAP_PROP_FPS: 30.0, cv2.CAP_PROP_FRAME_WIDTH: 64, cv2.CAP_PROP_FRAME_HEIGHT: 48}
    assert camera.asked == wishes


def test_a_camera_without_a_clock_is_timed_by_ours(
    camera: type[FakeCamera], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, settings: VideoSettings
) -> None:
    ours = iter([50.0, 50.04, 50.04, 50.2, 50.3, 50.4, 50.5])
    monkeypatch.setattr(sources.time, "monotonic", lambda: next(ours))
    with open_source("/dev/video0") as source:
        assert isinstance(source, CameraSource)
        assert source._camera.camera == 0
        times = [float(frame.ticks * source.tick) for frame in source.frames()]
    assert times == pytest.approx([0.0, 0.04, 0.04, 0.2, 0.3, 0.4], abs=1e-4)
    assert sorted(set(times)) == times, "each is later than the one before"


def test_what_an_unplugged_camera_has_shown_is_kept(
    camera: type[FakeCamera], tmp_path: Path, settings: VideoSettings
) -> None:
    report = run("0", tmp_path / "out.mp4", settings)
    assert (report.frames, report.last_error) == (6, "camera 0 gave no more pictures")
    assert_doubled(tmp_path / "out.mp4", range(6))


def test_a_camera_that_is_not_there(camera: type[FakeCamera]) -> None:
    camera.is_there = False
    with pytest.raises(DataError, match="camera 3 gives no picture"):
        open_source("3")
    camera.is_there, camera.clock_ms = True, ()
    with pytest.raises(DataError, match="camera 3 gives no picture"):
        open_source("3")


# What cannot be done


@pytest.mark.parametrize(
    ("source", "how", "kind", "said"),
    [
        ("no.mp4", {}, DataError, "there is no .*no.mp4"),
        ("empty", {}, DataError, "no pictures in"),
        ("text.mp4", {}, DataError, r"cannot read .*text\.mp4 as a video"),
        ("sound.mka", {}, DataError, "has no video in it"),
        ("photo.png", {}, ConfigError, "single picture: use 'lowlight image'"),
        ("night.mp4", {"rate": Fraction(5)}, ConfigError, "--fps is for folders of pictures and for cameras"),
        ("night.mp4", {"size": (64, 48)}, ConfigError, "--size is asked of cameras"),
        ("n_%04d.png", {}, DataError, "no files like"),
    ],
)
def test_sources_that_are_none(
    source: str, how: dict[str, Any], kind: type[LowlightError], said: str, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "photo.png").touch()
    write_video(tmp_path / "night.mp4")
    with av.open(str(tmp_path / "sound.mka"), "w") as container:
        tone = container.add_stream("aac", rate=48_000)
        tone.layout = "mono"
        part = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        part.sample_rate = 48_000
        container.mux([*tone.encode(part), *tone.encode(None)])
    with pytest.raises(kind, match=said):
        open_source(str(tmp_path / source), **how)


@pytest.mark.parametrize(
    ("target", "codec", "force", "said"),
    [
        ("out.xyz", None, False, "video files end in one of"),
        ("in.mp4", None, True, "is the source itself"),
        ("night", None, True, "is the source itself"),
        ("there.mp4", None, False, "exists; .* --force"),
        ("there", None, False, "exists; .* --force"),
        ("mixed", None, True, "holds more than pictures"),
        ("folder.mp4", None, True, "is a folder"),
        ("out.mp4", "no_such_codec", False, "no encoder no_such_codec"),
        ("out.mp4", "aac", False, "no encoder aac"),
        ("out", "libx264", False, "--codec is for video files"),
    ],
)
def test_targets_that_are_none(target: str, codec: str | None, force: bool, said: str, tmp_path: Path) -> None:
    (tmp_path / "in.mp4").touch()
    (tmp_path / "there.mp4").touch()
    (tmp_path / "folder.mp4").mkdir()
    for name in ("night", "there", "mixed"):
        write_pictures(tmp_path / name, ["a.png"])
    (tmp_path / "mixed" / "thesis.txt").touch()
    source = tmp_path / ("night" if target == "night" else "in.mp4")
    with pytest.raises(LowlightError, match=said):
        check_target(source_files(str(source)), tmp_path / target, codec, force)


@pytest.mark.parametrize("source", ["night/%02d.png", "night", "links", "night/01.mkv"])
def test_a_folder_that_holds_a_source_is_never_replaced(source: str, tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "night", ["01.png", "02.png"])
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "01.png").symlink_to(folder / "01.png")
    if source.endswith(".mkv"):
        write_video(tmp_path / source)
    before = {path: path.read_bytes() for path in folder.iterdir()}
    for target in (folder, tmp_path / "x" / ".." / "night"):
        with pytest.raises(DataError, match="so that the original is kept"):
            check_target(source_files(str(tmp_path / source)), target, None, force=True)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_the_command_keeps_numbered_pictures(tmp_path: Path, tiny_model: Path) -> None:
    folder = write_pictures(tmp_path / "night", ["01.png"])
    before = (folder / "01.png").read_bytes()
    command = ["video", str(folder / "%02d.png"), str(folder), "--force", "--model", str(tiny_model)]
    assert cli.main(command) == 2
    assert (folder / "01.png").read_bytes() == before


def test_force_replaces_files_and_folders_of_pictures(tmp_path: Path, settings: VideoSettings) -> None:
    folder = write_pictures(tmp_path / "night", ["0.png"])
    write_pictures(tmp_path / "out", ["old.png"])
    (tmp_path / "out.mp4").touch()
    (tmp_path / "empty").mkdir()
    for name in ("out", "out.mp4"):
        assert run(folder, tmp_path / name, changed(settings, force=True)).frames == 1
    assert run(folder, tmp_path / "empty", settings).frames == 1
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["0.png"]
    assert len(frames_of(tmp_path / "out.mp4")) == 1


def test_nothing_readable_leaves_nothing(tmp_path: Path, settings: VideoSettings) -> None:
    (tmp_path / "night").mkdir()
    (tmp_path / "night" / "a.png").write_bytes(b"damaged")
    for target in ("out", "out.mp4"):
        with pytest.raises(DataError, match=r"gave no frame .*cannot decode"):
            run(tmp_path / "night", tmp_path / target, settings)
    assert [path.name for path in tmp_path.iterdir()] == ["night"]


def test_an_encoder_that_fails_leaves_nothing(tmp_path: Path, settings: VideoSettings) -> None:
    source = write_video(tmp_path / "night.mp4")
    with pytest.raises(DataError, match=r"cannot write .*out\.mp4"):
        run(source, tmp_path / "out.mp4", changed(settings, codec="gif"))
    assert [path.name for path in tmp_path.iterdir()] == ["night.mp4"]
