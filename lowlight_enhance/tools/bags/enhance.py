"""One recording, enhanced: a new bag with everything of the old one, and the frames as the node would publish them.

All calibrations and capture metadata are read before the first image, so each frame finds its own, whenever that was
recorded, and the result is the same on every run.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from lowlight_enhance.core.enhancement.enhancer import Enhance
from lowlight_enhance.core.errors import ConfigError
from lowlight_enhance.core.malloc import keep_image_buffers
from lowlight_enhance.core.pipeline import PendingFrame
from lowlight_enhance.tools.background import WriteBehind, prefetch
from lowlight_enhance.tools.bags.bag_output import BagOutput
from lowlight_enhance.tools.bags.camera_stream import CameraStream, read_camera_data
from lowlight_enhance.tools.bags.cameras import CameraSelection, find_cameras
from lowlight_enhance.tools.bags.recording import Bag, Compression, MessageTypes, Storage
from lowlight_enhance.tools.bags.settings import BagReport, BagSettings, CameraReport
from lowlight_enhance.tools.bags.writer import BagWriter

ProgressCallback = Callable[[int], object]
"""Is told how many more frames are done."""


def inspect_bag(source: Path, settings: BagSettings) -> CameraSelection:
    """The cameras of a bag that would be enhanced.

    Raises:
        LowlightError: none, or no bag.
    """
    with Bag(source) as bag:
        return _plan(bag, MessageTypes(), settings)


def enhance_bag(source: Path, folder: Path, settings: BagSettings, tell: ProgressCallback) -> BagReport:
    """Write an enhanced copy of a bag.

    Args:
        source: the bag.
        folder: where to write; must not exist, and is half a bag after an error.
        settings: how.
        tell: is told of every frame.

    Raises:
        ConfigError: topics that are not there, or settings that do not fit each other.
        DataError: a damaged bag, or no space for the new one.
        ModelError: no usable model.
    """
    keep_image_buffers()
    enhancer = settings.open()
    try:
        with Bag(source) as bag:
            report = enhance_open_bag(bag, folder, enhancer, settings, tell)
    finally:
        enhancer.close()
    if enhancer.fallback:
        report.warnings.append(enhancer.fallback)
    return report


def enhance_open_bag(
    bag: Bag, folder: Path, enhance: Enhance, settings: BagSettings, tell: ProgressCallback
) -> BagReport:
    """The same from a bag that is open, with any ``Enhance``."""
    types = MessageTypes()
    found = _plan(bag, types, settings)
    report = BagReport([CameraReport(camera) for camera in found.cameras], found.skipped)
    start = time.perf_counter()
    pairs = read_camera_data(bag, types, report.cameras)
    streams = {own.camera.image: CameraStream(own, known, types, enhance, settings.stream) for own, known in pairs}
    with BagWriter(folder, bag.version, *_files(bag, settings)) as writer:
        for key, value in bag.custom_data.items():
            writer.set_custom_data(key, str(value))
        for record in writer.add_mcap_content(bag.extra_records(), bag.foreign_schemas):
            report.warnings.append(f"{record} is not copied: only mcap can store it (--storage mcap)")
        outlet = BagOutput(bag, writer, types, found.cameras, settings)
        report.copied = _copy(bag, outlet, streams, settings.topics.replace, tell)
    report.seconds = time.perf_counter() - start
    return report


def _plan(bag: Bag, types: MessageTypes, settings: BagSettings) -> CameraSelection:
    """The cameras; raises ConfigError where the settings cannot be met."""
    _files(bag, settings)
    return find_cameras(bag, types, settings.topics, settings.stream.metadata)


def _files(bag: Bag, settings: BagSettings) -> tuple[Storage, Compression]:
    """Storage and compression of the new bag."""
    storage = bag.storage if settings.storage == "same" else settings.storage
    if settings.compression != "same":
        if settings.compression == "storage" and storage == "sqlite3":
            raise ConfigError("compression 'storage' is for mcap: use --compression message, or --storage mcap")
        return storage, settings.compression
    compression = bag.compression
    return storage, "message" if (storage, compression) == ("sqlite3", "storage") else compression


def _copy(
    bag: Bag, outlet: BagOutput, streams: Mapping[str, CameraStream], replace: bool, tell: ProgressCallback
) -> int:
    """Second pass: every message, and behind each image the enhanced one. Returns how many were copied.

    On this thread runs the network, which waits for nothing: another reads ahead, and a third finishes frames and
    writes.
    """
    copied = 0

    def put(camera_stream: CameraStream, begun: PendingFrame, received_ns: int, raw: bytes) -> None:
        outlet.write(camera_stream.camera, begun.message, camera_stream.finish(begun), received_ns, raw)

    with contextlib.closing(prefetch(bag.messages())) as messages, WriteBehind() as write_behind:
        for connection, received_ns, raw in messages:
            camera_stream = streams.get(connection.topic)
            begun = None
            if camera_stream is not None:
                begun = camera_stream.begin(raw, received_ns)
                tell(1)
            if begun is None or not replace:
                write_behind(outlet.copy, connection, received_ns, raw)
                copied += outlet.copies(connection)
            if camera_stream is not None and begun is not None:
                write_behind(put, camera_stream, begun, received_ns, raw)
    return copied
