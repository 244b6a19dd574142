"""One camera's way through a bag: what belongs to its frames is read first, then each frame finds its own."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

from lowlight_enhance.core.enhancement.enhancer import Enhance
from lowlight_enhance.core.errors import DataError, ImageError, LowlightError
from lowlight_enhance.core.health import Health
from lowlight_enhance.core.imaging.messages import stamp_ns
from lowlight_enhance.core.metadata.capture import CaptureMetadata
from lowlight_enhance.core.metadata.readers import reader_of
from lowlight_enhance.core.pipeline import NS_PER_S, EnhancedFrame, PendingFrame, Pipeline, PipelineConfig
from lowlight_enhance.tools.bags.cameras import CAMERA_INFO, Camera
from lowlight_enhance.tools.bags.recording import Bag, MessageTypes
from lowlight_enhance.tools.bags.settings import CameraReport

RESENT_CAPTURES = 64
"""Captures that the stream is told again after time has jumped back; as many as it keeps."""

_STAMP_END = 12
"""Bytes of a message with a header up to the end of its stamp."""


@dataclass(slots=True)
class CameraData:
    """What is known of a camera before its first image, each list in the order of its stamps."""

    captures: list[tuple[int, CaptureMetadata]] = field(default_factory=list)
    calibrations: list[tuple[int, Any]] = field(default_factory=list)


def read_camera_data(
    bag: Bag, types: MessageTypes, reports: Sequence[CameraReport]
) -> list[tuple[CameraReport, CameraData]]:
    """Read all calibrations and capture metadata of a bag.

    Args:
        bag: open.
        types: learns those of the metadata.
        reports: one a camera; messages that cannot be used are counted there.

    Returns:
        Each report and what is known of its camera. Of calibrations that repeat, only the first.

    Raises:
        DataError: a damaged bag, or one that does not define the type of its metadata.
    """
    pairs = [(report, CameraData()) for report in reports]
    listeners: defaultdict[str, list[tuple[CameraReport, CameraData]]] = defaultdict(list)
    for report, own in pairs:
        for topic in filter(None, (report.camera.metadata, report.camera.camera_info)):
            listeners[topic].append((report, own))
    connections = [connection for connection in bag.connections if connection.topic in listeners]
    for connection in connections:
        types.register(connection)
    newest: dict[str, bytes] = {}
    for connection, received_ns, raw in bag.messages(connections):
        if connection.msgtype == CAMERA_INFO:
            if newest.get(connection.topic) == raw[_STAMP_END:]:
                continue
            newest[connection.topic] = raw[_STAMP_END:]
        for report, own in listeners[connection.topic]:
            try:
                message = types.deserialize(raw, connection.msgtype)
                _keep(message, connection.msgtype, received_ns, report.camera, own)
            except LowlightError as error:  # noqa: PERF203 (one bad message must not cost the others)
                report.unusable_metadata += 1
                report.last_error = str(error)
    for _, own in pairs:
        own.captures.sort(key=itemgetter(0))
        own.calibrations.sort(key=itemgetter(0))
    return pairs


def _keep(message: Any, type_name: str, received_ns: int, camera: Camera, known: CameraData) -> None:
    if type_name == CAMERA_INFO:
        known.calibrations.append((stamp_ns(message), message))
        return
    reading = reader_of(type_name, camera.settings)(message, camera.settings)
    if reading is not None:
        stamp = received_ns if reading.stamp_ns is None else reading.stamp_ns
        known.captures.append((stamp, reading.capture))


class CameraStream:
    """One camera's images on their way through a ``Pipeline``, in the order of the bag."""

    def __init__(
        self, report: CameraReport, known: CameraData, types: MessageTypes, enhance: Enhance, config: PipelineConfig
    ) -> None:
        self.report, self.camera = report, report.camera
        self._known, self._types = known, types
        self._stream = Pipeline(enhance, config, Health())
        self._capture_stamps = [stamp for stamp, _ in known.captures]
        self._calibration_stamps = [stamp for stamp, _ in known.calibrations]
        self._tolerance_ns = round(config.metadata_tolerance_s * NS_PER_S)
        self._told = 0

    def begin(self, raw: bytes, received_ns: int) -> PendingFrame | None:
        """The frame that the bytes are, seen by the network; None where they are no such message, or no picture.

        Counted in the report.

        Raises:
            ModelError: the network fails.
        """
        try:
            message = self._types.deserialize(raw, self.camera.type_name)
            self._tell(stamp_ns(message))
            return self._stream.begin(message, received_ns)
        except (DataError, ImageError) as error:
            self.report.damaged_frames += 1
            self.report.last_error = str(error)
            return None

    def finish(self, begun: PendingFrame) -> EnhancedFrame:
        """What is to be written of a frame; may be another thread's work than ``begin``, in the same order."""
        frame = self._stream.finish(begun)
        self.report.enhanced += 1
        self.report.bypassed += frame.bypassed
        self.report.matches[frame.match] += 1
        return frame

    def process(self, raw: bytes, received_ns: int) -> tuple[Any, EnhancedFrame | None]:
        """The message that the bytes are, and its frame: both halves at once; errors as of ``begin``."""
        begun = self.begin(raw, received_ns)
        return (None, None) if begun is None else (begun.message, self.finish(begun))

    def _tell(self, stamp: int) -> None:
        """Let the stream know what belongs to a frame of that stamp."""
        self._tell_captures(bisect_right(self._capture_stamps, stamp + self._tolerance_ns))
        if self._known.calibrations:
            at = max(bisect_right(self._calibration_stamps, stamp) - 1, 0)
            self._stream.add_camera_info(self._known.calibrations[at][1])

    def _tell_captures(self, end: int) -> None:
        """Let the stream know the first ``end`` captures, and none that is later than the next frame."""
        start = self._told if end >= self._told else max(0, end - RESENT_CAPTURES)
        for stamp, capture in self._known.captures[start:end]:
            self._stream.add_capture(stamp, capture)
        self._told = end
