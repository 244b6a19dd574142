"""One end of a best-effort image stream, as a process of its own: ``send`` or ``receive`` FRAMES images of 640x480.

``receive`` prints how many of the frames came, once the sender's last one or its end has been seen.
"""

import sys
import time

import rclpy
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

TOPIC = "probe_image"
PERIOD_S = 1.0 / 30.0
GONE_S = 2.0
BEST_EFFORT = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)


def send(node, frames):
    publisher = node.create_publisher(Image, TOPIC, BEST_EFFORT)
    while not publisher.get_subscription_count():
        rclpy.spin_once(node, timeout_sec=0.02)
    image = Image(height=480, width=640, encoding="bgr8", step=1920)
    image.data.frombytes(bytes(480 * 1920))
    due = time.monotonic()
    for number in range(frames):
        image.header.frame_id = str(number)
        publisher.publish(image)
        due += PERIOD_S
        time.sleep(max(0.0, due - time.monotonic()))


def receive(node, frames):
    seen = set()
    last = []

    def take(msg):
        seen.add(msg.header.frame_id)
        last[:] = [time.monotonic()]

    node.create_subscription(Image, TOPIC, take, BEST_EFFORT)
    met = False
    while str(frames - 1) not in seen:
        rclpy.spin_once(node, timeout_sec=0.1)
        publishers = node.count_publishers(TOPIC)
        met = met or publishers > 0
        if met and not publishers:
            break
    print(len(seen))


if __name__ == "__main__":
    rclpy.init()
    node = rclpy.create_node(f"probe_{sys.argv[1]}")
    {"send": send, "receive": receive}[sys.argv[1]](node, int(sys.argv[2]))
    node.destroy_node()
    rclpy.shutdown()
