"""Frames that are bright enough stay unchanged."""

import numpy as np
import pytest

from lowlight_enhance.core.enhancement.bypass import Bypass, mean_luma


def flat(level: int, height: int = 6, width: int = 8, dtype: str = "uint8") -> np.ndarray:
    return np.full((height, width, 3), level, dtype)


def test_luma_gives_green_the_largest_weight() -> None:
    rgb = np.zeros((4, 4, 3), np.uint8)
    rgb[...] = (10, 100, 200)
    assert mean_luma(rgb) == pytest.approx(0.299 * 10 + 0.587 * 100 + 0.114 * 200)
    assert mean_luma(rgb.astype(np.uint16) * 257) == pytest.approx(mean_luma(rgb))


def test_luma_of_a_large_frame_is_sampled_everywhere() -> None:
    ramp = np.linspace(0.0, 255.0, 1280)[None, :, None] * np.ones((720, 1, 3))
    assert mean_luma(ramp.astype(np.uint8)) == pytest.approx(127.0, abs=1.0)
    assert mean_luma(np.ascontiguousarray(ramp.astype(np.uint8).transpose(1, 0, 2))) == pytest.approx(127.0, abs=1.0)
    one = np.zeros((1, 1, 3), np.uint8)
    assert mean_luma(one + 7) == pytest.approx(7.0)


def test_the_bypass_ends_below_the_threshold_by_the_hysteresis() -> None:
    bypass = Bypass()
    levels = [99, 100, 95, 90, 89, 95, 100]
    assert [bypass(flat(level), 100.0, 10.0) for level in levels] == [False, True, True, True, False, False, True]


def test_a_threshold_of_0_disables_and_resets_the_bypass() -> None:
    bypass = Bypass()
    assert bypass(flat(200), 150.0, 100.0)
    assert not bypass(flat(255), 0.0, 100.0)
    assert not bypass(flat(120), 150.0, 100.0)


def test_a_black_frame_always_ends_the_bypass() -> None:
    bypass = Bypass()
    assert bypass(flat(30), 20.0, 50.0)
    assert bypass(flat(10), 20.0, 50.0)
    assert not bypass(flat(9), 20.0, 50.0)
