"""Flight: everything that exists from configure to cleanup, and a frame's way through it."""

from __future__ import annotations

import functools
import time
from typing import Any

from rclpy.lifecycle import LifecycleNode
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo

from lowlight_enhance.core.errors import LowlightError
from lowlight_enhance.core.health import OK, WARN
from lowlight_enhance.core.imaging.messages import decode, stamp_ns
from lowlight_enhance.core.inference.model_file import ModelFile
from lowlight_enhance.core.inference.model_input import Rgb, to_8_bit
from lowlight_enhance.core.metadata.capture import CaptureMetadata
from lowlight_enhance.core.pipeline import FrameStream
from lowlight_enhance.ros import parameter_declaration
from lowlight_enhance.ros.camera_parameter_client import CameraParameterClient
from lowlight_enhance.ros.diagnostics import Reporter
from lowlight_enhance.ros.messages import message_class
from lowlight_enhance.ros.metadata_wait import Waiting
from lowlight_enhance.ros.model_loader import ModelSlot, Refusal
from lowlight_enhance.ros.parameters import NodeParameters
from lowlight_enhance.ros.publishers import Outputs
from lowlight_enhance.ros.qos import Overrides
from lowlight_enhance.ros.qos_diagnostics import Complaints
from lowlight_enhance.ros.subscriptions import Handlers, Inputs

COMPARABLE_AGE_NS = 60 * 1_000_000_000
"""An image stamped further from now than this was stamped by another clock: its age says nothing."""

Finding = tuple[int, str]
"""Level of a diagnostic status, and a sentence."""


