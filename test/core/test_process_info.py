"""Values from /proc, compared with processes of known memory, threads and CPU time."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from lowlight_enhance.core import process_info
from lowlight_enhance.core.errors import ConfigError

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
ME = os.getpid()


def test_memory_threads_and_handles_are_counted(tmp_path: Path) -> None:
    before = process_info.process_usage(ME)
    end = threading.Event()
    thread = threading.Thread(target=end.wait)
    thread.start()
    with (tmp_path / "a").open("w"), (tmp_path / "b").open("w"):
        block = np.ones(64 << 20, np.uint8)
        during = process_info.process_usage(ME)
    end.set()
    thread.join()
    assert during.threads == before.threads + 1
    assert during.handles == before.handles + 2
    assert during.resident_bytes - before.resident_bytes > 0.9 * block.nbytes
    # The kernel removes a joined thread from /proc a moment later.
    deadline_s = time.monotonic() + 30.0
    while process_info.process_usage(ME).threads != before.threads and time.monotonic() < deadline_s:
        time.sleep(0.01)
    assert process_info.process_usage(ME).threads == before.threads


def test_cpu_time_is_that_of_the_process() -> None:
    process_before_s, system_before_s = process_info.process_cpu_s(ME), process_info.system_cpu_s()
    start_s = time.process_time()
    while time.process_time() - start_s < 0.2:
        pass
    used = time.process_time() - start_s
    assert process_info.process_cpu_s(ME) - process_before_s == pytest.approx(used, abs=0.05)
    assert process_info.system_cpu_s() - system_before_s > 0.1


def test_the_processor_has_a_name() -> None:
    assert process_info.processor_name()


def test_other_systems_are_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    process_info.require_proc()
    monkeypatch.setattr(process_info, "PROC", tmp_path)
    with pytest.raises(ConfigError, match="needs Linux"):
        process_info.require_proc()
    assert process_info.processor_name()
