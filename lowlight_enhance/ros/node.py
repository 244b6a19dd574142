"""The live node: image, camera_info and capture metadata in, enhanced image and its camera_info out."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType  # type: ignore[attr-defined]
from rclpy.exceptions import NameValidationException
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.validate_full_topic_name import validate_full_topic_name
from std_srvs.srv import SetBool

from lowlight_enhance.core.errors import ConfigError, LowlightError
from lowlight_enhance.core.health import ERROR, OK
from lowlight_enhance.core.malloc import keep_image_buffers
from lowlight_enhance.ros import parameter_declaration, topic_names
from lowlight_enhance.ros.camera_parameter_client import full_name
from lowlight_enhance.ros.diagnostics import Reporter
from lowlight_enhance.ros.frame_handler import Finding, Flight
from lowlight_enhance.ros.messages import message_class
from lowlight_enhance.ros.model_loader import read_file
from lowlight_enhance.ros.parameters import MODEL_PARAMETERS, SPECS, NodeParameters, flat_values
from lowlight_enhance.ros.qos import Overrides

PERIOD_S = 1.0
"""Of diagnostics, and of a new look at publishers, listeners and parameters."""


class EnhanceNode(LifecycleNode):
    """Enhances one camera's images.

    Topics and service: ``names``. Parameters: ``NodeParameters``.
    """

    def __init__(self, node_name: str = "lowlight_enhance", **kwargs: Any) -> None:
        """Declare the parameters; nothing is loaded or subscribed before configure and activate.

        Raises:
            ConfigError: a parameter's value is not allowed.
        """
        self.flight: Flight | None = None
        super().__init__(node_name, **kwargs)
        parameter_declaration.declare(self)
        self.startup_params = parameter_declaration.read(self)
        self._overrides = Overrides(parameter_declaration.given(self), topic_names.ends(self.resolve_topic_name))
        for sentence in [*parameter_declaration.unknown(self), *self._overrides.without_effect()]:
            self.get_logger().warning(sentence)
        self.add_on_set_parameters_callback(self._on_parameters)
        if self.startup_params.malloc_tuning:
            keep_image_buffers()
        self.reporter = Reporter(self)
        self._phase, self._refusal, self._enabled = "unconfigured", "", True
        self._diagnostics = self.create_publisher(DiagnosticArray, topic_names.DIAGNOSTICS, 1)
        self._enable_service = self.create_service(SetBool, topic_names.ENABLE, self._on_enable)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = self.create_timer(PERIOD_S, self.reporter.guard(self._every_second), clock=steady)

    def start(self) -> None:
        """Configure and activate; a refusal has been logged and leaves the node where a manager can try again."""
        if self.trigger_configure() == TransitionCallbackReturn.SUCCESS:
            self.trigger_activate()

    def destroy_node(self) -> None:
        """Free the model, then everything of ROS."""
        self._release()
        super().destroy_node()

    # Transitions

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load and warm the model, advertise the outputs; refused with the reason logged where that fails."""
        return self._attempt(self._configure, super().on_configure, state, "inactive")

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe: frames flow."""
        return self._attempt(self._activate, super().on_activate, state, "active")

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe and end the network's threads; what the model file held stays in memory."""
        return self._attempt(self._deactivate, super().on_deactivate, state, "inactive")

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
        self.reporter.reset()
        params = parameter_declaration.read(self)
        self._check_names(params)
        self.flight = Flight(self, params, self._overrides, self.reporter)
        self.flight.enabled = self._enabled
        self.get_logger().info(self.flight.model.describe())

    def _activate(self) -> None:
        assert self.flight is not None
        self.flight.activate()
        self.get_logger().info(
            f"enhancing {self.resolve_topic_name(topic_names.IMAGE)} "
            f"into {self.resolve_topic_name(topic_names.ENHANCED)}"
        )

    def _deactivate(self) -> None:
        assert self.flight is not None
        self.flight.deactivate()

    def _release(self) -> None:
        flight, self.flight = self.flight, None
        if flight is not None:
            flight.close()

    # Requests

    def _on_enable(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        self._enabled = request.data
        if self.flight is not None:
            self.flight.enabled = request.data
        response.success = True
        response.message = "enhancing" if request.data else "images pass through untouched"
        self.get_logger().info(response.message)
        return response

    def _on_parameters(self, changes: Sequence[Parameter[Any]]) -> SetParametersResult:
        """The one place where changes are allowed or refused; they apply between frames."""
        ours = {change.name: change.value for change in changes if change.name in SPECS}
        if not ours or (self.flight is not None and self.flight.is_reverting):
            return SetParametersResult(successful=True)
        try:
            self._accept(ours)
        except LowlightError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def _accept(self, ours: dict[str, Any]) -> None:
        wanted = parameter_declaration.read(self, ours)
        if self.flight is None:
            return
        before = parameter_declaration.read(self)
        present = dict(flat_values(before))
        changed = [name for name, value in flat_values(wanted) if value != present[name]]
        late = [name for name in changed if SPECS[name].changeable != "always"]
        if late:
            raise ConfigError(
                f"{', '.join(late)}: read when the node configures, and it is {self._phase}; deactivate and clean up "
                "first"
            )
        self._check_names(wanted)
        loads = "model" in ours or any(name in MODEL_PARAMETERS for name in changed)
        try:
            self.flight.change(wanted, read_file(wanted) if loads else None)
        except LowlightError as error:
            self.flight.refusal = str(error)
            raise

    def _check_names(self, params: NodeParameters) -> None:
        """Find out what only a node can: whether a type is installed, and a node can have such a name."""
        if params.metadata.type:
            message_class(params.metadata.type)
        if params.camera.node:
            service = f"{full_name(self, params.camera.node)}/get_parameters"
            try:
                validate_full_topic_name(service, is_service=True)
            except NameValidationException as error:
                raise ConfigError(f"parameter 'camera.node': no node can have this name ({error})") from error

    # Diagnostics

    def _every_second(self) -> None:
        if self.flight is not None:
            self.flight.keep_up()
        array = DiagnosticArray(status=[self.status()])
        array.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(array)

    def status(self) -> DiagnosticStatus:
        """As grave as the gravest finding, whose sentence comes first."""
        report = self.reporter.health.report(time.monotonic_ns())
        findings: list[Finding] = []
        values = {**report.values, "decode_errors": report.values.get("errors.ImageError", "0")}
        if self._phase != "active":
            findings = [(ERROR, self._refusal) if self._refusal else (OK, f"{self._phase}: no image is taken")]
        elif self.flight is not None and self.flight.is_idle:
            findings = [(OK, "idle: nobody listens, so no image is taken")]
        else:
            findings = [(report.level, report.message)]
        if self.flight is not None:
            findings += self.flight.findings()
            values = {**values, **self.flight.values()}
        findings.sort(key=lambda finding: -finding[0])
        return DiagnosticStatus(
            level=bytes([findings[0][0]]),
            name=f"{self.get_fully_qualified_name()}: enhancement",
            message="; ".join(sentence for _, sentence in findings),
            hardware_id=(self.flight.camera_frame if self.flight is not None else "") or "no image yet",
            values=[KeyValue(key=key, value=value) for key, value in values.items()],
        )


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
