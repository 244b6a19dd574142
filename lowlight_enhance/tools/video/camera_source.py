"""CameraSource: frames of a camera of this machine, read with OpenCV."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2

from lowlight_enhance.core.errors import DataError
from lowlight_enhance.core.inference.model_input import Rgb
from lowlight_enhance.core.metadata.capture import CaptureMetadata
from lowlight_enhance.tools.video.frames import DEFAULT_RATE, MAX_RATE_DENOMINATOR, FrameSource, SourceFrame

CAMERA_TIME_BASE = Fraction(1, 90_000)
"""Time base of most video files."""

VIDEO4LINUX_MAJOR = 81
"""Device number of cameras on Linux."""


def camera_of(text: str) -> int | str | None:
    """Return the index or device that OpenCV opens as a camera; None if ``text`` does not name a camera.

    Raises:
        DataError: ``text`` names a device that is not a camera.
    """
    path = Path(text)
    if path.is_char_device():
        if os.major(path.stat().st_rdev) != VIDEO4LINUX_MAJOR:
            raise DataError(f"{text} is a device, but no camera; name a video file, or a camera such as 0")
        number = re.fullmatch(r"/dev/video(\d+)", os.path.realpath(text))
        return int(number[1]) if number else text
    if not path.exists():
        number = re.fullmatch(r"(?:/dev/video)?(\d+)", text, re.ASCII)
        return int(number[1]) if number else None
    return None


class CameraSource(FrameSource):
    """A camera. Times of frames are those of the camera's clock if OpenCV provides them, else times of arrival.

    Args:
        camera: index, or path of the device.
        capture: ISO and exposure time of every frame.
        rate: frames per second to request; None: the camera's default.
        size: (width, height) to request; None: the camera's default.

    Raises:
        DataError: there is no such camera, or it delivers no image.
    """

    def __init__(
        self, camera: int | str, capture: CaptureMetadata, rate: Fraction | None, size: tuple[int, int] | None
    ) -> None:
        name = f"camera {camera}"
        self._camera = cv2.VideoCapture(camera)
        requests: list[tuple[int, float]] = [] if rate is None else [(cv2.CAP_PROP_FPS, float(rate))]
        if size is not None:
            requests += [(cv2.CAP_PROP_FRAME_WIDTH, size[0]), (cv2.CAP_PROP_FRAME_HEIGHT, size[1])]
        for setting, value in requests:
            self._camera.set(setting, value)
        self._first = self._read() if self._camera.isOpened() else None
        if self._first is None:
            self._camera.release()
            found = ", ".join(sorted(str(path) for path in Path("/dev").glob("video*"))) or "none"
            raise DataError(
                f"{name} delivers no image; check that it is connected and not in use (devices found: {found})"
            )
        stated = self._camera.get(cv2.CAP_PROP_FPS)
        is_known = 1.0 <= stated <= 1000.0
        actual = Fraction(stated).limit_denominator(MAX_RATE_DENOMINATOR) if is_known else DEFAULT_RATE
        super().__init__(name, CAMERA_TIME_BASE, actual)
        self.is_live = True
        self._capture = capture

    def _read(self) -> tuple[Rgb, float, float] | None:
        """Return a frame and its time in seconds by the camera's clock (0: unknown) and by ours; None: no frame."""
        is_there, bgr = self._camera.read()
        if not is_there or bgr is None:
            return None
        rgb: Any = cv2.cvtColor(bgr, cv2.COLOR_GRAY2RGB if bgr.ndim == 2 else cv2.COLOR_BGR2RGB)
        return rgb, self._camera.get(cv2.CAP_PROP_POS_MSEC) / 1000.0, time.monotonic()

    def frames(self) -> Iterator[SourceFrame]:
        """Yield the camera's frames until ``stop`` is called or the camera delivers no more."""
        assert self._first is not None
        clock = 1 if self._first[1] > 0.0 else 2
        start_s, last, number = float(self._first[clock]), -1, 0
        read: Any = self._first
        while not self.is_stopped:
            if read is None:
                self.last_error = f"{self.name} delivers no more images"
                return
            # Some drivers repeat a time; encoders reject times that do not increase.
            last = max(last + 1, round((read[clock] - start_s) / self.time_base))
            yield SourceFrame(read[0], last, self._capture, f"frame_{number:06d}.png")
            number += 1
            read = self._read()

    def close(self) -> None:
        """Release the camera."""
        self._camera.release()
