"""Write the new bag: copied messages, enhanced images and their calibrations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from rosbags.interfaces import Connection

from lowlight_enhance.core.imaging.messages import fill_compressed, fill_message
from lowlight_enhance.core.pipeline import EnhancedFrame
from lowlight_enhance.tools.bags.cameras import Camera
from lowlight_enhance.tools.bags.recording import Bag, MessageTypes
from lowlight_enhance.tools.bags.settings import BagSettings
from lowlight_enhance.tools.bags.topics import CAMERA_INFO, COMPRESSED_IMAGE, IMAGE
from lowlight_enhance.tools.bags.writer import BagWriter

_PNG_SIGNATURE = b"\x89PNG"


class BagOutput:
    """The topics of the new bag and the messages written to them."""

    def __init__(
        self, bag: Bag, writer: BagWriter, types: MessageTypes, cameras: Sequence[Camera], settings: BagSettings
    ) -> None:
        """Create the copied topics, then those of the enhanced images and their calibrations.

        Args:
            bag: the recorded bag, open.
            writer: the new bag, open.
            types: message types of the recorded bag.
            cameras: cameras that are enhanced.
            settings: format of the enhanced images.
        """
        self._bag, self._writer, self._types = bag, writer, types
        self._format, self._quality = settings.topics.format, settings.jpeg_quality
        self._copies: dict[int, Connection] = {}
        self._images: dict[str, Connection] = {}
        self._infos: dict[str, Connection] = {}
        replaces, rescales = settings.topics.replace, settings.output_resolution == "model"
        omitted = set(settings.topics.exclude)
        if replaces and rescales:
            omitted |= {camera.camera_info for camera in cameras}
        for connection in bag.connections:
            if connection.topic not in omitted:
                self._copies[connection.id] = writer.add_copy_of(connection)
        for camera in cameras:
            self._images[camera.image] = self._add_topic(camera.output, camera.output_type, camera.image)
            if camera.camera_info and (rescales or not replaces):
                self._infos[camera.image] = self._add_topic(camera.output_info, CAMERA_INFO, camera.camera_info)

    def _add_topic(self, topic: str, type_name: str, model_topic: str) -> Connection:
        """Create a topic with the QoS of another. It has a definition if other topics of the bag have one."""
        model = self._bag.connections_of(model_topic)[0]
        if (topic, type_name) == (model_topic, model.msgtype):
            return self._writer.add_copy_of(model)
        has_definitions = any(connection.msgdef.data for connection in self._bag.connections)
        definition = self._types.definition(type_name) if has_definitions else None
        return self._writer.add_topic(topic, type_name, definition, getattr(model.ext, "offered_qos_profiles", ()))

    def is_copied(self, connection: Connection) -> bool:
        """Return whether messages of this topic are copied."""
        return connection.id in self._copies

    def copy_message(self, connection: Connection, received_ns: int, raw: bytes) -> None:
        """Write a recorded message unchanged, unless its topic is excluded."""
        copied = self._copies.get(connection.id)
        if copied is not None:
            self._writer.write_message(copied, received_ns, raw)

    def write_frame(self, camera: Camera, message: Any, frame: EnhancedFrame, received_ns: int, raw: bytes) -> None:
        """Write an enhanced image and its calibration with the receive time of the input image.

        Args:
            camera: camera of the image.
            message: the input image.
            frame: the enhanced image.
            received_ns: receive time of the input image.
            raw: the input image, serialized. It is written where the frame passed through unchanged.
        """
        image = self._images[camera.image]
        stored: bytes | memoryview = raw
        if frame.passed_message is None or image.msgtype != camera.type_name or self._format in ("jpeg", "png"):
            enhanced = self._raw_image(frame) if image.msgtype == IMAGE else self._compressed_image(message, frame)
            stored = self._types.serialize(enhanced, image.msgtype)
        self._writer.write_message(image, received_ns, stored)
        info = self._infos.get(camera.image)
        if info is not None and frame.camera_info is not None:
            self._writer.write_message(info, received_ns, self._types.serialize(frame.camera_info, CAMERA_INFO))

    def _raw_image(self, frame: EnhancedFrame) -> Any:
        image = self._types.message_class(IMAGE)(frame.header, 0, 0, "", 0, 0, np.empty(0, np.uint8))
        fill_message(image, frame.rgb, frame.encoding, frame.header)
        return image

    def _compressed_image(self, message: Any, frame: EnhancedFrame) -> Any:
        file_format: str = self._format
        if file_format == "same":
            file_format = "png" if bytes(message.data[: len(_PNG_SIGNATURE)]) == _PNG_SIGNATURE else "jpeg"
        image = self._types.message_class(COMPRESSED_IMAGE)(frame.header, "", np.empty(0, np.uint8))
        fill_compressed(image, frame.rgb, frame.encoding, frame.header, file_format, self._quality)
        return image
