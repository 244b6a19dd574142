"""Enhance dark camera frames in real time on a CPU.

The public API:

    from lowlight_enhance import CaptureMetadata, Enhancer

    enhance = Enhancer()
    bright = enhance(rgb, CaptureMetadata(iso=3200, exposure_s=1 / 30))

``Enhancer`` enhances single frames. ``Pipeline`` takes a stream of image messages (rclpy's, recorded ones, or any
objects with the attributes of sensor_msgs/Image), finds the capture metadata of each by its stamp, and averages
consecutive frames. ``core`` needs numpy, OpenCV and ONNX Runtime; ``ros`` adds rclpy, ``training`` adds torch. Names
are imported on first use, so ``import lowlight_enhance`` itself is fast.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

# The official builds of ONNX Runtime 1.29 and later send usage data over the network, also on Linux. The variable is
# read when onnxruntime is imported, so it is set before any module of this package can import it.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

if TYPE_CHECKING:
    from lowlight_enhance.core.enhancement.enhancer import Enhancer as Enhancer
    from lowlight_enhance.core.errors import CameraInfoError as CameraInfoError
    from lowlight_enhance.core.errors import ConfigError as ConfigError
    from lowlight_enhance.core.errors import DataError as DataError
    from lowlight_enhance.core.errors import ImageError as ImageError
    from lowlight_enhance.core.errors import LowlightError as LowlightError
    from lowlight_enhance.core.errors import MetadataError as MetadataError
    from lowlight_enhance.core.errors import ModelError as ModelError
    from lowlight_enhance.core.inference.model_zoo import default_model as default_model
    from lowlight_enhance.core.metadata.capture import CaptureMetadata as CaptureMetadata
    from lowlight_enhance.core.pipeline import EnhancedFrame as EnhancedFrame
    from lowlight_enhance.core.pipeline import Pipeline as Pipeline
    from lowlight_enhance.core.pipeline import PipelineConfig as PipelineConfig

__version__ = "0.1.0"

_MODULES = {
    "CameraInfoError": "core.errors",
    "CaptureMetadata": "core.metadata.capture",
    "ConfigError": "core.errors",
    "DataError": "core.errors",
    "EnhancedFrame": "core.pipeline",
    "Enhancer": "core.enhancement.enhancer",
    "ImageError": "core.errors",
    "LowlightError": "core.errors",
    "MetadataError": "core.errors",
    "ModelError": "core.errors",
    "Pipeline": "core.pipeline",
    "PipelineConfig": "core.pipeline",
    "default_model": "core.inference.model_zoo",
}

__all__ = [*_MODULES, "__version__"]


def __getattr__(name: str) -> Any:
    """Import a name of the public API on first use."""
    if name not in _MODULES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
