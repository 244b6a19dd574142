"""Enhance one recording: write a new bag with all recorded messages and the frames that the node would publish.

All calibrations and capture metadata are read before the first image. Each frame therefore finds its metadata even
if it was recorded later, and every run gives the same result.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from lowlight_enhance.core.enhancement.enhancer import Enhance
from lowlight_enhance.core.errors import ConfigError
from lowlight_enhance.core.malloc import reuse_image_buffers
from lowlight_enhance.core.pipeline import PendingFrame
from lowlight_enhance.tools.background import WriteBehind, prefetch
from lowlight_enhance.tools.bags.bag_output import BagOutput
from lowlight_enhance.tools.bags.camera_stream import CameraStream, read_camera_data
from lowlight_enhance.tools.bags.cameras import CameraSelection, find_cameras
from lowlight_enhance.tools.bags.recording import Bag, Compression, MessageTypes, Storage
from lowlight_enhance.tools.bags.settings import BagReport, BagSettings, CameraReport
from lowlight_enhance.tools.bags.writer import BagWriter

ProgressCallback = Callable[[int], object]
"""Called with the number of frames that were processed since the last call."""


def inspect_bag(source: Path, settings: BagSettings) -> CameraSelection:
    """Return the cameras that would be enhanced.

    Raises:
        LowlightError: the bag cannot be read, or has no camera.
    """
    with Bag(source) as bag:
        return _select_cameras(bag, MessageTypes(), settings)


def enhance_bag(source: Path, folder: Path, settings: BagSettings, on_progress: ProgressCallback) -> BagReport:
    """Write an enhanced copy of a bag.

    Args:
        source: the recorded bag.
        folder: folder of the new bag. It must not exist; after an error it is incomplete.
        settings: options.
        on_progress: called after every frame.

    Raises:
        ConfigError: a topic does not exist, or settings contradict each other.
        DataError: the bag is damaged, or there is no space for the new one.
        ModelError: the model cannot be used.
    """
    reuse_image_buffers()
    enhancer = settings.open()
    try:
        with Bag(source) as bag:
            report = enhance_open_bag(bag, folder, enhancer, settings, on_progress)
    finally:
        enhancer.close()
    if enhancer.fallback:
        report.warnings.append(enhancer.fallback)
    return report


def enhance_open_bag(
    bag: Bag, folder: Path, enhance: Enhance, settings: BagSettings, on_progress: ProgressCallback
) -> BagReport:
    """Do the same as ``enhance_bag`` with an open bag and any enhancer."""
    types = MessageTypes()
    selection = _select_cameras(bag, types, settings)
    report = BagReport([CameraReport(camera) for camera in selection.cameras], selection.skipped)
    start = time.perf_counter()
    streams = {
        camera_report.camera.image: CameraStream(camera_report, data, types, enhance, settings.stream)
        for camera_report, data in read_camera_data(bag, types, report.cameras)
    }
    with BagWriter(folder, bag.version, *_storage_and_compression(bag, settings)) as writer:
        for key, value in bag.custom_data.items():
            writer.set_custom_data(key, str(value))
        for record in writer.add_mcap_content(bag.extra_records(), bag.foreign_schemas):
            report.warnings.append(f"{record} is not copied: only mcap can store it (--storage mcap)")
        output = BagOutput(bag, writer, types, selection.cameras, settings)
        report.copied = _write_messages(bag, output, streams, settings.topics.replace, on_progress)
    report.seconds = time.perf_counter() - start
    return report


def _select_cameras(bag: Bag, types: MessageTypes, settings: BagSettings) -> CameraSelection:
    """Return the cameras. Raise ConfigError also if storage and compression do not fit together."""
    _storage_and_compression(bag, settings)
    return find_cameras(bag, types, settings.topics, settings.stream.metadata)


def _storage_and_compression(bag: Bag, settings: BagSettings) -> tuple[Storage, Compression]:
    storage = bag.storage if settings.storage == "same" else settings.storage
    if settings.compression != "same":
        if settings.compression == "storage" and storage == "sqlite3":
            raise ConfigError("compression 'storage' is for mcap: use --compression message, or --storage mcap")
        return storage, settings.compression
    compression = bag.compression
    # SQLite has no chunks to compress; compressed messages are the closest to that.
    return storage, "message" if (storage, compression) == ("sqlite3", "storage") else compression


def _write_messages(
    bag: Bag,
    output: BagOutput,
    streams: Mapping[str, CameraStream],
    replace: bool,
    on_progress: ProgressCallback,
) -> int:
    """Copy every message, and write each enhanced image after its input. Return the number of copied messages.

    The network runs in this thread and does not wait for the disk: one thread reads ahead, another renders and writes.
    """
    copied = 0

    def write_frame(stream: CameraStream, pending: PendingFrame, received_ns: int, raw: bytes) -> None:
        output.write_frame(stream.camera, pending.message, stream.finish(pending), received_ns, raw)

    with contextlib.closing(prefetch(bag.messages())) as messages, WriteBehind() as write_behind:
        for connection, received_ns, raw in messages:
            stream = streams.get(connection.topic)
            pending = None
            if stream is not None:
                pending = stream.begin(raw, received_ns)
                on_progress(1)
            if pending is None or not replace:
                write_behind(output.copy_message, connection, received_ns, raw)
                copied += output.is_copied(connection)
            if stream is not None and pending is not None:
                write_behind(write_frame, stream, pending, received_ns, raw)
    return copied
