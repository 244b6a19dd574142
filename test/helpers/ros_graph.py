"""A ROS graph for tests: the node under test and a peer node that acts as camera and consumer."""

import gc
import subprocess
import sys
import time
from signal import SIGTERM

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image

DEADLINE_S = 180.0
ANSWER_S = 3.0
"""A client may discover a service before the service discovers the client; the first answer is then lost."""

NEW_STAMP_S = 1000
"""Longer than any memory of the pipeline, so a frame with a new stamp is enhanced as a first frame."""

NODE = "lowlight_enhance"
BEST_EFFORT = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
RELIABLE = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)

CONFIGURE = Transition.TRANSITION_CONFIGURE
ACTIVATE = Transition.TRANSITION_ACTIVATE
DEACTIVATE = Transition.TRANSITION_DEACTIVATE
CLEANUP = Transition.TRANSITION_CLEANUP


def dotted(values):
    """Parameters by ROS name: the keyword ``metadata__type`` stands for ``metadata.type``."""
    return {name.replace("__", "."): value for name, value in values.items()}


class NodeProcess:
    """The node in a process of its own, with its log in a file."""

    def __init__(self, log, **parameters):
        self.log_path = log
        overrides = [part for name, value in dotted(parameters).items() for part in ("-p", f"{name}:={value}")]
        command = [sys.executable, "-m", "lowlight_enhance.ros.main", "--ros-args", *overrides]
        with log.open("wb") as out:
            self.process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)

    @property
    def log(self):
        return self.log_path.read_text()

    def stop(self, signal=SIGTERM):
        """Send ``signal``; returns the exit status."""
        self.process.send_signal(signal)
        return self.process.wait(DEADLINE_S)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        """End it with SIGTERM first: a killed process leaves its shared memory behind."""
        if self.process.poll() is not None:
            return
        try:
            self.stop()
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class RosGraph:
    """The node under test and its peer, in one process and one executor."""

    def __init__(self, namespace="", start=True, **parameters):
        from rclpy.parameter import Parameter as NodeParameter

        from lowlight_enhance.ros.node import EnhanceNode

        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        values = {"malloc_tuning": False, "strength": 1.0, **dotted(parameters)}
        overrides = [NodeParameter(name, value=value) for name, value in values.items()]
        self.node = EnhanceNode(context=self.context, namespace=namespace, parameter_overrides=overrides)
        self.peer = PeerNode(self.context, namespace)
        self._stamps = set()
        self.peer.executor.add_node(self.node)
        if start:
            self.node.start()

    def set_parameters(self, **values):
        """Set parameters as the service would; returns one result for each."""
        from rclpy.parameter import Parameter as NodeParameter

        return self.node.set_parameters([NodeParameter(name, value=value) for name, value in dotted(values).items()])

    def process(self, sent):
        """Publish ``sent`` until an output image with its stamp arrives; returns that image.

        The stamp of an earlier call is replaced by a later one: outputs of that call may still arrive.
        """
        while (sent.header.stamp.sec, sent.header.stamp.nanosec) in self._stamps:
            sent.header.stamp.sec += NEW_STAMP_S
        self._stamps.add((sent.header.stamp.sec, sent.header.stamp.nanosec))
        images = self.peer.images
        images.clear()
        self.peer.spin_until(
            lambda: any(image.header.stamp == sent.header.stamp for image in images),
            repeating=lambda: self.peer.image_publisher.publish(sent),
        )
        return next(image for image in images if image.header.stamp == sent.header.stamp)

    def close(self):
        self.peer.close()
        self.node.destroy_node()
        rclpy.try_shutdown(context=self.context)
        del self.node, self.peer
        gc.collect()  # a destroyed lifecycle node stays in the ROS graph until its state machine is collected


