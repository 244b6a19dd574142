"""Temporal smoothing removes flicker and keeps changes of light, scene and moving objects."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lowlight_enhance.core.enhancement.maps import EnhancementMaps
from lowlight_enhance.core.enhancement.temporal_smoothing import TemporalSmoother

SECOND = 1_000_000_000
HALF = 0.1 / math.log(2.0)
"""The time constant at which a difference halves in a tenth of a second."""


def maps_of(height: int, width: int, gain: float = 2.0, offset: float = 0.0) -> np.ndarray:
    maps = np.empty((6, height, width), np.float32)
    maps[:3], maps[3:] = gain, offset
    return maps


def texture(height: int = 192, width: int = 256, seed: int = 0) -> np.ndarray:
    """Return a smooth random picture, (3, height, width), between 0.05 and 0.25, as dark as inputs of the network."""
    rng = np.random.default_rng(seed)
    waves = rng.uniform(-0.15, 0.15, (12, 2)), rng.uniform(0.0, 6.0, (12, 3))
    y, x = np.mgrid[:height, :width].astype(np.float32)
    planes = [
        sum(np.sin(fx * x + fy * y + phase[c]) for (fx, fy), phase in zip(*waves, strict=True)) for c in range(3)
    ]
    return (0.15 + 0.1 * np.clip(np.array(planes) / 6.0, -1.0, 1.0)).astype(np.float32)


def smoothed(
    smoother: TemporalSmoother, maps: np.ndarray, small: np.ndarray, time_s: float, smoothing_s: float = HALF
) -> np.ndarray:
    """Return the maps with the correction applied."""
    before = maps.copy()
    correction = smoother(EnhancementMaps(maps[:3], maps[3:], small), SECOND + round(time_s * SECOND), smoothing_s)
    np.testing.assert_array_equal(maps, before)
    if correction is not None:
        assert np.isfinite(correction).all()
        size = (maps.shape[2], maps.shape[1])
        before[-3:] += [cv2.resize(plane, size, interpolation=cv2.INTER_LINEAR) for plane in correction]
    return before


def test_the_first_frame_gets_no_correction() -> None:
    maps = maps_of(96, 128)
    np.testing.assert_array_equal(smoothed(TemporalSmoother(), maps, texture(96, 128), 0.0), maps)


@pytest.mark.parametrize(("height", "width"), [(96, 128), (384, 512), (97, 131), (30, 40), (5, 7)])
def test_differences_decay_with_the_time_constant(height: int, width: int) -> None:
    smoother, small = TemporalSmoother(), texture(height, width)
    smoothed(smoother, maps_of(height, width, offset=0.1), small, 0.0)
    out = smoothed(smoother, maps_of(height, width, offset=0.2), small, 0.1)
    np.testing.assert_array_equal(out[:3], 2.0)
    np.testing.assert_allclose(out[3:], 0.15, atol=1e-5)
    out = smoothed(smoother, maps_of(height, width, offset=0.2), small, 0.2)
    np.testing.assert_allclose(out[3:], 0.175, atol=1e-5)


def test_channels_are_corrected_independently() -> None:
    smoother, small = TemporalSmoother(), texture()
    before, after = maps_of(192, 256, offset=0.2), maps_of(192, 256, offset=0.2)
    after[3] += 0.04
    after[5] -= 0.02
    smoothed(smoother, before, small, 0.0)
    out = smoothed(smoother, after, small, 0.1)
    for channel, expected in ((3, 0.22), (4, 0.2), (5, 0.19)):
        np.testing.assert_allclose(out[channel], expected, atol=1e-5)


@pytest.mark.parametrize("time_s", [0.0, -1.0, 0.7, 1e6])
def test_repeated_stamps_jumps_back_and_gaps_reset_the_state(time_s: float) -> None:
    smoother, small = TemporalSmoother(), texture()
    smoothed(smoother, maps_of(192, 256, offset=0.1), small, 0.0)
    maps = maps_of(192, 256, offset=0.2)
    np.testing.assert_array_equal(smoothed(smoother, maps, small, time_s), maps)
    again = smoothed(smoother, maps_of(192, 256, offset=0.1), small, time_s + 0.1)
    np.testing.assert_allclose(again[3:], 0.15, atol=1e-5)


def test_another_size_resets_the_state() -> None:
    smoother = TemporalSmoother()
    smoothed(smoother, maps_of(192, 256, offset=0.1), texture(192, 256), 0.0)
    maps = maps_of(96, 96, offset=0.2)
    np.testing.assert_array_equal(smoothed(smoother, maps, texture(96, 96), 0.1), maps)


@pytest.mark.parametrize("factor", [0.6, 1.5])
def test_a_change_of_light_is_followed_at_once(factor: float) -> None:
    smoother, small = TemporalSmoother(), texture()
    smoothed(smoother, maps_of(192, 256), small, 0.0)
    maps = maps_of(192, 256)
    np.testing.assert_array_equal(smoothed(smoother, maps, small * np.float32(factor), 0.1), maps)


def test_a_cut_is_followed_at_once() -> None:
    smoother = TemporalSmoother()
    smoothed(smoother, maps_of(192, 256), texture(seed=1), 0.0)
    maps = maps_of(192, 256)
    np.testing.assert_array_equal(smoothed(smoother, maps, texture(seed=2)[:, ::-1], 0.1), maps)


@pytest.mark.parametrize("step", [(4, 1), (-7, 3), (0, -12)])
def test_a_moving_camera_flickers_less_without_smearing(step: tuple[int, int]) -> None:
    """The picture moves by whole pixels while the tone alternates by 0.02; new areas come into view at the edges."""
    smoother, wide, inner = TemporalSmoother(), texture(400, 480), np.s_[:, 40:-40, 40:-40]
    offsets = []
    for number in range(8):
        y, x = 104 + step[1] * number, 112 + step[0] * number
        small = np.ascontiguousarray(wide[:, y : y + 192, x : x + 256])
        flicker = 0.02 * (number % 2)
        offsets.append(smoothed(smoother, maps_of(192, 256, offset=flicker), small, number / 30.0)[3:][inner])
    tones = [float(offset.mean()) for offset in offsets]
    assert max(np.abs(np.diff(tones[2:]))) < 0.01
    assert max(float(np.abs(offset - tone).max()) for offset, tone in zip(offsets, tones, strict=True)) < 0.008


def test_a_given_camera_motion_is_followed_where_it_cannot_be_estimated() -> None:
    """The view turns by 20 degrees per frame, more than the estimate can find, while the tone alternates by 0.02."""
    wide, size, flicker = texture(400, 400).transpose(1, 2, 0), 192, 0.02
    turn = cv2.getRotationMatrix2D(((size - 1) / 2, (size - 1) / 2), 20.0, 1.0)

    def last_tone(camera_motion: np.ndarray | None) -> float:
        smoother = TemporalSmoother()
        for number in range(2):
            view = cv2.getRotationMatrix2D((199.5, 199.5), 20.0 * number, 1.0)
            picture = cv2.warpAffine(wide, view, (400, 400))[104 : 104 + size, 104 : 104 + size].transpose(2, 0, 1)
            maps = maps_of(size, size, offset=flicker * number)
            small = EnhancementMaps(maps[:3], maps[3:], np.ascontiguousarray(picture))
            correction = smoother(small, SECOND + round(number * 0.1 * SECOND), HALF, camera_motion)
        return 0.0 if correction is None else float(correction[:, 16:-16, 16:-16].mean())

    backwards = cv2.invertAffineTransform(turn)
    assert last_tone(backwards) == pytest.approx(-flicker / 2, abs=0.003)
    assert abs(last_tone(None)) < 0.003


def test_moving_objects_leave_no_ghost() -> None:
    """A bright object crosses a static background; nothing else changes, so no correction is needed."""
    smoother, background = TemporalSmoother(), texture()
    worst = 0.0
    for number in range(10):
        small = background.copy()
        small[:, 60:130, 20 + 12 * number : 80 + 12 * number] = 0.4
        out = smoothed(smoother, maps_of(192, 256), small, number / 30.0)
        worst = max(worst, float(np.abs(out[3:]).max()))
    assert worst < 0.02  # of a picture in which the thing is 0.5 brighter than what is behind it


def test_a_brightened_region_is_followed_while_the_rest_is_smoothed() -> None:
    smoother, small = TemporalSmoother(), texture()
    smoothed(smoother, maps_of(192, 256, offset=0.1), small, 0.0)
    lit = small.copy()
    lit[:, :, :100] *= 2.0
    out = smoothed(smoother, maps_of(192, 256, offset=0.12), lit, 0.1)
    np.testing.assert_allclose(out[3:, 20:-20, 140:-20], 0.11, atol=2e-3)
    np.testing.assert_allclose(out[3:, 20:-20, 20:60], 0.12, atol=2e-3)


def test_input_noise_is_not_a_change() -> None:
    rng = np.random.default_rng(0)
    smoother, small = TemporalSmoother(), texture()
    tones = []
    for number in range(30):
        noisy = small + 0.02 * rng.standard_normal(small.shape, dtype=np.float32)
        wobble = float(rng.normal(0.0, 0.01))
        tones.append(float(smoothed(smoother, maps_of(192, 256, offset=wobble), noisy, number / 30.0, 0.1)[3:].mean()))
    changes = np.diff(tones[5:])
    assert np.std(changes) < 0.35 * math.sqrt(2.0) * 0.01


def test_maps_with_nan_are_not_remembered() -> None:
    smoother, small = TemporalSmoother(), texture()
    smoothed(smoother, maps_of(192, 256, offset=0.1), small, 0.0)
    assert not np.isfinite(smoothed(smoother, maps_of(192, 256, offset=np.nan), small, 0.1)[3:]).any()
    maps = maps_of(192, 256, offset=0.2)
    np.testing.assert_array_equal(smoothed(smoother, maps, small, 0.2), maps)
    out = smoothed(smoother, maps_of(192, 256, offset=0.1), small, 0.3)
    np.testing.assert_allclose(out[3:], 0.15, atol=1e-5)


def test_maps_may_be_a_part_of_a_larger_array() -> None:
    smoother, small = TemporalSmoother(), texture()
    padded = np.zeros((1, 6, 224, 288), np.float32)
    view = padded[0, :, :192, :256]
    padded_small = np.zeros((1, 5, 224, 288), np.float32)
    padded_small[0, :3, :192, :256] = small
    small = padded_small[0, :3, :192, :256]
    view[:] = maps_of(192, 256, offset=0.1)
    smoothed(smoother, view, small, 0.0)
    view[:] = maps_of(192, 256, offset=0.2)
    np.testing.assert_allclose(smoothed(smoother, view, small, 0.1)[3:], 0.15, atol=1e-5)


def test_the_same_frames_give_the_same_maps() -> None:
    def run() -> list[bytes]:
        smoother, rng = TemporalSmoother(), np.random.default_rng(5)
        results = []
        for number in range(6):
            small = np.roll(texture(), 3 * number, axis=2) + 0.01 * rng.standard_normal((3, 192, 256), np.float32)
            maps = maps_of(192, 256, 3.0, float(rng.normal(0.0, 0.02)))
            results.append(smoothed(smoother, maps, small.astype(np.float32), number / 30.0).tobytes())
        return results

    assert run() == run()


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.integers(1, 70),
            st.integers(1, 70),
            st.integers(-(2**62), 2**62),
            st.floats(1e-3, 10.0),
        ),
        min_size=1,
        max_size=5,
    ),
    st.integers(0, 2**32 - 1),
)
def test_corrections_are_finite_for_any_input(frames: list[tuple[int, int, int, float]], seed: int) -> None:
    smoother, rng = TemporalSmoother(), np.random.default_rng(seed)
    for height, width, stamp_ns, smoothing_s in frames:
        for later in range(2):
            maps = rng.normal(1.0, 3.0, (6, height, width)).astype(np.float32)
            small = rng.random((3, height, width), np.float32)
            correction = smoother(
                EnhancementMaps(maps[:3], maps[3:], small), stamp_ns + later * SECOND // 30, smoothing_s
            )
            assert correction is None or np.isfinite(correction).all()
