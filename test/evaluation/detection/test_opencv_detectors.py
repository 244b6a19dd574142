"""The detectors of OpenCV."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from lowlight_enhance.evaluation.detection.boxes import overlaps
from lowlight_enhance.evaluation.detection.keypoints import Keypoints
from lowlight_enhance.evaluation.detection.opencv_detectors import Faces, People, cascade_file, resize_for_search


def test_images_are_searched_at_one_size() -> None:
    small, scale = resize_for_search(np.zeros((240, 320, 3), np.uint8))
    assert small.shape == (480, 640, 3)
    assert scale == pytest.approx(0.5)
    assert resize_for_search(np.zeros((960, 500, 3), np.uint8))[0].shape == (922, 480, 3)
    assert resize_for_search(np.zeros((2, 4000, 3), np.uint8))[0].shape == (2, 4096, 3)


@pytest.mark.parametrize("size", [(1, 1), (2, 900), (900, 2), (31, 40)])
def test_small_images_are_no_error(size: tuple[int, int]) -> None:
    picture = np.random.default_rng(0).integers(0, 255, (*size, 3), np.uint8)
    for detector in (People(), Faces()):
        assert len(detector(picture)) < 20
    for kind in ("orb", "sift"):
        assert len(Keypoints(kind).features(picture).points) == 0


def test_a_face_is_found_at_two_sizes() -> None:
    data = pytest.importorskip("skimage.data")
    astronaut = data.astronaut()
    truth = np.array([[174.0, 70.0, 274.0, 170.0]])
    detector = Faces()
    assert overlaps(detector(astronaut).corners, truth).max() > 0.5
    half = cv2.resize(astronaut, (256, 256), interpolation=cv2.INTER_AREA)
    assert overlaps(detector(half).corners, truth / 2.0).max() > 0.5


def test_nothing_is_found_on_a_blank_image() -> None:
    blank = np.full((240, 320, 3), 80, np.uint8)
    assert len(Faces()(blank)) == len(People()(blank)) == 0
    assert cascade_file().is_file()
