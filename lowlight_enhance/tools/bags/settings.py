"""How bags are enhanced, and what became of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

from lowlight_enhance.core.imaging.compressed import JPEG_QUALITY
from lowlight_enhance.core.pipeline import PipelineConfig
from lowlight_enhance.tools.bags.cameras import Camera, TopicOptions
from lowlight_enhance.tools.bags.recording import Compression, Storage
from lowlight_enhance.tools.network import NetworkSettings


@dataclass(frozen=True, slots=True)
class BagSettings(NetworkSettings):
    """How bags are enhanced; the network's attributes are those of ``NetworkSettings``.

    Attributes:
        topics: which cameras, and what is written of them.
        stream: how frames are matched, enhanced and written.
        jpeg_quality: 1 to 100.
        storage: files of the new bag; "same": as those of the old one.
        compression: of the new bag.
    """

    topics: TopicOptions = field(default_factory=TopicOptions)
    stream: PipelineConfig = field(default_factory=PipelineConfig)
    jpeg_quality: int = JPEG_QUALITY
    storage: Storage | Literal["same"] = "same"
    compression: Compression | Literal["same"] = "same"


@dataclass(slots=True)
class CameraReport:
    """What became of one camera's frames.

    Attributes:
        camera: which.
        enhanced: frames written, bypassed ones included.
        bypassed: frames among them that passed through untouched.
        matches: how many found their metadata how.
        unusable_metadata: messages of metadata and calibration that could not be used.
        damaged_frames: frames that could not be enhanced.
        last_error: why the last of either could not.
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
            parts.append(f"{self.bypassed} of them passed through untouched")
        if self.unusable_metadata:
            parts.append(
                f"{self.unusable_metadata} messages of {self.camera.metadata or self.camera.camera_info} unusable"
            )
        if self.damaged_frames:
            parts.append(f"{self.damaged_frames} damaged frames left out")
        if self.last_error:
            parts.append(f"the last error: {self.last_error}")
        return "; ".join(parts)


@dataclass(slots=True)
class BagReport:
    """What became of a bag.

    Attributes:
        cameras: one report each.
        skipped: other image topics, and why.
        copied: messages taken over as they were.
        seconds: time from the first message read to the last one written.
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
        """Frames that could not be enhanced."""
        return sum(report.damaged_frames for report in self.cameras)
