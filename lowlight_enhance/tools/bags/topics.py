"""Topics of a recording: the user's options, and which topics belong to an image topic by name and type.

Names follow image_transport: ``image_raw/compressed`` is the compressed form of ``image_raw``, and ``camera_info`` in
the same namespace is its calibration.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from lowlight_enhance.core.errors import ConfigError
from lowlight_enhance.core.metadata.readers import READERS, MetadataSettings, reader_for_type

IMAGE, COMPRESSED_IMAGE = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
CAMERA_INFO, DIAGNOSTICS = "sensor_msgs/msg/CameraInfo", "diagnostic_msgs/msg/DiagnosticArray"

IMAGE_VARIANTS = (
    "image_raw",
    "image_rect_raw",
    "image",
    "image_color",
    "image_rect_color",
    "image_rect",
    "image_mono",
)
"""Names under which one camera may publish the same frames, the least processed first."""

Format = Literal["same", "raw", "jpeg", "png"]
"""Format of enhanced images. ``same``: raw images stay raw, JPEG stays JPEG, and PNG stays PNG."""

NONE = "none"
"""Value of an option that disables calibration or metadata."""


@dataclass(frozen=True, slots=True)
class TopicOptions:
    """The user's choice of topics.

    Attributes:
        images: image topics to enhance; empty: every camera that is found.
        camera_info: calibration topics, each ``TOPIC`` for all cameras or ``IMAGE=TOPIC`` for one; ``none``: none.
        metadata: topics of capture metadata, in the same form.
        metadata_type: message type of capture metadata; empty: every type that has a reader.
        exclude: topics that are not copied.
        replace: whether enhanced images are written to the topic of the input images.
        format: format of the enhanced images.
    """

    images: tuple[str, ...] = ()
    camera_info: tuple[str, ...] = ()
    metadata: tuple[str, ...] = ()
    metadata_type: str = ""
    exclude: tuple[str, ...] = ()
    replace: bool = False
    format: Format = "same"


def check_topic(topic: str, allowed_types: tuple[str, ...], topics: Mapping[str, str]) -> None:
    """Check that a topic exists and has one of the types; with no types, any type is allowed.

    Args:
        topic: name that the user gave.
        allowed_types: message types.
        topics: message type of every topic in the bag.

    Raises:
        ConfigError: the topic does not exist or has another type; the message names the closest topic.
    """
    if topic not in topics:
        close = difflib.get_close_matches(topic, topics, 1)
        hint = f"did you mean {close[0]}?" if close else f"it has {', '.join(sorted(topics)) or 'none'}"
        raise ConfigError(f"the bag has no topic {topic}; {hint}")
    if allowed_types and topics[topic] not in allowed_types:
        raise ConfigError(
            f"{topic} is of type {topics[topic]}, not {' or '.join(allowed_types)}; choose another topic"
        )


def base_topic(topic: str) -> str:
    """Return the image topic without ``/compressed``."""
    return topic.removesuffix("/compressed")


def compressed_topic(topic: str) -> str:
    """Return the topic on which image_transport publishes the compressed form of an image topic."""
    return f"{topic}/compressed"


def namespace_of(topic: str) -> str:
    """Return the namespace of a topic, without ``/compressed``; "" for a topic in the root namespace."""
    return base_topic(topic).rpartition("/")[0]


def variant_rank(topic: str) -> int:
    """Return the position of the topic's name in ``IMAGE_VARIANTS``; the length of that tuple for any other name."""
    name = base_topic(topic).rpartition("/")[2]
    return IMAGE_VARIANTS.index(name) if name in IMAGE_VARIANTS else len(IMAGE_VARIANTS)


