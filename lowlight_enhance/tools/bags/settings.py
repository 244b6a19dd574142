"""Options of bag enhancement, and reports of its result."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

from lowlight_enhance.core.imaging.compressed import JPEG_QUALITY
from lowlight_enhance.core.pipeline import PipelineConfig
from lowlight_enhance.tools.bags.cameras import Camera
from lowlight_enhance.tools.bags.recording import Compression, Storage
from lowlight_enhance.tools.bags.topics import TopicOptions
from lowlight_enhance.tools.network import NetworkSettings


@dataclass(frozen=True, slots=True)
class BagSettings(NetworkSettings):
    """Options of bag enhancement. Those of the network are inherited from ``NetworkSettings``.

    Attributes:
        topics: selection of cameras, and topics of the new bag.
        stream: options of the pipeline.
        jpeg_quality: 1 to 100.
        storage: file format of the new bag; "same": that of the recorded bag.
        compression: what is compressed in the new bag; "same": as in the recorded bag.
    """

    topics: TopicOptions = field(default_factory=TopicOptions)
    stream: PipelineConfig = field(default_factory=PipelineConfig)
    jpeg_quality: int = JPEG_QUALITY
    storage: Storage | Literal["same"] = "same"
    compression: Compression | Literal["same"] = "same"


@dataclass(slots=True)
class CameraReport:
    """Counters of one camera.

    Attributes:
        camera: the camera.
        enhanced: written frames, including bypassed ones.
        bypassed: frames that passed through unchanged.
        matches: number of frames by kind of metadata match.
        unusable_metadata: metadata and calibration messages that could not be used.
        damaged_frames: images that could not be read and have no enhanced image.
        last_error: reason of the last unusable message or damaged frame.
    """

    camera: Camera
    enhanced: int = 0
    bypassed: int = 0
    matches: Counter[str] = field(default_factory=Counter)
    unusable_metadata: int = 0
    damaged_frames: int = 0
    last_error: str = ""

    def __str__(self) -> str:
        matches = ", ".join(f"{kind} {count}" for kind, count in sorted(self.matches.items())) or "none"
        parts = [f"{self.camera.image} -> {self.camera.output}: {self.enhanced} frames (metadata: {matches})"]
        if self.bypassed:
            parts.append(f"{self.bypassed} of them passed through unchanged")
        if self.unusable_metadata:
            parts.append(
                f"{self.unusable_metadata} unusable messages of {self.camera.metadata or self.camera.camera_info}"
            )
        if self.damaged_frames:
            parts.append(f"{self.damaged_frames} damaged frames skipped")
        if self.last_error:
            parts.append(f"last error: {self.last_error}")
        return "; ".join(parts)


@dataclass(slots=True)
class BagReport:
    """Result of enhancing a bag.

    Attributes:
        cameras: one report per camera.
        skipped: reasons why other image topics were not enhanced, by topic.
        copied: number of messages copied unchanged.
        seconds: time from the first read to the last write.
        warnings: parts of the bag that were not copied, and settings of the model that are not available.
    """

    cameras: list[CameraReport]
    skipped: dict[str, str]
    copied: int = 0
    seconds: float = 0.0
    warnings: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        frames = sum(report.enhanced for report in self.cameras)
        lines = [f"{frames} frames enhanced in {self.seconds:.1f} s, {self.copied} messages copied"]
        return "\n  ".join([*lines, *map(str, self.cameras)])

    @property
    def damaged_frames(self) -> int:
        """Damaged frames of all cameras."""
        return sum(report.damaged_frames for report in self.cameras)
