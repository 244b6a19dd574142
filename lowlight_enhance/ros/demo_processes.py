"""The demo's camera and consumer, each a process of its own: ``python -m lowlight_enhance.ros.demo_processes ROLE``.

Both take JSON commands, one a line, on standard input, answer in kind on standard output, and end with their input.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from lowlight_enhance.core.capture import CaptureMetadata
from lowlight_enhance.core.image_messages import rgb_from_message, stamp_ns
from lowlight_enhance.ros.demo_scene import HEIGHT, WIDTH, Clip, Picture

FRAME_ID = "camera_optical"
IMAGE_TOPIC, INFO_TOPIC, METADATA_TOPIC = "/camera/image_raw", "/camera/camera_info", "/camera/metadata"
ENHANCED_TOPIC = "/camera/image_enhanced"
METADATA_TYPE = "diagnostic_msgs/msg/DiagnosticArray"
NS_PER_S = 1_000_000_000


def reliable(depth: int) -> QoSProfile:
    """Reliable, keeping the last ``depth`` messages."""
    return QoSProfile(depth=depth, history=HistoryPolicy.KEEP_LAST, reliability=ReliabilityPolicy.RELIABLE)


class Camera:
    """Publishes image, camera_info and capture metadata with equal stamps, as a libcamera driver does."""

    def __init__(self) -> None:
        self.node = rclpy.create_node("demo_camera")
        self.images = self.node.create_publisher(Image, IMAGE_TOPIC, reliable(1))
        self.infos = self.node.create_publisher(CameraInfo, INFO_TOPIC, reliable(5))
        self.metadata = self.node.create_publisher(DiagnosticArray, METADATA_TOPIC, reliable(5))
        self.clip, self.frames = Clip(30, 1.0), [np.zeros((HEIGHT, WIDTH, 3), np.uint8)]

    def render(self, rate_hz: int, seconds: float) -> dict[str, int]:
        """Make every frame of a clip beforehand: darkening takes longer than a frame lasts."""
        self.clip = Clip(rate_hz, seconds)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            self.frames = list(pool.map(self._bgr, range(len(self.clip))))
        return {"rendered": len(self.frames)}

    def stream(self, rate_hz: int, count: int) -> dict[str, list[tuple[int, int]]]:
        """Publish the first ``count`` frames; answers (stamp in ns, index) of each."""
        sent, start = [], time.perf_counter()
        for index in range(min(count, len(self.frames))):
            time.sleep(max(0.0, start + index / rate_hz - time.perf_counter()))
            sent.append((self._publish(index), index))
        return {"sent": sent}

    def _bgr(self, index: int) -> Picture:
        return np.ascontiguousarray(self.clip.dark(index)[:, :, ::-1])

    def _publish(self, index: int) -> int:
        stamp = time.time_ns()
        header = Header(frame_id=FRAME_ID)
        header.stamp.sec, header.stamp.nanosec = divmod(stamp, NS_PER_S)
        image = Image(header=header, height=HEIGHT, width=WIDTH, encoding="bgr8", step=3 * WIDTH)
        image.data.frombytes(self.frames[index].data)
        self.metadata.publish(capture_message(header, self.clip.take(index).capture))
        self.infos.publish(calibration(header))
        self.images.publish(image)
        return stamp


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
    return DiagnosticArray(header=header, status=[DiagnosticStatus(hardware_id="demo", values=pairs)])


def calibration(header: Header) -> CameraInfo:
    """A pinhole camera of 60 degrees."""
    focal = WIDTH / (2.0 * np.tan(np.radians(30.0)))
    cx, cy = (WIDTH - 1) / 2.0, (HEIGHT - 1) / 2.0
    return CameraInfo(
        header=header,
        width=WIDTH,
        height=HEIGHT,
        distortion_model="plumb_bob",
        d=[0.0] * 5,
        k=[focal, 0.0, cx, 0.0, focal, cy, 0.0, 0.0, 1.0],
        r=[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
        p=[focal, 0.0, cx, 0.0, 0.0, focal, cy, 0.0, 0.0, 0.0, 1.0, 0.0],
    )


class Consumer:
    """Stands where a detector would: tells when each enhanced frame came and keeps some to be scored later."""

    def __init__(self) -> None:
        self.node = rclpy.create_node("demo_consumer")
        self.node.create_subscription(Image, ENHANCED_TOPIC, self._image, reliable(5))
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._diagnostics, reliable(5))
        self.every, self.count = 0, 0
        self.kept: list[Image] = []

    def keep(self, every: int) -> dict[str, int]:
        """From now on keep each ``every``-th frame; 0 keeps none."""
        self.every, self.count, self.kept = every, 0, []
        return {"keeping": every}

    def save(self, folder: str) -> dict[str, int]:
        """Write the kept frames, RGB, as ``STAMP.npy``."""
        for message in self.kept:
            np.save(Path(folder) / f"{stamp_ns(message)}.npy", rgb_from_message(message))
        return {"saved": len(self.kept)}

    def _image(self, message: Image) -> None:
        received = time.time_ns()
        if self.every and self.count % self.every == 0:
            self.kept.append(message)
        self.count += 1
        answer({"stamp": stamp_ns(message), "received": received})

    def _diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            answer({"diagnostics": {pair.key: pair.value for pair in status.values}, "of": status.name})


def answer(values: dict[str, Any]) -> None:
    """One line of JSON to the parent."""
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


def carry_out(line: str, actions: dict[str, Callable[..., dict[str, Any]]]) -> dict[str, Any]:
    """Do what one line of JSON asks for: ``do`` names the action, the rest are its arguments."""
    command: dict[str, Any] = json.loads(line)
    return actions[command.pop("do")](**command)


def run_camera() -> None:
    """Carry out each command as it comes; publishing needs no executor."""
    camera = Camera()
    for line in sys.stdin:
        answer(carry_out(line, {"render": camera.render, "stream": camera.stream}))


def run_consumer() -> None:
    """Serve the topics, and commands in between."""
    consumer = Consumer()
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_read_lines, args=(lines,), daemon=True).start()
    executor = SingleThreadedExecutor()
    executor.add_node(consumer.node)
    while True:
        executor.spin_once(timeout_sec=0.05)
        while not lines.empty():
            line = lines.get()
            if not line:
                return
            answer(carry_out(line, {"keep": consumer.keep, "save": consumer.save}))


def _read_lines(lines: queue.SimpleQueue[str]) -> None:
    """Every line of standard input, then an empty one."""
    for line in sys.stdin:
        lines.put(line)
    lines.put("")


def main(role: str) -> None:
    """Run one role until standard input ends."""
    cv2.setNumThreads(1)
    roles: dict[str, Callable[[], None]] = {"camera": run_camera, "consumer": run_consumer}
    rclpy.init(args=[])
    try:
        roles[role]()
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        rclpy.try_shutdown()


if __name__ == "__main__":
    main(sys.argv[1])
