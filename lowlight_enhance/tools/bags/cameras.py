"""The cameras of a recording: which topics hold pictures, and which calibration and capture metadata go with each."""

from __future__ import annotations

import contextlib
import difflib
import itertools
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from lowlight_enhance.core.errors import ConfigError, LowlightError
from lowlight_enhance.core.imaging.encodings import SUPPORTED_ENCODINGS
from lowlight_enhance.core.metadata.readers import READERS, MetadataSettings, reader_of
from lowlight_enhance.tools.bags.recording import Bag, MessageTypes

IMAGE, COMPRESSED_IMAGE = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
CAMERA_INFO, DIAGNOSTICS = "sensor_msgs/msg/CameraInfo", "diagnostic_msgs/msg/DiagnosticArray"

VARIANTS = ("image_raw", "image_rect_raw", "image", "image_color", "image_rect_color", "image_rect", "image_mono")
"""Names of what one camera may show at once, the rawest first."""

NO_PICTURES = ("depth", "disparity", "enhanced")
"""Topics with one of these in their name are left alone unless they are asked for."""

NO_ENCODINGS = ("16UC1",)
"""What would be read, but is usually depth."""

_DEPTH_ENCODING = re.compile(r"(16|32|64)[USF]C1")
_PNG_GREY_16 = bytes([16, 0])
"""Bit depth and colour type in the header of a PNG file."""

Format = Literal["same", "raw", "jpeg", "png"]
"""What enhanced images are written as: raw as raw and files as such files, or all as one of these."""

NONE = "none"
LOOKED_AT = 8
"""Messages of a topic that are tried until one tells its encoding."""


@dataclass(frozen=True, slots=True)
class TopicOptions:
    """What the user says of the topics of a bag.

    Attributes:
        images: topics to enhance; empty: every camera that is found.
        camera_info: topics of calibrations, each ``TOPIC`` for every camera, or ``IMAGE=TOPIC`` for one.
        metadata: topics of capture metadata in the same way; ``none``: use none.
        metadata_type: only topics of this type are metadata; empty: all that can be read.
        exclude: topics that are not copied.
        replace: enhanced images take the place of the dark ones, under their topic.
        format: what they are written as.
    """

    images: tuple[str, ...] = ()
    camera_info: tuple[str, ...] = ()
    metadata: tuple[str, ...] = ()
    metadata_type: str = ""
    exclude: tuple[str, ...] = ()
    replace: bool = False
    format: Format = "same"


