"""The harness: what it makes of the children's messages, and how it starts the node."""

from __future__ import annotations

from pathlib import Path

import pytest

from lowlight_enhance.core.metadata.capture import CaptureMetadata
from lowlight_enhance.core.metadata.readers import READERS, MetadataSettings
from lowlight_enhance.tools.harness.harness import (
    CAMERA_TOPICS,
    METADATA_TYPE,
    StreamLog,
    child_commands,
    counter_increase,
    request,
)
from lowlight_enhance.tools.harness.processes import ProcessError, ProcessGroup


def test_received_frames_are_matched_with_sent_frames_by_stamp() -> None:
    log = StreamLog()
    log.record({"type": "frame", "stamp_ns": 5, "received_ns": 50})
    log.record({"type": "answer", "sent": [[5, 0], [6, 1], [7, 2]]})
    log.record({"type": "frame", "stamp_ns": 7, "received_ns": 70})
    log.record({"type": "frame", "stamp_ns": 8, "received_ns": 80})
    assert log.arrived() == {5: 0, 7: 2}
    assert log.latencies_ms() == pytest.approx((45e-6, 63e-6))
    assert log.missing() == {6}


def test_diagnostics_of_other_nodes_are_ignored() -> None:
    log = StreamLog()
    log.record({"type": "diagnostics", "name": "another", "values": {"enhanced": "1000"}})
    log.record(
        {
            "type": "diagnostics",
            "name": "/n: enhancement",
            "values": {"enhanced": "12", "metadata.exact": "11", "model": "x"},
        }
    )
    log.record({"type": "diagnostics", "name": "another", "values": {"enhanced": "1000"}})
    assert log.counters == {"enhanced": 12, "metadata.exact": 11}
    assert counter_increase({"enhanced": 2}, log.counters, "enhanced") == 10
    assert counter_increase({"enhanced": 2}, log.counters, "metadata.exact") == 11
    assert counter_increase({}, log.counters, "enhanced") is None
    assert counter_increase({"enhanced": 2}, {}, "enhanced") is None


@pytest.mark.parametrize("capture", [CaptureMetadata(1600.0, 1.0 / 60.0), CaptureMetadata(3200.0, 1.0 / 40.0)])
def test_the_cameras_metadata_is_readable(capture: CaptureMetadata) -> None:
    pytest.importorskip("rclpy")
    from std_msgs.msg import Header

    from lowlight_enhance.tools.harness import nodes

    header = Header(frame_id=nodes.FRAME_ID)
    header.stamp.sec = 7
    reading = READERS[METADATA_TYPE](nodes.capture_message(header, capture), MetadataSettings())
    assert reading is not None
    assert reading.stamp_ns == 7_000_000_000
    assert reading.capture.iso == capture.iso
    assert reading.capture.exposure_s == pytest.approx(capture.exposure_s, abs=1e-6)


def test_the_node_gets_the_cameras_topics_and_its_parameters() -> None:
    arguments = child_commands({"model": "m.onnx", "threads": 2})["node"]
    assert "image_raw:=/camera/image_raw" in arguments
    assert f"metadata.type:={METADATA_TYPE}" in arguments
    assert "threads:=2" in arguments
    assert {topic.partition(":=")[0] for topic in arguments if ":=/camera/" in topic} == set(CAMERA_TOPICS)


def test_a_child_that_does_not_answer_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mute_child.py").write_text(
        "import sys\nprint('cannot', file=sys.stderr, flush=True)\nsys.stdin.read()\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    log = StreamLog()
    with ProcessGroup({"mute": ["mute_child"]}, log.record) as group:
        assert group.wait_until(lambda: bool(group.children["mute"].log_tail()), 120.0)
        with pytest.raises(ProcessError, match=r"the mute did not answer 'show' within 0 s; .*\ncannot"):
            request(group, log, "mute", "show", 0.05)


def test_an_unknown_command_is_an_error() -> None:
    pytest.importorskip("rclpy")
    from lowlight_enhance.tools.harness.nodes import ScriptedNode

    class Node(ScriptedNode):
        commands = ("greet",)

        def __init__(self) -> None:
            pass

        def greet(self, name: str) -> dict[str, str]:
            return {"greeting": f"hello {name}"}

    assert Node().execute('{"command": "greet", "name": "you"}') == {"greeting": "hello you"}
    with pytest.raises(ValueError, match="serve is not one of greet"):
        Node().execute('{"command": "serve"}')
