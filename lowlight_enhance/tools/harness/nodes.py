"""A camera and a listener, each a process of its own: ``python -m lowlight_enhance.tools.harness.nodes ROLE``.

Both take JSON commands, one a line, on standard input, answer in kind on standard output, and end with their input.
"""

from __future__ import annotations

import json
import queue
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import cv2
import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from numpy.typing import NDArray
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from lowlight_enhance.core.imaging.messages import stamp_ns
from lowlight_enhance.core.malloc import keep_image_buffers
from lowlight_enhance.core.metadata.capture import CaptureMetadata
from lowlight_enhance.ros import topic_names
from lowlight_enhance.tools.harness.harness import CAMERA_TOPICS, CAPTURE, pictures

FRAME_ID = "camera_optical"
NS_PER_S = 1_000_000_000
Answer = dict[str, Any]
Action = Callable[..., Answer]


def reliable(depth: int) -> QoSProfile:
    """Reliable, keeping the last ``depth`` messages."""
    return QoSProfile(depth=depth, history=HistoryPolicy.KEEP_LAST, reliability=ReliabilityPolicy.RELIABLE)


class Camera:
    """Publishes image, camera_info and capture metadata with equal stamps, as a libcamera driver does.

    Attributes:
        frames: images and what is said of their exposure, made beforehand so that publishing costs little.
    """

    def __init__(self) -> None:
        self.node = rclpy.create_node("camera")
        self.images = self.node.create_publisher(Image, CAMERA_TOPICS[topic_names.IMAGE], reliable(1))
        self.infos = self.node.create_publisher(CameraInfo, CAMERA_TOPICS[topic_names.CAMERA_INFO], reliable(5))
        self.metadata = self.node.create_publisher(DiagnosticArray, CAMERA_TOPICS[topic_names.METADATA], reliable(5))
        self.frames: list[tuple[Image, CaptureMetadata]] = []
        self._made: dict[tuple[int, int], list[Image]] = {}
        self.show(640, 480)

    def actions(self) -> dict[str, Action]:
        """What it can be told to do."""
        return {"show": self.show, "stream": self.stream}

    def show(self, width: int, height: int, iso: float = 3200.0) -> Answer:
        """From now on show frames of this size, said to be taken at ``iso``."""
        if (width, height) not in self._made:
            self._made[width, height] = [bgr_message(bgr) for bgr in pictures(width, height)]
        self.frames = [(image, CaptureMetadata(iso, CAPTURE.exposure_s)) for image in self._made[width, height]]
        return {"shown": len(self.frames)}

    def stream(self, rate_hz: int, count: int) -> Answer:
        """Publish ``count`` frames, from the first one on; answers (stamp in ns, number) of each."""
        sent, start = [], time.perf_counter()
        for number in range(count):
            time.sleep(max(0.0, start + number / rate_hz - time.perf_counter()))
            sent.append((self._publish(*self.frames[number % len(self.frames)]), number))
        return {"sent": sent}

    def _publish(self, image: Image, capture: CaptureMetadata) -> int:
        stamp = time.time_ns()
        header = Header(frame_id=FRAME_ID)
        header.stamp.sec, header.stamp.nanosec = divmod(stamp, NS_PER_S)
        image.header = header
        self.metadata.publish(capture_message(header, capture))
        self.infos.publish(calibration(header, image.width, image.height))
        self.images.publish(image)
        return stamp


def bgr_message(bgr: NDArray[np.uint8]) -> Image:
    """A bgr8 image message of it, without a header."""
    height, width = bgr.shape[:2]
    image = Image(height=height, width=width, encoding="bgr8", step=3 * width)
    image.data.frombytes(np.ascontiguousarray(bgr).data)
    return image


def capture_message(header: Header, capture: CaptureMetadata) -> DiagnosticArray:
    """Exposure time in microseconds and gains, as camera_ros writes them."""
    assert capture.iso is not None
    assert capture.exposure_s is not None
    values = {
        "ExposureTime": str(round(1e6 * capture.exposure_s)),
        "AnalogueGain": f"{capture.iso / 100.0:f}",
        "DigitalGain": "1.000000",
    }
    pairs = [KeyValue(key=key, value=value) for key, value in values.items()]
    return DiagnosticArray(header=header, status=[DiagnosticStatus(hardware_id="camera", values=pairs)])


def calibration(header: Header, width: int, height: int) -> CameraInfo:
    """A pinhole camera of 60 degrees."""
    focal = width / (2.0 * np.tan(np.radians(30.0)))
    cx, cy = (width - 1) / 2.0, (height - 1) / 2.0
    return CameraInfo(
        header=header,
        width=width,
        height=height,
        distortion_model="plumb_bob",
        d=[0.0] * 5,
        k=[focal, 0.0, cx, 0.0, focal, cy, 0.0, 0.0, 1.0],
        r=[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
        p=[focal, 0.0, cx, 0.0, 0.0, focal, cy, 0.0, 0.0, 0.0, 1.0, 0.0],
    )


class Listener:
    """Stands where a detector would: tells when each enhanced frame came, and what the diagnostics say."""

    def __init__(self) -> None:
        self.node = rclpy.create_node("listener")
        self.node.create_subscription(Image, CAMERA_TOPICS[topic_names.ENHANCED], self.on_image, reliable(5))
        self.node.create_subscription(DiagnosticArray, topic_names.DIAGNOSTICS, self._on_diagnostics, reliable(5))

    def actions(self) -> dict[str, Action]:
        """What it can be told to do."""
        return {}

    def on_image(self, message: Image) -> None:
        """Tell of it."""
        answer({"stamp": stamp_ns(message), "received": time.time_ns()})

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            answer({"diagnostics": {pair.key: pair.value for pair in status.values}, "of": status.name})


def answer(values: Answer) -> None:
    """One line of JSON to the parent."""
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


def carry_out(line: str, actions: Mapping[str, Action]) -> Answer:
    """Do what one line of JSON asks for: ``do`` names the action, the rest are its arguments."""
    command: dict[str, Any] = json.loads(line)
    return actions[command.pop("do")](**command)


def obey(actor: Any) -> None:
    """Carry out each command as it comes; enough for one that only publishes."""
    actions = actor.actions()
    for line in sys.stdin:
        answer(carry_out(line, actions))


def serve(actor: Any) -> None:
    """Serve the topics of ``actor.node``, and commands in between."""
    actions = actor.actions()
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_read_lines, args=(lines,), daemon=True).start()
    executor = SingleThreadedExecutor()
    executor.add_node(actor.node)
    while True:
        executor.spin_once(timeout_sec=0.05)
        while not lines.empty():
            line = lines.get()
            if not line:
                return
            answer(carry_out(line, actions))


def _read_lines(lines: queue.SimpleQueue[str]) -> None:
    """Every line of standard input, then an empty one."""
    for line in sys.stdin:
        lines.put(line)
    lines.put("")


def main(role: str, roles: Mapping[str, Callable[[], None]]) -> None:
    """Run one of ``roles`` until standard input ends."""
    keep_image_buffers()
    cv2.setNumThreads(1)
    rclpy.init(args=[])
    try:
        roles[role]()
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        rclpy.try_shutdown()


if __name__ == "__main__":
    main(sys.argv[1], {"camera": lambda: obey(Camera()), "listener": lambda: serve(Listener())})
