"""Write bags with rosbags as camera drivers would record them, and read bags as plain lists of messages."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
from rosbags.rosbag2 import CompressionFormat, CompressionMode, Reader, StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from ruamel.yaml import YAML

IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
CAMERA_INFO, STRING = "sensor_msgs/msg/CameraInfo", "std_msgs/msg/String"
REALSENSE, FLIR = "realsense2_camera_msgs/msg/Metadata", "flir_camera_msgs/msg/ImageMetaData"
DIAGNOSTICS, SECRET = "diagnostic_msgs/msg/DiagnosticArray", "secret_msgs/msg/Thing"

CUSTOM_TYPES = {
    REALSENSE: "std_msgs/Header header\nstring json_data\n",
    FLIR: "std_msgs/Header header\nuint64 camera_time\nint16 brightness\nuint32 exposure_time\n"
    "uint32 max_exposure_time\nfloat32 gain\n",
    "wfov_camera_msgs/msg/WFOVImage": "std_msgs/Header header\nstring time_reference\nfloat32 gain\nfloat32 shutter\n",
}
NS_PER_S = 1_000_000_000
PERIOD_NS = 33_333_333
FIRST_NS = 1_700_000_000 * NS_PER_S
HEIGHT, WIDTH = 24, 32

FOREVER = QosTime(9223372036, 854775807)
SENSOR_QOS = Qos(
    QosHistory.KEEP_LAST,
    5,
    QosReliability.BEST_EFFORT,
    QosDurability.VOLATILE,
    FOREVER,
    FOREVER,
    QosLiveliness.AUTOMATIC,
    FOREVER,
    False,
)
LATCHED_QOS = SENSOR_QOS._replace(reliability=QosReliability.RELIABLE, durability=QosDurability.TRANSIENT_LOCAL)

STORE = get_typestore(Stores.ROS2_JAZZY)
for _name, _text in CUSTOM_TYPES.items():
    STORE.register(get_types_from_msg(_text, _name))
T = STORE.types


@dataclass
class BagMessage:
    """One message of a bag; ``content`` is a message object of ``STORE``, or serialized bytes."""

    topic: str
    received_ns: int
    type_name: str
    content: Any

    @property
    def raw(self) -> bytes:
        if isinstance(self.content, bytes):
            return self.content
        return bytes(STORE.serialize_cdr(self.content, self.type_name))


@dataclass
class DriverRecording:
    """A recording of one driver's camera.

    ``captures`` is the capture metadata of each frame, as (ISO, exposure time in seconds).
    """

    sent: list[BagMessage]
    image: str
    info: str
    metadata: str
    captures: list[tuple[float, float]] = field(default_factory=list)


def header(stamp_ns: int, frame_id: str = "camera_optical") -> Any:
    seconds, nanoseconds = divmod(stamp_ns, NS_PER_S)
    return T["std_msgs/msg/Header"](T["builtin_interfaces/msg/Time"](seconds, nanoseconds), frame_id)


def pixels(number: int, height: int = HEIGHT, width: int = WIDTH, channels: int = 3) -> Any:
    return np.random.default_rng(number).integers(0, 100, (height, width, channels), np.uint8)


def image(stamp_ns: int, number: int, encoding: str = "bgr8", frame_id: str = "camera_optical", **size: int) -> Any:
    channels = {"bgr8": 3, "rgb8": 3, "mono8": 1, "16UC1": 2, "32FC1": 4}[encoding]
    data = pixels(number, channels=channels, **size)
    height, width = data.shape[:2]
    return T[IMAGE](header(stamp_ns, frame_id), height, width, encoding, 0, width * channels, data.reshape(-1))


def compressed_image(stamp_ns: int, number: int, kind: str = "jpeg") -> Any:
    content = cv2.imencode(f".{kind}", pixels(number))[1].reshape(-1)
    return T[COMPRESSED](header(stamp_ns), f"bgr8; {kind} compressed bgr8", content)


def camera_info(stamp_ns: int, height: int = HEIGHT, width: int = WIDTH, focal: float = 40.0) -> Any:
    k = np.array([focal, 0, width / 2, 0, focal, height / 2, 0, 0, 1], np.float64)
    p = np.insert(k, [3, 6, 9], 0.0)
    region = T["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False)
    r = np.eye(3).reshape(-1)
    return T[CAMERA_INFO](header(stamp_ns), height, width, "plumb_bob", np.zeros(5), k, r, p, 0, 0, region)


def diagnostics(stamp_ns: int, exposure_us: float, gain: float, frame_id: str = "camera_optical") -> Any:
    pairs = [("ExposureTime", exposure_us), ("AnalogueGain", gain)]
    values = [T["diagnostic_msgs/msg/KeyValue"](key, str(value)) for key, value in pairs]
    status = T["diagnostic_msgs/msg/DiagnosticStatus"](0, "", "", "camera 0", values)
    return T[DIAGNOSTICS](header(stamp_ns, frame_id), [status])


def string(text: str) -> Any:
    return T[STRING](text)


def realsense(frames: int = 4, namespace: str = "/camera/camera/color") -> DriverRecording:
    """Metadata has the image's stamp and is sent before it."""
    style = DriverRecording([], f"{namespace}/image_raw", f"{namespace}/camera_info", f"{namespace}/metadata")
    for number in range(frames):
        ns = FIRST_NS + number * PERIOD_NS
        text = f'{{"frame_number":{number},"actual_exposure":{1000 + number},"gain_level":16,"auto_exposure":0}}'
        style.captures.append((1600.0, (1000 + number) * 1e-6))
        style.sent += [
            BagMessage(style.metadata, ns + 1000, REALSENSE, T[REALSENSE](header(ns), text)),
            BagMessage(style.image, ns + 2000, IMAGE, image(ns, number)),
            BagMessage(style.info, ns + 3000, CAMERA_INFO, camera_info(ns)),
        ]
    return style


