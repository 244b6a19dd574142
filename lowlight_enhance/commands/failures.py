"""Exit statuses, and one-line messages for failures that the user can fix."""

from __future__ import annotations

from lowlight_enhance.core.errors import LowlightError, system_error_remedy

EXIT_INCOMPLETE = 1
"""The command finished, but skipped some of its input, or its result does not meet the requirements."""

EXIT_USER_ERROR = 2
"""An error that the user can fix."""

EXTRAS = {
    "rclpy": "ros",
    "rcl_interfaces": "ros",
    "rosgraph_msgs": "ros",
    "sensor_msgs": "ros",
    "std_msgs": "ros",
    "std_srvs": "ros",
    "diagnostic_msgs": "ros",
    "lifecycle_msgs": "ros",
    "rosbags": "offline",
    "apsw": "offline",
    "av": "offline",
    "ray": "ray",
    "skimage": "demo",
    "jinja2": "report",
    "markdown_it": "report",
    "plotly": "report",
    "torch": "train",
    "accelerate": "train",
    "tensorboard": "train",
    "torchmetrics": "train",
    "onnx": "train",
    "onnxscript": "train",
    "safetensors": "train",
    "yaml": "train",
    "tqdm": "train",
    "rawpy": "train",
    "PIL": "train",
    "matplotlib": "train",
}
"""Optional extra of this package that installs each module."""

OUT_OF_MEMORY = "not enough memory; use smaller images, fewer workers or a smaller batch"
OPENCV_NO_MEMORY = -4
"""``cv::Error::StsNoMem``."""


def failure_message(error: Exception, command: str) -> str | None:
    """Return a one-line message for the user; None if the error is a bug, which needs its traceback.

    Args:
        error: exception that a command raised.
        command: name of the command.
    """
    if isinstance(error, LowlightError):
        return str(error)
    if isinstance(error, ModuleNotFoundError):
        return _missing_module(error, command)
    if _is_out_of_memory(error):
        return OUT_OF_MEMORY
    if isinstance(error, OSError) and error.strerror:
        return _system_error(error)
    return None


def _missing_module(error: ModuleNotFoundError, command: str) -> str | None:
    extra = EXTRAS.get((error.name or "").partition(".")[0])
    if extra is None:
        return None
    remedy = f"pip install 'lowlight_enhance[{extra}]'"
    if extra == "ros":
        remedy += ", or source a ROS 2 installation"
    return f"'{command}' needs the Python module {error.name}: {remedy}"


def _is_out_of_memory(error: Exception) -> bool:
    """Return whether Python, NumPy, OpenCV, PyTorch or ONNX Runtime failed to allocate memory.

    The last three raise their own types. They are compared by name, so that none of these libraries is imported here.
    """
    if isinstance(error, MemoryError):
        return True
    origin, text = type(error).__module__.partition(".")[0], str(error)
    if origin == "cv2":
        return getattr(error, "code", None) == OPENCV_NO_MEMORY
    if type(error).__name__ == "OutOfMemoryError":
        return True
    signs = ("can't allocate memory", "bad_alloc", "bad allocation", "Failed to allocate memory")
    return isinstance(error, RuntimeError) and any(sign in text for sign in signs)


def _system_error(error: OSError) -> str:
    file_prefix = f"{error.filename}: " if error.filename is not None else ""
    return f"{file_prefix}{system_error_remedy(error)}"
