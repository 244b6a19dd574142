"""Exposure and gain kept current out of the ROS parameters of a camera's node, which may come and go."""

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
from lowlight_enhance.core.metadata.driver_parameters import ParameterSource, ParameterValues, capture_of, shortcomings
from lowlight_enhance.core.metadata.readers import MetadataSettings

PERIOD_S = 0.5
"""How often the capture is told again and the camera's node looked for."""

ANSWER_S = 2.0
"""A question that has gone unanswered for this long is asked again."""

REFRESH_S = 5.0
"""How often all is asked for anew, should news of a change, or of a quick restart, have been lost."""

ABSENT = "it is not there, or has not answered yet"

_SCALARS = {
    ParameterType.PARAMETER_BOOL: "bool_value",
    ParameterType.PARAMETER_INTEGER: "integer_value",
    ParameterType.PARAMETER_DOUBLE: "double_value",
    ParameterType.PARAMETER_STRING: "string_value",
}


class CameraParameterClient:
    """Watches the parameters of one camera node.

    They are asked for whenever the node is there and not yet known, then kept current by /parameter_events. No call
    waits for anything: all happens in callbacks of the node that this was given. Not for several threads at once.
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
        """Begin to watch.

        Args:
            node: whose executor serves the callbacks.
            camera: name of the camera's node, relative to the namespace of ``node`` unless it begins with a slash.
            source: which parameters count, and their units.
            settings: for ``base_iso``, ``gain_unity`` and ``stale_under_auto_exposure``; may be replaced any time.
            on_capture: told of the capture each time it changes, also to unknown, and every ``period_s`` while it is
                known: the parameters hold for as long as the camera's node is there.
            period_s: also how soon a node that comes or goes is noticed.

        Raises:
            ConfigError: ``camera`` cannot be a node's name.
        """
        self.camera = full_name(node, camera)
        self.settings = settings
        self.capture = UNKNOWN
        """What the parameters say now."""
        self.problem = ABSENT
        """Why exposure or gain is not known, for people; empty where both are."""
        self._node, self._source, self._on_capture = node, source, on_capture
        self._values = ParameterValues(source.names)
        self._pending: list[Any] = []
        self._asked_s = -math.inf
        try:
            self._client: Any = node.create_client(GetParameters, f"{self.camera}/get_parameters")
        except (NameValidationException, ValueError) as error:
            raise ConfigError(f"camera node '{camera}': no node can have this name ({error})") from error
        self._subscription = node.create_subscription(
            ParameterEvent, "/parameter_events", self._on_event, qos_profile_parameter_events
        )
        self._timer = node.create_timer(period_s, self._on_time, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def close(self) -> None:
        """Stop watching; nothing more is told."""
        self._withdraw()
        self._node.destroy_timer(self._timer)
        self._node.destroy_subscription(self._subscription)
        self._node.destroy_client(self._client)

    def _on_time(self) -> None:
        if self._client.service_is_ready():
            age_s = time.monotonic() - self._asked_s
            waits = self._pending and age_s < ANSWER_S
            if not waits and (age_s > REFRESH_S or not self._values.is_complete):
                self._ask()
        else:
            self._withdraw()
            self._values.forget()
        self._tell(again=True)

    def _ask(self) -> None:
        """Ask for each parameter by itself: a node answers with nothing at all where it lacks one of several."""
        self._withdraw()
        self._values.ask()
        self._asked_s = time.monotonic()
        for name in self._values.names:
            future = self._client.call_async(GetParameters.Request(names=[name]))
            self._pending.append(future)
            future.add_done_callback(functools.partial(self._on_answer, name))

    def _withdraw(self) -> None:
        pending, self._pending = self._pending, []
        for future in pending:
            self._client.remove_pending_request(future)

    def _on_answer(self, name: str, future: Any) -> None:
        if future not in self._pending:
            return
        self._pending.remove(future)
        values = future.result().values if future.exception() is None else []
        self._values.answer(name, python_value(values[0]) if values else None)
        self._tell()

    def _on_event(self, event: ParameterEvent) -> None:
        if event.node != self.camera:
            return
        changes = {msg.name: python_value(msg.value) for msg in (*event.new_parameters, *event.changed_parameters)}
        changes.update({msg.name: None for msg in event.deleted_parameters})
        for name in changes.keys() & set(self._values.names):
            self._values.change(name, changes[name])
        self._tell()

    def _tell(self, again: bool = False) -> None:
        before, self.capture = self.capture, self._read()
        if self.capture != before or (again and not self.capture.is_unknown):
            self._on_capture(self.capture)

    def _read(self) -> CaptureMetadata:
        """What is known of the values says this; also finds ``problem``."""
        capture, problem = UNKNOWN, ABSENT
        if self._values.is_complete:
            try:
                capture = capture_of(self._values.values, self._source, self.settings)
                problem = shortcomings(self._values.values, self._source, self.settings)
            except MetadataError as error:
                problem = str(error)
        if problem != self.problem:
            self.problem = problem
            if problem:
                self._node.get_logger().warning(f"camera node {self.camera}: {problem}")
        return capture


def full_name(node: Node, name: str) -> str:
    """A node's name with its namespace, which is that of ``node`` unless ``name`` begins with a slash."""
    return name if name.startswith("/") else f"{node.get_namespace().rstrip('/')}/{name}"


def python_value(value: ParameterValue) -> bool | int | float | str | None:
    """A parameter's value; None where it is not set, text that is no number where it is a list."""
    if value.type == ParameterType.PARAMETER_NOT_SET:
        return None
    field = _SCALARS.get(value.type)
    return getattr(value, field) if field else "a list"
