"""Child processes that exchange JSON with their parent over standard input and output, and never outlive it.

Each message is one JSON object on one line. Lines that are not JSON, such as a library's own output, are ignored.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import queue
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import lowlight_enhance
from lowlight_enhance.core.errors import LowlightError
from lowlight_enhance.core.resources import resource
from lowlight_enhance.core.scratch import temporary_folder

Message = dict[str, Any]

PR_SET_PDEATHSIG = 1
STOP_TIMEOUT_S = 3.0
"""A child that does not end within this time after SIGINT is killed."""

LOG_TAIL_LINES = 40

DOMAIN_ID = str(random.SystemRandom().randint(1, 101))
"""DDS domain of all children of this process, random so that two runs on one host do not interfere."""


class ProcessError(LowlightError):
    """A child process has ended or does not answer."""


class ChildProcess:
    """One ``python -m`` process. Its standard output is read into ``messages``, its standard error goes to ``log``."""

    def __init__(
        self, name: str, arguments: Sequence[str], folder: Path, messages: queue.SimpleQueue[Message]
    ) -> None:
        self.name, self.log = name, folder / f"{name}.log"
        libc, parent = (ctypes.CDLL(None), os.getpid()) if sys.platform == "linux" else (None, 0)

        def end_with_parent() -> None:
            if libc is not None:
                libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
                if os.getppid() != parent:  # the parent ended before prctl took effect
                    os._exit(1)

        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=child_environment(folder),
                start_new_session=True,  # the terminal's Ctrl-C reaches only the parent, which stops its children
                preexec_fn=end_with_parent,
            )
        threading.Thread(target=self._read_messages, args=(messages,), daemon=True).start()

    def send(self, message: Message) -> None:
        """Write one message to its standard input. If it has ended, ``ProcessGroup.wait_until`` reports that."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps(message).encode() + b"\n")
            self.process.stdin.flush()

    def request_stop(self) -> None:
        """Close its standard input and send SIGINT."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)

    def wait_or_kill(self, deadline: float) -> None:
        """Wait until ``deadline`` (monotonic seconds), then kill it."""
        try:
            self.process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def log_tail(self) -> str:
        """Return the last lines that it wrote to standard error."""
        lines = self.log.read_text(errors="replace").splitlines()
        return "\n".join(lines[-LOG_TAIL_LINES:])

    def _read_messages(self, messages: queue.SimpleQueue[Message]) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            try:
                message = json.loads(line)
            except ValueError:
                continue
            if isinstance(message, dict):
                messages.put(message)


class ProcessGroup:
    """Context manager that starts child processes. It ends them when the block is left, also after an error.

    Attributes:
        children: the processes by name.
        folder: temporary folder for logs and files of the children; deleted at the end.
    """

    def __init__(self, commands: Mapping[str, Sequence[str]], on_message: Callable[[Message], None]) -> None:
        """Store the commands; entering the context starts them.

        Args:
            commands: arguments of ``python -m`` by name of the child.
            on_message: called in ``wait_until`` with each message of any child.
        """
        self._commands, self._on_message = commands, on_message
        self._messages: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self.children: dict[str, ChildProcess] = {}

    def __enter__(self) -> ProcessGroup:
        self._resources = contextlib.ExitStack()
        self.folder = self._resources.enter_context(temporary_folder())
        try:
            for name, arguments in self._commands.items():
                self.children[name] = ChildProcess(name, arguments, self.folder, self._messages)
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def stop(self) -> None:
        """End every child with SIGINT, and with SIGKILL if it still runs after ``STOP_TIMEOUT_S``."""
        try:
            for child in self.children.values():
                child.request_stop()
            deadline = time.monotonic() + STOP_TIMEOUT_S
            for child in self.children.values():
                child.wait_or_kill(deadline)
        finally:
            for child in self.children.values():
                if child.process.poll() is None:
                    child.process.kill()

    def _close(self) -> None:
        try:
            self.stop()
        finally:
            self._resources.close()

    def wait_until(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Handle messages until ``condition()`` is true. Return False after ``timeout_s``.

        Raises:
            ProcessError: a child has ended.
        """
        deadline = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline:
                return False
            try:
                self._on_message(self._messages.get(timeout=0.05))
            except queue.Empty:
                self._check_children()
        return True

    def _check_children(self) -> None:
        for child in self.children.values():
            code = child.process.poll()
            if code is not None:
                raise ProcessError(f"the {child.name} ended with code {code}; end of its log:\n{child.log_tail()}")


def child_environment(folder: Path) -> dict[str, str]:
    """Return the environment of the children: a DDS domain of their own, local discovery, and our Fast DDS profile."""
    profile = str(resource("config/fastdds.xml"))
    package_root = str(Path(lowlight_enhance.__file__).parents[1])
    values = {
        **os.environ,
        "ROS_DOMAIN_ID": DOMAIN_ID,
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        "RMW_IMPLEMENTATION": "rmw_fastrtps_cpp",
        "FASTRTPS_DEFAULT_PROFILES_FILE": profile,
        "FASTDDS_DEFAULT_PROFILES_FILE": profile,
        "ROS_LOG_DIR": str(folder),
        "PYTHONPATH": os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH", ""), package_root])),
    }
    for name in ("ROS_LOCALHOST_ONLY", "ROS_STATIC_PEERS", "ROS_DISCOVERY_SERVER", "ROS_NAMESPACE"):
        values.pop(name, None)
    if os.environ.get("ROS_DISTRO") == "humble":  # it does not know ROS_AUTOMATIC_DISCOVERY_RANGE
        values["ROS_LOCALHOST_ONLY"] = "1"
    return values
