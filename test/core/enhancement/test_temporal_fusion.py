"""Temporal fusion: which pixels are averaged, and the metadata and frame counts for the network."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lowlight_enhance.core.enhancement.temporal_fusion import (
    FusedFrame,
    TemporalFusion,
    TemporalFusionConfig,
)
from lowlight_enhance.core.errors import ConfigError
from lowlight_enhance.core.metadata.capture import UNKNOWN, CaptureMetadata

HEIGHT, WIDTH = 192, 256
ISO, FULL_WELL, READ_ELECTRONS = 11200.0, 35000.0, 2.0
"""A camera with the nominal full well, so that each frame counts as one."""
CAPTURE = CaptureMetadata(ISO, 1.0 / 30.0)
CONFIG = TemporalFusionConfig()
PERIOD_NS = 33_000_000
START_NS = 10**9


def scene(seed: int = 0, margin: int = 64) -> np.ndarray:
    """Return a texture in linear light, larger than a frame by ``margin`` on each side, about 4 stops too dark."""
    rng = np.random.default_rng(seed)
    shape = (HEIGHT + 2 * margin, WIDTH + 2 * margin)
    layers = []
    for cells in (6, 20, 60):
        coarse = rng.uniform(0.0, 1.0, (cells, cells, 3)).astype(np.float32)
        layers.append(cv2.resize(coarse, shape[::-1], interpolation=cv2.INTER_CUBIC))
    return np.clip(sum(layers) / 3.0, 0.02, 1.0).astype(np.float32) * np.float32(0.06)


def view(picture: np.ndarray, angle: float = 0.0, zoom: float = 1.0, x: float = 0.0, y: float = 0.0) -> np.ndarray:
    """Return the frame that a camera sees of ``picture``, moved from its middle."""
    height, width = picture.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2.0, height / 2.0), angle, zoom)
    matrix[:, 2] += (WIDTH - width) / 2.0 + x, (HEIGHT - height) / 2.0 + y
    return cv2.warpAffine(picture, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR)


def encoded(linear: np.ndarray, full_scale: int = 255) -> np.ndarray:
    linear = np.clip(linear, 0.0, 1.0)
    srgb = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * np.maximum(linear, 1e-9) ** (1 / 2.4) - 0.055)
    return np.rint(srgb * full_scale).astype(np.uint8 if full_scale == 255 else np.uint16)


def photographed(linear: np.ndarray, rng: np.random.Generator, iso: float = ISO, full_scale: int = 255) -> np.ndarray:
    """Return the frame with shot and read noise."""
    full = FULL_WELL * 100.0 / iso
    return encoded((rng.poisson(linear * full) + rng.normal(0.0, READ_ELECTRONS, linear.shape)) / full, full_scale)


def linear_of(rgb: np.ndarray) -> np.ndarray:
    srgb = rgb / float(np.iinfo(rgb.dtype).max)
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def fuse(fusion: TemporalFusion, frames: list[np.ndarray], capture: CaptureMetadata = CAPTURE) -> list[FusedFrame]:
    return [fusion(frame, capture, START_NS + i * PERIOD_NS, CONFIG) for i, frame in enumerate(frames)]


def noise_of(fused: FusedFrame, truth: np.ndarray, where: np.ndarray | None = None) -> float:
    """Root mean square error in linear light."""
    square = np.square(linear_of(fused.rgb) - truth)
    return float(np.sqrt(square.mean() if where is None else square[where].mean()))


def count_of(fused: FusedFrame) -> np.ndarray:
    """Return the (H, W) number of averaged frames of each pixel."""
    if fused.frame_count is None:
        return np.ones((HEIGHT, WIDTH), np.float32)
    return np.asarray(cv2.resize(fused.frame_count, (WIDTH, HEIGHT), interpolation=cv2.INTER_NEAREST))


MOTIONS = {
    "static": lambda i: {},
    "translation": lambda i: {"x": 2.3 * i, "y": -1.1 * i},
    "rotation": lambda i: {"angle": 0.4 * i},
    "zoom": lambda i: {"zoom": 1.0 + 0.004 * i},
    "shake": lambda i: {"x": 2.0 * (-1) ** i, "y": 1.5 * (i % 3 - 1)},
}


@pytest.mark.parametrize("kind", MOTIONS)
def test_noise_falls_for_every_camera_motion(kind: str) -> None:
    rng, picture = np.random.default_rng(1), scene()
    truths = [view(picture, **MOTIONS[kind](i)) for i in range(8)]
    frames = [photographed(truth, rng) for truth in truths]
    last = fuse(TemporalFusion(), frames)[-1]
    middle = np.zeros((HEIGHT, WIDTH), bool)
    middle[40:-40, 40:-40] = True
    alone = float(np.sqrt(np.square(linear_of(frames[-1]) - truths[-1])[middle].mean()))
    assert noise_of(last, truths[-1], middle) < 0.55 * alone
    assert count_of(last)[middle].mean() > 5.0
    assert last.rgb.dtype == np.uint16
    assert last.statistics.reset_share < 0.4


@pytest.mark.parametrize("kind", ["translation", "rotation", "zoom"])
def test_motion_is_that_of_the_camera(kind: str) -> None:
    rng, picture = np.random.default_rng(2), scene()
    frames = [photographed(view(picture, **MOTIONS[kind](i)), rng) for i in range(6)]
    motion = fuse(TemporalFusion(), frames)[-1].motion
    assert motion is not None
    centre = ((WIDTH + 128) / 2.0, (HEIGHT + 128) / 2.0)

    def matrix(i: int) -> np.ndarray:
        movement = {"angle": 0.0, "zoom": 1.0, "x": 0.0, "y": 0.0} | MOTIONS[kind](i)
        m = cv2.getRotationMatrix2D(centre, movement["angle"], movement["zoom"])
        m[:, 2] += movement["x"] - 64.0, movement["y"] - 64.0
        return np.vstack([m, [0.0, 0.0, 1.0]])

    expected = (matrix(4) @ np.linalg.inv(matrix(5)))[:2]
    corners = np.array([[40, 40, 1], [WIDTH - 40, 40, 1], [40, HEIGHT - 40, 1], [WIDTH - 40, HEIGHT - 40, 1]])
    np.testing.assert_allclose(corners @ motion.T, corners @ expected.T, atol=0.6)


def test_areas_that_come_into_view_start_a_new_average() -> None:
    rng, picture = np.random.default_rng(3), scene()
    frames = [photographed(view(picture, x=-6.0 * i), rng) for i in range(6)]
    count = count_of(fuse(TemporalFusion(), frames)[-1])
    assert count[:, WIDTH - 3 :].max() == 1.0
    assert count[:, 60 : WIDTH - 80].mean() > 4.0


def test_moving_objects_leave_no_trail() -> None:
    rng, picture, thing = np.random.default_rng(4), scene(), scene(9)[:48, :48] * 3.0
    frames, truths = [], []
    for i in range(10):
        truth = view(picture, x=1.0 * i)
        left = 20 + 14 * i
        truth[70:118, left : left + 48] = thing
        truths.append(truth)
        frames.append(photographed(truth, rng))
    last = fuse(TemporalFusion(), frames)[-1]
    is_thing = np.zeros((HEIGHT, WIDTH), bool)
    is_thing[74:114, 20 + 14 * 9 + 4 : 20 + 14 * 9 + 44] = True
    behind = np.zeros((HEIGHT, WIDTH), bool)
    behind[74:114, 20 + 14 * 9 - 24 : 20 + 14 * 9 - 4] = True
    assert count_of(last)[is_thing].mean() < 1.5
    for where in (is_thing, behind):
        error = (linear_of(last.rgb) - truths[-1])[where].mean(axis=0)
        assert np.abs(error).max() < 0.1 * truths[-1][where].mean()
    assert count_of(last)[140:180].mean() > 4.0


def test_a_light_that_is_switched_on_is_visible_at_once() -> None:
    rng, truth = np.random.default_rng(5), view(scene())
    frames = [photographed(truth, rng) for _ in range(6)]
    lit = truth.copy()
    lit[90:102, 120:132] += 0.3
    frames.append(photographed(lit, rng))
    last = fuse(TemporalFusion(), frames)[-1]
    lamp = linear_of(last.rgb)[92:100, 122:130].mean()
    assert lamp == pytest.approx(lit[92:100, 122:130].mean(), rel=0.05)
    assert count_of(last)[:60].mean() > 4.0


@pytest.mark.parametrize(
    "change",
    [
        "scene",
        "iso",
        "exposure",
        "stamp back",
        "same stamp",
        "gap",
        "size",
        "type",
        "encoding",
        "reset",
        "switched off",
    ],
)
def test_discontinuities_reset_the_average(change: str) -> None:
    rng, truth = np.random.default_rng(6), view(scene())
    fusion = TemporalFusion()
    assert fuse(fusion, [photographed(truth, rng) for _ in range(5)])[-1].frame_count is not None
    frame, capture, stamp, config, encoding = photographed(truth, rng), CAPTURE, START_NS + 5 * PERIOD_NS, CONFIG, ""
    if change == "scene":
        frame = photographed(view(scene(77)), rng)
    elif change == "iso":
        capture = CaptureMetadata(2.0 * ISO, CAPTURE.exposure_s)
    elif change == "exposure":
        capture = CaptureMetadata(ISO, 1.0 / 60.0)
    elif change == "stamp back":
        stamp = START_NS
    elif change == "same stamp":
        stamp = START_NS + 4 * PERIOD_NS
    elif change == "gap":
        stamp += 10**9
    elif change == "size":
        frame = np.ascontiguousarray(frame[:, : WIDTH - 32])
    elif change == "type":
        frame = photographed(truth, rng, full_scale=65535)
    elif change == "encoding":
        encoding = "mono8"
    elif change == "reset":
        fusion.reset()
    else:
        config = TemporalFusionConfig(is_enabled=False)
    fused = fusion(frame, capture, stamp, config, encoding)
    assert fused.rgb is frame
    assert fused.frame_count is None
    assert fused.capture == capture
    assert fused.statistics.mean_count == 1.0
    if change != "switched off":
        again = fusion(photographed(truth, rng)[:, : frame.shape[1]], capture, stamp + PERIOD_NS, config, encoding)
        assert again.rgb.shape == frame.shape


def test_fusion_resumes_after_a_cut() -> None:
    rng = np.random.default_rng(7)
    frames = [photographed(view(scene(1 if i < 5 else 2)), rng) for i in range(10)]
    counts = [count_of(fused).mean() for fused in fuse(TemporalFusion(), frames)]
    assert counts[5] == 1.0
    assert counts[9] > 3.0


def test_a_cut_in_the_second_frame_is_detected() -> None:
    rng = np.random.default_rng(8)
    frames = [photographed(view(scene(1)), rng), photographed(view(scene(2)), rng)]
    fused = fuse(TemporalFusion(), frames)[-1]
    truth = view(scene(2))
    assert noise_of(fused, truth) <= 1.02 * float(np.sqrt(np.square(linear_of(frames[-1]) - truth).mean()))


def test_dropped_frames_do_not_end_the_average() -> None:
    rng, picture = np.random.default_rng(9), scene()
    fusion = TemporalFusion()
    for i in (0, 1, 2, 5, 6, 9):
        truth = view(picture, x=1.5 * i)
        fused = fusion(photographed(truth, rng), CAPTURE, START_NS + i * PERIOD_NS, CONFIG)
    assert count_of(fused)[:, 40:-40].mean() > 3.0


def test_frames_without_metadata_do_not_end_the_average() -> None:
    rng, truth = np.random.default_rng(10), view(scene())
    fusion = TemporalFusion()
    for i in range(8):
        capture = UNKNOWN if i % 3 == 2 else CAPTURE
        fused = fusion(photographed(truth, rng), capture, START_NS + i * PERIOD_NS, CONFIG)
    assert count_of(fused).mean() > 5.0
    assert fused.capture.exposure_s == CAPTURE.exposure_s


def test_the_iso_for_the_network_follows_the_noise() -> None:
    estimated_iso = {}
    for iso in (2800.0, 11200.0):
        rng, truth = np.random.default_rng(11), view(scene())
        fused = fuse(TemporalFusion(), [photographed(truth, rng, iso) for _ in range(6)], UNKNOWN)[-1]
        assert fused.capture.iso is not None
        assert fused.capture.exposure_s is None
        estimated_iso[iso] = fused.capture.iso
    assert estimated_iso[11200.0] / estimated_iso[2800.0] == pytest.approx(4.0, rel=0.35)


def test_a_known_iso_is_kept_and_a_noisy_camera_counts_fewer_frames() -> None:
    rng, truth = np.random.default_rng(18), view(scene())
    frames = [photographed(truth, rng) for _ in range(8)]
    usual = fuse(TemporalFusion(), frames)[-1]
    noisy = fuse(TemporalFusion(), frames, CaptureMetadata(ISO / 4.0, 0.03))[-1]
    assert noisy.capture.iso == ISO / 4.0
    assert noisy.statistics.mean_count == usual.statistics.mean_count
    assert noisy.frame_count.mean() == pytest.approx(usual.statistics.mean_count / 4.0, rel=0.3)
    assert noisy.frame_count.min() >= 1.0


def test_the_black_bias_of_an_average_is_removed() -> None:
    """Read noise that is clipped at black lifts an average of frames; one long exposure would be darker."""
    rng = np.random.default_rng(12)
    truth = view(scene())
    truth[:, :100] = 0.0
    frames = [photographed(truth, rng) for _ in range(12)]
    alone, fused = linear_of(frames[-1])[:, 10:90].mean(), linear_of(fuse(TemporalFusion(), frames)[-1].rgb)[:, 10:90]
    assert fused.mean() < 0.5 * alone


@pytest.mark.parametrize("level", [0, 255])
def test_uniform_frames_are_fused(level: int) -> None:
    frames = [np.full((HEIGHT, WIDTH, 3), level, np.uint8)] * 4
    for fused in fuse(TemporalFusion(), frames):
        assert np.isfinite(fused.statistics.mean_count)
        np.testing.assert_allclose(fused.rgb / np.iinfo(fused.rgb.dtype).max, level / 255.0, atol=1e-4)


@pytest.mark.parametrize("shape", [(1, 1), (7, 300), (33, 33), (97, 131), (150, 40)])
def test_frames_of_any_size_are_accepted(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(13)
    for fused in fuse(TemporalFusion(), [rng.integers(0, 40, (*shape, 3), dtype=np.uint8) for _ in range(3)]):
        assert fused.rgb.shape == (*shape, 3)


def test_16_bit_frames_are_averaged() -> None:
    rng, truth = np.random.default_rng(14), view(scene())
    frames = [photographed(truth, rng, full_scale=65535) for _ in range(6)]
    last = fuse(TemporalFusion(), frames)[-1]
    assert noise_of(last, truth) < 0.55 * float(np.sqrt(np.square(linear_of(frames[-1]) - truth).mean()))


def test_results_do_not_vary_between_runs_or_threads() -> None:
    rng, picture = np.random.default_rng(15), scene()
    frames = [photographed(view(picture, **MOTIONS["translation"](i)), rng) for i in range(5)]
    before = cv2.getNumThreads()
    try:
        runs = []
        for threads in (1, 2, 2):
            cv2.setNumThreads(threads)
            runs.append(fuse(TemporalFusion(), frames)[-1])
    finally:
        cv2.setNumThreads(before)
    for run in runs[1:]:
        np.testing.assert_array_equal(run.rgb, runs[0].rgb)
        np.testing.assert_array_equal(run.frame_count, runs[0].frame_count)


def test_results_do_not_share_memory() -> None:
    rng, truth = np.random.default_rng(16), view(scene())
    fusion = TemporalFusion()
    fuse(fusion, [photographed(truth, rng) for _ in range(3)])
    first = fusion(photographed(truth, rng), CAPTURE, START_NS + 3 * PERIOD_NS, CONFIG)
    rgb, count = first.rgb.copy(), first.frame_count.copy()
    fusion(photographed(truth, rng), CAPTURE, START_NS + 4 * PERIOD_NS, CONFIG)
    np.testing.assert_array_equal(first.rgb, rgb)
    np.testing.assert_array_equal(first.frame_count, count)


@pytest.mark.parametrize("max_frames", [0, 17, -1])
def test_settings_out_of_range_are_rejected(max_frames: int) -> None:
    with pytest.raises(ConfigError, match="max_frames"):
        TemporalFusionConfig(max_frames=max_frames)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), level=st.integers(0, 255), spread=st.integers(0, 80))
def test_the_first_frame_is_returned_unchanged(seed: int, level: int, spread: int) -> None:
    rng = np.random.default_rng(seed)
    frame = np.clip(rng.normal(level, spread, (64, 80, 3)), 0, 255).astype(np.uint8)
    fused = TemporalFusion()(frame, CAPTURE, START_NS, CONFIG)
    assert fused.rgb is frame
    assert fused.frame_count is None
    assert fused.capture is CAPTURE


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6), top=st.integers(10, 130), left=st.integers(10, 190), size=st.integers(24, 48))
def test_changed_pixels_are_those_of_the_frame(seed: int, top: int, left: int, size: int) -> None:
    """Where the gate is closed the count is 1 and the pixel is the present one."""
    rng, truth = np.random.default_rng(seed), view(scene())
    frames = [photographed(truth, rng) for _ in range(4)]
    changed = truth.copy()
    changed[top : top + size, left : left + size] += 0.25
    frames.append(photographed(changed, rng))
    last = fuse(TemporalFusion(), frames)[-1]
    inside = (slice(top + 6, top + size - 6), slice(left + 6, left + size - 6))
    assert count_of(last)[inside].max() == 1.0
    np.testing.assert_allclose(last.rgb[inside] / 257.0, frames[-1][inside], atol=0.6)


def test_noise_is_measured_anew_at_another_iso() -> None:
    rng, truth = np.random.default_rng(19), view(scene())
    fusion = TemporalFusion()
    for i in range(12):
        iso = ISO if i < 6 else ISO / 8.0
        fused = fusion(photographed(truth, rng, iso), CaptureMetadata(iso), START_NS + i * PERIOD_NS, CONFIG)
    assert fused.statistics.mean_count > 4.0
    assert fused.frame_count.mean() == pytest.approx(fused.statistics.mean_count, rel=0.3)


@pytest.mark.parametrize("shape", [(40, 33000, 3), (40, 400, 3), (400, 40, 3)])
def test_long_frames_are_processed_alone(shape: tuple[int, int, int]) -> None:
    frames = [np.full(shape, 20, np.uint8)] * 3
    for fused, frame in zip(fuse(TemporalFusion(), frames), frames, strict=True):
        assert fused.rgb is frame