@dataclass(frozen=True, slots=True)
class Camera:
    """One camera of a bag.

    Attributes:
        image: topic of its dark images.
        type_name: their type: Image or CompressedImage.
        frames: how many there are.
        camera_info: topic of its calibration, or "".
        metadata: topic of its capture metadata, or "".
        settings: how that is read.
        output: topic of the enhanced images.
        output_type: their type.
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
        own = f"camera_info {self.camera_info or 'none'}, metadata {self.metadata or 'none'}"
        return f"{self.image} -> {self.output} ({self.frames} images; {own})"


@dataclass(frozen=True, slots=True)
class CameraSelection:
    """The cameras to enhance, and why the other image topics are left alone."""

    cameras: tuple[Camera, ...]
    skipped: dict[str, str]


def find_cameras(bag: Bag, types: MessageTypes, choice: TopicOptions, settings: MetadataSettings) -> CameraSelection:
    """Find out what to enhance.

    Args:
        bag: open.
        types: of messages.
        choice: the user's.
        settings: how capture metadata is read.

    Raises:
        ConfigError: no camera, a topic that is not in the bag or of another type, or one that is there already.
        DataError: the bag is damaged.
    """
    topics = _types_by_topic(bag)
    samples = {
        topic: _first_readable(bag, types, topic)
        for topic, name in topics.items()
        if name in (IMAGE, COMPRESSED_IMAGE) and (not choice.images or topic in choice.images)
    }
    images, left_out = list(choice.images), {}
    for topic in images:
        _check(topic, (IMAGE, COMPRESSED_IMAGE), topics)
    if not images:
        left_out = _no_cameras(samples, topics)
        images = [topic for topic in samples if topic not in left_out]
    if not images:
        why = "; ".join(f"{topic}: {reason}" for topic, reason in left_out.items()) or "it has no image topic"
        raise ConfigError(f"{bag.path} shows no camera ({why}); name one with --topic")
    for topic in choice.exclude:
        _check(topic, (), topics)
    outputs = {} if choice.replace else _outputs(images, choice, topics)
    cameras = tuple(
        Camera(
            image=topic,
            type_name=topics[topic],
            frames=sum(connection.msgcount for connection in bag.connections_of(topic)),
            camera_info=(info := _camera_info(topic, choice, topics)),
            metadata=(metadata := _metadata(topic, choice, settings, topics)),
            settings=_own_settings(topic, metadata, samples[topic], settings, topics),
            output=topic if choice.replace else outputs[topic][0],
            output_type=_output_type(topic, choice, topics),
            output_info=info if choice.replace else outputs[topic][1],
        )
        for topic in images
    )
    return CameraSelection(cameras, left_out)


def compressed(topic: str) -> str:
    """Where image_transport carries the compressed form of an image topic."""
    return f"{topic}/compressed"


def _types_by_topic(bag: Bag) -> dict[str, str]:
    return {connection.topic: connection.msgtype for connection in bag.connections}


def _first_readable(bag: Bag, types: MessageTypes, topic: str) -> Any | None:
    """One of the first messages of a topic; None where they are all damaged, or there are none."""
    for connection, _, raw in itertools.islice(bag.messages(bag.connections_of(topic)), LOOKED_AT):
        with contextlib.suppress(LowlightError):
            return types.deserialize(raw, connection.msgtype)
    return None


def _no_cameras(samples: dict[str, Any], topics: dict[str, str]) -> dict[str, str]:
    """Why image topics are not taken for cameras, by topic."""
    reasons = {topic: reason for topic, sample in samples.items() if (reason := _no_camera(topic, sample, topics))}
    rawest: dict[str, str] = {}
    for topic in sorted(set(samples) - set(reasons), key=_rank):
        if _rank(topic) < len(VARIANTS) and (first := rawest.setdefault(_namespace(topic), topic)) != topic:
            reasons[topic] = f"the same camera as {first}"
    return reasons


def _no_camera(topic: str, sample: Any, topics: dict[str, str]) -> str:
    """Why a topic shows no camera's pictures; empty where it seems to."""
    if sample is None:
        return "no image in it that can be read"
    word = next((word for word in NO_PICTURES if word in topic.lower()), "")
    if word:
        return f"'{word}' in its name"
    if topics[topic] == COMPRESSED_IMAGE:
        if reason := _compressed_depth(sample):
            return reason
        if topics.get(_base(topic)) == IMAGE:
            return f"the compressed form of {_base(topic)}"
        return ""
    if sample.encoding not in SUPPORTED_ENCODINGS or sample.encoding in NO_ENCODINGS:
        return f"encoding {sample.encoding}"
    return ""


def _compressed_depth(sample: Any) -> str:
    """Why a CompressedImage seems to hold depth; empty where it does not.

    image_transport's plain compressed plugin also accepts depth images, and names their encoding before the semicolon.
    Other publishers write only ``png``, which for 16-bit grey says nothing about the content.
    """
    if "compresseddepth" in sample.format.lower():
        return "depth"
    encoding = sample.format.partition(";")[0].strip()
    if _DEPTH_ENCODING.fullmatch(encoding):
        return f"encoding {encoding}"
    if (
        encoding not in SUPPORTED_ENCODINGS
        and bytes(sample.data[24:26]) == _PNG_GREY_16
        and sample.data[1:4].tobytes() == b"PNG"
    ):
        return "16-bit grey PNG, usually depth"
    return ""


def _outputs(images: Sequence[str], choice: TopicOptions, topics: dict[str, str]) -> dict[str, tuple[str, str]]:
    """Topics of the enhanced images and their calibration: as the node names them, where they stay apart.

    Raises:
        ConfigError: such a topic is in the bag already.
    """
    shared = Counter(_namespace(topic) for topic in images)
    copied = set(topics) - set(choice.exclude)
    found = {}
    for topic in images:
        namespace, base = _namespace(topic), _base(topic)
        alone = shared[namespace] == 1
        image = f"{namespace}/image_enhanced" if alone else f"{base}_enhanced"
        info = f"{namespace}/enhanced/camera_info" if alone else f"{base}_enhanced/camera_info"
        taken = [name for name in (image, compressed(image), info) if name in copied]
        if taken:
            raise ConfigError(
                f"the bag has a topic {taken[0]} already, which the enhanced {topic} would go to; leave the old one "
                f"out with --exclude {taken[0]}, or use --replace"
            )
        found[topic] = compressed(image) if _output_type(topic, choice, topics) == COMPRESSED_IMAGE else image, info
    return found


