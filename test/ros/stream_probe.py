"""Publisher or subscriber of a best-effort image stream: ``send`` or ``receive`` FRAMES images of 640x480.

``receive`` prints the number of received frames when the last one arrives or the sender ends.
"""

import sys
import time

import rclpy
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

TOPIC = "probe_image"
PERIOD_S = 0.1
"""Slow enough for a busy machine: without the profile, a frame is lost because of its size, not of the rate."""

WARM_UP_FRAMES = 20
"""Sent first and not counted: the sender finds the receiver before the receiver finds the sender."""

BEST_EFFORT = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)


def send(node, frames):
    publisher = node.create_publisher(Image, TOPIC, BEST_EFFORT)
    while not publisher.get_subscription_count():
        rclpy.spin_once(node, timeout_sec=0.02)
    image = Image(height=480, width=640, encoding="bgr8", step=1920)
    image.data.frombytes(bytes(480 * 1920))
    due = time.monotonic()
    for number in range(-WARM_UP_FRAMES, frames):
        image.header.frame_id = str(number)
        publisher.publish(image)
        due += PERIOD_S
        time.sleep(max(0.0, due - time.monotonic()))


def receive(node, frames):
    received = set()

    def record(msg):
        if int(msg.header.frame_id) >= 0:
            received.add(msg.header.frame_id)

    node.create_subscription(Image, TOPIC, record, BEST_EFFORT)
    found = False
    while str(frames - 1) not in received:
        rclpy.spin_once(node, timeout_sec=0.1)
        publishers = node.count_publishers(TOPIC)
        found = found or publishers > 0
        if found and not publishers:
            break
    print(len(received))


if __name__ == "__main__":
    rclpy.init()
    node = rclpy.create_node(f"probe_{sys.argv[1]}")
    {"send": send, "receive": receive}[sys.argv[1]](node, int(sys.argv[2]))
    node.destroy_node()
    rclpy.shutdown()
