"""Scripted ROS 2 nodes, each in its own process: ``python -m lowlight_enhance.tools.harness.nodes ROLE``.

A node reads commands from standard input, one JSON object per line: ``command`` names a method, the other keys are its
arguments. It answers each with one JSON object on standard output, and exits when its standard input ends.
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
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from numpy.typing import NDArray
from rcl_interfaces.srv import SetParameters
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header
from std_srvs.srv import SetBool

from lowlight_enhance.core.imaging.messages import stamp_ns
from lowlight_enhance.core.malloc import reuse_image_buffers
from lowlight_enhance.core.metadata.capture import CaptureMetadata
from lowlight_enhance.ros import topic_names
from lowlight_enhance.tools.harness.harness import CAMERA_TOPICS, CAPTURE, NODE_NAME, synthetic_frames
from lowlight_enhance.tools.harness.processes import Message

FRAME_ID = "camera_optical"
NS_PER_S = 1_000_000_000
POLL_S = 0.05
SERVICE_TIMEOUT_S = 20.0


class ScriptedNode:
    """Base of the scripted nodes.

    Attributes:
        commands: names of the methods that the parent may call.
    """

    commands: tuple[str, ...] = ()

    def __init__(self, name: str) -> None:
        self.node = rclpy.create_node(name)
        self.executor = SingleThreadedExecutor()
        self.executor.add_node(self.node)

    def serve(self) -> None:
        """Spin the node and execute commands until standard input ends."""
        lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=_read_lines, args=(lines,), daemon=True).start()
        while True:
            self.executor.spin_once(timeout_sec=POLL_S)
            while not lines.empty():
                line = lines.get()
                if not line:
                    return
                send({"type": "answer", **self.execute(line)})

    def execute(self, line: str) -> Message:
        """Execute one command and return its answer."""
        arguments: Message = json.loads(line)
        command = arguments.pop("command")
        if command not in self.commands:
            raise ValueError(f"{command} is not one of {', '.join(self.commands)}")
        answer: Message = getattr(self, command)(**arguments)
        return answer


class ScriptedCamera(ScriptedNode):
    """Publishes image, camera_info and capture metadata with equal stamps, as camera_ros does.

    Attributes:
        frames: images and their capture metadata, rendered in advance so that publishing is cheap.
    """

    commands: tuple[str, ...] = ("set_frames", "stream")

    def __init__(self) -> None:
        super().__init__("camera")
        self.images = self.node.create_publisher(Image, CAMERA_TOPICS[topic_names.IMAGE], reliable_qos(1))
        self.infos = self.node.create_publisher(CameraInfo, CAMERA_TOPICS[topic_names.CAMERA_INFO], reliable_qos(5))
        self.metadata = self.node.create_publisher(
            DiagnosticArray, CAMERA_TOPICS[topic_names.METADATA], reliable_qos(5)
        )
        self.frames: list[tuple[Image, CaptureMetadata]] = []
        self._cache: dict[tuple[int, int], list[Image]] = {}
        self.set_frames(640, 480)

    def set_frames(self, width: int, height: int, iso: float = 3200.0) -> Message:
        """Publish synthetic frames of this size from now on, with ``iso`` in their metadata."""
        if (width, height) not in self._cache:
            self._cache[width, height] = [bgr_message(bgr) for bgr in synthetic_frames(width, height)]
        self.frames = [(image, CaptureMetadata(iso, CAPTURE.exposure_s)) for image in self._cache[width, height]]
        return {"frames": len(self.frames)}

    def stream(self, rate_hz: int, count: int) -> Message:
        """Publish ``count`` frames, beginning with the first; return (stamp in ns, index) of each."""
        sent, start_s = [], time.perf_counter()
        for index in range(count):
            time.sleep(max(0.0, start_s + index / rate_hz - time.perf_counter()))
            sent.append((self._publish(*self.frames[index % len(self.frames)]), index))
        return {"sent": sent}

    def _publish(self, image: Image, capture: CaptureMetadata) -> int:
        now_ns = time.time_ns()
        header = Header(frame_id=FRAME_ID)
        header.stamp.sec, header.stamp.nanosec = divmod(now_ns, NS_PER_S)
        image.header = header
        # The image last, so that calibration and metadata are there when the node takes it.
        self.metadata.publish(capture_message(header, capture))
        self.infos.publish(camera_info(header, image.width, image.height))
        self.images.publish(image)
        return now_ns


class ScriptedListener(ScriptedNode):
    """Takes the place of a detector: reports when each enhanced frame arrives, and the node's diagnostics."""

    def __init__(self) -> None:
        super().__init__("listener")
        self.node.create_subscription(Image, CAMERA_TOPICS[topic_names.ENHANCED], self.on_image, reliable_qos(5))
        self.node.create_subscription(DiagnosticArray, topic_names.DIAGNOSTICS, self._on_diagnostics, reliable_qos(5))

    def on_image(self, message: Image) -> None:
        """Report one frame."""
        send({"type": "frame", "stamp_ns": stamp_ns(message), "received_ns": time.time_ns()})

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            values = {pair.key: pair.value for pair in status.values}
            send({"type": "diagnostics", "name": status.name, "values": values})