def _output_type(topic: str, choice: TopicOptions, topics: dict[str, str]) -> str:
    """Type of the enhanced images of a topic.

    Raises:
        ConfigError: another than the dark ones', which they are to replace.
    """
    kind = {"same": topics[topic], "raw": IMAGE}.get(choice.format, COMPRESSED_IMAGE)
    if choice.replace and kind != topics[topic]:
        raise ConfigError(f"--replace keeps the type of {topic}, {topics[topic]}: leave out --format {choice.format}")
    return kind


def _camera_info(topic: str, choice: TopicOptions, topics: dict[str, str]) -> str:
    """Topic of the calibration: the user's, or the image's sibling as image_transport has it, or ""."""
    named = _named(topic, choice.camera_info)
    if named == NONE:
        return ""
    if named:
        _check(named, (CAMERA_INFO,), topics)
        return named
    sibling = f"{_namespace(topic)}/camera_info"
    return sibling if topics.get(sibling) == CAMERA_INFO else ""


def _metadata(topic: str, choice: TopicOptions, settings: MetadataSettings, topics: dict[str, str]) -> str:
    """Topic of the capture metadata: the user's, or the closest one above the image, or "".

    Raises:
        ConfigError: the user's cannot be read, or two are equally close.
    """
    named = _named(topic, choice.metadata)
    if named == NONE:
        return ""
    if named:
        _check(named, (choice.metadata_type,) if choice.metadata_type else (), topics)
        reader_of(topics[named], settings)
        return named
    kinds = (choice.metadata_type,) if choice.metadata_type else tuple(READERS)
    if choice.metadata_type:
        reader_of(choice.metadata_type, settings)
    elif settings.has_fields:
        raise ConfigError("--metadata-exposure-field and --metadata-gain-field need --metadata TOPIC: whose fields")
    above = [name for name, kind in topics.items() if kind in kinds and _is_above(name, topic)]
    if not above:
        return ""
    ranks = {name: (_namespace(name).count("/"), topics[name] != DIAGNOSTICS) for name in above}
    best = [name for name in above if ranks[name] == max(ranks.values())]
    if len(best) > 1:
        raise ConfigError(f"{topic} may belong to {' or '.join(best)}; name one: --metadata {topic}={best[0]}")
    return best[0]


def _own_settings(
    topic: str, metadata: str, sample: Any, settings: MetadataSettings, topics: dict[str, str]
) -> MetadataSettings:
    """Settings with which only this camera's part of diagnostics that are shared with other nodes counts."""
    shared = topics.get(metadata) == DIAGNOSTICS and _namespace(metadata) != _namespace(topic)
    if not shared or sample is None or settings.frame_id or settings.hardware_id or settings.has_fields:
        return settings
    return replace(settings, frame_id=sample.header.frame_id)


def _named(topic: str, given: Iterable[str]) -> str:
    """What the user named for an image topic: last of its own, else last of everybody's; "" where nothing."""
    pairs = [text.rpartition("=") for text in given]
    own = [name for image, _, name in pairs if image == topic]
    return (own or [name for image, _, name in pairs if not image] or [""])[-1]


def _check(topic: str, kinds: tuple[str, ...], topics: dict[str, str]) -> None:
    """Raise ConfigError unless the bag has ``topic``, of one of these types."""
    if topic not in topics:
        close = difflib.get_close_matches(topic, topics, 1)
        hint = f"did you mean {close[0]}?" if close else f"it has {', '.join(sorted(topics)) or 'none'}"
        raise ConfigError(f"the bag has no topic {topic}; {hint}")
    if kinds and topics[topic] not in kinds:
        raise ConfigError(f"{topic} is of type {topics[topic]}, not {' or '.join(kinds)}; name another")


def _base(topic: str) -> str:
    """The image topic, of a compressed form too."""
    return topic.removesuffix("/compressed")


def _namespace(topic: str) -> str:
    """All of an image topic, or another, up to its last slash, of a compressed form too; "" at the root."""
    return _base(topic).rpartition("/")[0]


def _is_above(topic: str, image: str) -> bool:
    """Whether the namespace of ``topic`` is that of ``image`` or encloses it."""
    namespace = _namespace(topic)
    return not namespace or f"{_namespace(image)}/".startswith(f"{namespace}/")


def _rank(topic: str) -> int:
    name = _base(topic).rpartition("/")[2]
    return VARIANTS.index(name) if name in VARIANTS else len(VARIANTS)
