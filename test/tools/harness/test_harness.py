"""Camera, node and listener: what the parent makes of their answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from lowlight_enhance.core.metadata.capture import CaptureMetadata
from lowlight_enhance.core.metadata.readers import READERS, MetadataSettings
from lowlight_enhance.tools.harness.harness import CAMERA_TOPICS, METADATA_TYPE, Log, ask, difference, members
from lowlight_enhance.tools.harness.processes import Crew, CrewError


def test_the_log_matches_what_arrived_with_what_was_sent() -> None:
    log = Log()
    log.note({"stamp": 5, "received": 50})
    log.note({"sent": [[5, 0], [6, 1], [7, 2]]})
    log.note({"stamp": 7, "received": 70})
    log.note({"stamp": 8, "received": 80})
    assert log.arrived() == {5: 0, 7: 2}
    assert log.latencies_ms() == pytest.approx((45e-6, 63e-6))
    assert log.missing() == {6}


def test_the_log_counts_our_node_alone() -> None:
    log = Log()
    log.note({"diagnostics": {"enhanced": "1000"}, "of": "another"})
    log.note({"diagnostics": {"enhanced": "12", "metadata.exact": "11", "model": "x"}, "of": "/n: enhancement"})
    log.note({"diagnostics": {"enhanced": "1000"}, "of": "another"})
    assert log.counts == {"enhanced": 12, "metadata.exact": 11}
    assert difference({"enhanced": 2}, log.counts, "enhanced") == 10
    assert difference({"enhanced": 2}, log.counts, "metadata.exact") == 11
    assert difference({}, log.counts, "enhanced") is None
    assert difference({"enhanced": 2}, {}, "enhanced") is None


@pytest.mark.parametrize("capture", [CaptureMetadata(1600.0, 1.0 / 60.0), CaptureMetadata(3200.0, 1.0 / 40.0)])
def test_the_cameras_metadata_reads_back(capture: CaptureMetadata) -> None:
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


def test_the_node_is_wired_to_the_camera() -> None:
    arguments = members({"model": "m.onnx", "threads": 2})["node"]
    assert "image_raw:=/camera/image_raw" in arguments
    assert f"metadata.type:={METADATA_TYPE}" in arguments
    assert "threads:=2" in arguments
    assert {topic.partition(":=")[0] for topic in arguments if ":=/camera/" in topic} == set(CAMERA_TOPICS)


def test_a_child_that_does_not_answer_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "rig_mute.py").write_text(
        "import sys\nprint('cannot', file=sys.stderr, flush=True)\nsys.stdin.read()\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    log = Log()
    with Crew({"mute": ["rig_mute"]}, log.note) as crew:
        crew.wait_for(lambda: bool(crew.children["mute"].last_words()), 30.0)
        with pytest.raises(CrewError, match=r"the mute did not answer within 0 s:\ncannot"):
            ask(crew, log, "mute", 0.05, do="it")
