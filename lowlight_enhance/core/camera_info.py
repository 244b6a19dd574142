"""CameraInfo messages for another image size."""

from __future__ import annotations

from typing import Any


def image_size(info: Any) -> tuple[int, int]:
    """(width, height) of the image that ``info`` describes."""
    raise NotImplementedError


def matches(info: Any, width: int, height: int) -> bool:
    """True where ``info`` describes images of this size, or is uncalibrated (0x0)."""
    raise NotImplementedError


def check_matches(info: Any, width: int, height: int) -> None:
    """Raise CameraInfoError unless ``matches``."""
    raise NotImplementedError


def rescaled(info: Any, width: int, height: int) -> Any:
    """A copy of ``info`` for its image resized to ``width`` x ``height``."""
    raise NotImplementedError


def with_header(info: Any, header: Any) -> Any:
    """A copy of ``info`` with another header."""
    raise NotImplementedError
