"""EnhanceNode: the lifecycle node that subscribes to dark images and publishes enhanced ones."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType  # type: ignore[attr-defined]
from rclpy.exceptions import NameValidationException
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.validate_full_topic_name import validate_full_topic_name
from std_srvs.srv import SetBool

from lowlight_enhance.core.errors import ConfigError, LowlightError
from lowlight_enhance.core.malloc import reuse_image_buffers
from lowlight_enhance.ros import parameter_declaration, topic_names
from lowlight_enhance.ros.camera_parameter_client import full_name
from lowlight_enhance.ros.diagnostics import Diagnostics
from lowlight_enhance.ros.frame_handler import FrameHandler
from lowlight_enhance.ros.message_types import message_class
from lowlight_enhance.ros.parameters import SPECS, NodeParameters, flat_values
from lowlight_enhance.ros.qos import QosOverrides
from lowlight_enhance.ros.status import node_status

PERIOD_S = 1.0
"""Period of /diagnostics and of the handler's timer."""


class EnhanceNode(LifecycleNode):
    """Enhances the images of one camera. ``topic_names`` has its topics, ``NodeParameters`` its parameters.

    Attributes:
        startup_params: the parameters that the node was started with.
        handler: model, pipeline, subscriptions and publishers, from configure to cleanup; else None.
        diagnostics: counters and warnings.
    """

    def __init__(self, node_name: str = "lowlight_enhance", **kwargs: Any) -> None:
        """Declare the parameters. Nothing is loaded or subscribed before configure and activate.

        Args:
            node_name: name of the node.
            kwargs: passed to ``rclpy.lifecycle.LifecycleNode``.

        Raises:
            ConfigError: the value of a parameter is not allowed.
        """
        self.handler: FrameHandler | None = None
        super().__init__(node_name, **kwargs)
        parameter_declaration.declare(self)
        self.startup_params = parameter_declaration.read(self)
        self._overrides = QosOverrides(
            parameter_declaration.startup_values(self), topic_names.endpoints(self.resolve_topic_name)
        )
        for text in [*parameter_declaration.unknown(self), *self._overrides.warnings()]:
            self.get_logger().warning(text)
        self.add_on_set_parameters_callback(self._on_set_parameters)
        if self.startup_params.malloc_tuning:
            reuse_image_buffers()
        self.diagnostics = Diagnostics(self)
        self._state, self._state_error, self._enabled = "unconfigured", "", True
        # A plain publisher, because diagnostics are published in every lifecycle state.
        self._diagnostics_publisher = self.create_publisher(DiagnosticArray, topic_names.DIAGNOSTICS, 1)
        self._enable_service = self.create_service(SetBool, topic_names.ENABLE, self._on_enable)
        # With use_sim_time the node's own clock stops when /clock does, and with it every timer on that clock.
        steady_clock = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = self.create_timer(PERIOD_S, self.diagnostics.guarded(self._on_timer), clock=steady_clock)

    def start(self) -> None:
        """Configure and activate. If either fails, the reason is logged and a lifecycle manager can try again."""
        if self.trigger_configure() == TransitionCallbackReturn.SUCCESS:
            self.trigger_activate()

    def destroy_node(self) -> None:
        """Free the model, then destroy the node."""
        self._release()
        super().destroy_node()

    def status(self) -> DiagnosticStatus:
        """Return the status that is published on /diagnostics."""
        name = self.get_fully_qualified_name()
        return node_status(name, self._state, self._state_error, self.diagnostics, self.handler)

    # Lifecycle transitions

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load and warm up the model, create the publishers."""
        return self._transition(self._configure, super().on_configure, state, "inactive")

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe; frames are enhanced from now on."""
        return self._transition(self._activate, super().on_activate, state, "active")

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe and end the threads of the network. The content of the model file stays in memory."""
        return self._transition(self._deactivate, super().on_deactivate, state, "inactive")

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free the model and the publishers."""
        return self._transition(self._release, super().on_cleanup, state, "unconfigured")

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free everything, from any state."""
        return self._transition(self._release, super().on_shutdown, state, "finalized")

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free everything after an internal error in a transition; the node can be configured again."""
        error = self._state_error
        result = self._transition(self._release, super().on_error, state, "unconfigured")
        self._state_error = error
        return result

    def _transition(
        self,
        action: Callable[[], None],
        managed: Callable[[LifecycleState], TransitionCallbackReturn],
        state: LifecycleState,
        label: str,
    ) -> TransitionCallbackReturn:
        """Run a transition. rclpy swallows the exceptions of transition callbacks, so they are logged here.

        Returns:
            The result of ``managed``, which is rclpy's transition of the lifecycle publishers, with the node in state
            ``label``; FAILURE for an error that the user can fix (the state is unchanged), ERROR for a bug.
        """
        try:
            action()
            result = managed(state)
        except LowlightError as error:
            self._state_error = str(error)
            self.get_logger().error(self._state_error)
            return TransitionCallbackReturn.FAILURE
        except Exception:
            if self.context.ok():
                self._state_error = "internal error, see the log"
                self.get_logger().error(f"internal error in a transition:\n{traceback.format_exc()}")
            return TransitionCallbackReturn.ERROR
        if result == TransitionCallbackReturn.SUCCESS:
            self._state, self._state_error = label, ""
        return result

    def _configure(self) -> None:
        self.diagnostics.reset()
        params = parameter_declaration.read(self)
        self._check_names(params)
        self.handler = FrameHandler(self, params, self._overrides, self.diagnostics, self._write_back)
        self.handler.pipeline.enabled = self._enabled
        self.get_logger().info(self.handler.model.describe())

    def _activate(self) -> None:
        assert self.handler is not None
        self.handler.activate()
        image, enhanced = map(self.resolve_topic_name, (topic_names.IMAGE, topic_names.ENHANCED))
        self.get_logger().info(f"enhances {image}, publishes {enhanced}")

    def _deactivate(self) -> None:
        assert self.handler is not None
        self.handler.deactivate()

    def _release(self) -> None:
        handler, self.handler = self.handler, None
        if handler is not None:
            handler.close()

    # Requests

    def _on_enable(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        self._enabled = request.data
        if self.handler is not None:
            self.handler.pipeline.enabled = request.data
        response.success = True
        response.message = (
            f"enhancement is {'enabled' if request.data else 'disabled: images are published unchanged'}"
        )
        self.get_logger().info(response.message)
        return response

    def _on_set_parameters(self, changes: Sequence[Parameter[Any]]) -> SetParametersResult:
        """Validate a change and hand it to the handler, which applies it before the next frame.

        Any exception rejects the change: rclpy would let it end the node.
        """
        own_changes = {change.name: change.value for change in changes if change.name in SPECS}
        try:
            if own_changes:
                self._request(own_changes)
        except LowlightError as error:
            return SetParametersResult(successful=False, reason=str(error))
        except Exception as error:
            self.get_logger().error(f"internal error in a parameter change:\n{traceback.format_exc()}")
            return SetParametersResult(successful=False, reason=f"internal error: {type(error).__name__}: {error}")
        return SetParametersResult(successful=True)

    def _request(self, changes: Mapping[str, Any]) -> None:
        requested = parameter_declaration.read(self, changes)
        if self.handler is None:
            return
        present = dict(flat_values(parameter_declaration.read(self)))
        changed = [name for name, value in flat_values(requested) if value != present[name]]
        fixed = [name for name in changed if SPECS[name].changeable != "always"]
        if fixed:
            raise ConfigError(
                f"{', '.join(fixed)}: can be set only while the node is unconfigured, and it is {self._state}; "
                "deactivate and clean up first"
            )
        self._check_names(requested)
        # The file is read again even if its name is the same: it may have been replaced.
        self.handler.request(requested, reload_model="model" in changes)

    def _write_back(self, values: Mapping[str, Any]) -> None:
        """Set parameters to the values in use after a model was rejected. Nothing else writes parameters.

        The set-parameters callback is removed meanwhile: it would reload the model that is in use.
        """
        self.remove_on_set_parameters_callback(self._on_set_parameters)
        try:
            self.set_parameters(
                [Parameter(name, value=list(v) if isinstance(v, tuple) else v) for name, v in values.items()]
            )
        finally:
            self.add_on_set_parameters_callback(self._on_set_parameters)

    def _check_names(self, params: NodeParameters) -> None:
        """Check what ``NodeParameters`` cannot check without ROS: message type and name of the camera's node."""
        if params.metadata.type:
            message_class(params.metadata.type)
        if params.camera.node:
            service = f"{full_name(self, params.camera.node)}/get_parameters"
            try:
                validate_full_topic_name(service, is_service=True)
            except NameValidationException as error:
                raise ConfigError(f"parameter 'camera.node': not a valid node name ({error})") from error

    def _on_timer(self) -> None:
        if self.handler is not None:
            self.handler.on_timer()
        array = DiagnosticArray(status=[self.status()])
        array.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics_publisher.publish(array)
