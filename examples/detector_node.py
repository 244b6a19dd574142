#!/usr/bin/env python3
"""A ROS 2 node that runs an ONNX detector on the enhanced images.

    python3 detector_node.py --ros-args -p model:=/data/yolox_nano.onnx -r image:=/camera/image_enhanced

| topic | type | |
|---|---|---|
| ``image`` | sensor_msgs/msg/Image | input; remap it to the output of the enhancement node |
| ``detections`` | vision_msgs/msg/Detection2DArray | output; the header of the image |
| ``detections/image`` | sensor_msgs/msg/Image | output: rgb8 with drawn boxes, only while somebody subscribes |

Without the package vision_msgs, ``detections`` is a std_msgs/msg/String with JSON:

    {"header": {"stamp": {"sec": 1, "nanosec": 2}, "frame_id": "camera"},
     "detections": [{"class_id": "person", "score": 0.9, "center": [x, y], "size": [width, height]}]}

Positions are in pixels of the image. The layouts of detectors are those of docs/detectors.md. The node needs no
PyTorch. It always processes the newest image, so a slow detector drops frames and does not lag behind.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from std_msgs.msg import String

from lowlight_enhance.core.errors import LowlightError
from lowlight_enhance.core.imaging.messages import decode, fill_message
from lowlight_enhance.core.inference.model_input import to_8_bit
from lowlight_enhance.evaluation.detection.boxes import NO_BOXES, Boxes
from lowlight_enhance.evaluation.detection.onnx_detector import DetectorOptions, OnnxDetector
from lowlight_enhance.evaluation.detection.output import draw_boxes

try:
    from vision_msgs.msg import Detection2D, Detection2DArray, ObjectHypothesisWithPose
except ImportError:
    Detection2DArray = None

MAX_PIXELS = 64_000_000
"""Larger images are rejected before they are decoded."""

PARAMETERS: dict[str, Any] = {
    "model": "",  # path of the ONNX file
    "classes": "",  # class names, separated by commas; empty: those of the file
    "layout": "",  # v5, v8, nms, yolox, yolox_decoded, rtdetr; empty: recognised
    "confidence": 0.25,  # lowest score of a published box
    "threads": 0,  # CPU threads; 0: ONNX Runtime decides
    "best_effort": False,  # subscribe with BEST_EFFORT; the enhancement node publishes RELIABLE
}


class DetectorNode(Node):
    """Subscribes to images and publishes boxes."""

    def __init__(self) -> None:
        """Load the detector.

        Raises:
            LowlightError: the file is not a detector of a known layout, or a parameter is out of range.
        """
        super().__init__("detector")
        values = {name: self.declare_parameter(name, default).value for name, default in PARAMETERS.items()}
        names = tuple(name.strip() for name in values["classes"].split(",") if name.strip())
        options = DetectorOptions(
            values["layout"] or None, names, values["confidence"], threads=values["threads"] or None
        )
        self._detector = OnnxDetector(Path(values["model"]), options)
        kind = String if Detection2DArray is None else Detection2DArray
        self._detections = self.create_publisher(kind, "detections", 1)
        self._image = self.create_publisher(Image, "detections/image", 1)
        reliability = ReliabilityPolicy.BEST_EFFORT if values["best_effort"] else ReliabilityPolicy.RELIABLE
        self.create_subscription(Image, "image", self._on_image, QoSProfile(depth=1, reliability=reliability))
        self.get_logger().info(f"{values['model']}: layout {self._detector.layout}, publishes {kind.__name__}")

    def _on_image(self, message: Image) -> None:
        try:
            rgb = to_8_bit(decode(message, "same", MAX_PIXELS)[0])
            found = self._detector(rgb).with_score(self._detector.confidence)
        except LowlightError as error:
            self.get_logger().warning(str(error), throttle_duration_sec=10.0)
            return
        publish = to_json if Detection2DArray is None else to_detection_array
        self._detections.publish(publish(message.header, found))
        if self._image.get_subscription_count():
            drawn = Image()
            # Without labels every box is drawn as a true one.
            fill_message(drawn, np.ascontiguousarray(draw_boxes(rgb, found, found, 0.0)), "rgb8", message.header)
            self._image.publish(drawn)


def to_detection_array(header: Any, boxes: Boxes) -> Any:
    """Convert boxes to a vision_msgs/msg/Detection2DArray."""
    array = Detection2DArray(header=header)
    for (left, top, right, bottom), score, name in zip(boxes.corners, boxes.scores, boxes.classes, strict=True):
        detection, result = Detection2D(header=header), ObjectHypothesisWithPose()
        result.hypothesis.class_id, result.hypothesis.score = name, float(score)
        detection.results.append(result)
        centre = detection.bbox.center
        position = getattr(centre, "position", centre)  # before vision_msgs 4 the centre had x and y itself
        position.x, position.y = float(left + right) / 2.0, float(top + bottom) / 2.0
        detection.bbox.size_x, detection.bbox.size_y = float(right - left), float(bottom - top)
        array.detections.append(detection)
    return array


def to_json(header: Any, boxes: Boxes = NO_BOXES) -> String:
    """Convert boxes to the JSON that the documentation at the top describes."""
    stamp = {"sec": header.stamp.sec, "nanosec": header.stamp.nanosec}
    detections = [
        {
            "class_id": name,
            "score": round(float(score), 4),
            "center": [round(float(left + right) / 2.0, 2), round(float(top + bottom) / 2.0, 2)],
            "size": [round(float(right - left), 2), round(float(bottom - top), 2)],
        }
        for (left, top, right, bottom), score, name in zip(boxes.corners, boxes.scores, boxes.classes, strict=True)
    ]
    content = {"header": {"stamp": stamp, "frame_id": header.frame_id}, "detections": detections}
    return String(data=json.dumps(content))


def main() -> int:
    """Run the node; returns the exit status."""
    rclpy.init()
    try:
        rclpy.spin(DetectorNode())
    except LowlightError as error:
        print(f"detector_node: {error}", file=sys.stderr)
        return 2
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
