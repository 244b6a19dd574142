"""NodeParameters: every parameter of the node, with its default, limits, choices and description.

This module needs no ROS; ``parameter_declaration`` declares and reads the parameters of an rclpy node.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, TypeVar, get_args

from lowlight_enhance.core.errors import ConfigError
from lowlight_enhance.core.inference.model_zoo import DEFAULT_MODEL, INCLUDED_MODELS
from lowlight_enhance.core.inference.session import DEFAULT_PROVIDERS, Precision, Runtime
from lowlight_enhance.core.pipeline import PROFILES, PipelineConfig
from lowlight_enhance.ros.parameter_groups import (
    BypassParameters,
    CameraParameters,
    MetadataParameters,
    OutputParameters,
    TemporalParameters,
)
from lowlight_enhance.ros.parameter_spec import parameter, parameter_specs

_CONFIG = PipelineConfig()

PROFILE_STRENGTH = -1.0
"""Value of ``strength`` that stands for the strength of the profile."""

_Group = TypeVar("_Group")


@dataclass(frozen=True)
class NodeParameters:
    """Values of all parameters. ``from_values`` validates them; nested dataclasses are dotted groups."""

    model: str = parameter(
        "",
        "Path of an ONNX model file, or the name of an included model: "
        f"{', '.join(INCLUDED_MODELS)}. Empty: {DEFAULT_MODEL}.",
    )
    runtime: str = parameter("onnxruntime", "Library that runs the network.", choices=get_args(Runtime))
    providers: tuple[str, ...] = parameter(
        DEFAULT_PROVIDERS,
        "ONNX Runtime execution providers in order of preference. Providers that fail to start are skipped with a "
        "warning.",
    )
    precision: str = parameter(
        "float32",
        "Arithmetic of OpenVINO. bfloat16 needs a processor that supports it.",
        choices=get_args(Precision),
    )
    threads: int = parameter(0, "CPU threads of the network. 0: the runtime decides.", limits=(0, 256))
    working_size: int = parameter(
        -1,
        "Shorter side in pixels of the copy of the frame that the network processes. 0: the size of the frame. -1: "
        "the size that the model file states.",
        limits=(-1, 8192),
    )
    profile: str = parameter(
        _CONFIG.profile,
        "What the output is for: people ('viewing') or detectors ('detection'). It decides the strength, "
        f"{', '.join(f'{name}: {value:g}' for name, value in PROFILES.items())}.",
        choices=tuple(PROFILES),
    )
    strength: float = parameter(
        PROFILE_STRENGTH,
        "Strength of the enhancement, from 0 (output equals input) to 1 (full enhancement). -1: that of the profile.",
        limits=(-1.0, 1.0),
    )
    max_pixels: int = parameter(
        _CONFIG.max_pixels,
        "Largest number of pixels of an input frame. Larger frames are rejected, so that a corrupt header cannot "
        "exhaust the memory.",
        limits=(1, 2**31 - 1),
    )
    image_transport: str = parameter(
        "raw",
        "'raw' subscribes to sensor_msgs/msg/Image. 'compressed' subscribes to sensor_msgs/msg/CompressedImage on "
        "<input topic>/compressed.",
        choices=("raw", "compressed"),
    )
    image_reliability: str = parameter(
        "auto",
        "QoS reliability of the image subscription. 'auto': reliable if every publisher is, else best effort.",
        choices=("auto", "reliable", "best_effort"),
    )
    lazy: bool = parameter(True, "Subscribe to images only while an output topic has subscribers.")
    output: OutputParameters = field(default_factory=OutputParameters)
    bypass: BypassParameters = field(default_factory=BypassParameters)
    temporal: TemporalParameters = field(default_factory=TemporalParameters)
    metadata: MetadataParameters = field(default_factory=MetadataParameters)
    camera: CameraParameters = field(default_factory=CameraParameters)
    autostart: bool = parameter(
        True, "Configure and activate at start, without a lifecycle manager.", changeable="never"
    )
    malloc_tuning: bool = parameter(
        True,
        "Keep freed image buffers in the process instead of returning them to the kernel (glibc only). The "
        "environment variable LOWLIGHT_MALLOC_TUNING=0 disables this and the single malloc arena.",
        changeable="never",
    )

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> NodeParameters:
        """Return the parameters with ``values``, by dotted name, in place of the defaults.

        Raises:
            ConfigError: a name is unknown (the message suggests the nearest known name), a value has the wrong type or
                is not allowed, or values contradict each other.
        """
        for name in values:
            if name not in SPECS:
                raise ConfigError(f"unknown parameter '{name}'{suggestion(name)}")
        checked = {name: SPECS[name].validated(value) for name, value in values.items()}
        parameters = _built(cls(), checked, "")
        parameters.metadata.settings()
        parameters.pipeline_config()
        if parameters.camera.node:
            parameters.camera.source()
        return parameters

    def with_values(self, values: Mapping[str, Any]) -> NodeParameters:
        """Return a copy with ``values``, by dotted name, which must be valid."""
        return _built(self, values, "")

    @property
    def model_working_size(self) -> int | None:
        """The working size in pixels, or None if the model file decides."""
        return None if self.working_size < 0 else self.working_size

    def pipeline_config(self) -> PipelineConfig:
        """Return the configuration of the pipeline."""
        return PipelineConfig(
            metadata_tolerance_s=self.metadata.sync_tolerance,
            metadata_max_age_s=self.metadata.max_age,
            fallback=self.metadata.fallback,
            metadata=self.metadata.settings(),
            profile=self.profile,  # type: ignore[arg-type]
            strength=None if self.strength == PROFILE_STRENGTH else self.strength,
            bypass_above=self.bypass.threshold,
            bypass_hysteresis=self.bypass.hysteresis,
            smoothing_s=self.temporal.time_constant,
            fusion=self.temporal.fusion,
            fusion_max_frames=self.temporal.max_frames,
            output_encoding=self.output.encoding,
            max_pixels=self.max_pixels,
        )

    def model_values(self) -> dict[str, Any]:
        """Return the parameters that decide which model runs and how, by dotted name."""
        values = dict(flat_values(self))
        return {name: values[name] for name in MODEL_PARAMETERS}


MODEL_PARAMETERS = ("model", "runtime", "precision", "providers", "threads", "output.resolution")
"""A change of any of these loads a model."""

SPECS = {spec.name: spec for spec in parameter_specs(NodeParameters())}
"""Every parameter by its dotted name, in the order of the documentation."""


def flat_values(parameters: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (dotted name, value) of every parameter."""
    for entry in fields(parameters):
        value = getattr(parameters, entry.name)
        if is_dataclass(value):
            yield from flat_values(value, f"{prefix}{entry.name}.")
        else:
            yield f"{prefix}{entry.name}", value


def suggestion(name: str) -> str:
    """Return "; did you mean ...?" with the known parameter that resembles ``name``, or an empty string."""
    close = difflib.get_close_matches(name, SPECS, 1)
    return f"; did you mean '{close[0]}'?" if close else ""


def _built(default: _Group, values: Mapping[str, Any], prefix: str) -> _Group:
    """Return a copy of ``default`` with ``values`` in place, groups included."""
    arguments = {}
    for entry in fields(default):  # type: ignore[arg-type]
        value, name = getattr(default, entry.name), f"{prefix}{entry.name}"
        arguments[entry.name] = _built(value, values, f"{name}.") if is_dataclass(value) else values.get(name, value)
    return type(default)(**arguments)
