"""Low-light enhancement of camera topics with a distilled student network.

``core`` needs numpy, OpenCV and ONNX Runtime; ``ros`` adds rclpy; ``offline`` adds files and benchmarks;
``training`` adds torch. Imports run one way: ``cli -> ros | offline | training -> core``.
"""

__version__ = "0.1.0"
