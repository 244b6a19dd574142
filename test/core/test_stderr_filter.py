"""Lines that C code writes to file descriptor 2 are dropped by prefix; all others arrive."""

import os
import threading
from pathlib import Path

import pytest

from lowlight_enhance.core.stderr_filter import without_stderr_lines


def write(text):
    os.write(2, text.encode())


def test_only_lines_with_the_prefix_are_dropped(capfd):
    write("before\n")
    with without_stderr_lines(b"noise", b"hum"):
        write("noise 1\nuseful\nhum\nnoise at the end")
    write("noise after\n")
    assert capfd.readouterr().err == "before\nuseful\nnoise after\n"


def test_the_descriptor_is_restored_after_an_error(capfd):
    def fail():
        with without_stderr_lines(b"noise"):
            write("noise\nuseful\n")
            raise ValueError("expected")

    with pytest.raises(ValueError, match="expected"):
        fail()
    write("noise\n")
    assert capfd.readouterr().err == "useful\nnoise\n"


def test_no_descriptor_is_left_open():
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(20):
        with without_stderr_lines(b"noise"):
            pass
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_threads_take_turns(capfd):
    def work():
        for _ in range(50):
            with without_stderr_lines(b"noise"):
                write("noise\n")
                write("useful\n")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert capfd.readouterr().err == "useful\n" * 200


@pytest.mark.parametrize("missing", ["memfd_create", "dup"])
def test_without_memfd_or_stderr_the_block_runs_unfiltered(missing, capfd):
    def fail(*_):
        raise OSError("not possible here")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, missing, fail)
        with without_stderr_lines(b"noise"):
            write("noise\n")
        if missing == "memfd_create":
            patch.delattr(os, missing)
            with without_stderr_lines(b"noise"):
                write("noise\n")
    assert set(capfd.readouterr().err.splitlines()) == {"noise"}
