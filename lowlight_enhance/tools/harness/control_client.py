"""Sends control requests to the node while frames flow: ``python -m ...tools.harness.control_client``."""

from __future__ import annotations

from typing import Any

import rclpy
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from std_srvs.srv import SetBool

from lowlight_enhance.tools.harness.harness import NODE
from lowlight_enhance.tools.harness.nodes import Action, Answer, main, obey

ANSWER_S = 20.0
TRANSITIONS = {
    "deactivate": Transition.TRANSITION_DEACTIVATE,
    "activate": Transition.TRANSITION_ACTIVATE,
}


class Pilot:
    """Sets parameters, switches the enhancement, deactivates and activates.

    Each answers ``refused``: why, or empty.
    """

    def __init__(self) -> None:
        self.node = rclpy.create_node("pilot")
        self._parameters: Any = self.node.create_client(SetParameters, f"{NODE}/set_parameters")
        self._enable: Any = self.node.create_client(SetBool, f"{NODE}/enable")
        self._state: Any = self.node.create_client(ChangeState, f"{NODE}/change_state")

    def actions(self) -> dict[str, Action]:
        """What it can be told to do."""
        return {"set": self.set, "enable": self.enable, "transition": self.transition}

    def set(self, **values: Any) -> Answer:
        """Set parameters."""
        wanted = [Parameter(name, value=value).to_parameter_msg() for name, value in values.items()]
        response = self._call(self._parameters, SetParameters.Request(parameters=wanted))
        if response is None:
            return _refusal("no answer")
        return _refusal("; ".join(result.reason for result in response.results if not result.successful))

    def enable(self, on: bool) -> Answer:
        """Enhance, or pass frames through."""
        response = self._call(self._enable, SetBool.Request(data=on))
        return _refusal("" if response is not None and response.success else "no answer")

    def transition(self, name: str) -> Answer:
        """Deactivate or activate."""
        request = ChangeState.Request(transition=Transition(id=TRANSITIONS[name]))
        response = self._call(self._state, request)
        if response is None:
            return _refusal("no answer")
        return _refusal("" if response.success else "the transition failed")

    def _call(self, client: Any, request: Any) -> Any:
        """The response, or None where none comes."""
        if not client.wait_for_service(ANSWER_S):
            return None
        future = client.call_async(request)
        rclpy.spin_until_future_complete(self.node, future, timeout_sec=ANSWER_S)
        return future.result() if future.done() else None


def _refusal(reason: str) -> Answer:
    return {"refused": reason}


if __name__ == "__main__":
    main("pilot", {"pilot": lambda: obey(Pilot())})
