"""Find the cameras of a recording: image topics, and the calibration and capture metadata of each."""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from lowlight_enhance.core.errors import ConfigError, LowlightError
from lowlight_enhance.core.imaging.encodings import SUPPORTED_ENCODINGS
from lowlight_enhance.core.metadata.readers import MetadataSettings
from lowlight_enhance.tools.bags.recording import Bag, MessageTypes
from lowlight_enhance.tools.bags.topics import (
    COMPRESSED_IMAGE,
    DIAGNOSTICS,
    IMAGE,
    IMAGE_VARIANTS,
    TopicOptions,
    base_topic,
    camera_info_topic,
    check_topic,
    metadata_topic,
    namespace_of,
    output_topics,
    output_type,
    parse_choice,
    variant_rank,
)

SKIPPED_NAMES = ("depth", "disparity", "enhanced")
"""Topics with one of these words in their name are enhanced only on request."""

SKIPPED_ENCODINGS = ("16UC1",)
"""Encodings that could be read, but usually hold depth."""

SAMPLED_MESSAGES = 8
"""Number of messages of a topic that are tried until one can be read."""

_DEPTH_ENCODING = re.compile(r"(16|32|64)[USF]C1")
_PNG_SIGNATURE = b"\x89PNG"
_PNG_GREY_16 = bytes([16, 0])
"""Bit depth and colour type, bytes 24 and 25 of a PNG file."""


@dataclass(frozen=True, slots=True)
class Camera:
    """One camera of a bag.

    Attributes:
        image: topic of the input images.
        type_name: their message type: Image or CompressedImage.
        frames: number of images.
        camera_info: topic of the calibration; "" without one.
        metadata: topic of the capture metadata; "" without one.
        settings: options of the metadata reader.
        output: topic of the enhanced images.
        output_type: their message type.
        output_info: topic of their calibration.
    """

    image: str
    type_name: str
    frames: int
    camera_info: str
    metadata: str
    settings: MetadataSettings
    output: str
    output_type: str
    output_info: str

    def __str__(self) -> str:
        details = f"camera_info {self.camera_info or 'none'}, metadata {self.metadata or 'none'}"
        return f"{self.image} -> {self.output} ({self.frames} images; {details})"


@dataclass(frozen=True, slots=True)
class CameraSelection:
    """The cameras to enhance, and the reason why each of the other image topics is skipped."""

    cameras: tuple[Camera, ...]
    skipped: dict[str, str]


def find_cameras(bag: Bag, types: MessageTypes, options: TopicOptions, settings: MetadataSettings) -> CameraSelection:
    """Select the cameras to enhance.

    Args:
        bag: an open bag.
        types: message types of the bag.
        options: the user's choice of topics.
        settings: options of the metadata reader.

    Raises:
        ConfigError: there is no camera, a selected topic does not exist or has the wrong type, or an output topic
            exists already.
        DataError: the bag is damaged.
    """
    topics = {connection.topic: connection.msgtype for connection in bag.connections}
    for topic in options.images:
        check_topic(topic, (IMAGE, COMPRESSED_IMAGE), topics)
    for topic in options.exclude:
        check_topic(topic, (), topics)
    for text in (*options.camera_info, *options.metadata):
        image, _ = parse_choice(text)
        if image is not None:
            check_topic(image, (IMAGE, COMPRESSED_IMAGE), topics)
    samples = {
        topic: _first_readable(bag, types, topic)
        for topic, name in topics.items()
        if name in (IMAGE, COMPRESSED_IMAGE) and (not options.images or topic in options.images)
    }
    skipped = {} if options.images else _skipped_topics(samples, topics)
    images = list(options.images) or [topic for topic in samples if topic not in skipped]
    if not images:
        reasons = "; ".join(f"{topic}: {reason}" for topic, reason in skipped.items()) or "it has no image topic"
        raise ConfigError(f"no camera found in {bag.path} ({reasons}); choose an image topic with --topic")
    outputs = {} if options.replace else output_topics(images, options, topics)
    cameras = tuple(
        Camera(
            image=topic,
            type_name=topics[topic],
            frames=sum(connection.msgcount for connection in bag.connections_of(topic)),
            camera_info=(info := camera_info_topic(topic, options, topics)),
            metadata=(metadata := metadata_topic(topic, options, settings, topics)),
            settings=_camera_settings(topic, metadata, samples[topic], settings, topics),
            output=topic if options.replace else outputs[topic][0],
            output_type=output_type(topic, options, topics),
            output_info=info if options.replace else outputs[topic][1],
        )
        for topic in images
    )
    return CameraSelection(cameras, skipped)


