"""The detectors that OpenCV brings along: people by HOG, faces by a cascade.

HOG: N. Dalal, B. Triggs, "Histograms of Oriented Gradients for Human Detection" (CVPR 2005). Cascade: P. Viola,
M. Jones, "Rapid Object Detection using a Boosted Cascade of Simple Features" (CVPR 2001).
"""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np

from lowlight_enhance.core.errors import ConfigError
from lowlight_enhance.evaluation.detection.boxes import NO_BOXES, Boxes
from lowlight_enhance.evaluation.detection.clips import Picture

SHORT_SIDE = 480
"""Pixels of a picture's shorter side when it is searched: people appear from 128 pixels of height, faces from 24."""

PERSON = (64, 128)
"""Columns and rows of the smallest person that ``People`` finds."""

LONG_SIDE = 4096
"""Most pixels of its longer side, whatever becomes of the shorter."""

CASCADE = "haarcascade_frontalface_default.xml"
FOLDERS = ("/usr/share/opencv4/haarcascades", "/usr/share/opencv/haarcascades")
"""Where Linux distributions put cascades (Debian: opencv-data); pip's OpenCV brings them itself."""


class People:
    """Upright people, with the coefficients and the settings of OpenCV's own example."""

    name = "hog"
    classes: tuple[str, ...] = ("person",)
    sure = 0.0

    def __init__(self) -> None:
        self._hog = cv2.HOGDescriptor()
        self._hog.setSVMDetector(cv2.HOGDescriptor_getDefaultPeopleDetector())  # type: ignore[attr-defined]

    def __call__(self, picture: Picture) -> Boxes:
        """People; a score is the distance from the separating plane."""
        small, scale = searched(picture)
        if small.shape[0] < PERSON[1] or small.shape[1] < PERSON[0]:  # OpenCV would write beyond its memory
            return NO_BOXES
        found, scores = self._hog.detectMultiScale(small, winStride=(8, 8), padding=(8, 8), scale=1.05)
        return _boxes(found, scores, scale, "person")


class Faces:
    """Faces that look at the camera."""

    name = "face"
    classes: tuple[str, ...] = ("face",)
    sure = -math.inf

    def __init__(self) -> None:
        """Load the cascade.

        Raises:
            ConfigError: this OpenCV does not have it.
        """
        self._cascade = cv2.CascadeClassifier(str(cascade_file()))

    def __call__(self, picture: Picture) -> Boxes:
        """Faces; a score is the certainty of the cascade's last stage."""
        small, scale = searched(picture)
        grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
        found, _levels, scores = self._cascade.detectMultiScale3(grey, 1.1, 5, outputRejectLevels=True)
        return _boxes(found, scores, scale, "face")


def cascade_file(name: str = CASCADE) -> Path:
    """Where the cascade lies.

    Raises:
        ConfigError: nowhere.
    """
    own = getattr(getattr(cv2, "data", None), "haarcascades", None)
    for folder in (*([own] if own else []), *FOLDERS):
        if (path := Path(folder) / name).is_file():
            return path
    raise ConfigError(f"{name} is not installed: pip install opencv-python-headless, or apt install opencv-data")


def searched(picture: Picture) -> tuple[Picture, float]:
    """The picture to search, and what its pixels are in those of the original.

    Its shorter side is ``SHORT_SIDE``, as far as ``LONG_SIDE`` allows.
    """
    height, width = picture.shape[:2]
    scale = min(SHORT_SIDE / min(height, width), LONG_SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    how = cv2.INTER_AREA if scale < 1.0 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, size, interpolation=how), dtype=np.uint8), 1.0 / scale


def _boxes(found: object, scores: object, scale: float, name: str) -> Boxes:
    """Boxes from OpenCV's left, top, width, height, which are an empty tuple where there are none."""
    rectangles = np.array(found, np.float64).reshape(-1, 4) * scale
    if not len(rectangles):
        return NO_BOXES
    corners = np.column_stack([rectangles[:, :2], rectangles[:, :2] + rectangles[:, 2:]])
    return Boxes(corners, np.array(scores, np.float64).ravel(), (name,) * len(corners))