class Flight:
    """Model, stream and topics of a node that is configured.

    Attributes:
        params: what runs.
        model: the network.
        enabled: False passes frames through untouched.
        refusal: why the model that was asked for last does not fly; empty where it does.
        camera_frame: frame_id of the newest image.
        is_reverting: the node itself sets its parameters back to what flies.
    """

    def __init__(self, node: LifecycleNode, params: NodeParameters, overrides: Overrides, reporter: Reporter) -> None:
        """Load and warm the model, advertise the outputs.

        Raises:
            LowlightError: the model or a message type that the parameters name cannot be used.
        """
        self._node, self._reporter = node, reporter
        self.params = params
        self._metadata_class = message_class(params.metadata.type) if params.metadata.type else None
        self.model = ModelSlot(params)
        self.enabled, self.refusal, self.camera_frame = True, "", ""
        self.is_reverting = False
        self._active, self._changed = False, False
        self._wanted_model: tuple[ModelFile, NodeParameters] | None = None
        self._stream = FrameStream(self.model.enhancer, params.pipeline_config(), reporter.health)
        guard = reporter.guard
        handlers = Handlers(
            image=guard(self._on_image),
            camera_info=guard(self._on_camera_info),
            metadata=guard(self._on_metadata),
            skipped=reporter.skip,
            lost=guard(self._on_lost),
            incompatible=guard(self._on_incompatible),
            matched=guard(self._on_match),
            wants_metadata=lambda: self._waiting.held is not None,
        )
        self._camera: CameraParameterClient | None = None
        self._inputs = Inputs(node, overrides, handlers)
        self._waiting = Waiting(node, guard(self._serve))
        self._outputs = Outputs(
            node,
            params.output.compressed_format,
            overrides,
            guard(self._on_match),
            guard(self._on_incompatible),
        )
        self._complaints = Complaints(node, reporter, self._inputs, self._outputs)

    # Phases

    def activate(self) -> None:
        """Subscribe: frames flow.

        Raises:
            LowlightError: the model cannot be used any more.
        """
        self._apply()
        self.model.resume(self.params)
        self._stream.enhance = self.model.enhancer
        try:
            self._inputs.open(self._metadata_class)
            self._watch_camera()
            self._active = True
            self.follow()
        except Exception:
            self.deactivate()
            raise

    def deactivate(self) -> None:
        """Unsubscribe, and free the network and its threads."""
        self._active = False
        self._inputs.close()
        self._waiting.close()
        self._forget_camera()
        self.model.suspend()

    def close(self) -> None:
        """Free everything."""
        self.deactivate()
        self._outputs.destroy()

    # Messages

    def _on_metadata(self, msg: Any) -> None:
        self._stream.add_metadata(self.params.metadata.type, msg, self._now_ns())
        self._serve_held()

    def _serve_held(self) -> None:
        """Serve the image that waits if its metadata is here."""
        held = self._waiting.held
        if held is not None and self._stream.has_metadata_for(stamp_ns(held)):
            self._serve(self._waiting.take())

    def _on_capture(self, capture: CaptureMetadata) -> None:
        self._stream.add_capture(self._now_ns(), capture)

    def _on_camera_info(self, msg: CameraInfo) -> None:
        self._stream.add_camera_info(msg)

    def _on_image(self, msg: Any) -> None:
        """Serve an image at once, or when its metadata has come; the newest one always wins."""
        self.update()
        wait_s = self.params.metadata.max_wait
        waits = wait_s > 0.0 and self._metadata_class is not None and self.enabled
        older = self._waiting.hold(msg, wait_s) if waits else self._waiting.take()
        if older is not None:
            self._reporter.health.dropped()
        self._inputs.take_waiting()
        if not waits:
            self._serve(msg)
        else:
            self._serve_held()

    def _serve(self, msg: Any) -> None:
        start_ns = time.perf_counter_ns()
        self.camera_frame = msg.header.frame_id
        if self.enabled:
            self._outputs.publish(self._stream.process(msg, time.monotonic_ns()), self.params.output.jpeg_quality)
        else:
            self._pass_on(msg)
        age_ns = self._now_ns() - stamp_ns(msg)
        comparable = abs(age_ns) < COMPARABLE_AGE_NS
        if comparable:
            self._outputs.tell_latency(age_ns)
        self._reporter.health.enhanced(age_ns if comparable else None, time.perf_counter_ns() - start_ns)

    def _pass_on(self, msg: Any) -> None:
        health, params = self._reporter.health, self.params
        health.received(time.monotonic_ns())
        info = self._stream.camera_info_for(msg)
        try:
            self._outputs.pass_on(msg, info, functools.partial(_eight_bit, msg, params), params.output.jpeg_quality)
        except LowlightError as error:
            health.failed(error)
            raise
        health.bypassed()

    def _now_ns(self) -> int:
        """The node's clock: the bag's with use_sim_time."""
        return int(self._node.get_clock().now().nanoseconds)

    # Changes

    def change(self, wanted: NodeParameters, model: ModelFile | None) -> None:
        """Parameters have been accepted: they apply from the next frame on, and ``model``, once it is loaded."""
        self._changed = True
        if model is not None:
            self._wanted_model, self.refusal = (model, wanted), ""

    def keep_up(self) -> None:
        """Now and then, also while no images come: hear metadata, look at listeners and publishers."""
        self.update()
        self._inputs.take_waiting()
        self.follow()
        self._look()

    def _look(self) -> None:
        self._complaints.look(self.params.metadata.type, time.monotonic())

    def update(self) -> None:
        """Between frames: let what the parameters say now be what runs, and a model that is ready take over."""
        if self._changed:
            self._apply()
        outcome = self.model.poll()
        if outcome is None:
            return
        if isinstance(outcome, Refusal):
            self._refuse(outcome)
            return
        self._stream.enhance = outcome
        self.refusal = ""
        self._apply()
        if not self._active:
            self.model.suspend()
        self._node.get_logger().info(f"now flying {self.model.describe()}")

    def _apply(self) -> None:
        self._changed = False
        before, self.params = self.params, parameter_declaration.read(self._node)
        self._stream.config = self.params.pipeline_config()
        self.model.enhancer.working_size = self.params.model_working_size
        if self._wanted_model is not None:
            self.model.request(*self._wanted_model)
            self._wanted_model = None
        if self.params.metadata.type != before.metadata.type:
            self._metadata_class = message_class(self.params.metadata.type) if self.params.metadata.type else None
            if self._active:
                self._inputs.change_metadata(self._metadata_class)
        if self._active and (self.params.camera, self.params.metadata) != (before.camera, before.metadata):
            self._watch_camera()
        if self._active:
            self.follow()

    def _watch_camera(self) -> None:
        """Keep exposure and gain from the parameters of the camera's node, where one is named."""
        self._forget_camera()
        params = self.params
        if params.camera.node:
            on_capture = self._reporter.guard(self._on_capture)
            source, settings = params.camera.source(), params.metadata.settings()
            self._camera = CameraParameterClient(self._node, params.camera.node, source, settings, on_capture)

    def _forget_camera(self) -> None:
        if self._camera is not None:
            self._camera.close()
            self._camera = None

    def _refuse(self, refusal: Refusal) -> None:
        """Keep the old model, and let the parameters say so."""
        self.refusal = refusal.reason
        self._node.get_logger().error(f"{refusal.reason}; {self.model.describe()} goes on flying")
        wanted = self.params.model_values()
        changed = [
            Parameter(name, value=list(value) if isinstance(value, tuple) else value)
            for name, value in self.model.params.model_values().items()
            if wanted[name] != value
        ]
        self.is_reverting = True
        try:
            self._node.set_parameters(changed)
        finally:
            self.is_reverting = False
        self.params = parameter_declaration.read(self._node)

    # Quality of service

    def follow(self) -> None:
        """Take images while somebody listens, with the reliability that their publishers offer."""
        if not self._active:
            return
        params, before = self.params, self._inputs.reliability
        wanted = not params.lazy or self._outputs.listeners > 0
        if not self._inputs.take_images(wanted, params.image_transport, params.image_reliability):
            return
        self._look()
        if not wanted:
            self._node.get_logger().info("nobody listens any more: no images are taken")
        elif self._inputs.reliability != before:
            self._node.get_logger().info(
                f"image subscription is now {self._inputs.reliability.name}, as its publishers offer"
            )

    def _on_match(self, _event: Any) -> None:
        """A camera or a listener has come or gone."""
        self.follow()

    def _on_incompatible(self, _event: Any) -> None:
        """A camera or a listener cannot be reached as it stands."""
        self.follow()
        self._look()

    def _on_lost(self, event: Any) -> None:
        self._reporter.health.dropped(event.total_count_change)
        before = self._inputs.reliability
        self.follow()
        if self._active and self._inputs.reliability == before:
            self._complaints.lost(event.total_count, time.monotonic())

    # Diagnostics

    def findings(self) -> list[Finding]:
        """What is worth a word beside the counts."""
        found: list[Finding] = [(WARN, sentence) for sentence in self._reporter.advice.values()]
        if self.refusal:
            found.append((WARN, f"the model asked for does not fly, {self.model.enhancer.name} does: {self.refusal}"))
        if self.model.enhancer.fallback:
            found.append((WARN, self.model.enhancer.fallback))
        if not self.enabled:
            found.append((OK, "enhancement is switched off: images pass through untouched"))
        return found

    @property
    def is_idle(self) -> bool:
        """Whether it takes no images because nobody listens."""
        return self._active and not self._inputs.takes_images

    def values(self) -> dict[str, str]:
        """What runs, by name."""
        return {
            **self.model.values(),
            "model_loading": str(self.model.is_loading).lower(),
            "model_refused": self.refusal,
            "enabled": str(self.enabled).lower(),
            "skipped": str(self._reporter.skipped),
            "listeners": str(self._outputs.listeners),
            "image_topic": self._inputs.image_topic,
            "image_reliability": self._inputs.reliability.name.lower(),
            "camera_node": "none" if self._camera is None else self._camera.problem or "known",
            "advice": "; ".join(self._reporter.advice.values()),
        }


def _eight_bit(msg: Any, params: NodeParameters) -> tuple[Rgb, str]:
    """A picture as it came, in 8 bits, and the encoding that it is to be published in."""
    rgb, encoding = decode(msg, params.output.encoding, params.max_pixels)
    return to_8_bit(rgb), encoding
