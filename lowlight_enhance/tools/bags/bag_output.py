"""BagOutput: the new bag, into which messages are copied and enhanced frames written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from rosbags.interfaces import Connection

from lowlight_enhance.core.imaging.messages import fill_compressed, fill_message
from lowlight_enhance.core.pipeline import EnhancedFrame
from lowlight_enhance.tools.bags.cameras import CAMERA_INFO, COMPRESSED_IMAGE, IMAGE, Camera
from lowlight_enhance.tools.bags.recording import Bag, MessageTypes
from lowlight_enhance.tools.bags.settings import BagSettings
from lowlight_enhance.tools.bags.writer import BagWriter

_PNG_START = b"\x89PNG"


class BagOutput:
    """What is copied from one bag to another, and what is new there."""

    def __init__(
        self, bag: Bag, writer: BagWriter, types: MessageTypes, cameras: Sequence[Camera], settings: BagSettings
    ) -> None:
        """Announce the topics that are copied, then those of the enhanced images and their calibrations.

        Args:
            bag: the old one, open.
            writer: of the new one, open.
            types: of messages.
            cameras: whose frames will come.
            settings: how they are written.
        """
        self._bag, self._writer, self._types = bag, writer, types
        self._format, self._quality = settings.topics.format, settings.jpeg_quality
        self._copies: dict[int, Connection] = {}
        self._images: dict[str, Connection] = {}
        self._infos: dict[str, Connection] = {}
        replace, rescales = settings.topics.replace, settings.output_resolution == "model"
        left_out = set(settings.topics.exclude)
        if replace and rescales:
            left_out |= {camera.camera_info for camera in cameras}
        for connection in bag.connections:
            if connection.topic not in left_out:
                self._copies[connection.id] = writer.adopt(connection)
        for camera in cameras:
            self._images[camera.image] = self._announce(camera.output, camera.output_type, camera.image)
            if camera.camera_info and (rescales or not replace):
                self._infos[camera.image] = self._announce(camera.output_info, CAMERA_INFO, camera.camera_info)

    def _announce(self, topic: str, type_name: str, like: str) -> Connection:
        """Announce a topic with the quality of service of another; with its definition if this bag has definitions."""
        model = self._bag.connections_of(like)[0]
        if (topic, type_name) == (like, model.msgtype):
            return self._writer.adopt(model)
        has_definitions = any(connection.msgdef.data for connection in self._bag.connections)
        definition = self._types.definition(type_name) if has_definitions else None
        return self._writer.announce(topic, type_name, definition, getattr(model.ext, "offered_qos_profiles", ()))

    def copies(self, connection: Connection) -> bool:
        """Whether messages of this topic are copied."""
        return connection.id in self._copies

    def copy(self, connection: Connection, received_ns: int, raw: bytes) -> None:
        """Write a message of the old bag as it is, unless its topic is left out."""
        copied = self._copies.get(connection.id)
        if copied is not None:
            self._writer.put(copied, received_ns, raw)

    def write(self, camera: Camera, message: Any, frame: EnhancedFrame, received_ns: int, raw: bytes) -> None:
        """Write an enhanced frame and its calibration, as if received together with the image.

        Args:
            camera: whose.
            message: the image.
            frame: what was made of it.
            received_ns: time of the image's receipt.
            raw: the image as it is stored.
        """
        image = self._images[camera.image]
        stored: bytes | memoryview = raw
        if frame.passed_message is None or image.msgtype != camera.type_name or self._format in ("jpeg", "png"):
            enhanced = self._raw_image(frame) if image.msgtype == IMAGE else self._compressed_image(message, frame)
            stored = self._types.serialize(enhanced, image.msgtype)
        self._writer.put(image, received_ns, stored)
        info = self._infos.get(camera.image)
        if info is not None and frame.camera_info is not None:
            self._writer.put(info, received_ns, self._types.serialize(frame.camera_info, CAMERA_INFO))

    def _raw_image(self, frame: EnhancedFrame) -> Any:
        image = self._types.message_class(IMAGE)(frame.header, 0, 0, "", 0, 0, np.empty(0, np.uint8))
        fill_message(image, frame.rgb, frame.encoding, frame.header)
        return image

    def _compressed_image(self, message: Any, frame: EnhancedFrame) -> Any:
        kind: str = self._format
        if kind == "same":
            kind = "png" if bytes(message.data[: len(_PNG_START)]) == _PNG_START else "jpeg"
        image = self._types.message_class(COMPRESSED_IMAGE)(frame.header, "", np.empty(0, np.uint8))
        fill_compressed(image, frame.rgb, frame.encoding, frame.header, kind, self._quality)
        return image
