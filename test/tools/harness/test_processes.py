"""Child processes exchange messages with their parent and never outlive it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

import lowlight_enhance
from lowlight_enhance.tools.harness.processes import ProcessError, ProcessGroup, child_environment

DEADLINE_S = 120.0

ECHO = """
import json, sys
print("a line that is not JSON")
print(json.dumps({"pid": __import__("os").getpid()}), flush=True)
for line in sys.stdin:
    if "crash" in line:
        sys.exit("a plain reason")
    print(line, end="", flush=True)
"""

STUBBORN = """
import json, os, signal, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
print(json.dumps({"pid": os.getpid()}), flush=True)
while True:
    time.sleep(1.0)
"""


KILLED_PARENT = """
import os, signal
from lowlight_enhance.tools.harness.processes import ProcessGroup
with ProcessGroup({}, print) as group:
    (group.folder / "frame.npy").write_bytes(bytes(1000))
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    (tmp_path / "echo_child.py").write_text(ECHO)
    (tmp_path / "stubborn_child.py").write_text(STUBBORN)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return {"echo": ["echo_child"], "stubborn": ["stubborn_child"]}


def alive(pid: int) -> bool:
    """False for a process that is gone or a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_children_answer_and_end_with_the_block(
    modules: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lowlight_enhance.tools.harness.processes.STOP_TIMEOUT_S", 0.5)
    events: list[dict[str, int]] = []
    with ProcessGroup(modules, events.append) as group:
        assert group.wait_until(lambda: len(events) == 2, DEADLINE_S)
        group.children["echo"].send({"text": "hello"})
        assert group.wait_until(lambda: len(events) == 3, DEADLINE_S)
        assert not group.wait_until(lambda: False, 0.1)
        folder = group.folder
    assert events[-1] == {"text": "hello"}
    assert [child.process.poll() is not None for child in group.children.values()] == [True, True]
    assert group.children["stubborn"].process.returncode == -signal.SIGKILL
    assert not folder.exists()


def test_a_child_that_crashes_is_reported_with_the_end_of_its_log(
    modules: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lowlight_enhance.tools.harness.processes.STOP_TIMEOUT_S", 0.5)
    group = ProcessGroup(modules, lambda _: None)
    with group:
        group.children["echo"].send({"text": "crash"})
        with pytest.raises(ProcessError, match=r"the echo ended with code 1.*\n.*a plain reason"):
            group.wait_until(lambda: False, DEADLINE_S)
    assert group.children["stubborn"].process.poll() is not None


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent-death signal is Linux's")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_children_die_with_their_parent(modules: dict[str, list[str]], tmp_path: Path, number: signal.Signals) -> None:
    parent = tmp_path / "parent_script.py"
    parent.write_text(
        "import signal\n"
        "from lowlight_enhance.core.signals import exit_on_sigterm\n"
        "from lowlight_enhance.tools.harness import processes\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background jobs ignore\n"
        "processes.STOP_TIMEOUT_S = 0.5\n"
        "with exit_on_sigterm(), "
        f"processes.ProcessGroup({modules!r}, lambda v: print(v['pid'], flush=True)) as group:\n"
        "    group.wait_until(lambda: False, 1000.0)\n"
    )
    package = Path(lowlight_enhance.__file__).parents[1]
    process = subprocess.Popen(
        [sys.executable, str(parent)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{package}", "TMPDIR": str(tmp_path)},
        start_new_session=True,
    )
    assert process.stdout is not None
    pids = [int(process.stdout.readline()) for _ in modules]
    assert all(alive(pid) for pid in pids)
    process.send_signal(number)
    assert process.wait(DEADLINE_S) != 0
    process.stdout.close()
    deadline = time.monotonic() + DEADLINE_S
    while any(alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(alive(pid) for pid in pids)


def test_the_environment_does_not_tune_the_allocator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the effect of the node's parameter malloc_tuning could not be measured."""
    for name in [name for name in os.environ if name.startswith("MALLOC_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("LOWLIGHT_MALLOC_TUNING", "0")
    values = child_environment(tmp_path)
    assert [name for name in values if "MALLOC" in name] == ["LOWLIGHT_MALLOC_TUNING"]


def test_children_use_their_own_domain_on_this_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROS_STATIC_PEERS", "10.0.0.1")
    monkeypatch.setenv("ROS_DOMAIN_ID", "0")
    values = child_environment(tmp_path)
    assert 1 <= int(values["ROS_DOMAIN_ID"]) <= 101
    assert values["ROS_AUTOMATIC_DISCOVERY_RANGE"] == "LOCALHOST"
    assert "ROS_STATIC_PEERS" not in values
    for name in ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"):
        assert Path(values[name]).name == "fastdds.xml"
        assert Path(values[name]).is_file()


def test_the_next_run_removes_the_files_of_a_killed_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    killed = subprocess.run(
        [sys.executable, "-c", KILLED_PARENT], env={**os.environ, "TMPDIR": str(tmp_path)}, timeout=DEADLINE_S
    )
    assert killed.returncode == -signal.SIGKILL
    (leftover,) = tmp_path.iterdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with ProcessGroup({}, print) as group:
        assert list(tmp_path.iterdir()) == [group.folder] != [leftover]
    assert list(tmp_path.iterdir()) == []
