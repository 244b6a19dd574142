"""config/sros2_policy.xml follows the schema of SROS 2, and allows exactly the topics and services of the node."""

from __future__ import annotations

import gc
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

POLICY = Path(__file__).parents[2] / "config/sros2_policy.xml"
DEADLINE_S = 180.0

NODE, NAMESPACE = "lowlight_enhance", "/"
RULES = {"topics": ("publish", "subscribe"), "services": ("reply", "request"), "actions": ("call", "execute")}
"""Elements of a profile and their attributes, as in sros2/policy/schemas/policy.xsd of policy version 0.2.0."""

OF_NEWER_ROS = {("reply", f"/{NODE}/get_type_description")}
"""Not available before Jazzy."""


def profile() -> ElementTree.Element:
    (found,) = ElementTree.parse(POLICY).getroot().iterfind("enclaves/enclave/profiles/profile")
    return found


def full_name(name: str) -> str:
    """Resolve a name as ``ros2 security create_permission`` does."""
    if name.startswith("/"):
        return name
    return NAMESPACE + (NODE + name[1:] if name.startswith("~") else name)


def allowed() -> set[tuple[str, str]]:
    """Return (rule, full name) of everything that the policy allows."""
    return {
        (rule, full_name(entry.text or ""))
        for element in profile()
        for rule, qualifier in element.attrib.items()
        for entry in element
        if qualifier == "ALLOW"
    }


def test_it_follows_the_schema() -> None:
    root = ElementTree.parse(POLICY).getroot()
    assert (root.tag, root.attrib) == ("policy", {"version": "0.2.0"})
    (enclave,) = root.iterfind("enclaves/enclave")
    assert enclave.attrib == {"path": f"/{NODE}"}
    assert profile().attrib == {"ns": NAMESPACE, "node": NODE}
    assert len([element.tag for element in root.iter()]) == 5 + len(profile()) + sum(len(e) for e in profile())
    for element in profile():
        assert element.attrib
        assert set(element.attrib) <= set(RULES[element.tag])
        assert set(element.attrib.values()) == {"ALLOW"}
        assert {entry.tag for entry in element} == {element.tag.removesuffix("s")}


def test_nothing_is_allowed_twice() -> None:
    entries = [
        (rule, full_name(entry.text or "")) for element in profile() for rule in element.attrib for entry in element
    ]
    assert sorted(entries) == sorted(set(entries))


def in_graph(node: Any) -> set[tuple[str, str]]:
    """Return (rule, full name) of every endpoint of the node."""
    kinds = {"publish": "publisher", "subscribe": "subscriber", "reply": "service", "request": "client"}
    return {
        (rule, name)
        for rule, kind in kinds.items()
        for name, _ in getattr(node, f"get_{kind}_names_and_types_by_node")(NODE, NAMESPACE)
    }


def once_complete(node: Any, without: str) -> set[tuple[str, str]]:
    """Wait until the node has every allowed endpoint but the subscription of ``without``, and return its endpoints."""
    wanted = allowed() - OF_NEWER_ROS - {("subscribe", without)}
    deadline = time.monotonic() + DEADLINE_S
    while not wanted <= (found := in_graph(node)):
        assert time.monotonic() < deadline, f"allowed, but missing in the graph: {sorted(wanted - found)}"
        time.sleep(0.05)
    return found


@pytest.fixture
def node(tiny_model: Path) -> Iterator[Any]:
    """Return an unconfigured node with every option that adds a topic."""
    rclpy = pytest.importorskip("rclpy", reason="needs ROS 2 (rclpy)")
    from rclpy.parameter import Parameter

    from lowlight_enhance.ros.node import EnhanceNode

    values = {
        "model": str(tiny_model),
        "malloc_tuning": False,
        "lazy": False,
        "metadata.type": "diagnostic_msgs/msg/DiagnosticArray",
        "output.compressed_format": "jpeg",
        "use_sim_time": True,
    }
    gc.collect()  # destroyed nodes of other tests, which have the same name, leave the ROS graph
    context = rclpy.Context()
    rclpy.init(context=context)
    node = EnhanceNode(context=context, parameter_overrides=[Parameter(name, value=v) for name, v in values.items()])
    yield node
    node.destroy_node()
    rclpy.try_shutdown(context=context)


def test_it_allows_the_endpoints_of_a_running_node_and_no_others(node: Any) -> None:
    from rclpy.parameter import Parameter

    from lowlight_enhance.core.metadata.driver_parameters import ParameterSource
    from lowlight_enhance.core.metadata.readers import MetadataSettings
    from lowlight_enhance.ros.camera_parameter_client import CameraParameterClient

    camera = CameraParameterClient(node, "/camera", ParameterSource(("exposure",)), MetadataSettings(), lambda _: None)
    node.start()
    raw = once_complete(node, without="/image_raw/compressed")
    node.trigger_deactivate()
    node.trigger_cleanup()
    assert node.set_parameters([Parameter("image_transport", value="compressed")])[0].successful
    node.start()
    compressed = once_complete(node, without="/image_raw")
    camera.close()
    assert (raw | compressed) - allowed() == set()