def output_topics(
    images: Sequence[str], options: TopicOptions, topics: Mapping[str, str]
) -> dict[str, tuple[str, str]]:
    """Return the topics of the enhanced images and of their calibration, by image topic.

    They are named as the node names them. Where several cameras share a namespace, the name of the image is added.

    Raises:
        ConfigError: the bag already has such a topic.
    """
    shared = Counter(namespace_of(topic) for topic in images)
    copied = set(topics) - set(options.exclude)
    result = {}
    for topic in images:
        namespace, base = namespace_of(topic), base_topic(topic)
        is_alone = shared[namespace] == 1
        image = f"{namespace}/image_enhanced" if is_alone else f"{base}_enhanced"
        info = f"{namespace}/enhanced/camera_info" if is_alone else f"{base}_enhanced/camera_info"
        taken = [name for name in (image, compressed_topic(image), info) if name in copied]
        if taken:
            raise ConfigError(
                f"the bag already has a topic {taken[0]}, to which the enhanced {topic} would be written; leave it "
                f"out with --exclude {taken[0]}, or use --replace"
            )
        is_compressed = output_type(topic, options, topics) == COMPRESSED_IMAGE
        result[topic] = compressed_topic(image) if is_compressed else image, info
    return result


def output_type(topic: str, options: TopicOptions, topics: Mapping[str, str]) -> str:
    """Return the message type of the enhanced images of a topic.

    Raises:
        ConfigError: it differs from the input type, and the enhanced images replace the input.
    """
    message_type = {"same": topics[topic], "raw": IMAGE}.get(options.format, COMPRESSED_IMAGE)
    if options.replace and message_type != topics[topic]:
        raise ConfigError(f"--replace keeps the type of {topic}, {topics[topic]}: leave out --format {options.format}")
    return message_type


def camera_info_topic(topic: str, options: TopicOptions, topics: Mapping[str, str]) -> str:
    """Return the topic of the calibration.

    It is the user's choice, else ``camera_info`` in the namespace of the image, else "".
    """
    selected = _selected_topic(topic, options.camera_info)
    if selected == NONE:
        return ""
    if selected:
        check_topic(selected, (CAMERA_INFO,), topics)
        return selected
    sibling = f"{namespace_of(topic)}/camera_info"
    return sibling if topics.get(sibling) == CAMERA_INFO else ""


def metadata_topic(topic: str, options: TopicOptions, settings: MetadataSettings, topics: Mapping[str, str]) -> str:
    """Return the topic of the capture metadata.

    It is the user's choice, else the topic in the closest enclosing namespace, else "".

    Raises:
        ConfigError: the user's choice has no reader, or two topics are equally close.
    """
    selected = _selected_topic(topic, options.metadata)
    if selected == NONE:
        return ""
    if selected:
        check_topic(selected, (options.metadata_type,) if options.metadata_type else (), topics)
        reader_for_type(topics[selected], settings)
        return selected
    types = (options.metadata_type,) if options.metadata_type else tuple(READERS)
    if options.metadata_type:
        reader_for_type(options.metadata_type, settings)
    elif settings.has_fields:
        raise ConfigError(
            "--metadata-exposure-field and --metadata-gain-field need --metadata TOPIC, which has these fields"
        )
    candidates = [name for name, kind in topics.items() if kind in types and _is_enclosing(name, topic)]
    if not candidates:
        return ""
    # The closest namespace is preferred, and in one namespace a type of the camera's driver to shared diagnostics.
    ranks = {name: (namespace_of(name).count("/"), topics[name] != DIAGNOSTICS) for name in candidates}
    best = [name for name in candidates if ranks[name] == max(ranks.values())]
    if len(best) > 1:
        raise ConfigError(f"{topic} may belong to {' or '.join(best)}; choose one: --metadata {topic}={best[0]}")
    return best[0]


def parse_choice(text: str) -> tuple[str | None, str]:
    """Return the image topic, None for all cameras, and the topic of ``IMAGE=TOPIC`` or ``TOPIC``."""
    image, separator, name = text.rpartition("=")
    return (image if separator else None), name


def _selected_topic(topic: str, values: Iterable[str]) -> str:
    """Return the user's choice for an image topic: the last ``IMAGE=TOPIC``, else the last ``TOPIC``, else ""."""
    pairs = [parse_choice(text) for text in values]
    for_this_image = [name for image, name in pairs if image == topic]
    return (for_this_image or [name for image, name in pairs if image is None] or [""])[-1]


def _is_enclosing(topic: str, image: str) -> bool:
    """Return whether the namespace of ``topic`` is that of ``image`` or encloses it."""
    namespace = namespace_of(topic)
    return not namespace or f"{namespace_of(image)}/".startswith(f"{namespace}/")
