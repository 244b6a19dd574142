"""Read text with RapidOCR: measure how many words of a well-lit image can be read in a dark or enhanced one."""

from __future__ import annotations

from collections import Counter
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lowlight_enhance.core.errors import ConfigError

Image = NDArray[np.uint8]

MIN_CONFIDENCE = 0.8
"""Lowest confidence of a word in the well-lit image that must be read in the others."""

MIN_LETTERS = 3
"""Shorter words are often misread in good light too."""


class TextReader(Protocol):
    """Reads words.

    Attributes:
        name: for reports.
    """

    name: str

    def __call__(self, image: Image) -> list[tuple[str, float]]:
        """Return the words on an (H, W, 3) uint8 RGB image in lower case, each with its confidence, 0..1."""


class RapidOcr:
    """The recogniser of the package ``rapidocr-onnxruntime``, which contains its models."""

    name = "text"

    def __init__(self) -> None:
        """Load the recogniser.

        Raises:
            ConfigError: ``rapidocr_onnxruntime`` is not installed. It is no extra of this package, because it depends
                on ``opencv-python``, which replaces the headless or the distribution's OpenCV.
        """
        try:
            from rapidocr_onnxruntime import RapidOCR
        except ModuleNotFoundError as error:
            raise ConfigError(
                "reading text needs rapidocr_onnxruntime: pip install rapidocr-onnxruntime, best in an environment of "
                "its own, because it installs opencv-python"
            ) from error
        self._read: Any = RapidOCR()

    def __call__(self, image: Image) -> list[tuple[str, float]]:
        """Return the words of all lines, with the confidence of their line."""
        lines, _ = self._read(np.ascontiguousarray(image[:, :, ::-1]))
        return [(word, float(score)) for _, text, score in lines or [] for word in str(text).lower().split()]


def word_counts(found: list[tuple[str, float]], truth: list[tuple[str, float]]) -> dict[str, float]:
    """Return ``frames`` (1), ``words`` of the well-lit image, and how many of them were ``read``.

    Args:
        found: words of one rendering, of any confidence.
        truth: words of the well-lit image; those below ``MIN_CONFIDENCE`` or ``MIN_LETTERS`` do not count.
    """
    expected = Counter(word for word, score in truth if score >= MIN_CONFIDENCE and len(word) >= MIN_LETTERS)
    read = Counter(word for word, _ in found) & expected
    return {"frames": 1.0, "words": float(expected.total()), "read": float(read.total())}
