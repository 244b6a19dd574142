"""The names that ``import lowlight_enhance`` offers, and the examples of docs/python.md."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

import lowlight_enhance

GUIDE = Path(__file__).parents[1] / "docs/python.md"


def dark() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 40, (48, 64, 3), dtype=np.uint8)


def examples() -> list[str]:
    return re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)


def test_every_public_name_is_there() -> None:
    assert [name for name in lowlight_enhance.__all__ if not hasattr(lowlight_enhance, name)] == []
    assert set(lowlight_enhance.__all__) <= set(dir(lowlight_enhance))
    with pytest.raises(AttributeError, match="no attribute 'Enhance'"):
        lowlight_enhance.Enhance  # noqa: B018


def test_the_import_is_instant() -> None:
    code = "import sys, lowlight_enhance; print('numpy' in sys.modules, 'cv2' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False False\n"


def test_an_enhancer_takes_8_and_16_bits() -> None:
    enhance = lowlight_enhance.Enhancer(lowlight_enhance.default_model(), threads=1)
    capture = lowlight_enhance.CaptureMetadata(1600.0, 0.02)
    eight, sixteen = enhance(dark(), capture), enhance(dark().astype(np.uint16) * 257, capture)
    assert eight.dtype == sixteen.dtype == np.uint8
    assert eight.shape == dark().shape
    assert np.abs(eight.astype(int) - sixteen).max() <= 2
    assert eight.mean() > 2.0 * dark().mean()


def test_a_pipeline_needs_no_more_than_an_enhancer() -> None:
    pipeline = lowlight_enhance.Pipeline(lambda rgb, _: rgb + np.uint8(10))
    header = SimpleNamespace(stamp=SimpleNamespace(sec=1, nanosec=0), frame_id="camera")
    image = SimpleNamespace(
        header=header, height=48, width=64, encoding="rgb8", is_bigendian=0, step=192, data=dark().tobytes()
    )
    frame = pipeline.process(image, 0)
    assert isinstance(frame, lowlight_enhance.EnhancedFrame)
    np.testing.assert_array_equal(frame.rgb, dark() + 5)  # half of it, the strength for detectors


def test_the_example_of_a_frame_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    cv2.imwrite("dark.jpg", dark())
    exec(examples()[0], {})
    assert cv2.imread("bright.png").mean() > 2.0 * cv2.imread("dark.jpg").mean()


def test_the_example_of_a_stream_runs() -> None:
    names: dict[str, Any] = {}
    exec(examples()[1], names)
    frames = [names["enhance"](dark(), 10**9 + n * 33_000_000) for n in range(3)]
    assert all(frame.shape == dark().shape and frame.mean() > dark().mean() for frame in frames)