class PeerNode:
    """A node that publishes camera topics and subscribes to the outputs; spun by ``spin_until``."""

    def __init__(self, context=None, namespace=""):
        """``context``: that of a node in this process; otherwise one of its own."""
        self.owns_context = context is None
        self.context = context or rclpy.Context()
        if self.owns_context:
            rclpy.init(context=self.context)
        self.node = rclpy.create_node("peer", context=self.context, namespace=namespace)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.images, self.infos, self.statuses = [], [], []
        self.node.create_subscription(Image, "image_enhanced", self.images.append, RELIABLE)
        self.node.create_subscription(CameraInfo, "enhanced/camera_info", self.infos.append, RELIABLE)
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, RELIABLE)
        self.metadata_publisher = self.node.create_publisher(DiagnosticArray, "metadata", RELIABLE)
        self.info_publisher = self.node.create_publisher(CameraInfo, "camera_info", RELIABLE)
        self.image_publisher = self.node.create_publisher(Image, "image_raw", RELIABLE)

    def close(self):
        self.executor.shutdown()
        self.node.destroy_node()
        if self.owns_context:
            rclpy.try_shutdown(context=self.context)

    def _on_diagnostics(self, array):
        self.statuses += [status for status in array.status if status.name.endswith(": enhancement")]

    def spin_until(self, condition, repeating=lambda: None):
        """Spin until ``condition()``, and call ``repeating`` every 0.1 s meanwhile. Fails after ``DEADLINE_S``."""
        deadline, next_s = time.monotonic() + DEADLINE_S, 0.0
        while not condition():
            assert time.monotonic() < deadline, f"deadline passed; last diagnostics: {self.statuses[-1:]}"
            if time.monotonic() >= next_s:
                repeating()
                next_s = time.monotonic() + 0.1
            self.executor.spin_once(timeout_sec=0.02)

    def wait_for_node(self, metadata=False):
        """Wait until the node is active and publishers and subscribers have found each other."""
        publishers = [self.image_publisher, self.info_publisher] + [self.metadata_publisher] * metadata
        self.spin_until(lambda: all(publisher.get_subscription_count() for publisher in publishers))
        self.spin_until(lambda: self.node.count_publishers("image_enhanced") == 1)
        self.spin_until(lambda: self.input_reliability() == ReliabilityPolicy.RELIABLE)

    def input_reliability(self):
        """Reliability that the node's image subscription requests; None while there is not exactly one."""
        found = [s.qos_profile.reliability for s in self.node.get_subscriptions_info_by_topic("image_raw")]
        return found[0] if len(found) == 1 else None

    def status_values(self):
        """Values of the newest diagnostics message."""
        return {pair.key: pair.value for pair in self.statuses[-1].values} if self.statuses else {}

    def call(self, service_type, name, request, repeat=True):
        """Call a service; returns its response. A lost call is repeated unless ``repeat`` is False."""
        client = self.node.create_client(service_type, name)
        self.spin_until(client.service_is_ready)
        futures = []

        def ask():
            if not futures or (repeat and time.monotonic() > futures[-1][0] + ANSWER_S):
                futures.append((time.monotonic(), client.call_async(request)))

        self.spin_until(lambda: any(future.done() for _, future in futures), repeating=ask)
        self.node.destroy_client(client)
        return next(future.result() for _, future in futures if future.done())

    def state(self):
        """The label of the node's lifecycle state."""
        return self.call(GetState, f"{NODE}/get_state", GetState.Request()).current_state.label

    def change_state(self, transition):
        """Request a transition; returns whether it succeeded."""
        request = ChangeState.Request(transition=Transition(id=transition))
        return self.call(ChangeState, f"{NODE}/change_state", request, repeat=False).success

    def set_string(self, name, value):
        """Set a string parameter through the service; returns its result."""
        typed = ParameterValue(type=ParameterType.PARAMETER_STRING, string_value=value)
        request = SetParameters.Request(parameters=[Parameter(name=name, value=typed)])
        return self.call(SetParameters, f"{NODE}/set_parameters", request).results[0]


def dark_image(number, height=48, width=64):
    """An image message whose stamp is ``number`` seconds and whose pixels are a noisy dark bgr8 picture."""
    image = Image(height=height, width=width, encoding="bgr8", step=3 * width)
    image.header.stamp.sec, image.header.stamp.nanosec, image.header.frame_id = number, 345, "camera_optical"
    image.data.frombytes(np.random.default_rng(number).integers(0, 100, (height, width, 3), np.uint8).tobytes())
    return image


def corrupt_image(number):
    """An image message with half of its data missing."""
    image = dark_image(number)
    image.data = image.data[: len(image.data) // 2]
    return image


def camera_info(image):
    """A camera_info message for ``image``."""
    info = CameraInfo(header=image.header, height=image.height, width=image.width, distortion_model="plumb_bob")
    info.k = [60.0, 0.0, 32.0, 0.0, 60.0, 24.0, 0.0, 0.0, 1.0]
    info.p = [60.0, 0.0, 32.0, 0.0, 0.0, 60.0, 24.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    info.d = [0.0] * 5
    return info


def capture_metadata(image, exposure_us=30000, gain=8.0):
    """Capture metadata for ``image``, as camera_ros publishes it."""
    values = [KeyValue(key="ExposureTime", value=str(exposure_us)), KeyValue(key="AnalogueGain", value=str(gain))]
    return DiagnosticArray(header=image.header, status=[DiagnosticStatus(level=b"\x00", values=values)])


def pixels(image):
    """The pixels of a three-channel 8-bit message, (H, W, 3) uint8."""
    return np.frombuffer(image.data, np.uint8).reshape(image.height, image.width, 3)
