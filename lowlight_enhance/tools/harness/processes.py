"""Child processes that talk JSON: started with an environment of their own, listened to, and always ended."""

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
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

import lowlight_enhance
from lowlight_enhance.core.errors import LowlightError
from lowlight_enhance.core.resources import resource

PR_SET_PDEATHSIG = 1
GRACE_S = 3.0
"""A child that has been asked to end gets this long, then it is killed."""

SHOWN_LINES = 40
"""Of a crashed child's output."""


class CrewError(LowlightError):
    """The work cannot go on: a child ended, or nothing arrives."""


class Child:
    """One process; JSON goes to its standard input, what it answers goes to ``events``."""

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        folder: Path,
        events: queue.SimpleQueue[dict[str, Any]],
    ) -> None:
        self.name, self.log, self._events = name, folder / f"{name}.log", events
        libc, parent = (ctypes.CDLL(None), os.getpid()) if sys.platform == "linux" else (None, 0)

        def die_with_parent() -> None:
            if libc is not None:
                libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
                if os.getppid() != parent:
                    os._exit(1)

        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment(folder),
                start_new_session=True,  # Ctrl-C reaches the parent alone, which then ends its children in order
                preexec_fn=die_with_parent,
            )

    def listen(self) -> None:
        """Begin to collect its answers."""
        threading.Thread(target=self._listen, daemon=True).start()

    def tell(self, **command: Any) -> None:
        """Send one command; a child that has ended is noticed by ``Crew.wait_for``."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps(command).encode() + b"\n")
            self.process.stdin.flush()

    def ask_to_end(self) -> None:
        """Close its input, and interrupt it as Ctrl-C would."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)

    def end(self, deadline: float) -> None:
        """Wait for it until ``deadline`` (monotonic seconds), then kill it."""
        try:
            self.process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def last_words(self) -> str:
        """The end of what it wrote to standard error."""
        lines = self.log.read_text(errors="replace").splitlines()
        return "\n".join(lines[-SHOWN_LINES:])

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            try:
                values = json.loads(line)
            except ValueError:
                continue  # a library's own chatter
            if isinstance(values, dict):
                self._events.put(values)


class Crew:
    """Context in which the children run; however it is left, they end and their folder goes.

    Attributes:
        children: by name.
        folder: temporary folder for logs and for what the children hand over.
    """

    def __init__(self, modules: dict[str, Sequence[str]], on_event: Callable[[dict[str, Any]], None]) -> None:
        """Prepare to start ``python -m`` with each list of arguments; ``on_event`` gets their answers."""
        self.modules, self.on_event = modules, on_event
        self.children: dict[str, Child] = {}
        self._events: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._temporary = tempfile.TemporaryDirectory(prefix="lowlight-")
        self.folder = Path(self._temporary.name)

    def __enter__(self) -> Crew:
        try:
            for name, arguments in self.modules.items():
                self.children[name] = Child(name, arguments, self.folder, self._events)
            for child in self.children.values():
                child.listen()
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()

    def dismiss(self) -> None:
        """End every child; the folder stays until the context is left."""
        try:
            for child in self.children.values():
                child.ask_to_end()
            deadline = time.monotonic() + GRACE_S
            for child in self.children.values():
                child.end(deadline)
        finally:
            for child in self.children.values():
                if child.process.poll() is None:
                    child.process.kill()

    def _leave(self) -> None:
        try:
            self.dismiss()
        finally:
            self._temporary.cleanup()

    def wait_for(self, done: Callable[[], bool], timeout_s: float) -> bool:
        """Hand events on until ``done()``; False where that has not come about within ``timeout_s``.

        Raises:
            CrewError: a child has ended.
        """
        deadline = time.monotonic() + timeout_s
        while not done():
            if time.monotonic() > deadline:
                return False
            try:
                self.on_event(self._events.get(timeout=0.05))
            except queue.Empty:
                self.check()
        return True

    def check(self) -> None:
        """Raise CrewError where a child has ended."""
        for child in self.children.values():
            code = child.process.poll()
            if code is not None:
                raise CrewError(f"the {child.name} ended with code {code}; its last words:\n{child.last_words()}")


@contextmanager
def sigterm_as_exit() -> Iterator[None]:
    """Within, SIGTERM leaves as an exception would, so that everything is cleared up (main thread only)."""

    def leave(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def environment(folder: Path) -> dict[str, str]:
    """The children's: a DDS domain of their own on this host only, Fast DDS with this package's profile."""
    profile = str(resource("config/fastdds.xml"))
    values = {
        **os.environ,
        "ROS_DOMAIN_ID": DOMAIN,
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        "RMW_IMPLEMENTATION": "rmw_fastrtps_cpp",
        "FASTRTPS_DEFAULT_PROFILES_FILE": profile,
        "FASTDDS_DEFAULT_PROFILES_FILE": profile,
        "ROS_LOG_DIR": str(folder),
        "PYTHONPATH": os.pathsep.join(
            filter(None, [os.environ.get("PYTHONPATH", ""), str(Path(lowlight_enhance.__file__).parents[1])])
        ),
    }
    for name in ("ROS_LOCALHOST_ONLY", "ROS_STATIC_PEERS", "ROS_DISCOVERY_SERVER", "ROS_NAMESPACE"):
        values.pop(name, None)
    if os.environ.get("ROS_DISTRO") == "humble":  # it does not know the discovery range
        values["ROS_LOCALHOST_ONLY"] = "1"
    return values


DOMAIN = str(random.SystemRandom().randint(1, 101))
"""One for all children of this process, and not likely anybody else's."""
