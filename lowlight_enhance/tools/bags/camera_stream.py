"""Process the images of one recorded camera. Calibrations and capture metadata are read before the first image."""

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
from lowlight_enhance.core.metadata.readers import reader_for_type
from lowlight_enhance.core.pipeline import NS_PER_S, EnhancedFrame, PendingFrame, Pipeline, PipelineConfig
from lowlight_enhance.tools.bags.cameras import Camera
from lowlight_enhance.tools.bags.recording import Bag, MessageTypes
from lowlight_enhance.tools.bags.settings import CameraReport
from lowlight_enhance.tools.bags.topics import CAMERA_INFO

RESENT_CAPTURES = 64
"""Captures that are added to the pipeline again after stamps have jumped back; the pipeline keeps as many."""

_STAMP_END = 12
"""Offset of the first byte behind the stamp in a serialized message with a header."""


@dataclass(slots=True)
class CameraData:
    """Capture metadata and calibrations of a camera, each with its stamp in nanoseconds and sorted by it."""

    captures: list[tuple[int, CaptureMetadata]] = field(default_factory=list)
    calibrations: list[tuple[int, Any]] = field(default_factory=list)


def read_camera_data(
    bag: Bag, types: MessageTypes, reports: Sequence[CameraReport]
) -> list[tuple[CameraReport, CameraData]]:
    """Read all calibrations and capture metadata of a bag.

    Args:
        bag: an open bag.
        types: the types of the metadata messages are registered here.
        reports: one per camera. Messages that cannot be used are counted there.

    Returns:
        Each report with the data of its camera. Repeated calibrations are kept once.

    Raises:
        DataError: the bag is damaged, or does not define the type of its metadata.
    """
    pairs = [(report, CameraData()) for report in reports]
    receivers: defaultdict[str, list[tuple[CameraReport, CameraData]]] = defaultdict(list)
    for report, data in pairs:
        for topic in filter(None, (report.camera.metadata, report.camera.camera_info)):
            receivers[topic].append((report, data))
    connections = [connection for connection in bag.connections if connection.topic in receivers]
    for connection in connections:
        types.register(connection)
    last_calibration: dict[str, bytes] = {}
    for connection, received_ns, raw in bag.messages(connections):
        if connection.msgtype == CAMERA_INFO:
            if last_calibration.get(connection.topic) == raw[_STAMP_END:]:
                continue
            last_calibration[connection.topic] = raw[_STAMP_END:]
        for report, data in receivers[connection.topic]:
            try:
                message = types.deserialize(raw, connection.msgtype)
                _add_message(message, connection.msgtype, received_ns, report.camera, data)
            except LowlightError as error:  # noqa: PERF203 (a damaged message must not stop the others)
                report.unusable_metadata += 1
                report.last_error = str(error)
    for _, data in pairs:
        data.captures.sort(key=itemgetter(0))
        data.calibrations.sort(key=itemgetter(0))
    return pairs


def _add_message(message: Any, type_name: str, received_ns: int, camera: Camera, data: CameraData) -> None:
    if type_name == CAMERA_INFO:
        data.calibrations.append((stamp_ns(message), message))
        return
    reading = reader_for_type(type_name, camera.settings)(message, camera.settings)
    if reading is not None:
        stamp = received_ns if reading.stamp_ns is None else reading.stamp_ns
        data.captures.append((stamp, reading.capture))


class CameraStream:
    """Passes the images of one camera through a ``Pipeline``, in the order of the bag."""

    def __init__(
        self, report: CameraReport, data: CameraData, types: MessageTypes, enhance: Enhance, config: PipelineConfig
    ) -> None:
        self.report, self.camera = report, report.camera
        self._data, self._types = data, types
        self._pipeline = Pipeline(enhance, config, Health())
        self._capture_stamps = [stamp for stamp, _ in data.captures]
        self._calibration_stamps = [stamp for stamp, _ in data.calibrations]
        self._tolerance_ns = round(config.metadata_tolerance_s * NS_PER_S)
        self._added_captures = 0

    def begin(self, raw: bytes, received_ns: int) -> PendingFrame | None:
        """Run the network on a serialized image. Return None for a damaged image, which the report counts.

        Raises:
            ModelError: the network fails.
        """
        try:
            message = self._types.deserialize(raw, self.camera.type_name)
            self._add_data(stamp_ns(message))
            return self._pipeline.begin(message, received_ns)
        except (DataError, ImageError) as error:
            self.report.damaged_frames += 1
            self.report.last_error = str(error)
            return None

    def finish(self, pending: PendingFrame) -> EnhancedFrame:
        """Render a frame. Call this in the order of ``begin``; it may run in another thread."""
        frame = self._pipeline.finish(pending)
        self.report.enhanced += 1
        self.report.bypassed += frame.bypassed
        self.report.matches[frame.match] += 1
        return frame

    def process(self, raw: bytes, received_ns: int) -> tuple[Any, EnhancedFrame | None]:
        """Call ``begin`` and ``finish``. Return the message and its frame; (None, None) for a damaged image.

        Raises:
            ModelError: the network fails.
        """
        pending = self.begin(raw, received_ns)
        return (None, None) if pending is None else (pending.message, self.finish(pending))

    def _add_data(self, stamp: int) -> None:
        """Add the captures up to a stamp to the pipeline, and the calibration that is valid at it."""
        self._add_captures(bisect_right(self._capture_stamps, stamp + self._tolerance_ns))
        if self._data.calibrations:
            # Images before the first calibration use that one, because a camera rarely changes it.
            index = max(bisect_right(self._calibration_stamps, stamp) - 1, 0)
            self._pipeline.add_camera_info(self._data.calibrations[index][1])

    def _add_captures(self, end: int) -> None:
        """Add captures up to index ``end`` to the pipeline, because the live node would not know later ones either."""
        # After a jump back in time the pipeline drops its captures, so recent ones are added again.
        start = self._added_captures if end >= self._added_captures else max(0, end - RESENT_CAPTURES)
        for stamp, capture in self._data.captures[start:end]:
            self._pipeline.add_capture(stamp, capture)
        self._added_captures = end
