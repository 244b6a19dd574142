"""A camera that can be killed: publishes 64x48 frames at 30 Hz until it ends."""

import time

import rclpy
from ros_graph import dark_image
from sensor_msgs.msg import Image

if __name__ == "__main__":
    rclpy.init()
    node = rclpy.create_node("camera")
    publisher = node.create_publisher(Image, "image_raw", 1)
    image = dark_image(1)
    while True:
        image.header.stamp = node.get_clock().now().to_msg()
        publisher.publish(image)
        time.sleep(1.0 / 30.0)
