"""The pictures of one topic of a recording, found by their stamps."""

from __future__ import annotations

from bisect import bisect_left

import numpy as np
from numpy.typing import NDArray

from lowlight_enhance.core.errors import ConfigError, DataError, ImageError
from lowlight_enhance.core.imaging.messages import decode, stamp_ns
from lowlight_enhance.core.inference.model_input import to_8_bit
from lowlight_enhance.core.pipeline import NS_PER_S, PipelineConfig
from lowlight_enhance.tools.bags.cameras import COMPRESSED_IMAGE, IMAGE
from lowlight_enhance.tools.bags.recording import Bag, MessageTypes


class RecordedImages:
    """Where each picture of a topic lies is found out once; pictures are read when they are asked for."""

    def __init__(self, bag: Bag, types: MessageTypes, topic: str, config: PipelineConfig) -> None:
        """Look through the topic.

        Args:
            bag: open, for this object alone.
            types: of messages.
            topic: of images, raw or compressed.
            config: its tolerance of stamps and its limit of pixels hold.

        Raises:
            ConfigError: the bag has no such topic, or it is of another type.
            DataError: the bag is damaged.
        """
        self._bag, self._types = bag, types
        self._connections = bag.connections_of(topic)
        kinds = {connection.msgtype for connection in self._connections}
        if not kinds or not kinds <= {IMAGE, COMPRESSED_IMAGE}:
            images = sorted({c.topic for c in bag.connections if c.msgtype in (IMAGE, COMPRESSED_IMAGE)})
            raise ConfigError(f"{bag.path} has no images on {topic}; name one of {', '.join(images)}")
        self._tolerance_ns, self._max_pixels = round(config.metadata_tolerance_s * NS_PER_S), config.max_pixels
        self._places: list[tuple[int, int]] = []
        for connection, received_ns, raw in bag.messages(self._connections):
            try:
                self._places.append((stamp_ns(types.deserialize(raw, connection.msgtype)), received_ns))
            except (DataError, ImageError):  # noqa: PERF203 (a damaged message has no stamp to be found by)
                continue
        self._places.sort()

    def at(self, stamp: int) -> NDArray[np.uint8] | None:
        """The (H, W, 3) picture of that stamp, or the nearest within the tolerance; None: there is none.

        Raises:
            DataError: the bag is damaged.
        """
        at = bisect_left(self._places, (stamp, 0))
        around = self._places[max(at - 1, 0) : at + 1]
        place = min(around, key=lambda place: abs(place[0] - stamp), default=None)
        if place is None or abs(place[0] - stamp) > self._tolerance_ns:
            return None
        for connection, received_ns, raw in self._bag.messages(self._connections, place[1]):
            if received_ns > place[1]:
                break
            try:
                message = self._types.deserialize(raw, connection.msgtype)
                if stamp_ns(message) == place[0]:
                    return to_8_bit(decode(message, "same", self._max_pixels)[0])
            except (DataError, ImageError):
                continue
        return None
