import numpy as np

from lowlight_enhance.simulation.lighting import LARGEST_RANGE, draw_illumination, draw_lamps


def test_illumination_is_relative_to_the_brightest_part() -> None:
    rng = np.random.default_rng(0)
    maps = [draw_illumination(40, 56, rng) for _ in range(100)]
    assert all(stops.shape == (40, 56) and stops.dtype == np.float32 for stops in maps)
    assert all(float(stops.min()) == 0.0 for stops in maps)
    assert max(float(stops.max()) for stops in maps) <= LARGEST_RANGE
    assert np.mean([stops.max() for stops in maps]) > 2.0


def test_edges_are_hard_in_some_maps_and_soft_in_others() -> None:
    rng = np.random.default_rng(1)
    steps = []
    for _ in range(100):
        stops = draw_illumination(64, 64, rng)
        steepest = max(np.abs(np.diff(stops, axis=axis)).max() for axis in (0, 1))
        steps.append(steepest / max(stops.max(), 1e-6))
    assert min(steps) < 0.1
    assert max(steps) > 0.7


def test_maps_are_a_function_of_the_random_state() -> None:
    first, second = (draw_illumination(32, 32, np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_lamps_are_brighter_than_white_and_have_glare() -> None:
    rng = np.random.default_rng(2)
    lamps = [draw_lamps(64, 80, rng) for _ in range(40)]
    assert all(light.shape == (64, 80, 3) and float(light.min()) >= 0.0 for light in lamps)
    assert np.mean([float(light.max()) > 1.5 for light in lamps]) > 0.8
    assert all(float((light > 1.0).mean()) < 0.2 for light in lamps), "most of the frame is not lamp"
