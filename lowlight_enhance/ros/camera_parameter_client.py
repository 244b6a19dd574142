"""CameraParameterClient: read exposure and gain from the ROS parameters of the camera driver's node.

That node may start, stop and restart at any time.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable
from typing import Any

from rcl_interfaces.msg import ParameterEvent, ParameterType, ParameterValue
from rcl_interfaces.srv import GetParameters
from rclpy.clock import Clock, ClockType  # type: ignore[attr-defined]
from rclpy.exceptions import NameValidationException
from rclpy.node import Node
from rclpy.qos import qos_profile_parameter_events

from lowlight_enhance.core.errors import ConfigError, MetadataError
from lowlight_enhance.core.metadata.capture import UNKNOWN, CaptureMetadata
from lowlight_enhance.core.metadata.driver_parameters import (
    ParameterCache,
    ParameterSource,
    explain_unknown,
    read_parameters,
)
from lowlight_enhance.core.metadata.readers import MetadataSettings
from lowlight_enhance.ros.diagnostics import THROTTLE_S
from lowlight_enhance.ros.serialized import deserialized

PERIOD_S = 0.5
"""Period of repeated reports and of the search for the camera's node."""

ANSWER_TIMEOUT_S = 2.0
"""A request is sent again if there is no answer after this time."""

REFRESH_PERIOD_S = 5.0
"""Period at which all values are requested again, in case the event of a change or a quick restart was missed."""

EVENTS = "/parameter_events"

ABSENT = "it is not running, or has not answered yet"

_SCALARS = {
    ParameterType.PARAMETER_BOOL: "bool_value",
    ParameterType.PARAMETER_INTEGER: "integer_value",
    ParameterType.PARAMETER_DOUBLE: "double_value",
    ParameterType.PARAMETER_STRING: "string_value",
}


class CameraParameterClient:
    """Keeps the parameters of one camera node up to date.

    Their values are requested when the node appears, then updated by /parameter_events. No method blocks: all work is
    done in callbacks of the given node. Call it from one thread.

    Attributes:
        camera: resolved name of the camera's node.
        settings: units and limits of the values; may be replaced at any time.
        capture: exposure and gain by the latest values of the parameters.
        problem: why exposure or gain is unknown; empty if both are known.
    """

    def __init__(
        self,
        node: Node,
        camera: str,
        source: ParameterSource,
        settings: MetadataSettings,
        on_capture: Callable[[CaptureMetadata], None],
        period_s: float = PERIOD_S,
    ) -> None:
        """Create the service client, subscription and timer.

        Args:
            node: its executor runs the callbacks.
            camera: name of the camera's node, relative to the namespace of ``node`` unless it begins with a slash.
            source: which parameters are read, and their units.
            settings: for ``base_iso``, ``gain_unity`` and ``stale_under_auto_exposure``.
            on_capture: called with the capture when it changes, also to unknown, and every ``period_s`` while it is
                known: the parameters are valid as long as the camera's node runs.
            period_s: period of the reports; a node that appears or disappears is noticed within it.

        Raises:
            ConfigError: ``camera`` is not a valid node name.
        """
        self.camera = full_name(node, camera)
        self.settings = settings
        self.capture = UNKNOWN
        self.problem = ABSENT
        self._node, self._source, self._on_capture = node, source, on_capture
        self._values = ParameterCache(source.names)
        self._pending: list[Any] = []
        self._requested_s = -math.inf
        try:
            self._client: Any = node.create_client(GetParameters, f"{self.camera}/get_parameters")
        except (NameValidationException, ValueError) as error:
            raise ConfigError(f"camera node '{camera}': not a valid node name ({error})") from error
        # Serialized: the topic carries the events of all nodes, and large ones are dropped before they are parsed.
        self._subscription = node.create_subscription(
            ParameterEvent, EVENTS, self._on_event, qos_profile_parameter_events, raw=True
        )
        # A steady clock, because the node's clock stops with /clock if it uses simulated time.
        self._timer = node.create_timer(period_s, self._on_timer, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def close(self) -> None:
        """Stop; ``on_capture`` is not called any more."""
        self._cancel_requests()
        self._node.destroy_timer(self._timer)
        self._node.destroy_subscription(self._subscription)
        self._node.destroy_client(self._client)

    def _on_timer(self) -> None:
        if self._client.service_is_ready():
            age_s = time.monotonic() - self._requested_s
            is_waiting = self._pending and age_s < ANSWER_TIMEOUT_S
            if not is_waiting and (age_s > REFRESH_PERIOD_S or not self._values.is_complete):
                self._send_requests()
        else:
            self._cancel_requests()
            self._values.clear()
        self._report(repeat=True)

    def _send_requests(self) -> None:
        """Request each parameter separately, because a node that lacks one of several returns none of them."""
        self._cancel_requests()
        self._values.start_request()
        self._requested_s = time.monotonic()
        for name in self._values.names:
            future = self._client.call_async(GetParameters.Request(names=[name]))
            self._pending.append(future)
            future.add_done_callback(functools.partial(self._on_answer, name))

    def _cancel_requests(self) -> None:
        pending, self._pending = self._pending, []
        for future in pending:
            self._client.remove_pending_request(future)

    def _on_answer(self, name: str, future: Any) -> None:
        if future not in self._pending:
            return
        self._pending.remove(future)
        values = future.result().values if future.exception() is None else []
        self._values.set_response(name, python_value(values[0]) if values else None)
        self._report()

    def _on_event(self, data: bytes) -> None:
        try:
            event: ParameterEvent = deserialized(data, ParameterEvent, EVENTS)
        except MetadataError as error:
            self._node.get_logger().warning(str(error), throttle_duration_sec=THROTTLE_S)
            return
        if event.node != self.camera:
            return
        changes = {msg.name: python_value(msg.value) for msg in (*event.new_parameters, *event.changed_parameters)}
        changes.update({msg.name: None for msg in event.deleted_parameters})
        for name in changes.keys() & set(self._values.names):
            self._values.set_changed(name, changes[name])
        self._report()

    def _report(self, repeat: bool = False) -> None:
        before, self.capture = self.capture, self._read()
        if self.capture != before or (repeat and not self.capture.is_unknown):
            self._on_capture(self.capture)

    def _read(self) -> CaptureMetadata:
        """Convert the known values to a capture, and set ``problem``."""
        capture, problem = UNKNOWN, ABSENT
        if self._values.is_complete:
            try:
                capture = read_parameters(self._values.values, self._source, self.settings)
                problem = explain_unknown(self._values.values, self._source, self.settings)
            except MetadataError as error:
                problem = str(error)
        if problem != self.problem:
            self.problem = problem
            if problem:
                self._node.get_logger().warning(f"camera node {self.camera}: {problem}")
        return capture


def full_name(node: Node, name: str) -> str:
    """Return a node's name with its namespace, which is that of ``node`` unless ``name`` begins with a slash."""
    return name if name.startswith("/") else f"{node.get_namespace().rstrip('/')}/{name}"


def python_value(value: ParameterValue) -> bool | int | float | str | None:
    """Return a parameter's value: None if it is not set, the text "a list" for any array."""
    if value.type == ParameterType.PARAMETER_NOT_SET:
        return None
    field = _SCALARS.get(value.type)
    return getattr(value, field) if field else "a list"
