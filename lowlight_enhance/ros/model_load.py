"""ModelLoad: check, open and warm up one model in a thread."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from lowlight_enhance.core.enhancement.enhancer import Enhancer
from lowlight_enhance.core.errors import ConfigError, LowlightError, ModelError
from lowlight_enhance.core.inference.model_file import ModelFile, read_model
from lowlight_enhance.core.inference.model_zoo import find_model
from lowlight_enhance.ros.parameters import NodeParameters

THREAD_NAME = "load_model"

_Result = TypeVar("_Result")


class ModelLoad:
    """One model that is checked, opened and warmed up in a thread.

    Attributes:
        params: all parameters of the node when it was requested.
        checked: set once the file has been checked, or rejected.
        begun: ``time.monotonic()`` at the start.
        done: set when the thread has finished.
        error: why the model cannot be used.
        is_rejected: the file did not pass the check.
        is_in_use: the file has the content of the one in use, so nothing was opened.
    """

    def __init__(
        self,
        params: NodeParameters,
        file: ModelFile | None = None,
        in_use: ModelFile | None = None,
        check_only: bool = False,
    ) -> None:
        """Start the thread.

        Args:
            params: all parameters of the node.
            file: a file that has been checked before; None reads and checks the one that ``params`` name.
            in_use: do not open a file with the content of this one.
            check_only: check the file, but do not open it.
        """
        self.params, self._file, self._in_use, self._check_only = params, file, in_use, check_only
        self.checked, self.done = threading.Event(), threading.Event()
        self.error: LowlightError | None = None
        self.is_in_use = self.is_rejected = False
        self.begun = time.monotonic()
        self._enhancer: Enhancer | None = None
        self._warming_up: Enhancer | None = None
        self._is_closed = False
        self._lock = threading.Lock()
        # A daemon thread, because a load may never end and must not keep the process alive.
        threading.Thread(target=self._run, name=THREAD_NAME, daemon=True).start()

    def checked_file(self) -> ModelFile:
        """Return the content of the file; raise the error that prevents that."""
        if self._file is None:
            raise self.error or ConfigError("the model file was not read")
        return self._file

    def opened(self) -> tuple[ModelFile, Enhancer]:
        """Return the file and its enhancer, once; raise the error that prevents that."""
        enhancer, self._enhancer = self._enhancer, None
        if self.error is not None or enhancer is None:
            raise self.error or ConfigError("the model was not opened")
        return self.checked_file(), enhancer

    def close(self) -> None:
        """Free the enhancer now, or as soon as the thread has opened it; end its warm-up early."""
        with self._lock:
            self._is_closed = True
            enhancer, self._enhancer = self._enhancer, None
            if self._warming_up is not None:
                self._warming_up.cancel()
        if enhancer is not None:
            enhancer.close()

    def _run(self) -> None:
        try:
            if self._file is None:
                self._file = self._attempt(lambda: read_model(find_model(self.params.model)))
            if self._file is None:
                self.is_rejected = True
                return
            # Compared by content, because a file may be replaced under the same name.
            self.is_in_use = self._in_use is not None and self._in_use.sha256 == self._file.sha256
            self.checked.set()
            if not (self._check_only or self.is_in_use or self._is_closed):
                file = self._file
                self._attempt(lambda: self._open(file))
        finally:
            self.checked.set()
            self.done.set()

    def _attempt(self, step: Callable[[], _Result]) -> _Result | None:
        """Return the result of ``step``, or None with ``error`` set."""
        try:
            return step()
        except LowlightError as error:
            self._fail(error)
        except Exception as error:  # from a runtime or the operating system; the node reports it
            self._fail(ModelError(f"model '{self.params.model}': {type(error).__name__}: {error}"))
        return None

    def _fail(self, error: LowlightError) -> None:
        """Store an error, except that of a warm-up that ``close`` has cancelled: it says nothing about the model."""
        with self._lock:
            if not (self._is_closed and self.checked.is_set()):
                self.error = error

    def _open(self, file: ModelFile) -> None:
        """Open and warm up an enhancer of ``file``; keep it unless ``close`` is called in the meantime."""
        with contextlib.ExitStack() as resources:
            enhancer = _new_enhancer(file, self.params)
            resources.callback(enhancer.close)
            with self._lock:
                if self._is_closed:
                    return
                self._warming_up = enhancer
            enhancer.warm_up()
            with self._lock:
                if not self._is_closed:
                    self._enhancer = enhancer
                    resources.pop_all()


def is_any_load_running() -> bool:
    """Return whether the thread of any load runs in this process."""
    return any(thread.name == THREAD_NAME for thread in threading.enumerate())


def _new_enhancer(file: ModelFile, params: NodeParameters) -> Enhancer:
    return Enhancer(
        runtime=params.runtime,  # type: ignore[arg-type]
        precision=params.precision,  # type: ignore[arg-type]
        model=file,
        providers=params.providers,
        threads=params.threads or None,
        working_size=params.model_working_size,
        output_resolution=params.output.resolution,  # type: ignore[arg-type]
    )