def _first_readable(bag: Bag, types: MessageTypes, topic: str) -> Any | None:
    """Return the first readable message of a topic; None if there is none among the first ``SAMPLED_MESSAGES``."""
    for connection, _, raw in itertools.islice(bag.messages(bag.connections_of(topic)), SAMPLED_MESSAGES):
        with contextlib.suppress(LowlightError):
            return types.deserialize(raw, connection.msgtype)
    return None


def _skipped_topics(samples: Mapping[str, Any], topics: Mapping[str, str]) -> dict[str, str]:
    """Return why image topics are skipped, by topic. Of several variants of one image the least processed is kept."""
    reasons = {topic: reason for topic, sample in samples.items() if (reason := _skip_reason(topic, sample, topics))}
    kept: dict[str, str] = {}
    for topic in sorted(set(samples) - set(reasons), key=variant_rank):
        is_variant = variant_rank(topic) < len(IMAGE_VARIANTS)
        if is_variant and (first := kept.setdefault(namespace_of(topic), topic)) != topic:
            reasons[topic] = f"the same camera as {first}"
    return reasons


def _skip_reason(topic: str, sample: Any, topics: Mapping[str, str]) -> str:
    """Return why a topic is not taken for a camera; "" if it is."""
    if sample is None:
        return "no readable image"
    word = next((word for word in SKIPPED_NAMES if word in topic.lower()), "")
    if word:
        return f"'{word}' in its name"
    if topics[topic] == COMPRESSED_IMAGE:
        if reason := _compressed_depth(sample):
            return reason
        if topics.get(base_topic(topic)) == IMAGE:
            return f"the compressed form of {base_topic(topic)}"
        return ""
    if sample.encoding not in SUPPORTED_ENCODINGS or sample.encoding in SKIPPED_ENCODINGS:
        return f"encoding {sample.encoding}"
    return ""


def _compressed_depth(sample: Any) -> str:
    """Return why a CompressedImage seems to hold depth; "" if it does not.

    image_transport's plain compressed plugin also accepts depth images, and names their encoding before the semicolon.
    Other publishers write only ``png``, which for 16-bit grey says nothing about the content.
    """
    if "compresseddepth" in sample.format.lower():
        return "depth"
    encoding = sample.format.partition(";")[0].strip()
    if _DEPTH_ENCODING.fullmatch(encoding):
        return f"encoding {encoding}"
    header = bytes(sample.data[:26])
    if encoding not in SUPPORTED_ENCODINGS and header.startswith(_PNG_SIGNATURE) and header[24:] == _PNG_GREY_16:
        return "16-bit grey PNG, usually depth"
    return ""


def _camera_settings(
    topic: str, metadata: str, sample: Any, settings: MetadataSettings, topics: Mapping[str, str]
) -> MetadataSettings:
    """Return the options of the metadata reader.

    Diagnostics outside the namespace of the image are filtered by the ``frame_id`` of the image.
    """
    is_shared = topics.get(metadata) == DIAGNOSTICS and namespace_of(metadata) != namespace_of(topic)
    if not is_shared or sample is None or settings.frame_id or settings.hardware_id or settings.has_fields:
        return settings
    return replace(settings, frame_id=sample.header.frame_id)