class ControlClient(ScriptedNode):
    """Calls the node's services. Each command returns ``error``: why it failed, or an empty string."""

    commands = ("set_parameters", "enable", "change_state")

    def __init__(self) -> None:
        super().__init__("control")
        self._parameters: Any = self.node.create_client(SetParameters, f"{NODE_NAME}/set_parameters")
        self._enable: Any = self.node.create_client(SetBool, f"{NODE_NAME}/enable")
        self._state: Any = self.node.create_client(ChangeState, f"{NODE_NAME}/change_state")

    def set_parameters(self, values: Mapping[str, Any]) -> Message:
        """Set the node's parameters."""
        parameters = [Parameter(name, value=value).to_parameter_msg() for name, value in values.items()]
        response = self._call(self._parameters, SetParameters.Request(parameters=parameters))
        if response is None:
            return {"error": "no answer"}
        return {"error": "; ".join(result.reason for result in response.results if not result.successful)}

    def enable(self, on: bool) -> Message:
        """Enable the enhancement, or make the node publish frames unchanged."""
        response = self._call(self._enable, SetBool.Request(data=on))
        return {"error": "" if response is not None and response.success else "no answer"}

    def change_state(self, transition: str) -> Message:
        """Request a lifecycle transition, e.g. ``deactivate``."""
        number = getattr(Transition, f"TRANSITION_{transition.upper()}")
        response = self._call(self._state, ChangeState.Request(transition=Transition(id=number)))
        if response is None:
            return {"error": "no answer"}
        return {"error": "" if response.success else "the transition failed"}

    def _call(self, client: Any, message: Any) -> Any:
        """Return the response, or None after ``SERVICE_TIMEOUT_S``."""
        if not client.wait_for_service(SERVICE_TIMEOUT_S):
            return None
        future = client.call_async(message)
        self.executor.spin_until_future_complete(future, timeout_sec=SERVICE_TIMEOUT_S)
        return future.result() if future.done() else None


def reliable_qos(depth: int) -> QoSProfile:
    """Return the QoS profile RELIABLE, KEEP_LAST ``depth``."""
    return QoSProfile(depth=depth, history=HistoryPolicy.KEEP_LAST, reliability=ReliabilityPolicy.RELIABLE)


def bgr_message(bgr: NDArray[np.uint8]) -> Image:
    """Return a bgr8 image message of (H, W, 3) pixels, without a header."""
    height, width = bgr.shape[:2]
    image = Image(height=height, width=width, encoding="bgr8", step=3 * width)
    image.data.frombytes(np.ascontiguousarray(bgr).data)
    return image


def capture_message(header: Header, capture: CaptureMetadata) -> DiagnosticArray:
    """Return the exposure time in microseconds and the gains, as camera_ros publishes them."""
    assert capture.iso is not None
    assert capture.exposure_s is not None
    values = {
        "ExposureTime": str(round(1e6 * capture.exposure_s)),
        "AnalogueGain": f"{capture.iso / 100.0:f}",
        "DigitalGain": "1.000000",
    }
    pairs = [KeyValue(key=key, value=value) for key, value in values.items()]
    return DiagnosticArray(header=header, status=[DiagnosticStatus(hardware_id="camera", values=pairs)])


def camera_info(header: Header, width: int, height: int) -> CameraInfo:
    """Return the calibration of a pinhole camera with a horizontal field of view of 60 degrees."""
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


def send(message: Message) -> None:
    """Write one JSON line to the parent."""
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def _read_lines(lines: queue.SimpleQueue[str]) -> None:
    """Queue every line of standard input, then an empty one."""
    for line in sys.stdin:
        lines.put(line)
    lines.put("")


def main(role: str, roles: Mapping[str, Callable[[], ScriptedNode]]) -> None:
    """Run one of the nodes in ``roles`` until standard input ends."""
    reuse_image_buffers()
    cv2.setNumThreads(1)  # the cores belong to the node under test
    rclpy.init(args=[])
    try:
        roles[role]().serve()
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        rclpy.try_shutdown()


if __name__ == "__main__":
    main(sys.argv[1], {"camera": ScriptedCamera, "listener": ScriptedListener, "control": ControlClient})
