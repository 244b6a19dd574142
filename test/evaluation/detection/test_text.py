"""Words read, and the message where the recogniser is missing."""

from __future__ import annotations

import sys

import pytest

from lowlight_enhance.core.errors import ConfigError
from lowlight_enhance.evaluation.detection.text import RapidOcr, word_counts


def test_words_of_the_well_lit_image_are_counted_once_each() -> None:
    truth = [("exit", 0.9), ("exit", 0.9), ("stop", 0.95), ("to", 0.99), ("blurred", 0.5)]
    found = [("exit", 0.3), ("stop", 0.9), ("stop", 0.9), ("other", 0.9)]
    assert word_counts(found, truth) == {"frames": 1.0, "words": 3.0, "read": 2.0}
    assert word_counts([], truth)["read"] == 0.0


def test_without_the_recogniser_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rapidocr_onnxruntime", None)
    with pytest.raises(ConfigError, match="pip install rapidocr-onnxruntime"):
        RapidOcr()