def flir(frames: int = 4, namespace: str = "/flir_camera") -> DriverRecording:
    """Metadata has the image's stamp and is sent two seconds after it."""
    style = DriverRecording([], f"{namespace}/image_raw", f"{namespace}/camera_info", f"{namespace}/meta")
    for number in range(frames):
        ns = FIRST_NS + number * PERIOD_NS
        style.captures.append((200.0, (2000 + number) * 1e-6))
        message = T[FLIR](header(ns), 1, -1, 2000 + number, 30_000, 20.0 * np.log10(2.0))
        style.sent += [
            BagMessage(style.info, ns + 1000, CAMERA_INFO, camera_info(ns)),
            BagMessage(style.image, ns + 2000, IMAGE, image(ns, number, "mono8")),
            BagMessage(style.metadata, ns + 2 * NS_PER_S, FLIR, message),
        ]
    return style


def camera_ros(frames: int = 4, namespace: str = "/camera") -> DriverRecording:
    """Metadata is on /diagnostics, together with another node's, and is sent after the image."""
    style = DriverRecording([], f"{namespace}/image_raw", f"{namespace}/camera_info", "/diagnostics")
    for number in range(frames):
        ns = FIRST_NS + number * PERIOD_NS
        style.captures.append((400.0, (3000 + number) * 1e-6))
        style.sent += [
            BagMessage(style.image, ns + 1000, IMAGE, image(ns, number, "rgb8")),
            BagMessage(style.info, ns + 2000, CAMERA_INFO, camera_info(ns)),
            BagMessage("/diagnostics", ns + 3000, DIAGNOSTICS, diagnostics(ns, 3000 + number, 4.0)),
            BagMessage("/diagnostics", ns + 4000, DIAGNOSTICS, diagnostics(ns, 9, 9.0, frame_id="other_camera")),
        ]
    return style


DRIVER_RECORDINGS = {"realsense": realsense, "flir": flir, "camera_ros": camera_ros}


def write_bag(
    path: Path,
    sent: Iterable[BagMessage],
    storage: str = "sqlite3",
    compression: str = "none",
    version: int = 9,
    qos: dict[str, Qos] | None = None,
) -> Path:
    """Write messages in the order of their receipt. Types that ``STORE`` does not know get an invalid definition."""
    ordered = sorted(sent, key=lambda message: message.received_ns)
    with_compression = CompressionMode[compression.upper()]
    writer = Writer(path, version=version, storage_plugin=StoragePlugin[storage.upper()])  # type: ignore[arg-type]
    writer.set_compression(with_compression, CompressionFormat.ZSTD)
    with writer:
        connections = {}
        for message in ordered:
            if message.topic not in connections:
                offered = [(qos or {}).get(message.topic, SENSOR_QOS)]
                options: dict[str, Any] = {"typestore": STORE}
                if message.type_name not in T:
                    options = {"msgdef": "wstring no_parser_knows_this <=> 7\n", "rihs01": "RIHS01_" + "5" * 64}
                connections[message.topic] = writer.add_connection(
                    message.topic, message.type_name, offered_qos_profiles=offered, **options
                )
            writer.write(connections[message.topic], message.received_ns, message.raw)
    return path


def split(parts: Sequence[Path], whole: Path) -> Path:
    """Combine bags with the same topics into one bag of several files, as rosbag2 splits a recording."""
    whole.mkdir()
    yaml = YAML(typ="safe")
    contents = [yaml.load(part / "metadata.yaml")["rosbag2_bagfile_information"] for part in parts]
    merged = contents[0]
    for part, content in zip(parts, contents, strict=True):
        for name in content["relative_file_paths"]:
            shutil.copy(part / name, whole / name)
    for content in contents[1:]:
        merged["relative_file_paths"] += content["relative_file_paths"]
        merged["files"] += content["files"]
        merged["message_count"] += content["message_count"]
        counts = {t["topic_metadata"]["name"]: t["message_count"] for t in content["topics_with_message_count"]}
        for topic in merged["topics_with_message_count"]:
            topic["message_count"] += counts[topic["topic_metadata"]["name"]]
        merged["duration"]["nanoseconds"] += content["duration"]["nanoseconds"]
    with (whole / "metadata.yaml").open("w") as file:
        yaml.dump({"rosbag2_bagfile_information": merged}, file)
    return whole


@functools.cache
def _read(path: Path) -> tuple[dict[str, Any], list[tuple[str, int, str, bytes]]]:
    """Cached, because opening a bag is slow."""
    with Reader(path) as reader:
        found = {connection.topic: connection for connection in reader.connections}
        return found, [(c.topic, ns, c.msgtype, bytes(raw)) for c, ns, raw in reader.messages()]


def messages(path: Path) -> list[tuple[str, int, str, bytes]]:
    """Topic, time of receipt, type and bytes of each message of a complete bag."""
    return _read(path)[1]


def objects(path: Path, topic: str) -> list[Any]:
    """Return the messages of one topic."""
    found = [(kind, raw) for name, _, kind, raw in messages(path) if name == topic]
    return [STORE.deserialize_cdr(raw, kind) for kind, raw in found]


def connections(path: Path) -> dict[str, Any]:
    """Return the rosbags connections by topic."""
    return _read(path)[0]
