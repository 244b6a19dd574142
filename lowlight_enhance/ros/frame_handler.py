"""FrameHandler: the model, pipeline, subscriptions and publishers of a configured node, and the path of a frame."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import CameraInfo

from lowlight_enhance.core.errors import LowlightError
from lowlight_enhance.core.imaging.messages import stamp_ns
from lowlight_enhance.core.metadata.capture import CaptureMetadata
from lowlight_enhance.core.pipeline import Pipeline
from lowlight_enhance.ros.camera_parameter_client import CameraParameterClient
from lowlight_enhance.ros.diagnostics import Diagnostics
from lowlight_enhance.ros.message_types import message_class
from lowlight_enhance.ros.metadata_wait import MetadataWait
from lowlight_enhance.ros.model_loader import LoadFailure, ModelLoader
from lowlight_enhance.ros.parameters import NodeParameters
from lowlight_enhance.ros.publishers import Publishers
from lowlight_enhance.ros.qos import QosOverrides
from lowlight_enhance.ros.qos_diagnostics import QosDiagnostics
from lowlight_enhance.ros.subscriptions import SubscriptionCallbacks, Subscriptions

MAX_AGE_NS = 60 * 1_000_000_000
"""If the stamp of an image differs more from the present time, another clock stamped it: no latency is reported."""


class FrameHandler:
    """Everything that exists from configure to cleanup. Call it from one thread.

    Two methods bring it up to date: ``update`` applies accepted parameters and takes over a loaded model,
    ``update_subscriptions`` follows the publishers and subscribers in the graph.

    Attributes:
        params: the parameters that are applied.
        model: the model in use and its loading.
        model_error: why the model that was requested last is not in use; empty if it is.
        frame_id: frame_id of the newest image.
        is_active: True between activate and deactivate.
    """

    def __init__(
        self,
        node: LifecycleNode,
        params: NodeParameters,
        overrides: QosOverrides,
        diagnostics: Diagnostics,
        write_back: Callable[[Mapping[str, Any]], None],
    ) -> None:
        """Load and warm up the model, create the publishers.

        Args:
            node: the node.
            params: its validated parameters.
            overrides: QoS that the user chose.
            diagnostics: counters and warnings.
            write_back: sets parameters of the node, by name, to the values in use after a model was rejected.

        Raises:
            LowlightError: the model or a message type that the parameters name cannot be used.
        """
        self._node, self._diagnostics, self._write_back = node, diagnostics, write_back
        self.params = params
        self._requested: NodeParameters | None = None
        self._metadata_class = message_class(params.metadata.type) if params.metadata.type else None
        self.model = ModelLoader(params, is_running=node.context.ok)
        self.is_active = False
        self.model_error, self.frame_id = "", ""
        self.pipeline = Pipeline(self.model.enhancer, params.pipeline_config(), diagnostics.health)
        guarded = diagnostics.guarded
        self.camera: CameraParameterClient | None = None
        self.subscriptions = Subscriptions(node, overrides, self._callbacks())
        self._wait = MetadataWait(node, guarded(self._process))
        self.publishers = Publishers(
            node,
            params.output.compressed_format,
            overrides,
            guarded(self._on_matched),
            guarded(self._on_incompatible),
        )
        self._qos = QosDiagnostics(node, diagnostics, self.subscriptions, self.publishers)

    def _callbacks(self) -> SubscriptionCallbacks:
        guarded = self._diagnostics.guarded
        return SubscriptionCallbacks(
            image=guarded(self._on_image),
            camera_info=guarded(self._on_camera_info),
            metadata=guarded(self._on_metadata),
            rejected=guarded(self._on_rejected),
            dropped=self._diagnostics.add_dropped_metadata,
            skipped=self._diagnostics.add_skipped,
            lost=guarded(self._on_lost),
            incompatible=guarded(self._on_incompatible),
            matched=guarded(self._on_matched),
            needs_metadata=lambda: self._wait.image is not None,
        )

    # Lifecycle

    def activate(self) -> None:
        """Open the model and subscribe.

        Raises:
            LowlightError: the model cannot be used any more.
        """
        self._apply_requested()
        self.model.resume(self.params)
        self.pipeline.enhancer = self.model.enhancer
        try:
            self.subscriptions.open(self._metadata_class)
            self._watch_camera()
            self.is_active = True
            self.update_subscriptions()
        except Exception:
            # Whatever failed, no subscription may remain open in the inactive state.
            self.deactivate()
            raise

    def deactivate(self) -> None:
        """Unsubscribe, and free the network and its threads."""
        self.is_active = False
        self.subscriptions.close()
        self._wait.close()
        self._close_camera()
        self.model.suspend()

    def close(self) -> None:
        """Free everything."""
        self.deactivate()
        self.model.close()
        self.publishers.destroy()

    # Messages

    def _on_metadata(self, msg: Any) -> None:
        self.pipeline.add_metadata(self.params.metadata.type, msg, self._now_ns())
        self._process_held()

    def _process_held(self) -> None:
        """Process the image that waits if its metadata has arrived."""
        image = self._wait.image
        if image is not None and self.pipeline.has_metadata_for(stamp_ns(image)):
            self._process(self._wait.take())

    def _on_capture(self, capture: CaptureMetadata) -> None:
        self.pipeline.add_capture(self._now_ns(), capture)

    def _on_camera_info(self, msg: CameraInfo) -> None:
        self.pipeline.add_camera_info(msg)

    def _on_rejected(self, error: LowlightError) -> None:
        """Count and log a metadata or camera_info message that is too large or damaged."""
        self._diagnostics.health.record_failed(error)
        raise error

    def _on_image(self, msg: Any) -> None:
        """Process an image at once, or when its metadata has arrived. A newer image replaces one that waits."""
        self.update()
        wait_s = self.params.metadata.max_wait
        waits = wait_s > 0.0 and self._metadata_class is not None and self.pipeline.enabled
        replaced = self._wait.hold(msg, wait_s) if waits else self._wait.take()
        if replaced is not None:
            self._diagnostics.add_skipped(1)
        # Metadata does not wake the executor, so that of this image may still be in the queue.
        self.subscriptions.deliver_pending()
        if not waits:
            self._process(msg)
        else:
            self._process_held()

    def _process(self, msg: Any) -> None:
        start_ns = time.perf_counter_ns()
        self.frame_id = msg.header.frame_id
        self.publishers.publish(self.pipeline.process(msg, time.monotonic_ns()), self.params.output.jpeg_quality)
        age_ns = self._now_ns() - stamp_ns(msg)
        has_latency = abs(age_ns) < MAX_AGE_NS
        if has_latency:
            self.publishers.publish_latency(age_ns)
        self._diagnostics.health.record_enhanced(age_ns if has_latency else None, time.perf_counter_ns() - start_ns)

    def _now_ns(self) -> int:
        """Return the time of the node's clock: /clock with use_sim_time."""
        return int(self._node.get_clock().now().nanoseconds)

    # Parameters and model

    def request(self, params: NodeParameters, reload_model: bool) -> None:
        """Accept validated parameters. ``update`` applies them; a new model is used once it is loaded.

        Args:
            params: all parameters.
            reload_model: read the model file again even if its name is unchanged.

        Raises:
            LowlightError: the model file was rejected.
        """
        try:
            if self.model.request(params, reload_model):
                self.model_error = ""
        except LowlightError as error:
            self.model_error = str(error)
            raise
        self._requested = params

    def update(self) -> None:
        """Apply accepted parameters and take over a loaded model. Called before each frame and once a second."""
        self._apply_requested()
        outcome = self.model.poll()
        if isinstance(outcome, LoadFailure):
            self._reject_model(outcome)
        elif outcome is not None:
            self.pipeline.enhancer = outcome
            outcome.working_size = self.params.model_working_size
            self.model_error = ""
            self._node.get_logger().info(f"now using {self.model.describe()}")

    def _apply_requested(self) -> None:
        if self._requested is None:
            return
        before, self.params, self._requested = self.params, self._requested, None
        params = self.params
        self.pipeline.config = params.pipeline_config()
        self.model.enhancer.working_size = params.model_working_size
        if params.metadata.type != before.metadata.type:
            self._metadata_class = message_class(params.metadata.type) if params.metadata.type else None
            if self.is_active:
                self.subscriptions.set_metadata_class(self._metadata_class)
        if self.is_active and (params.camera, params.metadata) != (before.camera, before.metadata):
            self._watch_camera()
        self.update_subscriptions()

    def _reject_model(self, failure: LoadFailure) -> None:
        """Keep the model in use, and set the parameters of the model back to its values."""
        self._node.get_logger().error(f"{failure.reason}; {self.model.describe()} stays in use")
        requested, in_use = self.params.model_values(), self.model.params.model_values()
        self.params = self.params.with_values(in_use)
        self.model_error = failure.reason
        self._write_back({name: value for name, value in in_use.items() if requested[name] != value})

    def _watch_camera(self) -> None:
        """Read exposure and gain from the parameters of the camera's node, if ``camera.node`` names one."""
        self._close_camera()
        params = self.params
        if params.camera.node:
            on_capture = self._diagnostics.guarded(self._on_capture)
            source, settings = params.camera.source(), params.metadata.settings()
            self.camera = CameraParameterClient(self._node, params.camera.node, source, settings, on_capture)

    def _close_camera(self) -> None:
        if self.camera is not None:
            self.camera.close()
            self.camera = None

    # Graph

    def update_subscriptions(self) -> None:
        """Subscribe to images while an output has subscribers, with the reliability that their publishers offer."""
        if not self.is_active:
            return
        params, before = self.params, self.subscriptions.reliability
        is_needed = not params.lazy or self.publishers.subscribers > 0
        if not self.subscriptions.set_images(is_needed, params.image_transport, params.image_reliability):
            return
        self._update_qos_warnings()
        if not is_needed:
            self._node.get_logger().info("no output topic has subscribers: unsubscribed from images")
        elif self.subscriptions.reliability != before:
            self._node.get_logger().info(
                f"the image subscription is now {self.subscriptions.reliability.name}, as its publishers offer"
            )

    def on_timer(self) -> None:
        """Update everything once a second, because frames may be rare and graph events may not be supported."""
        self.update()
        self.subscriptions.deliver_pending()
        self.update_subscriptions()
        self._update_qos_warnings()

    def _update_qos_warnings(self) -> None:
        self._qos.update(self.params.metadata.type, time.monotonic())

    def _on_matched(self, _event: Any) -> None:
        self.update_subscriptions()

    def _on_incompatible(self, _event: Any) -> None:
        self.update_subscriptions()
        self._update_qos_warnings()

    def _on_lost(self, event: Any) -> None:
        self._diagnostics.health.record_dropped(event.total_count_change)
        before = self.subscriptions.reliability
        self.update_subscriptions()
        if self.is_active and self.subscriptions.reliability == before:
            self._qos.on_lost(event.total_count, time.monotonic())
