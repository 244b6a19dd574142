"""Detectors that are part of OpenCV: people by HOG, faces by a cascade.

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
from lowlight_enhance.evaluation.detection.clips import Image

SHORT_SIDE = 480
"""Shorter side in pixels of a searched image. HOG finds people from 128 pixels, the cascade faces from 24."""

PERSON = (64, 128)
"""Width and height of the window of ``People``."""

LONG_SIDE = 4096
"""Largest longer side; it takes precedence over ``SHORT_SIDE``."""

CASCADE = "haarcascade_frontalface_default.xml"
FOLDERS = ("/usr/share/opencv4/haarcascades", "/usr/share/opencv/haarcascades")
"""Folders of the cascades in Linux distributions (Debian: opencv-data). The pip packages contain them."""


class People:
    """Detector of upright people, with the coefficients and the settings of OpenCV's example."""

    name = "hog"
    classes: tuple[str, ...] = ("person",)
    confidence = 0.0

    def __init__(self) -> None:
        self._hog = cv2.HOGDescriptor()
        self._hog.setSVMDetector(cv2.HOGDescriptor_getDefaultPeopleDetector())  # type: ignore[attr-defined]

    def __call__(self, image: Image) -> Boxes:
        """Return people in an (H, W, 3) uint8 RGB image; scores are distances from the separating plane."""
        small, scale = resize_for_search(image)
        if small.shape[0] < PERSON[1] or small.shape[1] < PERSON[0]:  # OpenCV writes out of bounds
            return NO_BOXES
        found, scores = self._hog.detectMultiScale(small, winStride=(8, 8), padding=(8, 8), scale=1.05)
        return _boxes(found, scores, scale, "person")


class Faces:
    """Detector of frontal faces."""

    name = "face"
    classes: tuple[str, ...] = ("face",)
    confidence = -math.inf

    def __init__(self) -> None:
        """Load the cascade.

        Raises:
            ConfigError: the cascade is not installed.
        """
        self._cascade = cv2.CascadeClassifier(str(cascade_file()))

    def __call__(self, image: Image) -> Boxes:
        """Return faces in an (H, W, 3) uint8 RGB image; scores are those of the last stage of the cascade."""
        small, scale = resize_for_search(image)
        grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
        found, _levels, scores = self._cascade.detectMultiScale3(grey, 1.1, 5, outputRejectLevels=True)
        return _boxes(found, scores, scale, "face")


def cascade_file(name: str = CASCADE) -> Path:
    """Return the path of the cascade.

    Raises:
        ConfigError: the cascade is not installed.
    """
    bundled = getattr(getattr(cv2, "data", None), "haarcascades", None)
    for folder in (*([bundled] if bundled else []), *FOLDERS):
        if (path := Path(folder) / name).is_file():
            return path
    raise ConfigError(f"{name} is not installed: pip install opencv-python-headless, or apt install opencv-data")


def resize_for_search(image: Image) -> tuple[Image, float]:
    """Return the image resized to ``SHORT_SIDE``, and the number of original pixels per resized pixel."""
    height, width = image.shape[:2]
    scale = min(SHORT_SIDE / min(height, width), LONG_SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    interpolation = cv2.INTER_AREA if scale < 1.0 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, size, interpolation=interpolation), dtype=np.uint8), 1.0 / scale


def _boxes(found: object, scores: object, scale: float, name: str) -> Boxes:
    """Convert (N, 4) left, top, width and height to boxes. OpenCV returns an empty tuple if it finds nothing."""
    rectangles = np.array(found, np.float64).reshape(-1, 4) * scale
    if not len(rectangles):
        return NO_BOXES
    corners = np.column_stack([rectangles[:, :2], rectangles[:, :2] + rectangles[:, 2:]])
    return Boxes(corners, np.array(scores, np.float64).ravel(), (name,) * len(corners))
