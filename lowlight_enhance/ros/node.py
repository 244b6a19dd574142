"""The live node: image, camera_info and capture metadata in, enhanced image and its camera_info out."""

from __future__ import annotations

import functools
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo, Image

from lowlight_enhance.core.enhancer import Enhancer, default_model
from lowlight_enhance.core.errors import ConfigError, LowlightError
from lowlight_enhance.core.health import ERROR, OK, Health
from lowlight_enhance.core.image_messages import fill_message, stamp_ns
from lowlight_enhance.core.stream import FrameStream
from lowlight_enhance.ros import params as node_params
from lowlight_enhance.ros.malloc import keep_image_buffers
from lowlight_enhance.ros.params import NodeParams
from lowlight_enhance.ros.topics import METADATA_DEPTH, agreed_reliability, message_class, sensor_qos, take_waiting

try:
    from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import PublisherEventCallbacks, SubscriptionEventCallbacks

THROTTLE_S = 5.0
"""A repeated complaint is logged at most this often, in seconds."""

SHA_DIGITS = 12
"""Of the model file's digest, in the log and in diagnostics."""

COMPARABLE_AGE_NS = 60 * 1_000_000_000
"""An image stamped further from now than this was stamped by another clock: its age says nothing."""

PERIOD_S = 1.0
"""Of diagnostics, and of a new look at the publishers' reliability."""


@dataclass(frozen=True)
class _Configured:
    """What exists from configure to cleanup."""

    params: NodeParams
    enhancer: Enhancer
    stream: FrameStream
    metadata_class: type | None
    image_publisher: Any
    info_publisher: Any


def _guarded(callback: Callable[..., None]) -> Callable[..., None]:
    """Let nothing escape from a callback: the executor would stop the node.

    A frame that cannot be enhanced is counted by the stream, and logged here; anything else is a bug, counted and
    logged with its traceback.
    """

    @functools.wraps(callback)
    def run(self: EnhanceNode, *args: Any) -> None:
        try:
            callback(self, *args)
        except LowlightError as error:
            self.get_logger().warning(str(error), throttle_duration_sec=THROTTLE_S)
        except Exception as error:
            if not self.context.ok():
                return
            self.health.failed(error)
            self.get_logger().error(f"internal error:\n{traceback.format_exc()}", throttle_duration_sec=THROTTLE_S)

    return run


