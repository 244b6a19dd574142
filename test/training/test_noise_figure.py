from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from lowlight_enhance.core.errors import ConfigError, DataError
from lowlight_enhance.simulation.sensors import SENSORS
from lowlight_enhance.training import noise_figure


@pytest.mark.parametrize("sensor", SENSORS.values(), ids=SENSORS)
@pytest.mark.parametrize("iso", [100.0, 6400.0])
def test_each_sensor_has_the_variance_of_its_model(sensor: noise_figure.SensorNoise, iso: float) -> None:
    signals = np.array([300.0, 1000.0, 4000.0])
    measured = noise_figure.measured_variance(sensor, iso, signals)
    assert measured == pytest.approx(noise_figure.model_variance(sensor, iso, signals), rel=0.05)


def test_the_models_line_grows_by_the_gain() -> None:
    sensor = SENSORS["NikonD850"]
    low, high = noise_figure.model_variance(sensor, 800.0, np.array([1000.0, 2000.0]))
    assert (high - low) / 1000.0 == pytest.approx(8 * 0.41504)
    gain = 8 * 0.41504
    floor = np.exp(0.56346 * np.log(gain) + 0.79941) ** 2 + np.exp(0.44829 * np.log(gain) - 1.79771) ** 2 + 1 / 12
    assert noise_figure.model_variance(sensor, 800.0, np.array([0.0]))[0] == pytest.approx(floor)


def test_the_figure_is_drawn_and_says_how_well_it_fits(tmp_path: Path) -> None:
    assert noise_figure.draw(tmp_path / "noise.png", 1600.0) < 0.1
    picture = cv2.imread(str(tmp_path / "noise.png"))
    assert picture is not None
    assert picture.shape[0] > 400
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 50
    assert list(tmp_path.iterdir()) == [tmp_path / "noise.png"]


def test_mistakes_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--iso 0 is not plausible"):
        noise_figure.draw(tmp_path / "noise.png", 0.0)
    with pytest.raises(ConfigError, match=r"noise\.doc: the name must end in one of .*\.png"):
        noise_figure.draw(tmp_path / "noise.doc", 100.0)
    with pytest.raises(DataError, match="nowhere"):
        noise_figure.draw(tmp_path / "nowhere" / "noise.png", 100.0)
