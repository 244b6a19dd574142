import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest

ARENAS = """
import ctypes, sys, threading
from lowlight_enhance.core.malloc import reuse_image_buffers

libc = ctypes.CDLL(None)
libc.malloc.restype = libc.fopen.restype = ctypes.c_void_p
print(reuse_image_buffers())
together = threading.Barrier(3)

def work():
    libc.malloc(1 << 20)
    together.wait()

threads = [threading.Thread(target=work) for _ in range(3)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
stream = ctypes.c_void_p(libc.fopen(sys.argv[1].encode(), b"w"))
libc.malloc_info(0, stream)
libc.fclose(stream)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the settings are glibc's")
@pytest.mark.parametrize(("switch", "applied"), [("1", True), ("0", False)])
def test_threads_share_one_arena_if_tuning_is_enabled(tmp_path: Path, switch: str, applied: bool) -> None:
    """Otherwise threads cannot reuse the memory that others freed, and memory grows for minutes."""
    report = tmp_path / "malloc.xml"
    output = subprocess.run(
        [sys.executable, "-c", ARENAS, report],
        env={"LOWLIGHT_MALLOC_TUNING": switch, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert output == f"{applied}\n"
    arenas = len(re.findall(r"<heap nr=", report.read_text()))
    assert (arenas == 1) is applied


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the settings are glibc's")
def test_the_nodes_executable_sets_the_arena_before_rclpy_starts_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import sys, lowlight_enhance.ros.main; print([name for name in ('rclpy', 'numpy') if name in sys.modules])"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output == "[]\n"
    pytest.importorskip("rclpy")
    from lowlight_enhance.ros import main, runner

    calls: list[str] = []
    monkeypatch.setattr(main, "use_single_arena", lambda: calls.append("arena"))
    monkeypatch.setattr(runner, "run_node", lambda args: calls.append("node") or 0)
    assert main.main([]) == 0
    assert calls == ["arena", "node"]