class EnhanceNode(LifecycleNode):
    """Enhances one camera's images.

    Topics, relative and to be remapped: ``image_raw``, ``camera_info``, ``metadata`` in; ``image_enhanced``,
    ``enhanced/camera_info`` and ``/diagnostics`` out. Parameters: ``NodeParams``.
    """

    def __init__(self, node_name: str = "lowlight_enhance", **kwargs: Any) -> None:
        """Declare the parameters; nothing is loaded or subscribed before configure and activate.

        Raises:
            ConfigError: a parameter's value is not allowed.
        """
        super().__init__(node_name, **kwargs)
        node_params.declare(self)
        self.startup_params = node_params.read(self)
        self._warn_of_unknown_parameters()
        self.add_on_set_parameters_callback(self._on_parameters)
        if self.startup_params.malloc_tuning:
            keep_image_buffers()
        self.health = Health()
        self._phase, self._refusal = "unconfigured", ""
        self._configured: _Configured | None = None
        self._subscriptions_in: list[Subscription[Any]] = []
        self._image_subscription: Subscription[Any] | None = None
        self._reliability = ReliabilityPolicy.BEST_EFFORT
        self._camera_frame = ""
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 1)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = self.create_timer(PERIOD_S, self._every_second, clock=steady)

    def start(self) -> None:
        """Configure and activate; a refusal has been logged and leaves the node where a manager can try again."""
        if self.trigger_configure() == TransitionCallbackReturn.SUCCESS:
            self.trigger_activate()

    # Transitions

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load and warm the model, advertise the outputs; refused with the reason logged where that fails."""
        return self._attempt(self._configure, super().on_configure, state, "inactive")

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe: frames flow."""
        return self._attempt(self._subscribe, super().on_activate, state, "active")

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe: no frame is taken any more; the model stays loaded."""
        return self._attempt(self._unsubscribe, super().on_deactivate, state, "inactive")

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free the model and the outputs."""
        return self._attempt(self._release, super().on_cleanup, state, "unconfigured")

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free everything, from whatever state."""
        return self._attempt(self._release, super().on_shutdown, state, "finalized")

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free everything after an internal error in a transition; the node can be configured again."""
        refusal = self._refusal
        result = self._attempt(self._release, super().on_error, state, "unconfigured")
        self._refusal = refusal
        return result

    def _attempt(
        self,
        action: Callable[[], None],
        managed: Callable[[LifecycleState], TransitionCallbackReturn],
        state: LifecycleState,
        phase: str,
    ) -> TransitionCallbackReturn:
        """Run a transition; rclpy itself swallows what it raises.

        Returns:
            What ``managed`` returns (the lifecycle publishers' part), with the node in ``phase``; FAILURE for an error
            that the user can mend (the state stays as it was), ERROR for a bug.
        """
        try:
            action()
            result = managed(state)
        except LowlightError as error:
            self._refusal = str(error)
            self.get_logger().error(self._refusal)
            return TransitionCallbackReturn.FAILURE
        except Exception:
            if self.context.ok():
                self._refusal = "internal error, see the log"
                self.get_logger().error(f"internal error in a transition:\n{traceback.format_exc()}")
            return TransitionCallbackReturn.ERROR
        if result == TransitionCallbackReturn.SUCCESS:
            self._phase, self._refusal = phase, ""
        return result

    def _configure(self) -> None:
        params = node_params.read(self)
        metadata_class = message_class(params.metadata_type) if params.metadata_type else None
        enhancer = Enhancer(
            params.model_path or default_model(),
            providers=params.providers,
            threads=params.threads or None,
            working_size=None if params.working_size < 0 else params.working_size,
            output_resolution=params.output_resolution,  # type: ignore[arg-type]
        )
        enhancer.warm_up()
        self.health = Health()
        stream = FrameStream(enhancer, params.stream_config(), self.health)
        qos = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
        events = PublisherEventCallbacks(incompatible_qos=self._on_incompatible_subscriber)
        self._configured = _Configured(
            params,
            enhancer,
            stream,
            metadata_class,
            self.create_lifecycle_publisher(Image, "image_enhanced", qos, event_callbacks=events),
            self.create_lifecycle_publisher(CameraInfo, "enhanced/camera_info", qos, event_callbacks=events),
        )
        self.get_logger().info(
            f"model {enhancer.path} (sha256 {enhancer.sha256[:SHA_DIGITS]}) on {enhancer.providers[0]}, "
            f"working size {enhancer.working_size or 'full'}"
        )

    def _subscribe(self) -> None:
        """Metadata, then camera_info, then the image: ready subscriptions are served in the order of creation."""
        assert self._configured is not None
        small = sensor_qos(METADATA_DEPTH, ReliabilityPolicy.BEST_EFFORT)
        try:
            if self._configured.metadata_class is not None:
                self._subscriptions_in.append(
                    self.create_subscription(self._configured.metadata_class, "metadata", self._on_metadata, small)
                )
            self._subscriptions_in.append(
                self.create_subscription(CameraInfo, "camera_info", self._on_camera_info, small)
            )
            self._subscribe_image(self._wanted_reliability())
        except Exception:
            self._unsubscribe()
            raise
        self.get_logger().info(
            f"enhancing {self.resolve_topic_name('image_raw')} into {self.resolve_topic_name('image_enhanced')}"
        )

    def _subscribe_image(self, reliability: ReliabilityPolicy) -> None:
        if self._image_subscription is not None:
            self.destroy_subscription(self._image_subscription)
        self._reliability = reliability
        self._image_subscription = self.create_subscription(
            Image,
            "image_raw",
            self._on_image,
            sensor_qos(1, reliability),
            event_callbacks=SubscriptionEventCallbacks(
                incompatible_qos=self._on_incompatible_publisher, message_lost=self._on_message_lost
            ),
        )

    def _unsubscribe(self) -> None:
        for subscription in self._subscriptions_in:
            self.destroy_subscription(subscription)
        self._subscriptions_in.clear()
        if self._image_subscription is not None:
            self.destroy_subscription(self._image_subscription)
            self._image_subscription = None

    def _release(self) -> None:
        self._unsubscribe()
        configured, self._configured = self._configured, None
        if configured is not None:
            self.destroy_lifecycle_publisher(configured.image_publisher)
            self.destroy_lifecycle_publisher(configured.info_publisher)

    # Messages

    @_guarded
    def _on_metadata(self, msg: Any) -> None:
        if self._configured is not None:
            self._configured.stream.add_metadata(self._configured.params.metadata_type, msg)

    @_guarded
    def _on_camera_info(self, msg: CameraInfo) -> None:
        if self._configured is not None:
            self._configured.stream.add_camera_info(msg)

    @_guarded
    def _on_image(self, msg: Image) -> None:
        if self._configured is None:
            return
        start_ns = time.perf_counter_ns()
        for subscription in self._subscriptions_in:
            take_waiting(subscription)
        self._camera_frame = msg.header.frame_id
        frame = self._configured.stream.process(msg, time.monotonic_ns())
        out = Image()
        fill_message(out, frame.rgb, frame.encoding, frame.header)
        self._configured.image_publisher.publish(out)
        if frame.camera_info is not None:
            self._configured.info_publisher.publish(frame.camera_info)
        age_ns = self._now_ns() - stamp_ns(frame.header)
        processing_ns = time.perf_counter_ns() - start_ns
        self.health.enhanced(age_ns if abs(age_ns) < COMPARABLE_AGE_NS else None, processing_ns)

    def _now_ns(self) -> int:
        """The node's clock: the bag's with use_sim_time."""
        return int(self.get_clock().now().nanoseconds)

    # Quality of service

    def _wanted_reliability(self) -> ReliabilityPolicy:
        assert self._configured is not None
        choice = self._configured.params.image_reliability
        if choice != "auto":
            return ReliabilityPolicy.RELIABLE if choice == "reliable" else ReliabilityPolicy.BEST_EFFORT
        offered = [p.qos_profile.reliability for p in self.get_publishers_info_by_topic("image_raw")]
        return agreed_reliability(offered, self._reliability)

    def _follow_publishers(self) -> bool:
        """Subscribe the image again where its publishers now offer another reliability. True where they do."""
        wanted = self._wanted_reliability()
        if wanted == self._reliability:
            return False
        self._subscribe_image(wanted)
        self.get_logger().info(f"image subscription is now {wanted.name}, as its publishers offer")
        return True

    @_guarded
    def _on_incompatible_publisher(self, _event: Any) -> None:
        if self._phase != "active" or self._follow_publishers():
            return
        self.get_logger().warning(
            f"a publisher of {self.resolve_topic_name('image_raw')} offers a quality of service that this "
            "subscription does not accept, so its images do not arrive: set the parameter image_reliability to "
            "'auto' or 'best_effort', or the publisher to reliable",
            throttle_duration_sec=60.0,
        )

    @_guarded
    def _on_incompatible_subscriber(self, _event: Any) -> None:
        self.get_logger().warning(
            f"a subscriber of {self.resolve_topic_name('image_enhanced')} or its camera_info asks for a quality of "
            "service that is not offered, so it gets nothing: it must ask for durability volatile (reliability may be "
            "either)",
            throttle_duration_sec=60.0,
        )

    @_guarded
    def _on_message_lost(self, event: Any) -> None:
        self.health.dropped(event.total_count_change)
        if self._phase != "active" or self._follow_publishers():
            return
        self.get_logger().warning(
            f"the middleware has lost {event.total_count} images before they reached this node: start camera driver "
            "and node with the Fast DDS profile config/fastdds.xml of this package, or make the driver reliable",
            throttle_duration_sec=60.0,
        )

    # Parameters

    def _on_parameters(self, changes: Sequence[Parameter[Any]]) -> SetParametersResult:
        """Accept allowed values while unconfigured, so that what is set is what runs."""
        ours = {change.name: change.value for change in changes if change.name in node_params.NAMES}
        try:
            if ours and self._phase != "unconfigured":
                raise ConfigError(
                    f"{', '.join(ours)}: read when the node configures, and it is {self._phase}; "
                    "deactivate and clean up first"
                )
            NodeParams.of(ours)
        except ConfigError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def _warn_of_unknown_parameters(self) -> None:
        """ROS ignores a parameter that nobody declares; a misspelt one deserves a word."""
        for name in getattr(self, "_parameter_overrides", {}):
            hint = "" if self.has_parameter(name) else node_params.nearest(name)
            if hint:
                self.get_logger().warning(f"unknown parameter '{name}' is ignored{hint}")

    # Diagnostics

    @_guarded
    def _every_second(self) -> None:
        if self._phase == "active":
            self._follow_publishers()
        status = self._status()
        array = DiagnosticArray(status=[status])
        array.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(array)

    def _status(self) -> DiagnosticStatus:
        report = self.health.report(time.monotonic_ns())
        level, message, values = report.level, report.message, report.values
        if self._phase != "active":
            level = ERROR if self._refusal else OK
            message = self._refusal or f"{self._phase}: no image is taken"
        if self._configured is not None:
            values = {**values, **self._model_values(self._configured.enhancer)}
        return DiagnosticStatus(
            level=bytes([level]),
            name=f"{self.get_fully_qualified_name()}: enhancement",
            message=message,
            hardware_id=self._camera_frame or "no image yet",
            values=[KeyValue(key=key, value=value) for key, value in values.items()],
        )

    def _model_values(self, enhancer: Enhancer) -> dict[str, str]:
        return {
            "model": enhancer.name,
            "model_sha256": enhancer.sha256[:SHA_DIGITS],
            "provider": enhancer.providers[0],
            "working_size": str(enhancer.working_size),
            "image_reliability": self._reliability.name.lower(),
        }


def main(args: list[str] | None = None) -> int:
    """Run the node until SIGINT or SIGTERM.

    Returns:
        Exit status: 0 after a shutdown, 2 where a parameter's value is not allowed.
    """
    rclpy.init(args=args)
    node: EnhanceNode | None = None
    try:
        executor = SingleThreadedExecutor()
        node = EnhanceNode()
        if node.startup_params.autostart:
            node.start()
        rclpy.spin(node, executor)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except ConfigError as error:
        rclpy.logging.get_logger("lowlight_enhance").fatal(str(error))
        return 2
    except Exception:
        if rclpy.ok():
            raise
    finally:
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
