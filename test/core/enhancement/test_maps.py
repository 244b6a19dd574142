import numpy as np
import pytest

from lowlight_enhance.core.enhancement.maps import EnhancementMaps
from lowlight_enhance.core.errors import ModelError


def frame(height: int = 40, width: int = 40) -> np.ndarray:
    return np.random.default_rng(0).random((3, height, width), dtype=np.float32)


def test_six_channels_are_gain_and_offset() -> None:
    output = np.concatenate([np.full((3, 4, 5), 2.0, np.float32), np.full((3, 4, 5), 0.1, np.float32)])
    maps = EnhancementMaps.from_output(output, frame(4, 5))
    np.testing.assert_allclose(maps.picture(), 2.0 * frame(4, 5) + 0.1, rtol=1e-6)
    assert maps.size == (4, 5)


def test_three_channels_are_converted_to_maps() -> None:
    maps = EnhancementMaps.from_output(0.5 * frame() + 0.2, frame())
    assert maps.gain == pytest.approx(0.5, abs=0.02)
    assert maps.offset == pytest.approx(0.2, abs=0.02)


@pytest.mark.parametrize("channels", [0, 4, 5, 7])
def test_other_outputs_are_rejected(channels: int) -> None:
    with pytest.raises(ModelError, match=f"{channels} channels"):
        EnhancementMaps.from_output(np.zeros((channels, 4, 4), np.float32), frame(4, 4))


@pytest.mark.parametrize(("strength", "gain", "offset"), [(1.0, 5.0, 0.2), (0.5, 3.0, 0.1), (0.0, 1.0, 0.0)])
def test_a_lower_strength_keeps_more_of_the_frame(strength: float, gain: float, offset: float) -> None:
    full = EnhancementMaps(np.full((3, 2, 2), 5.0, np.float32), np.full((3, 2, 2), 0.2, np.float32), frame(2, 2))
    maps = full.at_strength(strength)
    np.testing.assert_allclose(maps.gain, gain, rtol=1e-6)
    np.testing.assert_allclose(maps.offset, offset, atol=1e-7)
    assert np.all(full.gain == 5.0)
