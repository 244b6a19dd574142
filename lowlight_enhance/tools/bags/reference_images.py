"""Look up the images of a recorded topic by their stamps."""

from __future__ import annotations

from bisect import bisect_left

import numpy as np
from numpy.typing import NDArray

from lowlight_enhance.core.errors import ConfigError, DataError, ImageError
from lowlight_enhance.core.imaging.messages import decode, stamp_ns
from lowlight_enhance.core.inference.model_input import to_8_bit
from lowlight_enhance.core.pipeline import NS_PER_S, PipelineConfig
from lowlight_enhance.tools.bags.recording import Bag, MessageTypes
from lowlight_enhance.tools.bags.topics import COMPRESSED_IMAGE, IMAGE


class RecordedImages:
    """Images of a topic. The constructor reads their stamps; ``image_at`` reads an image when it is needed."""

    def __init__(self, bag: Bag, types: MessageTypes, topic: str, config: PipelineConfig) -> None:
        """Read the stamps of all images.

        Args:
            bag: an open bag that nothing else reads from.
            types: message types of the bag.
            topic: image topic, raw or compressed.
            config: tolerance of stamps and maximum size of images.

        Raises:
            ConfigError: the bag has no such image topic.
            DataError: the bag is damaged.
        """
        self._bag, self._types = bag, types
        self._connections = bag.connections_of(topic)
        types_found = {connection.msgtype for connection in self._connections}
        if not types_found or not types_found <= {IMAGE, COMPRESSED_IMAGE}:
            images = sorted({c.topic for c in bag.connections if c.msgtype in (IMAGE, COMPRESSED_IMAGE)})
            raise ConfigError(f"{bag.path} has no images on {topic}; choose one of {', '.join(images)}")
        self._tolerance_ns, self._max_pixels = round(config.metadata_tolerance_s * NS_PER_S), config.max_pixels
        self._positions: list[tuple[int, int]] = []
        for connection, received_ns, raw in bag.messages(self._connections):
            try:
                self._positions.append((stamp_ns(types.deserialize(raw, connection.msgtype)), received_ns))
            except (DataError, ImageError):  # noqa: PERF203 (a damaged message has no stamp)
                continue
        self._positions.sort()

    def image_at(self, stamp: int) -> NDArray[np.uint8] | None:
        """Return the image with the nearest stamp within the tolerance: (H, W, 3) RGB, uint8; None without one.

        Raises:
            DataError: the bag is damaged.
        """
        index = bisect_left(self._positions, (stamp, 0))
        candidates = self._positions[max(index - 1, 0) : index + 1]
        nearest = min(candidates, key=lambda position: abs(position[0] - stamp), default=None)
        if nearest is None or abs(nearest[0] - stamp) > self._tolerance_ns:
            return None
        for connection, received_ns, raw in self._bag.messages(self._connections, nearest[1]):
            if received_ns > nearest[1]:
                break
            try:
                message = self._types.deserialize(raw, connection.msgtype)
                if stamp_ns(message) == nearest[0]:
                    return to_8_bit(decode(message, "same", self._max_pixels)[0])
            except (DataError, ImageError):
                continue
        return None
